/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file: one line per changed setting, in the order of change: name, former value, value given,
 * separated by tabs (some settings have blanks in their value, none has tabs that matter: they are
 * read as blanks). It is replaced as a whole (written, synced, renamed).
 */
#include "net/sysctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#define ROOT_PATH  "/proc/sys/"
#define NAME_SIZE  192
#define VALUE_SIZE 128
#define FILE_NAME  "sysctl"

struct setting {
	char name[NAME_SIZE]; /* with '/' */
	char former[VALUE_SIZE];
	char given[VALUE_SIZE];
	struct setting *prev, *next;
};

struct sysctl {
	int directory; /* the state directory */
	struct setting *settings;
};

/* "net.ipv4.x" to "net/ipv4/x"; what has a '/' is taken as it is. Never out of /proc/sys. */
static int name_to_path(const char *name, char path[static NAME_SIZE], struct errbuf *err)
{
	size_t length = strlen(name);

	if (length == 0 || length >= NAME_SIZE || name[0] == '/' || strstr(name, "..") != NULL ||
	    strpbrk(name, "\t\n") != NULL)
		return errbuf_set(err, -EINVAL, "\"%.64s\" is no name of a sysctl", name);
	memcpy(path, name, length + 1);
	if (strchr(name, '/') == NULL) {
		for (char *c = path; *c != '\0'; c++) {
			if (*c == '.')
				*c = '/';
		}
	}
	return 0;
}

static int path_open(const char *path, int flags)
{
	char full[sizeof(ROOT_PATH) + NAME_SIZE];
	int fd;

	snprintf(full, sizeof(full), ROOT_PATH "%s", path);
	fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int path_read(const char *path, char *text, size_t size)
{
	int fd = path_open(path, O_RDONLY);
	ssize_t length;

	if (fd < 0)
		return fd;
	length = read(fd, text, size);
	if (length < 0)
		length = -errno;
	close(fd);
	if (length < 0)
		return (int)length;
	if ((size_t)length >= size)
		return -ENOSPC;
	while (length > 0 && text[length - 1] == '\n')
		length--;
	text[length] = '\0';
	for (char *c = text; *c != '\0'; c++) {
		if (*c == '\t' || *c == '\n')
			*c = ' ';
	}
	return 0;
}

static int path_write(const char *path, const char *value)
{
	int fd = path_open(path, O_WRONLY);
	size_t length = strlen(value);
	int error = 0;

	if (fd < 0)
		return fd;
	if (write(fd, value, length) != (ssize_t)length)
		error = errno != 0 ? -errno : -EIO;
	close(fd);
	return error;
}

static struct setting *find(struct sysctl *sysctl, const char *path)
{
	struct setting *setting;

	DL_FOREACH (sysctl->settings, setting) {
		if (strcmp(setting->name, path) == 0)
			return setting;
	}
	return NULL;
}

/* Replaces the file; without settings there is none. */
static int save(struct sysctl *sysctl, struct errbuf *err)
{
	struct setting *setting;
	int error = 0, fd;
	FILE *file;

	if (sysctl->settings == NULL) {
		if (unlinkat(sysctl->directory, FILE_NAME, 0) < 0 && errno != ENOENT)
			error = -errno;
		goto done;
	}
	fd = openat(sysctl->directory, FILE_NAME ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		    0600);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (file == NULL) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		goto done;
	}
	DL_FOREACH (sysctl->settings, setting)
		fprintf(file, "%s\t%s\t%s\n", setting->name, setting->former, setting->given);
	if (fflush(file) != 0 || fsync(fd) < 0)
		error = -errno;
	fclose(file);
	if (error == 0 &&
	    (renameat(sysctl->directory, FILE_NAME ".new", sysctl->directory, FILE_NAME) < 0 ||
	     fsync(sysctl->directory) < 0))
		error = -errno;
done:
	if (error < 0)
		return errbuf_set(err, error,
				  "cannot write file \"" FILE_NAME "\" in the state directory: %s",
				  strerror(-error));
	return 0;
}

static int remember(struct sysctl *sysctl, const char *path, const char *former, const char *given,
		    struct setting **ret)
{
	struct setting *setting = calloc(1, sizeof(*setting));

	if (setting == NULL)
		return -ENOMEM;
	snprintf(setting->name, sizeof(setting->name), "%s", path);
	snprintf(setting->former, sizeof(setting->former), "%s", former);
	snprintf(setting->given, sizeof(setting->given), "%s", given);
	DL_APPEND(sysctl->settings, setting);
	*ret = setting;
	return 0;
}

static void forget(struct sysctl *sysctl, struct setting *setting)
{
	DL_DELETE(sysctl->settings, setting);
	free(setting);
}

static int parse_line(struct sysctl *sysctl, char *line)
{
	char *former, *given, path[NAME_SIZE];
	struct setting *setting;
	struct errbuf ignored;

	line[strcspn(line, "\n")] = '\0';
	former = strchr(line, '\t');
	if (former == NULL)
		return -EINVAL;
	*former++ = '\0';
	given = strchr(former, '\t');
	if (given == NULL)
		return -EINVAL;
	*given++ = '\0';
	if (strlen(former) >= VALUE_SIZE || strlen(given) >= VALUE_SIZE ||
	    name_to_path(line, path, &ignored) < 0)
		return -EINVAL;
	return remember(sysctl, path, former, given, &setting);
}

static int load(struct sysctl *sysctl)
{
	char line[NAME_SIZE + 2 * VALUE_SIZE + 4];
	int fd = openat(sysctl->directory, FILE_NAME, O_RDONLY | O_CLOEXEC), error = 0;
	FILE *file;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	file = fdopen(fd, "r");
	if (file == NULL) {
		close(fd);
		return -ENOMEM;
	}
	while (error == 0 && fgets(line, sizeof(line), file) != NULL)
		error = parse_line(sysctl, line);
	fclose(file);
	return error;
}

int sysctl_open(const char *state_dir, struct sysctl **ret, struct errbuf *err)
{
	struct sysctl *sysctl = calloc(1, sizeof(*sysctl));
	int error;

	if (sysctl == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	sysctl->directory = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sysctl->directory < 0) {
		error = errbuf_set(err, -errno, "cannot open the state directory %s: %s", state_dir,
				   strerror(errno));
		free(sysctl);
		return error;
	}
	error = load(sysctl);
	if (error < 0) {
		sysctl_close(sysctl);
		return errbuf_set(err, error,
				  "cannot read %s/" FILE_NAME ", which holds the kernel settings "
				  "to restore: %s; check them by hand and remove the file",
				  state_dir, strerror(-error));
	}
	*ret = sysctl;
	return 0;
}

void sysctl_close(struct sysctl *sysctl)
{
	struct setting *setting, *next;

	if (sysctl == NULL)
		return;
	DL_FOREACH_SAFE (sysctl->settings, setting, next)
		forget(sysctl, setting);
	if (sysctl->directory >= 0)
		close(sysctl->directory);
	free(sysctl);
}

int sysctl_get(const char *name, char *text, size_t size, struct errbuf *err)
{
	char path[NAME_SIZE];
	int error = name_to_path(name, path, err);

	if (error < 0)
		return error;
	error = path_read(path, text, size);
	if (error == -ENOENT)
		return errbuf_set(err, error, "this kernel has no sysctl %s", name);
	if (error < 0)
		return errbuf_set(err, error, "cannot read sysctl %s: %s", name, strerror(-error));
	return 0;
}

/* Records the change (before it is made) and makes it. */
static int change(struct sysctl *sysctl, const char *path, const char *current, const char *value,
		  struct errbuf *err)
{
	struct setting *setting = find(sysctl, path);
	char given[VALUE_SIZE] = "";
	bool fresh = setting == NULL;
	struct errbuf ignored;
	int error;

	if (fresh) {
		error = remember(sysctl, path, current, value, &setting);
		if (error < 0)
			return errbuf_set(err, error, "out of memory");
	} else {
		snprintf(given, sizeof(given), "%s", setting->given);
		snprintf(setting->given, sizeof(setting->given), "%s", value);
	}
	error = save(sysctl, err);
	if (error == 0) {
		error = path_write(path, value);
		if (error == -EROFS)
			errbuf_set(err, error,
				   "cannot set sysctl %s to %s: /proc/sys is read-only here (a "
				   "container?); set it on the host",
				   path, value);
		else if (error < 0)
			errbuf_set(err, error, "cannot set sysctl %s to %s: %s", path, value,
				   strerror(-error));
	}
	if (error < 0) {
		if (fresh)
			forget(sysctl, setting);
		else
			snprintf(setting->given, sizeof(setting->given), "%s", given);
		(void)save(sysctl, &ignored);
	}
	return error;
}

int sysctl_set(struct sysctl *sysctl, const char *name, const char *value, bool *ret_changed,
	       struct errbuf *err)
{
	char path[NAME_SIZE], current[VALUE_SIZE];
	bool changed;
	int error = name_to_path(name, path, err);

	if (error < 0)
		return error;
	if (strlen(value) >= VALUE_SIZE || strpbrk(value, "\t\n") != NULL)
		return errbuf_set(err, -EINVAL, "\"%.64s\" is no value for sysctl %s", value, name);
	error = sysctl_get(name, current, sizeof(current), err);
	if (error < 0)
		return error;
	changed = strcmp(current, value) != 0;
	if (changed)
		error = change(sysctl, path, current, value, err);
	if (error == 0 && ret_changed != NULL)
		*ret_changed = changed;
	return error;
}

/* 0: restored, or nothing to do (with a note). */
static int restore(struct setting *setting, sysctl_note_cb *note, void *arg, struct errbuf *err)
{
	char current[VALUE_SIZE];
	struct errbuf text;
	int error = path_read(setting->name, current, sizeof(current));

	if (error == -ENOENT) /* the device is gone, and its settings with it */
		return 0;
	if (error == 0 && strcmp(current, setting->former) == 0)
		return 0;
	if (error == 0 && strcmp(current, setting->given) != 0) {
		errbuf_set(&text, 0,
			   "sysctl %s is left at %s: it was changed by somebody else since slb set "
			   "it to %s (before: %s)",
			   setting->name, current, setting->given, setting->former);
		note(arg, text.text);
		return 0;
	}
	if (error == 0)
		error = path_write(setting->name, setting->former);
	if (error < 0) {
		errbuf_set(err, error, "cannot restore sysctl %s to %s: %s", setting->name,
			   setting->former, strerror(-error));
		note(arg, err->text);
	}
	return error;
}

int sysctl_restore_all(struct sysctl *sysctl, sysctl_note_cb *note, void *arg, struct errbuf *err)
{
	struct setting *setting, *prev;
	int first = 0, error;

	/* utlist: the head's prev is the tail. */
	setting = sysctl->settings != NULL ? sysctl->settings->prev : NULL;
	while (setting != NULL) {
		struct errbuf text;

		prev = setting == sysctl->settings ? NULL : setting->prev;
		error = restore(setting, note, arg, &text);
		if (error == 0)
			forget(sysctl, setting);
		else if (first == 0) {
			first = error;
			*err = text;
		}
		setting = prev;
	}
	if (first == 0)
		return save(sysctl, err);
	(void)save(sysctl, &(struct errbuf){ 0 });
	return first;
}

/* Devices that take their default route from router advertisements go on doing so. */
static int keep_router_advertisements(struct sysctl *sysctl, struct errbuf *err)
{
	DIR *directory = opendir(ROOT_PATH "net/ipv6/conf");
	char name[NAME_SIZE], value[VALUE_SIZE];
	struct dirent *entry;
	int error = 0;

	if (directory == NULL)
		return errbuf_set(err, -ENOENT, "this kernel has no IPv6");
	while (error == 0 && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.' && strspn(entry->d_name, ".") == strlen(entry->d_name))
			continue;
		snprintf(name, sizeof(name), "net/ipv6/conf/%.64s/accept_ra", entry->d_name);
		/* A device may have gone since the directory was read. */
		if (sysctl_get(name, value, sizeof(value), err) == 0 && strcmp(value, "1") == 0)
			error = sysctl_set(sysctl, name, "2", NULL, err);
		if (error == -ENOENT)
			error = 0;
	}
	closedir(directory);
	return error;
}

void sysctl_each(const struct sysctl *sysctl,
		 void (*found)(void *arg, const char *name, const char *former, const char *given),
		 void *arg)
{
	const struct setting *setting;

	DL_FOREACH (sysctl->settings, setting)
		found(arg, setting->name, setting->former, setting->given);
}

int sysctl_enable_forwarding(struct sysctl *sysctl, int family, bool *ret_changed,
			     struct errbuf *err)
{
	char value[VALUE_SIZE];
	int error;

	if (family == AF_INET)
		return sysctl_set(sysctl, "net.ipv4.ip_forward", "1", ret_changed, err);

	error = sysctl_get("net.ipv6.conf.all.forwarding", value, sizeof(value), err);
	if (error == 0 && strcmp(value, "1") != 0)
		error = keep_router_advertisements(sysctl, err);
	if (error == 0)
		error = sysctl_set(sysctl, "net.ipv6.conf.all.forwarding", "1", ret_changed, err);
	return error;
}
