# SPDX-License-Identifier: GPL-2.0-only
"""Many clients, slow ones, ones that go away, and the server's own start and end."""
import concurrent.futures
import os
import select
import socket
import subprocess
import time

import pytest

from harness import BUILD, TOP, finish, get, post, read_answers, wait_until


def is_open(sock):
    """Whether the server has left this connection open."""
    if not select.select([sock], [], [], 0)[0]:
        return True
    try:
        return sock.recv(1, socket.MSG_PEEK) != b""
    except ConnectionError:
        return False


# --- requests that wait for core -----------------------------------------------------------------


def test_suspended_connections_hold_up_nobody(server):
    """libmicrohttpd 0.9.75 can pass over connections while others are suspended: requests on
    connections from before and after must not notice."""
    before = [server.connect() for _ in range(10)]
    held = [server.connect() for _ in range(30)]
    for i, sock in enumerate(held):
        sock.sendall(post({"port": 80, "name": f"hold {i}"}))
    wait_until(lambda: len(server.balancers()) == 30)
    after = [server.connect() for _ in range(10)]
    slowest_s = 0
    for _ in range(20):
        for sock in before + after:
            start = time.monotonic()
            sock.sendall(get())
            assert read_answers(sock, 1, 5)[0][0].status == 200
            slowest_s = max(slowest_s, time.monotonic() - start)
    assert slowest_s < 0.5  # a connection passed over would wait for the next second
    assert all(is_open(sock) for sock in held)
    server.create(name="release")
    for i, sock in enumerate(held):
        (answer,), _, _ = read_answers(sock, 1, 5)
        assert (answer.status, answer.json["name"]) == (201, f"hold {i}")
    for sock in before + held + after:
        sock.sendall(get())
        assert read_answers(sock, 1, 5)[0][0].status == 200
        sock.close()


def test_answers_as_core_gives_them(server):
    """The later request is answered first when core says so."""
    slow = server.ask_later("POST", "/loadbalancer", {"port": 80, "name": "late 1500"})
    time.sleep(0.2)
    start = time.monotonic()
    server.create(name="late 50")
    assert time.monotonic() - start < 1 and slow.poll() is None
    assert finish(slow).json["name"] == "late 1500"


def test_16_clients(server):
    """Each creates, changes, fills and deletes its own, over one connection."""

    def client(number):
        kept = []
        with server.connect() as sock:

            def ask(data):
                sock.sendall(data)
                return read_answers(sock, 1, 10)[0][0]

            for i in range(25):
                name = f"{'late 3 ' if i % 3 else ''}{number}-{i}"
                balancer = ask(post({"port": 80, "name": name}))
                assert (balancer.status, balancer.json["name"]) == (201, name)
                path = f"/loadbalancer/{balancer.json['uuid']}"
                backend = ask(post({"ip": "192.0.2.1", "port": 1}, path=f"{path}/backend"))
                assert backend.status == 201
                assert ask(post({"weight": 5}, path=f"{path}/backend/{backend.json['uuid']}", method="PATCH")).json["weight"] == 5
                assert ask(get(path)).json["backends"][0]["weight"] == 5
                assert ask(post("{", path=path, method="PATCH")).status == 400
                if i % 2:
                    assert ask(post("", path=path, method="DELETE")).status == 204
                else:
                    kept.append(balancer.json["uuid"])
        return kept

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        kept = [uuid for uuids in pool.map(client, range(16)) for uuid in uuids]
    assert {balancer["uuid"] for balancer in server.balancers()} == set(kept)
    assert len(kept) == 16 * 13


def test_16_curls(server):
    curls = [server.ask_later("POST", "/loadbalancer", {"port": 80 + i}) for i in range(16)]
    assert {finish(curl).json["port"] for curl in curls} == set(range(80, 96))


# --- clients that go away ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ("close", "reset", "half"))
def test_gone_while_pending(server, how):
    """The change is made all the same. (For libmicrohttpd who sends no more is gone: no answer.)"""
    socks = [server.connect() for _ in range(20)]
    for i, sock in enumerate(socks):
        sock.sendall(post({"port": 80, "name": f"hold {i}"}))
    wait_until(lambda: len(server.balancers()) == 20)
    for sock in socks:
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if how == "half":
            sock.shutdown(socket.SHUT_WR)
        else:
            sock.close()
    time.sleep(0.1)
    server.create(name="release")
    assert len(server.balancers()) == 21


def test_gone_in_the_middle(server):
    data = post({"port": 80, "name": "x" * 200})
    for cut in range(1, len(data), 7):
        with server.connect() as sock:
            sock.sendall(data[:cut])
    for _ in range(10):
        with server.connect() as sock:
            sock.sendall(get("/loadbalancers"))
    assert server.balancers() == []


def test_gone_while_reading_a_list(start):
    server = start("-n", "6000x10")
    for _ in range(5):
        with server.connect(receive_buffer=4096) as sock:
            sock.sendall(get("/loadbalancers") + get("/metrics"))
            sock.recv(1000)
    assert server.ask("GET", "/healthz").status == 200


# --- slow clients, and too many ------------------------------------------------------------------


def test_slowloris(start):
    """Clients that trickle a request are cut off, whether or not they keep sending."""
    server = start("-r", "1000")
    trickle = [server.connect() for _ in range(20)]
    silent = [server.connect() for _ in range(5)]
    body = server.connect()
    body.sendall(post("x" * 100)[:-100])
    begin = time.monotonic()
    while any(is_open(sock) for sock in trickle + silent + [body]):
        for sock in trickle:
            try:
                sock.send(b"G" if time.monotonic() - begin < 0.1 else b"E")
            except OSError:
                pass
        assert server.ask("GET", "/healthz").status == 200
        assert time.monotonic() - begin < 5
    assert time.monotonic() - begin > 0.9


def test_waiting_for_core_is_no_slowness(start):
    server = start("-r", "1000")
    assert server.create(name="late 2500")["name"] == "late 2500"


def test_slow_reader(start):
    """Who does not take an answer within the limit is cut off, though a byte is taken now and then."""
    server = start("-s", "1000", "-n", "6000x10")
    files = f"/proc/{server.process.pid}/fd"
    before = len(os.listdir(files))
    with server.connect(receive_buffer=4096) as sock:
        sock.sendall(get("/loadbalancers"))
        begin = time.monotonic()
        sock.recv(1000)
        assert len(os.listdir(files)) == before + 1
        while len(os.listdir(files)) > before:
            sock.recv(1000)
            time.sleep(0.05)
            assert time.monotonic() - begin < 5
    assert len(server.balancers()) == 6000


def test_one_client_cannot_take_all_places(start):
    server = start("-m", "40", "-c", "10")
    mine = [server.connect() for _ in range(30)]
    wait_until(lambda: sum(map(is_open, mine)) == 10)
    assert all(is_open(sock) for sock in mine[-10:])  # the longest waiting gave way
    other = server.connect(source="127.0.0.2")
    other.sendall(get())
    assert read_answers(other, 1)[0][0].status == 200
    assert sum(map(is_open, mine)) == 10


def test_all_places_taken(start):
    """Whoever waits longest gives way; who is being served does not."""
    server = start("-m", "20", "-c", "10")
    held = server.connect(source="127.0.0.9")
    held.sendall(post({"port": 80, "name": "hold"}))
    wait_until(lambda: len(server.balancers()) == 1)
    crowd = [server.connect(source=f"127.0.1.{i % 30 + 1}") for i in range(100)]
    wait_until(lambda: sum(map(is_open, crowd)) <= 19)
    assert server.create(name="release")
    assert read_answers(held, 1)[0][0].status == 201


def test_all_places_at_work(start):
    server = start("-m", "5")
    held = [server.connect() for _ in range(5)]
    for sock in held:
        sock.sendall(post({"port": 80, "name": "hold"}))
    time.sleep(0.3)
    with server.connect() as sock:
        sock.sendall(get())
        answers, closed, _ = read_answers(sock, 1, 3)
        assert answers == [] and closed
    assert all(is_open(sock) for sock in held)


def test_out_of_descriptors(start):
    """No busy loop, and service goes on when there are some again."""
    server = start()
    files = f"/proc/{server.process.pid}/fd"
    limit = len(os.listdir(files)) + 5
    subprocess.run(["prlimit", f"--pid={server.process.pid}", f"--nofile={limit}"], check=True)
    socks = [server.connect() for _ in range(20)]
    time.sleep(1)

    def cpu():
        fields = open(f"/proc/{server.process.pid}/stat").read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu()
    time.sleep(2)
    assert cpu() - before < 0.5
    for sock in socks:
        sock.close()
    assert server.ask("GET", "/healthz").status == 200


# --- start and end -------------------------------------------------------------------------------


def test_listens_on_both_families(start):
    server = start()
    assert server.listening == f"0.0.0.0:{server.port}, [::]:{server.port}"
    for host in ("127.0.0.1", "[::1]"):
        done = subprocess.run(["curl", "-sSg", f"http://{host}:{server.port}/healthz"], capture_output=True)
        assert done.stdout == b'{"status":"ok"}\n'


def test_without_ipv6(start, tmp_path):
    """In a namespace where IPv6 is switched off."""
    script = f"""
        sysctl -qw net.ipv6.conf.all.disable_ipv6=1
        {BUILD}/server-asan -p 10001 > {tmp_path}/out & server=$!
        sleep 1; kill $server; wait $server"""
    done = subprocess.run(["unshare", "-n", "bash", "-c", script], cwd=TOP)
    assert done.returncode == 0
    assert (tmp_path / "out").read_text().startswith("0.0.0.0:10001")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:"),
        ("127.0.0.3:0", "127.0.0.3:"),
        ("::1", "[::1]:"),
        ("[::1]", "[::1]:"),
        ("[::1]:0", "[::1]:"),
    ],
)
def test_listen_addresses(start, address, expected):
    server = start("-l", address)
    assert server.listening.startswith(expected)
    assert server.ask("GET", "/healthz").status == 200


def test_several_listen_addresses(start):
    server = start("-l", "127.0.0.4", "-l", "127.0.0.5", "-l", "[::1]")
    assert server.listening.count(", ") == 2
    for where in server.listening.split(", "):
        done = subprocess.run(["curl", "-sSg", f"http://{where}/healthz"], capture_output=True)
        assert done.stdout == b'{"status":"ok"}\n'


def refused(*options):
    done = subprocess.run([BUILD / "server-asan", *options], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1, done
    number, sentence = done.stdout.strip().split(" ", 1)
    return int(number), sentence


BAD_ADDRESSES = ["", "localhost", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:-1"]
BAD_ADDRESSES += ["[::1", "::1]", "[::1]x", "[::1]:", "[127.0.0.1]:80", "1.2.3", "[]:80", ":80", "*"]
BAD_ADDRESSES += ["x" * 300, "[" + ":" * 300 + "]", "127.0.0.1:00000080"]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_listen_addresses_that_are_none(address):
    number, sentence = refused("-l", address)
    assert number == -22 and "is no address to listen on; write" in sentence


def test_listen_on_what_is_not_here():
    number, sentence = refused("-l", "192.0.2.1:10001")
    assert number == -99 and "192.0.2.1:10001" in sentence and "ip address" in sentence


@pytest.mark.parametrize("address", ("0.0.0.0", "127.0.0.1", "::", "[::1]"))
def test_address_in_use(start, address):
    server = start()
    number, sentence = refused("-l", address, "-p", str(server.port))
    assert number == -98 and f":{server.port}" in sentence and "--port" in sentence
    assert server.ask("GET", "/healthz").status == 200


def test_second_server_on_the_same_port(start):
    server = start()
    assert refused("-p", str(server.port))[0] == -98


def test_restart_on_the_same_port(start):
    """Connections in TIME_WAIT are in nobody's way."""
    server = start()
    port = server.port
    with server.connect() as sock:
        sock.sendall(get("/healthz", "Connection: close"))
        read_answers(sock)
    server.stop()
    assert start("-p", str(port)).ask("GET", "/healthz").status == 200


def test_stop_finishes_what_is_under_way(start):
    server = start()
    idle = server.connect()
    pending = server.ask_later("POST", "/loadbalancer", {"port": 80, "name": "late 1000"})
    wait_until(lambda: len(server.balancers()) == 1)
    server.begin_stop()
    answer = finish(pending)
    assert (answer.status, answer.json["name"]) == (201, "late 1000")
    server.stop()
    assert not is_open(idle)


def test_stop_does_not_wait_for_ever(start):
    server = start()
    pending = [
        server.ask_later("POST", "/loadbalancer", {"port": 80, "name": f"hold {i}"}) for i in range(5)
    ]
    wait_until(lambda: len(server.balancers()) == 5)
    begin = time.monotonic()
    server.begin_stop()
    for process in pending:
        answer = finish(process)
        assert (answer.status, answer.error["code"]) == (503, "unavailable")
    server.stop()
    assert 4 < time.monotonic() - begin < 9


def test_stop_with_clients_of_every_kind(start):
    server = start("-n", "6000x10")
    reading = server.connect(receive_buffer=4096)
    reading.sendall(get("/loadbalancers"))
    reading.recv(1000)
    half = server.connect()
    half.sendall(post("x" * 100)[:-50])
    held = server.connect()
    held.sendall(post({"port": 80, "name": "hold"}))
    gone = server.connect()
    gone.sendall(post({"port": 80, "name": "hold"}))
    time.sleep(0.2)
    gone.close()
    server.stop()


def test_no_wakeups_without_clients(start):
    """Nothing runs while nobody is connected."""
    server = start()
    server.ask("GET", "/healthz")
    time.sleep(2.5)

    def switches():
        lines = open(f"/proc/{server.process.pid}/status").read().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    before = switches()
    time.sleep(2.5)
    assert switches() - before <= 1
