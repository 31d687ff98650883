/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/spawn.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void read_words(int fd, char words[SPAWN_WORDS_SIZE])
{
	ssize_t length = pread(fd, words, SPAWN_WORDS_SIZE - 1, 0);

	words[length > 0 ? length : 0] = '\0';
	for (char *c = words; *c != '\0'; c++) {
		if (*c == '\n')
			*c = ' ';
	}
}

/* All that a program printed, for free(); NULL when memory is short. */
static char *read_all(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = size < 0 ? NULL : calloc(1, (size_t)size + 1);

	if (text != NULL && pread(fd, text, (size_t)size, 0) != size) {
		free(text);
		return NULL;
	}
	return text;
}

int spawn_run(char *const argv[], const char *input, char words[static SPAWN_WORDS_SIZE],
	      char **ret_output)
{
	posix_spawn_file_actions_t actions;
	int in = memfd_create("input", MFD_CLOEXEC), out = memfd_create("output", MFD_CLOEXEC);
	size_t length = strlen(input);
	int status = -1, r = 0;
	pid_t pid;

	words[0] = '\0';
	if (in < 0 || out < 0 || write(in, input, length) != (ssize_t)length ||
	    lseek(in, 0, SEEK_SET) != 0)
		r = -errno;
	if (r == 0) {
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
		posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
		posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
		r = -posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
		if (r < 0)
			snprintf(words, SPAWN_WORDS_SIZE, "%s cannot be started: %s", argv[0],
				 strerror(-r));
	}
	if (r == 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			read_words(out, words);
			r = -EIO;
		}
	}
	if (r == 0 && ret_output != NULL) {
		*ret_output = read_all(out);
		r = *ret_output == NULL ? -ENOMEM : 0;
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return r;
}
