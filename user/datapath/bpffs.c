/* SPDX-License-Identifier: GPL-2.0-only */
/* Finds, makes and locks the pin directory; see bpffs.h. Called by ebpf.c. */
#include "datapath/bpffs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SYSTEM_BPFFS "/sys/fs/bpf"

static bool is_bpffs(const char *path)
{
	struct statfs info;

	return statfs(path, &info) == 0 && (unsigned long)info.f_type == BPF_FS_MAGIC;
}

/* -errno, 0 = no, 1 = yes */
static int is_empty_directory(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int empty = 1;

	if (!directory)
		return -errno;
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			empty = 0;
	closedir(directory);
	return empty;
}

static int mount_bpffs(const char *path, struct errbuf *err)
{
	if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME,
		  "mode=0700") == 0)
		return 0;
	return errbuf_set(
		err, -errno,
		"cannot mount a bpf file system on %s: %s; as root: `mount -t bpf bpf %s`", path,
		strerror(errno), path);
}

static int use_existing(const char *path, struct errbuf *err)
{
	int empty = is_empty_directory(path);

	if (empty < 0)
		return errbuf_set(err, empty, "cannot use the pin path %s: %s", path,
				  strerror(-empty));
	if (!empty)
		return errbuf_set(
			err, -ENOTEMPTY,
			"the pin path %s is an ordinary directory with files in it; give an "
			"empty one or one on a bpf file system",
			path);
	return mount_bpffs(path, err);
}

static int create(const char *path, struct errbuf *err)
{
	char copy[PATH_MAX];
	const char *parent;
	int r;

	snprintf(copy, sizeof(copy), "%s", path);
	parent = dirname(copy);

	if (!is_bpffs(parent) && strcmp(parent, SYSTEM_BPFFS) == 0) {
		r = mount_bpffs(SYSTEM_BPFFS, err);
		if (r < 0)
			return r;
	}
	if (!is_bpffs(parent))
		return errbuf_set(
			err, -ENOENT,
			"the pin path %s does not exist and %s is not on a bpf file system; "
			"create the directory, or `mount -t bpf bpf %s`",
			path, parent, parent);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return errbuf_set(err, -errno, "cannot create the pin path %s: %s", path,
				  strerror(errno));
	return 0;
}

int bpffs_open(const char *path, int *ret_lock, struct errbuf *err)
{
	struct stat info;
	int lock, r = 0;

	if (stat(path, &info) < 0)
		r = create(path, err);
	else if (!S_ISDIR(info.st_mode))
		r = errbuf_set(err, -ENOTDIR, "the pin path %s is not a directory", path);
	else if (!is_bpffs(path))
		r = use_existing(path, err);
	if (r < 0)
		return r;

	lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0)
		return errbuf_set(err, -errno, "cannot open the pin path %s: %s", path,
				  strerror(errno));
	if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		r = -errno;
		close(lock);
		if (r == -EWOULDBLOCK)
			return errbuf_set(
				err, -EBUSY,
				"another slb uses the maps in %s; stop it, or give this one "
				"a --pin-path of its own",
				path);
		return errbuf_set(err, r, "cannot lock the pin path %s: %s", path, strerror(-r));
	}
	*ret_lock = lock;
	return 0;
}

void bpffs_remove(const char *path)
{
	rmdir(path);
}
