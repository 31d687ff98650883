/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * command: what `slb NAME …` can be. main() looks a command up in this table and runs it; the usage
 * text is made from it.
 *
 * Exit statuses: 0 done, 1 it was tried and failed, 2 the command line was wrong (nothing was
 * touched).
 */
#ifndef SLB_CLI_COMMAND_H
#define SLB_CLI_COMMAND_H

#include <stddef.h>

#define EXIT_USAGE 2

struct command {
	const char *name;
	const char *summary;
	/* argv[0] is the command's name. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

extern const struct command commands[];
extern const size_t command_count;

/* NULL when unknown. */
const struct command *command_find(const char *name);

/* Prints `sentence` and where to read more to standard error; returns EXIT_USAGE. */
int command_usage_error(const char *sentence, const char *help_command);

/* The commands, one per file. */
int command_server(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_doctor_help(void);
int command_purge(int argc, char **argv);
int command_version(int argc, char **argv);
int command_help(int argc, char **argv);

#endif
