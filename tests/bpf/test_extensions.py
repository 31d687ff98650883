# SPDX-License-Identifier: GPL-2.0-only
"""IPv6 extension headers: stepped over, and left as they are."""

import pytest
from scapy.layers.inet6 import (ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, PadN, RouterAlert)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import node as n
from bench import FORWARDED, SERVER_SEQ, Bench, Connection
from node import CLIENT_MAC, IN, MACS, OUT, TCP
from packets import PAYLOAD


def hop_by_hop():
    return IPv6ExtHdrHopByHop(options=[RouterAlert()])


def destination(pad=4):
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(pad))])


CHAINS = {
    "hop by hop": lambda: hop_by_hop(),
    "destination options": lambda: destination(),
    "routing, at its end": lambda: IPv6ExtHdrRouting(type=0, segleft=0,
                                                     addresses=["2001:db8::1"]),
    "three kinds": lambda: (hop_by_hop() / destination()
                            / IPv6ExtHdrRouting(type=4, segleft=0) / destination()),
    "six": lambda: hop_by_hop() / destination() / destination() / destination() / destination()
    / destination(),
    "88 bytes": lambda: destination(84),
}

UNKNOWN = {
    "seven": lambda: CHAINS["six"]() / destination(),
    "96 bytes": lambda: destination(92),
    "segments left": lambda: IPv6ExtHdrRouting(type=0, segleft=1, addresses=["2001:db8::1"]),
    "hop by hop behind another": lambda: destination() / hop_by_hop(),
}


@pytest.fixture
def bench(node, hook, protocol):
    return Bench(node, hook, 6, protocol)


def put_in(data, chain):
    """The frame with extension headers between IP header and transport."""
    parsed = Ether(data)
    layer3, layer4 = parsed.payload, parsed.payload.payload
    header = layer3.copy()
    header.remove_payload()
    del header.nh, header.plen
    return bytes(Ether(src=parsed.src, dst=parsed.dst) / header / chain() / layer4)


def check(bench, data, expected, chain, device=IN):
    verdict, out = bench.send(put_in(data, chain), device)
    assert verdict in FORWARDED, bench.node.all_drops()
    assert out == put_in(expected, chain)


@pytest.mark.parametrize("name", CHAINS)
def test_established(bench, name):
    connection = bench.connect()
    for more in ({}, {"payload": b""}, {"payload": bytes(1000)}):
        data = connection.request_frame(**more)
        check(bench, data, connection.expected(data), CHAINS[name])
        data = connection.reply_frame(**more)
        check(bench, data, connection.expected_reply(data), CHAINS[name], OUT)
    assert bench.drops() == {}


@pytest.mark.parametrize("name", CHAINS)
def test_a_whole_connection(bench, name):
    data = bench.to_vip(5, flags="S", payload=b"")
    verdict, out = bench.send(put_in(data, CHAINS[name]))
    assert verdict in FORWARDED
    connection = Connection(bench, 5, bench.client, bench.flow(bench.client_key(5), True))
    assert out == put_in(connection.expected(data), CHAINS[name])
    reply = connection.reply_frame(flags="SA", seq=SERVER_SEQ, ack=1001, payload=b"")
    check(bench, reply, connection.expected_reply(reply), CHAINS[name], OUT)
    if bench.protocol == TCP:
        data = connection.request_frame(flags="A", seq=1001, ack=SERVER_SEQ + 1, payload=b"")
        check(bench, data, connection.expected(data), CHAINS[name])
    assert connection.flow() and connection.reply_flow()


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_chains_go_up(bench, name):
    data = put_in(bench.connect().request_frame(), UNKNOWN[name])
    assert bench.send(data) == (n.UP, data)
    assert bench.drops() == {}


def test_other_transports_go_up(bench):
    ether, header = Ether(src=CLIENT_MAC, dst=MACS[IN]), IPv6(src=bench.client, dst=bench.vip)
    for last in (ICMPv6EchoRequest(), Raw(bytes(40))):
        for chain in CHAINS.values():
            data = bytes(ether / header / chain() / last)
            assert bench.send(data) == (n.UP, data)


def test_cut_at_every_length(bench):
    data = put_in(bench.connect().request_frame(), CHAINS["three kinds"])
    for length in range({"xdp": 14, "tc": 54}[bench.hook], len(data)):
        assert bench.send(data[:length]) == (n.UP, data[:length])
    assert bench.send(data)[0] in FORWARDED


def test_lengths_that_lie(bench):
    """A header that says it is longer than the packet."""
    data = put_in(bench.connect().request_frame(), CHAINS["destination options"])
    for words in range(1, 256):
        lie = data[:55] + bytes([words]) + data[56:]
        verdict, out = bench.send(lie)
        assert verdict == n.UP and out == lie


@pytest.mark.parametrize("name", ("hop by hop", "88 bytes"))
def test_answer(bench, name):
    """The node's own error quotes the headers, as far as it has room."""
    data = put_in(bench.connect().request_frame(ttl=1), CHAINS[name])
    verdict, out = bench.send(data)
    assert verdict in FORWARDED
    quoted = min(data.index(PAYLOAD) - 14, len(out) - 14 - 48)
    back = Ether(out)
    assert bytes(back)[14 + 48:] == data[14:14 + quoted]
    assert back.src == MACS[IN] and back.dst == CLIENT_MAC
    again = back.copy()
    del again.payload.payload.cksum
    assert bytes(again) == out
