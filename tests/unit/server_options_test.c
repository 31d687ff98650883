/* SPDX-License-Identifier: GPL-2.0-only */
/* The flags of `slb server`: what is accepted, and the sentence for what is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/server_options.h"

#define ARGS_MAX 24
#define BASE     "--arp --adapter eth0 --ipamRange 10.0.0.1-10.0.0.9"

/* Parses a command line written as one string, words separated by single spaces. */
static int parse(const char *line, struct server_options *options, struct errbuf *err)
{
	static char copy[512]; /* options borrow from it */
	char *argv[ARGS_MAX + 1] = { (char *)"server" }, *rest = copy, *word;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	while ((word = strsep(&rest, " ")) != NULL && argc < ARGS_MAX) {
		if (*word != '\0')
			argv[argc++] = word;
	}
	return server_options_parse(argc, argv, options, err);
}

static void defaults(void **state)
{
	struct server_options options;
	struct errbuf err;

	(void)state;
	assert_int_equal(parse(BASE, &options, &err), 0);
	assert_string_equal(options.adapter, "eth0");
	assert_string_equal(options.ipam_range, "10.0.0.1-10.0.0.9");
	assert_true(options.arp);
	assert_int_equal(options.port, 10001);
	assert_int_equal(options.datapath, DATAPATH_AUTO);
	assert_string_equal(options.state_dir, "/var/lib/slb");
	assert_string_equal(options.pin_path, "/sys/fs/bpf/slb");
	assert_int_equal(options.on_exit, ON_EXIT_WITHDRAW);
}

static void all_values(void **state)
{
	struct server_options options;
	struct errbuf err;

	(void)state;
	assert_int_equal(
		parse(BASE " --port=10002 --api-listen 127.0.0.1 --api-listen=[::1]:99 "
			   "--datapath tc --state-dir /s --pin-path /p --on-exit keep "
			   "--snat-addresses 10.0.0.2,fd00::2 --log-format json --log-level debug",
		      &options, &err),
		0);
	assert_int_equal(options.port, 10002);
	assert_int_equal(options.api_listen_count, 2);
	assert_string_equal(options.api_listen[1], "[::1]:99");
	assert_int_equal(options.datapath, DATAPATH_TC);
	assert_string_equal(options.pin_path, "/p");
	assert_int_equal(options.on_exit, ON_EXIT_KEEP);
	assert_int_equal(options.snat_address_count, 2);
	assert_int_equal(options.snat_addresses[1].family, AF_INET6);
	assert_int_equal(options.log_format, LOG_FORMAT_JSON);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
}

/* A wrong line, and what its sentence must hold. */
static const char *const wrong[][2] = {
	{ "", "--adapter" },
	{ "--adapter eth0 --ipamRange 10.0.0.1", "--arp" },
	{ "--arp --adapter eth0", "--ipamRange" },
	{ BASE " --ipamrange 10.0.0.1", "did you mean --ipamRange?" },
	{ BASE " --adap eth1", "did you mean --adapter?" },
	{ BASE " --nonsense", "there is no flag '--nonsense'" },
	{ BASE " -x", "there is no flag '-x'" },
	{ BASE " extra", "'extra' is no flag" },
	{ BASE " --port", "--port needs a value" },
	{ BASE " --port 0", "1 to 65535, not '0'" },
	{ BASE " --port 65536", "not '65536'" },
	{ BASE " --port 80x", "not '80x'" },
	{ BASE " --port -1", "not '-1'" },
	{ BASE " --port 080", "not '080'" },
	{ BASE " --adapter eth1", "given twice" },
	{ "--arp --adapter eth0 --ipamRange 10.0.0.9-10.0.0.1", "--ipamRange" },
	{ BASE " --api-listen nowhere", "--api-listen" },
	{ BASE " --datapath fast", "auto, xdp, xdp-generic, tc or ipvs" },
	{ BASE " --state-dir relative", "absolute path" },
	{ BASE " --snat-addresses 10.0.0.2,x", "'x'" },
	{ BASE " --snat-addresses 127.0.0.1", "'127.0.0.1'" },
	{ BASE " --log-format xml", "text, logfmt or json" },
	{ BASE " --log-level loud", "error, warn, info or debug" },
	{ BASE " --on-exit maybe", "withdraw, keep or drain" },
	{ "--arp --ipamRange 10.0.0.1 --adapter a/b", "name of a network device" },
	{ "--arp --ipamRange 10.0.0.1 --adapter nameofadevicethatistoolong",
	  "name of a network device" },
	{ BASE " --arp=yes", "--arp" },
};

static void wrong_lines_are_explained(void **state)
{
	struct server_options options, before;
	struct errbuf err;

	(void)state;
	memset(&options, 0x5a, sizeof(options));
	memcpy(&before, &options, sizeof(options));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(parse(wrong[i][0], &options, &err), -EINVAL);
		if (strstr(err.text, wrong[i][1]) == NULL)
			fail_msg("'%s' gave: %s", wrong[i][0], err.text);
		assert_memory_equal(&options, &before, sizeof(options));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(all_values),
		cmocka_unit_test(wrong_lines_are_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
