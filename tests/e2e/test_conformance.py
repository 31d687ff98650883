# SPDX-License-Identifier: GPL-2.0-only
"""The conformance cases on every datapath this machine has; tests/vm runs them on other kernels, and on IPVS."""

import json
import pathlib
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
RUN = TOP / "tests/conformance/run"
DATAPATHS = ("xdp", "xdp-generic", "tc")
TIMEOUT_S = 240


def names():
    done = subprocess.run([RUN, "--list", "--datapath", "xdp"], check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.fixture(scope="module", params=DATAPATHS)
def results(request):
    """One lab and one slb for all cases of a datapath."""
    command = [RUN, "--datapath", request.param]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {line["case"]: line for line in lines if "case" in line}
    return found, done.stderr


@pytest.mark.parametrize("name", names())
def test_case(results, name):
    found, said = results
    assert name in found, f"the run ended before it:\n{said}"
    assert found[name]["passed"], found[name]["why"]


def test_what_slb_does_last(results):
    """The run's own end: a clean stop of slb."""
    assert results[1] == ""
