# SPDX-License-Identifier: GPL-2.0-only
"""
packets: frames described in Scapy, one description for both families; checksums are always Scapy's own.
"""

import logging

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.layers.inet import IP, TCP as ScapyTCP, UDP as ScapyUDP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

import node  # noqa: E402

PAYLOAD = b"steel"


def frame(family, protocol, saddr, sport, daddr, dport, *, flags="", payload=PAYLOAD, ttl=64,
          src=node.CLIENT_MAC, dst=node.MACS[node.IN], seq=1000, ack=0, padding=b"",
          options=None, l4_options=None, tos=0, **l4):
    """The bytes of an Ethernet frame. options: IPv4's. l4: further fields of TCP or UDP."""
    if family == 4:
        layer3 = IP(src=saddr, dst=daddr, ttl=ttl, id=7, flags="DF", tos=tos,
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
