# SPDX-License-Identifier: GPL-2.0-only
"""What is forwarded, and what exactly comes out: whole packets, both ways, by every hook, family and protocol."""

import pytest
from scapy.layers.inet import IPOption_NOP, IPOption_RR

import node as n
from bench import FORWARDED, SERVER_SEQ
from node import IN, OUT, TCP, UDP

CASES = {
    "data": {},
    "no payload": {"payload": b""},
    "an odd number of bytes": {"payload": b"abc"},
    "1,400 bytes": {"payload": bytes(range(256)) * 5 + bytes(120)},
    "the whole MTU": {"payload": "mtu"},
    "padding after the packet": {"payload": b"", "padding": b"\xaa" * 6},
    "the last TTL that goes on": {"ttl": 2},
    "traffic class kept": {"tos": 0xb8},
    "IPv4 options": {"options": [IPOption_NOP(), IPOption_RR(routers=["0.0.0.0"])], "family": 4},
    "longest IPv4 header": {"options": [IPOption_NOP()] * 40, "family": 4},
    "TCP options": {"options_tcp": [("Timestamp", (1, 2)), ("SAckOK", b"")], "protocol": TCP},
    "PSH and URG": {"flags": "PAU", "urgptr": 9, "protocol": TCP},
    "ECN": {"flags": "AEC", "protocol": TCP},
    "UDP without checksum": {"chksum": 0, "protocol": UDP},
}


def fields(bench, case):
    """The case's fields for packets.frame; None where the case is of the other family or protocol."""
    case = dict(case)
    if case.pop("family", bench.family) != bench.family:
        return None
    if case.pop("protocol", bench.protocol) != bench.protocol:
        return None
    if case.get("payload") == "mtu":
        case["payload"] = bytes(1500 - (20 if bench.family == 4 else 40)
                                - (20 if bench.protocol == TCP else 8))
    if "options_tcp" in case:
        frame_options = case.pop("options_tcp")
        case["l4_options"] = frame_options
    return case


@pytest.mark.parametrize("name", CASES)
def test_established(bench, name):
    case = fields(bench, CASES[name])
    if case is None:
        return
    connection = bench.connect()
    connection.request(**case)
    connection.reply(**case)
    assert bench.drops() == {}


@pytest.mark.parametrize("name", CASES)
def test_first_packet(bench, name):
    case = fields(bench, CASES[name])
    if case is None:
        return
    if bench.protocol == TCP:
        case.update(flags="S" + case.get("flags", "").replace("A", ""))
    bench.begin(**case)


def test_out_by_the_device_it_came_in(node, hook, family, protocol):
    """One-armed: XDP_TX, and MACs of that device."""
    own = n.ADDRESSES[family]
    service = node.add_service(own["vip"], 80, protocol)
    backend = node.add_backend(service, own["near"], 8080, node.add_sources(own["node_in"]))
    node.set_schedule(service, [backend])
    from packets import frame
    verdict, out = node.send(hook, frame(family, protocol, own["client"], 5, own["vip"], 80,
                                         flags="S"))
    assert verdict == (n.SAME if hook == "xdp" else n.OTHER)
    assert out[:12].hex(":") == f"{n.NEAR_MAC}:{n.MACS[IN]}"
    (flow,) = [f for key, f in node.flows(family, half_open=True) if key["dport"] == 80]
    assert flow["common"]["ifindex"] == n.device_index(IN)


def test_by_a_router(node, hook, family, protocol):
    """A backend that is not on the link: the router's MAC, the backend's address."""
    from bench import Bench
    bench = Bench(node, hook, family, protocol)
    node.write_backend(1, bench.service, bench.own["remote"], 8080, bench.sources)
    node.set_schedule(bench.service, [1])
    data = bench.to_vip(77, flags="S")
    verdict, out = bench.send(data)
    assert verdict == n.OTHER
    assert out[:12].hex(":") == f"{n.ROUTER_MAC}:{n.MACS[OUT]}"


def test_wrong_checksum_stays_wrong(bench):
    """The update is by difference: the receiver must still see that the packet was damaged."""
    connection = bench.connect()
    good = connection.request_frame()
    bad = good[:-1] + bytes([good[-1] ^ 0x10])
    verdict, out = bench.send(bad)
    assert verdict in FORWARDED
    expected = connection.expected(good)
    assert out == expected[:-1] + bad[-1:]


def test_udp_checksum_that_comes_to_zero(udp_bench):
    """0 would mean `none`: 0xffff is sent."""
    connection = udp_bench.connect()
    at = 14 + (20 if udp_bench.family == 4 else 40) + 6
    expected = connection.expected(connection.request_frame(payload=bytes(2)))
    # A payload of what the checksum is without one makes the sum 0xffff, and the checksum 0.
    data = connection.request_frame(payload=expected[at:at + 2])
    verdict, out = udp_bench.send(data)
    assert verdict in FORWARDED and out == connection.expected(data)
    assert out[at:at + 2] == b"\xff\xff"


def test_reply_without_source_nat(node, hook, family, protocol):
    """The backend sees the client's own address, and its reply to any port is found."""
    from bench import Bench
    bench = Bench(node, hook, family, protocol, source_nat=False)
    connection = bench.connect()
    assert (connection.source, connection.source_port) == (bench.client, connection.cport)
    connection.request(payload=b"more")
    connection.reply(payload=b"and more")


def test_counters(bench):
    """IP bytes, both ways, and connections, to the packet."""
    first, second = bench.connect(), bench.connect()
    before = {c.backend_id: bench.node.traffic(c.backend_id) for c in (first, second)}
    bytes_in = len(first.request_frame(payload=bytes(100))) - 14
    bytes_out = len(first.reply_frame(payload=bytes(333))) - 14
    for _ in range(5):
        first.request(payload=bytes(100), padding=b"")
        first.reply(payload=bytes(333))
    after = bench.node.traffic(first.backend_id)
    assert [a - b for a, b in zip(after, before[first.backend_id])] == [
        0, 5, 5 * bytes_in, 5, 5 * bytes_out]
    assert after[0] == 1
    assert bench.node.traffic(second.backend_id) == before[second.backend_id]


def test_gso_counts_as_packets_on_the_wire(node, family):
    """tc gets frames that become several packets, each with its headers; their size decides about the MTU."""
    from bench import Bench
    bench = Bench(node, "tc", family, TCP)
    connection = bench.connect()
    before = node.traffic(connection.backend_id)
    payload = bytes(3000)  # no more fits in a test run
    data = connection.request_frame(payload=payload)
    headers = len(data) - 14 - len(payload)
    segment = 1500 - headers
    segments = 3
    assert -(-len(payload) // segment) == segments
    verdict, out = bench.send(data, gso_size=segment, gso_segs=segments)
    assert verdict == n.OTHER and out == connection.expected(data)
    after = node.traffic(connection.backend_id)
    assert after[1] - before[1] == segments
    assert after[2] - before[2] == len(payload) + segments * headers


def test_client_connects_with_data_at_once(tcp_bench):
    """TCP fast open: data in the SYN, data behind the SYN|ACK, acknowledged together."""
    connection = tcp_bench.begin(payload=b"GET /")
    connection.reply(flags="SA", seq=SERVER_SEQ, ack=1006, payload=b"")
    connection.reply(flags="PA", seq=SERVER_SEQ + 1, ack=1006, payload=bytes(1000))
    connection.request(flags="A", seq=1006, ack=SERVER_SEQ + 1001, payload=b"")
    assert connection.flow() and connection.reply_flow()
