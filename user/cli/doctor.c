/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `slb doctor`: what this machine lets slb do, as a table or as JSON (that of GET /capabilities).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/encode.h"
#include "cli/command.h"
#include "cli/privilege.h"
#include "datapath/probe.h"

struct doctor_options {
	const char *adapter; /* NULL: all devices */
	bool json;
};

static const char help[] =
	"Usage: slb doctor [--adapter NAME] [--json]\n"
	"\n"
	"Finds out what the kernel and the devices can do, why not more, what follows from it and "
	"what\n"
	"to do about it. Changes nothing; but to see whether a device takes native XDP, a program "
	"is\n"
	"attached to it for a moment, in which some drivers hold its traffic.\n"
	"\n"
	"  --adapter NAME  only this device; without it, every Ethernet device that is up\n"
	"  --json          the same as GET /capabilities answers\n"
	"\n"
	"Exit status: 0 when some datapath works, 1 when none does, 2 for a wrong command line.\n";

/* ---- the table */

/* Sentences go on below each other, behind the columns. */
static void print_line(const char *name, const char *status, const char *label, const char *text)
{
	if (text != NULL && text[0] != '\0')
		printf("%-24s %-8s %s%s\n", name, status, label, text);
}

static void print_capability(const struct capability *capability)
{
	static const char *const statuses[] = {
#define CAPABILITY_STATUS(constant, name) [constant] = name,
		CAPABILITY_STATUSES(CAPABILITY_STATUS)
#undef CAPABILITY_STATUS
	};

	print_line(capability->name, statuses[capability->status], "", capability->reason);
	print_line("", "", "so: ", capability->consequence);
	print_line("", "", "to do: ", capability->advice);
}

static void print_table(const struct capabilities *found)
{
	for (size_t i = 0; i < found->capability_count; i++)
		print_capability(&found->capabilities[i]);
	printf("\n%-24s datapath\n", "device");
	for (size_t i = 0; i < found->device_count; i++) {
		const struct device_capability *device = &found->devices[i];

		printf("%-24s %s\n", device->name, device->datapath);
		for (size_t j = 0; j < device->reason_count; j++)
			print_line("", "", "", device->reasons[j]);
	}
}

static int print_json(const struct capabilities *found)
{
	struct text text = { 0 };

	encode_capabilities(&text, found);
	if (text.failed)
		return -1;
	printf("%.*s\n", (int)text.length, text.data);
	text_free(&text);
	return 0;
}

/* ---- the command */

static const char *parse(int argc, char **argv, struct doctor_options *ret, bool *ret_help)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			ret->json = true;
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			*ret_help = true;
		else if (strcmp(argv[i], "--adapter") == 0 && i + 1 < argc)
			ret->adapter = argv[++i];
		else if (strncmp(argv[i], "--adapter=", 10) == 0)
			ret->adapter = argv[i] + 10;
		else
			return "doctor takes --adapter NAME and --json, nothing else";
	}
	return NULL;
}

static void examine_privilege(struct probe *probe)
{
	struct errbuf err;
	int r = privilege_check(&err);

	probe_add(probe, "privilege", r == 0 ? CAPABILITY_OK : CAPABILITY_REFUSED,
		  r == 0 ? "CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN are there" : err.text,
		  r == 0 ? "" : "`slb server` does not start, and what is said here may be wrong",
		  r == 0 ? "" : "sudo slb doctor");
}

static bool does_one_work(const struct capabilities *found)
{
	for (size_t i = 0; i < found->device_count; i++) {
		if (strcmp(found->devices[i].datapath, "none") != 0)
			return true;
	}
	return false;
}

int command_doctor_help(void)
{
	fputs(help, stdout);
	return 0;
}

int command_doctor(int argc, char **argv)
{
	struct doctor_options options = { 0 };
	const struct capabilities *found;
	struct probe *probe;
	struct errbuf err;
	bool wants_help = false, works;
	const char *wrong = parse(argc, argv, &options, &wants_help);
	int r;

	if (wrong != NULL)
		return command_usage_error(wrong, "slb help doctor");
	if (wants_help)
		return command_doctor_help();
	r = probe_open(&probe, &err);
	if (r == 0) {
		examine_privilege(probe);
		r = probe_devices(probe, options.adapter, &err);
		if (r < 0)
			probe_free(probe);
	}
	if (r < 0) {
		fprintf(stderr, "slb: %s\n", err.text);
		return EXIT_FAILURE;
	}
	found = probe_capabilities(probe);
	works = does_one_work(found);
	if (options.json)
		r = print_json(found);
	else
		print_table(found);
	probe_free(probe);
	return r == 0 && works ? EXIT_SUCCESS : EXIT_FAILURE;
}
