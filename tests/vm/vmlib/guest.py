# SPDX-License-Identifier: GPL-2.0-only
"""One run of a command in a guest, under software emulation.

The guest has two serial lines: the kernel's console, kept for when a boot fails, and the command's output between two marks.
qemu is a child that dies with this process and is killed when the second mark is read, at the latest when time is up.
Nothing is written to disk: the archives are put together in memory.
"""

import os
import re
import secrets
import select
import subprocess
import tempfile
import time

from . import HERE, VmError, initramfs, kernels

QEMU = "qemu-system-x86_64"
# cx16 off: `-cpu max` was seen to panic now and then in the slab allocator, this never. rdrand: the guest has random
# numbers at once.
CPU = "Nehalem,-cx16,+rdrand"
KERNEL_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 reboot=t rdinit=/init tsc=reliable no_timer_check mitigations=off random.trust_cpu=on"
)
WITHOUT_BPF = HERE / "guest" / "without_bpf.py"
BOOT_TIMEOUT_S = 90
TIMED_OUT = 124


class BootFailed(VmError):
    """The guest ended, or stood still, before the command was started."""


def _memory_file(name, parts):
    """A file in memory with all parts, and the path by which a child that inherits it can open it."""
    fd = os.memfd_create(name)
    with os.fdopen(os.dup(fd), "wb") as stream:
        for part in parts:
            stream.write(part)
    return fd, f"/proc/self/fd/{fd}"


def _qemu(image, initrd, console, memory_mb, cpus, append):
    # fmt: off
    return [
        "setpriv", "--pdeathsig", "KILL", QEMU,
        "-accel", "tcg", "-machine", "q35", "-cpu", CPU, "-smp", str(cpus), "-m", str(memory_mb),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(image.kernel), "-initrd", initrd, "-append", f"{KERNEL_COMMAND_LINE} {append}".strip(),
        "-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console",
        "-chardev", "stdio,id=command,signal=off", "-serial", "chardev:command",
    ]
    # fmt: on


def run(name, command, write, files=(), memory_mb=512, cpus=1, timeout_s=120, append=""):
    """Runs `command` in a guest of kernel `name`; its output goes to `write`, in pieces, as bytes. Returns its status.

    124 says that time was up. A boot that dies before the command is tried once more, the command never.
    """
    image = kernels.image(name)
    if kernels.find(name).without_bpf:
        command = ["python3", f"/vm/{WITHOUT_BPF.name}", *command]
        files = [*files, (WITHOUT_BPF, f"/vm/{WITHOUT_BPF.name}")]
    base, present = initramfs.base()
    nonce = secrets.token_hex(8)
    last = initramfs.run_archive(command, files, present, nonce)
    initrd_fd, initrd = _memory_file("initrd", (base.read_bytes(), image.modules.read_bytes(), last))
    try:
        for attempt in (1, 2):
            with tempfile.TemporaryFile() as console:
                arguments = _qemu(image, initrd, f"/proc/self/fd/{console.fileno()}", memory_mb, cpus, append)
                try:
                    return _run_once(arguments, (initrd_fd, console.fileno()), nonce, write, timeout_s, console)
                except BootFailed as error:
                    if attempt == 2:
                        raise
                    write(f"vm: {error}; trying once more\n".encode())
    finally:
        os.close(initrd_fd)


def _run_once(arguments, fds, nonce, write, timeout_s, console):
    qemu = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=console, pass_fds=fds)
    try:
        return Reader(qemu.stdout.fileno(), nonce, write, console).status(timeout_s)
    finally:
        qemu.kill()
        qemu.wait()
        qemu.stdout.close()


class Reader:
    """Passes on what stands between the marks of one run."""

    def __init__(self, fd, nonce, write, console):
        self.fd = fd
        self.start = f"<<start {nonce}>>\n".encode()
        self.exit = re.compile(rb"<<exit %s (\d+)>>" % nonce.encode())
        self.exit_prefix = f"<<exit {nonce} ".encode()
        self.write = write
        self.console = console
        self.data = b""

    def _console_tail(self):
        self.console.seek(0)
        lines = self.console.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-40:])

    def _more(self, deadline):
        """Reads a piece. False at the end of the line and when time is up."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.fd], [], [], left)[0]:
            return False
        piece = os.read(self.fd, 65536)
        self.data += piece
        return bool(piece)

    def status(self, timeout_s):
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while self.start not in self.data:
            if not self._more(deadline):
                raise BootFailed(f"the guest did not boot; its console ends:\n{self._console_tail()}")
        self.data = self.data.split(self.start, 1)[1]
        return self._command_status(time.monotonic() + timeout_s)

    def _pass_on(self):
        """Writes all but an end that could be the beginning of a mark, the status and brackets of which may be missing."""
        size = len(self.data)
        held = size
        for start in range(max(0, size - len(self.exit_prefix) - len("255>>")), size):
            end = self.data[start:]
            if end.startswith(self.exit_prefix) or self.exit_prefix.startswith(end):
                held = start
                break
        if held:
            self.write(self.data[:held])
            self.data = self.data[held:]

    def _command_status(self, deadline):
        while not (mark := self.exit.search(self.data)):
            self._pass_on()
            if not self._more(deadline):
                self.write(self.data)
                if time.monotonic() < deadline:
                    raise VmError(f"the guest died under the command; its console ends:\n{self._console_tail()}")
                return TIMED_OUT
        self.write(self.data[: mark.start()])
        return int(mark[1])
