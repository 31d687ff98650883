# SPDX-License-Identifier: GPL-2.0-only
"""Our speaker and FRR."""

import pytest

from bgp_lab import NODE_AS, ROUTER_AS, Frr, Speaker, run, until

ROUTER = f"10.99.0.1,{ROUTER_AS}"


def frr_bgp(neighbor="10.99.0.11", asn=NODE_AS, extra="", local_as=ROUTER_AS, top=""):
    return f"""
router bgp {local_as}
 bgp router-id 10.99.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 {top}
 neighbor {neighbor} remote-as {asn}
 neighbor {neighbor} timers connect 1
 {extra}
 address-family ipv4 unicast
  neighbor {neighbor} activate
  neighbor {neighbor} soft-reconfiguration inbound
 exit-address-family
 address-family ipv6 unicast
  neighbor {neighbor} activate
 exit-address-family
exit
"""


def test_session_and_routes(lab):
    lab.base()
    frr = Frr(lab, "r", frr_bgp())
    node = Speaker(lab, flags=("-c", "65000:1,65000:1:2", "-m", "7"))
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    node.do("announce 2001:db8::1")
    node.do("complete")
    peer = node.up()
    assert peer["as4"] and peer["route_refresh"] and peer["graceful_restart"]
    path = until(lambda: frr.detail("192.0.2.1/32").get("paths"))[0]
    assert path["aspath"]["string"] == str(NODE_AS) and path["valid"]
    assert path["community"]["string"] == "65000:1" and path["metric"] == 7
    assert path["largeCommunity"]["string"] == "65000:1:2"
    assert path["nexthops"][0]["ip"] == "10.99.0.11"
    path = until(lambda: frr.detail("2001:db8::1/128", 6).get("paths"))[0]
    assert path["nexthops"][0]["ip"] == "fd99::11" and path["valid"]
    until(lambda: "192.0.2.1" in lab.sh("r", "ip route show proto bgp"))
    # What FRR understood of our OPEN.
    caps = frr.neighbor("10.99.0.11")["neighborCapabilities"]
    assert "received" in caps["4byteAs"].lower()
    assert "received" in caps["routeRefresh"].lower()
    assert "received" in caps["gracefulRestart"].lower()
    assert caps["multiprotocolExtensions"]["ipv4Unicast"]["advertisedAndReceived"]
    assert caps["multiprotocolExtensions"]["ipv6Unicast"]["advertisedAndReceived"]
    node.stop("stop disk is full")
    until(lambda: frr.detail("192.0.2.1/32").get("paths") is None)
    until(lambda: "disk is full" in frr.ask("show bgp neighbors 10.99.0.11") or
          frr.neighbor("10.99.0.11").get("lastShutdownDescription") == "disk is full")


@pytest.mark.parametrize("who", ["router", "node", "nobody"])
def test_who_connects(lab, who):
    lab.base()
    extra = "neighbor 10.99.0.11 passive" if who == "node" else ""
    frr = Frr(lab, "r", frr_bgp(extra=extra))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}{',passive' if who == 'router' else ''}")
    node.do("announce 192.0.2.1")
    peer = node.up()
    assert who == "nobody" or peer["incoming"] == (who == "router")
    until(lambda: len(frr.routes()) == 1)
    assert node.peer()["established_count"] == 1


def test_ipv6_session_md5_ibgp(lab):
    lab.base()
    frr = Frr(lab, "r", frr_bgp(neighbor="fd99::11", local_as=NODE_AS,
                                extra="neighbor fd99::11 password sesame"))
    password = lab.write("password", "sesame")
    run("chmod", "600", password)
    node = Speaker(lab)
    node.do(f"peer add fd99::1,{NODE_AS},password-file={password}")
    node.do("announce 2001:db8::1")
    node.do("announce 192.0.2.1")
    node.up()
    path = until(lambda: frr.detail("2001:db8::1/128", 6).get("paths"))[0]
    assert path["aspath"]["string"] == "Local" and path["locPrf"] == 100
    assert {hop["scope"] for hop in path["nexthops"]} == {"global", "link-local"}
    until(lambda: frr.detail("192.0.2.1/32").get("paths"))


def test_multihop(lab):
    lab.base(far=True)
    frr = Frr(lab, "far", frr_bgp(extra="neighbor 10.99.0.11 ebgp-multihop 2\n"
                                        " neighbor 10.99.0.11 update-source 10.98.0.2"))
    node = Speaker(lab)
    node.do(f"peer add 10.98.0.2,{ROUTER_AS},multihop=2")
    node.do("announce 192.0.2.1")
    node.up()
    until(lambda: len(frr.routes()) == 1)


def test_ttl_security(lab):
    lab.base()
    frr = Frr(lab, "r", frr_bgp(extra="neighbor 10.99.0.11 ttl-security hops 1"))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER},ttl-security")
    node.do("announce 192.0.2.1")
    node.up()
    until(lambda: len(frr.routes()) == 1)


def test_router_without_capabilities(lab):
    """A router as of 1995: no optional parameters, two-byte AS; ours is a large one."""
    lab.base()
    frr = Frr(lab, "r", frr_bgp(asn=4200000001, extra="neighbor 10.99.0.11 dont-capability-negotiate"))
    node = Speaker(lab, asn=4200000001)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    peer = node.up()
    assert not peer["as4"] and not peer["route_refresh"] and not peer["graceful_restart"]
    assert peer["families"] == 1
    path = until(lambda: frr.detail("192.0.2.1/32").get("paths"))[0]
    # FRR reads our capabilities although it sends none, so it does not look into AS4_PATH.
    assert path["aspath"]["string"] == "23456"


def test_hold_timer_and_restart(lab):
    lab.base()
    frr = Frr(lab, "r", frr_bgp(extra="neighbor 10.99.0.11 timers 1 3"))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1 10")
    assert node.up()["hold_s"] == 3
    until(lambda: len(frr.routes()) == 10)
    lab.sh("r", "ip link set v1 nomaster")
    node.down(timeout=6)
    assert "Hold Timer Expired" in node.peer()["last_error"]
    lab.sh("r", "ip link set v1 master br0")
    node.up()
    until(lambda: len(frr.routes()) == 10)
    frr.stop()
    node.down()
    frr.start()
    node.up()
    until(lambda: len(frr.routes()) == 10)


def test_burst_of_1000(lab):
    lab.base()
    frr = Frr(lab, "r", frr_bgp())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.up()
    node.do("announce 10.200.0.1 1000")
    node.do("announce 2001:db8:1::1 1000")
    until(lambda: len(frr.routes()) == 1000 and len(frr.routes(6)) == 1000)
    node.do("withdraw 10.200.0.1 1000")
    node.do("withdraw 2001:db8:1::1 1000")
    until(lambda: len(frr.routes()) == 0 and len(frr.routes(6)) == 0)


def test_graceful_restart(lab):
    """As against BIRD: kill -9, and the kernel's table of the router never changes."""
    lab.base()
    frr = Frr(lab, "r", frr_bgp(top="bgp graceful-restart\n bgp graceful-restart preserve-fw-state"))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1 10")
    node.do("complete")
    node.up()
    kernel = "ip route show proto bgp"
    until(lambda: lab.sh("r", kernel).count("192.0.2.") == 10)
    node.kill()
    until(lambda: frr.neighbor("10.99.0.11").get("bgpState") != "Established")
    assert lab.sh("r", kernel).count("192.0.2.") == 10
    node = Speaker(lab, flags=("-r",))
    node.do("announce 192.0.2.1 9")
    node.do(f"peer add {ROUTER}")
    node.up()
    assert lab.sh("r", kernel).count("192.0.2.") == 10
    node.do("complete")
    until(lambda: lab.sh("r", kernel).count("192.0.2.") == 9)
    assert len(frr.routes()) == 9


def test_graceful_shutdown_and_refresh(lab):
    lab.base()
    frr = Frr(lab, "r", frr_bgp())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    node.up()
    until(lambda: len(frr.routes()) == 1)
    node.do("shutdown-community on")
    until(lambda: "graceful-shutdown" in frr.ask("show bgp ipv4 unicast 192.0.2.1/32"))
    before = node.peer()["updates_sent"]
    frr.ask("clear bgp ipv4 unicast 10.99.0.11 in")
    frr.ask("clear bgp ipv6 unicast 10.99.0.11 in")
    frr.ask("clear bgp ipv4 unicast 10.99.0.11 soft in")
    lab.sh("r", "true")
    node.do("shutdown-community off")
    until(lambda: node.peer()["updates_sent"] > before)
    # An operator's reset with a NOTIFICATION; the session comes back.
    frr.ask("clear bgp 10.99.0.11")
    until(lambda: "Administrative Reset" in node.peer()["last_error"])
    node.up()
    until(lambda: len(frr.routes()) == 1)
