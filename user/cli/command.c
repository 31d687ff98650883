/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "cli/server_options.h"

const struct command commands[] = {
	{ "server", "start the load balancer and its API", command_server },
	{ "doctor", "tell what this machine lets slb do, and why not more", command_doctor },
	{ "purge", "take everything off the node that slb put there", command_purge },
	{ "version", "print the version", command_version },
	{ "help", "print this, or the help of a command", command_help },
};
const size_t command_count = sizeof(commands) / sizeof(*commands);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

int command_usage_error(const char *sentence, const char *help_command)
{
	fprintf(stderr, "slb: %s\nSee `%s`.\n", sentence, help_command);
	return EXIT_USAGE;
}

int command_version(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return command_usage_error("version takes no arguments", "slb help");
	printf("slb %s (%s)\n", SLB_VERSION, SLB_GIT_ID);
	return 0;
}

int command_help(int argc, char **argv)
{
	if (argc > 1 && command_find(argv[1]) == NULL)
		return command_usage_error("help is there for the commands listed by `slb help`",
					   "slb help");
	if (argc > 1 && strcmp(argv[1], "server") == 0) {
		server_options_print_help(stdout);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "doctor") == 0)
		return command_doctor_help();
	printf("slb, the Steel Load Balancer\n\nUsage: slb COMMAND [FLAGS]\n\nCommands:\n");
	for (size_t i = 0; i < command_count; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	printf("\nThe flags of the server: slb help server\n");
	return 0;
}
