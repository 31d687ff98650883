# SPDX-License-Identifier: GPL-2.0-only
"""What every route answers, and how paths and methods are read."""
import json
import uuid

import pytest

from harness import NOBODY, get, parse_answers, read_answers

MEMBERS = ["uuid", "name", "eip", "port", "protocol", "family", "scheduler", "source_nat"]
MEMBERS += ["affinity_s", "traffic", "drops", "backends"]
BACKEND_MEMBERS = ["uuid", "ip", "port", "type", "weight", "state", "traffic"]


def test_life_of_a_load_balancer(server):
    answer = server.ask("POST", "/loadbalancer", '{"name":"test loadbalancer","port":6443}')
    assert answer.status == 201
    balancer = answer.json
    path = f"/loadbalancer/{balancer['uuid']}"
    assert answer.headers["location"] == path
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body.endswith(b"}\n") and answer.body.count(b"\n") == 1
    assert list(balancer) == MEMBERS
    assert str(uuid.UUID(balancer["uuid"])) == balancer["uuid"]
    assert balancer["name"] == "test loadbalancer" and balancer["port"] == 6443
    assert (balancer["protocol"], balancer["family"]) == ("tcp", "ipv4")
    assert (balancer["scheduler"], balancer["source_nat"]) == ("rr", True)
    assert balancer["backends"] == []

    assert server.ask("GET", answer.headers["location"]).json == balancer
    assert server.balancers() == [balancer]

    answer = server.ask("PATCH", path, {"name": "new", "scheduler": "maglev", "affinity_s": 7})
    assert answer.status == 200
    assert answer.json == {**balancer, "name": "new", "scheduler": "maglev", "affinity_s": 7}
    assert server.ask("PATCH", path, "{}").json == answer.json

    answer = server.ask("DELETE", path)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers  # RFC 9110, 8.6
    assert server.ask("GET", path).status == 404
    assert server.ask("DELETE", path).status == 404
    assert server.balancers() == []


def test_life_of_a_backend(server):
    balancer = server.create(name="x")
    path = f"/loadbalancer/{balancer['uuid']}"
    answer = server.ask("POST", f"{path}/backend", '{"ip":"10.80.96.25","port":6443}')
    assert answer.status == 201
    backend = answer.json
    assert answer.headers["location"] == f"{path}/backend/{backend['uuid']}"
    assert list(backend) == BACKEND_MEMBERS
    expected = {"ip": "10.80.96.25", "port": 6443, "type": "MASQ", "weight": 1, "state": "up"}
    assert expected.items() <= backend.items()

    assert server.ask("GET", answer.headers["location"]).json == backend
    assert server.ask("GET", path).json["backends"] == [backend]
    second = server.add_backend(balancer, "10.80.96.26")
    assert second["traffic"]["connections"] == 1  # the double's: place in the list

    answer = server.ask("PATCH", f"{path}/backend/{backend['uuid']}", {"state": "drain", "weight": 0})
    assert (answer.status, answer.json) == (200, {**backend, "state": "drain", "weight": 0})
    answer = server.ask("DELETE", f"{path}/backend/{backend['uuid']}")
    assert (answer.status, answer.body) == (204, b"")
    assert [b["uuid"] for b in server.ask("GET", path).json["backends"]] == [second["uuid"]]
    assert server.ask("GET", f"{path}/backend/{backend['uuid']}").status == 404


def test_members_of_ipv6(server):
    balancer = server.create(eip="2001:DB8:0::0:7", protocol="udp", source_nat=False)
    assert (balancer["eip"], balancer["family"]) == ("2001:db8::7", "ipv6")
    assert (balancer["protocol"], balancer["source_nat"]) == ("udp", False)
    assert server.create(family="ipv6")["family"] == "ipv6"


def test_traffic_is_left_out_where_it_is_not_known(server):
    balancer = server.create(name="no traffic")
    assert "traffic" not in balancer
    assert "traffic" not in server.add_backend(balancer)
    assert server.create(name="x")["traffic"]["bytes_out"] == 2**64 - 1


def test_what_the_predecessors_clients_send(server):
    body = '{"uuid":"","name":"old","eip":"","port":80,"backends":null}'
    answer = server.ask("POST", "/loadbalancer", body)
    assert answer.status == 201 and answer.json["eip"]
    body = '{"uuid":"","ip":"192.0.2.1","port":80,"type":""}'
    answer = server.ask("POST", f"/loadbalancer/{answer.json['uuid']}/backend", body)
    assert (answer.status, answer.json["type"]) == (201, "MASQ")


def test_names_come_back_as_they_were(server):
    for name in ("Grüße, 世界 🙂", 'quotes " and \\ and </script> {{x}} %s %n', "x" * 255, ""):
        balancer = server.create(name=name)
        assert server.ask("GET", f"/loadbalancer/{balancer['uuid']}").json["name"] == name
    assert len(server.balancers()) == 4


@pytest.mark.parametrize("count", (0, 1, 2, 500))
def test_list(start, count):
    server = start("-n", f"{count}x3")
    listed = server.balancers()
    assert [b["name"] for b in listed] == [f"populated {i}" for i in range(count)]
    assert all(len(b["backends"]) == 3 for b in listed)


def test_list_while_it_changes(start):
    """Half of the list is read, then much is deleted and created: still a list, in order, of what was
    there all the time."""
    server = start("-n", "6000x10")  # more than sockets buffer
    listed = server.balancers()
    with server.connect(receive_buffer=4096) as sock, server.connect() as other:
        sock.sendall(get("/loadbalancers", "Connection: close"))
        data = sock.recv(4096)
        for balancer in listed[1000:1100] + listed[5900:]:
            path = f"/loadbalancer/{balancer['uuid']}"
            other.sendall(f"DELETE {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            assert read_answers(other, 1)[0][0].status == 204
        created = server.create(name="late")
        while piece := sock.recv(1 << 20):
            data += piece
    answers, rest = parse_answers(data)
    assert len(answers) == 1 and not rest
    names = [b["uuid"] for b in answers[0].json]
    kept = [b["uuid"] for b in listed[:1000] + listed[1100:5900]]
    assert [n for n in names if n in set(kept)] == kept
    assert names[-1] == created["uuid"]


def test_node(server):
    assert server.ask("GET", "/healthz").body == b'{"status":"ok"}\n'
    assert set(server.ask("GET", "/version").json) == {"version", "commit"}
    capabilities = server.ask("GET", "/capabilities").json
    assert capabilities["capabilities"][1] == {
        "name": "fib lookup",
        "status": "refused",
        "reason": 'bpf(2): "Operation not permitted"',
        "consequence": "slower",
        "advice": "run as root",
    }
    assert capabilities["devices"][1]["reasons"] == ["eth1 has no native XDP"]
    (peer,) = server.ask("GET", "/bgp/peers").json
    assert (peer["address"], peer["as"], peer["state"]) == ("192.0.2.1", 4200000000, "Established")


def test_bgp_peers(server):
    wanted = {"address": "2001:DB8:0::1", "as": 65001, "hold_s": 9, "multihop": 2, "password": "secret"}
    made = server.ask("POST", "/bgp/peers", wanted)
    assert (made.status, made.headers["location"]) == (201, "/bgp/peers/2001:db8::1")
    assert made.json == {
        "address": "2001:db8::1",
        "port": 179,
        "as": 65001,
        "source": "",
        "multihop": 2,
        "ttl_security": 0,
        "hold_s": 9,
        "connect_retry_s": 5,
        "passive": False,
        "has_password": True,
        "origin": "api",
        "state": "Idle",
        "uptime_s": 0,
        "last_error": "",
        "note": "",
        "announced": 0,
        "capabilities": [],
    }
    for path in ("/bgp/peers/2001:db8::1", "/bgp/peers/2001%3Adb8%3A0%3A%3A1/"):
        assert server.ask("GET", path).json == made.json
    assert [p["address"] for p in server.ask("GET", "/bgp/peers").json] == ["192.0.2.1", "2001:db8::1"]
    again = server.ask("POST", "/bgp/peers", wanted)
    assert (again.status, again.error["field"]) == (409, "address")
    assert server.ask("DELETE", "/bgp/peers/2001:db8::1").status == 204
    for method in ("GET", "DELETE"):
        for address in ("2001:db8::1", "192.0.2.1/32", "router", "192.0.2.256", "%00"):
            assert server.ask(method, f"/bgp/peers/{address}").status == 404
    assert server.ask("GET", "/bgp/peers/router").error["message"].startswith("/bgp/peers/router")


def test_bgp_peers_in_metrics(server):
    lines = server.ask("GET", "/metrics").body.decode().splitlines()
    peer = 'address="192.0.2.1",as="4200000000"'
    for sample in (
        f'slb_bgp_peer_state{{{peer},state="Established"}} 1',
        f"slb_bgp_peer_established{{{peer}}} 1",
        f"slb_bgp_peer_uptime_seconds{{{peer}}} 7",
        f"slb_bgp_peer_announced_routes{{{peer}}} 3",
    ):
        assert sample in lines


def test_bgp_peers_without_bgp(start):
    server = start()
    for method, path in (("POST", "/bgp/peers"), ("DELETE", "/bgp/peers/192.0.2.1")):
        answer = server.ask(method, path, {"address": "192.0.2.1", "as": 65001})
        assert (answer.status, answer.error["code"]) == (422, "unsupported")
        assert "--bgp" in answer.error["message"]
    assert server.ask("GET", "/bgp/peers/192.0.2.1").status == 404


def test_node_without_providers(start):
    server = start()
    assert server.ask("GET", "/capabilities").json == {"capabilities": [], "devices": []}
    assert server.ask("GET", "/bgp/peers").json == []


# --- paths and methods ---------------------------------------------------------------------------

PATHS = {
    "/": 404,
    "": 404,
    "//loadbalancers": 404,
    "/loadbalancers/": 200,
    "/loadbalancers//": 404,
    "/loadbalancers?name=x": 200,
    "/loadbalancers?": 200,
    "/Loadbalancers": 404,
    "/load%62alancers": 200,
    "/load%6": 404,
    "/load%zz": 404,
    "/loadbalancers%00": 404,
    "/loadbalancers%2F": 404,
    "/%2floadbalancers": 404,
    "/loadbalancers/more": 404,
    "/../loadbalancers": 404,
    "/./loadbalancers": 404,
    "/loadbalancers/..": 404,
    "/loadbalancers;x=1": 404,
    "/loadbalancer/17": 404,
    f"/loadbalancer/{NOBODY}": 404,
    f"/loadbalancer/{NOBODY}x": 404,
    f"/loadbalancer/{NOBODY}%00": 404,
    f"/loadbalancer/{{{NOBODY}}}": 404,
    "/loadbalancer/%ff%fe": 404,
    "/loadbalancer/{uuid}": 404,
    "/loadbalancer/" + "a" * 900: 404,
    "/" + "a" * 2000: 414,
    "/healthz#fragment": 404,
    "/bgp": 404,
    "/bgp%2fpeers": 404,
}


@pytest.mark.parametrize(("path", "status"), PATHS.items())
def test_paths(shared, path, status):
    answers, _, rest = shared.talk(get(path or "/", "Connection: close"))
    assert [answer.status for answer in answers] == [status] and not rest
    if status != 200:
        assert answers[0].error["code"] == {404: "not_found", 414: "uri_too_long"}[status]


def test_uuid_in_capitals_and_escaped(server):
    balancer = server.create()
    assert server.ask("GET", f"/loadbalancer/{balancer['uuid'].upper()}").json == balancer
    assert server.ask("GET", f"/loadbalancer/{balancer['uuid'].replace('-', '%2D')}/").json == balancer


def test_absolute_form(server):
    answers, _, _ = server.talk(get("http://elsewhere:1/healthz", "Connection: close"))
    assert answers[0].status == 200
    answers, _, _ = server.talk(get("http://elsewhere", "Connection: close"))
    assert answers[0].status == 404


ALLOWED = {
    "/loadbalancer": "POST, OPTIONS",
    "/loadbalancer/": "POST, OPTIONS",
    "/loadbalancers": "GET, HEAD, OPTIONS",
    f"/loadbalancer/{NOBODY}": "GET, HEAD, PATCH, DELETE, OPTIONS",
    "/loadbalancer/17": "GET, HEAD, PATCH, DELETE, OPTIONS",
    f"/loadbalancer/{NOBODY}/backend": "POST, OPTIONS",
    f"/loadbalancer/{NOBODY}/backend/{NOBODY}": "GET, HEAD, PATCH, DELETE, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
    "/bgp/peers": "GET, HEAD, POST, OPTIONS",
    "/bgp/peers/192.0.2.1": "GET, HEAD, DELETE, OPTIONS",
    "/bgp/peers/nobody": "GET, HEAD, DELETE, OPTIONS",
}


@pytest.mark.parametrize(("path", "allowed"), ALLOWED.items())
def test_methods(shared, path, allowed):
    answer = shared.ask("OPTIONS", path)
    assert (answer.status, answer.headers["allow"], answer.body) == (204, allowed, b"")
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "FROBNICATE"):
        if method in allowed.split(", "):
            continue
        answer = shared.ask(method, path, '{"port":80}' if method in ("POST", "PUT") else None)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert answer.error["code"] == "method_not_allowed"
    assert shared.ask("OPTIONS", "/nothing").status == 404
    assert shared.balancers() == []


def test_options_of_everything(start):
    answers, _, _ = start().talk(b"OPTIONS * HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert answers[0].status == 204 and "PATCH" in answers[0].headers["allow"]


def test_head(server):
    balancer = server.create()
    for path in ("/healthz", "/loadbalancers", f"/loadbalancer/{balancer['uuid']}", "/metrics"):
        answer = server.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
    assert server.ask("HEAD", f"/loadbalancer/{NOBODY}").status == 404
    assert server.ask("HEAD", "/loadbalancer").status == 405


# --- errors of core ------------------------------------------------------------------------------

ERRORS = {
    "EBADMSG": (400, "bad_request"),
    "ENOENT": (404, "not_found"),
    "EADDRINUSE": (409, "conflict"),
    "EEXIST": (409, "conflict"),
    "EINVAL": (422, "invalid"),
    "ENOTSUP": (422, "unsupported"),
    "ENOSPC": (507, "exhausted"),
    "EROFS": (503, "unavailable"),
    "EBUSY": (503, "unavailable"),
    "EIO": (503, "unavailable"),
    "ETIMEDOUT": (503, "unavailable"),
    "ECANCELED": (503, "unavailable"),
    "ENOMEM": (503, "unavailable"),
    "EPERM": (500, "internal"),
    "E2BIG": (500, "internal"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_errors_of_core(shared, error):
    name = f'fail {error} pool "a–b" \\ is empty'
    answer = shared.ask("POST", "/loadbalancer", {"port": 80, "name": name})
    assert (answer.status, answer.error["code"]) == ERRORS[error]
    assert answer.error["message"] == 'pool "a–b" \\ is empty'
    assert answer.error["field"] == "name"
    assert shared.balancers() == []


def test_unknown_uuids(server):
    balancer = server.create()
    for method, path in (
        ("GET", f"/loadbalancer/{NOBODY}"),
        ("DELETE", f"/loadbalancer/{NOBODY}"),
        ("PATCH", f"/loadbalancer/{NOBODY}"),
        ("POST", f"/loadbalancer/{NOBODY}/backend"),
        ("GET", f"/loadbalancer/{balancer['uuid']}/backend/{NOBODY}"),
        ("PATCH", f"/loadbalancer/{balancer['uuid']}/backend/{NOBODY}"),
        ("DELETE", f"/loadbalancer/{balancer['uuid']}/backend/{NOBODY}"),
    ):
        bodies = {"POST": '{"ip":"192.0.2.1","port":80}', "PATCH": "{}"}
        answer = server.ask(method, path, bodies.get(method))
        assert (answer.status, answer.error["field"]) == (404, None)
        assert NOBODY in answer.error["message"]
    assert server.balancers() == [balancer]


# --- metrics -------------------------------------------------------------------------------------


def parse_metrics(text):
    """{name: {labels: value}}; every metric stands together, after its HELP and TYPE."""
    samples, seen, current = {}, set(), None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in seen
            seen.add(current)
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == current
        else:
            name = line.split("{")[0].split(" ")[0]
            assert name == current, line
            labels, _, value = line[len(name) :].rpartition(" ")
            assert labels not in samples.setdefault(name, {})
            samples[name][labels] = int(value)
    return samples


def test_metrics(server):
    name = 'a "quoted" \\ name'
    balancer = server.create(name=name, port=443)
    backends = [server.add_backend(balancer, f"192.0.2.{i}") for i in (1, 2)]
    server.create(name="no traffic")
    answer = server.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = parse_metrics(answer.body.decode())
    assert samples["slb_load_balancers"] == {"": 2}
    label = json.dumps(name)
    labels = f'{{load_balancer="{balancer["uuid"]}",name={label},eip="{balancer["eip"]}"'
    labels += ',port="443",protocol="tcp"}'
    assert samples["slb_load_balancer_packets_out_total"] == {labels: 4}
    assert samples["slb_load_balancer_bytes_out_total"] == {labels: 2**64 - 1}
    labels = [
        f'{{load_balancer="{balancer["uuid"]}",backend="{b["uuid"]}",ip="{b["ip"]}",port="80"}}'
        for b in backends
    ]
    assert samples["slb_backend_connections_total"] == {labels[0]: 0, labels[1]: 1}
    assert samples["slb_backend_bytes_out_total"] == {labels[0]: 50, labels[1]: 50}


def test_metrics_of_many(start):
    samples = parse_metrics(start("-n", "300x4").ask("GET", "/metrics").body.decode())
    counts = {name: len(values) for name, values in samples.items()}
    assert sorted(counts.values()) == [1, 1] + [2] * 2 + [300] * 5 + [602] + [1200] * 5
    tables = samples["slb_table_capacity"]
    assert len(tables) == 2 and len(samples["slb_drops_total"]) == 2 * 300 + 2


def test_metrics_of_none(start):
    samples = parse_metrics(start().ask("GET", "/metrics").body.decode())
    assert set(samples) == {"slb_build_info", "slb_load_balancers", "slb_drops_total",
                            "slb_table_entries", "slb_table_capacity"}
