/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads eBPF objects into the running kernel and says of each program what became of it.
 *
 *     bpfload OBJECT...                       load all, one line per program
 *     bpfload --run PROGRAM HEX OBJECT        load, then BPF_PROG_TEST_RUN with that packet; prints
 * verdict and packet
 *
 * Lines are `ok OBJECT PROGRAM insns N ms N`, `failed OBJECT: reason` and `run PROGRAM verdict N
 * HEX`; after `failed` comes the end of the verifier's log, indented. Exit status 1 when something
 * failed. Used by test_load.py, in guests.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOG_BYTES = 1 << 20, LOG_TAIL_LINES = 12, DEFAULT_ENTRIES = 4096, PACKET_BYTES = 2048 };

/* What libbpf said last as a warning: a static, since its print callback takes no argument. */
static char last_warning[512];

static int keep_warning(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level == LIBBPF_WARN && !strstr(format, "BEGIN PROG LOAD LOG"))
		vsnprintf(last_warning, sizeof(last_warning), format, arguments);
	return 0;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void print_log_tail(const char *log)
{
	const char *start = log + strlen(log);
	int lines = 0;

	while (start > log && lines <= LOG_TAIL_LINES)
		if (*--start == '\n')
			lines++;
	for (const char *line = start; *line;) {
		int length = (int)strcspn(line, "\n");

		if (length)
			printf("    %.*s\n", length, line);
		line += length + (line[length] == '\n');
	}
}

static void print_programs(struct bpf_object *object, const char *name, double ms)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
	{
		struct bpf_prog_info info = {};
		__u32 length = sizeof(info);

		if (bpf_program__fd(program) < 0)
			continue;
		if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length))
			continue;
		/* verified_insns is not filled in before 5.16. */
		printf("ok %s %s insns %u verified %u ms %.0f\n", name, bpf_program__name(program),
		       info.xlated_prog_len / 8, info.verified_insns, ms);
	}
}

/* Maps whose size is set by whoever loads them get one; all others keep theirs. */
static void size_maps(struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		struct bpf_map *inner = bpf_map__inner_map(map);

		if (bpf_map__max_entries(map) == 0 &&
		    bpf_map__type(map) != BPF_MAP_TYPE_PERF_EVENT_ARRAY)
			bpf_map__set_max_entries(map, DEFAULT_ENTRIES);
		if (inner && bpf_map__max_entries(inner) == 0)
			bpf_map__set_max_entries(inner, DEFAULT_ENTRIES);
	}
}

/* Returns the loaded object, which the caller closes, or NULL after saying why. */
static struct bpf_object *load(const char *path, char *log)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .kernel_log_buf = log,
		    .kernel_log_size = LOG_BYTES);
	char *copy = strdup(path);
	const char *name = basename(copy);
	struct bpf_object *object = bpf_object__open_file(path, &options);
	double start = now_ms();
	int error;

	log[0] = '\0';
	if (object)
		size_maps(object);
	error = object ? bpf_object__load(object) : -errno;
	if (error) {
		last_warning[strcspn(last_warning, "\n")] = '\0';
		printf("failed %s: %s: %s\n", name, strerror(-error), last_warning);
		print_log_tail(log);
		bpf_object__close(object);
		object = NULL;
	} else {
		print_programs(object, name, now_ms() - start);
	}
	free(copy);
	return object;
}

static size_t from_hex(const char *text, unsigned char *packet, size_t size)
{
	size_t length = 0;

	while (length < size && sscanf(text + 2 * length, "%2hhx", &packet[length]) == 1)
		length++;
	return length;
}

static int run(struct bpf_object *object, const char *name, const char *hex)
{
	unsigned char in[PACKET_BYTES], out[PACKET_BYTES];
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);
	int error;

	if (!program) {
		printf("failed %s: no such program\n", name);
		return 1;
	}
	options.data_size_in = (__u32)from_hex(hex, in, sizeof(in));
	error = bpf_prog_test_run_opts(bpf_program__fd(program), &options);
	if (error) {
		printf("failed %s: BPF_PROG_TEST_RUN: %s\n", name, strerror(-error));
		return 1;
	}
	printf("run %s verdict %u ", name, options.retval);
	for (__u32 i = 0; i < options.data_size_out; i++)
		printf("%02x", out[i]);
	printf("\n");
	return 0;
}

int main(int argc, char **argv)
{
	int first = argc > 3 && !strcmp(argv[1], "--run") ? 4 : 1, status = 0;
	char *log = malloc(LOG_BYTES);

	if (!log)
		return 1;
	libbpf_set_print(keep_warning);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = first; i < argc; i++) {
		struct bpf_object *object = load(argv[i], log);

		if (!object || (first == 4 && run(object, argv[2], argv[3])))
			status = 1;
		bpf_object__close(object);
	}
	free(log);
	return status;
}
