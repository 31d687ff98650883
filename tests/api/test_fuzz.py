# SPDX-License-Identifier: GPL-2.0-only
"""Random input: libFuzzer on the codecs, seeded random bytes at the running server.

SLB_FUZZ_SEED and SLB_FUZZ_SECONDS repeat or lengthen a run; the seed is in what a failure prints.
"""
import json
import os
import random
import subprocess

from harness import TOP, get, post
from test_bodies import BACKEND_MEMBERS, MEMBERS, UNREADABLE, encode_case

SEED = int(os.environ.get("SLB_FUZZ_SEED") or random.randrange(1 << 31))
SECONDS = int(os.environ.get("SLB_FUZZ_SECONDS") or 20)


def test_codecs(tmp_path):
    for number, body in enumerate(
        [*UNREADABLE.values(), *(b for b, _ in MEMBERS.values()), *(b for b, _ in BACKEND_MEMBERS.values())]
    ):
        for kind in (b"\0", b"\1", b"\2", b"\3"):
            (tmp_path / f"{number}-{kind[0]}").write_bytes(kind + encode_case(body)[:4096])
    command = [TOP / "build/tests/fuzz/api_decode_fuzz", f"-max_total_time={SECONDS}", f"-seed={SEED}"]
    command += ["-max_len=4096", f"-artifact_prefix={tmp_path}/", tmp_path]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS + 60)
    assert done.returncode == 0, done.stderr[-4000:].decode(errors="replace")


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 20)))
        elif kind == 1:
            del data[at : at + rng.randrange(1, 20)]
        elif kind == 2 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        else:
            other = rng.randrange(len(data) + 1)
            data[at:at] = data[other : other + rng.randrange(1, 40)]
    return bytes(data)


def test_random_bytes_at_the_server(server):
    """Nothing but whole answers or silence, and service goes on."""
    rng = random.Random(SEED)
    balancer = server.create(name="x")
    path = f"/loadbalancer/{balancer['uuid']}"
    chunked = get(path, "Transfer-Encoding: chunked").replace(b"GET", b"PATCH") + b"2\r\n{}\r\n0\r\n\r\n"
    seeds = [
        get("/loadbalancers"),
        get("/metrics") + get("/healthz"),
        post({"port": 80, "name": "y", "protocol": "udp"}),
        post({"ip": "192.0.2.1", "port": 80}, path=f"{path}/backend"),
        post({"name": "z"}, path=path, method="PATCH"),
        post("", "Expect: 100-continue"),
        chunked,
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        get(f"{path}/backend/{path[14:]}"),
    ]
    for round_number in range(400):
        data = mutate(rng, rng.choice(seeds)) if round_number % 10 else rng.randbytes(rng.randrange(3000))
        with server.connect() as sock:
            sock.settimeout(0.03)
            seen = b""
            try:
                sock.sendall(data)
                while piece := sock.recv(65536):
                    seen += piece
            except OSError:
                pass
        assert seen == b"" or seen.startswith(b"HTTP/1."), (SEED, round_number, data, seen)
    assert server.ask("GET", "/healthz").status == 200, SEED
    assert json.loads(server.ask("GET", "/loadbalancers").body)[0]["uuid"], SEED
