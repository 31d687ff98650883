# SPDX-License-Identifier: GPL-2.0-only
"""
steps: one packet through a loaded program, instruction by instruction, to count what it does: instructions, and
helpers by name, map operations with the map's. The same packet on the same maps always gives the same numbers, on any
machine; time never does.

The instructions are those that libbpf hands to the kernel (what the kernel then inlines, such as lookups in arrays,
counts as a call here). Memory is this process' own, at its real addresses: the verifier has proven the program safe.
Maps are read from the kernel as the program asks for them; writes stay here.
"""

import collections
import ctypes
import struct

import libbpf

_lib = libbpf._lib  # pylint: disable=protected-access
_insns = libbpf._prototype("bpf_program__insns", ctypes.c_void_p, ctypes.c_void_p)
_insn_count = libbpf._prototype("bpf_program__insn_cnt", ctypes.c_size_t, ctypes.c_void_p)

MASK64, MASK32 = (1 << 64) - 1, (1 << 32) - 1
STACK_BYTES = 512

LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
MODE_ATOMIC = 0xc0
CALL, EXIT = 0x85, 0x95
PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_CALL = 1, 2, 1

HELPERS = {1: "map_lookup_elem", 2: "map_update_elem", 3: "map_delete_elem", 10: "l3_csum_replace",
           11: "l4_csum_replace", 23: "redirect", 26: "skb_load_bytes", 39: "skb_pull_data",
           40: "csum_update", 69: "fib_lookup", 93: "spin_lock", 94: "spin_unlock",
           118: "jiffies64", 125: "ktime_get_boot_ns", 135: "csum_level", 152: "redirect_neigh"}
MAP_HELPERS = ("map_lookup_elem", "map_update_elem", "map_delete_elem")
EACCES = 13


def signed(value, bits=64):
    return value - (1 << bits) if value >> (bits - 1) else value


class Memory:
    """Buffers that stay while a packet is under way."""

    def __init__(self):
        self.kept = []

    def hold(self, data):
        buffer = ctypes.create_string_buffer(bytes(data), len(data))
        self.kept.append(buffer)
        return ctypes.addressof(buffer)

    @staticmethod
    def read(address, size):
        return int.from_bytes(ctypes.string_at(address, size), "little")

    @staticmethod
    def write(address, size, value):
        ctypes.memmove(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"), size)


class Maps:
    """The object's maps, copied as they are asked for."""

    def __init__(self, maps, memory):
        self.by_fd = {m.fd: m for m in maps.values()}
        self.memory = memory
        self.values = {}

    def name(self, handle):
        return self.by_fd[handle].name

    def sizes(self, handle):
        return self.by_fd[handle].key_bytes, self.by_fd[handle].value_bytes

    def _fetch(self, handle, key):
        value = self.by_fd[handle].read(key)
        if isinstance(value, list):  # of each processor
            value = value[0]
        return value and self.memory.hold(value)

    def lookup(self, handle, key):
        if (handle, key) not in self.values:
            self.values[handle, key] = self._fetch(handle, key)
        return self.values[handle, key] or 0

    def update(self, handle, key, value, flags):
        if flags == libbpf.NOEXIST and self.lookup(handle, key):
            return -17
        self.values[handle, key] = self.memory.hold(value)
        return 0

    def delete(self, handle, key):
        there = self.lookup(handle, key)
        self.values[handle, key] = None
        return 0 if there else -2


class Steps:
    """counts: a Counter with "instructions", helpers' names, and "map_lookup_elem flows4" for map operations."""

    def __init__(self, maps, program, frame, context):
        """context: address of a member of the hook's context -> value, by name (ctx_members)."""
        self.memory = Memory()
        self.maps = Maps(maps, self.memory)
        count = _insn_count(program.handle)
        self.code = list(struct.iter_unpack("<BBhi", ctypes.string_at(_insns(program.handle), 8 * count)))
        self.counts = collections.Counter()
        self.data = self.memory.hold(frame)
        self.context = self.memory.hold(bytes(256))
        self.fields = context(self.data, self.data + len(frame))
        self.verdict = signed(self.run_function(0, [0, self.context, 0, 0, 0, 0]) & MASK32, 32)

    def run_function(self, pc, registers):
        stack = self.memory.hold(bytes(STACK_BYTES))
        r = registers + [0, 0, 0, 0] + [stack + STACK_BYTES]
        while True:
            op, regs, off, imm = self.code[pc]
            dst, src = regs & 15, regs >> 4
            kind = op & 7
            pc += 1
            self.counts["instructions"] += 1
            if op == EXIT:
                return r[0]
            if op == CALL:
                if src == PSEUDO_CALL:
                    r[0] = self.run_function(pc + imm, [0] + r[1:6])
                else:
                    r[0] = self.helper(imm, r) & MASK64
            elif kind in (ALU, ALU64):
                r[dst] = self.alu(op, r[dst], r[src] if op & 8 else imm, imm)
            elif kind in (JMP, JMP32):
                if self.jumps(op, r[dst], r[src] if op & 8 else imm & MASK64):
                    pc += off
            elif kind == LDX:
                r[dst] = self.load(r[src] + off, SIZES[op & 0x18])
            elif kind == STX and op & 0xe0 == MODE_ATOMIC:
                self.atomic(r, dst, src, off, imm, SIZES[op & 0x18])
            elif kind in (ST, STX):
                self.memory.write(r[dst] + off, SIZES[op & 0x18], r[src] if kind == STX else imm)
            elif kind == LD:
                r[dst] = self.immediate(src, imm, self.code[pc][3])
                pc += 1

    def immediate(self, src, low, high):
        if src == PSEUDO_MAP_FD:
            return low
        if src == PSEUDO_MAP_VALUE:
            return self.maps.lookup(low, bytes(4)) + high
        return low & MASK32 | (high & MASK32) << 32

    def load(self, address, size):
        offset = address - self.context
        if 0 <= offset < 256:
            return self.fields.get(offset, 0)
        return self.memory.read(address, size)

    def atomic(self, r, dst, src, off, imm, size):
        old = self.memory.read(r[dst] + off, size)
        assert imm & 0xf0 == 0, f"atomic operation {imm:#x}"
        self.memory.write(r[dst] + off, size, old + r[src])
        if imm & 1:
            r[src] = old

    @staticmethod
    def alu(op, a, b, width):
        bits = 64 if op & 7 == ALU64 else 32
        mask = (1 << bits) - 1
        code = op & 0xf0
        if code == 0xd0:  # byte order; to big endian where the bit says so
            value = (a & ((1 << width) - 1)).to_bytes(width // 8, "little")
            return int.from_bytes(value, "big" if op & 8 else "little")
        a, b = a & mask, b & mask
        shift = b & (bits - 1)
        if code == 0xc0:
            return (signed(a, bits) >> shift) & mask
        return {0x00: lambda: a + b, 0x10: lambda: a - b, 0x20: lambda: a * b, 0x30: lambda: a // b if b else 0,
                0x40: lambda: a | b, 0x50: lambda: a & b, 0x60: lambda: a << shift,
                0x70: lambda: a >> shift, 0x80: lambda: -a, 0x90: lambda: a % b if b else a,
                0xa0: lambda: a ^ b, 0xb0: lambda: b}[code]() & mask

    @staticmethod
    def jumps(op, a, b):
        bits = 64 if op & 7 == JMP else 32
        mask = (1 << bits) - 1
        a, b = a & mask, b & mask
        sa, sb = signed(a, bits), signed(b, bits)
        return {0x00: True, 0x10: a == b, 0x20: a > b, 0x30: a >= b, 0x40: bool(a & b), 0x50: a != b,
                0x60: sa > sb, 0x70: sa >= sb, 0xa0: a < b, 0xb0: a <= b, 0xc0: sa < sb,
                0xd0: sa <= sb}[op & 0xf0]

    def helper(self, number, r):
        name = HELPERS[number]
        if name in MAP_HELPERS:
            key_bytes, value_bytes = self.maps.sizes(r[1])
            key = ctypes.string_at(r[2], key_bytes)
            self.counts[f"{name} {self.maps.name(r[1])}"] += 1
            if name == "map_lookup_elem":
                return self.maps.lookup(r[1], key)
            if name == "map_delete_elem":
                return self.maps.delete(r[1], key)
            return self.maps.update(r[1], key, ctypes.string_at(r[3], value_bytes), r[4])
        self.counts[name] += 1
        if name == "fib_lookup":  # the same device; an MTU where the length was
            self.memory.write(r[2] + 6, 2, 1500)
        results = {"redirect": self.fields["redirect"], "csum_level": -EACCES}
        return results.get(name, 0)


def xdp_context(ifindex):
    """struct xdp_md: data, data_end, ingress_ifindex."""
    return lambda data, end: {0: data, 4: end, 12: ifindex, "redirect": 4}


def tc_context(ifindex, frame_bytes):
    """struct __sk_buff: len, ifindex, data, data_end; the rest 0."""
    return lambda data, end: {0: frame_bytes, 40: ifindex, 76: data, 80: end, "redirect": 7}
