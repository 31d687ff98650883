# SPDX-License-Identifier: GPL-2.0-only
"""What is not forwarded: it goes up as it came, or ends, and the reason is counted. (What is answered: test_answer.py.)"""

import struct

import pytest
from scapy.layers.inet import ICMP, IP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

import node as n
from bench import BACKEND_PORT, Bench, FORWARDED, VIP_PORT
from node import ADDRESSES, CLIENT_MAC, IN, MACS, OUT, SLB, TCP
from packets import frame


def ether(family, **more):
    return Ether(**{"src": CLIENT_MAC, "dst": MACS[IN], **more})


def goes_up(bench, data, device=IN, **skb):
    data = bytes(data)
    verdict, out = bench.send(data, device, **skb)
    assert (verdict, out) == (n.UP, data)


# ---- none of slb's business --------------------------------------------------------------------

def test_other_protocols(tcp_bench):
    own = tcp_bench.own
    goes_up(tcp_bench, Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="192.0.2.1"))
    goes_up(tcp_bench, ether(4) / IP(dst=ADDRESSES[4]["vip"]) / ICMP())
    goes_up(tcp_bench, ether(4) / IP(dst=ADDRESSES[4]["vip"], proto=47) / Raw(bytes(20)))
    goes_up(tcp_bench, ether(6) / IPv6(dst=ADDRESSES[6]["vip"]) / ICMPv6EchoRequest())
    goes_up(tcp_bench, Ether(dst=MACS[IN], type=0x88cc) / Raw(bytes(60)))
    assert own and tcp_bench.node.all_drops() == {}


def test_other_destinations(bench):
    """No service there: another port, another address, another protocol."""
    other = n.UDP if bench.protocol == TCP else TCP
    for protocol, daddr, dport in ((bench.protocol, bench.vip, VIP_PORT + 1),
                                   (bench.protocol, bench.own["node_in"], VIP_PORT),
                                   (other, bench.vip, VIP_PORT)):
        goes_up(bench, frame(bench.family, protocol, bench.client, 5, daddr, dport, flags="S"))
    # To a source port that no flow has.
    goes_up(bench, frame(bench.family, bench.protocol, bench.own["backend"][11], BACKEND_PORT,
                         bench.own["node_out"], n.PORT_FIRST, src=n.BACKEND_MACS[11],
                         dst=MACS[OUT]), OUT)
    assert bench.node.all_drops() == {}
    assert not bench.node.flows(bench.family) + bench.node.flows(bench.family, half_open=True)


def test_group_and_foreign_macs(bench):
    data = bench.to_vip(5, flags="S")
    goes_up(bench, bytes.fromhex("01005e000001") + data[6:])
    goes_up(bench, b"\xff" * 6 + data[6:])
    if bench.hook == "tc":  # XDP is not told which MACs are the device's
        goes_up(bench, bytes.fromhex("0200000000ff") + data[6:])


def test_unconfigured(bench):
    """Before the daemon has written config, nothing is touched."""
    bench.node.generation = 0
    bench.node.write_config()
    goes_up(bench, bench.to_vip(5, flags="S"))


# ---- malformed -----------------------------------------------------------------------------------

def change(data, at, value):
    return data[:at] + value + data[at + len(value):]


def malformed_frames(bench):
    data = bench.to_vip(5, flags="S", payload=b"12345678")
    l3, l4 = 14, 14 + (20 if bench.family == 4 else 40)
    total = len(data) - 14
    if bench.family == 4:
        yield "version", change(data, l3, b"\x65")
        for words in range(5):
            yield f"IHL {words}", change(data, l3, bytes([0x40 | words]))
        yield "IHL beyond the packet", change(data, l3, b"\x4f")
        for length in (0, 1, 19, 20, total - len(b"12345678") - 1, total + 1, 65535):
            yield f"total length {length}", change(data, l3 + 2, length.to_bytes(2, "big"))
    else:
        yield "version", change(data, l3, b"\x45")
        for length in (0, 1, total - 40 - len(b"12345678") - 1, total - 40 + 1, 65535):
            yield f"payload length {length}", change(data, l3 + 4, length.to_bytes(2, "big"))
    if bench.protocol == TCP:
        for words in range(5):
            yield f"TCP offset {words}", change(data, l4 + 12, bytes([words << 4]))
        yield "TCP offset beyond", change(data, l4 + 12, b"\xf0")
    else:
        for length in (0, 7, 8 + 8 + 1, 65535):
            yield f"UDP length {length}", change(data, l4 + 4, length.to_bytes(2, "big"))


def test_malformed(bench):
    frames = list(malformed_frames(bench))
    for name, data in frames:
        verdict, out = bench.send(data)
        assert (verdict, out) == (n.UP, data), name
    assert bench.node.all_drops() == {"MALFORMED": len(frames)}
    assert not bench.node.flows(bench.family, half_open=True)


@pytest.mark.parametrize("established", [False, True], ids=["new", "established"])
def test_cut_at_every_length(bench, established):
    """Nothing is forwarded that is not whole, and nothing is changed."""
    if established:
        data = bench.connect().request_frame(payload=b"0123456789")
    else:
        data = bench.to_vip(5, flags="S", payload=b"0123456789")
    for length in range(shortest(bench), len(data)):
        goes_up(bench, data[:length])
    assert bench.send(data)[0] in FORWARDED


def shortest(bench):
    """The kernel makes no skb of an IP packet with less than its header; XDP sees every frame."""
    return {"xdp": 14, "tc": 14 + (20 if bench.family == 4 else 40)}[bench.hook]


def test_cut_with_options(node, hook):
    bench = Bench(node, hook, 4, TCP)
    connection = bench.connect()
    data = connection.request_frame(options=[IPOption_NOP()] * 40, payload=b"",
                                    l4_options=[("NOP", None)] * 40)
    assert len(data) == 14 + 60 + 60
    for length in range(shortest(bench), len(data)):
        goes_up(bench, data[:length])
    assert bench.send(data)[0] in FORWARDED


# ---- another device's ------------------------------------------------------------------------------

@pytest.mark.parametrize("tags", [[0x8100], [0x88a8], [0x8100, 0x8100], [0x88a8, 0x8100]],
                         ids=lambda tags: "+".join(f"{tag:x}" for tag in tags))
@pytest.mark.parametrize("vlan", [0, 7, 4095])
def test_tags(bench, tags, vlan):
    """Tagged frames are the VLAN device's, also where the addresses and ports are those of a flow here."""
    connection = bench.connect()
    for data, device in ((bench.to_vip(5, flags="S"), IN), (connection.request_frame(), IN),
                         (connection.reply_frame(), OUT)):
        inside = b"".join(struct.pack("!HH", tag, vlan) for tag in tags) + data[12:]
        goes_up(bench, data[:12] + inside, device)
    assert not bench.flow(bench.client_key(5), half_open=True)
    assert bench.node.all_drops() == {}


# ---- reasons -------------------------------------------------------------------------------------

def test_not_syn(tcp_bench):
    flags = ("A", "SA", "R", "RA", "F", "FA", "SF", "SR", "PA", "FSRPAU")
    for number, each in enumerate(flags):
        goes_up(tcp_bench, tcp_bench.to_vip(number + 1, flags=each))
    goes_up(tcp_bench, frame(tcp_bench.family, TCP, tcp_bench.client, 99, tcp_bench.vip, VIP_PORT,
                             flags="U"))
    assert tcp_bench.drops() == {"NOT_SYN": len(flags) + 1}


def test_no_route(bench):
    bench.node.write_backend(1, bench.service, bench.own["lost"], 8080, bench.sources)
    bench.node.set_schedule(bench.service, [1])
    assert bench.send(bench.to_vip(5, flags="S"))[0] == n.DROP
    assert bench.drops() == {"NO_ROUTE": 1}


def test_no_neighbour(node, family, protocol):
    """XDP hands the packet up as it was, having begun the flow; tc, on the same device, sends it by the kernel's resolver."""
    bench = Bench(node, "xdp", family, protocol)
    node.write_backend(1, bench.service, bench.own["silent"], 8080, bench.sources)
    node.set_schedule(bench.service, [1])
    data = bench.to_vip(5, flags="S")
    goes_up(bench, data)
    assert bench.drops() == {"NO_NEIGHBOUR": 1}
    assert node.traffic(1) == (1, 0, 0, 0, 0)
    (flow,) = [f for key, f in node.flows(family, half_open=True) if key["dport"] == VIP_PORT]
    verdict, out = node.send("tc", data)
    assert verdict == n.OTHER
    from bench import Connection, rewritten
    connection = Connection(bench, 5, bench.client, flow)
    assert out == rewritten(data, connection.source, connection.source_port, bench.own["silent"],
                            8080, src=CLIENT_MAC, dst=MACS[IN])
    assert node.traffic(1) == (1, 1, len(data) - 14, 0, 0)
    n.neighbour(bench.own["silent"], "02:00:00:00:02:99", OUT)
    try:
        verdict, out = node.send("xdp", data)
        assert verdict == n.OTHER and out[:6].hex(":") == "02:00:00:00:02:99"
    finally:
        n.ip("neigh", "del", bench.own["silent"], "dev", OUT)


def test_refuse_new(bench):
    """The table is nearly full: flows there are go on, new ones wait."""
    connection = bench.connect()
    bench.node.flags |= SLB[f"SLB_CONFIG_REFUSE_NEW{bench.family}"]
    bench.node.write_config()
    connection.request()
    assert bench.send(bench.to_vip(5, flags="S"))[0] == n.DROP
    assert bench.drops() == {"TABLE_FULL": 1}


def test_disabled_backend(bench):
    connection = bench.connect()
    for backend_id, number in bench.backends.items():
        bench.node.write_backend(backend_id, bench.service, bench.own["backend"][number],
                                 BACKEND_PORT, bench.sources, flags=SLB["SLB_BACKEND_DISABLED"])
    connection.request()  # not yet: established flows ask when the generation is raised
    bench.node.raise_generation()
    assert bench.send(connection.request_frame())[0] == n.DROP
    assert bench.send(connection.reply_frame(), OUT)[0] == n.DROP
    assert bench.send(bench.to_vip(5, flags="S"))[0] == n.DROP
    assert bench.drops() == {"BACKEND_DISABLED": 3}
