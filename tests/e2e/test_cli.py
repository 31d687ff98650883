# SPDX-License-Identifier: GPL-2.0-only
"""The command line: what is wrong is said in a sentence, before anything is changed."""
import os
import shutil

import pytest

import harness

POOL = "10.80.96.85-10.80.96.90"
GOOD = ("--arp", "--adapter", "eth0", "--ipamRange", POOL)

WRONG = {
    "unknown command": (("serve",), "serve"),
    "unknown flag": (("server", *GOOD, "--colour", "red"), "--colour"),
    "flag without value": (("server", "--arp", "--ipamRange", POOL, "--adapter"), "--adapter"),
    "stray argument": (("server", *GOOD, "more"), "more"),
    "flag twice": (("server", *GOOD, "--adapter", "eth1"), "--adapter"),
    "nothing to announce by": (("server", *GOOD[1:]), "--arp"),
    "no range": (("server", "--arp", "--adapter", "eth0"), "--ipamRange"),
    "no adapter": (("server", "--arp", "--ipamRange", POOL), "--adapter"),
    "range of nothing": (("server", *GOOD[:-1], "nonsense"), "nonsense"),
    "range backwards": (("server", *GOOD[:-1], "10.80.96.90-10.80.96.85"), "10.80.96.90"),
    "range half": (("server", *GOOD[:-1], "10.80.96.85-"), "10.80.96.85"),
    "prefix too long": (("server", *GOOD[:-1], "10.80.96.0/33"), "10.80.96.0/33"),
    "port 0": (("server", *GOOD, "--port", "0"), "--port"),
    "port 65536": (("server", *GOOD, "--port", "65536"), "--port"),
    "port no number": (("server", *GOOD, "--port", "http"), "--port"),
    "log format": (("server", *GOOD, "--log-format", "xml"), "--log-format"),
    "log level": (("server", *GOOD, "--log-level", "loud"), "--log-level"),
    "datapath": (("server", *GOOD, "--datapath", "magic"), "--datapath"),
    "on exit": (("server", *GOOD, "--on-exit", "explode"), "--on-exit"),
    "listen": (("server", *GOOD, "--api-listen", "nowhere"), "--api-listen"),
}


@pytest.fixture
def slb(lab, tmp_path):
    return harness.Slb(lab, tmp_path)


def node(lab):
    """All that slb might change on a node."""
    links = lab.run("node", ["ip", "-d", "address", "show", "dev", "eth0"]).stdout
    sysctls = lab.run("node", ["sysctl", "-ar", r"^net\.ipv4"], check=False).stdout
    return links, sysctls, os.listdir(lab.bpf_path)


def check_refused(done, statuses, word):
    assert done.returncode in statuses, done
    assert word in done.stderr, done
    assert len(done.stderr.splitlines()) <= 3, "a sentence, not the whole usage"
    assert done.stdout == ""


@pytest.mark.parametrize(("argv", "word"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_ends_with_2(slb, lab, argv, word, tmp_path):
    before = node(lab)
    state = ["--state-dir", tmp_path / "state"] if argv[:1] == ("server",) else []
    # In front, so that a flag without its value stays the last word.
    done = slb.run(*argv[:1], *state, *argv[1:])
    check_refused(done, (2,), word)
    assert node(lab) == before
    assert not (tmp_path / "state").exists()


def test_no_command_shows_the_commands(slb):
    done = slb.run()
    assert done.returncode == 2
    assert "server" in done.stdout + done.stderr


def test_an_adapter_that_does_not_exist(slb, lab, tmp_path):
    before = node(lab)
    flags = ["--arp", "--adapter", "nosuch0", "--ipamRange", POOL]
    done = slb.run("server", *flags, "--state-dir", tmp_path / "state")
    check_refused(done, (1, 2), "nosuch0")
    assert node(lab) == before


def test_a_missing_privilege(slb, lab, tmp_path):
    program = tmp_path / "slb"
    shutil.copy(harness.binary(), program)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to("/tmp/"):
            folder.chmod(0o755)
    before = node(lab)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "server"]
    done = lab.run("node", [*command, *GOOD, "--state-dir", tmp_path / "state"], check=False)
    check_refused(done, (1, 2), "root")
    assert node(lab) == before


def test_a_second_server_is_refused(fresh_slb, lab):
    first = fresh_slb("--ipamRange", POOL)
    done = first.run(*[str(word) for word in first.command()[1:]])
    assert done.returncode == 1
    assert done.stderr
    assert first.is_up(), "the first server must not notice"


@pytest.mark.parametrize(
    "argv", (["help"], ["--help"], ["help", "server"], ["server", "--help"]), ids=" ".join
)
def test_help(slb, argv):
    done = slb.run(*argv)
    assert (done.returncode, done.stderr) == (0, "")
    assert "server" in done.stdout
    if "server" in argv:
        for flag in ("--adapter", "--arp", "--ipamRange", "--port", "--state-dir", "--on-exit"):
            assert flag in done.stdout


def test_version(slb):
    done = slb.run("version")
    assert (done.returncode, done.stderr) == (0, "")
    version = (harness.TOP / "user/VERSION").read_text().strip()
    assert version in done.stdout


def test_listening_on_one_address_only(fresh_slb, lab):
    fresh_slb("--ipamRange", POOL, "--api-listen", "10.80.96.2")
    local = ["curl", "-sS", "-m", "2", "http://127.0.0.1:10001/healthz"]
    assert lab.run("node", local, check=False).returncode == 7  # refused


def test_listening_on_another_port(fresh_slb, lab):
    fresh_slb("--ipamRange", POOL, "--api-listen", "0.0.0.0", "--api-listen", "[::1]:10002")
    other = ["curl", "-sSg", "-m", "2", "http://[::1]:10002/healthz"]
    assert lab.run("node", other, check=False).returncode == 0
