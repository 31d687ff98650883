# SPDX-License-Identifier: GPL-2.0-only
"""Our speaker and GoBGP."""

import pytest

from bgp_lab import NODE_AS, ROUTER_AS, Gobgp, Speaker, run, until

ROUTER = f"10.99.0.1,{ROUTER_AS}"


def gobgp_config(neighbor="10.99.0.11", asn=NODE_AS, local_as=ROUTER_AS, passive=False, extra="",
                 password=""):
    return f"""
[global.config]
  as = {local_as}
  router-id = "10.99.0.1"
  port = 179
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{neighbor}"
    peer-as = {asn}
    auth-password = "{password}"
  [neighbors.transport.config]
    passive-mode = {str(passive).lower()}
  [neighbors.timers.config]
    connect-retry = 1
    hold-time = 9
    keepalive-interval = 3
  {extra}
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
"""


def attribute(path, kind):
    return next((a for a in path["attrs"] if a["type"] == kind), None)


@pytest.mark.parametrize("passive", [False, True])
def test_session_and_routes(lab, passive):
    lab.base()
    router = Gobgp(lab, "r", gobgp_config(passive=passive))
    node = Speaker(lab, flags=("-c", "65000:1,65000:1:2", "-m", "7"))
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    node.do("announce 2001:db8::1")
    peer = node.up(timeout=25)
    assert peer["as4"] and peer["route_refresh"] and peer["hold_s"] == 9
    path = until(lambda: router.routes().get("192.0.2.1"))[0]
    assert attribute(path, 2)["as_paths"] == [{"segment_type": 2, "num": 1, "asns": [NODE_AS]}]
    assert attribute(path, 3)["nexthop"] == "10.99.0.11"
    assert attribute(path, 4)["metric"] == 7
    assert attribute(path, 8)["communities"] == [65000 << 16 | 1]
    assert attribute(path, 32)["value"] == [{"ASN": 65000, "LocalData1": 1, "LocalData2": 2}]
    path = until(lambda: router.routes(6).get("2001:db8::1"))[0]
    assert attribute(path, 14)["nexthop"] == "fd99::11"
    node.do("withdraw 192.0.2.1")
    until(lambda: not router.routes())
    router.ask("softresetin")
    node.stop("stop bye")
    until(lambda: not router.routes(6))


def test_router_connects_ipv6_md5(lab):
    lab.base()
    password = lab.write("password", "sesame\n")
    run("chmod", "600", password)
    router = Gobgp(lab, "r", gobgp_config(neighbor="fd99::11", password="sesame"))
    node = Speaker(lab)
    node.do(f"peer add fd99::1,{ROUTER_AS},passive,password-file={password}")
    node.do("announce 2001:db8::1")
    assert node.up(timeout=25)["incoming"]
    path = until(lambda: router.routes(6).get("2001:db8::1"))[0]
    assert attribute(path, 14)["nexthop"] == "fd99::11"


def test_burst_and_large_as(lab):
    lab.base()
    router = Gobgp(lab, "r", gobgp_config(asn=4200000001))
    node = Speaker(lab, asn=4200000001)
    node.do(f"peer add {ROUTER}")
    node.up(timeout=25)
    node.do("announce 10.200.0.1 1000")
    until(lambda: len(router.routes()) == 1000)
    node.do("withdraw 10.200.0.1 1000")
    until(lambda: len(router.routes()) == 0)


def test_notification_and_return(lab):
    lab.base()
    router = Gobgp(lab, "r", gobgp_config())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    node.up(timeout=25)
    router.ask("neighbor", "10.99.0.11", "disable")
    until(lambda: node.peer()["last_error"] == "received Cease, Administrative Shutdown")
    until(lambda: "does the peer know this node" in node.peer()["connect_error"] or
          "cannot connect" in node.peer()["connect_error"])
    assert "Administrative Shutdown" in node.peer()["last_error"]
    router.ask("neighbor", "10.99.0.11", "enable")
    node.up(timeout=25)
    until(lambda: router.routes().get("192.0.2.1"))
