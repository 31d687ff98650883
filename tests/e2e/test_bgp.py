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


def balanced(lab, api, family=4, names=("b1", "b2"), **fields):
    """A load balancer with two backends; returns it and its URL."""
    balancer = api.create(port=Backends.HTTP, **fields)
    for name in names:
        address = lab.topology.member(name).ports[0].addresses[0 if family == 4 else 1]
        api.add_backend(balancer, address.partition("/")[0], Backends.HTTP)
    host = balancer["eip"] if family == 4 else f"[{balancer['eip']}]"
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
