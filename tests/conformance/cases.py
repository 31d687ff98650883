# SPDX-License-Identifier: GPL-2.0-only
"""The cases that every datapath must pass, whatever it is made of.

A case is a function that takes a Bench: a lab in which slb runs with the datapath under test, and in which there are no
load balancers yet. It raises when something is not as it must be. `run` runs them, on this machine and in guests alike, so
they use nothing but Python's library and the harness of tests/e2e.
"""

import contextlib
import dataclasses
import json
import subprocess

import harness
from harness import wait_for

HTTP, ECHO = harness.Backends.HTTP, harness.Backends.ECHO
CLIENT = {"ipv4": "10.80.90.10", "ipv6": "fd00:80:90::10"}
NODE_BEFORE_BACKENDS = {"ipv4": "10.80.96.2", "ipv6": "fd00:80:96::2"}
# IPVS adds up its counters every two seconds.
COUNTERS_TIMEOUT_S = 6
# What others do to a datapath is undone within this; reconcile runs every two seconds.
REPAIR_TIMEOUT_S = 8

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def case_of(datapath):
    """For what only one datapath has."""

    def note(function):
        function.datapath = datapath
        return case(function)

    return note


def names(datapath):
    """The cases for a datapath, in their order."""
    return [name for name, function in CASES.items() if getattr(function, "datapath", datapath) == datapath]


def same(seen, wanted):
    assert seen == wanted, f"{seen}, not {wanted}"


@dataclasses.dataclass
class Bench:
    lab: object
    slb: object
    api: object
    backends: object
    traffic: object
    datapath: str  # as GET /capabilities names it

    def address(self, name, family="ipv4"):
        ipv4 = self.backends.addresses[name]
        return ipv4 if family == "ipv4" else "fd00:80:96::" + ipv4.rpartition(".")[2]

    def balancer(self, port=HTTP, names=("b1", "b2", "b3"), weights=None, **fields):
        made = self.api.create(port=port, **fields)
        for i, name in enumerate(names):
            more = {"weight": weights[i]} if weights else {}
            self.api.add_backend(made, self.address(name, fields.get("family", "ipv4")), port, **more)
        return self.api.get(f"/loadbalancer/{made['uuid']}")

    def patch(self, balancer, backend=None, **fields):
        path = f"/loadbalancer/{balancer['uuid']}" + (f"/backend/{backend['uuid']}" if backend else "")
        answer = self.api.ask("PATCH", path, fields)
        assert answer.status == 200, answer

    def get(self, balancer, count, concurrency=10):
        host = f"[{balancer['eip']}]" if ":" in balancer["eip"] else balancer["eip"]
        result = self.traffic.get(f"http://{host}:{balancer['port']}/", count=count, concurrency=concurrency)
        assert result["errors"] == [], result
        return result["answers"]

    def peer(self, balancer):
        """The address that a backend saw."""
        host = f"[{balancer['eip']}]" if ":" in balancer["eip"] else balancer["eip"]
        done = self.lab.run("client", ["curl", "-sSi", "-g", "-m", "10", f"http://{host}:{balancer['port']}/"])
        line = next(line for line in done.stdout.splitlines() if line.startswith("X-Peer:"))
        return line.split()[1].rpartition(":")[0].removeprefix("::ffff:")

    def counted(self, balancer, connections):
        """The balancer, as soon as so many connections are counted: no more, no less."""

        def look():
            seen = self.api.get(f"/loadbalancer/{balancer['uuid']}")
            last[:] = [seen["traffic"]["connections"]]
            return seen if last == [connections] else None

        last = []
        try:
            return wait_for(look, f"{connections} connections", COUNTERS_TIMEOUT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; {last[0]} are counted") from None

    def is_answered(self, balancer):
        url = f"http://{balancer['eip']}:{balancer['port']}/"
        return self.lab.run("client", ["curl", "-sS", "-m", "1", url], check=False).returncode == 0

    @contextlib.contextmanager
    def routes_to_client(self):
        """Backends send what is for the client through the node, as source_nat=false needs it."""
        routes = [("10.80.90.0/24", "10.80.96.2"), ("fd00:80:90::/64", "fd00:80:96::2")]
        for verb in ("replace", "del"):
            for name in self.backends.addresses:
                for net, via in routes:
                    self.lab.run(name, ["ip", "route", verb, net, "via", via])
            if verb == "replace":
                try:
                    yield
                except BaseException:
                    raise


# --- what a balancer does ------------------------------------------------------------------------


@case
def takes_the_datapath(bench):
    devices = bench.api.get("/capabilities")["devices"]
    assert (devices[0]["name"], devices[0]["datapath"]) == ("eth0", bench.datapath), devices


@case
def round_robin_is_exact(bench):
    same(bench.get(bench.balancer(), 120), {"b1": 40, "b2": 40, "b3": 40})


@case
def weights(bench):
    balancer = bench.balancer(scheduler="wrr", weights=(1, 2, 3))
    same(bench.get(balancer, 60), {"b1": 10, "b2": 20, "b3": 30})
    bench.patch(balancer, balancer["backends"][2], weight=0)
    same(bench.get(balancer, 30), {"b1": 10, "b2": 20})


@case
def source_hash(bench):
    for scheduler in ("sh", "maglev"):
        assert len(bench.get(bench.balancer(scheduler=scheduler, port=HTTP), 20)) == 1
        bench.api.clear()


@case
def tcp_ipv6(bench):
    same(bench.get(bench.balancer(family="ipv6"), 30), {"b1": 10, "b2": 10, "b3": 10})


@case
def udp(bench):
    for family in ("ipv4", "ipv6"):
        balancer = bench.balancer(port=ECHO, protocol="udp", family=family)
        result = bench.traffic.udp(balancer["eip"], ECHO, count=15, rounds=3)
        assert result["errors"] == [] and result["answers"] == {"b1": 15, "b2": 15, "b3": 15}, result


@case
def backends_see_the_node(bench):
    for family in ("ipv4", "ipv6"):
        same(bench.peer(bench.balancer(family=family)), NODE_BEFORE_BACKENDS[family])


@case
def backends_see_the_client(bench):
    with bench.routes_to_client():
        for family in ("ipv4", "ipv6"):
            balancer = bench.balancer(family=family, source_nat=False)
            same(bench.peer(balancer), CLIENT[family])
            same(bench.get(balancer, 30), {"b1": 10, "b2": 10, "b3": 10})
            bench.patch(balancer, source_nat=True)
            same(bench.peer(balancer), NODE_BEFORE_BACKENDS[family])


@case
def bytes_arrive(bench):
    size = 300000
    url = f"http://{bench.balancer()['eip']}:{HTTP}/bytes/{size}"
    result = bench.traffic.get(url, count=12, concurrency=4)
    assert result["errors"] == [] and len(result["sha256"]) == 1, result


@case
def another_port(bench):
    balancer = bench.api.create(port=80)
    bench.api.add_backend(balancer, bench.address("b2"), HTTP)
    same(bench.get(balancer, 3), {"b2": 3})


@case
def the_node_serves(bench):
    """A backend of type LOCAL: the node itself answers at the VIP."""
    with bench.lab.popen("node", [harness.LABSERVER, "--name", "node", "--http", 8088], stdout=-1, text=True) as server:
        try:
            assert server.stdout.readline() == "ready\n"
            balancer = bench.api.create(port=8088)
            bench.api.add_backend(balancer, "10.80.95.2", 8088, type="LOCAL")
            same(bench.get(balancer, 5), {"node": 5})
            same(bench.peer(balancer), CLIENT["ipv4"])
        finally:
            server.terminate()


@case
def an_address_of_the_node_is_no_masq_backend(bench):
    balancer = bench.api.create(port=HTTP)
    body = {"ip": "10.80.96.2", "port": HTTP}
    answer = bench.api.ask("POST", f"/loadbalancer/{balancer['uuid']}/backend", body)
    assert answer.status == 422 and "LOCAL" in answer.json["error"]["message"], answer


# --- what changes do -----------------------------------------------------------------------------


@case
def create_update_delete(bench):
    balancer = bench.balancer()
    other = bench.balancer(port=ECHO)
    same(bench.get(balancer, 6), {"b1": 2, "b2": 2, "b3": 2})
    bench.api.delete(balancer, balancer["backends"][0])
    same(bench.get(balancer, 6), {"b2": 3, "b3": 3})
    bench.patch(balancer, name="renamed")
    bench.api.add_backend(balancer, bench.address("b1"), HTTP)
    same(bench.get(balancer, 6), {"b1": 2, "b2": 2, "b3": 2})
    bench.api.delete(balancer)
    assert not bench.is_answered(balancer)
    with bench.traffic.hold(other["eip"], ECHO, count=3) as held:
        assert held.end()["errors"] == []


@case
def drain_and_disable(bench):
    balancer = bench.balancer(port=ECHO, names=("b1", "b2"))
    web = bench.balancer()
    with bench.traffic.hold(balancer["eip"], ECHO, count=4) as held:
        bench.patch(balancer, balancer["backends"][0], state="drain")
        rounds = held.now()["rounds"]
        wait_for(lambda: held.now()["rounds"] > rounds + 2, "drained connections to go on")
        assert held.end()["errors"] == []
    bench.patch(web, web["backends"][0], state="drain")
    same(bench.get(web, 6), {"b2": 3, "b3": 3})
    bench.patch(web, web["backends"][1], state="disabled")
    same(bench.get(web, 6), {"b3": 6})
    bench.patch(web, web["backends"][0], state="up")
    same(bench.get(web, 6), {"b1": 3, "b3": 3})


@case
def changes_break_nothing(bench):
    balancer = bench.balancer(port=ECHO)
    with bench.traffic.hold(balancer["eip"], ECHO, count=6) as held:
        extra = bench.api.add_backend(balancer, "10.80.96.99", ECHO, weight=0)
        bench.patch(balancer, scheduler="wrr")
        bench.api.delete(balancer, extra)
        rounds = held.now()["rounds"]
        wait_for(lambda: held.now()["rounds"] > rounds + 2, "connections to go on")
        assert held.end()["errors"] == []


@case
def statistics(bench):
    balancer = bench.balancer()
    bench.get(balancer, 30)
    seen = bench.counted(balancer, 30)
    total, parts = seen["traffic"], [backend["traffic"] for backend in seen["backends"]]
    assert [part["connections"] for part in parts] == [10, 10, 10], parts
    for way in ("in", "out"):
        assert total[f"bytes_{way}"] > 40 * total[f"packets_{way}"] > 40 * 90, total
        assert sum(part[f"packets_{way}"] for part in parts) == total[f"packets_{way}"], seen


# --- restart, repair -----------------------------------------------------------------------------


@case
def a_restart_is_not_felt(bench):
    echo, web = bench.balancer(port=ECHO), bench.balancer()
    bench.get(web, 9)
    with bench.traffic.hold(echo["eip"], ECHO, count=6) as held:
        bench.slb.kill()
        same(bench.get(web, 30), {"b1": 10, "b2": 10, "b3": 10})
        bench.slb.start()
        rounds = held.now()["rounds"]
        wait_for(lambda: held.now()["rounds"] > rounds + 2, "connections to survive the restart")
        assert held.end()["errors"] == []
    same(bench.get(web, 30), {"b1": 10, "b2": 10, "b3": 10})
    # Adopted, not made anew.
    bench.counted(web, 69)


@case
def stop_takes_away_or_keeps(bench):
    balancer = bench.balancer()
    bench.slb.stop()
    assert not bench.is_answered(balancer)
    left = leftovers(bench)
    bench.slb.start("--on-exit", "keep")
    assert left == "", left
    same(bench.get(balancer, 6), {"b1": 2, "b2": 2, "b3": 2})
    bench.slb.stop()
    same(bench.get(balancer, 6), {"b1": 2, "b2": 2, "b3": 2})
    bench.slb.start()
    same(bench.get(balancer, 6), {"b1": 2, "b2": 2, "b3": 2})


def said(bench, *command):
    return bench.lab.run("node", command, check=False).stdout.strip()


def leftovers(bench):
    """What of a datapath is on the node."""
    links = json.loads(said(bench, "ip", "-j", "-d", "link"))
    found = [f"xdp on {link['ifname']}" for link in links if link.get("xdp")]
    found += said(bench, "tc", "filter", "show", "dev", "eth0", "ingress").splitlines()
    if bench.datapath == "ipvs":
        found += said(bench, "ipvsadm", "-Sn").splitlines()
        found += [line for line in said(bench, "nft", "list", "tables").splitlines() if line.endswith(" slb")]
        found += [line for line in said(bench, "iptables", "-t", "nat", "-S").splitlines() if "SLB" in line]
    return "\n".join(found)


SABOTAGE = {
    "xdp": ["ip link set eth0 xdpdrv off", "ip link set eth1 xdpdrv off"],
    "xdp-generic": ["ip link set eth0 xdpgeneric off", "ip link set eth1 xdpgeneric off"],
    "tc": ["tc filter del dev eth0 ingress", "tc filter del dev eth1 ingress"],
    "ipvs": ["ipvsadm -C"],
}


@case
def what_others_remove_comes_back(bench):
    balancer = bench.balancer()
    same(bench.get(balancer, 3), {"b1": 1, "b2": 1, "b3": 1})
    for command in SABOTAGE[bench.datapath]:
        bench.lab.run("node", command.split())
    wait_for(lambda: bench.is_answered(balancer), "the datapath to be repaired", REPAIR_TIMEOUT_S)
    bench.get(balancer, 6)
    said_once = len(SABOTAGE[bench.datapath])
    wait_for(lambda: len(bench.slb.log_lines("by somebody")) >= said_once, "every repair to be said", REPAIR_TIMEOUT_S)
    same(len(bench.slb.log_lines("by somebody")), said_once)


# --- IPVS ----------------------------------------------------------------------------------------


@case_of("ipvs")
def ipvsadm_shows_it(bench):
    balancer = bench.balancer(names=("b1",))
    listing = [" ".join(line.split()) for line in said(bench, "ipvsadm", "-ln").splitlines()]
    at = listing.index(f"TCP {balancer['eip']}:{HTTP} rr")
    assert listing[at + 1].startswith(f"-> {bench.address('b1')}:{HTTP} Masq 1"), listing


@case_of("ipvs")
def services_of_others_stay(bench):
    bench.lab.run("node", ["ipvsadm", "-A", "-t", "10.80.95.86:7000", "-s", "wlc"])
    try:
        answer = bench.api.ask("POST", "/loadbalancer", {"name": "", "port": 7000, "eip": "10.80.95.86"})
        assert answer.status == 409 and "ipvsadm -D" in answer.json["error"]["message"], answer
        bench.slb.stop()
        bench.slb.start()
        bench.balancer()
        bench.api.clear()
        assert "TCP  10.80.95.86:7000 wlc" in said(bench, "ipvsadm", "-ln")
    finally:
        bench.lab.run("node", ["ipvsadm", "-D", "-t", "10.80.95.86:7000"])


def rules(bench):
    """Without the counters that iptables puts into nftables."""
    return said(bench, "nft", "list", "table", "ip", "slb") + said(bench, "iptables", "-t", "nat", "-S")


def masquerading(bench):
    return bench.slb.log_lines("Masquerading by (nftables|iptables)")[0].split(" by ")[1].split()[0]


@case_of("ipvs")
def details_come_back(bench):
    """Each change is undone, said once, and then nothing more is written or said."""
    balancer = bench.balancer()
    service, real = f"{balancer['eip']}:{HTTP}", f"{bench.address('b1')}:{HTTP}"
    flush = {"nftables": "nft flush ruleset", "iptables": "iptables -t nat -F"}[masquerading(bench)]
    changes = [
        f"ipvsadm -e -t {service} -r {real} -m -w 9",
        f"ipvsadm -d -t {service} -r {real}",
        f"ipvsadm -a -t {service} -r 10.80.96.99:80 -m",
        f"ipvsadm -E -t {service} -s wlc",
        flush,
        "sysctl -qw net.ipv4.vs.conntrack=0",
    ]

    def look():
        return said(bench, "ipvsadm", "-Sn") + rules(bench) + bench.slb.sysctl("net.ipv4.vs.conntrack")

    before = look()
    for count, change in enumerate(changes, 1):
        bench.lab.run("node", change.split())
        wait_for(lambda: look() == before, f"`{change}` to be undone", REPAIR_TIMEOUT_S)
        assert len(bench.slb.log_lines("by somebody")) == count, bench.slb.log()
    same(bench.peer(balancer), NODE_BEFORE_BACKENDS["ipv4"])


@case_of("ipvs")
def iptables_where_there_is_no_nftables(bench):
    """nft is hidden from slb by an entry of its PATH that fails."""
    bench.slb.stop()
    with bench.slb.without_program("nft"):
        bench.slb.start()
        assert masquerading(bench) == "iptables", bench.slb.log()
        for family in ("ipv4", "ipv6"):
            same(bench.peer(bench.balancer(family=family)), NODE_BEFORE_BACKENDS[family])
        details_come_back(bench)
        bench.slb.stop()
    left = leftovers(bench)
    assert left == "", left


def facts(bench):
    """What kind of datapath there is now, for those who expect a certain one."""
    links = json.loads(said(bench, "ip", "-j", "-d", "link", "show", "dev", "eth0"))
    program = (links[0].get("xdp") or {}).get("prog", {}).get("name")
    return {
        "devices": bench.api.get("/capabilities")["devices"],
        "xdp_program": program,
        "kernel": subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip(),
    }
