# SPDX-License-Identifier: GPL-2.0-only
"""HTTP/1.x itself: where requests end, connections that stay open, odd and hostile clients."""
import json
import time

import pytest

from harness import encode, get, post, read_answers

BODY = b'{"port":80}'
SMUGGLED = b"DELETE /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"


def statuses(server, data):
    answers, closed, rest = server.talk(data)
    return [answer.status for answer in answers], closed


# --- one connection, many requests ---------------------------------------------------------------


def test_keep_alive(server):
    with server.connect() as sock:
        for i in range(20):
            sock.sendall(post({"port": 80, "name": f"{i}"}) if i % 2 else get())
            answers, closed, _ = read_answers(sock, 1)
            assert answers[0].status == (201 if i % 2 else 200) and not closed
    assert len(server.balancers()) == 10


def test_pipelining(server):
    """Answers come in the order of the requests, whether they had to wait for core or not."""
    data = b"".join(
        post({"port": 80, "name": f"late {50 - i * 10}"}) + get("/version") for i in range(5)
    )
    answers, closed, rest = server.talk(data)
    assert [a.status for a in answers] == [201, 200] * 5 and not closed and not rest
    assert [a.json["name"] for a in answers[::2]] == [f"late {50 - i * 10}" for i in range(5)]


def test_an_error_does_not_end_the_connection(server):
    data = post("{") + get("/nothing") + post("x" * 70000) + post("{}", method="PUT") + get()
    got, closed = statuses(server, data)
    assert (got, closed) == ([400, 404, 413, 405, 200], False)


def test_http_1_0(server):
    answers, closed, _ = server.talk(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answers[0].status == 200 and closed
    server.create(name="x")
    with server.connect() as sock:
        sock.sendall(b"GET /loadbalancers HTTP/1.0\r\n\r\n")
        data = b""
        while piece := sock.recv(65536):
            data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    assert b"chunked" not in head.lower()
    assert len(json.loads(body)) == 1


def test_http_1_0_post(server):
    data = b"POST /loadbalancer HTTP/1.0\r\nContent-Length: 11\r\n\r\n" + BODY
    assert statuses(server, data) == ([201], True)


def test_connection_close(server):
    assert statuses(server, get("/healthz", "Connection: close")) == ([200], True)


def test_slow_request(server):
    """A byte at a time is slow, not wrong."""
    with server.connect() as sock:
        for byte in post(BODY):
            sock.sendall(bytes([byte]))
            time.sleep(0.002)
        assert read_answers(sock, 1)[0][0].status == 201


def test_chunks(server):
    head = b"POST /loadbalancer HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, BODY[i : i + 1]) for i in range(len(BODY)))
    assert statuses(server, head + chunks + b"0\r\n\r\n" + get()) == ([201, 200], False)
    extended = b"b;x=y\r\n" + BODY + b"\r\n0\r\nTrailer: x\r\n\r\n"
    assert statuses(server, head + extended + get()) == ([201, 200], False)


@pytest.mark.parametrize("chunk", (b"xyz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"\r\n"))
def test_broken_chunks(server, chunk):
    head = b"POST /loadbalancer HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    got, closed = statuses(server, head + chunk + BODY + b"\r\n0\r\n\r\n" + get())
    assert closed and got in ([], [400], [413])
    assert server.balancers() == []


# --- Expect: 100-continue ------------------------------------------------------------------------


def test_continue(server):
    answer = server.ask("POST", "/loadbalancer", BODY, "-H", "Expect: 100-continue")
    assert (answer.status, answer.interim) == (201, [100])


def test_continue_is_refused_before_the_body_is_sent(server):
    for request, status in (
        (post(b"", "Expect: 100-continue", path="/nothing"), 404),
        (post(b"", "Expect: 100-continue", method="PUT"), 405),
        (post(b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 70000"), 413),
        (post(b"").replace(b"Length: 0", b"Length: 99999999999"), 413),
    ):
        answers, closed, _ = server.talk(request)
        assert [a.status for a in answers] == [status] and closed
        assert answers[0].interim == [] and answers[0].headers["connection"] == "close"


# --- requests whose end is in doubt: refused, and the connection closed --------------------------

IN_DOUBT = {
    "length twice": ["Content-Length: 11", "Content-Length: 11"],
    "two lengths": ["Content-Length: 11", "Content-Length: 0"],
    "two lengths, odd case": ["Content-Length: 11", "content-LENGTH: 0"],
    "length and chunked": ["Content-Length: 11", "Transfer-Encoding: chunked"],
    "chunked and length": ["Transfer-Encoding: chunked", "Content-Length: 11"],
    "chunked twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "gzip": ["Transfer-Encoding: gzip"],
    "gzip, chunked": ["Transfer-Encoding: gzip, chunked"],
    "identity": ["Content-Length: 11", "Transfer-Encoding: identity"],
    "chunked in disguise": ["Transfer-Encoding: xchunked"],
    "host twice": ["Content-Length: 11", "Host: elsewhere"],
    "host twice, odd case": ["Content-Length: 11", "hOST: here"],
    "blank before colon": ["Content-Length : 11"],
    "tab before colon": ["Content-Length\t: 11"],
    "blank before colon of chunked": ["Content-Length: 11", "Transfer-Encoding : chunked"],
    "length with sign": ["Content-Length: +11"],
    "length negative": ["Content-Length: -11"],
    "length hexadecimal": ["Content-Length: 0xb"],
    "length list": ["Content-Length: 11, 11"],
    "length empty": ["Content-Length:"],
    "length beyond 64 bits": ["Content-Length: 99999999999999999999999"],
}


@pytest.mark.parametrize("headers", IN_DOUBT.values(), ids=IN_DOUBT)
@pytest.mark.parametrize("method", ("POST", "PATCH", "GET"))
def test_in_doubt(shared, headers, method):
    lines = [f"{method} /loadbalancer HTTP/1.1", "Host: here", *headers, "", ""]
    data = "\r\n".join(lines).encode() + BODY + SMUGGLED
    with shared.connect() as sock:
        sock.sendall(data)
        seen, deadline = b"", time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                piece = sock.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            seen += piece
        else:
            raise AssertionError("the connection was left open")
    assert seen.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")), seen
    assert b"405" not in seen and b"Method Not" not in seen, "the body was read as a request"
    assert shared.balancers() == []


def test_host(server):
    assert statuses(server, b"GET /healthz HTTP/1.1\r\n\r\n") == ([400], True)
    assert statuses(server, b"GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n")[0] == [200]


MALFORMED = {
    "no version": b"GET /healthz\r\n\r\n",
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\nHost: h\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "nothing": b"\r\n\r\n\r\n",
    "no colon": b"GET /healthz HTTP/1.1\r\nHost here\r\n\r\n",
    "nul in the path": b"GET /health\0z HTTP/1.1\r\nHost: here\r\n\r\n",
    "nul in a header": b"GET /healthz HTTP/1.1\r\nHost: here\r\nX: \0\r\n\r\n",
    "huge header": b"GET /healthz HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "huge path": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
    "huge method": b"X" * 100_000 + b" / HTTP/1.1\r\nHost: here\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed(shared, data):
    """Whatever libmicrohttpd makes of it: nothing but an error or silence, and service goes on."""
    with shared.connect() as sock:
        sock.settimeout(0.5)
        seen = b""
        try:
            sock.sendall(data)
            while piece := sock.recv(65536):
                seen += piece
        except OSError:
            pass
    assert seen == b"" or seen[9:10] in b"45" or b'"status":"ok"' in seen, seen
    assert shared.ask("GET", "/healthz").status == 200


def test_header_that_fits(server):
    assert server.ask("GET", "/healthz", None, "-H", "X: " + "x" * 12_000).status == 200


@pytest.mark.parametrize("origin", ("https://example.org", "null", ""))
def test_web_pages_change_nothing(server, origin):
    """What a browser sends for a form or fetch() of some page; curl alone sends no Origin."""
    header = ("-H", f"Origin: {origin}" if origin else "Origin;")
    made = server.ask("POST", "/loadbalancer", '{"port":80}').json["uuid"]
    for method, path in (
        ("POST", "/loadbalancer"),
        ("PATCH", f"/loadbalancer/{made}"),
        ("DELETE", f"/loadbalancer/{made}"),
    ):
        answer = server.ask(method, path, '{"port":81}', *header)
        assert answer.status == 403
        assert answer.json["error"]["code"] == "forbidden"
    assert [balancer["uuid"] for balancer in server.balancers()] == [made]
    assert server.ask("GET", "/loadbalancers", None, *header).status == 200
