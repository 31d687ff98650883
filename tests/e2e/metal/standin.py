#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-2.0-only
"""standin: a server that speaks as much of the Equinix Metal API as slb uses, for tests.

It keeps state (devices, BGP neighbours, reserved addresses), checks what it is sent and remembers
every violation, pages its lists, and can be told to fail at each step. It prints one JSON line,
{"url": …, "control": …, "ca": …}, and ends when standard input does.

    GET  /control    state: reservations, requests (method and path), violations
    POST /control    an object with any of
                       "reset": true      back to the beginning
                       "set": {…}         members of Settings
                       "devices": […], "neighbours": {device id: […]}
                       "reserve": […]     reservations, as they are to be listed
                       "fault": {…}       see Fault

The control is on the API's own port, outside of its path, and needs no token.
"""
import argparse
import dataclasses
import http.server
import ipaddress
import json
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid

BASE = "/metal/v1"
TOKEN = "s3cr3t-t0ken-of-the-tests"
PROJECT = "7d6a4b80-0e5c-4d54-a1f0-5c5c3a1d2e11"
DEVICE = "c0ffee00-1111-4222-8333-444455556666"


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next `times` requests of `method` whose path matches `path` (after
    `skip` of them have gone well)."""

    method: str = ".*"
    path: str = ".*"
    times: int = 1  # -1: always
    skip: int = 0
    act: bool = False  # what is asked for is done nevertheless
    kind: str = "status"  # status, hang, drop, half, text
    status: int = 500
    headers: dict = dataclasses.field(default_factory=dict)
    body: str = '{"errors":["told to fail"]}'  # the text, where kind is text
    seconds: float = 0  # to wait before anything else


@dataclasses.dataclass
class Settings:
    token: str = TOKEN
    project: str = PROJECT
    page_size: int = 10
    href: str = "below"  # below, path, absolute, elsewhere, itself
    pending_lists: int = 0  # an address is pending for so many lists; -1 for ever
    denied: bool = False  # it is denied after that
    pool: str = "147.75.32.0/22"
    pool_size: int = 1024
    facility: str = "am6"
    listed_tags: bool = True


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.settings = Settings()
        self.devices = [
            {
                "id": DEVICE,
                "hostname": "metal-1",
                "facility": {"code": "am6"},
                "ip_addresses": [
                    {
                        "address": "127.0.0.1",
                        "address_family": 4,
                        "gateway": "127.0.0.254",
                        "public": False,
                        "management": True,
                    }
                ],
            }
        ]
        self.neighbours = {
            DEVICE: [
                {
                    "address_family": 4,
                    "customer_as": 65000,
                    "customer_ip": "127.0.0.1",
                    "md5_enabled": True,
                    "md5_password": "md5-of-the-tests",
                    "multihop": True,
                    "peer_as": 65530,
                    "peer_ips": ["169.254.255.1", "169.254.255.2"],
                }
            ]
        }
        self.reservations = {}
        self.reserved = 0
        self.faults = []
        self.requests = []
        self.violations = []


STATE = State()


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "standin"

    def log_message(self, *_):
        pass

    # --- Answers ---------------------------------------------------------------------------------

    def answer(self, status, value=None, headers=None):
        data = b"" if value is None else json.dumps(value).encode()
        self.send(status, data, {"Content-Type": "application/json", **(headers or {})})

    def send(self, status, data, headers):
        self.send_response(status)
        for name, content in headers.items():
            self.send_header(name, content)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def fail(self, fault, answer):
        """`answer` is what would have been said."""
        self.close_connection = True
        status, value = answer or (200, {})
        if fault.kind == "hang":
            time.sleep(fault.seconds or 3600)
        elif fault.kind == "half":
            data = json.dumps(value).encode() if value is not None else b'{"half": "an answer"'
            self.send_response(status if status != 204 else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data) + 100))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
        elif fault.kind == "text":
            self.send(fault.status, fault.body.encode(), {"Content-Type": "text/html"})
        elif fault.kind == "status":
            self.send(
                fault.status,
                fault.body.encode(),
                {"Content-Type": "application/json", **fault.headers},
            )
        # "drop": nothing at all

    # --- What is asked ---------------------------------------------------------------------------

    def violation(self, what):
        STATE.violations.append(f"{self.command} {self.path}: {what}")

    def body(self):
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length)

    def fault_of(self, path):
        for fault in STATE.faults:
            if re.fullmatch(fault.method, self.command) and re.search(fault.path, path):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times != 0:
                    fault.times -= 1
                    return fault
        return None

    def handle_request(self):
        body = self.body()
        if self.path == "/control":
            self.control(body)
            return
        parts = urllib.parse.urlsplit(self.path)
        path = parts.path.removeprefix(BASE)
        with STATE.lock:
            STATE.requests.append(f"{self.command} {self.path}")
            fault = self.fault_of(path)
            answer = None
            if fault is None or fault.act:
                answer = self.act(parts, path, body)
        if fault is not None:
            if fault.kind != "hang" and fault.seconds:
                time.sleep(fault.seconds)
            self.fail(fault, answer)
        else:
            self.answer(*answer)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = handle_request

    def act(self, parts, path, body):
        settings = STATE.settings
        if not parts.path.startswith(BASE + "/"):
            self.violation("outside of the API's path")
            return 404, {"error": "Not found"}
        if self.headers.get("X-Auth-Token") != settings.token:
            return 401, {"error": "Invalid authentication token"}
        if self.command != "POST" and body:
            self.violation("has a body")
        query = urllib.parse.parse_qs(parts.query)
        if self.command == "GET":
            return self.get(path, query)
        if self.command == "POST" and path == f"/projects/{settings.project}/ips":
            return self.reserve(body)
        found = re.fullmatch(r"/ips/([\w-]+)", path)
        if self.command == "DELETE" and found:
            if STATE.reservations.pop(found[1], None) is None:
                return 404, {"errors": ["Not found"]}
            return 204, None
        self.violation("is no call that slb makes")
        return 404, {"errors": ["Not found"]}

    def get(self, path, query):
        settings = STATE.settings
        if path == f"/projects/{settings.project}/devices":
            return self.page(path, query, "devices", STATE.devices)
        if path == f"/projects/{settings.project}/ips":
            self.advance()
            items = [dict(item) for item in STATE.reservations.values()]
            if not settings.listed_tags:
                items = [{**item, "tags": []} for item in items]
            return self.page(path, query, "ip_addresses", items)
        found = re.fullmatch(r"/devices/([\w-]+)/bgp/neighbors", path)
        if found and found[1] in STATE.neighbours:
            return 200, {"bgp_neighbors": STATE.neighbours[found[1]]}
        return 404, {"errors": ["Not found"]}

    def page(self, path, query, member, items):
        settings = STATE.settings
        number = int(query.get("page", ["1"])[0])
        size = settings.page_size
        meta = {"current_page": number, "total": len(items), "next": None}
        if number * size < len(items):
            host = self.headers["Host"]
            scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
            prefix = {
                "below": "",
                "path": BASE,
                "absolute": f"{scheme}://{host}{BASE}",
                "elsewhere": f"{scheme}://elsewhere.example{BASE}",
                "itself": "",
            }[settings.href]
            following = number if settings.href == "itself" else number + 1
            if settings.href == "itself" and number == 1:
                following = 2  # whose next page is itself
            meta["next"] = {"href": f"{prefix}{path}?page={following}"}
        return 200, {member: items[(number - 1) * size : number * size], "meta": meta}

    def advance(self):
        """Time passes for pending addresses, counted in lists."""
        for item in STATE.reservations.values():
            if item.get("state") != "pending" or STATE.settings.pending_lists < 0:
                continue
            item["_lists"] = item.get("_lists", 0) + 1
            if item["_lists"] < STATE.settings.pending_lists:
                continue
            item["state"] = "denied" if STATE.settings.denied else "created"
            if not STATE.settings.denied:
                item["address"] = self.next_address()

    @staticmethod
    def next_address():
        pool = ipaddress.ip_network(STATE.settings.pool)
        STATE.reserved += 1
        return str(pool[STATE.reserved % pool.num_addresses])

    def reserve(self, body):
        settings = STATE.settings
        if self.headers.get("Content-Type") != "application/json":
            self.violation(f"Content-Type is {self.headers.get('Content-Type')}")
        try:
            asked = json.loads(body)
        except ValueError:
            self.violation("body is not JSON")
            return 422, {"errors": ["body is not JSON"]}
        expected = {
            "type": "public_ipv4",
            "quantity": 1,
            "facility": settings.facility,
            "fail_on_approval_required": True,
        }
        for name, value in expected.items():
            if asked.get(name) != value or isinstance(asked.get(name), bool) != isinstance(value, bool):
                if name == "facility":
                    return 422, {"errors": [f"'{asked.get(name)}' is not a valid facility"]}
                self.violation(f"{name} is {asked.get(name)!r}")
        tags = asked.get("tags", [])
        if set(asked) - set(expected) - {"tags"} or not re.search(r"(?m)^slb:[0-9a-f-]{36}$", "\n".join(tags)):
            self.violation(f"body is {asked}")
        if len(STATE.reservations) >= settings.pool_size:
            return 422, {"errors": [f"There are no addresses left in {settings.facility}"]}
        item = {"id": str(uuid.uuid4()), "tags": tags, "facility": {"code": settings.facility}}
        if settings.pending_lists != 0:
            item["state"] = "pending"
        else:
            item["address"] = self.next_address()
        STATE.reservations[item["id"]] = item
        return 201, dict(item)

    # --- The control -----------------------------------------------------------------------------

    def control(self, body):
        with STATE.lock:
            asked = json.loads(body) if body else {}
            if asked.get("reset"):
                STATE.reset()
            for name, value in asked.get("set", {}).items():
                assert hasattr(STATE.settings, name), name
                setattr(STATE.settings, name, value)
            STATE.devices = asked.get("devices", STATE.devices)
            STATE.neighbours = asked.get("neighbours", STATE.neighbours)
            for item in asked.get("reserve", []):
                item = {"id": str(uuid.uuid4()), **item}
                STATE.reservations[item["id"]] = item
            if "fault" in asked:
                STATE.faults.append(Fault(**asked["fault"]))
            if asked.get("mend"):
                STATE.faults = []
            state = {
                "reservations": list(STATE.reservations.values()),
                "requests": STATE.requests,
                "violations": STATE.violations,
            }
        self.answer(200, state)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A client that goes away, or does not trust us, is what tests are about."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class TlsServer(Server):
    def __init__(self, address, handler, certificate, key):
        super().__init__(address, handler)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)

    def finish_request(self, request, client_address):
        """The handshake is the thread's business, not the listener's."""
        with self.context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)


def self_signed(folder, address):
    """A certificate that is its own authority; its path, and the key's."""
    certificate, key = f"{folder}/ca.pem", f"{folder}/key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=standin", "-addext", f"subjectAltName=IP:{address}",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", action="store_true", help="with a certificate nobody signed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slb-standin-") as folder:
        where = (options.address, options.port)
        ca = None
        if options.tls:
            ca, key = self_signed(folder, options.address)
            server = TlsServer(where, Api, ca, key)
        else:
            server = Server(where, Api)
        origin = f"{'https' if options.tls else 'http'}://{options.address}:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"url": origin + BASE, "control": origin + "/control", "ca": ca}), flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
