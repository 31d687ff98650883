/* SPDX-License-Identifier: GPL-2.0-only */
/* Looks up the command and runs it; each command is a file in cli/. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

int main(int argc, char **argv)
{
	const struct command *command;
	char sentence[128];

	if (argc < 2) {
		command_help(1, argv);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return command_help(1, argv);
	command = command_find(argv[1]);
	if (command == NULL) {
		snprintf(sentence, sizeof(sentence),
			 "there is no command '%.64s'; to start the load balancer write `slb "
			 "server`",
			 argv[1]);
		return command_usage_error(sentence, "slb help");
	}
	return command->run(argc - 1, argv + 1);
}
