# SPDX-License-Identifier: GPL-2.0-only
"""The API as a person with curl meets it: what is answered, and every way to be told no."""
import json
import uuid

import pytest

# Many balancers are made here; whether their addresses are in use is not what is tested.
FLAGS = ("--arp-probe", "0")

GOOD = {"name": "test loadbalancer", "port": 6443}
GOOD_BACKEND = {"ip": "10.80.96.25", "port": 6443}
NOBODY = str(uuid.UUID(int=0xDEAD))


@pytest.fixture
def balancer(api):
    return api.create()


def stable(thing):
    """An answer without what counts up by itself."""
    if isinstance(thing, dict):
        return {key: stable(value) for key, value in thing.items() if key not in ("traffic", "drops")}
    if isinstance(thing, list):
        return [stable(value) for value in thing]
    return thing


def check_refused(api, answer, status, field=None):
    """An error has the status, the shape that clients rely on, and names the field."""
    assert answer.status == status, answer
    assert answer.headers["content-type"].startswith("application/json")
    assert set(answer.json) == {"error"}
    error = answer.json["error"]
    assert set(error) == {"code", "message", "field"}
    assert error["code"] and error["message"], error
    if field is not None:
        assert error["field"] == field, error


# --- What works ----------------------------------------------------------------------------------


def test_the_lines_of_the_readme(api):
    answer = api.ask("POST", "/loadbalancer", '{"name":"test loadbalancer","port":6443}')
    assert answer.status == 201
    balancer = answer.json
    assert answer.headers["location"].endswith(f"/loadbalancer/{balancer['uuid']}")
    assert str(uuid.UUID(balancer["uuid"])) == balancer["uuid"]
    expected = {
        "name": "test loadbalancer",
        "eip": "10.80.96.85",
        "port": 6443,
        "protocol": "tcp",
        "family": "ipv4",
        "scheduler": "rr",
        "source_nat": True,
        "affinity_s": 0,
        "backends": [],
    }
    assert expected.items() <= balancer.items()

    path = f"/loadbalancer/{balancer['uuid']}"
    answer = api.ask("POST", f"{path}/backend", '{"ip":"10.80.96.25","port":6443}')
    assert answer.status == 201
    backend = answer.json
    assert answer.headers["location"].endswith(f"{path}/backend/{backend['uuid']}")
    expected = {"ip": "10.80.96.25", "port": 6443, "type": "MASQ", "weight": 1, "state": "up"}
    assert expected.items() <= backend.items()

    listed = api.balancers()
    assert stable(listed) == [stable({**balancer, "backends": [backend]})]
    assert stable(api.get(path)) == stable(listed[0])

    assert api.ask("DELETE", f"{path}/backend/{backend['uuid']}").status == 204
    assert api.get(path)["backends"] == []
    answer = api.ask("DELETE", path)
    assert (answer.status, answer.body) == (204, b"")
    assert api.ask("GET", path).status == 404
    assert api.balancers() == []


def test_list_is_a_list_when_empty(api):
    assert api.balancers() == []


def test_patch(api, balancer):
    path = f"/loadbalancer/{balancer['uuid']}"
    answer = api.ask("PATCH", path, {"name": "another name"})
    assert answer.status == 200
    assert stable(answer.json) == stable({**balancer, "name": "another name"})
    backend = api.add_backend(balancer, "10.80.96.25")
    answer = api.ask("PATCH", f"{path}/backend/{backend['uuid']}", {"state": "drain", "weight": 7})
    assert answer.status == 200
    assert stable(answer.json) == stable({**backend, "state": "drain", "weight": 7})
    assert stable(api.get(path)["backends"]) == [stable(answer.json)]


def test_names_are_kept_as_they_are(api):
    for name in ("Grüße, 世界 🙂", 'quotes " and \\ and </script>', "x" * 255):
        balancer = api.create(name=name)
        assert api.get(f"/loadbalancer/{balancer['uuid']}")["name"] == name
        api.delete(balancer)


def test_body_of_64_kib_is_read(api):
    body = json.dumps(GOOD)
    answer = api.ask("POST", "/loadbalancer", body + " " * (65536 - len(body)))
    assert answer.status == 201


@pytest.mark.parametrize("host", ("10.80.96.2", "[fd00:80:96::2]"))
def test_listens_on_ipv4_and_ipv6(slb, lab, host):
    done = lab.run("client", ["curl", "-sSg", "-m", "5", f"http://{host}:10001/version"])
    assert "version" in json.loads(done.stdout)


@pytest.mark.parametrize("path", ("/healthz", "/version", "/capabilities", "/bgp/peers"))
def test_what_else_can_be_asked(api, path):
    assert isinstance(api.get(path), (dict, list))


def test_a_connection_serves_many_requests(slb, api, lab):
    url = f"{api.base}/loadbalancers"
    done = lab.run("client", ["curl", "-sS", "-v", "-m", "5", url, url, url])
    assert done.stdout.count("[]") == 3
    assert done.stderr.count("Connected to") == 1


# --- What is refused -----------------------------------------------------------------------------

BODIES = {
    "empty": ("", 400, None),
    "not json": ("name=test&port=6443", 400, None),
    "cut off": ('{"name":"x","port":', 400, None),
    "something after it": ('{"name":"x","port":1} x', 400, None),
    "a list": ("[]", 400, None),
    "a string": ('"x"', 400, None),
    "null": ("null", 400, None),
    "not utf-8": (b'{"name":"\xff\xfe","port":6443}', 400, None),
    "key twice": ('{"name":"x","port":1,"port":2}', 400, None),
    "nested deep": ('{"name":' + "[" * 2000 + "]" * 2000 + ',"port":1}', 400, None),
    "unknown member": ('{"name":"x","port":1,"colour":"red"}', 422, "colour"),
}

FIELDS = {
    "port missing": ({"name": "x"}, "port"),
    "port 0": ({**GOOD, "port": 0}, "port"),
    "port 65536": ({**GOOD, "port": 65536}, "port"),
    "port negative": ({**GOOD, "port": -1}, "port"),
    "port text": ({**GOOD, "port": "6443"}, "port"),
    "port fraction": ({**GOOD, "port": 6443.5}, "port"),
    "port true": ({**GOOD, "port": True}, "port"),
    "name a number": ({**GOOD, "name": 7}, "name"),
    "name of 256 bytes": ({**GOOD, "name": "x" * 256}, "name"),
    "name of 128 umlauts and one": ({**GOOD, "name": "ä" * 128}, "name"),
    "name with newline": ({**GOOD, "name": "a\nb"}, "name"),
    "name with escape": ({**GOOD, "name": "a\x1b[31mb"}, "name"),
    "name with delete": ({**GOOD, "name": "a\x7fb"}, "name"),
    "name with nul": ({**GOOD, "name": "a\x00b"}, "name"),
    "eip no address": ({**GOOD, "eip": "10.80.96"}, "eip"),
    "eip out of the pool": ({**GOOD, "eip": "10.80.96.200"}, "eip"),
    "unknown protocol": ({**GOOD, "protocol": "sctp"}, "protocol"),
    "unknown scheduler": ({**GOOD, "scheduler": "random"}, "scheduler"),
    "unknown family": ({**GOOD, "family": "ipx"}, "family"),
    "source_nat text": ({**GOOD, "source_nat": "yes"}, "source_nat"),
    "affinity negative": ({**GOOD, "affinity_s": -1}, "affinity_s"),
}

BACKEND_FIELDS = {
    "ip missing": ({"port": 6443}, "ip"),
    "port missing": ({"ip": "10.80.96.25"}, "port"),
    "ip no address": ({**GOOD_BACKEND, "ip": "10.80.96.256"}, "ip"),
    "ip a name": ({**GOOD_BACKEND, "ip": "example.org"}, "ip"),
    "ip a number": ({**GOOD_BACKEND, "ip": 7}, "ip"),
    "ip of the other family": ({**GOOD_BACKEND, "ip": "fd00:80:96::25"}, "ip"),
    "ip unspecified": ({**GOOD_BACKEND, "ip": "0.0.0.0"}, "ip"),
    "ip multicast": ({**GOOD_BACKEND, "ip": "224.0.0.1"}, "ip"),
    "ip broadcast": ({**GOOD_BACKEND, "ip": "255.255.255.255"}, "ip"),
    "port 0": ({**GOOD_BACKEND, "port": 0}, "port"),
    "port 65536": ({**GOOD_BACKEND, "port": 65536}, "port"),
    "unknown type": ({**GOOD_BACKEND, "type": "DSR"}, "type"),
    "unknown state": ({**GOOD_BACKEND, "state": "asleep"}, "state"),
    "weight negative": ({**GOOD_BACKEND, "weight": -1}, "weight"),
    "weight too large": ({**GOOD_BACKEND, "weight": 65536}, "weight"),
    "unknown member": ({**GOOD_BACKEND, "colour": "red"}, "colour"),
}

ROUTES = {
    "nothing": ("GET", "/", 404),
    "unknown": ("GET", "/nonsense", 404),
    "too long a path": ("GET", "/loadbalancers/more", 404),
    "unknown uuid": ("GET", f"/loadbalancer/{NOBODY}", 404),
    "no uuid": ("GET", "/loadbalancer/17", 404),
    "delete unknown": ("DELETE", f"/loadbalancer/{NOBODY}", 404),
    "patch unknown": ("PATCH", f"/loadbalancer/{NOBODY}", 404),
    "backend of unknown": ("POST", f"/loadbalancer/{NOBODY}/backend", 404),
    "path climbing": ("GET", "/../etc/passwd", 404),
    "GET on create": ("GET", "/loadbalancer", 405),
    "POST on list": ("POST", "/loadbalancers", 405),
    "PUT on create": ("PUT", "/loadbalancer", 405),
    "DELETE on health": ("DELETE", "/healthz", 405),
    "TRACE": ("TRACE", "/version", 405),
}


@pytest.mark.parametrize(("body", "status", "field"), BODIES.values(), ids=BODIES)
def test_bodies_that_are_refused(api, body, status, field):
    check_refused(api, api.ask("POST", "/loadbalancer", body), status, field)
    assert api.balancers() == []


@pytest.mark.parametrize(("body", "field"), FIELDS.values(), ids=FIELDS)
def test_balancers_that_are_refused(api, slb, body, field):
    check_refused(api, api.ask("POST", "/loadbalancer", body), 422, field)
    assert api.balancers() == []
    assert not [address for address in slb.addresses() if address.endswith("/32")]


@pytest.mark.parametrize(("body", "field"), BACKEND_FIELDS.values(), ids=BACKEND_FIELDS)
def test_backends_that_are_refused(api, balancer, body, field):
    answer = api.ask("POST", f"/loadbalancer/{balancer['uuid']}/backend", body)
    check_refused(api, answer, 422, field)
    assert stable(api.balancers()) == [stable(balancer)]


@pytest.mark.parametrize(("method", "path", "status"), ROUTES.values(), ids=ROUTES)
def test_routes_that_are_refused(api, balancer, method, path, status):
    bodies = {"POST": GOOD_BACKEND if path.endswith("/backend") else GOOD, "PATCH": {"port": 1}}
    body = bodies.get(method)
    answer = api.ask(method, path, body, "--path-as-is")
    check_refused(api, answer, status)
    assert ("allow" in answer.headers) == (status == 405)
    assert stable(api.balancers()) == [stable(balancer)]


def test_a_body_over_64_kib_is_too_large(api):
    body = json.dumps(GOOD)
    answer = api.ask("POST", "/loadbalancer", body + " " * (65537 - len(body)))
    check_refused(api, answer, 413)
    assert api.balancers() == []


def test_a_body_over_64_kib_in_chunks_is_too_large(api):
    body = json.dumps(GOOD) + " " * 100_000
    answer = api.ask("POST", "/loadbalancer", body, "-H", "Transfer-Encoding: chunked")
    check_refused(api, answer, 413)
    assert api.balancers() == []


def test_the_same_backend_twice_is_a_conflict(api, balancer):
    api.add_backend(balancer, "10.80.96.25")
    answer = api.ask("POST", f"/loadbalancer/{balancer['uuid']}/backend", GOOD_BACKEND)
    check_refused(api, answer, 409)
    assert len(api.get(f"/loadbalancer/{balancer['uuid']}")["backends"]) == 1


def test_a_backend_of_another_balancer_is_unknown(api, balancer):
    other = api.create(port=80)
    backend = api.add_backend(other, "10.80.96.25")
    path = f"/loadbalancer/{balancer['uuid']}/backend/{backend['uuid']}"
    check_refused(api, api.ask("DELETE", path), 404)
    check_refused(api, api.ask("PATCH", path, {"weight": 2}), 404)
    assert stable(api.get(f"/loadbalancer/{other['uuid']}")["backends"]) == [stable(backend)]


def test_a_patch_that_is_refused_changes_nothing(api, balancer):
    path = f"/loadbalancer/{balancer['uuid']}"
    answer = api.ask("PATCH", path, {"name": "new", "port": 0})
    check_refused(api, answer, 422, "port")
    assert stable(api.get(path)) == stable(balancer)


@pytest.mark.parametrize("header", ("Content-Length: 5", "Host: elsewhere"))
def test_a_header_that_must_be_alone_is_refused_twice(api, header):
    # curl sends one Host only, unless the second is hidden in another header.
    hidden = f"X-First: 1\r\n{header}"
    answer = api.ask("POST", "/loadbalancer", GOOD, "-H", hidden)
    assert answer.status == 400
    assert api.balancers() == []


def test_drops_and_tables_are_shown(api, slb, lab, backends):
    balancer = api.create(port=4711)
    path = f"/loadbalancer/{balancer['uuid']}"
    assert api.get(path)["drops"] == {}
    # Nobody takes it: there are no backends.
    lab.run("client", ["ncat", "-w", "1", "-z", balancer["eip"], "4711"], check=False)
    drops = api.get(path)["drops"]
    assert list(drops) == ["no_backend"] and drops["no_backend"] > 0
    assert api.balancers()[0]["drops"].keys() == drops.keys()
    metrics = api.ask("GET", "/metrics").body.decode()
    sample = f'slb_drops_total{{load_balancer="{balancer["uuid"]}",reason="no_backend"}} '
    assert sample in metrics
    tables = {table["name"]: table for table in api.get("/status")["tables"]}
    assert tables["services"]["entries"] == 1
    assert tables["flows4"]["capacity"] > 0
    assert 'slb_table_capacity{table="flows4"} ' in metrics
