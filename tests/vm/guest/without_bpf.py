# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command for which bpf(2) does not exist: a seccomp filter answers ENOSYS, as a kernel without eBPF does.

Documentation/userspace-api/seccomp_filter.rst. The filter is classic BPF and needs no bpf(2) itself.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SYS_BPF = 321  # x86-64
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
OFFSET_OF_NUMBER = 0


def statement(code, jump_true, jump_false, value):
    return struct.pack("HBBI", code, jump_true, jump_false, value)


FILTER = (
    statement(LOAD_WORD, 0, 0, OFFSET_OF_NUMBER)
    + statement(JUMP_EQUAL, 0, 1, SYS_BPF)
    + statement(RETURN, 0, 0, RET_ERRNO | errno.ENOSYS)
    + statement(RETURN, 0, 0, RET_ALLOW)
)


def main():
    instructions = ctypes.create_string_buffer(FILTER, len(FILTER))
    program = struct.pack("HxxxxxxQ", len(FILTER) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")
    os.execvp(sys.argv[1], sys.argv[1:])


main()
