/* SPDX-License-Identifier: GPL-2.0-only */
#include "fault_vfs.h"

#include <libgen.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Used from the loop's thread and from the worker. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static size_t operations, fail_at;
static int fail_code;
static char shadow[256];

static sqlite3_vfs *real_vfs;
static sqlite3_vfs vfs;
static sqlite3_io_methods methods;

struct fault_file {
	sqlite3_file base;
	const char *path; /* SQLite keeps it until the file is closed */
	sqlite3_file *real;
};

static int operation(void)
{
	int code = SQLITE_OK;

	pthread_mutex_lock(&mutex);
	operations++;
	if (fail_at != 0 && operations >= fail_at)
		code = fail_code;
	pthread_mutex_unlock(&mutex);
	return code;
}

static void copy_to_shadow(const char *path)
{
	char buffer[4096], name[256], target[768];
	FILE *from, *to;
	size_t n;

	snprintf(name, sizeof(name), "%s", path);
	snprintf(target, sizeof(target), "%s/%s", shadow, basename(name));
	from = fopen(path, "rb");
	to = fopen(target, "wb");
	while (from != NULL && to != NULL && (n = fread(buffer, 1, sizeof(buffer), from)) > 0)
		fwrite(buffer, 1, n, to);
	if (from != NULL)
		fclose(from);
	if (to != NULL)
		fclose(to);
}

#define REAL(file) (((struct fault_file *)(file))->real)

static int file_close(sqlite3_file *file)
{
	return REAL(file)->pMethods->xClose(REAL(file));
}

static int file_read(sqlite3_file *file, void *buffer, int count, sqlite3_int64 offset)
{
	return REAL(file)->pMethods->xRead(REAL(file), buffer, count, offset);
}

static int file_write(sqlite3_file *file, const void *buffer, int count, sqlite3_int64 offset)
{
	int code = operation();

	return code != SQLITE_OK ? code
				 : REAL(file)->pMethods->xWrite(REAL(file), buffer, count, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int code = operation();

	return code != SQLITE_OK ? code : REAL(file)->pMethods->xTruncate(REAL(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
	int code = operation();

	if (code == SQLITE_OK)
		code = REAL(file)->pMethods->xSync(REAL(file), flags);
	pthread_mutex_lock(&mutex);
	if (code == SQLITE_OK && shadow[0] != '\0' && ((struct fault_file *)file)->path != NULL)
		copy_to_shadow(((struct fault_file *)file)->path);
	pthread_mutex_unlock(&mutex);
	return code;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return REAL(file)->pMethods->xFileSize(REAL(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
	return REAL(file)->pMethods->xLock(REAL(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
	return REAL(file)->pMethods->xUnlock(REAL(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *result)
{
	return REAL(file)->pMethods->xCheckReservedLock(REAL(file), result);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
	return REAL(file)->pMethods->xFileControl(REAL(file), op, arg);
}

static int file_sector_size(sqlite3_file *file)
{
	return REAL(file)->pMethods->xSectorSize(REAL(file));
}

static int file_characteristics(sqlite3_file *file)
{
	return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
	return REAL(file)->pMethods->xShmMap(REAL(file), page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	return REAL(file)->pMethods->xShmLock(REAL(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
	REAL(file)->pMethods->xShmBarrier(REAL(file));
}

static int file_shm_unmap(sqlite3_file *file, int remove)
{
	return REAL(file)->pMethods->xShmUnmap(REAL(file), remove);
}

/* Removals are taken as durable at once: the system's VFS syncs the directory with the first sync
 * of a new log, before anything is answered. */
static int vfs_delete(sqlite3_vfs *self, const char *path, int sync_directory)
{
	int code = real_vfs->xDelete(real_vfs, path, sync_directory);
	char name[256], target[768];

	(void)self;
	pthread_mutex_lock(&mutex);
	if (code == SQLITE_OK && shadow[0] != '\0') {
		snprintf(name, sizeof(name), "%s", path);
		snprintf(target, sizeof(target), "%s/%s", shadow, basename(name));
		remove(target);
	}
	pthread_mutex_unlock(&mutex);
	return code;
}

static int vfs_open(sqlite3_vfs *self, const char *path, sqlite3_file *file, int flags,
		    int *ret_flags)
{
	struct fault_file *fault = (struct fault_file *)file;
	int code;

	(void)self;
	fault->path = path;
	fault->real = (sqlite3_file *)(fault + 1);
	code = real_vfs->xOpen(real_vfs, path, fault->real, flags, ret_flags);
	fault->base.pMethods = fault->real->pMethods != NULL ? &methods : NULL;
	return code;
}

void fault_vfs_install(void)
{
	if (real_vfs != NULL)
		return;
	methods = (sqlite3_io_methods){
		.iVersion = 2,
		.xClose = file_close,
		.xRead = file_read,
		.xWrite = file_write,
		.xTruncate = file_truncate,
		.xSync = file_sync,
		.xFileSize = file_size,
		.xLock = file_lock,
		.xUnlock = file_unlock,
		.xCheckReservedLock = file_check_reserved,
		.xFileControl = file_control,
		.xSectorSize = file_sector_size,
		.xDeviceCharacteristics = file_characteristics,
		.xShmMap = file_shm_map,
		.xShmLock = file_shm_lock,
		.xShmBarrier = file_shm_barrier,
		.xShmUnmap = file_shm_unmap,
	};
	real_vfs = sqlite3_vfs_find(NULL);
	vfs = *real_vfs;
	vfs.zName = "fault";
	vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
	vfs.xOpen = vfs_open;
	vfs.xDelete = vfs_delete;
	sqlite3_vfs_register(&vfs, 1);
}

void fault_vfs_fail(size_t n, int code)
{
	pthread_mutex_lock(&mutex);
	operations = 0;
	fail_at = n;
	fail_code = code;
	pthread_mutex_unlock(&mutex);
}

size_t fault_vfs_operations(void)
{
	size_t count;

	pthread_mutex_lock(&mutex);
	count = operations;
	pthread_mutex_unlock(&mutex);
	return count;
}

void fault_vfs_shadow(const char *directory)
{
	pthread_mutex_lock(&mutex);
	snprintf(shadow, sizeof(shadow), "%s", directory != NULL ? directory : "");
	pthread_mutex_unlock(&mutex);
}
