# SPDX-License-Identifier: GPL-2.0-only
"""One writer at a time for each folder of the cache, also between test runs."""

import contextlib
import fcntl


@contextlib.contextmanager
def locked(directory):
    """Makes the directory and holds it against other processes; the lock file is a sibling of the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory.parent / f".{directory.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
