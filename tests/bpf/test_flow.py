# SPDX-License-Identifier: GPL-2.0-only
"""A flow's life: how it begins, is established, ends, and follows what changes around it."""

import collections

import pytest

import node as n
from bench import Bench, FORWARDED, SERVER_SEQ
from node import OUT, SLB, TCP, UDP
from packets import frame

SYN, FIN, RST = SLB["SLB_TCP_SYN"], SLB["SLB_TCP_FIN"], SLB["SLB_TCP_RST"]


# ---- promotion -----------------------------------------------------------------------------------

def test_handshake(tcp_bench):
    bench = tcp_bench
    connection = bench.begin()
    assert connection.flow(half_open=True) and connection.reply_flow(half_open=True)
    assert not connection.flow()
    connection.request(flags="S")  # a retransmission goes the same way
    connection.reply(flags="SA", seq=SERVER_SEQ, ack=1001, payload=b"")
    for wrong in (SERVER_SEQ, SERVER_SEQ + 2, 0):
        connection.request(flags="A", ack=wrong)
        assert not connection.flow()
    connection.request(flags="A", ack=SERVER_SEQ + 1)
    for half_open in (False, True):
        assert bool(connection.flow(half_open)) != half_open
        assert bool(connection.reply_flow(half_open)) != half_open
    assert connection.flow()["common"]["tcp"] == SYN
    assert bench.node.traffic(connection.backend_id)[0] == 1


def test_acknowledged_without_reply(tcp_bench):
    """An ACK of 0 is what an entry without the backend's answer would expect."""
    connection = tcp_bench.begin()
    connection.request(flags="A", ack=0)
    assert not connection.flow()


def test_refused_connection(tcp_bench):
    """RST for SYN: passed on; the next SYN from that port is a new flow."""
    connection = tcp_bench.begin()
    connection.reply(flags="RA", ack=1001, payload=b"")
    again = tcp_bench.begin(connection.cport)
    assert again.backend_id != connection.backend_id


def test_backend_that_knows_an_old_connection(tcp_bench):
    """It answers the SYN for that one, the client resets that, and tries again: the same way."""
    connection = tcp_bench.begin()
    port = connection.flow(True)["common"]["sport"]
    connection.reply(flags="A", seq=7, ack=4711, payload=b"")
    connection.request(flags="R", seq=4711, payload=b"")
    connection.request(flags="S")
    again = connection.flow(True)["common"]
    assert (again["backend_id"], again["sport"]) == (connection.backend_id, port)
    assert not again["tcp"] & RST and not connection.reply_flow(True)["common"]["tcp"] & RST
    assert tcp_bench.node.traffic(connection.backend_id)[0] == 1
    connection.reply(flags="SA", seq=SERVER_SEQ, ack=1001, payload=b"")
    connection.request(flags="A", ack=SERVER_SEQ + 1)
    assert connection.flow() and connection.reply_flow()


def test_refused_after_it_was_taken_back(tcp_bench):
    """The backend's own RST counts, also after one of the client."""
    connection = tcp_bench.begin()
    connection.request(flags="R", seq=4711, payload=b"")
    connection.reply(flags="RA", ack=1001, payload=b"")
    again = tcp_bench.begin(connection.cport)
    assert again.backend_id != connection.backend_id


def test_udp_reply(udp_bench):
    connection = udp_bench.begin()
    connection.request()
    assert not connection.flow()
    connection.reply()
    assert connection.flow() and connection.reply_flow()
    assert not connection.flow(True) and not connection.reply_flow(True)


def test_udp_stream(udp_bench):
    """No replies ever: a packet 2 s after the first establishes it."""
    connection = udp_bench.begin()
    begun = connection.flow(True)["common"]["begun_s"]
    udp_bench.node.change_flow(udp_bench.family, connection.key, True, begun_s=begun - 1)
    connection.request()
    if not connection.flow():  # unless a second passed meanwhile
        udp_bench.node.change_flow(udp_bench.family, connection.key, True, begun_s=begun - 2)
        connection.request()
    assert connection.flow() and connection.reply_flow()


@pytest.mark.parametrize("room", [0, 1])
def test_promotion_without_room(make_node, hook, family, protocol, room):
    """Both or none: what is in the table stays, the other is taken back."""
    node = make_node(flows4=2 + room, flows6=2 + room)
    bench = Bench(node, hook, family, protocol)
    first = bench.connect()
    second = bench.begin()
    if protocol == TCP:
        second.reply(flags="SA", seq=SERVER_SEQ, ack=1001, payload=b"")
        verdict, _ = bench.send(second.request_frame(flags="A", ack=SERVER_SEQ + 1))
    else:
        verdict, _ = bench.send(second.reply_frame(), OUT)
    assert verdict == n.DROP and bench.drops() == {"TABLE_FULL": 1}
    assert len(node.flows(family)) == 2
    assert second.flow(True) and second.reply_flow(True)
    first.request()
    first.reply()


def test_evicted_partner(bench):
    """The LRU took one of the pair: the flow is as if it had never been."""
    connection = bench.begin()
    bench.node.maps[f"half_open{bench.family}"].delete(
        bench.node.flow_key(bench.family, connection.key))
    data = connection.reply_frame(flags="SA")
    assert bench.send(data, OUT) == (n.UP, data)
    assert not bench.node.flows(bench.family, half_open=True)
    connection = bench.begin()
    bench.node.maps[f"half_open{bench.family}"].delete(
        bench.node.flow_key(bench.family, connection.reply_key))
    again = bench.begin(connection.cport)
    assert again.reply_flow(True)


def test_eviction_by_a_flood(make_node, hook, family):
    """Half-open flows push each other out; what is established stays."""
    node = make_node(half_open4=64, half_open6=64)
    bench = Bench(node, hook, family, UDP)
    kept = [bench.connect() for _ in range(20)]
    for cport in range(1, 1500):
        assert bench.send(bench.to_vip(cport))[0] in FORWARDED
    for connection in kept:
        connection.request()
        connection.reply()
    bench.connect()


# ---- the end -------------------------------------------------------------------------------------

def closed(bench):
    return sum(bench.node.backend_state(b)["closed"] for b in bench.backends)


def test_fin_both_ways(tcp_bench):
    bench = tcp_bench
    connection = bench.connect()
    connection.request(flags="FA")
    connection.request(flags="FA")
    assert connection.flow()["common"]["tcp"] == SYN | FIN and closed(bench) == 0
    connection.request(flags="S")  # half closed is not closed: goes the same way
    connection.reply(flags="FA")
    assert connection.reply_flow()["common"]["tcp"] == SYN | FIN and closed(bench) == 1
    connection.request(flags="A")
    connection.reply(flags="FA")
    connection.reply(flags="R")
    assert closed(bench) == 1


@pytest.mark.parametrize("by_client", [True, False], ids=["client", "backend"])
def test_reset(tcp_bench, by_client):
    connection = tcp_bench.connect()
    (connection.request if by_client else connection.reply)(flags="R", payload=b"")
    connection.request(flags="RA")
    assert closed(tcp_bench) == 1


def test_client_port_used_again(tcp_bench):
    bench = tcp_bench
    first = bench.connect()
    first.request(flags="S")  # not closed: as before
    assert first.flow()
    first.reply(flags="R", payload=b"")
    second = bench.begin(first.cport)
    assert second.backend_id != first.backend_id  # the next in turn
    assert not first.flow() and not first.reply_flow()
    assert second.flow(True)
    state = [bench.node.backend_state(b) for b in bench.backends]
    assert sum(s["opened"] for s in state) == 2 and sum(s["closed"] for s in state) == 1


# ---- selection -----------------------------------------------------------------------------------

def chosen(bench, count, client=None):
    found = []
    for _ in range(count):
        found.append(bench.begin(client=client).backend_id)
    return found


def test_round_robin_is_exact(bench):
    assert chosen(bench, 300) == list(bench.backends) * 100


def test_round_robin_over_slots(bench):
    """Weights are slots; the schedule may be replaced at any time, by a shorter one too."""
    a, b, c = bench.backends
    bench.node.set_schedule(bench.service, [a, b, a, c, a])
    assert chosen(bench, 14) == [a, b, a, c, a] * 2 + [a, b, a, c]
    bench.node.set_schedule(bench.service, [b, c])
    assert chosen(bench, 4) == [b, c, b, c]


def test_hash(node, hook, family, protocol):
    bench = Bench(node, hook, family, protocol, scheduler=SLB["SLB_SCHEDULER_HASH"])
    bench.node.set_schedule(bench.service, list(bench.backends) * 7)
    network = "10.1.2." if family == 4 else "2001:db8:77::"
    counts = collections.Counter()
    for number in range(1, 200):
        client = f"{network}{number}"
        data = bench.to_vip(number, client, flags="S")
        assert bench.send(data)[0] in FORWARDED
        assert bench.send(bench.to_vip(number + 1000, client, flags="S"))[0] in FORWARDED
        first, second = (bench.flow(bench.client_key(port, client), True)["common"]["backend_id"]
                         for port in (number, number + 1000))
        assert first == second
        counts[first] += 1
    assert min(counts.values()) > 40


def test_least(node, hook, family):
    bench = Bench(node, hook, family, TCP, scheduler=SLB["SLB_SCHEDULER_LEAST"])
    a, b, c = bench.backends
    connections = [bench.connect() for _ in range(9)]
    assert collections.Counter(x.backend_id for x in connections) == {a: 3, b: 3, c: 3}
    for connection in connections:
        if connection.backend_id == b:
            connection.reply(flags="R", payload=b"")
    assert chosen(bench, 3) == [b, b, b]
    node.write_backend(c, bench.service, bench.own["backend"][13], 8080, bench.sources, weight=3)
    assert collections.Counter(chosen(bench, 6)) == {c: 6}


# ---- source ports --------------------------------------------------------------------------------

def test_ports_in_turn_and_stepped_over(bench):
    node = bench.node
    node.ports = [(5000, 3), (7000, 2)]
    node.write_config()
    node.set_schedule(bench.service, [1])
    kept = bench.connect()
    assert kept.source_port == 5000
    assert [bench.connect().source_port for _ in range(4)] == [5001, 5002, 7000, 7001]
    assert bench.send(bench.to_vip(1, flags="S"))[0] == n.DROP
    assert bench.drops() == {"PORTS_EXHAUSTED": 1}
    kept.request()


def test_ports_of_several_sources(bench):
    node = bench.node
    node.ports = [(5000, 2), (0, 0)]
    node.write_config()
    second = "198.51.100.2" if bench.family == 4 else "2001:db8:2::2"
    sources = node.add_sources(bench.own["node_out"], second)
    node.write_backend(1, bench.service, bench.own["backend"][11], 8080, sources)
    node.set_schedule(bench.service, [1])
    found = [(c.source, c.source_port) for c in (bench.begin() for _ in range(4))]
    assert found == [(bench.own["node_out"], 5000), (bench.own["node_out"], 5001), (second, 5000),
                     (second, 5001)]


def test_same_port_to_other_backends(bench):
    """A port is taken only towards one backend."""
    bench.node.ports = [(5000, 1), (0, 0)]
    bench.node.write_config()
    assert {bench.begin().source_port for _ in bench.backends} == {5000}


def test_port_of_a_closed_flow(tcp_bench):
    """Only when no other is free, and its pair goes first."""
    bench, node = tcp_bench, tcp_bench.node
    node.ports = [(5000, 3), (0, 0)]
    node.write_config()
    node.set_schedule(bench.service, [1])
    first, second = bench.connect(), bench.connect()
    first.request(flags="FA")
    first.reply(flags="FA")
    third = bench.connect()
    assert third.source_port == 5002
    fourth = bench.begin()
    assert fourth.source_port == first.source_port
    assert not first.flow() and not first.reply_flow()
    second.request()
    third.request()
    # Half closed is in use.
    second.request(flags="FA")
    assert bench.send(bench.to_vip(1, flags="S"))[0] == n.DROP
    assert bench.drops() == {"PORTS_EXHAUSTED": 1}


def test_search_goes_on(bench):
    """One packet tries 64 ports; the client's retransmission goes on where it ended."""
    node = bench.node
    node.ports = [(5000, 200), (0, 0)]
    node.write_config()
    node.set_schedule(bench.service, [1])
    for _ in range(200):
        connection = bench.connect()
    state = node.backend_state(1)
    node.maps[f"flows{bench.family}"].delete(node.flow_key(bench.family, connection.reply_key))
    node.maps[f"flows{bench.family}"].delete(node.flow_key(bench.family, connection.key))
    node.write("backend_state", 1, "slb_backend_state", **{**state, "next_port": 0})
    verdicts = [bench.send(bench.to_vip(9, flags="S"))[0] for _ in range(4)]
    assert verdicts[:3] == [n.DROP] * 3 and verdicts[3] in FORWARDED
    assert bench.drops() == {"PORTS_EXHAUSTED": 3}


def test_client_port_taken_without_source_nat(node, hook, family, protocol):
    """Two VIPs to one backend: the client's port can lead to one of them only."""
    bench = Bench(node, hook, family, protocol, source_nat=False)
    node.set_schedule(bench.service, [1])
    connection = bench.connect(4000)
    vip = "203.0.113.81" if family == 4 else "2001:db8:f::81"
    other = node.add_service(vip, 80, protocol, source_nat=False)
    backend = node.add_backend(other, connection.backend, connection.backend_port)
    node.set_schedule(other, [backend])
    data = frame(family, protocol, bench.client, 4000, vip, 80, flags="S")
    assert node.send(hook, data)[0] == n.DROP
    assert node.drops(other) == {"PORTS_EXHAUSTED": 1}
    connection.request()
    if protocol == TCP:
        connection.request(flags="R")
        assert node.send(hook, data)[0] in FORWARDED


# ---- local ---------------------------------------------------------------------------------------

def test_local(bench):
    """Handed up untouched, always; counted; no entry for replies."""
    node = bench.node
    node.write_backend(1, bench.service, bench.own["node_in"], 8080,
                       type=SLB["SLB_BACKEND_LOCAL"])
    node.set_schedule(bench.service, [1])
    frames = [bench.to_vip(5, flags=flags, ttl=ttl)
              for flags, ttl in (("S", 1), ("A", 64), ("PA", 64), ("FA", 64))]
    for data in frames:
        assert bench.send(data) == (n.UP, data)
    assert len(node.flows(bench.family, half_open=True)) == 1
    assert node.traffic(1) == (1, 4, sum(len(f) - 14 for f in frames), 0, 0)
    node.change_flow(bench.family, bench.client_key(5), True, begun_s=node.now_s() - 5)
    for data in frames[1:]:
        assert bench.send(data) == (n.UP, data)
    assert bench.flow(bench.client_key(5))
    assert bench.drops() == {}


# ---- what changes around it ----------------------------------------------------------------------

def test_neighbour_changes(bench):
    connection = bench.connect()
    mac = "02:00:00:00:02:77"
    n.neighbour(connection.backend, mac, OUT)
    try:
        connection.request()  # what was kept is used until the daemon says otherwise
        bench.node.raise_generation()
        data = connection.request_frame()
        verdict, out = bench.send(data)
        assert verdict in FORWARDED and out == connection.expected(data, dst=mac)
        assert connection.flow()["common"]["generation"] == bench.node.generation
        connection.reply()
    finally:
        n.neighbour(connection.backend, connection.backend_mac, OUT)


def test_route_moves_to_another_device(bench):
    connection = bench.connect()
    n.ip("route", "add", connection.backend, "dev", n.IN)
    n.neighbour(connection.backend, "02:00:00:00:01:77", n.IN)
    try:
        bench.node.raise_generation()
        data = connection.request_frame()
        verdict, out = bench.send(data)
        assert verdict == (n.SAME if bench.hook == "xdp" else n.OTHER)
        assert out == connection.expected(data, src=n.MACS[n.IN], dst="02:00:00:00:01:77")
        assert connection.flow()["common"]["ifindex"] == n.device_index(n.IN)
    finally:
        n.ip("route", "del", connection.backend, "dev", n.IN)
        n.ip("neigh", "del", connection.backend, "dev", n.IN)


@pytest.mark.parametrize("reused", [False, True], ids=["free", "reused"])
def test_deleted_backend(bench, reused):
    """Its flows are gone with it, also when the id was given out again to another service."""
    connection = bench.connect()
    kind = {} if reused else {"type": SLB["SLB_BACKEND_NONE"]}
    bench.node.write_backend(connection.backend_id, 15, bench.own["remote"], 1, **kind)
    bench.node.set_schedule(bench.service,
                            [b for b in bench.backends if b != connection.backend_id])
    bench.node.raise_generation()
    data = connection.request_frame()
    if bench.protocol == TCP:
        assert bench.send(data) == (n.UP, data)
        assert bench.drops() == {"NOT_SYN": 1}
    else:
        assert bench.begin(connection.cport).backend_id != connection.backend_id
    assert not connection.flow() and not connection.reply_flow()
    data = connection.reply_frame()
    assert bench.send(data, OUT) == (n.UP, data)


def test_deleted_service(bench):
    """New flows end at once; the daemon ends the others by freeing the backends."""
    connection = bench.connect()
    from bench import VIP_PORT
    bench.node.remove_service(bench.vip, VIP_PORT, bench.protocol)
    connection.request()
    data = bench.to_vip(5, flags="S")
    assert bench.send(data) == (n.UP, data)


def test_seen_second(bench):
    connection = bench.connect()
    for key, send in ((connection.key, connection.request),
                      (connection.reply_key, connection.reply)):
        bench.node.change_flow(bench.family, key, seen_s=1)
        before = bench.node.now_s()
        send()
        assert before <= bench.flow(key)["common"]["seen_s"] <= bench.node.now_s()
