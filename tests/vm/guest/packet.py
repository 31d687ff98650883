# SPDX-License-Identifier: GPL-2.0-only
"""Makes the packet that probes/csum.bpf.c translates, as hex; given one, says where it goes and whether its sums are right."""

import socket
import struct
import sys

ETHERNET = b"\2" * 12 + b"\x08\x00"


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_sum(ip, tcp):
    return checksum(ip[12:20] + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)) + tcp)


def make():
    addresses = socket.inet_aton("10.77.0.1") + socket.inet_aton("10.77.0.9")
    ip = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 60, 1, 0, 64, socket.IPPROTO_TCP, 0) + addresses)
    ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
    tcp = bytearray(struct.pack("!HHIIBBHHH", 1234, 80, 1, 0, 0xA0, 2, 65535, 0, 0) + b"\1" * 20)
    tcp[16:18] = tcp_sum(bytes(ip), bytes(tcp)).to_bytes(2, "big")
    return ETHERNET + ip + tcp


def describe(packet):
    ip, tcp = packet[14:34], packet[34:]
    right = checksum(ip) == 0 and tcp_sum(ip, tcp) == 0
    port = struct.unpack("!H", tcp[2:4])[0]
    return f"{socket.inet_ntoa(ip[16:20])}:{port} {'right' if right else 'wrong'}"


print(describe(bytes.fromhex(sys.argv[1])) if len(sys.argv) > 1 else make().hex())
