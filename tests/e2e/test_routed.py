# SPDX-License-Identifier: GPL-2.0-only
"""A node with an adapter on one network and its backends on another: packets come by one device
and leave by the other. Which devices these are is slb's to find out, and to follow."""
import pytest

from harness import PYTHON, wait_for

TOPOLOGY = "routed"


@pytest.fixture
def url(api, backends):
    balancer = api.create(port=backends.HTTP)
    for ip in backends.addresses.values():
        api.add_backend(balancer, ip, backends.HTTP)
    return f"http://{balancer['eip']}:{backends.HTTP}/"


@pytest.fixture
def second_way(lab):
    """Lets the test move the backends' network from eth1 to eth2; puts everything back after it."""

    def node(*words):
        lab.run("node", ["ip", *words])

    def move():
        node("link", "set", "eth2", "up")
        node("address", "add", "10.80.96.3/24", "dev", "eth2", "noprefixroute")
        node("route", "replace", "10.80.96.0/24", "dev", "eth2", "src", "10.80.96.3")
        lab.unplug("node", "eth1")

    yield move
    lab.plug("node", "eth1")
    node("address", "flush", "dev", "eth2")
    node("link", "set", "eth2", "down")
    node("route", "replace", "10.80.96.0/24", "dev", "eth1", "src", "10.80.96.2")


def test_in_by_one_device_out_by_the_other(url, slb, traffic):
    result = traffic.get(url, count=300)
    assert result["errors"] == []
    assert result["answers"] == {"b1": 100, "b2": 100, "b3": 100}
    assert slb.xdp_mode("eth0") == "driver"
    assert slb.xdp_mode("eth1") == "driver"
    assert slb.xdp_mode("eth2") is None


def test_downloads(url, traffic):
    result = traffic.get(f"{url}bytes/1048576", count=30, concurrency=30)
    assert result["errors"] == []
    assert list(result["sha256"].values()) == [30]


def test_the_source_is_the_address_towards_the_backends(url, lab):
    answer = lab.run("client", ["curl", "-sSi", "-m", "5", url]).stdout
    assert "X-Peer: 10.80.96.2:" in answer


def test_a_route_that_moves_is_followed(url, slb, traffic, second_way):
    assert traffic.get(url, count=3)["errors"] == []
    second_way()
    wait_for(lambda: slb.xdp_mode("eth2") == "driver", "a program on eth2")
    wait_for(
        lambda: traffic.get(url, count=9, concurrency=9)["answers"] == {"b1": 3, "b2": 3, "b3": 3},
        "requests to go by eth2",
        timeout_s=30,
    )


def test_a_neighbour_that_gets_another_mac_is_followed(url, lab, traffic):
    """As when a backend's network card is replaced; running connections carry on."""
    def mac(member, address):
        lab.run(member, ["ip", "link", "set", "eth0", "address", address])

    old = "02:00:00:00:00:19"
    with traffic.load(url) as load:
        wait_for(lambda: len(load.now()["answers"]) == 3, "all backends to answer")
        mac("b1", "02:00:00:00:00:77")
        try:
            # What a machine does when its address changes.
            lab.run("b1", ["arping", "-c", "1", "-U", "-i", "eth0", "10.80.96.25"], check=False)
            before = load.now()["answers"]["b1"]
            wait_for(lambda: load.now()["answers"]["b1"] > before + 30, "b1 to answer again", 20)
            assert load.end()["errors"] == []
        finally:
            mac("b1", old)
            lab.run("b1", ["arping", "-c", "1", "-U", "-i", "eth0", "10.80.96.25"], check=False)


# --- ICMP ----------------------------------------------------------------------------------------


def asked(lab, packet):
    """Who answers a packet of the client's, written in Scapy, and with what."""
    script = (
        "import logging; logging.getLogger('scapy.runtime').setLevel(logging.ERROR)\n"
        "from scapy.all import ICMP, IP, TCP, UDP, Raw, sr1\n"
        f"answer = sr1({packet}, timeout=5, retry=2, verbose=0)\n"
        "print(answer.src, answer.sprintf('%ICMP.type%') if ICMP in answer else answer.summary())\n"
    )
    return lab.run("client", [PYTHON, "-c", script]).stdout.strip()


def test_a_path_that_narrows(url, lab, traffic):
    """A router in the middle takes 1,280 bytes only, and says so to the VIP: the backend must hear of it."""
    lab.run("router", ["ip", "link", "set", "eth0", "mtu", "1280"])
    try:
        result = traffic.get(f"{url}bytes/1048576", count=9, concurrency=9)
        assert result["errors"] == []
        assert list(result["sha256"].values()) == [9]
        for name in ("b1", "b2", "b3"):
            route = lab.run(name, ["ip", "route", "get", "10.80.96.2"]).stdout
            assert "mtu 1280" in route, route
    finally:
        lab.run("router", ["ip", "link", "set", "eth0", "mtu", "1500"])
        for name in ("b1", "b2", "b3"):
            lab.run(name, ["ip", "route", "flush", "cache"])


def test_ping(url, lab):
    vip = url.split("/")[2].partition(":")[0]
    assert asked(lab, f"IP(dst='{vip}')/ICMP()/Raw(b'steel')") == f"{vip} echo-reply"


@pytest.mark.parametrize("probe", ["UDP(dport=33434)", "TCP(sport=40000+{ttl}, dport=6443)"])
def test_traceroute(url, lab, probe):
    """Router, then the VIP's own machine; a connection's probe goes on to the backend, which answers as the VIP."""
    vip = url.split("/")[2].partition(":")[0]
    hops = [asked(lab, f"IP(dst='{vip}', ttl={ttl})/" + probe.format(ttl=ttl)) for ttl in (1, 2, 3)]
    assert hops[0] == "10.80.90.1 time-exceeded"
    if "UDP" in probe:
        assert hops[1] == f"{vip} dest-unreach"
    else:
        assert hops[1] == f"{vip} time-exceeded"
        assert hops[2].startswith(f"{vip} ") and hops[2].endswith(" SA")
