/* SPDX-License-Identifier: GPL-2.0-only */
/* ipam_pool and addr_set: what --ipamRange may say, and sets of addresses. */
#include "core/ipam_pool.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct addr addr_from(const char *text)
{
	struct addr addr;

	if (addr_parse(text, &addr) < 0)
		fail_msg("not an address: %s", text);
	return addr;
}

static void expect_pool(const char *text, const char *expected)
{
	struct ipam_pool pool;
	struct errbuf err;
	char *got = NULL, a[ADDR_TEXT_SIZE], b[ADDR_TEXT_SIZE];
	size_t size;
	FILE *out = open_memstream(&got, &size);

	if (ipam_pool_parse(text, &pool, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < pool.count; i++)
		fprintf(out, "%s%s-%s", i > 0 ? " " : "", addr_format(&pool.ranges[i].first, a),
			addr_format(&pool.ranges[i].last, b));
	fclose(out);
	assert_string_equal(got, expected);
	free(got);
	ipam_pool_free(&pool);
}

static void test_pool(void **state)
{
	(void)state;
	expect_pool("10.0.0.5", "10.0.0.5-10.0.0.5");
	expect_pool("10.0.0.5-10.0.0.9", "10.0.0.5-10.0.0.9");
	expect_pool(" 10.0.0.5 , 10.0.0.7", "10.0.0.5-10.0.0.5 10.0.0.7-10.0.0.7");
	expect_pool("10.0.0.0/24", "10.0.0.1-10.0.0.254");
	expect_pool("10.0.0.0/30", "10.0.0.1-10.0.0.2");
	expect_pool("10.0.0.0/31", "10.0.0.0-10.0.0.1");
	expect_pool("10.0.0.7/32", "10.0.0.7-10.0.0.7");
	expect_pool("10.0.0.9-10.0.0.12,10.0.0.5-10.0.0.10", "10.0.0.5-10.0.0.12");
	expect_pool("10.0.0.5,10.0.0.6,10.0.0.4", "10.0.0.4-10.0.0.6");
	expect_pool("10.0.0.1-10.0.0.9,10.0.0.3-10.0.0.4,10.0.0.11",
		    "10.0.0.1-10.0.0.9 10.0.0.11-10.0.0.11");
	expect_pool("2001:db8::/64", "2001:db8::1-2001:db8::ffff:ffff:ffff:ffff");
	expect_pool("2001:db8::/127", "2001:db8::-2001:db8::1");
	expect_pool("2001:db8::5/128,10.0.0.1", "10.0.0.1-10.0.0.1 2001:db8::5-2001:db8::5");
	expect_pool("223.255.255.255", "223.255.255.255-223.255.255.255");
}

static void test_pool_errors(void **state)
{
	static const char *const bad[][2] = {
		{ "", "is empty" },
		{ "10.0.0.1,,10.0.0.2", "is empty" },
		{ "10.0.0.1,", "is empty" },
		{ "10.0.0.9-10.0.0.5", "ends before it begins" },
		{ "10.0.0.1-2001:db8::1", "mixes" },
		{ "10.0.0.5/24", "bits set" },
		{ "10.0.0.0/33", "prefix length" },
		{ "10.0.0.0/", "prefix length" },
		{ "10.0.0.0/+8", "prefix length" },
		{ "10.0.0.0/8x", "prefix length" },
		{ "2001:db8::/129", "prefix length" },
		{ "10.0.0/24", "does not begin" },
		{ "eth0", "does not begin" },
		{ "10.0.0.1-", "does not end" },
		{ "10.0.0.1-10.0.0", "does not end" },
		{ "10.0.0.1-10.0.0.2-10.0.0.3", "does not end" },
		{ "127.0.0.1", "no host can have" },
		{ "0.0.0.0/0", "no host can have" },
		{ "126.0.0.1-128.0.0.1", "no host can have" },
		{ "224.0.0.1-224.0.0.9", "no host can have" },
		{ "fe80::/64", "no host can have" },
		{ "fe00::1-fec0::1", "no host can have" },
		{ "::/0", "no host can have" },
		{ "ff02::1", "no host can have" },
		{ "10.0.0."
		  "1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "a"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  "too long" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct errbuf err = { .text = "" };
		struct ipam_pool pool;

		if (ipam_pool_parse(bad[i][0], &pool, &err) != -EINVAL ||
		    strstr(err.text, bad[i][1]) == NULL)
			fail_msg("%s: %s", bad[i][0], err.text);
	}
}

static void test_pool_size(void **state)
{
	struct ipam_pool pool;
	struct errbuf err;
	struct addr addr;

	(void)state;
	assert_int_equal(ipam_pool_parse("10.0.0.0/24,10.1.0.0/16,2001:db8::/64,2001:db9::/120",
					 &pool, &err),
			 0);
	assert_int_equal(ipam_pool_size(&pool, AF_INET), 254 + 65534);
	assert_true(ipam_pool_size(&pool, AF_INET6) == UINT64_MAX);
	addr = addr_from("10.0.0.0");
	assert_false(ipam_pool_contains(&pool, &addr));
	addr = addr_from("10.0.0.254");
	assert_true(ipam_pool_contains(&pool, &addr));
	addr = addr_from("10.2.0.0");
	assert_false(ipam_pool_seek(&pool, &addr)); /* the next is of another family */
	ipam_pool_free(&pool);
}

static void test_set(void **state)
{
	struct addr_set set = { 0 };
	bool in[256] = { false };
	unsigned int seed = 1;
	size_t count = 0;

	(void)state;
	/* Against a plain table, with the ends of the address space in it. */
	for (size_t step = 0; step < 20000; step++) {
		unsigned int n = (unsigned int)rand_r(&seed) % 256;
		struct addr addr = { .family = AF_INET, .bytes = { 255, 255, 255, (uint8_t)n } };
		struct addr free_addr = { .family = AF_INET,
					  .bytes = { 255, 255, 255, (uint8_t)n } };
		unsigned int next = n;

		if (rand_r(&seed) % 2 == 0) {
			assert_int_equal(addr_set_add(&set, &addr), 0);
			count += !in[n];
			in[n] = true;
		} else {
			addr_set_remove(&set, &addr);
			count -= in[n];
			in[n] = false;
		}
		assert_int_equal(set.count, count);
		assert_int_equal(addr_set_contains(&set, &addr), in[n]);
		while (next < 256 && in[next])
			next++;
		assert_int_equal(addr_set_skip(&set, &free_addr), next < 256);
		if (next < 256)
			assert_int_equal(free_addr.bytes[3], next);
		for (size_t i = 1; i < set.run_count; i++) {
			struct addr after = set.runs[i - 1].last;

			assert_true(addr_next(&after));
			assert_true(addr_compare(&after, &set.runs[i].first) < 0);
		}
	}
	addr_set_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_pool_errors),
		cmocka_unit_test(test_pool_size),
		cmocka_unit_test(test_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
