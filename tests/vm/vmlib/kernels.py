# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of tests/vm/kernels: fetched, unpacked and kept in the cache, one folder per version.

A folder holds `kernel` (what qemu boots), `modules.cpio` and `version`. The kernel is the ELF file out of the bzImage where
it can be started by PVH, which saves a guest the unpacking; else the bzImage. A fetched kernel is used for a week before
the mirror is asked for a newer one, and for longer where the mirror does not answer.
"""

import dataclasses
import hashlib
import io
import lzma
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

from . import CACHE, HERE, VmError, table
from .apt import Apt
from .cpio import Archive
from .lock import locked

WEEK_S = 7 * 24 * 3600
SOURCES = "linux-source-"


@dataclasses.dataclass(frozen=True)
class Kernel:
    name: str
    suite: str
    package: str
    option: str = ""

    @property
    def without_bpf(self):
        """What runs there is refused bpf(2), which the kernel itself has."""
        return self.option == "without-bpf"

    @property
    def has_bpf(self):
        return not (self.without_bpf or self.is_built)

    @property
    def folder(self):
        """Where the cache keeps it; names that share a package share the folder."""
        return CACHE / (self.name if self.is_built else f"kernel-{self.suite}")

    @property
    def is_built(self):
        return self.package.startswith(SOURCES)


@dataclasses.dataclass(frozen=True)
class Image:
    """A kernel ready to boot."""

    version: str
    kernel: pathlib.Path
    modules: pathlib.Path


KERNELS = {row[0]: Kernel(*row) for row in table("kernels")}


def find(name):
    if name not in KERNELS:
        raise VmError(f"there is no kernel {name}; tests/vm/kernels names {', '.join(KERNELS)}")
    return KERNELS[name]


def fragment_key():
    """The built kernel is kept by what it is made of."""
    digest = hashlib.sha256()
    for name in ("nobpf.config", "build-nobpf"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]


def is_cached(name):
    kernel = find(name)
    if kernel.is_built:
        return (kernel.folder / fragment_key() / "version").exists()
    return (kernel.folder / "current").exists()


def image(name):
    """The kernel called `name`, fetched (or built) where the cache lacks it."""
    kernel = find(name)
    if kernel.is_built:
        return _built(kernel)
    top = kernel.folder
    with locked(top):
        current = top / "current"
        stale = not current.exists() or time.time() - current.stat().st_mtime > WEEK_S
        if stale:
            try:
                _refresh(kernel, top)
            except VmError as error:
                if not current.exists():
                    raise
                print(f"vm: keeping kernel {current.read_text()}: {error}", file=sys.stderr)
        return _image_in(top / current.read_text().strip())


def _built(kernel):
    top = kernel.folder
    directory = top / fragment_key()
    with locked(top):
        if not (directory / "version").exists():
            apt = Apt(CACHE / "apt" / kernel.suite, kernel.suite)
            trouble = apt.update()
            with tempfile.TemporaryDirectory(dir=top, prefix=".new-") as work:
                try:
                    source = apt.download(kernel.package, pathlib.Path(work))
                except VmError as error:
                    raise VmError(f"{error}\n{trouble}".strip()) from None
                _build(source, pathlib.Path(work) / "image")
                _drop_others(top, keep=None)
                (pathlib.Path(work) / "image").rename(directory)
    return _image_in(directory)


def _build(source, directory):
    print("vm: building the kernel without eBPF; this takes some minutes", file=sys.stderr)
    if subprocess.run([HERE / "build-nobpf", source, directory], stdout=sys.stderr, check=False).returncode:
        raise VmError("tests/vm/build-nobpf failed; what it said stands above")
    with open(directory / "modules.cpio", "wb") as stream:
        Archive(stream).close()


def _drop_others(top, keep):
    """Removes kernels that newer ones have replaced."""
    for old in top.iterdir():
        if old.is_dir() and old != keep and not old.name.startswith("."):
            shutil.rmtree(old)


def _image_in(directory):
    return Image((directory / "version").read_text().strip(), directory / "kernel", directory / "modules.cpio")


def _refresh(kernel, top):
    apt = Apt(CACHE / "apt" / kernel.suite, kernel.suite)
    trouble = apt.update()
    try:
        packages = apt.kernel_packages(kernel.package)
    except VmError as error:
        raise VmError(f"{error}\n{trouble}".strip()) from None
    version = packages[0].split("-", 2)[2]
    directory = top / version
    if not directory.exists():
        print(f"vm: fetching kernel {kernel.name}: {version}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=top, prefix=".new-") as temporary:
            work = pathlib.Path(temporary)
            debs = [apt.download(package, work) for package in packages]
            _unpack(debs, version, work)
            (work / "image").rename(directory)
    (top / "current").write_text(version)
    _drop_others(top, keep=directory)


# --- Unpacking ------------------------------------------------------------------------------------


# The second of lz4 is its older format, which kernels are packed in.
PACKERS = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x1f\x8b", "gzip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
)


def _decompressed(name, data):
    """A module's or a kernel's bytes, by its first bytes rather than its name."""
    if data.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(data)
    for magic, program in PACKERS:
        if data.startswith(magic):
            if not shutil.which(program):
                raise VmError(f"{name} is packed with {program}, which is not installed; run `make deps`")
            # Bytes after the packed stream (a kernel has its size there) make the status useless.
            return subprocess.run([program, "-dc"], input=data, capture_output=True, check=False).stdout
    return data


def elf_kernel(bzimage):
    """The ELF kernel out of a bzImage, or None where PVH cannot start it.

    Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length.
    """
    setup_sectors = bzimage[0x1F1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    elf = _decompressed("the kernel", bzimage[start : start + length])
    # The note of XEN_ELFNOTE_PHYS32_ENTRY (18), named "Xen": namesz, descsz, type, name.
    notes = [struct.pack("<III4s", 4, size, 18, b"Xen\0") for size in (4, 8)]
    return elf if elf.startswith(b"\x7fELF") and any(note in elf for note in notes) else None


def _unpack(debs, version, work):
    """Makes work/image of the packages."""
    out = work / "image"
    out.mkdir()
    modules, lists = {}, {}
    for deb in debs:
        packed = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        with tarfile.open(fileobj=packed.stdout, mode="r|") as archive:
            for member in archive:
                name = member.name
                if not member.isfile():
                    continue
                base = name.rsplit("/", 1)[1]
                if base.startswith("vmlinuz"):
                    bzimage = archive.extractfile(member).read()
                    (out / "kernel").write_bytes(elf_kernel(bzimage) or bzimage)
                elif match := re.search(r"/kernel/(.*/)?([^/]+)\.ko(\.\w+)?$", name):
                    modules[match[2].replace("-", "_")] = (match[1], match[2], archive.extractfile(member).read())
                elif base in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
                    lists[base] = archive.extractfile(member).read()
        if packed.wait():
            raise VmError(f"{deb.name} cannot be unpacked; remove {CACHE} and try again")
    if not (out / "kernel").exists() or not modules:
        raise VmError(f"{', '.join(deb.name for deb in debs)}: no kernel or no modules inside")
    _write_modules(version, modules, lists, work)
    (out / "version").write_text(version)


def module_info(data, key):
    """The values of `key` in a module's .modinfo section."""
    return [value.decode() for value in re.findall(rb"\0" + key + rb"=([^\0]*)", data)]


def _closure(modules):
    """The wanted modules and all they need, unpacked: name → (folder, file name, bytes)."""
    wanted, todo = {}, [row[0] for row in table("modules")]
    while todo:
        name = todo.pop().replace("-", "_")
        if name in wanted or name not in modules:
            continue
        folder, base, packed = modules[name]
        data = _decompressed(base, packed)
        wanted[name] = (folder, base, data)
        for depends in module_info(data, b"depends"):
            todo += depends.split(",")
        for soft in module_info(data, b"softdep"):
            todo += [word for word in soft.split() if not word.endswith(":")]
    return wanted


def _write_modules(version, modules, lists, work):
    """modules.cpio: the wanted modules with the index that modprobe reads."""
    root = work / "root"
    target = root / "lib" / "modules" / version
    target.mkdir(parents=True)
    for name, data in lists.items():
        (target / name).write_bytes(data)
    for folder, base, data in _closure(modules).values():
        path = target / "kernel" / folder / f"{base}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    answer = subprocess.run(["depmod", "-b", root, version], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise VmError(f"depmod fails on the modules of {version}: {answer.stderr.strip()}")
    stream = io.BytesIO()
    archive = Archive(stream)
    for path in sorted(target.rglob("*")):
        if path.is_file():
            archive.file(f"/usr/{path.relative_to(root)}", path.read_bytes())
    archive.close()
    (work / "image" / "modules.cpio").write_bytes(stream.getvalue())
