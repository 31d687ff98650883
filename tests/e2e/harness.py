# SPDX-License-Identifier: GPL-2.0-only
"""harness: slb in a lab, the API through real curl, backends, and traffic. conftest.py makes
fixtures of it; a test imports it only for types and helpers such as wait_for().

Nothing here sleeps for a fixed time: it waits for a condition, with a deadline, and says what it
waited for when that passes.
"""
import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import testenv

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
TRAFFIC = TOP / "tests/e2e/traffic.py"
LABSERVER = TOP / "tools/labserver"
PYTHON = "/usr/bin/python3"
API_PORT = 10001
START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 15

Answer = collections.namedtuple("Answer", "status headers body json")


def wait_for(condition, what, timeout_s=10.0, pause_s=0.02):
    """Waits until condition() is true and returns what it returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain for {what}")
        time.sleep(pause_s)


def binary():
    """What is tested: SLB_BINARY, or the program with sanitizers, or ./slb."""
    chosen = os.environ.get("SLB_BINARY")
    candidates = [chosen] if chosen else [TOP / "build/slb-asan", TOP / "slb"]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise AssertionError(f"{candidates[0]} is not built; `make build-tests` builds it")


# --- slb -----------------------------------------------------------------------------------------


class Slb:
    """One `slb server` in the lab's node. It keeps its state directory over restarts; flags are
    given as on the command line."""

    def __init__(self, lab, folder, *flags, member="node"):
        self.lab = lab
        self.member = member
        self.folder = pathlib.Path(folder)
        self.flags = list(flags)
        self.binary = binary()  # a test that upgrades changes it between two starts
        self.process = None
        self.starts = 0
        self.path_first = ""  # before PATH: "FOLDER:"
        self.expected_errors = []  # patterns of ERRO lines that a test provokes
        self.address = lab.topology.member(member).ports[0].addresses[0].partition("/")[0]
        self.state_dir = self.folder / "state"
        self.pin_path = pathlib.Path("/sys/fs/bpf/slb")  # in the node, the lab's own

    @property
    def log_path(self):
        return self.folder / f"slb-{self.starts}.log"

    def command(self, *flags):
        own = ["--state-dir", self.state_dir, "--pin-path", self.pin_path]
        return [self.binary, "server", *own, *self.flags, *flags]

    def start(self, *flags):
        assert self.process is None, "slb runs already"
        self.starts += 1
        with open(self.log_path, "w") as log:
            self.process = self.lab.popen(
                self.member, self.command(*flags), stderr=log, stdout=log, env=self._environment()
            )
        wait_for(self.is_up, f"the API of slb to answer; {self.log_path}", START_TIMEOUT_S)
        return self

    @contextlib.contextmanager
    def without_program(self, name):
        """While in it, an slb that is started finds no program of this name that works."""
        hiding = self.folder / "hiding"
        hiding.mkdir(exist_ok=True)
        (hiding / name).write_text(f"#!/bin/sh\necho {name} is hidden >&2\nexit 1\n")
        (hiding / name).chmod(0o755)
        self.path_first = f"{hiding}:"
        try:
            yield
        finally:
            self.path_first = ""

    def _environment(self):
        environment = self.lab.environment(self.member)
        return {
            **environment,
            "PATH": self.path_first + environment["PATH"],
            "ASAN_OPTIONS": "exitcode=99",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"slb ended with status {self.process.returncode}:\n{self.log()}"
            )
        url = f"http://{self.address}:{API_PORT}/healthz"
        done = self.lab.run("client", ["curl", "-sf", "-m", "2", url], check=False)
        return done.returncode == 0

    def log(self):
        return self.log_path.read_text(errors="replace")

    def log_lines(self, pattern):
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def stop(self, status=0):
        """A clean stop: status 0, no sanitizer's report, no error in the log."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            ended = process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"slb does not end on SIGTERM:\n{self.log()}") from None
        assert ended == status, f"slb ended with status {ended}:\n{self.log()}"
        self.check_log()

    def stop_and_keep(self):
        """A clean stop that leaves everything working."""
        assert "keep" in self.flags
        self.stop()

    def kill(self):
        """As a crash does it."""
        process, self.process = self.process, None
        process.kill()
        process.wait()
        self.check_log()

    def check_log(self):
        log = self.log()
        for mark in ("AddressSanitizer", "LeakSanitizer", "runtime error:"):
            assert mark not in log, f"a sanitizer reports:\n{log}"
        errors = [
            line
            for line in self.log_lines(r"^ERRO\[|level=error|\"level\":\"error\"")
            if not any(re.search(pattern, line) for pattern in self.expected_errors)
        ]
        assert not errors, f"slb logged errors:\n{log}"

    def end(self):
        """Clean-up after a test that may have failed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def run(self, *argv, member=None, timeout=8):
        """Runs slb with other arguments and gives the ended process."""
        return self.lab.run(
            member or self.member,
            [self.binary, *argv],
            check=False,
            timeout=timeout,
            env=self._environment(),
        )

    # Looking at the node

    def addresses(self, device="eth0"):
        """The addresses on a device, as `10.80.96.85/32`."""
        done = self.lab.run(self.member, ["ip", "-j", "address", "show", "dev", device])
        return [f"{a['local']}/{a['prefixlen']}" for a in json.loads(done.stdout)[0]["addr_info"]]

    def xdp_mode(self, device="eth0"):
        """How a program is attached: "driver", "generic", or None."""
        done = self.lab.run(self.member, ["ip", "-j", "-d", "link", "show", "dev", device])
        xdp = json.loads(done.stdout)[0].get("xdp") or {"mode": 0}
        return {0: None, 1: "driver", 2: "generic"}.get(xdp["mode"], xdp["mode"])

    def sysctl(self, name):
        return self.lab.run(self.member, ["sysctl", "-n", name]).stdout.strip()

    def mac(self, device="eth0"):
        done = self.lab.run(self.member, ["ip", "-j", "link", "show", "dev", device])
        return json.loads(done.stdout)[0]["address"]


# --- The API -------------------------------------------------------------------------------------


class Api:
    """The API, asked by curl from another member of the lab. `ask` returns an Answer whatever the
    status; the verbs below it are for what must succeed."""

    def __init__(self, lab, slb, member="client"):
        self.lab = lab
        self.base = f"http://{slb.address}:{API_PORT}"
        self.member = member

    def ask(self, method, path, body=None, *options):
        """`body` is sent as it is when text or bytes, as JSON otherwise."""
        command = ["curl", "-sS", "-i", "-m", "10", "-X", method, *options, self.base + path]
        data = None
        if body is not None:
            text = body if isinstance(body, (str, bytes)) else json.dumps(body)
            data = text.encode() if isinstance(text, str) else text
            command[1:1] = ["-H", "Expect:", "--data-binary", "@-"]
        done = subprocess.run(
            self.lab.command(self.member, command),
            input=data or b"",
            capture_output=True,
            timeout=20,
        )
        assert done.returncode == 0, f"{method} {path}: {done.stderr.decode()}"
        return parse_answer(done.stdout)

    def get(self, path):
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def create(self, port=6443, name="test loadbalancer", **fields):
        answer = self.ask("POST", "/loadbalancer", {"name": name, "port": port, **fields})
        assert answer.status == 201, answer
        return answer.json

    def add_backend(self, balancer, ip, port=6443, **fields):
        path = f"/loadbalancer/{balancer['uuid']}/backend"
        answer = self.ask("POST", path, {"ip": ip, "port": port, **fields})
        assert answer.status == 201, answer
        return answer.json

    def delete(self, balancer, backend=None):
        path = f"/loadbalancer/{balancer['uuid']}"
        path += f"/backend/{backend['uuid']}" if backend else ""
        answer = self.ask("DELETE", path)
        assert answer.status == 204, answer

    def balancers(self):
        return self.get("/loadbalancers")

    def clear(self):
        for balancer in self.balancers():
            self.delete(balancer)


def parse_answer(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = None
    return Answer(int(status.split()[1]), headers, body, decoded)


# --- Backends and traffic ------------------------------------------------------------------------


class Backends:
    """labserver on every backend: HTTP on 6443, echo on 7."""

    HTTP = 6443
    ECHO = 7

    def __init__(self, lab):
        self.lab = lab
        self.addresses = dict(lab.topology.backends)
        self.processes = {}

    def start(self, *names):
        for name in names or self.addresses:
            command = [LABSERVER, "--name", name, "--http", self.HTTP, "--echo", self.ECHO]
            self.processes[name] = self.lab.popen(name, command, stdout=subprocess.PIPE, text=True)
        for name in names or self.addresses:
            assert self.processes[name].stdout.readline() == "ready\n", f"no server on {name}"
        return self

    def stop(self, *names):
        for name in names or list(self.processes):
            process = self.processes.pop(name)
            process.terminate()
            process.wait(timeout=10)
            process.stdout.close()


class Traffic:
    """traffic.py in the client."""

    def __init__(self, lab, member="client"):
        self.lab = lab
        self.member = member

    def _ended(self, *argv, timeout=60):
        done = self.lab.run(self.member, [PYTHON, "-B", TRAFFIC, *argv], timeout=timeout)
        return json.loads(done.stdout)

    def get(self, url, count, concurrency=50, timeout=60):
        counts = ["--count", count, "--concurrency", concurrency]
        return self._ended("get", url, *counts, timeout=timeout)

    def udp(self, host, port, count=1, rounds=1, size=0):
        return self._ended(
            "udp", host, port, "--count", count, "--rounds", rounds, "--size", size
        )

    @contextlib.contextmanager
    def _running(self, *argv):
        process = self.lab.popen(
            self.member,
            [PYTHON, "-B", TRAFFIC, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running = Running(process)
        try:
            assert process.stdout.readline() == "running\n", f"{argv[0]} does not get going"
            yield running
        finally:
            running.close()

    def load(self, url, concurrency=10, pause=0.01):
        """Requests without end, until the context is left; `.end()` gives the numbers."""
        return self._running("load", url, "--concurrency", concurrency, "--pause", pause)

    def hold(self, host, port, count=20, pause=0.02):
        """Connections that stay and carry bytes all the time."""
        return self._running("hold", host, port, "--count", count, "--pause", pause)


class Running:
    def __init__(self, process):
        self.process = process

    def now(self):
        """The numbers up to now."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        """Ends the traffic and gives its numbers."""
        self.process.stdin.close()
        result = json.loads(self.process.stdout.readline())
        self.process.wait(timeout=30)
        return result

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Capture:
    """tcpdump in a member; lines as tcpdump prints them."""

    def __init__(self, lab, member, expression, device="eth0"):
        self.process = lab.popen(
            member,
            ["tcpdump", "-lnne", "--immediate-mode", "-i", device, *expression.split()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen = []
        for line in self.process.stderr:
            if line.startswith("listening on"):
                break
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = ""

    def lines(self):
        """What has been seen up to now."""
        with contextlib.suppress(BlockingIOError, TypeError):
            self._rest += os.read(self.process.stdout.fileno(), 1 << 20).decode()
        *whole, self._rest = self._rest.split("\n")
        self.seen += whole
        return self.seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=10)
        self.process.stdout.close()
        self.process.stderr.close()


def lab_name(tag):
    return f"e2e-{os.getpid()}-{tag}"[: testenv.MAX_NAME]
