# SPDX-License-Identifier: GPL-2.0-only
"""Every body that is refused: its status, its field, and that nothing changed."""
import json

import pytest

GOOD = {"name": "x", "port": 6443}
GOOD_BACKEND = {"ip": "10.80.96.25", "port": 6443}
GOOD_PEER = {"address": "2001:db8::1", "as": 4200000001}
BIG = 10**30


def nested(depth):
    return '{"port":80,"name":' + "[" * depth + "]" * depth + "}"


# Not one readable object: 400.
UNREADABLE = {
    "empty": "",
    "blank": " \r\n\t ",
    "form": "name=test&port=6443",
    "cut off": '{"name":"x","port":',
    "trailing comma": '{"port":80,}',
    "something after it": '{"port":80} x',
    "two objects": '{"port":80}{"port":81}',
    "single quotes": "{'port':80}",
    "comment": '{"port":80/*x*/}',
    "NaN": '{"port":NaN}',
    "leading zero": '{"port":080}',
    "plus": '{"port":+80}',
    "hexadecimal": '{"port":0x50}',
    "list": "[]",
    "list of object": '[{"port":80}]',
    "string": '"x"',
    "number": "80",
    "null": "null",
    "true": "true",
    "not utf-8": b'{"name":"\xff\xfe","port":80}',
    "overlong utf-8": b'{"name":"\xc0\xaf","port":80}',
    "surrogate in utf-8": b'{"name":"\xed\xa0\x80","port":80}',
    "lone surrogate": '{"name":"\\ud800","port":80}',
    "byte order mark": b'\xef\xbb\xbf{"port":80}',
    "utf-16": '{"port":80}'.encode("utf-16"),
    "raw newline in string": '{"name":"a\nb","port":80}',
    "raw nul": b'{"port":80}\0',
    "nul in a key": '{"port":80,"a\\u0000b":1}',
    "key twice": '{"port":1,"port":2}',
    "key twice, once escaped": '{"port":1,"p\\u006frt":2}',
    "key twice in the depth": '{"port":80,"name":{"a":1,"a":2}}',
    "nine levels": nested(8),
    "2000 levels": nested(2000),
    "30000 levels": "[" * 30000,
    "levels of objects": '{"a":' * 5000,
}

MEMBERS = {
    "unknown member": ({**GOOD, "colour": "red"}, "colour"),
    "unknown member, null": ({**GOOD, "colour": None}, "colour"),
    "unknown member in capitals": ({**GOOD, "Port": 80}, "Port"),
    "unknown member, empty": ({**GOOD, "": 1}, ""),
    "unknown member, long": ({**GOOD, "ä" * 100: 1}, None),
    "uuid": ({**GOOD, "uuid": "1b4e28ba-2fa1-4d1e-a24b-5a1c0f9c1f5e"}, "uuid"),
    "uuid null": ({**GOOD, "uuid": None}, "uuid"),
    "backends": ({**GOOD, "backends": [GOOD_BACKEND]}, "backends"),
    "backends empty": ({**GOOD, "backends": []}, "backends"),
    "traffic": ({**GOOD, "traffic": {}}, "traffic"),
    "port missing": ({"name": "x"}, "port"),
    "nothing": ({}, "port"),
    "port 0": ({**GOOD, "port": 0}, "port"),
    "port 65536": ({**GOOD, "port": 65536}, "port"),
    "port negative": ({**GOOD, "port": -1}, "port"),
    "port minus 0": ('{"port":-0}', "port"),
    "port 2^32 + 80": ({**GOOD, "port": 2**32 + 80}, "port"),
    "port beyond int64": ({**GOOD, "port": BIG}, None),
    "port below int64": ({**GOOD, "port": -BIG}, None),
    "port beyond double": ('{"port":1e999}', None),
    "port text": ({**GOOD, "port": "6443"}, "port"),
    "port empty text": ({**GOOD, "port": ""}, "port"),
    "port 1.0": ('{"port":1.0}', "port"),
    "port 1e3": ('{"port":1e3}', "port"),
    "port fraction": ({**GOOD, "port": 6443.5}, "port"),
    "port true": ({**GOOD, "port": True}, "port"),
    "port null": ({**GOOD, "port": None}, "port"),
    "port list": ({**GOOD, "port": [80]}, "port"),
    "port object": ({**GOOD, "port": {"a": 1}}, "port"),
    "name a number": ({**GOOD, "name": 7}, "name"),
    "name null": ({**GOOD, "name": None}, "name"),
    "name of 256 bytes": ({**GOOD, "name": "x" * 256}, "name"),
    "name of 256 bytes in 128": ({**GOOD, "name": "ä" * 128}, "name"),
    "name of 60000": ({**GOOD, "name": "x" * 60000}, "name"),
    "name with newline": ({**GOOD, "name": "a\nb"}, "name"),
    "name with escape": ({**GOOD, "name": "a\x1b[31mb"}, "name"),
    "name with delete": ({**GOOD, "name": "a\x7fb"}, "name"),
    "name with nul": ({**GOOD, "name": "a\0b"}, "name"),
    "name with C1": ({**GOOD, "name": "a\x85b"}, "name"),
    "eip no address": ({**GOOD, "eip": "10.80.96"}, "eip"),
    "eip with prefix": ({**GOOD, "eip": "10.80.96.1/32"}, "eip"),
    "eip with port": ({**GOOD, "eip": "10.80.96.1:80"}, "eip"),
    "eip with zone": ({**GOOD, "eip": "fe80::1%eth0"}, "eip"),
    "eip octal": ({**GOOD, "eip": "010.80.96.1"}, "eip"),
    "eip with blank": ({**GOOD, "eip": " 10.80.96.1"}, "eip"),
    "eip with nul": ({**GOOD, "eip": "10.80.96.1\0"}, "eip"),
    "eip only nul": ({**GOOD, "eip": "\0"}, "eip"),
    "eip a number": ({**GOOD, "eip": 173039617}, "eip"),
    "eip long": ({**GOOD, "eip": "1" * 5000}, "eip"),
    "unknown protocol": ({**GOOD, "protocol": "sctp"}, "protocol"),
    "protocol in capitals": ({**GOOD, "protocol": "TCP"}, "protocol"),
    "protocol empty": ({**GOOD, "protocol": ""}, "protocol"),
    "protocol number": ({**GOOD, "protocol": 6}, "protocol"),
    "unknown scheduler": ({**GOOD, "scheduler": "random"}, "scheduler"),
    "unknown family": ({**GOOD, "family": "ipx"}, "family"),
    "family number": ({**GOOD, "family": 4}, "family"),
    "source_nat text": ({**GOOD, "source_nat": "yes"}, "source_nat"),
    "source_nat 1": ({**GOOD, "source_nat": 1}, "source_nat"),
    "affinity negative": ({**GOOD, "affinity_s": -1}, "affinity_s"),
    "affinity too long": ({**GOOD, "affinity_s": 86401}, "affinity_s"),
}

BACKEND_MEMBERS = {
    "nothing": ({}, "ip"),
    "ip missing": ({"port": 6443}, "ip"),
    "port missing": ({"ip": "10.80.96.25"}, "port"),
    "ip empty": ({**GOOD_BACKEND, "ip": ""}, "ip"),
    "ip no address": ({**GOOD_BACKEND, "ip": "10.80.96.256"}, "ip"),
    "ip a name": ({**GOOD_BACKEND, "ip": "example.org"}, "ip"),
    "ip a number": ({**GOOD_BACKEND, "ip": 7}, "ip"),
    "ip of the other family": ({**GOOD_BACKEND, "ip": "fd00::25"}, "ip"),
    "port 0": ({**GOOD_BACKEND, "port": 0}, "port"),
    "port 65536": ({**GOOD_BACKEND, "port": 65536}, "port"),
    "unknown type": ({**GOOD_BACKEND, "type": "DSR"}, "type"),
    "type in small letters": ({**GOOD_BACKEND, "type": "masq"}, "type"),
    "unknown state": ({**GOOD_BACKEND, "state": "asleep"}, "state"),
    "state empty": ({**GOOD_BACKEND, "state": ""}, "state"),
    "weight negative": ({**GOOD_BACKEND, "weight": -1}, "weight"),
    "weight too large": ({**GOOD_BACKEND, "weight": 65536}, "weight"),
    "weight fraction": ('{"ip":"192.0.2.1","port":80,"weight":1.0}', "weight"),
    "uuid": ({**GOOD_BACKEND, "uuid": "x"}, "uuid"),
    "unknown member": ({**GOOD_BACKEND, "name": "x"}, "name"),
}


PEER_MEMBERS = {
    "nothing": ({}, "address"),
    "address missing": ({"as": 65001}, "address"),
    "as missing": ({"address": "192.0.2.9"}, "as"),
    "address empty": ({**GOOD_PEER, "address": ""}, "address"),
    "address no address": ({**GOOD_PEER, "address": "192.0.2.256"}, "address"),
    "as 0": ({**GOOD_PEER, "as": 0}, "as"),
    "as 2^32": ({**GOOD_PEER, "as": 2**32}, "as"),
    "as text": ({**GOOD_PEER, "as": "65001"}, "as"),
    "port 0": ({**GOOD_PEER, "port": 0}, "port"),
    "source no address": ({**GOOD_PEER, "source": "eth0"}, "source"),
    "multihop negative": ({**GOOD_PEER, "multihop": -1}, "multihop"),
    "multihop 256": ({**GOOD_PEER, "multihop": 256}, "multihop"),
    "ttl_security true": ({**GOOD_PEER, "ttl_security": True}, "ttl_security"),
    "hold_s 65536": ({**GOOD_PEER, "hold_s": 65536}, "hold_s"),
    "connect_retry_s 0": ({**GOOD_PEER, "connect_retry_s": 0}, "connect_retry_s"),
    "passive 1": ({**GOOD_PEER, "passive": 1}, "passive"),
    "password long": ({**GOOD_PEER, "password": "x" * 81}, "password"),
    "password a number": ({**GOOD_PEER, "password": 7}, "password"),
    "state": ({**GOOD_PEER, "state": "Idle"}, "state"),
    "unknown member": ({**GOOD_PEER, "name": "x"}, "name"),
}


@pytest.mark.parametrize(("body", "field"), PEER_MEMBERS.values(), ids=PEER_MEMBERS)
def test_bgp_peer_members(shared, body, field):
    answer = shared.ask("POST", "/bgp/peers", body)
    assert (answer.status, answer.error["code"], answer.error["field"]) == (422, "invalid", field)
    assert [peer["address"] for peer in shared.ask("GET", "/bgp/peers").json] == ["192.0.2.1"]


@pytest.fixture(scope="module")
def balancer(shared):
    return shared.create(name="stays")


def check(server, balancer, answer, status, code, field):
    assert answer.status == status, answer
    assert answer.error["code"] == code
    if field is not None:
        assert answer.error["field"] == field
    assert server.balancers() == [balancer]


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable(shared, balancer, body):
    path = f"/loadbalancer/{balancer['uuid']}"
    for method, at in (("POST", "/loadbalancer"), ("PATCH", path), ("POST", f"{path}/backend")):
        check(shared, balancer, shared.ask(method, at, body), 400, "bad_request", None)


@pytest.mark.parametrize(("body", "field"), MEMBERS.values(), ids=MEMBERS)
def test_load_balancer(shared, balancer, body, field):
    answer = shared.ask("POST", "/loadbalancer", body)
    check(shared, balancer, answer, 422, "invalid", field)
    if "port" not in (body if isinstance(body, dict) else json.loads(body)):
        return
    answer = shared.ask("PATCH", f"/loadbalancer/{balancer['uuid']}", body)
    check(shared, balancer, answer, 422, "invalid", field)


@pytest.mark.parametrize(("body", "field"), BACKEND_MEMBERS.values(), ids=BACKEND_MEMBERS)
def test_backend(shared, balancer, body, field):
    answer = shared.ask("POST", f"/loadbalancer/{balancer['uuid']}/backend", body)
    check(shared, balancer, answer, 422, "invalid", field)


def test_messages(shared):
    """What a person reads."""

    def message(body):
        return shared.ask("POST", "/loadbalancer", body).error["message"]

    assert message('{"port":80,"colour":1}').startswith('there is no member "colour"; there are name')
    assert "line 2, column" in message('{"port":80,\n!}')
    assert message('{"port":"80"}') == "port must be a whole number, not a string"
    assert "fraction or exponent" in message('{"port":1e3}')
    assert message('{"port":70000}') == "port must be between 1 and 65535, not 70000"
    assert "too big" in message('{"port":99999999999999999999}')
    assert message("[]") == "the body is a list; a JSON object is expected"
    assert "nested deeper than 8" in message(nested(8))
    assert '"maglev"' in message('{"port":80,"scheduler":"x"}')


def test_limits_that_are_allowed(server):
    assert server.ask("POST", "/loadbalancer", nested(7)).status == 422  # readable
    for members in (
        {"port": 1},
        {"port": 65535},
        {"name": "x" * 255},
        {"name": "ä" * 127},
        {"affinity_s": 86400},
        {"name": "[[[[[[[[[[[[[[[["},
        {"name": '\\"{{{{{{{{{{{{{{{{'},
    ):
        balancer = server.create(**members)
        assert members.items() <= balancer.items()
    path = f"/loadbalancer/{balancer['uuid']}/backend"
    for i, weight in enumerate((0, 65535)):
        body = {"ip": f"192.0.2.{i}", "port": 1, "weight": weight}
        assert server.ask("POST", path, body).json["weight"] == weight


@pytest.mark.parametrize("kind", ("length", "chunked"))
def test_size(server, kind):
    options = ["-H", "Transfer-Encoding: chunked"] if kind == "chunked" else []
    body = json.dumps(GOOD)
    answer = server.ask("POST", "/loadbalancer", body + " " * (65536 - len(body)), *options)
    assert answer.status == 201
    for size in (65537, 100_000, 3_000_000):
        answer = server.ask("POST", "/loadbalancer", body + " " * (size - len(body)), *options)
        assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert len(server.balancers()) == 1


def test_content_type_does_not_matter(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = server.ask("POST", "/loadbalancer", GOOD, "-H", f"Content-Type: {kind}")
        assert answer.status == 201


def test_a_body_where_none_belongs_is_ignored(server):
    assert server.ask("GET", "/healthz", "x" * 1000).status == 200
    balancer = server.create()
    assert server.ask("DELETE", f"/loadbalancer/{balancer['uuid']}", "{").status == 204


def encode_case(body):
    """The bytes of a case of the tables above."""
    return body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
