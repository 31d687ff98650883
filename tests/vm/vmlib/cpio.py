# SPDX-License-Identifier: GPL-2.0-only
"""Writes archives in the format that the kernel unpacks into its root file system.

The format is "newc" of cpio(5); Documentation/driver-api/early-userspace/buffer-format.rst in the kernel tree says what
the kernel makes of it. Archives may be put one behind the other: a later file replaces an earlier one.

invariant: a path is written once, and its parent directories are written before it.
"""

import os
import pathlib
import stat

MAGIC = b"070701"
TRAILER = "TRAILER!!!"


class Archive:
    def __init__(self, stream, present=()):
        """Borrows `stream`. Paths in `present` are in an earlier archive already and are not written again."""
        self.stream = stream
        self.present = frozenset(present)
        self.names = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0), nlink=1):
        raw = name.encode() + b"\0"
        inode = len(self.names) + 1
        fields = (inode, mode, 0, 0, nlink, 0, len(data), 0, 0, *rdev, len(raw), 0)
        head = MAGIC + b"".join(b"%08x" % field for field in fields) + raw
        self.stream.write(head + bytes(-len(head) % 4))
        self.stream.write(data)
        self.stream.write(bytes(-len(data) % 4))

    def _claim(self, path):
        """Notes the path and writes its parents. False where there is nothing left to write."""
        name = str(path).lstrip("/")
        if name in self.names:
            return None
        self.directory(pathlib.PurePosixPath("/" + name).parent)
        self.names.add(name)
        return None if name in self.present else name

    def directory(self, path, mode=0o755):
        if str(path) == "/":
            return
        name = self._claim(path)
        if name:
            self._entry(name, stat.S_IFDIR | mode, nlink=2)

    def file(self, path, data, mode=0o644):
        name = self._claim(path)
        if name:
            self._entry(name, stat.S_IFREG | mode, data)

    def symlink(self, path, target):
        name = self._claim(path)
        if name:
            self._entry(name, stat.S_IFLNK | 0o777, os.fsencode(target))

    def node(self, path, major, minor, mode=0o600):
        name = self._claim(path)
        if name:
            self._entry(name, stat.S_IFCHR | mode, rdev=(major, minor))

    def close(self):
        self._entry(TRAILER, 0)
        self.stream.write(bytes(-self.stream.tell() % 512))
