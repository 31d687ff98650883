# SPDX-License-Identifier: GPL-2.0-only
"""Programs attached the ways slb attaches its own, on every kernel that has eBPF, with traffic through them."""

import pytest

from conftest import in_guest
from vmlib import HERE

pytestmark = pytest.mark.needs_bpf

EXPECTED = {
    "run_xdp": "10.77.0.2:8080 right",
    "run_tc": "10.77.0.2:8080 right",
    "tc_offload": "same",
    "tc_plain": "same",
    "xdp_device": "xdp_dispatcher native",
    "xdp_programs": "probe_csum_in probe_spin_lock",
    "xdp_ping": "ok",
}


@pytest.fixture
def attached(kernel, once_per_kernel, bpfload, probe_objects):
    def attach(name):
        files = [(HERE / "guest" / script, f"/root/{script}") for script in ("attach.sh", "packet.py")]
        files += [(bpfload, "/root/bpfload"), (probe_objects, "/root/probes")]
        run = in_guest(name, ["bash", "/root/attach.sh"], files=files)
        assert run.status == 0, run.text
        answers = dict(line.split(" ", 1) for line in run.text.splitlines() if " " in line)
        return answers | {"all": run.text}

    return once_per_kernel("attached", kernel, attach)


@pytest.mark.parametrize("what", EXPECTED)
def test_attached(attached, what):
    assert attached.get(what) == EXPECTED[what], attached["all"]


def test_tc_keeps_large_segments(attached):
    """A rewrite must not make the kernel cut what the device would have cut."""
    assert int(attached["tc_largest_segment"]) > 16000
