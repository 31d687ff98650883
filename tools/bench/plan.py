# SPDX-License-Identifier: GPL-2.0-only
"""
plan: what is measured in micro: the packets, the network they would pass, and the contenders with their tables filled.

Flows are begun by packets, never written into tables from here, so that a contender may keep them in any kind of
table. Flow i is client i and, by round robin, backend i % BACKENDS with that backend's source port number
i / BACKENDS: so the source program (source.bpf.c) can tell the replies' addresses from i alone.
"""

import ipaddress
import os
import struct
import subprocess
import sys

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("SLB_BUILD", os.path.join(TOP, "build"))
sys.path.insert(0, os.path.join(TOP, "tests", "bpf"))

import libbpf  # noqa: E402
import node as n  # noqa: E402
from node import ADDRESSES, CLIENT_MAC, IN, MACS, NEAR_MAC, OUT, TCP, UDP  # noqa: E402
from packets import frame  # noqa: E402

HEAD_BYTES = 80
BACKENDS_SHIFT = 6
BACKENDS = 1 << BACKENDS_SHIFT
CLIENT_PORTS_SHIFT = 10
CLIENT_PORT_FIRST = 1024
PORT_FIRST, PORT_COUNT = 1024, 60000
VIP_PORT, NEW_PORT, BACKEND_PORT = 80, 81, 8080
BACKEND_MAC = "02:00:00:00:02:40"
PAYLOAD_BYTES = 40  # so that any frame is longer than HEAD_BYTES
BATCH = 4096  # flows half open at a time while tables are filled

# By family: the first client, its network, the first backend of the service of established flows, and of the one
# that new flows go to. The last four bytes count up.
FIRST = {
    4: {"client": "10.0.0.0", "clients": "10.0.0.0/8", "backend": "198.51.100.64",
        "new": "198.51.100.128"},
    6: {"client": "2001:db8:a::", "clients": "2001:db8:a::/64", "backend": "2001:db8:2::1:0",
        "new": "2001:db8:2::2:0"},
}


def last_word(address):
    return int.from_bytes(n.packed(address)[-4:], "big")


def following(address, count):
    first = ipaddress.ip_address(address)
    return [str(first + i) for i in range(count)]


def enter_network():
    """tests/bpf's namespace, with the clients behind IN and the backends behind OUT."""
    n.enter_network()
    lines = []
    for family, first in FIRST.items():
        lines.append(f"route add {first['clients']} via {ADDRESSES[family]['near']} dev {IN}")
        for address in following(first["backend"], BACKENDS) + following(first["new"], BACKENDS):
            lines.append(f"neigh add {address} lladdr {BACKEND_MAC} dev {OUT} nud permanent")
    # IPv6 has its neighbours one by one; those of both families may be in one batch.
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def half_of(mask):
    return (mask.bit_length() + 1) // 2


class Packets:
    """One kind of packets: a frame for the source program's head, and how it varies with the flow."""

    def __init__(self, family, protocol, is_reply=False, service="backend", is_fixed=False,
                 is_verified=False, head=None, **fields):
        self.family, self.protocol, self.is_reply, self.is_fixed = family, protocol, is_reply, is_fixed
        self.is_verified = is_verified
        own, first = ADDRESSES[family], FIRST[family]
        vip_port = VIP_PORT if service == "backend" else NEW_PORT
        more = {"payload": bytes(PAYLOAD_BYTES), **fields}
        if is_reply:
            self.device = OUT
            head = frame(family, protocol, first[service], BACKEND_PORT, own["node_out"], PORT_FIRST,
                         src=BACKEND_MAC, dst=MACS[OUT], **more)
            self.addr_first, self.port_first = last_word(first[service]), PORT_FIRST
            self.shift = BACKENDS_SHIFT
        else:
            self.device = IN
            head = head or frame(family, protocol, first["client"], CLIENT_PORT_FIRST, own["vip"], vip_port,
                                 src=NEAR_MAC, dst=MACS[IN], **more)
            self.addr_first, self.port_first = last_word(first["client"]), CLIENT_PORT_FIRST
            self.shift = CLIENT_PORTS_SHIFT
        self.frame = bytes(head)

    def source(self, begin, flows, in_order):
        """struct source of source.bpf.c."""
        mask = flows - 1
        shuffle = 0 if in_order or flows < 4 else half_of(mask)
        return (self.frame[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0")
                + struct.pack("<Q9I4x", begin, mask, shuffle, self.addr_first, self.port_first, self.shift,
                              int(self.is_reply), int(self.family == 6), int(self.is_fixed),
                              int(self.is_verified)))


ALL_FLOWS = 1 << 24


class Source:
    """The program that makes packets. run() measures another with them."""

    def __init__(self):
        self.object = libbpf.Object(f"{BUILD}/bench/source.bpf.o")
        self.begun = 0

    def aim(self, hook, program):
        self.object.maps[f"{hook}_target"].write(struct.pack("<I", 0), struct.pack("<I", program.fd))

    def run(self, hook, packets, repeat, begin=0, flows=ALL_FLOWS, in_order=False):
        """(the last verdict, ns a packet): `repeat` packets of flows begin, begin + 1 …"""
        self.object.maps["sources"].write(struct.pack("<I", 0), packets.source(begin, flows, in_order))
        index = n.device_index(packets.device)
        if hook == "xdp":
            context = struct.pack("<6I", 0, len(packets.frame), 0, index, 0, 0)
        else:
            context = n.TC_TYPES.pack("__sk_buff", ifindex=index)
        verdict, ns = self.object.programs[f"source_{hook}"].time(packets.frame, context, repeat)
        assert verdict in n.VERDICTS[hook], f"{hook}: the program measured was not reached"
        return verdict, ns


class Contender:
    """programs: by hook. filled: what flows its tables hold."""

    def __init__(self, name, programs):
        self.name, self.programs = name, programs

    def fill(self, source, hook, family, protocol, flows):
        """Brings so many flows into its tables."""

    def forwarded(self):
        """Packets it says it forwarded, or None if it does not count."""

    def close(self):
        pass


class Reference(Contender):
    """One of the programs of reference.bpf.c. capacity: entries of its flow table."""

    def __init__(self, name, program, capacity, is_filled=True):
        self.object = libbpf.Object(f"{BUILD}/bench/reference.bpf.o",
                                    {"ref_flows4": capacity, "ref_flows6": capacity})
        super().__init__(name, {h: self.object.programs[f"ref_{h}_{program}"] for h in ("xdp", "tc")})
        self.is_filled = is_filled

    def plan(self, family):
        words = lambda address: n.packed(address).ljust(16, b"\0")  # noqa: E731
        hop = lambda to, device: (bytes.fromhex((to + MACS[device]).replace(":", ""))  # noqa: E731
                                  + struct.pack("<I", n.device_index(device)))
        self.object.maps["ref_plan"].write(
            struct.pack("<I", 0),
            words(ADDRESSES[family]["node_out"]) + words(FIRST[family]["backend"])
            + struct.pack("<4I", BACKENDS_SHIFT, PORT_FIRST, int.from_bytes(
                struct.pack(">H", BACKEND_PORT), "little"), 0)
            + hop(BACKEND_MAC, OUT) + hop(NEAR_MAC, IN))

    def fill(self, source, hook, family, protocol, flows):
        self.plan(family)
        if self.is_filled:
            begin = self.object.programs[f"ref_{hook}_new"]
            source.aim(hook, begin)
            fields = {"flags": "S"} if protocol == TCP else {}
            source.run(hook, Packets(family, protocol, **fields), flows, in_order=True)

    def close(self):
        self.object.close()


class Slb(Contender):
    """The real programs on maps filled as the daemon fills them, and flows begun by handshakes."""

    def __init__(self, name, capacity, half_open, has_service=True, objects=None):
        self.node = n.Node(objects=objects or n.OBJECTS, flows4=capacity, flows6=capacity, half_open4=half_open,
                           half_open6=half_open, backends=1024, backend_state=1024,
                           backend_counters=1024)
        super().__init__(name, self.node.programs)
        if has_service:
            self.node.ports = [(PORT_FIRST, PORT_COUNT), (0, 0)]
            self.node.write_config()
            for family in (4, 6):
                for protocol in (TCP, UDP):
                    self.add_service(family, protocol, VIP_PORT, "backend")
                    self.add_service(family, protocol, NEW_PORT, "new")
        else:
            self.node.generation = 0
            self.node.write_config()

    def add_service(self, family, protocol, port, first):
        node = self.node
        service = node.add_service(ADDRESSES[family]["vip"], port, protocol)
        if (family, first) not in self.__dict__.setdefault("sources", {}):
            self.sources[family, first] = node.add_sources(ADDRESSES[family]["node_out"])
        ids = [node.add_backend(service, address, BACKEND_PORT, self.sources[family, first])
               for address in following(FIRST[family][first], BACKENDS)]
        node.set_schedule(service, ids)

    def fill(self, source, hook, family, protocol, flows):
        source.aim(hook, self.programs[hook])
        if protocol == TCP:
            steps = (Packets(family, TCP, flags="S", seq=1000),
                     Packets(family, TCP, is_reply=True, flags="SA", seq=5000, ack=1001),
                     Packets(family, TCP, flags="A", seq=1001, ack=5001 + PAYLOAD_BYTES))
        else:
            steps = Packets(family, UDP), Packets(family, UDP, is_reply=True)
        for begin in range(0, flows, BATCH):
            for packets in steps:
                source.run(hook, packets, min(BATCH, flows - begin), begin, in_order=True)

    def forwarded(self):
        """Of all backends together."""
        counters = self.node.maps["backend_counters"]
        total = 0
        for index in range(1, self.node.next_backend):
            for value in counters.read(struct.pack("<I", index)):
                _, packets_in, _, packets_out, _ = struct.unpack("<5Q", value)
                total += packets_in + packets_out
        return total

    def close(self):
        self.node.close()
