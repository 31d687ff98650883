# SPDX-License-Identifier: GPL-2.0-only
"""
node: the programs with their maps, filled as the daemon fills them; and the network they look up next hops in.

One Node has both hooks' programs on one set of maps. Tests say what balances where, and send packets.
"""

import ctypes
import ipaddress
import os
import socket
import struct
import subprocess

import abi
import libbpf

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
OBJECTS = os.path.join(os.environ.get("SLB_BUILD", os.path.join(TOP, "build")), "bpf")

TYPES = abi.Types(os.path.join(OBJECTS, "xdp.bpf.o"))
TC_TYPES = abi.Types(os.path.join(OBJECTS, "tc.bpf.o"))
SLB = abi.constants(os.path.join(TOP, "bpf", "slb_abi.h"))

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP

# Verdicts, by hook: up, drop, out by the same device, out by another one.
UP, DROP, SAME, OTHER = "up", "drop", "same", "other"
VERDICTS = {"xdp": {2: UP, 1: DROP, 3: SAME, 4: OTHER}, "tc": {-1: UP, 2: DROP, 7: OTHER}}

IN, OUT = "in0", "out0"
MACS = {IN: "02:00:00:00:00:01", OUT: "02:00:00:00:00:02"}
CLIENT_MAC = "02:00:00:00:01:0a"
BACKEND_MACS = {n: f"02:00:00:00:02:{n:02x}" for n in range(11, 16)}
NEAR_MAC = "02:00:00:00:01:15"
ROUTER_MAC = "02:00:00:00:02:fe"

# By family. net: reached by IN; far: by OUT; the rest of the world by a router behind OUT.
ADDRESSES = {
    4: {"node_in": "192.0.2.1", "node_out": "198.51.100.1", "client": "192.0.2.10",
        "near": "192.0.2.21", "vip": "203.0.113.80", "router": "198.51.100.254",
        "remote": "10.9.8.7", "silent": "198.51.100.99", "lost": "10.66.0.1",
        "backend": {n: f"198.51.100.{n}" for n in range(11, 16)}},
    6: {"node_in": "2001:db8:1::1", "node_out": "2001:db8:2::1", "client": "2001:db8:1::10",
        "near": "2001:db8:1::21", "vip": "2001:db8:f::80", "router": "2001:db8:2::fe",
        "remote": "2001:db8:99::7", "silent": "2001:db8:2::99", "lost": "2001:db8:66::1",
        "backend": {n: f"2001:db8:2::{n}" for n in range(11, 16)}},
}

SIZES = {"services4": 16, "services6": 16, "slots": 64, "scheduler_state": 16,
         "backends": 32, "backend_state": 32, "sources": 16, "flows4": 8192,
         "flows6": 8192, "half_open4": 8192, "half_open6": 8192, "affinities": 1024, "backend_counters": 32,
         "drops": 16}

PORT_FIRST, PORT_COUNT = 1024, 20000


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def enter_network():
    """A fresh network namespace for this process alone: two devices, neighbours, a router."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare the network namespace (run as root)")
    for device, mac in MACS.items():
        ip("link", "add", device, "address", mac, "type", "veth", "peer", "name", "peer-" + device)
        ip("link", "set", "peer-" + device, "up")
        ip("link", "set", device, "up")
    for family, own in ADDRESSES.items():
        length, extra = ("24", []) if family == 4 else ("64", ["nodad"])
        flag = f"-{family}"
        ip(flag, "addr", "add", f"{own['node_in']}/{length}", "dev", IN, *extra)
        ip(flag, "addr", "add", f"{own['node_out']}/{length}", "dev", OUT, *extra)
        ip(flag, "route", "add", "default", "via", own["router"], "dev", OUT)
        ip(flag, "route", "add", "unreachable", own["lost"])
        neighbour(own["client"], CLIENT_MAC, IN)
        neighbour(own["near"], NEAR_MAC, IN)
        neighbour(own["router"], ROUTER_MAC, OUT)
        for number, address in own["backend"].items():
            neighbour(address, BACKEND_MACS[number], OUT)
    for path in ("ipv4/conf/all", "ipv6/conf/all"):
        with open(f"/proc/sys/net/{path}/forwarding", "w", encoding="ascii") as file:
            file.write("1")


def neighbour(address, mac, device):
    ip("neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")


def device_index(name):
    return socket.if_nametoindex(name)


def packed(address):
    return ipaddress.ip_address(address).packed


def constants(path, tunables):
    """The section of `const volatile` variables, all of them given."""
    variables = abi.variables(path)
    assert set(variables) == set(tunables)
    section = bytearray(max(offset + length for offset, length in variables.values()))
    for name, (offset, length) in variables.items():
        section[offset:offset + length] = tunables[name].to_bytes(length, "little")
    return bytes(section)


class Node:
    """second_multiplier: 0 stops the clock. objects: the folder of the programs. sizes: max_entries of maps that differ
    from SIZES."""

    def __init__(self, second_multiplier=(1 << 32) // 250, answers_per_s=1 << 30, objects=OBJECTS,
                 **sizes):
        sizes = {**SIZES, **sizes}
        tunables = {"slb_second_multiplier": second_multiplier, "slb_answers_per_s": answers_per_s}
        self.xdp = libbpf.Object(f"{objects}/xdp.bpf.o", sizes,
                                 constants=constants(f"{objects}/xdp.bpf.o", tunables))
        shared = {n: m for n, m in self.xdp.maps.items() if not n.endswith(".rodata")}
        self.tc = libbpf.Object(f"{objects}/tc.bpf.o", sizes, reuse=shared,
                                constants=constants(f"{objects}/tc.bpf.o", tunables))
        self.maps = self.xdp.maps
        self.programs = {"xdp": self.xdp.programs["slb_xdp"], "tc": self.tc.programs["slb_tc"]}
        self.clock = self.xdp.programs["slb_clock"]
        self.sizes = sizes
        self.reset()

    def close(self):
        self.tc.close()
        self.xdp.close()

    # ---- filling the maps, as the daemon does ----

    def reset(self):
        for name in ("services4", "services6", "flows4", "flows6", "half_open4", "half_open6",
                     "affinities"):
            self.maps[name].clear()
        for name in ("slots", "scheduler_state", "backends", "backend_state", "sources",
                     "backend_counters", "drops"):
            for index in range(self.sizes[name]):
                self.maps[name].write(struct.pack("<I", index), bytes(self.maps[name].value_bytes))
        self.next_service = self.next_backend = 1
        self.next_source = 0
        self.next_line = 0  # of `slots`
        self.services = {}  # service id → [map, key, members of its value]
        self.ports = [(PORT_FIRST, PORT_COUNT), (0, 0)]
        self.generation = 1
        self.flags = 0
        self.write_config()

    def write(self, name, index, struct_name, **values):
        self.maps[name].write(struct.pack("<I", index), TYPES.pack(struct_name, **values))

    def write_config(self):
        self.write("config", 0, "slb_config", abi_version=SLB["SLB_ABI_VERSION"], flags=self.flags,
                   generation=self.generation,
                   ports=[{"first": first, "count": count} for first, count in self.ports])

    def raise_generation(self):
        self.generation += 1
        self.write_config()

    def add_sources(self, *addresses):
        first = self.next_source
        for address in addresses:
            self.write("sources", self.next_source, "slb_source", ip=packed(address))
            self.next_source += 1
        return first, len(addresses)

    def add_service(self, vip, port, protocol, scheduler=0, source_nat=True, affinity_s=0):
        service_id = self.next_service
        self.next_service += 1
        family = ipaddress.ip_address(vip).version
        self.services[service_id] = [
            self.maps[f"services{family}"],
            TYPES.pack(f"slb_service_key{family}", vip=packed(vip), port=port, protocol=protocol),
            {"service_id": service_id, "scheduler": scheduler, "affinity_s": affinity_s,
             "flags": SLB["SLB_SERVICE_SOURCE_NAT"] if source_nat else 0,
             "uuid": service_id.to_bytes(16, "big")}]
        self.write_service(service_id)
        if not source_nat:
            self.flags |= SLB["SLB_CONFIG_CLIENT_SOURCE"]
            self.write_config()
        return service_id

    def write_service(self, service_id, **changed):
        services, key, values = self.services[service_id]
        values.update(changed)
        services.write(key, TYPES.pack("slb_service", **values))

    def remove_service(self, vip, port, protocol):
        family = ipaddress.ip_address(vip).version
        self.maps[f"services{family}"].delete(
            TYPES.pack(f"slb_service_key{family}", vip=packed(vip), port=port, protocol=protocol))

    def add_backend(self, service_id, address, port, sources=(0, 0), **values):
        backend_id = self.next_backend
        self.next_backend += 1
        self.write_backend(backend_id, service_id, address, port, sources, **values)
        return backend_id

    def write_backend(self, backend_id, service_id, address, port, sources=(0, 0), **values):
        values = {"type": SLB["SLB_BACKEND_MASQ"], "weight": 1, **values}
        self.write("backends", backend_id, "slb_backend", ip=packed(address), port=port,
                   service_id=service_id, source_first=sources[0], source_count=sources[1],
                   uuid=backend_id.to_bytes(16, "big"), **values)

    def set_schedule(self, service_id, slots):
        per_line = SLB["SLB_SLOTS_PER_LINE"]
        first = self.next_line * per_line
        for at in range(0, len(slots), per_line):
            self.write("slots", self.next_line, "slb_slots", backend_id=slots[at:at + per_line])
            self.next_line += 1
        self.write_service(service_id, first_slot=first, slot_count=len(slots))

    # ---- reading ----

    def flows(self, family, half_open=False):
        """[(key, flow)], unpacked."""
        found = self.maps[f"half_open{family}" if half_open else f"flows{family}"].items()
        return [(TYPES.unpack(f"slb_flow_key{family}", key), TYPES.unpack(f"slb_flow{family}", flow))
                for key, flow in found.items()]

    def flow(self, family, key, half_open=False):
        """key: (saddr, sport, daddr, dport, protocol). The unpacked flow, or None."""
        value = self.maps[f"half_open{family}" if half_open else f"flows{family}"].read(
            self.flow_key(family, key))
        return value and TYPES.unpack(f"slb_flow{family}", value)

    def flow_key(self, family, key):
        saddr, sport, daddr, dport, protocol = key
        return TYPES.pack(f"slb_flow_key{family}", saddr=packed(saddr), sport=sport,
                          daddr=packed(daddr), dport=dport, protocol=protocol)

    def change_flow(self, family, key, half_open=False, **common):
        """Writes members of the common part, as time and other packets would."""
        flow = self.flow(family, key, half_open)
        flow["common"].update(common)
        self.maps[f"half_open{family}" if half_open else f"flows{family}"].write(
            self.flow_key(family, key), TYPES.pack(f"slb_flow{family}", **flow))

    def traffic(self, backend_id):
        """(connections, packets in, bytes in, packets out, bytes out), all CPUs together."""
        values = [TYPES.unpack("slb_traffic", value) for value in
                  self.maps["backend_counters"].read(struct.pack("<I", backend_id))]
        return tuple(sum(v[name] for v in values) for name in
                     ("connections", "packets_in", "bytes_in", "packets_out", "bytes_out"))

    def backend_state(self, backend_id):
        return TYPES.unpack("slb_backend_state",
                            self.maps["backend_state"].read(struct.pack("<I", backend_id)))

    def drops(self, service_id):
        """{reason: packets} of those that are not 0."""
        totals = [0] * SLB["SLB_DROPS_ROOM"]
        for value in self.maps["drops"].read(struct.pack("<I", service_id)):
            for index, count in enumerate(TYPES.unpack("slb_drops", value)["packets"]):
                totals[index] += count
        names = {number: name[len("SLB_DROP_"):] for name, number in SLB.items()
                 if name.startswith("SLB_DROP_")}
        return {names[index]: count for index, count in enumerate(totals) if count}

    def all_drops(self):
        found = {}
        for service_id in range(self.next_service):
            for reason, count in self.drops(service_id).items():
                found[reason] = found.get(reason, 0) + count
        return found

    def now_s(self):
        return self.clock.run(bytes(64))[0]

    # ---- packets ----

    def send(self, hook, frame, device=IN, **skb):
        """Runs the hook's program; returns (verdict, frame out). skb: members of __sk_buff."""
        frame = bytes(frame)
        index = device_index(device)
        if hook == "xdp":
            context = struct.pack("<6I", 0, len(frame), 0, index, 0, 0)
        else:
            context = TC_TYPES.pack("__sk_buff", ifindex=index, **skb)
        verdict, out = self.programs[hook].run(frame, context)
        return VERDICTS[hook][verdict], out
