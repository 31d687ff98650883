# SPDX-License-Identifier: GPL-2.0-only
"""One fault at a time: what slb says, and that packets do not notice."""
import json
import resource
import signal
import subprocess
import sys
import pathlib
import time

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]

import events  # noqa: E402
from harness import PYTHON, wait_for  # noqa: E402
from world import BINARIES, World  # noqa: E402


@pytest.fixture(scope="module")
def whole():
    with World(name="faults") as made:
        yield made


@pytest.fixture
def world(request, whole):
    """The module's world; slb runs before every test."""
    request.node.slbs = [whole.slb]
    if whole.slb.process is None:
        whole.slb.start()
    yield whole
    if whole.slb.process is not None:
        whole.slb.check_log()
    if whole.slb.expected_errors and whole.slb.process is not None:
        whole.slb.expected_errors.append("")
        whole.slb.stop_and_keep()
    whole.slb.expected_errors = []


@pytest.fixture
def load(world):
    """Runs for the test, which must leave the world served; no reply may be wrong."""
    with world.load() as running:
        events.goes_on(world, running)
        yield running
        events.goes_on(world, running)
    assert running.result["errors"] == []


def refused(world, *flags):
    """A start that must fail; what it said."""
    done = world.slb.run("server", *map(str, world.slb.command()[2:]), *flags)
    assert done.returncode == 1, done
    assert done.stderr.count("ERRO") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", sorted(events.EVENTS))
def test_one_event(world, load, name):
    """Each event of the random walk alone."""
    events.EVENTS[name](world, load, events.chance_of(1))


@pytest.mark.parametrize("name, line", [
    ("vip removed", "VIPs were taken off"),
    ("xdp program removed", "had its XDP program changed"),
    ("qdisc removed", "had its tc program removed"),
    ("pins removed", "unpinned by somebody"),
])
def test_a_repair_is_logged_once(world, load, name, line):
    world.slb.stop_and_keep()
    world.slb.start()
    events.EVENTS[name](world, load, events.chance_of(1))
    wait_for(lambda: world.slb.log_lines(line), f"a line of log: {line}")
    time.sleep(2.5)  # a reconcile later it is still one
    assert len(world.slb.log_lines(line)) == 1, world.slb.log()


def test_an_upgrade_exchanges_the_programs(world, load):
    """Another build's programs take the place of these, and these of those again."""
    tags = []
    for build in ("plain", "other programs", "plain"):
        world.slb.stop_and_keep()
        world.slb.binary = str(BINARIES[build])
        world.slb.start()
        link = json.loads(world.node("ip", "-j", "-d", "link", "show", "eth0").stdout)
        tags.append(link[0]["xdp"]["prog"]["tag"])
        events.goes_on(world, load)
    assert tags[0] != tags[1] and tags[0] == tags[2]


# --- the maps ------------------------------------------------------------------------------------


def config_bytes(world):
    done = subprocess.run(
        ["bpftool", "-j", "map", "lookup", "pinned", world.pins / "config", "key", "0", "0", "0", "0"],
        capture_output=True, text=True, check=True,
    )
    return json.loads(done.stdout)["value"]


def write_config(world, value):
    subprocess.run(
        ["bpftool", "map", "update", "pinned", world.pins / "config", "key", "0", "0", "0", "0",
         "value", *value],
        check=True,
    )


@pytest.mark.parametrize("version", [0, 99, 0xffffffff])
def test_maps_of_an_unknown_abi_are_refused_untouched(world, load, version):
    world.slb.stop_and_keep()
    good = config_bytes(world)
    strange = [f"0x{b:02x}" for b in version.to_bytes(4, sys.byteorder)] + good[4:]
    write_config(world, strange)
    try:
        said = refused(world)
        assert f"ABI version {version}" in said and "slb purge" in said
        assert [int(b, 16) for b in config_bytes(world)] == [int(b, 16) for b in strange]
        assert world.damage() == []
        events.goes_on(world, load)
    finally:
        write_config(world, good)
    world.slb.start()


def test_the_pin_directory_of_another_daemon(world, load):
    """Two daemons with state directories of their own, and the same maps."""
    home, world.slb.state_dir = world.slb.state_dir, world.folder / "other"
    try:
        said = refused(world, "--port", "10002")
    finally:
        world.slb.state_dir = home
    assert f"another slb uses the maps in {world.slb.pin_path}" in said
    assert world.damage() == []


# --- the store -----------------------------------------------------------------------------------


def test_a_locked_store(world, load):
    """Somebody holds SQLite's lock for longer than slb waits: 503 with the reason, nothing changes."""
    before = len(world.api.balancers())
    world.slb.expected_errors = ["another process has locked it"]
    code = ("import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()")
    holder = subprocess.Popen(
        [PYTHON, "-c", code, world.slb.state_dir / "slb.db"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    try:
        assert holder.stdout.readline() == "locked\n"
        answer = world.api.ask("POST", "/loadbalancer", {"port": 999})
        assert answer.status == 503 and "locked" in answer.json["error"]["message"], answer
    finally:
        holder.communicate("")
    assert len(world.api.balancers()) == before
    world.api.delete(world.api.create(port=999))


def test_a_full_disk(world, load, tmp_path):
    """507 with the reason; all that was there stays; once there is space it works again."""
    world.slb.stop_and_keep()
    home, disk = world.slb.state_dir, tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "slb-test", disk], check=True)
    try:
        subprocess.run(["cp", "-a", f"{home}/.", disk], check=True)
        world.slb.state_dir = disk
        world.slb.expected_errors = ["disk is full"]
        world.slb.start()
        filler = disk / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True)
        before = len(world.api.balancers())
        answers = []

        def create():
            # The log has room for a few more.
            answers.append(world.api.ask("POST", "/loadbalancer", {"port": 2000 + len(answers)}))
            return answers[-1].status != 201

        wait_for(create, "the disk to be full", 30)
        assert answers[-1].status == 507 and "disk is full" in answers[-1].json["error"]["message"]
        assert len(world.api.balancers()) == before + len(answers) - 1
        events.goes_on(world, load)
        filler.unlink()
        for balancer in world.api.balancers()[before:]:
            world.api.delete(balancer)
        world.slb.stop_and_keep()
        subprocess.run(["cp", "-a", f"{disk}/.", home], check=True)
    finally:
        world.slb.end()
        world.slb.state_dir = home
        subprocess.run(["umount", "--lazy", disk], check=True)
    world.slb.start()


def test_a_read_only_state_directory(world, load):
    world.slb.stop_and_keep()
    home = world.slb.state_dir
    subprocess.run(["mount", "--bind", home, home], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", home], check=True)
        said = refused(world)
        assert "ead-only" in said
        assert world.damage() == []
    finally:
        subprocess.run(["umount", "--lazy", home], check=True)
    world.slb.start()


def test_a_damaged_store(world):
    """Said, and not touched, while packets go on; moved aside only when told so."""
    with world.load() as load:
        events.goes_on(world, load)
        world.slb.stop_and_keep()
        database = world.slb.state_dir / "slb.db"
        whole = database.read_bytes()
        damaged = whole[:2048] + bytes(2048) + b"\xff" * 4096 + whole[8192:]
        database.write_bytes(damaged)
        said = refused(world)
        assert "is damaged" in said and "--store-reset" in said
        assert database.read_bytes() == damaged
        assert world.damage() == []
        events.goes_on(world, load)
        assert load.finish()["errors"] == []
    world.slb.expected_errors = ["is damaged", "The damaged store is now"]
    world.slb.flags.insert(0, "--store-reset")
    try:
        world.slb.start()
        assert world.api.balancers() == []
        assert len(world.slb.log_lines("ERRO")) == 2
        aside = [p for p in world.slb.state_dir.glob("slb.db.damaged-*") if p.suffix[-1].isdigit()]
        assert aside[0].read_bytes() == damaged
        wait_for(lambda: not any(v in " ".join(world.slb.addresses()) for v in world.vips),
                 "VIPs of nobody to be taken off")
        world.slb.stop_and_keep()
    finally:
        world.slb.flags.remove("--store-reset")
        world.slb.end()
    for name in ("slb.db-wal", "slb.db-shm"):
        (world.slb.state_dir / name).unlink(missing_ok=True)
    database.write_bytes(whole)
    world.slb.start()
    assert len(world.api.balancers()) == len(world.balancers)


# --- descriptors ---------------------------------------------------------------------------------


def test_no_descriptors_left(world, load):
    """The API cannot accept any more; packets go on, and so does the API afterwards."""
    pid = world.slb.process.pid
    used = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, former[1]))
    try:
        code = ("import socket, sys\n"
                f"held = [socket.create_connection(('{world.slb.address}', 10001)) for _ in range(20)]\n"
                "print('held', flush=True); sys.stdin.read()")
        holder = world.lab.popen("client", [PYTHON, "-c", code], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "held\n"
        events.goes_on(world, load)
        holder.communicate("")
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, former)
    wait_for(world.slb.is_up, "the API to answer again")
    world.api.delete(world.api.create(port=998))


# --- the end -------------------------------------------------------------------------------------


def test_drain(world):
    """New clients are refused, those there are may finish; then everything goes."""
    world.slb.stop_and_keep()
    world.slb.flags[-1:] = ["drain", "--drain-timeout", "30"]
    world.slb.start()
    try:
        host, port = world.vips[0], 6443
        code = ("import socket, sys\n"
                f"s = socket.create_connection(('{host}', {port}))\n"
                "s.sendall(b'GET /slow/4 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
                "print(s.recv(1) and 'begun', flush=True)\n"
                "text = b''\n"
                "while part := s.recv(4096): text += part\n"
                "print(len(text.partition(b'\\r\\n\\r\\n')[2]), flush=True)")
        client = world.lab.popen("client", [PYTHON, "-c", code], stdout=subprocess.PIPE, text=True)
        assert client.stdout.readline() == "begun\n"
        world.slb.process.send_signal(signal.SIGTERM)
        wait_for(lambda: world.slb.log_lines("Draining"), "the drain to begin")
        late = world.lab.run("client", ["curl", "-s", "-m", "1", f"http://{host}:{port}/"],
                             check=False)
        assert late.returncode != 0
        assert int(client.communicate(timeout=20)[0]) == 40 * len("b1\n")
        assert world.slb.process.wait(timeout=35) == 0
        assert world.slb.log_lines("All connections have ended")
        assert not any(vip in " ".join(world.slb.addresses()) for vip in world.vips)
        assert not world.pins.exists()
        world.slb.check_log()
    finally:
        world.slb.end()
        world.slb.flags[-3:] = ["keep"]


def test_drain_has_an_end(world):
    world.slb.stop_and_keep()
    world.slb.flags[-1:] = ["drain", "--drain-timeout", "1"]
    world.slb.start()
    try:
        code = f"import socket, time; s = socket.create_connection(('{world.vips[0]}', 7)); time.sleep(9)"
        client = world.lab.popen("client", [PYTHON, "-c", code])
        wait_for(lambda: world.api.balancers()[1]["traffic"]["connections"], "the connection")
        world.slb.process.send_signal(signal.SIGTERM)
        assert world.slb.process.wait(timeout=8) == 0
        assert world.slb.log_lines("have not ended in 1 s")
        client.kill()
        client.wait()
    finally:
        world.slb.end()
        world.slb.flags[-3:] = ["keep"]
