# SPDX-License-Identifier: GPL-2.0-only
"""A running API server, and ways to talk to it."""
import dataclasses
import json
import pathlib
import signal
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build/tests/api"
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict  # names in small letters
    body: bytes
    interim: list = dataclasses.field(default_factory=list)  # statuses such as 100

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        error = self.json["error"]
        assert set(self.json) == {"error"} and set(error) == {"code", "message", "field"}
        assert error["message"], error
        return error


def parse_answers(data):
    """Every whole answer in what a connection brought, and what was left over."""
    answers, interim = [], []
    while b"\r\n\r\n" in data:
        head, rest = data.split(b"\r\n\r\n", 1)
        status_line, *lines = head.decode().split("\r\n")
        status = int(status_line.split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (l.partition(":") for l in lines)}
        if status < 200:
            interim.append(status)
            data = rest
            continue
        if headers.get("transfer-encoding") == "chunked":
            body, rest = parse_chunks(rest)
            if body is None:
                break
        else:
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                break
            body, rest = rest[:length], rest[length:]
        answers.append(Answer(status, headers, body, interim))
        data, interim = rest, []
    return answers, data


def parse_chunks(data):
    body = b""
    while b"\r\n" in data:
        line, data = data.split(b"\r\n", 1)
        length = int(line, 16)
        if len(data) < length + 2:
            return None, b""
        body, data = body + data[:length], data[length + 2 :]
        if length == 0:
            return body, data
    return None, b""


class Server:
    def __init__(self, program, options=()):
        command = [program, *(["-p", "0"] if "-p" not in options else []), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.stopping = False
        self.listening = self.process.stdout.readline().strip()
        where = self.listening.split(",")[0].split(" ")[0]
        self.host, _, port = where.rpartition(":")
        self.host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(self.host, self.host)
        self.port = int(port) if port.isdigit() else None
        self.base = f"http://{self.host}:{self.port}"

    def begin_stop(self):
        if not self.stopping and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.stopping = True

    def stop(self, timeout_s=20):
        """Ends the server; a sanitizer's report or a handle left open fails the test."""
        self.begin_stop()
        try:
            _, said = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.returncode == 0, said
        return said

    # --- by curl

    def command(self, method, path, body=None, *options):
        command = ["curl", "-sS", "-i", "--raw", "-g", "-m", "20", "-X", method, *options]
        if method == "HEAD":
            command[command.index("-X") : command.index("-X") + 2] = ["-I"]
        if body is not None:
            command += ["--data-binary", "@-"]
        return [*command, self.base + path]

    def ask(self, method, path, body=None, *options):
        done = subprocess.run(
            self.command(method, path, body, *options),
            input=encode(body) if body is not None else None,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        if method == "HEAD":
            done.stdout = done.stdout.replace(b"Transfer-Encoding: chunked", b"X: chunked")
            done.stdout = done.stdout.replace(b"Content-Length", b"X-Length")
        answers, rest = parse_answers(done.stdout)
        assert len(answers) == 1 and not rest, done.stdout
        return answers[0]

    def ask_later(self, method, path, body=None, *options):
        """The curl process; finish() gives its answer."""
        process = subprocess.Popen(
            self.command(method, path, body, *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if body is not None:
            process.stdin.write(encode(body))
        process.stdin.close()
        process.stdin = None
        return process

    def create(self, **members):
        answer = self.ask("POST", "/loadbalancer", {"port": 80, **members})
        assert answer.status == 201, answer
        return answer.json

    def add_backend(self, balancer, ip="192.0.2.1", port=80):
        answer = self.ask("POST", f"/loadbalancer/{balancer['uuid']}/backend", {"ip": ip, "port": port})
        assert answer.status == 201, answer
        return answer.json

    def balancers(self):
        return self.ask("GET", "/loadbalancers").json

    # --- by socket

    def connect(self, receive_buffer=None, source=None):
        host = self.host.strip("[]")
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.settimeout(20)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        sock.connect((host, self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def talk(self, data):
        """Sends bytes, and reads until the server closes or is silent after whole answers."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_answers(sock)


def encode(body):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    return body.encode() if isinstance(body, str) else body


def finish(process):
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    answers, rest = parse_answers(out)
    assert len(answers) == 1 and not rest, out
    return answers[0]


def read_answers(sock, count=None, silence_s=0.5):
    """(answers, whether the server closed, what is no whole answer). Stops at `count`."""
    data, closed = b"", False
    sock.settimeout(silence_s)
    try:
        while count is None or len(parse_answers(data)[0]) < count:
            piece = sock.recv(65536)
            if not piece:
                closed = True
                break
            data += piece
    except socket.timeout:
        pass
    except ConnectionResetError:
        closed = True
    answers, rest = parse_answers(data)
    return answers, closed, rest


def get(path="/healthz", *headers, version="1.1"):
    lines = [f"GET {path} HTTP/{version}", "Host: here", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post(body, *headers, path="/loadbalancer", method="POST"):
    body = encode(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def wait_until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within time"
        time.sleep(0.02)
