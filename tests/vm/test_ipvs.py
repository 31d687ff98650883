# SPDX-License-Identifier: GPL-2.0-only
"""What slb's lowest step stands on: on every kernel, IPVS with NAT and masquerade carries connections, round robin."""

from vmlib import HERE


def test_nat_and_masquerade(kernel, in_guest):
    script = HERE / "guest" / "ipvs-nat.sh"
    run = in_guest(kernel, ["bash", "/root/ipvs-nat.sh"], files=[(script, "/root/ipvs-nat.sh")])
    assert run.status == 0
    answers = [line for line in run.text.splitlines() if line in ("one", "two")]
    assert sorted(answers) == ["one"] * 3 + ["two"] * 3
    assert "10.2.0.11:8080" in run.text
