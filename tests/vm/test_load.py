# SPDX-License-Identifier: GPL-2.0-only
"""Every eBPF object of slb loads on every kernel that has eBPF; so does what the design takes for granted, one probe each.

Objects are found by name, build/bpf/*.bpf.o, and loaded as they are, with the defaults of their tunables. One boot per kernel
serves all tests. What a kernel cannot do is named in CANNOT with the verifier's words, and is expected to fail.
"""

import re

import pytest

from conftest import in_guest
from vmlib import HERE, TOP

pytestmark = pytest.mark.needs_bpf
# Room for a preallocated map of two million entries.
MEMORY_MB = 1024

PROBES = sorted(path.name.removesuffix(".bpf.c") for path in (HERE / "probes").glob("*.bpf.c"))
OBJECTS = sorted(path.name.removesuffix(".bpf.c") for path in (TOP / "bpf").glob("*.bpf.c"))

# (probe or object, kernel) → what the refusal must say.
CANNOT = {
    ("atomic_fetch", "5.10"): "BPF_STX uses reserved fields",
    ("bpf_loop", "5.10"): "Invalid argument|invalid func|unrecognized bpf_ld_imm64 insn",
    ("global_struct", "5.10"): "type PTR in hash.. is not supported yet",
    ("inner_spin_lock", "5.10"): "524",
    ("inner_spin_lock", "6.1"): "524",
}


class Loaded:
    """The loader's words: the programs of each object, and why the others were refused."""

    def __init__(self, text):
        self.text = text
        self.programs = {}
        self.refused = {}
        name = None
        for line in text.splitlines():
            if line.startswith("ok "):
                name, program = line.split()[1:3]
                self.programs.setdefault(name, []).append(program)
            elif line.startswith("failed "):
                name = line.split()[1].rstrip(":")
                self.refused[name] = line
            elif line.startswith(" ") and name in self.refused:
                self.refused[name] += "\n" + line

    def check(self, name, refusal=None):
        if refusal is None:
            assert name not in self.refused, self.refused[name]
            assert name in self.programs, f"{name} was not loaded:\n{self.text}"
        else:
            assert name in self.refused, f"{name} loads now: take it out of CANNOT"
            assert re.search(refusal, self.refused[name]), self.refused[name]


@pytest.fixture
def loaded(kernel, once_per_kernel, bpfload, probe_objects, product_objects):
    def load(name):
        files = [(bpfload, "/root/bpfload"), (probe_objects, "/root/probes")]
        files += [(product_objects, "/root/objects")] if product_objects.is_dir() else []
        command = ["bash", "-c", "shopt -s nullglob; ./bpfload probes/*.bpf.o objects/*.bpf.o"]
        return Loaded(in_guest(name, command, files=files, memory_mb=MEMORY_MB).text)

    return once_per_kernel("loaded", kernel, load)


@pytest.mark.parametrize("hook", ("xdp", "tc"))
@pytest.mark.parametrize("probe", PROBES)
def test_probe(kernel, loaded, probe, hook):
    loaded.check(f"{probe}_{hook}.bpf.o", CANNOT.get((probe, kernel)))


@pytest.mark.parametrize("name", OBJECTS)
def test_object(kernel, loaded, name, product_objects):
    if not (product_objects / f"{name}.bpf.o").exists():
        pytest.fail(f"build/bpf/{name}.bpf.o is not built; run `make` first")
    loaded.check(f"{name}.bpf.o", CANNOT.get((name, kernel)))
