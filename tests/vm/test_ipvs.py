# SPDX-License-Identifier: GPL-2.0-only
"""What slb's lowest step stands on: on every kernel, IPVS with NAT and masquerade carries connections, round robin."""

import pytest

from conftest import in_guest
from vmlib import HERE

SCRIPT = HERE / "guest" / "ipvs-nat.sh"


def carry(kernel):
    return in_guest(kernel, ["bash", "/root/ipvs-nat.sh"], files=[(SCRIPT, "/root/ipvs-nat.sh")])


@pytest.fixture
def carried(kernel, once_per_kernel):
    return once_per_kernel("carried", kernel, carry)


def test_nat_and_masquerade(carried):
    assert carried.status == 0, carried.text
    answers = [line for line in carried.text.splitlines() if line in ("one", "two")]
    assert sorted(answers) == ["one"] * 3 + ["two"] * 3, carried.text
    assert "10.2.0.11:8080" in carried.text
