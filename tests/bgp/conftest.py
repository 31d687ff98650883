# SPDX-License-Identifier: GPL-2.0-only
import os
import signal

import pytest

from bgp_lab import DRIVER, Lab


def pytest_sessionstart(session):
    """SIGTERM ends the run as Ctrl-C does: fixtures are torn down, labs removed."""
    del session
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if not os.path.exists(DRIVER):
        pytest.exit(f"{DRIVER} is not built; `make test-bgp` builds it", returncode=2)


@pytest.fixture
def lab():
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    lab = Lab()
    try:
        yield lab
    finally:
        lab.close()
