# SPDX-License-Identifier: GPL-2.0-only
"""Our speaker and a peer made of plain bytes: what it sends is decoded by Scapy and compared with what ExaBGP
sends, what it is sent is wrong in every way the RFCs name."""

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import time

import pytest

from bgp_lab import NODE_AS, ROUTER_AS, Speaker, until

os.environ.setdefault("XDG_CACHE_HOME", "/tmp")
from scapy.contrib import bgp as scapy_bgp  # noqa: E402

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = 1, 2, 3, 4, 5
CAP_AS4 = bytes([65, 4]) + struct.pack("!I", ROUTER_AS)
CAP_MP4, CAP_MP6 = bytes([1, 4, 0, 1, 0, 1]), bytes([1, 4, 0, 2, 0, 1])
CAP_REFRESH = bytes([2, 0])
CAP_RESTART = bytes([64, 10, 0, 120, 0, 1, 1, 0x80, 0, 2, 1, 0x80])
ALL_CAPS = CAP_MP4 + CAP_MP6 + CAP_REFRESH + CAP_AS4
GOOD_ATTRIBUTES = bytes.fromhex("400101004002060201") + struct.pack("!I", ROUTER_AS) + \
    bytes.fromhex("4003040a630001")


@contextlib.contextmanager
def namespace(lab, name):
    """Sockets opened inside belong to the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{lab.prefix}{name}", os.O_RDONLY)
    try:
        assert libc.setns(there, 0) == 0
        yield
    finally:
        assert libc.setns(home, 0) == 0
        os.close(home)
        os.close(there)


def message(kind, body=b""):
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def open_message(asn=ROUTER_AS, hold=90, identifier="10.99.0.1", caps=ALL_CAPS, version=4):
    parameters = bytes([2, len(caps)]) + caps if caps is not None else b""
    return message(OPEN, struct.pack("!BHH4sB", version, asn, hold, socket.inet_aton(identifier),
                                     len(parameters)) + parameters)


def update(attributes=b"", nlri=b"", withdrawn=b""):
    return message(UPDATE, struct.pack("!H", len(withdrawn)) + withdrawn +
                   struct.pack("!H", len(attributes)) + attributes + nlri)


class Wire:
    """One TCP connection, in whole messages."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        sock.settimeout(10)

    def send(self, *messages):
        self.sock.sendall(b"".join(messages))

    def receive(self):
        """(type, whole message); None at the end of the connection."""
        while len(self.buffer) < 19 or len(self.buffer) < self.size():
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                assert not self.buffer, "the connection ends within a message"
                return None
            self.buffer += data
        assert self.buffer[:16] == MARKER
        size = self.size()
        whole, self.buffer = self.buffer[:size], self.buffer[size:]
        return whole[18], whole

    def size(self):
        return struct.unpack("!H", self.buffer[16:18])[0]

    def expect(self, kind):
        while True:
            got = self.receive()
            assert got, f"closed instead of message {kind}"
            if got[0] == kind:
                return got[1]
            assert got[0] != NOTIFICATION, got[1][19:].hex()

    def notification(self):
        """(code, subcode, data), and nothing after it."""
        while True:
            got = self.receive()
            assert got, "closed without NOTIFICATION"
            if got[0] == NOTIFICATION:
                assert self.receive() is None
                return got[1][19], got[1][20], got[1][21:]

    def establish(self, **how):
        ours = self.expect(OPEN)
        self.send(open_message(**how), message(KEEPALIVE))
        self.expect(KEEPALIVE)
        return ours

    def closed(self):
        while True:
            got = self.receive()
            if got is None:
                return True

    def close(self):
        self.sock.close()


class Router:
    """Listens where the speaker connects."""

    def __init__(self, lab):
        self.lab = lab
        with namespace(lab, "r"):
            self.listener = socket.create_server(("10.99.0.1", 179), backlog=8)
        self.listener.settimeout(10)

    def accept(self):
        return Wire(self.listener.accept()[0])

    def connect(self):
        with namespace(self.lab, "r"):
            return Wire(socket.create_connection(("10.99.0.11", 179), timeout=10))

    def close(self):
        self.listener.close()


@pytest.fixture
def router(lab):
    lab.base()
    router = Router(lab)
    yield router
    router.close()


@pytest.fixture
def node(lab, router):
    del router
    node = Speaker(lab, flags=("-c", "65000:1,65000:1:2", "-m", "7"))
    node.do(f"peer add 10.99.0.1,{ROUTER_AS},connect-retry=1")
    return node


def decode(whole, as4=True):
    scapy_bgp.bgp_module_conf.use_2_bytes_asn = not as4
    packet = scapy_bgp.BGPHeader(whole)
    # What was decoded is the same bytes again, so Scapy saw all of them.
    assert packet.len == len(whole)
    return packet


# ---- what we send ----------------------------------------------------------------------------


def test_open_as_scapy_reads_it(router, node):
    wire = router.accept()
    packet = decode(wire.expect(OPEN))
    assert (packet.version, packet.my_as, packet.hold_time) == (4, NODE_AS, 90)
    assert packet.bgp_id == "10.99.0.11"
    raw = bytes(wire_parameters(packet))
    assert raw[:2] == bytes([2, len(raw) - 2])
    found, rest = [], raw[2:]
    while rest:
        found.append((rest[0], rest[2:2 + rest[1]]))
        rest = rest[2 + rest[1]:]
    assert found == [(1, bytes([0, 1, 0, 1])), (1, bytes([0, 2, 0, 1])), (2, b""),
                     (64, bytes([0, 120, 0, 1, 1, 0, 0, 2, 1, 0])),
                     (65, struct.pack("!I", NODE_AS))]
    wire.close()


def wire_parameters(packet):
    whole = bytes(packet.original)
    return whole[29:29 + whole[28]]


def attributes_of(packet):
    return {a.type_code: a for a in packet.path_attr}


def test_updates_as_scapy_reads_them(router, node):
    node.do("announce 192.0.2.1 3")
    node.do("announce 2001:db8::1")
    node.do("complete")
    wire = router.accept()
    wire.establish(caps=ALL_CAPS + CAP_RESTART)
    packet = decode(wire.expect(UPDATE))
    attributes = attributes_of(packet)
    assert [n.prefix for n in packet.nlri] == ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"]
    assert packet.withdrawn_routes_len == 0
    assert list(attributes) == sorted(attributes) == [1, 2, 3, 4, 8, 32]
    assert attributes[1].attribute.origin == 0
    assert attributes[2].attribute.segments[0].segment_value == [NODE_AS]
    assert attributes[3].attribute.next_hop == "10.99.0.11"
    assert attributes[4].attribute.med == 7

    packet = decode(wire.expect(UPDATE))
    reach = packet.path_attr[0]
    assert reach.type_code == 14 and reach.attribute.afi == 2
    assert reach.attribute.nh_v6_addr == "fd99::11"
    assert [n.prefix for n in reach.attribute.nlri] == ["2001:db8::1/128"]
    assert sorted(attributes_of(packet)) == [1, 2, 4, 8, 14, 32]

    # End-of-RIB of both families.
    assert wire.expect(UPDATE)[19:] == bytes(4)
    assert wire.expect(UPDATE)[19:] == bytes.fromhex("00000006800f03000201")

    node.do("withdraw 192.0.2.2")
    packet = decode(wire.expect(UPDATE))
    assert [n.prefix for n in packet.withdrawn_routes] == ["192.0.2.2/32"]
    assert packet.path_attr_len == 0
    node.do("withdraw 2001:db8::1")
    packet = decode(wire.expect(UPDATE))
    assert packet.path_attr[0].type_code == 15
    assert [n.prefix for n in packet.path_attr[0].attribute.afi_safi_specific.withdrawn_routes] == \
        ["2001:db8::1/128"]
    wire.close()


def test_as4_path_to_an_old_peer(lab, router):
    """rfc: 6793 §4.2.2"""
    node = Speaker(lab, asn=4200000001)
    node.do(f"peer add 10.99.0.1,{ROUTER_AS}")
    node.do("announce 192.0.2.1")
    wire = router.accept()
    ours = wire.establish(caps=None)
    assert struct.unpack("!H", ours[20:22])[0] == 23456
    packet = decode(wire.expect(UPDATE), as4=False)
    attributes = attributes_of(packet)
    assert attributes[2].attribute.segments[0].segment_value == [23456]
    assert attributes[17].attribute.segment_value == [4200000001]
    wire.close()


def raw_attributes(whole):
    """{type: (flags without extended length, value)} and the NLRI of an UPDATE, by hand."""
    body = whole[19:]
    at = 2 + struct.unpack("!H", body[:2])[0]
    length = struct.unpack("!H", body[at:at + 2])[0]
    rest, nlri, found = body[at + 2:at + 2 + length], body[at + 2 + length:], {}
    while rest:
        flags, kind = rest[0], rest[1]
        if flags & 0x10:
            size, head = struct.unpack("!H", rest[2:4])[0], 4
        else:
            size, head = rest[2], 3
        found[kind] = (flags & ~0x10, rest[head:head + size])
        rest = rest[head + size:]
    return found, nlri


def test_same_updates_as_exabgp(lab, router):
    """The same routes, announced by ExaBGP and by us: the same attributes, byte for byte."""
    config = lab.write("exabgp.conf", f"""
neighbor 10.99.0.1 {{
    router-id 10.99.0.11; local-address 10.99.0.11; local-as {NODE_AS}; peer-as {ROUTER_AS};
    capability {{ asn4 enable; graceful-restart 120; }}
    family {{ ipv4 unicast; ipv6 unicast; }}
    static {{
        route 192.0.2.1/32 next-hop 10.99.0.11 origin igp med 7 community [ 65000:1 ] large-community [ 65000:1:2 ];
        route 2001:db8::1/128 next-hop fd99::11 origin igp med 7 community [ 65000:1 ] large-community [ 65000:1:2 ];
    }}
}}
""")
    with open(os.path.join(lab.directory, "exabgp.log"), "w", encoding="utf-8") as log:
        exabgp = lab.popen("n1", "env", "exabgp.daemon.user=root", "exabgp.tcp.bind=",
                           "exabgp.log.destination=stdout", "exabgp", config, stdout=log,
                           stderr=log)

    def collect(wire):
        wire.establish(caps=ALL_CAPS + CAP_RESTART)
        found = {}
        while len(found) < 2:
            attributes, nlri = raw_attributes(wire.expect(UPDATE))
            if nlri:
                found["ipv4"] = (attributes, nlri)
            elif 14 in attributes:
                found["ipv6"] = (attributes, nlri)
        wire.close()
        return found

    theirs = collect(router.accept())
    lab.end(exabgp)
    node = Speaker(lab, flags=("-c", "65000:1,65000:1:2", "-m", "7"))
    node.do("announce 192.0.2.1")
    node.do("announce 2001:db8::1")
    node.do(f"peer add 10.99.0.1,{ROUTER_AS}")
    ours = collect(router.accept())
    assert ours == theirs


# ---- what we are sent: OPEN --------------------------------------------------------------------

BAD_OPENS = {
    "version 3": (open_message(version=3), (2, 1, b"\0\4")),
    "another AS": (open_message(asn=65009, caps=CAP_MP4), (2, 2, b"")),
    "AS 0": (open_message(asn=0, caps=CAP_MP4), (2, 2, b"")),
    "AS 0 in the capability": (open_message(caps=CAP_MP4 + bytes([65, 4, 0, 0, 0, 0])), (2, 2, b"")),
    "identifier 0": (open_message(identifier="0.0.0.0"), (2, 3, b"")),
    "hold time 1": (open_message(hold=1), (2, 6, b"")),
    "hold time 2": (open_message(hold=2), (2, 6, b"")),
    "unknown parameter": (message(OPEN, bytes.fromhex("04fde9005a0a630001") + b"\x03\x7f\x01\x00"),
                          (2, 4, b"")),
    "no common family": (open_message(caps=bytes([1, 4, 0, 25, 0, 70])),
                         (2, 7, CAP_MP4 + CAP_MP6)),
    "capability over the end": (open_message(caps=bytes([65, 9, 0])), (2, 0, b"")),
    "marker": (b"\xfe" + open_message()[1:], (1, 1, b"")),
    "length 18": (MARKER + b"\x00\x12\x01", (1, 2, b"\x00\x12")),
    "length 4097": (MARKER + b"\x10\x01\x01", (1, 2, b"\x10\x01")),
    "OPEN of 28 bytes": (MARKER + b"\x00\x1c\x01", (1, 2, b"\x00\x1c")),
    "type 9": (message(9), (1, 3, b"\x09")),
    "KEEPALIVE instead": (message(KEEPALIVE), (5, 1, b"")),
    "UPDATE instead": (update(), (5, 1, b"")),
    "ROUTE-REFRESH instead": (message(REFRESH, b"\0\1\0\1"), (5, 1, b"")),
    "two OPENs": (open_message() + open_message(), (5, 2, b"")),
    "UPDATE before KEEPALIVE": (open_message() + update(), (5, 2, b"")),
}


def test_malformed_opens(lab, router):
    """Each gets its NOTIFICATION, and after it the connection ends."""
    node = Speaker(lab)
    for what, (data, expected) in BAD_OPENS.items():
        # Anew for each, for a peer that fails again and again has to wait.
        node.do(f"peer add 10.99.0.1,{ROUTER_AS},passive")
        wire = router.connect()
        wire.expect(OPEN)
        wire.send(data)
        assert wire.notification() == expected, what
        wire.close()
        node.do("peer remove 10.99.0.1")
        until(lambda: not lab.sh("n1", "ss -Hltn"))


def test_failures_in_a_row_have_to_wait(lab, router):
    node = Speaker(lab)
    node.do(f"peer add 10.99.0.1,{ROUTER_AS},passive")
    for _ in range(2):
        wire = router.connect()
        wire.expect(OPEN)
        wire.send(open_message(hold=1))
        assert wire.notification()[:2] == (2, 6)
        wire.close()
    wire = router.connect()
    assert wire.notification()[:2] == (6, 5)
    wire.close()
    until(lambda: node.peer()["state"] == "Active", timeout=3)


# ---- what we are sent: UPDATE -------------------------------------------------------------------

PREFIX = bytes([32, 192, 0, 2, 9])
BAD_UPDATES = {
    "lengths do not add up": (message(UPDATE, b"\0\x09\0\0"), (3, 1, b"")),
    "prefix of 33 bits": (update(GOOD_ATTRIBUTES, bytes([33, 1, 2, 3, 4, 5])), (3, 10, b"")),
    "unknown well-known attribute": (update(GOOD_ATTRIBUTES + bytes([0x40, 99, 1, 5]), PREFIX),
                                     (3, 2, bytes([0x40, 99, 1, 5]))),
    "MP_REACH cut": (update(bytes([0x80, 14, 3, 0, 2, 1])), (3, 9, bytes([0x80, 14, 3, 0, 2, 1]))),
    "MP_UNREACH twice": (update(bytes([0x80, 15, 3, 0, 2, 1]) * 2), (3, 1, b"")),
    "type 0 in Established": (message(0), (1, 3, b"\0")),
    "OPEN in Established": (open_message(), (5, 3, b"")),
}
ODD_UPDATES = {
    "no ORIGIN": update(GOOD_ATTRIBUTES[4:], PREFIX),
    "ORIGIN 9": update(b"\x40\x01\x01\x09" + GOOD_ATTRIBUTES[4:], PREFIX),
    "COMMUNITIES of 3 bytes": update(GOOD_ATTRIBUTES + b"\xc0\x08\x03\0\1\2", PREFIX),
    "ORIGIN twice": update(GOOD_ATTRIBUTES + GOOD_ATTRIBUTES[:4], PREFIX),
    "attribute over the end": update(GOOD_ATTRIBUTES + b"\x80\x04\x09\0", PREFIX),
}


def test_malformed_updates(lab, router):
    node = Speaker(lab)
    for what, (data, expected) in BAD_UPDATES.items():
        node.do(f"peer add 10.99.0.1,{ROUTER_AS},passive")
        wire = router.connect()
        wire.establish()
        wire.send(data)
        assert wire.notification() == expected, what
        wire.close()
        node.do("peer remove 10.99.0.1")
        until(lambda: not lab.sh("n1", "ss -Hltn"))


def test_odd_updates_are_survived(lab, router):
    """rfc: 7606"""
    node = Speaker(lab)
    node.do(f"peer add 10.99.0.1,{ROUTER_AS},passive")
    wire = router.connect()
    wire.establish()
    wire.send(*ODD_UPDATES.values(), update(GOOD_ATTRIBUTES, PREFIX * 700))
    until(lambda: node.peer()["updates_received"] == len(ODD_UPDATES) + 1)
    peer = node.peer()
    assert peer["updates_malformed"] == len(ODD_UPDATES)
    assert peer["state"] == "Established"
    assert peer["routes_received"] == 701  # "ORIGIN twice" costs the attribute only
    wire.close()


def test_one_byte_at_a_time(lab, router):
    node = Speaker(lab)
    node.do(f"peer add 10.99.0.1,{ROUTER_AS},passive")
    wire = router.connect()
    wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in open_message() + message(KEEPALIVE) + update(GOOD_ATTRIBUTES, PREFIX):
        wire.send(bytes([byte]))
    until(lambda: node.peer()["routes_received"] == 1)
    wire.close()
    node.down()
    assert node.peer()["last_error"].startswith("connection lost: ")


# ---- two connections -----------------------------------------------------------------------------


@pytest.mark.parametrize("identifier,stays", [("10.0.0.1", "ours"), ("200.0.0.1", "theirs")])
def test_collision(router, node, identifier, stays):
    """rfc: 4271 §6.8: the connection of the higher identifier stays."""
    ours = router.accept()
    theirs = router.connect()
    ours.expect(OPEN)
    theirs.expect(OPEN)
    first, second = ours, theirs
    first.send(open_message(identifier=identifier))
    assert first.expect(KEEPALIVE)
    second.send(open_message(identifier=identifier))
    winner, loser = (ours, theirs) if stays == "ours" else (theirs, ours)
    assert loser.notification()[:2] == (6, 7)
    winner.send(message(KEEPALIVE))
    assert node.up()["incoming"] == (stays == "theirs")
    # Once it is up, another connection is turned away …
    third = router.connect()
    assert third.notification()[:2] == (6, 7)
    assert node.peer()["established_count"] == 1
    for wire in (ours, theirs, third):
        wire.close()


def test_restarting_peer_replaces_its_connection(router, node):
    """… unless the peer told that it restarts like this; rfc: 4724 §5."""
    first = router.accept()
    first.establish(caps=ALL_CAPS + CAP_RESTART)
    node.up()
    second = router.connect()
    second.establish(caps=ALL_CAPS + CAP_RESTART)
    assert first.closed()
    until(lambda: node.peer()["established_count"] == 2)
    assert node.peer()["state"] == "Established"
    first.close()
    second.close()


def test_stranger_is_turned_away(lab, router, node):
    del router
    until(lambda: "LISTEN" in lab.sh("n1", "ss -tln"))
    lab.sh("r", "ip addr add 10.99.0.77/24 dev br0")
    with namespace(lab, "r"):
        sock = socket.create_connection(("10.99.0.11", 179), timeout=5,
                                        source_address=("10.99.0.77", 0))
    assert Wire(sock).receive() is None
    sock.close()
    assert node.peer()["established_count"] == 0


# ---- pressure ------------------------------------------------------------------------------------


def test_peer_that_does_not_read(lab, router):
    """Changes pile up in the rib, once per VIP, and not in memory; the end is what is true."""
    node = Speaker(lab)
    node.do(f"peer add 10.99.0.1,{ROUTER_AS},passive")
    wire = router.connect()
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.establish()
    for _ in range(150):
        node.do("announce 2001:db8:5::1 1000")
        node.do("withdraw 2001:db8:5::1 1000")
    node.do("announce 2001:db8:5::1 10")
    known, deadline = set(), time.monotonic() + 20
    while time.monotonic() < deadline:
        whole = wire.expect(UPDATE)
        attributes, _ = raw_attributes(whole)
        reach, unreach = attributes.get(14), attributes.get(15)
        nlri = reach[1][4 + reach[1][3] + 1:] if reach else unreach[1][3:]
        prefixes = {nlri[i + 1:i + 17] for i in range(0, len(nlri), 17)}
        known = known | prefixes if reach else known - prefixes
        if len(known) == 10 and node.peer()["announced6"] == 10 and not wire.buffer:
            break
    assert len(known) == 10
    assert node.peer()["state"] == "Established"
    wire.close()


def test_flood_of_updates_and_refreshes(lab, router):
    """A peer that never stops talking is still sent keepalives, and holds no memory."""
    node = Speaker(lab)
    node.do(f"peer add 10.99.0.1,{ROUTER_AS},hold=3,passive")
    node.do("announce 192.0.2.1 100")
    wire = router.connect()
    wire.establish(hold=3)
    flood = update(GOOD_ATTRIBUTES, PREFIX * 780) * 15 + message(REFRESH, b"\0\1\0\1")
    wire.sock.setblocking(False)
    keepalives, end = 0, time.monotonic() + 4
    pending = b""
    while time.monotonic() < end:
        pending = pending or flood
        with contextlib.suppress(BlockingIOError):
            pending = pending[wire.sock.send(pending):]
        with contextlib.suppress(BlockingIOError):
            wire.buffer += wire.sock.recv(1 << 20)
        while len(wire.buffer) >= 19 and len(wire.buffer) >= wire.size():
            keepalives += wire.buffer[18] == KEEPALIVE
            assert wire.buffer[18] != NOTIFICATION
            wire.buffer = wire.buffer[wire.size():]
    assert keepalives >= 3
    peer = node.peer()
    assert peer["state"] == "Established" and peer["routes_received"] > 100000
    wire.close()
