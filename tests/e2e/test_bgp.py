# SPDX-License-Identifier: GPL-2.0-only
"""slb with --bgp and the adapter lo, a router that runs BIRD, and clients behind it: VIPs are in no
network of the lab, so that connections arrive only where and while the router has been told."""
import subprocess

import pytest

import bgp_router
from bgp_router import NODE_AS, NODES, ROUTER, ROUTER_AS
from harness import Api, Backends, Capture, Slb, wait_for

TOPOLOGY = "bgp"
BASE = ("--bgp", "--bgp-as", str(NODE_AS), "--adapter", "lo")
PEER = ("--bgp-peer", f"{ROUTER[4]},{ROUTER_AS}")
FAST = ("--bgp-graceful-shutdown", "0")


@pytest.fixture
def start_router(lab, tmp_path):
    started = []

    def start(*nodes, **options):
        router = bgp_router.Router(lab, tmp_path, *(nodes or ("node",)), **options).start()
        started.append(router)
        return router

    yield start
    for router in started:
        router.stop()


@pytest.fixture
def start_slb(request, lab, tmp_path):
    """Starts an slb in a node, with --bgp in place of --arp."""
    started = []

    def start(*flags, member="node"):
        folder = tmp_path / member
        folder.mkdir()
        slb = Slb(lab, folder, *BASE, "--ipamRange", lab.topology.pool, *flags, member=member)
        slb.pin_path = f"/sys/fs/bpf/slb-{member}"  # the lab has one bpf file system
        started.append(slb)
        slb.start()
        return slb, Api(lab, slb, member="router")

    request.node.slbs = started
    try:
        yield start
        for slb in started:
            slb.stop()
    finally:
        for slb in started:
            slb.end()


def balanced(lab, api, **fields):
    """A load balancer with two backends; returns it and its URL."""
    balancer = api.create(port=Backends.HTTP, **fields)
    v6 = ":" in balancer["eip"]
    for name in ("b1", "b2"):
        address = lab.topology.member(name).ports[0].addresses[v6]
        api.add_backend(balancer, address.partition("/")[0], Backends.HTTP)
    host = f"[{balancer['eip']}]" if v6 else balancer["eip"]
    return balancer, f"http://{host}:{Backends.HTTP}/"


def told(router, balancer, *nodes):
    """Waits until the router's kernel sends the VIP's packets to these nodes, and to no other."""
    vip = balancer["eip"]
    wanted = {NODES[node][6 if ":" in vip else 4] for node in nodes}
    wait_for(lambda: router.next_hops(vip) == wanted, f"the router to have {vip} via {wanted}", 30)


def established(router, *nodes):
    for node in nodes:
        wait_for(lambda: router.is_up(node), f"a BGP session with {node}", 30)


# --- One node ------------------------------------------------------------------------------------


def test_announced_reached_and_withdrawn(lab, start_router, start_slb, backends, traffic):
    router = start_router()
    slb, api = start_slb(*PEER, *FAST)
    established(router, "node")
    with Capture(lab, "router", "arp", device="eth1") as capture:
        balancer, url = balanced(lab, api)
        told(router, balancer, "node")
        result = traffic.get(url, count=100)
        assert result["errors"] == []
        assert result["answers"] == {"b1": 50, "b2": 50}
        # Nothing was told to the segment.
        assert not [line for line in capture.lines() if balancer["eip"] in line]
    assert f"{balancer['eip']}/32" in slb.addresses("lo")
    assert slb.xdp_mode("eth0") == slb.xdp_mode("eth1") == "driver"
    assert slb.xdp_mode("lo") is None
    api.delete(balancer)
    told(router, balancer)
    assert f"{balancer['eip']}/32" not in slb.addresses("lo")


def test_ipv6(lab, start_router, start_slb, backends, traffic):
    """Session, VIP, clients and backends by IPv6."""
    router = start_router(("node", 6))
    slb, api = start_slb("--bgp-peer", f"{ROUTER[6]},{ROUTER_AS}", *FAST)
    established(router, "node")
    balancer, url = balanced(lab, api, family="ipv6")
    assert balancer["eip"].startswith("2001:db8:5::")
    told(router, balancer, "node")
    result = traffic.get(url, count=100)
    assert result["errors"] == []
    assert result["answers"] == {"b1": 50, "b2": 50}
    # IPv4 over the same session, by the node's IPv4 address.
    balancer4, url4 = balanced(lab, api)
    told(router, balancer4, "node")
    assert traffic.get(url4, count=20)["answers"] == {"b1": 10, "b2": 10}
    api.delete(balancer)
    told(router, balancer)


def test_attributes_arrive(lab, start_router, start_slb):
    router = start_router()
    flags = ("--bgp-communities", "65010:7,65010:8:9,no-export", "--bgp-med", "50")
    _, api = start_slb(*PEER, *flags, "--bgp-next-hop", "10.80.95.2", *FAST)
    balancer = api.create()
    told(router, balancer, "node")
    entry = router.entry(balancer["eip"])
    for line in (
        f"BGP.as_path: {NODE_AS}",
        "BGP.next_hop: 10.80.95.2",
        "BGP.med: 50",
        "BGP.community: (65010,7) (65535,65281)",
        "BGP.large_community: (65010, 8, 9)",
    ):
        assert line in entry


def test_a_killed_slb_loses_no_request(lab, start_router, start_slb, backends, traffic):
    """Graceful restart (RFC 4724): the router keeps the routes, the kernel balances on."""
    router = start_router()
    slb, api = start_slb(*PEER, *FAST)
    established(router, "node")
    balancer, url = balanced(lab, api)
    echo = api.create(port=Backends.ECHO)
    api.add_backend(echo, Backends(lab).addresses["b3"], Backends.ECHO)
    told(router, balancer, "node")
    told(router, echo, "node")
    with traffic.hold(echo["eip"], Backends.ECHO) as held, traffic.load(url) as load:
        wait_for(lambda: len(load.now()["answers"]) == 2, "both backends to answer")
        slb.kill()
        wait_for(lambda: not router.is_up(), "the router to see the session end")
        assert router.entry(balancer["eip"])
        answered = sum(load.now()["answers"].values())
        wait_for(lambda: sum(load.now()["answers"].values()) > answered + 100, "requests without slb")
        slb.start()
        established(router, "node")
        wait_for(lambda: api.get("/bgp/peers")[0]["announced"] == 2, "the routes to be told again")
        answered = sum(load.now()["answers"].values())
        wait_for(lambda: sum(load.now()["answers"].values()) > answered + 100, "requests with slb")
        told(router, balancer, "node")
        assert load.end()["errors"] == []
        assert held.end()["errors"] == []


def test_stop_and_keep(lab, start_router, start_slb, backends, traffic):
    router = start_router()
    slb, api = start_slb(*PEER, "--on-exit", "keep")
    balancer, url = balanced(lab, api)
    told(router, balancer, "node")
    with traffic.load(url) as load:
        slb.stop()
        wait_for(lambda: not router.is_up(), "the router to see the session end")
        answered = sum(load.now()["answers"].values())
        wait_for(lambda: sum(load.now()["answers"].values()) > answered + 100, "requests without slb")
        slb.flags[-1] = "withdraw"
        slb.start()
        established(router, "node")
        wait_for(lambda: api.get("/bgp/peers")[0]["announced"] == 1, "the route to be told again")
        assert load.end()["errors"] == []


def test_a_clean_stop_withdraws(lab, start_router, start_slb):
    router = start_router()
    slb, api = start_slb(*PEER, *FAST)
    balancer = api.create()
    told(router, balancer, "node")
    addresses = slb.addresses("lo")
    assert f"{balancer['eip']}/32" in addresses
    slb.stop()
    told(router, balancer)
    assert slb.addresses("lo") == [a for a in addresses if not a.startswith(balancer["eip"])]
    # Told as the end it is, not as a restart: RFC 4486, RFC 9003.
    wait_for(
        lambda: "Administrative shutdown" in router.ask("show protocols all node"),
        "BIRD to tell why the session ended",
    )


def test_drain_asks_routers_first(lab, start_router, start_slb):
    router = start_router()
    slb, api = start_slb(*PEER, "--on-exit", "drain", "--bgp-graceful-shutdown", "1")
    balancer, _ = balanced(lab, api)
    told(router, balancer, "node")
    slb.stop()
    told(router, balancer)
    (asked,), (drained,) = slb.log_lines("Asking BGP peers"), slb.log_lines("Draining")
    assert slb.log().index(asked) < slb.log().index(drained)


def test_passive_with_password_and_ttl_security(lab, start_router, start_slb, tmp_path):
    password = tmp_path / "bgp-password"
    password.write_text("a secret\n")
    password.chmod(0o600)
    router = start_router(options='password "a secret"; ttl security on;')
    peer = f"{ROUTER[4]},{ROUTER_AS},passive,password-file={password},ttl-security"
    _, api = start_slb("--bgp-peer", peer, *FAST)
    balancer = api.create()
    told(router, balancer, "node")
    (shown,) = api.get("/bgp/peers")
    assert shown["has_password"] and shown["passive"] and shown["ttl_security"] == 1
    assert "a secret" not in str(shown)


# --- Two nodes -----------------------------------------------------------------------------------


@pytest.fixture
def two_nodes(lab, start_router, start_slb, backends):
    """Both announce the same VIP to the same backends; the router spreads connections (ECMP)."""
    router = start_router("node", "node2")
    nodes = [start_slb(*PEER, member=member) for member in ("node", "node2")]
    made = [balanced(lab, api, eip="203.0.113.5") for _, api in nodes]
    balancer, url = made[0]
    told(router, balancer, "node", "node2")
    return router, nodes, [balancer for balancer, _ in made], url


def connections(node, balancer):
    _, api = node
    return api.get(f"/loadbalancer/{balancer['uuid']}")["traffic"]["connections"]


def test_two_nodes_share_connections(two_nodes, traffic):
    router, nodes, balancers, url = two_nodes
    result = traffic.get(url, count=400)
    assert result["errors"] == []
    assert sum(result["answers"].values()) == 400
    counts = [connections(node, balancer) for node, balancer in zip(nodes, balancers)]
    assert sum(counts) == 400 and min(counts) > 100, counts


def test_a_node_that_stops_is_left_first(two_nodes, traffic):
    """Graceful shutdown (RFC 8326): the router takes the other way while this one still works; only
    then is the route withdrawn. Connections that are under way on it at that moment go to a node
    that does not know them: no more than those end."""
    router, nodes, (balancer, _), url = two_nodes
    slb, _ = nodes[1]
    with traffic.load(url, concurrency=4) as load:
        wait_for(lambda: sum(load.now()["answers"].values()) > 100, "requests to be answered")
        slb.stop()
        told(router, balancer, "node")
        assert "Asking BGP peers to take other ways, for 3 s" in slb.log()
        answered = sum(load.now()["answers"].values())
        wait_for(lambda: sum(load.now()["answers"].values()) > answered + 100, "requests by one")
        result = load.end()
    assert result["failed"] <= 4, result["errors"]


# --- Peers by the API ----------------------------------------------------------------------------


def test_a_peer_added_at_run_time_is_kept(lab, start_router, start_slb):
    router = start_router()
    slb, api = start_slb(*FAST)
    balancer = api.create()
    assert api.get("/bgp/peers") == []
    answer = api.ask("POST", "/bgp/peers", {"address": ROUTER[4], "as": ROUTER_AS})
    assert (answer.status, answer.headers["location"]) == (201, f"/bgp/peers/{ROUTER[4]}")
    assert answer.json["origin"] == "api"
    slb.kill()  # right after the answer: it is durable
    slb.start()
    told(router, balancer, "node")
    peer = api.get(f"/bgp/peers/{ROUTER[4]}")
    assert (peer["state"], peer["announced"], peer["origin"]) == ("Established", 1, "api")
    assert {"IPv4 unicast", "IPv6 unicast", "graceful restart"} <= set(peer["capabilities"])
    assert api.ask("POST", "/bgp/peers", {"address": ROUTER[4], "as": 1}).status == 409
    metrics = api.ask("GET", "/metrics").body.decode()
    labels = f'address="{ROUTER[4]}",as="{ROUTER_AS}"'
    assert f"slb_bgp_peer_established{{{labels}}} 1\n" in metrics
    assert f"slb_bgp_peer_announced_routes{{{labels}}} 1\n" in metrics

    assert api.ask("DELETE", f"/bgp/peers/{ROUTER[4]}").status == 204
    told(router, balancer)
    assert api.ask("DELETE", f"/bgp/peers/{ROUTER[4]}").status == 404
    slb.stop()
    slb.start()
    assert api.get("/bgp/peers") == []


def test_peers_that_cannot_be(lab, start_slb):
    _, api = start_slb(*PEER, *FAST)
    good = {"address": "10.80.95.9", "as": 65009}
    for wrong, sentence in (
        ({"as": 65535}, "reserved"),
        ({"hold_s": 2}, "hold=2"),
        ({"source": "fd00::1"}, "address family"),
        ({"multihop": 2, "ttl_security": 2}, "exclude each other"),
        ({"as": NODE_AS, "multihop": 2}, "another AS"),
        ({"address": "224.0.0.1"}, "cannot be a peer's"),
        ({"address": "fe80::1"}, "link-local"),
    ):
        answer = api.ask("POST", "/bgp/peers", {**good, **wrong})
        assert answer.status == 422 and sentence in answer.json["error"]["message"], answer
    (peer,) = api.get("/bgp/peers")
    assert peer["origin"] == "flag"
    answer = api.ask("DELETE", f"/bgp/peers/{ROUTER[4]}")
    assert answer.status == 409 and "--bgp-peer" in answer.json["error"]["message"]


def test_arp_and_bgp_exclude_each_other(lab, tmp_path):
    slb = Slb(lab, tmp_path)
    done = slb.run("server", *BASE, "--arp", "--ipamRange", "203.0.113.0/28")
    assert done.returncode == 2
    assert "--arp and --bgp exclude each other" in done.stderr
