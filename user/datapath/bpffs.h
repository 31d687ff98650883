/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bpffs: the directory on a bpf file system where maps are pinned, and its lock.
 *
 * Mounts one where it is missing: on /sys/fs/bpf (`ip netns exec` hides the machine's), or on the
 * pin directory itself when that is an empty ordinary one. Nothing else is ever mounted over.
 */
#ifndef SLB_DATAPATH_BPFFS_H
#define SLB_DATAPATH_BPFFS_H

#include "lib/errbuf.h"

/* Makes `path` a directory on a bpf file system and locks it for this process. *ret_lock is to be
 * closed by the caller, which unlocks. -EBUSY: another process has the lock. -ENOTDIR, -ENOENT,
 * -ENOTEMPTY: what is at the path cannot be used. */
int bpffs_open(const char *path, int *ret_lock, struct errbuf *err);

/* Removes the directory when it is empty and not a mount point. */
void bpffs_remove(const char *path);

#endif
