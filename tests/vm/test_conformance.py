# SPDX-License-Identifier: GPL-2.0-only
"""slb on every kernel: which datapath it takes by itself, how its XDP program is attached, and the conformance cases on all
datapaths that the kernel has. One boot for each kernel and datapath; the cases are those of tests/conformance.
"""

import json
import subprocess

import pytest

from conftest import in_guest
from vmlib import TOP

RUN = TOP / "tests/conformance/run"


def names(datapath):
    done = subprocess.run([RUN, "--list", "--datapath", datapath], check=True, capture_output=True, text=True)
    return done.stdout.split()


CASES = {datapath: names(datapath) for datapath in ("xdp", "tc", "ipvs")}
TIMEOUT_S = 600

# What --datapath auto takes.
TAKEN = {"filtered": "ipvs", "nobpf": "ipvs"}
# Datapaths to ask for beside it: on the oldest and the newest kernel all of them, between them nothing can change that
# does not show on one of these.
FURTHER = {"5.10": ("tc", "ipvs"), "newest": ("tc", "ipvs")}


def taken(kernel):
    return TAKEN.get(kernel, "xdp")


def files():
    """The guest has the parts of the source tree that the cases use, and slb, in the same places."""
    guest = "/root/slb"
    paths = ("slb", "tools", "tests/e2e/harness.py", "tests/e2e/traffic.py", "tests/conformance")
    library = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    libbpf = next(line.split()[-1] for line in library.splitlines() if "libbpf.so.1 " in line)
    return [(TOP / path, f"{guest}/{path}") for path in paths] + [(libbpf, libbpf)]


def conform(kernel):
    """Runs of all datapaths of a kernel, in one guest: {datapath asked for: {case: result, "facts": …}}."""
    script = "for d in %s; do echo \"run $d\"; python3 slb/tests/conformance/run --datapath $d --expect ${d/auto/%s}; done"
    asked = ("auto", *FURTHER.get(kernel, ()))
    command = ["bash", "-c", script % (" ".join(asked), taken(kernel))]
    run = in_guest(kernel, command, files=files(), timeout_s=TIMEOUT_S * len(asked))
    runs, now = {"said": run.text}, None
    for line in run.text.splitlines():
        if line.startswith("run "):
            now = runs.setdefault(line.split()[1], {})
        elif line.startswith("{") and now is not None:
            result = json.loads(line)
            now[result.get("case", "facts")] = result
    return runs


@pytest.fixture
def conformed(request, kernel, once_per_kernel):
    if not request.config.getoption("kernels"):
        pytest.skip("minutes for each kernel: runs when kernels are named")
    return once_per_kernel("conformed", kernel, conform)


@pytest.mark.parametrize("case", CASES["ipvs"])
def test_case(kernel, conformed, case):
    """A case of IPVS alone passes on a kernel where IPVS was not asked for."""
    for asked, results in conformed.items():
        if asked == "said" or case not in CASES[taken(kernel) if asked == "auto" else asked]:
            continue
        assert case in results, f"--datapath {asked} ended before it:\n{conformed['said'][-4000:]}"
        assert results[case]["passed"], f"--datapath {asked}:\n{results[case]['why']}"


def test_datapath_taken(kernel, conformed):
    facts = conformed["auto"]["facts"]["facts"]
    assert {device["datapath"] for device in facts["devices"]} == {taken(kernel)}
    if taken(kernel) == "ipvs":
        assert "bpf(2)" in facts["devices"][0]["reasons"][0]


# Where the verifier refuses slb's program as an extension of libxdp's dispatcher (ebpf_attach.c says why), it is alone.
WITHOUT_DISPATCHER = ("5.10", "6.12", "newest")


def test_dispatcher(kernel, conformed):
    expected = {"ipvs": None, "xdp": "slb_xdp" if kernel in WITHOUT_DISPATCHER else "xdp_dispatcher"}
    assert conformed["auto"]["facts"]["facts"]["xdp_program"] == expected[taken(kernel)]


# --- limits that only other kernels have ---------------------------------------------------------

FEW = "takes_the_datapath round_robin_is_exact statistics"
LIMITS = {
    # Maps count against it, and neither slb nor libbpf may raise it: tables get smaller.
    "memlock": ("5.10", "", f"ulimit -l 8192; setpriv --bounding-set=-sys_resource python3 {{run}} {FEW}"),
    "lockdown": ("newest", "lockdown=confidentiality", f"cat /sys/kernel/security/lockdown; python3 {{run}} {FEW}"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_limit(request, limit):
    kernel, append, script = LIMITS[limit]
    if not request.config.getoption("kernels") or kernel not in [chosen.name for chosen in request.config.chosen_kernels]:
        pytest.skip(f"kernel {kernel} was not asked for")
    script = script.format(run="slb/tests/conformance/run --expect xdp")
    run = in_guest(kernel, ["bash", "-c", script], files=files(), append=append, timeout_s=TIMEOUT_S)
    assert run.status == 0, run.text
    assert limit != "lockdown" or "[confidentiality]" in run.text
