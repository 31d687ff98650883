# SPDX-License-Identifier: GPL-2.0-only
"""The predecessor's example: `--bgp --equinixMetal` with VIPs on lo. The API is the stand-in, on the
router of the lab; the platform's two routers are two BIRDs there, spoken to over two hops with MD5.
"""
import json
import re
import subprocess

import pytest

from harness import PYTHON, TOP, Slb, wait_for

TOPOLOGY = "routed"

STANDIN = TOP / "tests/e2e/metal/standin.py"
TOKEN = "s3cr3t-t0ken-of-the-tests"
PROJECT = "7d6a4b80-0e5c-4d54-a1f0-5c5c3a1d2e11"
DEVICE = "c0ffee00-1111-4222-8333-444455556666"
ROUTER, NODE = "10.80.95.1", "10.80.95.2"
PEERS = ("169.254.255.1", "169.254.255.2")
PASSWORD = "md5-of-the-tests"

BIRD = """
router id {peer};
protocol device {{ }}
protocol direct {{ ipv4; }}
protocol kernel {{ ipv4 {{ export {export}; }}; }}
protocol bgp node {{
    local {peer} as 65530;
    neighbor {node} as 65000;
    multihop 5;
    strict bind yes;
    password "{password}";
    ipv4 {{ import all; export none; }};
}}
"""


class Standin:
    """The API, on the router."""

    def __init__(self, lab):
        self.lab = lab
        self.process = lab.popen(
            "router",
            [PYTHON, "-B", STANDIN, "--address", ROUTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        where = json.loads(self.process.stdout.readline())
        self.url, self.control = where["url"], where["control"]

    def tell(self, **asked):
        done = self.lab.run(
            "router", ["curl", "-sS", "-m", "10", "-d", json.dumps(asked), self.control]
        )
        return json.loads(done.stdout)

    def reserved(self):
        return self.tell()["reservations"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


class Bird:
    def __init__(self, lab, folder, peer, export):
        self.lab = lab
        self.socket = folder / f"{peer}.ctl"
        config = folder / f"{peer}.conf"
        config.write_text(BIRD.format(peer=peer, node=NODE, password=PASSWORD, export=export))
        self.process = lab.popen("router", ["bird", "-f", "-c", config, "-s", self.socket])

    def ask(self, *words):
        done = self.lab.run("router", ["birdc", "-s", self.socket, *words], check=False)
        return done.stdout

    def routes(self):
        return set(re.findall(r"^([0-9.]+)/32 ", self.ask("show", "route", "protocol", "node"), re.M))

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.fixture(scope="module")
def routers(lab, tmp_path_factory):
    """Two routers of the platform; the first one's routes are the kernel's."""
    folder = tmp_path_factory.mktemp("bird")
    for peer in PEERS:
        lab.run("router", ["ip", "addr", "add", f"{peer}/32", "dev", "lo"])
    made = [Bird(lab, folder, PEERS[0], "where source = RTS_BGP"), Bird(lab, folder, PEERS[1], "none")]
    yield made
    for bird in made:
        bird.close()


@pytest.fixture
def platform(lab):
    standin = Standin(lab)
    standin.tell(
        devices=[
            {
                "id": DEVICE,
                "hostname": "metal-1",
                "facility": {"code": "am6"},
                "ip_addresses": [{"address": NODE, "gateway": ROUTER, "address_family": 4}],
            }
        ],
        neighbours={
            DEVICE: [
                {
                    "address_family": 4,
                    "customer_as": 65000,
                    "customer_ip": NODE,
                    "md5_enabled": True,
                    "md5_password": PASSWORD,
                    "multihop": True,
                    "peer_as": 65530,
                    "peer_ips": list(PEERS),
                }
            ]
        },
    )
    yield standin
    assert standin.tell()["violations"] == []
    standin.close()


class MetalSlb(Slb):
    """With the token in the environment, where it belongs."""

    def _environment(self):
        return {**super()._environment(), "PACKET_AUTH_TOKEN": TOKEN}

    def check_log(self):
        super().check_log()
        assert TOKEN not in self.log() and PASSWORD not in self.log()


@pytest.fixture
def metal_slb(request, lab, routers, platform, tmp_path):
    slb = MetalSlb(
        lab, tmp_path,
        "--bgp", "--equinixMetal", "--project", PROJECT, "--facility", "am6",
        "--device", "metal-1", "--equinix-api", platform.url, "--adapter", "lo",
    )  # fmt: skip
    request.node.slbs = [slb]
    slb.start()
    yield slb
    try:
        slb.stop()
    finally:
        slb.end()


def call(slb, method, path, body=None):
    """What curl prints, and the status."""
    url = f"http://{slb.address}:10001{path}"
    command = ["curl", "-sS", "-m", "60", "-X", method, "-w", "\n%{http_code}", url]
    if body is not None:
        command += ["-d", json.dumps(body)]
    text, _, status = slb.lab.run("client", command).stdout.rpartition("\n")
    return int(status), json.loads(text) if text else None


def create(slb, name="test loadbalancer", port=6443):
    status, made = call(slb, "POST", "/loadbalancer", {"name": name, "port": port})
    assert status == 201, made
    return made


def addresses_of_lo(lab):
    return lab.run("node", ["ip", "-o", "-4", "addr", "show", "dev", "lo"]).stdout


def test_example(lab, routers, platform, metal_slb, backends):
    log = metal_slb.log()
    assert "Querying BGP settings for [metal-1]" in log
    for peer in PEERS:
        assert f"Add a peer configuration for:{peer}" in log
    wait_for(lambda: len(metal_slb.log_lines("Peer Up")) >= 2, "both peers to be up", 30)

    made = create(metal_slb)
    eip = made["eip"]
    assert [item["address"] for item in platform.reserved()] == [eip]
    assert f"slb:{made['uuid']}" in platform.reserved()[0]["tags"]
    for backend in ("b1", "b2"):
        ip = lab.topology.backends[backend]
        status, answer = call(
            metal_slb, "POST", f"/loadbalancer/{made['uuid']}/backend", {"ip": ip, "port": 6443}
        )
        assert status == 201, answer
    for bird in routers:
        wait_for(lambda: eip in bird.routes(), f"the route to {eip} at {bird.socket.stem}")
    assert f"{eip}/32" in addresses_of_lo(lab)
    wait_for(
        lambda: NODE in lab.run("router", ["ip", "route", "get", eip]).stdout, "the kernel's route"
    )

    answers = [
        lab.run("client", ["curl", "-sS", "-m", "5", "-i", f"http://{eip}:6443/"]).stdout
        for _ in range(10)
    ]
    served = [re.search(r"(?im)^x-served-by: (\w+)", answer)[1] for answer in answers]
    assert sorted(served) == ["b1"] * 5 + ["b2"] * 5

    assert call(metal_slb, "DELETE", f"/loadbalancer/{made['uuid']}")[0] == 204
    for bird in routers:
        wait_for(lambda: eip not in bird.routes(), "the route to be withdrawn")
    wait_for(lambda: platform.reserved() == [], "the address to be given back")
    assert f"{eip}/32" not in addresses_of_lo(lab)


@pytest.mark.parametrize(
    "fault, words",
    [
        ({"status": 422, "body": '{"errors":["no addresses left"]}'}, "no addresses left"),
        ({"status": 500, "act": True}, "answered 500"),
        ({"kind": "half", "act": True}, "ended early"),
        ({"kind": "text", "status": 201, "body": "<html>", "act": True}, "not JSON"),
    ],
)
def test_failed_create_leaves_nothing(lab, routers, platform, metal_slb, fault, words):
    platform.tell(fault={"method": "POST", "times": -1, **fault})
    status, answer = call(metal_slb, "POST", "/loadbalancer", {"name": "x", "port": 80})
    assert status in (422, 503, 507) and words in answer["error"]["message"]
    assert call(metal_slb, "GET", "/loadbalancers")[1] in ([], {"loadbalancers": []})
    wait_for(lambda: platform.reserved() == [], "nothing to be reserved")
    assert all(not bird.routes() for bird in routers)


def test_crash(lab, routers, platform, metal_slb):
    """What the store has is kept, what it has not is given back."""
    kept = create(metal_slb)
    metal_slb.kill()
    platform.tell(
        reserve=[
            {
                "address": "147.75.35.9",
                "tags": ["slb:11111111-2222-4333-8444-555555555555", f"slb-node:{DEVICE}"],
            }
        ]
    )
    metal_slb.start()
    wait_for(lambda: len(platform.reserved()) == 1, "the stray to be given back")
    assert platform.reserved()[0]["address"] == kept["eip"]
    for bird in routers:
        wait_for(lambda: kept["eip"] in bird.routes(), "the route to be told again", 30)
    assert call(metal_slb, "DELETE", f"/loadbalancer/{kept['uuid']}")[0] == 204
    wait_for(lambda: platform.reserved() == [], "the address to be given back")
