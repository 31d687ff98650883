# SPDX-License-Identifier: GPL-2.0-only
"""Our speaker and BIRD 2."""

import re
import subprocess

import pytest

from bgp_lab import NODE_AS, Bird, Speaker, bird_bgp, run, until

ROUTER = "10.99.0.1,65001"

SERVER = """
import socket
listener = socket.create_server(("192.0.2.1", 8080), backlog=64)
while True:
    with listener.accept()[0] as connection:
        connection.sendall(b"served")
"""
CLIENT = """
import select, socket, sys
while not select.select([sys.stdin], [], [], 0.005)[0]:
    try:
        with socket.create_connection(("192.0.2.1", 8080), timeout=0.9) as connection:
            print(connection.recv(64).decode() or "empty")
    except OSError as error:
        print("failed:", error)
"""


def test_session_and_routes(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER},hold=9")
    node.do("announce 192.0.2.1")
    node.do("announce 2001:db8::1")
    peer = node.up()
    assert peer["as4"] and peer["route_refresh"] and peer["hold_s"] == 9
    routes = until(lambda: bird.routes() or None)
    assert "BGP.next_hop: 10.99.0.11" in routes["192.0.2.1"]
    assert f"BGP.as_path: {NODE_AS}" in routes["192.0.2.1"]
    # The IPv6 next hop of an IPv4 session: the adapter's own.
    routes = until(lambda: bird.routes(6) or None)
    assert "BGP.next_hop: fd99::11" in routes["2001:db8::1"]
    node.do("withdraw 192.0.2.1")
    until(lambda: bird.count() == 0)
    node.stop("stop maintenance of rack 7")
    assert "maintenance of rack 7" in bird.ask("show protocols all node")


@pytest.mark.parametrize("who", ["router", "node", "nobody"])
def test_who_connects(lab, who):
    """One side passive, the other passive, and both connecting at once."""
    lab.base()
    bird = Bird(lab, "r", bird_bgp(extra="passive on;" if who == "node" else ""))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}{',passive' if who == 'router' else ''}")
    node.do("announce 192.0.2.1")
    peer = node.up()
    assert who == "nobody" or peer["incoming"] == (who == "router")
    until(lambda: bird.count() == 1)
    # A collision leaves one session, and that one stays.
    assert node.peer()["established_count"] == 1


def test_ipv6_session(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp(neighbor="fd99::11"))
    node = Speaker(lab)
    node.do("peer add fd99::1,65001")
    node.do("announce 2001:db8::1")
    node.do("announce 192.0.2.1")
    peer = node.up()
    assert peer["next_hop6"] == "fd99::11" and peer["next_hop6_link_local"].startswith("fe80:")
    assert peer["next_hop4"] == "10.99.0.11"
    route = until(lambda: bird.routes(6) or None)["2001:db8::1"]
    assert re.search(r"BGP.next_hop: fd99::11 fe80:", route)
    assert "BGP.next_hop: 10.99.0.11" in until(lambda: bird.routes() or None)["192.0.2.1"]


def test_family_without_next_hop_is_said(lab):
    lab.base()
    lab.sh("n1", "ip -6 addr del fd99::11/64 dev eth0")
    Bird(lab, "r", bird_bgp())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 2001:db8::1")
    peer = node.up()
    assert "ipv6 VIPs are not announced" in peer["note"] and peer["announced6"] == 0
    lab.sh("n1", "ip -6 addr add fd99::11/64 dev eth0 nodad")
    node.do("addresses")
    until(lambda: node.peer()["announced6"] == 1)
    assert node.peer()["note"] == ""


@pytest.mark.parametrize("passive", ["", ",passive"])
@pytest.mark.parametrize("family", [4, 6])
def test_md5(lab, passive, family):
    lab.base()
    neighbor, router = ("10.99.0.11", "10.99.0.1") if family == 4 else ("fd99::11", "fd99::1")
    bird = Bird(lab, "r", bird_bgp(neighbor=neighbor, extra='password "sesame";'))
    password = lab.write("password", "sesame\n")
    run("chmod", "600", password)
    node = Speaker(lab)
    node.do("announce 192.0.2.1")
    node.do(f"peer add {router},65001,password-file={password}{passive}")
    node.up()
    until(lambda: bird.count() == 1)
    # Without the password, or with another one, nothing comes up.
    node.do(f"peer remove {router}")
    until(lambda: bird.count() == 0)
    lab.write("password", "wrong\n")
    node.do(f"peer add {router},65001,password-file={password}{passive},connect-retry=1")
    with pytest.raises(AssertionError):
        node.up(timeout=2.5)
    assert node.tell("peer remove 10.1.1.1")["ok"] is False


def test_multihop(lab):
    lab.base(far=True)
    bird = Bird(lab, "far", bird_bgp(extra="multihop 2;", local="10.98.0.2"))
    node = Speaker(lab)
    node.do("peer add 10.98.0.2,65001,multihop=2,source=10.99.0.11")
    node.do("announce 192.0.2.1")
    node.up()
    assert "BGP.next_hop: 10.99.0.11" in until(lambda: bird.routes() or None)["192.0.2.1"]


def test_one_hop_only_without_multihop(lab):
    lab.base(far=True)
    Bird(lab, "far", bird_bgp(extra="multihop 2;", local="10.98.0.2"))
    node = Speaker(lab)
    node.do("peer add 10.98.0.2,65001,connect-retry=1")
    with pytest.raises(AssertionError):
        node.up(timeout=2)


def test_ttl_security(lab):
    """GTSM on both sides; and with the peer a hop too far away."""
    lab.base(far=True)
    bird = Bird(lab, "r", bird_bgp(extra="ttl security on;"))
    Bird(lab, "far", bird_bgp(extra="multihop 2; ttl security on;", local="10.98.0.2"))
    node = Speaker(lab)
    node.do("announce 192.0.2.1")
    node.do(f"peer add {ROUTER},ttl-security")
    node.do("peer add 10.98.0.2,65001,ttl-security=1,connect-retry=1")
    until(lambda: bird.count() == 1)
    with pytest.raises(AssertionError):
        node.up(index=0, timeout=2)  # 10.98.0.2 sorts first
    node.do("peer remove 10.98.0.2")
    node.do("peer add 10.98.0.2,65001,ttl-security=2")
    node.up(index=0)


def test_four_byte_as(lab):
    lab.base()
    asn = 4200000001
    bird = Bird(lab, "r", bird_bgp(asn=asn))
    node = Speaker(lab, asn=asn)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    assert node.up()["as4"]
    assert f"BGP.as_path: {asn}" in until(lambda: bird.routes() or None)["192.0.2.1"]


def test_ibgp_and_attributes(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp(local_as=NODE_AS))
    node = Speaker(lab, flags=("-c", "65000:1,no-export,65000:2:3", "-l", "250", "-m", "7"))
    node.do(f"peer add 10.99.0.1,{NODE_AS}")
    node.do("announce 192.0.2.1")
    node.do("announce 2001:db8::1")
    node.up()
    for family, vip in ((4, "192.0.2.1"), (6, "2001:db8::1")):
        route = until(lambda f=family: bird.routes(f) or None)[vip]
        assert "BGP.local_pref: 250" in route and "BGP.med: 7" in route
        assert re.search(r"BGP.as_path: *\n", route)
        assert "(65000,1)" in route and "(65535,65281)" in route and "(65000, 2, 3)" in route


def test_hold_timer(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp(extra="hold time 240;"))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER},hold=3")
    node.do("announce 192.0.2.1")
    node.up()
    until(lambda: bird.count() == 1)
    lab.sh("n1", "nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0; }';"
                 " nft add rule inet t i tcp sport 179 drop; nft add rule inet t i tcp dport 179 drop")
    node.down(timeout=6)
    assert "Hold Timer Expired" in node.peer()["last_error"]
    lab.sh("n1", "nft delete table inet t")
    node.up()
    until(lambda: bird.count() == 1)


def test_hold_time_zero(lab):
    """Neither keepalives nor a hold timer."""
    lab.base()
    bird = Bird(lab, "r", bird_bgp(extra="hold time 0;"))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER},hold=0")
    node.do("announce 192.0.2.1")
    assert node.up()["hold_s"] == 0
    until(lambda: bird.count() == 1)


def test_router_restarts(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1 20")
    node.up()
    until(lambda: bird.count() == 20)
    bird.kill()
    node.down()
    node.do("withdraw 192.0.2.1 5")
    bird.start()
    node.up()
    until(lambda: bird.count() == 15)
    # An orderly stop is told in words.
    bird.ask('disable node "the operator says so"')
    node.down()
    assert node.peer()["last_error"].startswith("received Cease, Administrative Shutdown")
    assert "the operator says so" in node.peer()["last_error"]
    bird.ask("enable node")
    node.up()


def test_wrong_as_both_ways(lab):
    lab.base()
    Bird(lab, "r", bird_bgp(asn=65999))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    until(lambda: "OPEN Message Error, Bad Peer AS" in node.peer()["last_error"])
    node.do("peer remove 10.99.0.1")
    node.do("peer add 10.99.0.1,64999")
    until(lambda: "the peer says it is AS 65001, but AS 64999 is configured" in
          node.peer()["last_error"])


@pytest.mark.parametrize("first,family", [("10.200.0.1", 4), ("2001:db8:1::1", 6)])
def test_burst_of_1000(lab, first, family):
    lab.base()
    bird = Bird(lab, "r", bird_bgp())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.up()
    before = node.peer()["updates_sent"]
    node.do(f"announce {first} 1000")
    until(lambda: bird.count(family) == 1000)
    messages = node.peer()["updates_sent"] - before
    assert messages <= (2 if family == 4 else 5), "the burst is packed into few messages"
    assert node.peer()[f"announced{family}"] == 1000
    node.do(f"withdraw {first} 1000")
    until(lambda: bird.count(family) == 0)
    # One at once, the rest together.
    assert node.peer()["updates_sent"] - before - messages <= (3 if family == 4 else 6)


def test_graceful_restart(lab):
    """kill -9 and a new start: the router never takes a route out of the kernel's table."""
    lab.base()
    bird = Bird(lab, "r", bird_bgp(extra="graceful restart aware;", channels="""
        ipv4 { import all; export none; graceful restart on; };
        ipv6 { import all; export none; graceful restart on; };"""))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1 10")
    node.do("announce 2001:db8::1 10")
    node.do("complete")
    assert node.up()["graceful_restart"]
    until(lambda: bird.count() == 10 and bird.count(6) == 10)
    kernel = "ip route show proto bird; ip -6 route show proto bird"
    until(lambda: lab.sh("r", kernel).count("192.0.2.") == 10)

    monitor = lab.popen("r", "ip", "-o", "monitor", "route", stdout=subprocess.PIPE, text=True)
    node.kill()
    until(lambda: "Established" not in bird.ask("show protocols node"))
    assert bird.count() == 10 and lab.sh("r", kernel).count("192.0.2.") == 10
    node = Speaker(lab, flags=("-r",))
    node.do(f"peer add {ROUTER}")
    node.up()
    assert bird.count() == 10, "kept until End-of-RIB"
    # One of the VIPs is not desired any more; the others are announced again.
    node.do("announce 192.0.2.1 9")
    node.do("announce 2001:db8::1 10")
    assert bird.count() == 10
    node.do("complete")
    until(lambda: bird.count() == 9)
    assert bird.count(6) == 10
    until(lambda: lab.sh("r", kernel).count("192.0.2.") == 9)
    monitor.terminate()
    deleted = re.findall(r"^Deleted (\S+)", monitor.stdout.read(), re.M)
    assert deleted == ["192.0.2.10"], deleted

    # Leaving to return is silent too; leaving for good is not.
    node.stop("return")
    until(lambda: "Established" not in bird.ask("show protocols node"))
    assert bird.count() == 9
    node = Speaker(lab, flags=("-r",))
    node.do("announce 192.0.2.1 9")
    node.do("complete")
    node.do(f"peer add {ROUTER}")
    node.up()
    node.stop("stop for good")
    until(lambda: bird.count() == 0)


def test_no_request_fails_across_kill(lab):
    """The forwarding plane (here: the VIP on lo and a server) outlives the daemon: requests from
    behind the router go on through kill -9 and the new start, and none fails."""
    lab.base(far=True)
    bird = Bird(lab, "r", bird_bgp(extra="graceful restart aware;",
                                   channels="ipv4 { import all; export none; graceful restart on; };"))
    lab.sh("n1", "ip addr add 192.0.2.1/32 dev lo")
    lab.popen("n1", "/usr/bin/python3", "-c", SERVER)
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    node.do("complete")
    node.up()
    until(lambda: "192.0.2.1" in lab.sh("r", "ip route show proto bird"))
    until(lambda: "8080" in lab.sh("n1", "ss -Hltn"))
    path = lab.write("answers", "")

    def answers():
        with open(path, encoding="utf-8") as file:
            return file.read().split()

    def more_answers(count=20):
        before = len(answers())
        until(lambda: len(answers()) >= before + count)

    with open(path, "w", encoding="utf-8") as file:
        requests = lab.popen("far", "/usr/bin/python3", "-uc", CLIENT, stdin=subprocess.PIPE,
                             stdout=file, text=True)
    for _ in range(3):
        more_answers()
        node.kill()
        until(lambda: "Established" not in bird.ask("show protocols node"))
        more_answers()
        node = Speaker(lab, flags=("-r",))
        node.do(f"peer add {ROUTER}")
        node.do("announce 192.0.2.1")
        node.do("complete")
        node.up()
    more_answers()
    requests.communicate("enough")
    assert set(answers()) == {"served"}


def test_graceful_shutdown_community(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp())
    node = Speaker(lab, flags=("-c", "65000:1"))
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1")
    node.up()
    assert "(65535,0)" not in until(lambda: bird.routes() or None)["192.0.2.1"]
    node.do("shutdown-community on")
    until(lambda: "(65000,1) (65535,0)" in bird.routes()["192.0.2.1"])
    node.do("shutdown-community off")
    until(lambda: "(65535,0)" not in bird.routes()["192.0.2.1"])


def test_route_refresh(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp())
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.do("announce 192.0.2.1 3")
    node.up()
    until(lambda: bird.count() == 3)
    before = node.peer()["updates_sent"]
    bird.ask("reload in node")
    until(lambda: node.peer()["updates_sent"] > before)
    assert node.peer()["announced4"] == 3 and node.peer()["established_count"] == 1


def test_ecmp_with_connections(lab):
    """Two nodes, one VIP: both are in the router's kernel table, and connections reach both."""
    lab.base(nodes=2, far=True)
    Bird(lab, "r", bird_bgp(name="one", neighbor="10.99.0.11") +
         bird_bgp(name="two", neighbor="10.99.0.12"), merge=True)
    lab.sh("r", "sysctl -qw net.ipv4.fib_multipath_hash_policy=1")
    nodes = []
    for name in ("n1", "n2"):
        lab.sh(name, "ip addr add 192.0.2.1/32 dev lo")
        lab.popen(name, "ncat", "-l", "-k", "192.0.2.1", "8080", "-c", f"echo {name}")
        nodes.append(Speaker(lab, name))
        nodes[-1].do("announce 192.0.2.1")
        nodes[-1].do(f"peer add {ROUTER}")
        nodes[-1].up()
    route = "ip route show 192.0.2.1"
    until(lambda: lab.sh("r", route).count("nexthop") == 2, what="two next hops")

    def answers(count):
        script = f"for i in $(seq {count}); do ncat --recv-only -w 3 192.0.2.1 8080; done"
        return lab.sh("far", script).split()

    until(lambda: answers(1), what="somebody answers")
    got = answers(16)
    assert len(got) == 16 and set(got) == {"n1", "n2"}
    # One withdraws: all go to the other.
    nodes[0].do("withdraw 192.0.2.1")
    until(lambda: "10.99.0.12" in lab.sh("r", route) and "10.99.0.11" not in lab.sh("r", route))
    assert answers(5) == ["n2"] * 5


def test_routes_received_are_dropped(lab):
    """A table of 60,000 routes comes in, at a hold time of 3 s: counted, not kept."""
    lab.base()
    routes = "".join(f"route 11.{i // 240}.{i % 240}.0/24 blackhole;\n" for i in range(60000))
    Bird(lab, "r", "protocol static { ipv4;\n" + routes + "}\n" + bird_bgp(channels="ipv4 { import all; export all; };"))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER},hold=3")
    node.do("announce 192.0.2.1")

    def rss():
        # `ip netns exec` has become the driver, so the pid is right.
        with open(f"/proc/{node.process.pid}/status", encoding="utf-8") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))

    before = rss()
    node.up()
    until(lambda: node.peer()["routes_received"] >= 60000)
    assert node.peer()["established_count"] == 1
    assert rss() - before < 16 * 1024, "kB, sanitizer included"


def test_peers_come_and_go(lab):
    lab.base()
    bird = Bird(lab, "r", bird_bgp())
    node = Speaker(lab)
    node.do("announce 192.0.2.1")
    for _ in range(3):
        node.do(f"peer add {ROUTER}")
        assert node.tell(f"peer add {ROUTER}")["errno"] == 17
        node.up()
        until(lambda: bird.count() == 1)
        node.do("peer remove 10.99.0.1")
        assert node.tell("peer remove 10.99.0.1")["errno"] == 2
        until(lambda: bird.count() == 0)
        assert "Peer de-configured" in bird.ask("show protocols all node")
    assert lab.sh("n1", "ss -Hltn 'sport = :179'") == "", "no peer, no listening socket"


def test_port_taken_is_said(lab):
    lab.base()
    Bird(lab, "r", bird_bgp(extra="passive on;"))
    taken = lab.popen("n1", "ncat", "-l", "-k", "10.99.0.11", "179")
    until(lambda: "179" in lab.sh("n1", "ss -Hltn"))
    node = Speaker(lab)
    node.do(f"peer add {ROUTER}")
    node.up()
    status = node.tell("status")
    assert not status["listening"] and "is another BGP daemon running" in status["listen_error"]
    assert "--bgp-listen-port" in node.logged()
    lab.end(taken)
    until(lambda: node.tell("status")["listening"], timeout=8)
