# SPDX-License-Identifier: GPL-2.0-only
"""ICMP errors about flows, both ways: outer and quoted packet, with all checksums; and what is left to the kernel."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig,
                                ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import node as n
from bench import BACKEND_PORT, Bench, FORWARDED
from node import IN, MACS, OUT, SLB, TCP, UDP

ERRORS = {
    4: {"port unreachable": lambda: ICMP(type=3, code=3),
        "fragmentation needed": lambda: ICMP(type=3, code=4, nexthopmtu=1280),
        "time exceeded": lambda: ICMP(type=11, code=0),
        "parameter problem": lambda: ICMP(type=12, code=0, ptr=9)},
    6: {"port unreachable": lambda: ICMPv6DestUnreach(code=4),
        "fragmentation needed": lambda: ICMPv6PacketTooBig(mtu=1280),
        "time exceeded": lambda: ICMPv6TimeExceeded(code=0),
        "parameter problem": lambda: ICMPv6ParamProblem(code=1, ptr=9)},
}
NAMES = list(ERRORS[4])


def error_frame(family, name, saddr, daddr, quoted, src, dst, ttl=64, options=None):
    if family == 4:
        layer3 = IP(src=saddr, dst=daddr, ttl=ttl, id=9, proto=1, options=options or [])
    else:
        layer3 = IPv6(src=saddr, dst=daddr, hlim=ttl, nh=58)
    return bytes(Ether(src=src, dst=dst) / layer3 / ERRORS[family][name]() / Raw(quoted))


def quote(bench, frame_bytes, l4_bytes):
    """The IP packet as an error quotes it."""
    header = 20 if bench.family == 4 else 40
    return frame_bytes[14:14 + header + l4_bytes]


def check_to_client(connection, name, l4_bytes, saddr, **fields):
    """An error that comes back from the backend's side."""
    bench = connection.bench
    sent = connection.expected(connection.request_frame(ttl=64, **fields))
    original = connection.request_frame(ttl=63, **fields)
    data = error_frame(bench.family, name, saddr, connection.source, quote(bench, sent, l4_bytes),
                       connection.backend_mac, MACS[OUT])
    wanted = error_frame(bench.family, name, bench.vip, connection.client,
                         quote(bench, original, l4_bytes), MACS[IN], n.CLIENT_MAC, ttl=63)
    verdict, out = bench.send(data, OUT)
    assert verdict in FORWARDED, (verdict, bench.node.all_drops())
    assert out == wanted


def check_to_backend(connection, name, l4_bytes, saddr, **fields):
    bench = connection.bench
    sent = connection.expected_reply(connection.reply_frame(ttl=64, **fields))
    original = connection.reply_frame(ttl=63, **fields)
    data = error_frame(bench.family, name, saddr, bench.vip, quote(bench, sent, l4_bytes),
                       n.CLIENT_MAC, MACS[IN])
    wanted = error_frame(bench.family, name, connection.source, connection.backend,
                         quote(bench, original, l4_bytes), MACS[OUT], connection.backend_mac,
                         ttl=63)
    verdict, out = bench.send(data, IN)
    assert verdict in FORWARDED, (verdict, bench.node.all_drops())
    assert out == wanted


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("l4_bytes", [8, 13, 18, 20, 25])
def test_both_ways(bench, name, l4_bytes):
    """From the peer itself, and from a router in between, whose address the other side does not see."""
    connection = bench.connect()
    for saddr in (connection.backend, bench.own["router"]):
        check_to_client(connection, name, l4_bytes, saddr)
    for saddr in (connection.client, bench.own["near"]):
        check_to_backend(connection, name, l4_bytes, saddr)
    assert bench.drops() == {}


def test_half_open(bench):
    """A backend that cannot be reached is known to the client at once."""
    connection = bench.begin()
    check_to_client(connection, "port unreachable", 20 if bench.protocol == TCP else 8,
                    bench.own["router"], **({"flags": "S"} if bench.protocol == TCP else {}))


def test_without_source_nat(node, hook, family, protocol):
    connection = Bench(node, hook, family, protocol, source_nat=False).connect()
    check_to_client(connection, "fragmentation needed", 8, connection.backend)
    check_to_backend(connection, "fragmentation needed", 8, connection.client)


def test_udp_without_checksum(udp_bench):
    connection = udp_bench.connect()
    check_to_client(connection, "port unreachable", 8, connection.backend, chksum=0)


def test_options(node, hook):
    """Options in the outer header and in the quoted one."""
    from scapy.layers.inet import IPOption_NOP
    bench = Bench(node, hook, 4, UDP)
    connection = bench.connect()
    options = [IPOption_NOP()] * 8
    sent = connection.expected(connection.request_frame(options=options))
    original = connection.request_frame(options=options, ttl=63)
    data = error_frame(4, "time exceeded", bench.own["router"], connection.source, sent[14:50],
                       n.ROUTER_MAC, MACS[OUT], options=options)
    wanted = error_frame(4, "time exceeded", bench.vip, connection.client, original[14:50],
                         MACS[IN], n.CLIENT_MAC, ttl=63, options=options)
    assert bench.send(data, OUT)[1] == wanted


def test_counted_with_its_direction(bench):
    connection = bench.connect()
    before = bench.node.traffic(connection.backend_id)
    check_to_client(connection, "port unreachable", 8, connection.backend)
    check_to_backend(connection, "port unreachable", 8, connection.client)
    after = bench.node.traffic(connection.backend_id)
    size = 20 + 8 + 20 + 8 if bench.family == 4 else 40 + 8 + 40 + 8
    assert [a - b for a, b in zip(after, before)] == [0, 1, size, 1, size]


def test_left_to_the_kernel(bench):
    """Echo, errors about no flow, errors cut short or quoting what is none: up as they came."""
    connection = bench.connect()
    family = bench.family
    own = bench.own
    if family == 4:
        echo = Ether(src=n.CLIENT_MAC, dst=MACS[IN]) / IP(src=bench.client, dst=bench.vip) / ICMP()
    else:
        echo = (Ether(src=n.CLIENT_MAC, dst=MACS[IN]) / IPv6(src=bench.client, dst=bench.vip)
                / ICMPv6EchoRequest())
    frames = [bytes(echo)]
    sent = connection.expected(connection.request_frame())
    quoted = quote(bench, sent, 8)
    whole = error_frame(family, "time exceeded", own["router"], connection.source, quoted,
                        n.ROUTER_MAC, MACS[OUT])
    frames += [whole[:length] for length in range(34 if family == 4 else 54, len(whole))]
    header = 20 if family == 4 else 40
    for port in range(header, header + 4):  # another flow's ports
        other = quoted[:port] + bytes([quoted[port] ^ 0x40]) + quoted[port + 1:]
        frames.append(error_frame(family, "time exceeded", own["router"], connection.source, other,
                                  n.ROUTER_MAC, MACS[OUT]))
    at = 9 if family == 4 else 6
    for protocol in (0, 1, 50, 58):
        other = quoted[:at] + bytes([protocol]) + quoted[at + 1:]
        frames.append(error_frame(family, "time exceeded", own["router"], connection.source, other,
                                  n.ROUTER_MAC, MACS[OUT]))
    for data in frames:
        assert bench.send(data, OUT if data is not frames[0] else IN) == (n.UP, data)
    assert bench.send(whole, OUT)[0] in FORWARDED


def test_no_error_about_an_error(bench):
    """TTL run out: it just ends."""
    connection = bench.connect()
    sent = connection.expected(connection.request_frame())
    data = error_frame(bench.family, "port unreachable", connection.backend, connection.source,
                       quote(bench, sent, 8), connection.backend_mac, MACS[OUT], ttl=1)
    assert bench.send(data, OUT)[0] == n.DROP
    assert bench.drops() == {"TTL_EXCEEDED": 1}


def test_follows_next_hop_and_backend(bench):
    """As any packet of the flow: another MAC after the generation was raised, nothing to a disabled backend's flows."""
    connection = bench.connect()
    bench.node.raise_generation()
    check_to_client(connection, "port unreachable", 8, connection.backend)
    bench.node.write_backend(connection.backend_id, bench.service, connection.backend,
                             BACKEND_PORT, bench.sources, flags=SLB["SLB_BACKEND_DISABLED"])
    bench.node.raise_generation()
    sent = connection.expected(connection.request_frame())
    data = error_frame(bench.family, "port unreachable", connection.backend, connection.source,
                       quote(bench, sent, 8), connection.backend_mac, MACS[OUT])
    assert bench.send(data, OUT)[0] == n.DROP
