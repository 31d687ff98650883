# SPDX-License-Identifier: GPL-2.0-only
"""Everything that can happen to a node, at random, under load; bounded, for `make check`."""
import importlib.machinery
import importlib.util
import os
import pathlib
import random
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SEED = int(os.environ.get("SLB_CHAOS_SEED", random.SystemRandom().randrange(1 << 31)))


def load_walk():
    loader = importlib.machinery.SourceFileLoader("walk", str(HERE / "walk"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("walk", loader))
    loader.exec_module(module)
    return module


walk = load_walk()


def run(*argv):
    options = walk.options_of([*argv])
    began = time.monotonic()
    done, result, failures = walk.walk(options, print)
    print(walk.summary(options.seed, time.monotonic() - began, done, result, failures))
    return done, result, failures


@pytest.mark.parametrize("datapath, topology, seconds", [
    ("auto", "l2", 60), ("tc", "l2", 25), ("auto", "routed", 25),
])
def test_random_walk(datapath, topology, seconds):
    """SLB_CHAOS_SEED repeats one."""
    done, result, failures = run(
        "--seed", str(SEED), "--seconds", str(seconds),
        "--datapath", datapath, "--topology", topology,
    )
    assert not failures, f"seed {SEED}: {failures}"
    assert sum(done.values()) >= seconds / 6
    assert result["counts"]["requests"] > 20 * seconds


def test_twenty_kills_in_a_minute():
    """0 failures out of 20,000 connections and more, none late: nothing is even retransmitted."""
    done, result, failures = run("--seconds", "52", "--only", "killed", "--pause", "0.8")
    assert not failures
    assert done["killed"] >= 20
    assert result["counts"]["requests"] >= 20_000
    assert result["counts"].get("asked again", 0) == 0


def test_a_known_defect_is_found():
    """A daemon that begins anew at a start instead of adopting: the oracle must tell."""
    _, result, failures = run("--seconds", "10", "--only", "killed", "--defect", "--stop")
    assert failures
    assert any("ConnectionRe" in error for error in result["errors"]), failures
