# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command for which bpf(2) does not exist: a seccomp filter answers ENOSYS, as a kernel without eBPF does.
With `--errno EPERM` before the command it answers as a policy that forbids eBPF does.

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


def filter_with(error):
    return (
        statement(LOAD_WORD, 0, 0, OFFSET_OF_NUMBER)
        + statement(JUMP_EQUAL, 0, 1, SYS_BPF)
        + statement(RETURN, 0, 0, RET_ERRNO | error)
        + statement(RETURN, 0, 0, RET_ALLOW)
    )


def main():
    error, command = errno.ENOSYS, sys.argv[1:]
    if command[0] == "--errno":
        error, command = getattr(errno, command[1]), command[2:]
    answers = filter_with(error)
    instructions = ctypes.create_string_buffer(answers, len(answers))
    program = struct.pack("HxxxxxxQ", len(answers) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")
    os.execvp(command[0], command)


main()
