# SPDX-License-Identifier: GPL-2.0-only
"""
packets: frames described in Scapy, one description for both families; checksums are always Scapy's own.
"""

import logging

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP as ScapyTCP, UDP as ScapyUDP  # noqa: E402
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6PacketTooBig,  # noqa: E402
                                ICMPv6TimeExceeded, IPv6)
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

import node  # noqa: E402

PAYLOAD = b"steel"


def frame(family, protocol, saddr, sport, daddr, dport, *, flags="", payload=PAYLOAD, ttl=64,
          src=node.CLIENT_MAC, dst=node.MACS[node.IN], seq=1000, ack=0, padding=b"",
          options=None, l4_options=None, tos=0, ip_flags="DF", **l4):
    """The bytes of an Ethernet frame. options: IPv4's. l4: further fields of TCP or UDP."""
    if family == 4:
        layer3 = IP(src=saddr, dst=daddr, ttl=ttl, id=7, flags=ip_flags, tos=tos,
                    options=options or [])
    else:
        layer3 = IPv6(src=saddr, dst=daddr, hlim=ttl, tc=tos, fl=0x12345)
    if l4_options:
        l4["options"] = l4_options
    if protocol == node.TCP:
        layer4 = ScapyTCP(sport=sport, dport=dport, flags=flags or "A", seq=seq, ack=ack, **l4)
    else:
        layer4 = ScapyUDP(sport=sport, dport=dport, **l4)
    whole = Ether(src=src, dst=dst) / layer3 / layer4
    if payload:
        whole = whole / Raw(payload)
    return bytes(whole) + padding


def checksums_are_right(data):
    """Are the frame's checksums what a full computation gives? Independent of how it came about."""
    parsed = Ether(data)
    again = parsed.copy()
    layer3 = again.payload
    if isinstance(layer3, IP):
        del layer3.chksum
    if isinstance(layer3.payload, (ScapyTCP, ScapyUDP)):
        if not (isinstance(layer3.payload, ScapyUDP) and layer3.payload.chksum == 0):
            del layer3.payload.chksum
    return bytes(again) == bytes(data)


def answer(data, kind, mtu=0):
    """What the node answers its sender: kind is `ttl`, `too big` or `nobody`."""
    parsed = Ether(data)
    layer3, layer4 = parsed.payload, parsed.payload.payload
    ether = Ether(src=parsed.dst, dst=parsed.src)
    is_v4 = isinstance(layer3, IP)
    if is_v4:
        back = IP(src=layer3.dst, dst=layer3.src, tos=0xc0, id=0, ttl=64)
    else:
        back = IPv6(src=layer3.dst, dst=layer3.src, tc=0xc0, hlim=64)
    if kind == "nobody" and isinstance(layer4, ScapyTCP):
        return bytes(ether / back / ScapyTCP(sport=layer4.dport, dport=layer4.sport, flags="RA",
                                             seq=0, ack=(layer4.seq + 1) % (1 << 32), window=0))
    if is_v4:
        error = {"ttl": lambda: ICMP(type=11, code=0),
                 "too big": lambda: ICMP(type=3, code=4, nexthopmtu=mtu),
                 "nobody": lambda: ICMP(type=3, code=3)}[kind]()
    else:
        error = {"ttl": lambda: ICMPv6TimeExceeded(code=0),
                 "too big": lambda: ICMPv6PacketTooBig(mtu=mtu),
                 "nobody": lambda: ICMPv6DestUnreach(code=4)}[kind]()
    header = layer3.ihl * 4 if is_v4 else 40
    return bytes(ether / back / error / Raw(data[14:14 + header + 8]))
