# SPDX-License-Identifier: GPL-2.0-only
"""What the node tells a sender itself: TTL run out, packet too big, nobody behind the port. Whole packets."""

import pytest
from scapy.layers.inet import IPOption_NOP

import node as n
from bench import Bench, FORWARDED, VIP_PORT
from node import IN, OUT, TCP, UDP
from packets import answer, frame


def is_answered(bench, data, kind, device=IN, mtu=0, **skb):
    verdict, out = bench.send(data, device, **skb)
    assert verdict == (n.SAME if bench.hook == "xdp" else n.OTHER)
    assert out == answer(data, kind, mtu)


@pytest.mark.parametrize("ttl", [0, 1])
def test_ttl(bench, ttl):
    """To the first packet (traceroute), to one of an established flow, to the backend."""
    is_answered(bench, bench.to_vip(5, flags="S", ttl=ttl), "ttl")
    assert bench.flow(bench.client_key(5), half_open=True) is None
    connection = bench.connect()
    is_answered(bench, connection.request_frame(ttl=ttl, payload=bytes(999)), "ttl")
    is_answered(bench, connection.reply_frame(ttl=ttl, payload=b""), "ttl", OUT)
    is_answered(bench, connection.reply_frame(ttl=ttl, padding=bytes(9)), "ttl", OUT)
    assert bench.drops() == {"TTL_EXCEEDED": 4}


def test_ttl_with_options(node, hook):
    bench = Bench(node, hook, 4, UDP)
    for count in (4, 40):
        is_answered(bench, bench.to_vip(5, ttl=1, options=[IPOption_NOP()] * count), "ttl")


def test_too_big(bench):
    connection = bench.connect()
    headers = len(connection.request_frame(payload=b"")) - 14
    connection.request(payload=bytes(1500 - headers))
    for size in (1501, 3000):
        is_answered(bench, connection.request_frame(payload=bytes(size - headers)), "too big",
                    mtu=1500)
        is_answered(bench, connection.reply_frame(payload=bytes(size - headers)), "too big", OUT,
                    mtu=1500)
    assert bench.drops() == {"TOO_BIG": 4}


def test_mtu_of_a_route(bench):
    """The path's MTU as the kernel knows it."""
    connection = bench.connect()
    headers = len(connection.request_frame(payload=b"")) - 14
    n.ip("route", "add", connection.backend, "dev", OUT, "mtu", "lock", "1400")
    try:
        bench.node.raise_generation()
        connection.request(payload=bytes(1400 - headers))
        is_answered(bench, connection.request_frame(payload=bytes(1401 - headers)), "too big",
                    mtu=1400)
    finally:
        n.ip("route", "del", connection.backend, "dev", OUT)


def test_too_big_without_df(node, hook, protocol):
    """It would have to be fragmented; it is not."""
    connection = Bench(node, hook, 4, protocol).connect()
    data = connection.request_frame(payload=bytes(1500), ip_flags=0)
    assert connection.bench.send(data)[0] == n.DROP
    assert connection.bench.drops() == {"TOO_BIG": 1}


def test_no_backend(bench):
    data = bench.to_vip(5, flags="S")
    bench.node.set_schedule(bench.service, [])
    is_answered(bench, data, "nobody")
    is_answered(bench, bench.to_vip(6, flags="S", payload=b"", seq=0xffffffff), "nobody")
    bench.node.set_schedule(bench.service, [30])  # an id that is free
    is_answered(bench, data, "nobody")
    assert bench.drops() == {"NO_BACKEND": 3}


def test_reset_for_a_syn_with_options(node, hook, family):
    bench = Bench(node, hook, family, TCP)
    node.set_schedule(bench.service, [])
    is_answered(bench, bench.to_vip(5, flags="SEC", l4_options=[("MSS", 1460), ("WScale", 7)],
                                    payload=bytes(300)), "nobody")
    if family == 4:
        is_answered(bench, bench.to_vip(5, flags="S", options=[IPOption_NOP()] * 40), "nobody")


def test_nobody_answers_a_group(bench):
    """Addresses that cannot have sent the packet."""
    bench.node.set_schedule(bench.service, [])
    clients = {4: ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"],
               6: ["::", "::1", "ff02::1"]}[bench.family]
    for client in clients:
        data = frame(bench.family, bench.protocol, client, 5, bench.vip, VIP_PORT, flags="S")
        assert bench.send(data)[0] == n.DROP
    assert bench.drops() == {"NO_BACKEND": len(clients)}


def test_no_mirror_for_floods(make_node, hook, family, protocol):
    """So many a second, then none: with the clock stopped, none ever again."""
    node = make_node(second_multiplier=0, answers_per_s=10)
    bench = Bench(node, hook, family, protocol)
    node.set_schedule(bench.service, [])
    verdicts = [bench.send(bench.to_vip(port, flags="S"))[0] for port in range(1, 60)]
    answered = [v for v in verdicts if v in FORWARDED]
    assert 10 <= len(answered) <= 10 * 2 and verdicts[-1] == n.DROP  # per CPU
    assert bench.drops() == {"NO_BACKEND": 59}


def test_gso_too_big(node, family):
    """tc: the size of what is sent counts, not of the frame."""
    bench = Bench(node, "tc", family, TCP)
    connection = bench.connect()
    data = connection.request_frame(payload=bytes(3000))
    headers = len(data) - 14 - 3000
    is_answered(bench, data, "too big", mtu=1500, gso_size=1501 - headers, gso_segs=3)
