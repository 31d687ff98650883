# SPDX-License-Identifier: GPL-2.0-only
"""api/openapi.yaml says the truth: the routes are those of the route table, real answers are what it
says they are, and what it says about requests is what the API accepts."""
import subprocess

import jsonschema
import pytest
import yaml

from harness import BUILD, NOBODY, TOP
from test_bodies import BACKEND_MEMBERS, GOOD, GOOD_BACKEND, GOOD_PEER, MEMBERS, PEER_MEMBERS

API = yaml.safe_load((TOP / "api/openapi.yaml").read_text())
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# Limits that a schema cannot say, or only core can know.
BEYOND_SCHEMA = ("address empty", "address no ", "source no ", "eip ", "ip ", "name of 256 bytes in 128", "port 1.0", "port 1e3", "weight fraction")


def validator(schema):
    return jsonschema.Draft202012Validator(
        schema, resolver=jsonschema.RefResolver("", API), format_checker=jsonschema.FormatChecker()
    )


def resolve(thing):
    while "$ref" in thing:
        target = API
        for part in thing["$ref"].lstrip("#/").split("/"):
            target = target[part]
        thing = target
    return thing


def test_it_is_sound():
    assert API["openapi"].startswith("3.1.")
    for name, schema in API["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [o["operationId"] for p in API["paths"].values() for m, o in p.items() if m in METHODS]
    assert len(set(operations)) == len(operations)
    for path, item in API["paths"].items():
        named = [resolve(p)["name"] for p in item.get("parameters", [])]
        assert named == [part[1:-1] for part in path.split("/") if part.startswith("{")]


def test_routes_are_those_of_the_table():
    done = subprocess.run([BUILD / "server-asan", "routes"], capture_output=True, text=True, check=True)
    table = {tuple(line.split(" ")) for line in done.stdout.splitlines()}
    said = {(m.upper(), path) for path, item in API["paths"].items() for m in item if m in METHODS}
    assert table == said


def test_answers(server):
    """Every operation, answered with success and with an error."""
    seen = set()

    def check(method, path, pattern, body=None):
        answer = server.ask(method, path, body)
        responses = API["paths"][pattern][method.lower()]["responses"]
        said = resolve(responses.get(str(answer.status), responses["default"]))
        for header in said.get("headers", {}):
            assert header.lower() in answer.headers
        if "content" not in said:
            assert answer.body == b""
        else:
            ((kind, content),) = said["content"].items()
            assert answer.headers["content-type"].split(";")[0] == kind
            if kind == "application/json":
                validator(content["schema"]).validate(answer.json)
        assert ("error" in str(answer.body[:10])) == (answer.status >= 400)
        seen.add((method, pattern, answer.status < 400))
        return answer.json if kind_is_json(answer) else None

    def kind_is_json(answer):
        return answer.headers.get("content-type") == "application/json"

    for path in ("/capabilities", "/status", "/bgp/peers", "/healthz", "/version", "/metrics"):
        check("GET", path, path)
    lb, backend = "/loadbalancer/{uuid}", "/loadbalancer/{uuid}/backend/{backenduuid}"
    balancer = check("POST", "/loadbalancer", "/loadbalancer", GOOD)
    check("POST", "/loadbalancer", "/loadbalancer", {**GOOD, "name": "no traffic", "eip": "2001:db8::1"})
    check("POST", "/loadbalancer", "/loadbalancer", "{")
    check("POST", "/loadbalancer", "/loadbalancer", {**GOOD, "colour": 1})
    path = f"/loadbalancer/{balancer['uuid']}"
    added = check("POST", f"{path}/backend", f"{lb}/backend", GOOD_BACKEND)
    check("POST", f"{path}/backend", f"{lb}/backend", GOOD_BACKEND)  # conflict
    check("GET", "/loadbalancers", "/loadbalancers")
    for at in (path, f"/loadbalancer/{NOBODY}"):
        check("GET", at, lb)
        check("PATCH", at, lb, {"name": "y"})
    for at in (f"{path}/backend/{added['uuid']}", f"{path}/backend/{NOBODY}"):
        check("GET", at, backend)
        check("PATCH", at, backend, {"state": "drain"})
        check("DELETE", at, backend)
    check("DELETE", path, lb)
    check("DELETE", path, lb)
    check("POST", "/bgp/peers", "/bgp/peers", GOOD_PEER)
    check("POST", "/bgp/peers", "/bgp/peers", GOOD_PEER)  # conflict
    check("POST", "/bgp/peers", "/bgp/peers", {**GOOD_PEER, "colour": 1})
    for at in (f"/bgp/peers/{GOOD_PEER['address']}", "/bgp/peers/192.0.2.200"):
        check("GET", at, "/bgp/peers/{address}")
        check("DELETE", at, "/bgp/peers/{address}")
    wanted = {(m.upper(), p) for p, item in API["paths"].items() for m in item if m in METHODS}
    assert {(m, p) for m, p, good in seen if good} == wanted
    never = {("GET", p) for p in ("/loadbalancers", "/bgp/peers", "/capabilities", "/status", "/healthz", "/version", "/metrics")}
    assert {(m, p) for m, p, good in seen if not good} == wanted - never


def schemas(name):
    return validator(API["components"]["schemas"][name])


@pytest.mark.parametrize(
    ("schema", "cases", "good"),
    [
        ("LoadBalancerCreate", MEMBERS, GOOD),
        ("BackendCreate", BACKEND_MEMBERS, GOOD_BACKEND),
        ("BgpPeerCreate", PEER_MEMBERS, GOOD_PEER),
    ],
)
def test_requests(schema, cases, good):
    """What the API refuses, the schema refuses."""
    assert schemas(schema).is_valid(good)
    for name, (body, _) in cases.items():
        if isinstance(body, dict) and not name.startswith(BEYOND_SCHEMA):
            assert not schemas(schema).is_valid(body), name


def test_requests_of_older_clients():
    body = {"uuid": "", "name": "old", "eip": "", "port": 80, "backends": None}
    assert schemas("LoadBalancerCreate").is_valid(body)
    assert schemas("BackendCreate").is_valid({"uuid": "", "ip": "192.0.2.1", "port": 80, "type": ""})
    assert schemas("LoadBalancerUpdate").is_valid({}) and schemas("BackendUpdate").is_valid({})
