# SPDX-License-Identifier: GPL-2.0-only
"""Every kernel of the matrix boots, and is what the design says of it: what eBPF, IPVS and netfilter it has.

guest/facts.py finds the facts by doing. Should a newer package change one of them, this says so before a datapath fails on it.
"""

import json

import pytest

from conftest import in_guest
from vmlib import HERE, kernels

# What every kernel must do.
EVERYWHERE = [
    *("ipvs_rr", "ipvs_wrr", "ipvs_sh", "ipvs_mh", "ipvs_lc", "ipvs_v6"),
    *("nft_masquerade", "iptables_masquerade", "ip6tables_masquerade"),
    *("veth", "dummy", "bridge", "vlan", "macvlan", "tun", "pktgen"),
]

# In the order of the table's columns: 5.10, 6.1, 6.12, newest, filtered, nobpf.
COLUMNS = ("5.10", "6.1", "6.12", "newest", "filtered", "nobpf")
DIFFERENT = {
    "bpf": (True, True, True, True, "ENOSYS", "ENOSYS"),
    "ringbuf": (True, True, True, True, "ENOSYS", "ENOSYS"),
    "btf": (True, True, True, True, True, False),
    "atomic_fetch": ("EINVAL", True, True, True, "ENOSYS", "ENOSYS"),
    "frags": ("EINVAL", True, True, True, "ENOSYS", "ENOSYS"),
    "tcx": ("EINVAL", "EINVAL", True, True, "ENOSYS", "ENOSYS"),
    # Maps count against RLIMIT_MEMLOCK before 5.11.
    "small_memlock": ("EPERM", True, True, True, "ENOSYS", "ENOSYS"),
}


def ask(kernel):
    run = in_guest(kernel, ["python3", "/root/facts.py"], files=[(HERE / "guest/facts.py", "/root/facts.py")])
    assert run.status == 0, run.text
    return json.loads(run.text.splitlines()[-1])


@pytest.fixture
def facts(kernel, once_per_kernel):
    return once_per_kernel("facts", kernel, ask)


def test_boots(kernel, facts):
    if kernel[0].isdigit():
        assert facts["release"].startswith(kernel + ".")
    else:
        assert facts["release"]


@pytest.mark.parametrize("name", [kernel.name for kernel in kernels.KERNELS.values() if kernel.is_built])
def test_is_built(request, name):
    """Stands in the count of skipped tests for all those that wait for this kernel."""
    if not request.config.getoption("kernels") and not kernels.is_cached(name):
        pytest.skip(f"kernel {name} is not built here: `make test-vm K={name}` builds it, in some minutes")


@pytest.mark.parametrize("fact", EVERYWHERE)
def test_everywhere(facts, fact):
    assert facts[fact] is True


@pytest.mark.parametrize("fact", DIFFERENT)
def test_different(kernel, facts, fact):
    assert facts[fact] == DIFFERENT[fact][COLUMNS.index(kernel)]
