# SPDX-License-Identifier: GPL-2.0-only
"""The kernel matrix: kernels, the initramfs they boot, and the guests that run them.

kernels.py   the table, fetching and unpacking of kernels
initramfs.py archives made of this machine's files
cpio.py      the archive format
guest.py     one run of qemu
"""

import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent.parent
TOP = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("SLB_VM_CACHE", TOP / "build" / "vm"))


class VmError(Exception):
    """What failed, on what, and what to do about it: one sentence for the person who runs the tests."""


def table(name):
    """The lines of tests/vm/<name>, split into words, without comments and blank lines."""
    lines = (HERE / name).read_text().splitlines()
    rows = (line.split("#", 1)[0].split() for line in lines)
    return [row for row in rows if row]
