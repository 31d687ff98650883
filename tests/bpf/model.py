# SPDX-License-Identifier: GPL-2.0-only
"""
model: what slb should do with a packet, once more, in plain Python and without regard to speed.

Written from the description in bpf/README.md. Time stands still (the clock is stopped), tables are large enough, and every
next hop is known. Addresses are bytes. Checksums are computed in full.
"""

import dataclasses
import struct

TCP, UDP = 6, 17
FIN, SYN, RST, ACK = 1, 2, 4, 16
PORT_TRIES = 64


@dataclasses.dataclass
class Packet:
    protocol: int
    saddr: bytes
    sport: int
    daddr: bytes
    dport: int
    flags: int = 0
    seq: int = 0
    ack: int = 0
    ttl: int = 64
    payload: bytes = b""
    no_checksum: bool = False

    def key(self):
        return (self.saddr, self.sport, self.daddr, self.dport, self.protocol)

    def rewritten(self, key):
        saddr, sport, daddr, dport, _ = key
        return dataclasses.replace(self, saddr=saddr, sport=sport, daddr=daddr, dport=dport,
                                   ttl=self.ttl - 1)

    def to_bytes(self, src, dst):
        """The whole frame."""
        ports = struct.pack("!HH", self.sport, self.dport)
        if self.protocol == TCP:
            body = ports + struct.pack("!IIBBHHH", self.seq, self.ack, 5 << 4, self.flags, 512, 0, 0)
            at = 16
        else:
            body = ports + struct.pack("!HH", 8 + len(self.payload), 0)
            at = 6
        body += self.payload
        if not self.no_checksum:
            length = struct.pack("!I", len(body))
            pseudo = self.saddr + self.daddr + length + bytes((0, 0, 0, self.protocol))
            check = checksum(pseudo + body)
            if self.protocol == UDP:
                check = check or 0xffff
            body = body[:at] + struct.pack("!H", check) + body[at + 2:]
        if len(self.saddr) == 4:
            header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, self.ttl,
                                 self.protocol, 0) + self.saddr + self.daddr
            header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
            return dst + src + b"\x08\x00" + header + body
        header = struct.pack("!IHBB", 6 << 28, len(body), self.protocol, self.ttl)
        return dst + src + b"\x86\xdd" + header + self.saddr + self.daddr + body


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


@dataclasses.dataclass
class Backend:
    address: bytes
    port: int
    next_port: int = 0
    traffic: list = dataclasses.field(default_factory=lambda: [0] * 5)
    opened: int = 0
    closed: int = 0


@dataclasses.dataclass
class Service:
    backends: list
    source_nat: bool = True
    turn: int = 0
    drops: dict = dataclasses.field(default_factory=dict)


class Flow:
    """Both directions. client: the key of the client's packets; inner: of what they become, turned round: the
    backend's."""

    def __init__(self, service, backend, client, source, sport):
        self.service, self.backend, self.client = service, backend, client
        self.inner = (backend.address, backend.port, source, sport, client[4])
        self.established = False
        self.old = False  # begun long enough ago for a stream without replies
        self.replied = False
        self.expected = None
        self.seen = {client: 0, self.inner: 0}

    def outgoing(self, key):
        """What a packet becomes that has this key."""
        saddr, sport, daddr, dport, protocol = self.inner if key == self.client else self.client
        return (daddr, dport, saddr, sport, protocol)

    def is_closed(self):
        ways = list(self.seen.values())
        return bool((ways[0] | ways[1]) & RST or ways[0] & ways[1] & FIN)


class Model:
    def __init__(self, services, ports, sources):
        self.services = services  # {(vip, port, protocol): Service}
        self.ports = [port for first, count in ports for port in range(first, first + count)]
        self.sources = sources
        self.flows = {}

    def forget(self, flow):
        for key in (flow.client, flow.inner):
            assert self.flows.pop(key) is flow

    def receive(self, packet):
        """Returns ("up" or "drop" or how the sender is answered, None), or ("forward", the packet that goes out)."""
        key = packet.key()
        flow = self.flows.get(key)
        is_syn = packet.flags & (SYN | ACK | FIN | RST) == SYN
        if flow and packet.protocol == TCP and is_syn and flow.is_closed():
            self.forget(flow)
            flow = None
        if flow:
            self.follow(flow, key, packet)
            if packet.ttl <= 1:
                return self.refuse(flow.service, "TTL_EXCEEDED", "ttl")
        else:
            service = self.services.get((packet.daddr, packet.dport, packet.protocol))
            if not service:
                return "up", None
            if packet.protocol == TCP and not is_syn:
                return self.refuse(service, "NOT_SYN", "up")
            flow, refusal = self.begin(service, key, packet)
            if refusal:
                return refusal
        counters = flow.backend.traffic
        way = 1 if key == flow.client else 3
        header = (20 if len(packet.saddr) == 4 else 40) + (20 if packet.protocol == TCP else 8)
        counters[way] += 1
        counters[way + 1] += header + len(packet.payload)
        return "forward", packet.rewritten(flow.outgoing(key))

    @staticmethod
    def refuse(service, reason, verdict):
        service.drops[reason] = service.drops.get(reason, 0) + 1
        return verdict, None

    def begin(self, service, key, packet):
        if not service.backends:
            return None, self.refuse(service, "NO_BACKEND", "nobody")
        backend = service.backends[service.turn]
        service.turn = (service.turn + 1) % len(service.backends)
        if packet.ttl <= 1:
            return None, self.refuse(service, "TTL_EXCEEDED", "ttl")
        place = self.find_port(backend) if service.source_nat else (packet.saddr, packet.sport)
        if not service.source_nat:
            taken = self.flows.get((backend.address, backend.port, *place, packet.protocol))
            if taken and not (taken.established and taken.is_closed()):
                place = None
            elif taken:
                self.forget(taken)
        if not place:
            return None, self.refuse(service, "PORTS_EXHAUSTED", "drop")
        flow = Flow(service, backend, key, *place)
        flow.seen[key] |= packet.flags & SYN
        self.flows[flow.client] = self.flows[flow.inner] = flow
        backend.opened += 1
        backend.traffic[0] += 1
        return flow, None

    def find_port(self, backend, protocol=None):
        protocol = protocol or self.protocol_of(backend)
        closed = None
        for _ in range(PORT_TRIES):
            number = backend.next_port
            if number >= len(self.ports) * len(self.sources):
                number = 0
            backend.next_port = number + 1
            place = (self.sources[number // len(self.ports)], self.ports[number % len(self.ports)])
            taken = self.flows.get((backend.address, backend.port, *place, protocol))
            if not taken:
                return place
            if taken.established and taken.is_closed():
                closed = (taken, place)
        if closed:
            self.forget(closed[0])
            return closed[1]
        return None

    def protocol_of(self, backend):
        for (_, _, protocol), service in self.services.items():
            if backend in service.backends:
                return protocol
        raise AssertionError("a backend without service")

    def follow(self, flow, key, packet):
        if packet.protocol == TCP:
            before = flow.is_closed()
            flow.seen[key] |= packet.flags & (SYN | FIN | RST)
            if flow.is_closed() and not before:
                flow.backend.closed += 1
        if flow.established:
            return
        by_client = key == flow.client
        if packet.protocol == UDP:
            flow.established = flow.old or not by_client
        elif packet.flags & RST or not packet.flags & ACK:
            pass
        elif by_client:
            flow.established = (flow.replied and not packet.flags & SYN
                                and packet.ack == flow.expected)
        elif packet.flags & SYN or flow.replied:
            flow.replied = True
            flow.expected = (packet.seq + len(packet.payload) + bool(packet.flags & SYN)
                             + bool(packet.flags & FIN)) & 0xffffffff
