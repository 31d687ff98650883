/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An SQLite VFS (https://sqlite.org/vfs.html) in front of the system's, for tests of the store: it
 * fails writes and syncs on command, counts them, and keeps a copy of every file as of its last
 * sync, which is what a power cut would leave at the least.
 */
#ifndef SLB_TESTS_FAULT_VFS_H
#define SLB_TESTS_FAULT_VFS_H

#include <stddef.h>

/* Becomes the default VFS of this process; once. */
void fault_vfs_install(void);

/* From now on the n-th (1 = the next) write, sync or truncate and all after it answer `code` (an
 * SQLITE_* result). n = 0: none fails. */
void fault_vfs_fail(size_t n, int code);

/* Writes, syncs and truncates since the last fault_vfs_fail(). */
size_t fault_vfs_operations(void);

/* Copies files into `directory` whenever they are synced. NULL: no more. */
void fault_vfs_shadow(const char *directory);

#endif
