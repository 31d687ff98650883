/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uthash.h>

#define FILE_NAME   "addresses"
#define LINE_SIZE   128
#define HISTORY_MAX 1024 /* lines beyond what is needed before the file is written anew */

struct entry {
	struct addr address;
	UT_hash_handle hh;
};

struct journal {
	int directory;
	int fd; /* of the file, for appending */
	size_t lines;
	struct entry *entries;
	char epoch[LINE_SIZE]; /* first line: this boot and this network namespace */
};

/* Without a /proc the epoch is that of every boot: no worse than not knowing. */
static void epoch_read(char epoch[static LINE_SIZE])
{
	char boot[64] = "";
	struct stat status = { 0 };
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t length = read(fd, boot, sizeof(boot) - 1);

		boot[length > 0 ? length : 0] = '\0';
		boot[strcspn(boot, "\n")] = '\0';
		close(fd);
	}
	(void)stat("/proc/self/ns/net", &status);
	snprintf(epoch, LINE_SIZE, "boot %s namespace %llu", boot,
		 (unsigned long long)status.st_ino);
}

static struct entry *find(const struct journal *journal, const struct addr *address)
{
	struct entry *entry;

	HASH_FIND(hh, journal->entries, address, sizeof(*address), entry);
	return entry;
}

static int entry_add(struct journal *journal, const struct addr *address)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return -ENOMEM;
	entry->address = *address;
	HASH_ADD(hh, journal->entries, address, sizeof(entry->address), entry);
	return 0;
}

static void entry_remove(struct journal *journal, struct entry *entry)
{
	HASH_DEL(journal->entries, entry);
	free(entry);
}

static int read_line(struct journal *journal, char *line)
{
	struct addr address;
	struct entry *entry;

	line[strcspn(line, "\n")] = '\0';
	if ((line[0] != '+' && line[0] != '-') || addr_parse(line + 1, &address) < 0)
		return 0;
	entry = find(journal, &address);
	if (line[0] == '+' && entry == NULL)
		return entry_add(journal, &address);
	if (line[0] == '-' && entry != NULL)
		entry_remove(journal, entry);
	return 0;
}

static int load(struct journal *journal)
{
	int fd = openat(journal->directory, FILE_NAME, O_RDONLY | O_CLOEXEC), error = 0;
	char line[LINE_SIZE];
	FILE *file;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	file = fdopen(fd, "r");
	if (file == NULL) {
		close(fd);
		return -ENOMEM;
	}
	if (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, journal->epoch) == 0) {
			while (error == 0 && fgets(line, sizeof(line), file) != NULL)
				error = read_line(journal, line);
		}
	}
	fclose(file);
	return error;
}

/* A new file with what holds now; the old one stays until the new one is whole. */
static int rewrite(struct journal *journal)
{
	int fd = openat(journal->directory, FILE_NAME ".new",
			O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	char text[ADDR_TEXT_SIZE];
	struct entry *entry, *next;
	int error = 0;

	if (fd < 0)
		return -errno;
	if (dprintf(fd, "%s\n", journal->epoch) < 0)
		error = -errno;
	HASH_ITER (hh, journal->entries, entry, next) {
		if (error == 0 && dprintf(fd, "+%s\n", addr_format(&entry->address, text)) < 0)
			error = -errno;
	}
	if (error == 0 &&
	    renameat(journal->directory, FILE_NAME ".new", journal->directory, FILE_NAME) < 0)
		error = -errno;
	if (error < 0) {
		close(fd);
		return error;
	}
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = fd;
	journal->lines = HASH_COUNT(journal->entries);
	return 0;
}

static int append(struct journal *journal, char sign, const struct addr *address)
{
	char text[ADDR_TEXT_SIZE];

	if (dprintf(journal->fd, "%c%s\n", sign, addr_format(address, text)) < 0)
		return -errno;
	journal->lines++;
	if (journal->lines > 2 * HASH_COUNT(journal->entries) + HISTORY_MAX)
		(void)rewrite(journal); /* the longer file says the same */
	return 0;
}

int journal_open(const char *state_dir, struct journal **ret, struct errbuf *err)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	int error;

	if (journal == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	journal->fd = -1;
	epoch_read(journal->epoch);
	journal->directory = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	error = journal->directory < 0 ? -errno : load(journal);
	if (error == 0)
		error = rewrite(journal);
	if (error < 0) {
		journal_close(journal);
		return errbuf_set(err, error, "cannot keep %s/" FILE_NAME ": %s", state_dir,
				  strerror(-error));
	}
	*ret = journal;
	return 0;
}

void journal_close(struct journal *journal)
{
	struct entry *entry, *next;

	if (journal == NULL)
		return;
	HASH_ITER (hh, journal->entries, entry, next)
		entry_remove(journal, entry);
	if (journal->fd >= 0)
		close(journal->fd);
	if (journal->directory >= 0)
		close(journal->directory);
	free(journal);
}

int journal_add(struct journal *journal, const struct addr *address, struct errbuf *err)
{
	int error;

	if (find(journal, address) != NULL)
		return 0;
	error = entry_add(journal, address);
	if (error == 0) {
		error = append(journal, '+', address);
		if (error < 0)
			entry_remove(journal, find(journal, address));
	}
	if (error < 0)
		return errbuf_set(
			err, error,
			"cannot note an address in the state directory's file \"" FILE_NAME
			"\": %s",
			strerror(-error));
	return 0;
}

void journal_remove(struct journal *journal, const struct addr *address)
{
	struct entry *entry = find(journal, address);

	if (entry == NULL)
		return;
	entry_remove(journal, entry);
	/* Unwritten it would be taken off a device once more, where it no longer is. */
	(void)append(journal, '-', address);
}

bool journal_has(const struct journal *journal, const struct addr *address)
{
	return find(journal, address) != NULL;
}
