# SPDX-License-Identifier: GPL-2.0-only
"""Options and fixtures of the kernel matrix. `-K 5.10,6.1` names kernels; without it, all of tests/vm/kernels.

A test that takes `kernel` runs once for each. A guest takes some seconds to boot, so tests that look at different sides
of one run share it: see `once_per_kernel`.
"""

import concurrent.futures
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from vmlib import CACHE, HERE, TOP, VmError, guest, kernels  # noqa: E402
from vmlib.lock import locked  # noqa: E402

def pytest_addoption(parser):
    parser.addoption("-K", action="append", dest="kernels", default=[], help="kernels, separated by commas")


def pytest_configure(config):
    config.addinivalue_line("markers", "needs_bpf: runs on kernels that have eBPF only")
    asked = [name for option in config.getoption("kernels") for name in option.split(",")]
    try:
        chosen = [kernels.find(name) for name in asked]
    except VmError as error:
        raise pytest.UsageError(str(error)) from None
    # What must be built first, and takes minutes, is run when asked for or when it is there.
    config.chosen_kernels = chosen or [
        kernel for kernel in kernels.KERNELS.values() if not kernel.is_built or kernels.is_cached(kernel.name)
    ]


def pytest_generate_tests(metafunc):
    if "kernel" not in metafunc.fixturenames:
        return
    needs_bpf = metafunc.definition.get_closest_marker("needs_bpf")
    names = [kernel.name for kernel in metafunc.config.chosen_kernels if kernel.has_bpf or not needs_bpf]
    metafunc.parametrize("kernel", names, scope="session")


@pytest.fixture(scope="session")
def any_kernel(request):
    """For what does not depend on the kernel: the first of those chosen."""
    return request.config.chosen_kernels[0].name


class Run:
    """What became of a command in a guest."""

    def __init__(self, status, output):
        self.status = status
        self.output = output

    @property
    def text(self):
        return self.output.decode(errors="replace")


def in_guest(kernel, command, **options):
    """Runs a command in a guest; returns the Run. For whoever is called by once_per_kernel."""
    pieces = []
    status = guest.run(kernel, command, pieces.append, **options)
    return Run(status, b"".join(pieces))


@pytest.fixture(scope="session")
def once_per_kernel(request):
    """once_per_kernel(fixture, kernel, make) → make(kernel), which is called once for each kernel.

    The first call starts them all, as many at a time as there are processors: a guest keeps one busy. Only kernels for
    which a selected test uses the fixture are started.
    """
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    begun = {}

    def get(fixture, kernel, make):
        if fixture not in begun:
            items = [item for item in request.session.items if fixture in item.fixturenames]
            wanted = dict.fromkeys(item.callspec.params["kernel"] for item in items)
            begun[fixture] = {name: pool.submit(make, name) for name in wanted}
        return begun[fixture][kernel].result()

    yield get
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def bpfload():
    """The loader for guests, compiled."""
    program, source = CACHE / "bpfload", HERE / "guest" / "bpfload.c"
    with locked(CACHE / "probes"):
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            flags = ["-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"]
            subprocess.run(["gcc", *flags, "-o", f"{program}.new", source, "-lbpf"], check=True)
            os.rename(f"{program}.new", program)
    return program


@pytest.fixture(scope="session")
def probe_objects():
    """Every probe built for both hooks; their folder."""
    directory = CACHE / "probes"
    machine = os.uname().machine
    with locked(directory):
        for source in (HERE / "probes").glob("*.bpf.c"):
            name = source.name.removesuffix(".bpf.c")
            cpu = "v3" if name == "atomic_fetch" else "v2"
            for hook in ("xdp", "tc"):
                flags = ["-target", "bpf", f"-mcpu={cpu}", *"-O2 -g -Wall -Wextra -Werror -Wno-unused-parameter".split()]
                includes = [f"-I/usr/include/{machine}-linux-gnu"]
                out = directory / f"{name}_{hook}.bpf.o"
                subprocess.run(
                    ["clang", *flags, *includes, f"-DHOOK_{hook.upper()}", "-c", "-o", out, source], check=True
                )
                subprocess.run(["llvm-strip", "-g", out], check=True)
    return directory


@pytest.fixture(scope="session")
def product_objects():
    """The folder of slb's own eBPF objects."""
    return TOP / "build" / "bpf"
