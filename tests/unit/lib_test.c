/* SPDX-License-Identifier: GPL-2.0-only */
/* user/lib: addresses, sentences, log names. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/errbuf.h"
#include "lib/log.h"

static struct addr parse(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static void addr_text_round_trip(void **state)
{
	static const char *const texts[][2] = {
		{ "192.168.0.85", "192.168.0.85" },
		{ "fd00::1", "fd00::1" },
		{ "FD00:0:0::0001", "fd00::1" },
	};
	char buf[ADDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct addr addr = parse(texts[i][0]);

		assert_string_equal(addr_format(&addr, buf), texts[i][1]);
	}
}

static void addr_parse_refuses(void **state)
{
	static const char *const texts[] = { "",           "1.2.3",    "1.2.3.4.5",  "256.0.0.1",
					     "1.2.3.4/24", " 1.2.3.4", "fe80::1%lo", "host" };
	struct addr addr = parse("10.0.0.1"), before = addr;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(addr_parse(texts[i], &addr), -EINVAL);
		assert_true(addr_equal(&addr, &before));
	}
}

static void addr_next_carries_and_ends(void **state)
{
	struct addr addr = parse("10.0.255.255");
	struct addr expected = parse("10.1.0.0");

	(void)state;
	assert_true(addr_next(&addr));
	assert_true(addr_equal(&addr, &expected));

	addr = parse("255.255.255.255");
	assert_false(addr_next(&addr));
	addr = parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_false(addr_next(&addr));
}

static void addr_order_is_numeric(void **state)
{
	struct addr low = parse("10.0.0.9"), high = parse("10.0.0.10"), v6 = parse("fd00::1");

	(void)state;
	assert_true(addr_compare(&low, &high) < 0);
	assert_true(addr_compare(&high, &low) > 0);
	assert_true(addr_compare(&high, &v6) < 0);
}

static void addr_usable_unicast(void **state)
{
	static const char *const good[] = { "10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1" };
	static const char *const bad[] = {
		"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1",      "::",
		"::1",     "ff02::1",   "fe80::1",   "0.1.2.3",         "::ffff:10.0.0.1"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct addr addr = parse(good[i]);

		assert_true(addr_is_usable_unicast(&addr));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct addr addr = parse(bad[i]);

		assert_false(addr_is_usable_unicast(&addr));
	}
}

static void errbuf_sentences(void **state)
{
	struct errbuf err;
	char expected[ERRBUF_SIZE];

	(void)state;
	assert_int_equal(errbuf_set_field(&err, -EINVAL, "port", "port %d is none", 0), -EINVAL);
	assert_string_equal(err.text, "port 0 is none");
	assert_string_equal(err.field, "port");
	assert_int_equal(errbuf_prefix(&err, -EINVAL, "backend %d", 3), -EINVAL);
	assert_string_equal(err.text, "backend 3: port 0 is none");
	assert_string_equal(err.field, "port");

	/* A sentence that does not fit is cut, never overrun. */
	memset(expected, 'x', sizeof(expected));
	expected[sizeof(expected) - 1] = '\0';
	errbuf_set(&err, -EIO, "%s", expected);
	errbuf_prefix(&err, -EIO, "context");
	assert_int_equal(strlen(err.text), ERRBUF_SIZE - 1);
}

/* What log_write() printed to standard error. */
static void captured_log(char *buf, size_t size, const char *message)
{
	int pipe_fds[2], saved = dup(STDERR_FILENO);
	ssize_t length;

	assert_int_equal(pipe(pipe_fds), 0);
	dup2(pipe_fds[1], STDERR_FILENO);
	log_info("%s", message);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipe_fds[1]);
	length = read(pipe_fds[0], buf, size - 1);
	close(pipe_fds[0]);
	buf[length < 0 ? 0 : length] = '\0';
}

static void log_lines_cannot_be_forged(void **state)
{
	char line[512];

	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	captured_log(line, sizeof(line), "Starting the Steel Load-Balancer");
	assert_string_equal(line, "INFO[0000] Starting the Steel Load-Balancer\n");
	captured_log(line, sizeof(line), "a\nERRO[0000] b\033[1m");
	assert_string_equal(line, "INFO[0000] a\\u000aERRO[0000] b\\u001b[1m\n");

	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	captured_log(line, sizeof(line), "name \"x\\y\"");
	assert_non_null(strstr(line, "\"level\":\"info\",\"msg\":\"name \\\"x\\\\y\\\"\"}\n"));

	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	captured_log(line, sizeof(line), "a=\"b\"");
	assert_non_null(strstr(line, "level=info msg=\"a=\\\"b\\\"\"\n"));

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	captured_log(line, sizeof(line), "not printed");
	assert_string_equal(line, "");
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addr_text_round_trip),
		cmocka_unit_test(addr_parse_refuses),
		cmocka_unit_test(addr_next_carries_and_ends),
		cmocka_unit_test(addr_order_is_numeric),
		cmocka_unit_test(addr_usable_unicast),
		cmocka_unit_test(errbuf_sentences),
		cmocka_unit_test(log_lines_cannot_be_forged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
