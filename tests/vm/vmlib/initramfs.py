# SPDX-License-Identifier: GPL-2.0-only
"""The root file system of a guest, made of this machine's own files.

Two archives: the base (busybox, the programs of tests/vm/programs, init), which changes only with this machine's packages
and is kept in the cache; and one for each run, with the command and the files it was given. A program brings the shared
libraries that ldd(1) names; what is loaded by name at run time (xtables, python) is listed in tests/vm/programs.
"""

import glob
import hashlib
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess

from . import CACHE, HERE, VmError, table
from .cpio import Archive
from .lock import locked

BUSYBOX = "/bin/busybox"
APPLETS = "/usr/lib/busybox"
DPKG_STATUS = "/var/lib/dpkg/status"

# Parts of Python's library that no guest needs.
PYTHON = re.compile(r"/usr/lib/python3\.\d+")
LEFT_OUT = re.compile(
    r"(test|idlelib|tkinter|lib2to3|ensurepip|turtledemo|pydoc_data|distutils|dist-packages|config-3.*|_?tkinter\..*)"
)

# Directories of a merged /usr: files are written under /usr, and these point there.
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}

ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    "www-data:x:33:33:www-data:/:/bin/false\ntcpdump:x:101:101::/:/bin/false\n",
    "group": "root:x:0:\nnogroup:x:65534:\nwww-data:x:33:\ntcpdump:x:101:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "resolv.conf": "",
}
ETC_FROM_HOST = ("services", "protocols", "ld.so.cache", "iproute2/rt_tables", "ethertypes")


def merged(path):
    """The path in a guest: /bin and its like point into /usr there, whatever they do here."""
    first, _, rest = str(path).lstrip("/").partition("/")
    return "/" + (MERGED[first] + "/" + rest if first in MERGED and rest else str(path).lstrip("/"))


def libraries(paths):
    """The shared libraries of ELF programs and libraries, as paths on this machine."""
    if not paths:
        return set()
    # ldd's status speaks of its last argument alone; static files are no error here.
    answer = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True, check=False)
    found = set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", answer.stdout, re.MULTILINE))
    missing = re.findall(r"(\S+) => not found", answer.stdout)
    if missing:
        raise VmError(f"{missing[0]} is needed in the guest but is not installed here")
    return found


def is_elf(path):
    with open(path, "rb") as stream:
        return stream.read(4) == b"\x7fELF"


class Tree:
    """Collects files of this machine for one archive, then writes them with their libraries."""

    def __init__(self, archive):
        self.archive = archive
        self.programs = set()

    def add(self, source, target=None):
        """A file, a link with what it points to, or a directory with all in it."""
        source = pathlib.Path(source)
        target = pathlib.PurePosixPath(merged(target or source))
        info = source.lstat()
        if stat.S_ISLNK(info.st_mode):
            self._link(source, target)
        elif stat.S_ISDIR(info.st_mode):
            self.archive.directory(target)
            python = PYTHON.match(str(source))
            for child in sorted(source.iterdir()):
                if not (python and LEFT_OUT.fullmatch(child.name)):
                    self.add(child, target / child.name)
        elif stat.S_ISREG(info.st_mode):
            self._file(source, target, info)

    def _link(self, source, target):
        real = source.resolve()
        if not real.exists():
            return
        if merged(real) != str(target):
            self.archive.symlink(target, merged(real))
            self.add(real)

    def _file(self, source, target, info):
        self.archive.file(target, source.read_bytes(), stat.S_IMODE(info.st_mode))
        if is_elf(source) and (info.st_mode & 0o111 or ".so" in source.name):
            self.programs.add(source)

    def add_libraries(self):
        for library in sorted(libraries(sorted(self.programs))):
            # The loader asks for the library by this name; what it points to may be elsewhere.
            real = pathlib.Path(library).resolve()
            self.archive.file(merged(library), real.read_bytes(), 0o755)


def programs():
    """The paths named by tests/vm/programs, on this machine."""
    for words in table("programs"):
        name = words[0].lstrip("?")
        if name.startswith("/"):
            paths = sorted(glob.glob(name))
        else:
            found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
            paths = [found] if found else []
        if not paths and not words[0].startswith("?"):
            raise VmError(f"{name} is needed in the guest but is not installed here; run `make deps`")
        yield from paths


def _write_base(stream):
    archive = Archive(stream)
    for link, target in MERGED.items():
        archive.directory("/" + target)
        archive.symlink("/" + link, target)
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "var/log", "var/lib", "var/run", "etc/iproute2", "mnt"):
        archive.directory("/" + name)
    archive.node("/dev/console", 5, 1)
    archive.node("/dev/null", 1, 3, 0o666)
    for name, text in ETC.items():
        archive.file("/etc/" + name, text.encode())
    for name in ETC_FROM_HOST:
        source = pathlib.Path("/etc", name)
        if source.exists():
            archive.file(source, source.read_bytes())
    archive.file("/init", (HERE / "guest" / "init").read_bytes(), 0o755)

    tree = Tree(archive)
    for path in programs():
        tree.add(path)
    archive.file("/usr/bin/sh", pathlib.Path("/bin/sh").resolve().read_bytes(), 0o755)
    archive.file(merged(BUSYBOX), pathlib.Path(BUSYBOX).read_bytes(), 0o755)
    for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
        archive.symlink(f"{APPLETS}/{applet}", BUSYBOX)
    tree.programs.add(pathlib.Path("/bin/sh").resolve())
    tree.add_libraries()
    archive.close()
    return archive.names


def _base_key():
    """What the base depends on: this machine's packages, the lists and init, and the code that writes it."""
    digest = hashlib.sha256(str(os.stat(DPKG_STATUS).st_mtime_ns).encode())
    for path in ("programs", "guest/init", "vmlib/initramfs.py", "vmlib/cpio.py"):
        digest.update((HERE / path).read_bytes())
    return digest.hexdigest()[:16]


def base():
    """The base archive and the set of paths in it, made where the cache lacks it."""
    key = _base_key()
    directory = CACHE / "base"
    archive, names = directory / f"{key}.cpio", directory / f"{key}.json"
    with locked(directory):
        if not names.exists():
            for stale in directory.glob("*.*"):
                stale.unlink()
            with open(archive, "wb") as stream:
                present = _write_base(stream)
            names.write_text(json.dumps(sorted(present)))
    return archive, set(json.loads(names.read_text()))


def run_archive(command, files, present, nonce):
    """The archive of one run: the command as /vm/command, the nonce of its marks, and files with their libraries."""
    stream = io.BytesIO()
    archive = Archive(stream, present)
    tree = Tree(archive)
    archive.directory("/vm")
    archive.file("/vm/nonce", nonce.encode())
    archive.file("/vm/command", (shlex.join(command) + "\n").encode())
    for source, target in files:
        tree.add(pathlib.Path(source).resolve() if not os.path.isdir(source) else source, target)
    tree.add_libraries()
    archive.close()
    return stream.getvalue()
