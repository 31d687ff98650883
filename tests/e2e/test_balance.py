# SPDX-License-Identifier: GPL-2.0-only
"""Traffic through a VIP: who answers, that every byte arrives, and what changes under load do."""
import hashlib
import json
import random

import pytest

from harness import wait_for


@pytest.fixture
def balancer(api, backends):
    """HTTP over all three backends."""
    made = api.create(port=backends.HTTP)
    for ip in backends.addresses.values():
        api.add_backend(made, ip, backends.HTTP)
    return made


@pytest.fixture
def url(balancer):
    return f"http://{balancer['eip']}:{balancer['port']}"


def test_round_robin_is_exact(url, traffic):
    result = traffic.get(url, count=1000)
    assert result["errors"] == []
    assert sorted(result["answers"].values()) == [333, 333, 334]


def test_downloads_arrive_byte_for_byte(url, traffic):
    size = 1 << 20
    expected = hashlib.sha256(random.Random(size).randbytes(size)).hexdigest()
    result = traffic.get(f"{url}/bytes/{size}", count=200, concurrency=200)
    assert result["errors"] == []
    assert result["sha256"] == {expected: 200}


def test_backends_see_the_node_as_the_source(url, lab, slb):
    ranges = slb.sysctl("net.ipv4.ip_local_port_range").split()
    low, high = int(ranges[0]), int(ranges[1])
    for _ in range(3):
        answer = lab.run("client", ["curl", "-sSi", "-m", "5", url]).stdout
        peer = next(l.split()[1] for l in answer.splitlines() if l.startswith("X-Peer:"))
        address, _, port = peer.partition(":")
        assert address == slb.address
        assert not low <= int(port) <= high, f"{port} is one of the node's own ports"


def iperf3(lab, address, *options):
    done = lab.run("client", ["iperf3", "-c", address, "-J", *options], check=False, timeout=30)
    report = json.loads(done.stdout)
    assert "error" not in report, report["error"]
    return report["end"]["sum_received"]


@pytest.mark.parametrize("direction", ([], ["-R"]), ids=("to_backend", "to_client"))
def test_long_streams(api, lab, backends, direction):
    # One backend: iperf3 needs its connections to meet the same server.
    balancer = api.create(port=5201)
    api.add_backend(balancer, backends.addresses["b2"], 5201)
    server = lab.popen("b2", ["iperf3", "-s", "-1"], stdout=-3)
    try:
        wait_for(
            lambda: lab.run("b2", ["ss", "-Hltn", "sport = 5201"]).stdout, "iperf3 to listen"
        )
        received = iperf3(lab, balancer["eip"], "-t", "2", "-P", "4", *direction)
        assert received["bits_per_second"] > 50e6
    finally:
        server.kill()
        server.wait()


def test_udp(api, backends, traffic):
    balancer = api.create(port=backends.ECHO, protocol="udp")
    for ip in backends.addresses.values():
        api.add_backend(balancer, ip, backends.ECHO)
    result = traffic.udp(balancer["eip"], backends.ECHO, count=30, rounds=5)
    assert result["errors"] == []
    assert result["answers"] == {"b1": 50, "b2": 50, "b3": 50}


def test_udp_and_tcp_share_a_port_and_an_address(api, backends, traffic):
    tcp = api.create(port=backends.ECHO)
    udp = api.create(port=backends.ECHO, protocol="udp", eip=tcp["eip"])
    api.add_backend(tcp, backends.addresses["b1"], backends.ECHO)
    api.add_backend(udp, backends.addresses["b2"], backends.ECHO)
    with traffic.hold(tcp["eip"], backends.ECHO, count=3) as held:
        result = traffic.udp(udp["eip"], backends.ECHO, count=5)
        assert result["answers"] == {"b2": 5}
        wait_for(lambda: held.now()["rounds"] > 3, "bytes to go back and forth")
        assert held.end()["errors"] == []


def test_the_port_of_a_backend_may_differ(api, backends, lab):
    balancer = api.create(port=80)
    api.add_backend(balancer, backends.addresses["b3"], backends.HTTP)
    answer = lab.run("client", ["curl", "-sS", "-m", "5", f"http://{balancer['eip']}/"])
    assert answer.stdout == "b3\n"


def test_a_backend_leaves_and_comes_back_under_load(api, balancer, backends, url, traffic):
    gone = api.get(f"/loadbalancer/{balancer['uuid']}")["backends"][2]

    def answered_since(before, name):
        return load.now()["answers"].get(name, 0) - before.get(name, 0)

    with traffic.load(url) as load:
        wait_for(lambda: len(load.now()["answers"]) == 3, "all backends to answer")
        # Deleting a backend ends its flows: what is under way there ends by itself first.
        path = f"/loadbalancer/{balancer['uuid']}/backend/{gone['uuid']}"
        assert api.ask("PATCH", path, {"state": "drain"}).status == 200
        before = load.now()["answers"]
        wait_for(lambda: answered_since(before, "b1") > 100, "requests under way to end")
        api.delete(balancer, gone)
        before = load.now()["answers"]
        wait_for(lambda: answered_since(before, "b1") > 50, "the remaining backends to answer")
        before = load.now()["answers"]
        wait_for(lambda: answered_since(before, "b2") > 50, "the remaining backends to answer")
        assert answered_since(before, "b3") == 0
        api.add_backend(balancer, backends.addresses["b3"], backends.HTTP)
        wait_for(lambda: answered_since(before, "b3") > 20, "the new backend to answer")
        result = load.end()
    assert result["errors"] == []


def test_a_balancer_that_goes_leaves_the_others_alone(api, balancer, url, traffic):
    other = api.create(port=1234)
    with traffic.load(url) as load:
        wait_for(lambda: len(load.now()["answers"]) == 3, "all backends to answer")
        api.delete(other)
        before = load.now()["answers"]["b1"]
        wait_for(lambda: load.now()["answers"]["b1"] > before + 30, "answers to go on")
        assert load.end()["errors"] == []


def test_programs_run_in_native_mode(slb, api, balancer):
    assert slb.xdp_mode("eth0") == "driver"
    devices = api.get("/capabilities")["devices"]
    assert {"name": "eth0", "datapath": "xdp"}.items() <= devices[0].items()


def test_traffic_is_counted(api, balancer, url, traffic):
    before = api.get(f"/loadbalancer/{balancer['uuid']}")["traffic"]
    traffic.get(url, count=30)
    seen = api.get(f"/loadbalancer/{balancer['uuid']}")
    assert seen["traffic"]["connections"] - before["connections"] == 30
    assert [backend["traffic"]["connections"] for backend in seen["backends"]] == [10, 10, 10]
    assert seen["traffic"]["bytes_out"] > seen["traffic"]["packets_out"] > 30


def test_a_balancer_made_anew_meets_no_old_connection(api, backends, traffic):
    """Backends remember the ports they were reached from longer than slb does. A source port that
    is used again too soon costs the client a second: the SYN is answered by the old connection."""
    for _ in range(4):
        made = api.create(port=backends.HTTP)
        for ip in backends.addresses.values():
            api.add_backend(made, ip, backends.HTTP)
        result = traffic.get(f"http://{made['eip']}:{made['port']}", count=300)
        assert result["errors"] == []
        assert api.get(f"/loadbalancer/{made['uuid']}")["traffic"]["connections"] == 300
        api.delete(made)


def test_affinity(api, backends, lab, slb):
    """Two clients, each at one backend; when that is drained, at another one, for good."""
    made = api.create(port=backends.HTTP, affinity_s=600)
    added = {n: api.add_backend(made, ip, backends.HTTP) for n, ip in backends.addresses.items()}
    url = f"http://{made['eip']}:{backends.HTTP}/"

    def answers(count, *options):
        command = ["curl", "-sS", "-m", "5", *options, url]
        return {lab.run("client", command).stdout.strip() for _ in range(count)}

    second = "10.80.96.251"
    lab.run("client", ["ip", "address", "add", f"{second}/24", "dev", "eth0"])
    try:
        (here,), (there,) = answers(6), answers(6, "--interface", second)
        assert here != there
        path = f"/loadbalancer/{made['uuid']}/backend/{added[here]['uuid']}"
        assert api.ask("PATCH", path, {"state": "drain"}).status == 200
        (elsewhere,) = answers(6)
        assert elsewhere != here
        assert answers(3, "--interface", second) == {there}
        assert api.ask("PATCH", path, {"state": "up"}).status == 200
        assert answers(6) == {elsewhere}
    finally:
        lab.run("client", ["ip", "address", "del", f"{second}/24", "dev", "eth0"])
