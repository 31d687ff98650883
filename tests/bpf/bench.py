# SPDX-License-Identifier: GPL-2.0-only
"""
bench: a balanced service on a node, and connections through it: each packet sent is checked whole against the
packet that must come out.
"""

import itertools

import node as n
from node import ADDRESSES, BACKEND_MACS, CLIENT_MAC, IN, MACS, OUT, SLB, TCP, UDP
from packets import checksums_are_right, frame

VIP_PORT = 80
BACKEND_PORT = 8080
SERVER_SEQ = 0x90000000

FORWARDED = (n.SAME, n.OTHER)


class Bench:
    def __init__(self, node, hook, family, protocol, backends=3, **service):
        self.node, self.hook, self.family, self.protocol = node, hook, family, protocol
        own = ADDRESSES[family]
        self.own = own
        self.vip, self.client = own["vip"], own["client"]
        self.sources = node.add_sources(own["node_out"])
        self.service = node.add_service(self.vip, VIP_PORT, protocol, **service)
        self.backends = {}
        for number in itertools.islice(own["backend"], backends):
            backend_id = node.add_backend(self.service, own["backend"][number], BACKEND_PORT,
                                          self.sources)
            self.backends[backend_id] = number
        node.set_schedule(self.service, list(self.backends))
        self.ports = itertools.count(30000)

    def to_vip(self, cport, client=None, **more):
        """A frame from a client to the service."""
        return frame(self.family, self.protocol, client or self.client, cport, self.vip, VIP_PORT,
                     **more)

    def send(self, data, device=IN, **skb):
        return self.node.send(self.hook, data, device, **skb)

    def flow(self, key, half_open=False):
        return self.node.flow(self.family, key, half_open)

    def client_key(self, cport, client=None):
        return (client or self.client, cport, self.vip, VIP_PORT, self.protocol)

    def drops(self):
        return self.node.drops(self.service)

    def begin(self, cport=None, client=None, **more):
        """The first packet of a new connection, which must be forwarded; returns the Connection."""
        cport = next(self.ports) if cport is None else cport
        flags = {"flags": "S"} if self.protocol == TCP else {}
        data = self.to_vip(cport, client, **{**flags, **more})
        verdict, out = self.send(data)
        assert verdict in FORWARDED, (verdict, self.node.all_drops())
        flow = (self.flow(self.client_key(cport, client), half_open=True)
                or self.flow(self.client_key(cport, client)))
        connection = Connection(self, cport, client or self.client, flow)
        assert out == connection.expected(data), "first packet"
        return connection

    def connect(self, cport=None, client=None):
        """A connection whose flow is established."""
        connection = self.begin(cport, client)
        if self.protocol == TCP:
            connection.reply(flags="SA", seq=SERVER_SEQ, ack=1001, payload=b"")
            connection.request(flags="A", seq=1001, ack=SERVER_SEQ + 1, payload=b"")
        else:
            connection.reply()
        assert connection.flow() and connection.reply_flow()
        return connection


class Connection:
    """What a flow in the table says, used to make the packets that must come out."""

    def __init__(self, bench, cport, client, flow):
        self.bench, self.cport, self.client = bench, cport, client
        length = 4 if bench.family == 4 else 16
        self.backend_id = flow["common"]["backend_id"]
        self.source_port = flow["common"]["sport"]
        self.backend_port = flow["common"]["dport"]
        address = lambda raw: str(n.ipaddress.ip_address(raw[:length]))  # noqa: E731
        self.source, self.backend = address(flow["saddr"]), address(flow["daddr"])
        self.backend_mac = BACKEND_MACS.get(bench.backends.get(self.backend_id))
        self.key = bench.client_key(cport, client)
        self.reply_key = (self.backend, self.backend_port, self.source, self.source_port,
                          bench.protocol)

    def flow(self, half_open=False):
        return self.bench.flow(self.key, half_open)

    def reply_flow(self, half_open=False):
        return self.bench.flow(self.reply_key, half_open)

    def expected(self, data, **macs):
        """What a frame from the client must become."""
        return rewritten(data, self.source, self.source_port, self.backend, self.backend_port,
                         **{"src": MACS[OUT], "dst": self.backend_mac, **macs})

    def expected_reply(self, data, **macs):
        return rewritten(data, self.bench.vip, VIP_PORT, self.client, self.cport,
                         **{"src": MACS[IN], "dst": CLIENT_MAC, **macs})

    def request_frame(self, **more):
        return self.bench.to_vip(self.cport, self.client, **more)

    def reply_frame(self, **more):
        return frame(self.bench.family, self.bench.protocol, self.backend, self.backend_port,
                     self.source, self.source_port,
                     **{"src": self.backend_mac, "dst": MACS[OUT], **more})

    def request(self, **more):
        """Sends from the client; it must come out whole and right."""
        data = self.request_frame(**more)
        verdict, out = self.bench.send(data)
        assert verdict in FORWARDED, (verdict, self.bench.node.all_drops())
        assert out == self.expected(data)

    def reply(self, **more):
        data = self.reply_frame(**more)
        verdict, out = self.bench.send(data, OUT)
        assert verdict in FORWARDED, (verdict, self.bench.node.all_drops())
        assert out == self.expected_reply(data)


def rewritten(data, saddr, sport, daddr, dport, src, dst):
    """The frame with new addresses, ports and MACs, TTL less one, and checksums computed in full by Scapy."""
    parsed = n_ether(data)
    layer3 = parsed.payload
    layer4 = layer3.payload
    parsed.src, parsed.dst = src, dst
    layer3.src, layer3.dst = saddr, daddr
    layer4.sport, layer4.dport = sport, dport
    if parsed.type == 0x800:
        layer3.ttl -= 1
        del layer3.chksum
    else:
        layer3.hlim -= 1
    if layer4.name == "TCP" or layer4.chksum:
        del layer4.chksum
    out = bytes(parsed)
    assert checksums_are_right(out)
    return out


def n_ether(data):
    from scapy.layers.l2 import Ether  # pylint: disable=import-outside-toplevel
    return Ether(data)


__all__ = ["Bench", "Connection", "FORWARDED", "SERVER_SEQ", "SLB", "UDP", "rewritten"]
