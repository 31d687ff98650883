# SPDX-License-Identifier: GPL-2.0-only
import os
import subprocess

import pytest

from bgp_lab import TOP, Lab


@pytest.fixture(scope="session", autouse=True)
def driver():
    """Builds bgp_driver, with the sanitizers."""
    subprocess.run(["make", "-s", "-C", TOP, "build/tests/e2e/bgp/bgp_driver"], check=True)


@pytest.fixture
def lab():
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    lab = Lab()
    try:
        yield lab
    finally:
        lab.close()
