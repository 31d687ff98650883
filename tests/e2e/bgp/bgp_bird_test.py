# SPDX-License-Identifier: GPL-2.0-only
"""Our speaker and BIRD 2."""

import pytest

from bgp_lab import NODE_AS, Bird, Speaker, bird_bgp, until


def test_session_and_routes(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp())
    node = Speaker(lab)
    node.do("peer add 10.99.0.1,65001,hold=9")
    node.do("announce 192.0.2.1")
    node.do("announce 2001:db8::1")
    peer = node.up()
    assert peer["as4"] and peer["route_refresh"] and peer["hold_s"] == 9
    routes = until(lambda: bird.routes() or None)
    assert "BGP.next_hop: 10.99.0.11" in routes["192.0.2.1"]
    assert f"BGP.as_path: {NODE_AS}" in routes["192.0.2.1"]
    routes = until(lambda: bird.routes(6) or None)
    assert "BGP.next_hop: fd99::11" in routes["2001:db8::1"]
    node.do("withdraw 192.0.2.1")
    until(lambda: bird.count() == 0)
    node.stop("stop maintenance of rack 7")
    assert "maintenance of rack 7" in bird.ask("show protocols all node")
