# SPDX-License-Identifier: GPL-2.0-only
"""Programs attached the ways slb attaches its own, on every kernel that has eBPF, with traffic through them."""

import pytest

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
def attached(kernel, in_guest, once_per_kernel, bpfload, probe_objects):
    def attach():
        guest_files = [(HERE / "guest" / name, f"/root/{name}") for name in ("attach.sh", "packet.py")]
        files = [*guest_files, (bpfload, "/root/bpfload"), (probe_objects, "/root/probes")]
        run = in_guest(kernel, ["bash", "/root/attach.sh"], files=files)
        assert run.status == 0
        return dict(line.split(" ", 1) for line in run.text.splitlines() if " " in line)

    return once_per_kernel(kernel, attach)


@pytest.mark.parametrize("what", EXPECTED)
def test_attached(attached, what):
    assert attached.get(what) == EXPECTED[what]


def test_tc_keeps_large_segments(attached):
    """A rewrite must not make the kernel cut what the device would have cut."""
    assert int(attached["tc_largest_segment"]) > 16000
