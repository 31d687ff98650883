# SPDX-License-Identifier: GPL-2.0-only
"""Says what the running kernel can do, by doing it: one JSON object on the last line. Run in guests by test_boot.py.

A fact is true, or the reason why not: the name of an errno, or what the program said.
"""

import ctypes
import errno
import json
import os
import resource
import struct
import subprocess

SYS_BPF = 321  # x86-64
MAP_CREATE, PROG_LOAD, LINK_CREATE = 0, 5, 28
TYPE_LRU_HASH, TYPE_RINGBUF = 9, 27
PROG_SCHED_CLS, PROG_XDP = 3, 6
TCX_INGRESS = 46
XDP_HAS_FRAGS = 1 << 5

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    """bpf(2): the descriptor, or OSError."""
    attributes = attributes.ljust(128, b"\0")
    fd = libc.syscall(SYS_BPF, command, attributes, len(attributes))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, errno.errorcode.get(code, str(code)))
    return fd


def instruction(code, destination=0, source=0, offset=0, immediate=0):
    return struct.pack("<BBhi", code, destination | source << 4, offset, immediate)


RETURN_0 = instruction(0xB7) + instruction(0x95)


def load(kind, instructions, flags=0):
    code, license_ = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "<IIQQIIQII",
        kind,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_),
        0,
        0,
        0,
        0,
        flags,
    )
    return bpf(PROG_LOAD, attributes)


def atomic_fetch():
    # r0 = 1; *(u64 *)(r10 - 8) = r0; r0 = fetch_add(r10 - 8, r0); exit
    push = instruction(0xB7, 0, immediate=1) + instruction(0x7B, 10, 0, -8)
    return load(PROG_XDP, push + instruction(0xDB, 10, 0, -8, 0x01) + instruction(0xB7) + instruction(0x95))


def tcx():
    return bpf(LINK_CREATE, struct.pack("<IIII", load(PROG_SCHED_CLS, RETURN_0), 1, TCX_INGRESS, 0))


def small_memlock():
    """An LRU map of 64 Ki entries while RLIMIT_MEMLOCK is 8 MiB."""
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, before[1] if before[1] < 0 else max(before[1], 8 << 20)))
    try:
        return bpf(MAP_CREATE, struct.pack("<IIIII", TYPE_LRU_HASH, 16, 64, 65536, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)


def says(command):
    """True when the shell command succeeds, else what it said last."""
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    return answer.returncode == 0 or (answer.stdout + answer.stderr).strip().split("\n")[-1] or False


def answer(function):
    try:
        function()
        return True
    except OSError as error:
        return error.args[1]


def main():
    nft_table = "table ip t { chain c { type nat hook postrouting priority 100; oifname lo masquerade; }; }"
    facts = {
        "release": os.uname().release,
        "bpf": answer(lambda: load(PROG_XDP, RETURN_0)),
        "btf": os.path.exists("/sys/kernel/btf/vmlinux"),
        "atomic_fetch": answer(atomic_fetch),
        "frags": answer(lambda: load(PROG_XDP, RETURN_0, XDP_HAS_FRAGS)),
        "ringbuf": answer(lambda: bpf(MAP_CREATE, struct.pack("<IIIII", TYPE_RINGBUF, 0, 0, 4096, 0))),
        "tcx": answer(tcx),
        "small_memlock": answer(small_memlock),
        "clsact": says("ip link add q type dummy && tc qdisc add dev q clsact"),
        "nft_masquerade": says(f"nft '{nft_table}'"),
        "iptables_masquerade": says("iptables -t nat -A POSTROUTING -o lo -m comment --comment x -j MASQUERADE"),
        "ip6tables_masquerade": says("ip6tables -t nat -A POSTROUTING -o lo -j MASQUERADE"),
    }
    # Nothing here names the module: the kernel asks for it by itself.
    for number, scheduler in enumerate(("rr", "wrr", "sh", "mh", "lc")):
        facts[f"ipvs_{scheduler}"] = says(f"ipvsadm -A -t 192.0.2.1:{80 + number} -s {scheduler}")
    facts["ipvs_v6"] = says("ipvsadm -A -t [2001:db8::1]:80 -s rr && ipvsadm -a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -m")
    for kind in ("veth", "dummy", "bridge"):
        facts[kind] = says(f"ip link add {kind}1 type {kind}")
    facts["vlan"] = says("ip link add link dummy1 name vlan1 type vlan id 5")
    facts["macvlan"] = says("ip link add link dummy1 name macvlan1 type macvlan")
    facts["tun"] = says("ip tuntap add tun1 mode tun")
    facts["pktgen"] = says("modprobe -q pktgen; test -e /proc/net/pktgen/pgctrl")
    print(json.dumps(facts))


main()
