# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures of the end-to-end tests. A module shares one lab and, where its tests allow it, one slb:

    TOPOLOGY = "routed"             # in a test module: its lab; "l2" when it says nothing
    FLAGS = ("--arp-probe", "0")   # in a test module: more flags for `slb`

    lab        the lab
    slb        slb with the lab's pool, running; every test finds it without load balancers
    fresh_slb  a function that starts an slb of the test's own: fresh_slb("--ipamRange", …)
    api        the API of `slb`
    backends   servers on all backends
    traffic    clients in the lab's client
"""
import pathlib
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tools")]

import harness  # noqa: E402
import testenv  # noqa: E402


def pytest_sessionstart(session):
    """SIGTERM ends the run as Ctrl-C does: fixtures are torn down, labs removed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Puts the log of every slb of a failed test under its report."""
    report = (yield).get_result()
    if report.failed:
        for slb in getattr(item, "slbs", []):
            if slb.starts:
                report.sections.append((f"log of slb, start {slb.starts}", slb.log()))


@pytest.fixture(scope="module")
def lab(request):
    topology = getattr(request.module, "TOPOLOGY", "l2")
    tag = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    with testenv.Lab(harness.lab_name(tag), topology) as made:
        yield made


@pytest.fixture(scope="module")
def slb_of_module(request, lab, tmp_path_factory):
    """What `slb` hands out; a test asks for it itself only to stop it."""
    flags = ["--arp", "--adapter", "eth0", "--ipamRange", lab.topology.pool]
    flags += getattr(request.module, "FLAGS", ())
    slb = harness.Slb(lab, tmp_path_factory.mktemp("slb"), *flags)
    slb.start()
    try:
        yield slb
        slb.stop()
    finally:
        slb.end()


@pytest.fixture
def slb(request, slb_of_module):
    request.node.slbs = [slb_of_module]
    if slb_of_module.process is None:
        slb_of_module.start()
    harness.Api(slb_of_module.lab, slb_of_module).clear()
    yield slb_of_module
    slb_of_module.expected_errors.clear()


@pytest.fixture
def fresh_slb(request, lab, tmp_path):
    """Starts an slb with given flags beside the usual ones (adapter and --arp); stopped cleanly at
    the end of the test, unless the test did so."""
    started = []

    def start(*flags):
        slb = harness.Slb(lab, tmp_path, "--arp", "--adapter", "eth0", *flags)
        started.append(slb)
        return slb.start()

    request.node.slbs = started
    try:
        yield start
        for slb in started:
            slb.stop()
    finally:
        for slb in started:
            slb.end()


@pytest.fixture
def api(slb):
    return harness.Api(slb.lab, slb)


@pytest.fixture(scope="module")
def backends(lab):
    servers = harness.Backends(lab).start()
    yield servers
    servers.stop()


@pytest.fixture
def traffic(lab):
    return harness.Traffic(lab)
