/* SPDX-License-Identifier: GPL-2.0-only */
/* OPEN: round trip, every truncation, every error of rfc: 4271 §6.2, negotiation. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "advertise/bgp/bgp_message.h"

static struct bgp_open full_open(void)
{
	return (struct bgp_open){
		.as = 4200000001u,
		.hold_s = 90,
		.identifier = 0x0a630001,
		.capabilities = { .given = true,
				  .route_refresh = true,
				  .as4 = true,
				  .graceful_restart = true,
				  .restarting = true,
				  .restart_time_s = 120,
				  .families = BGP_FAMILIES_ALL,
				  .restart_families = BGP_FAMILIES_ALL,
				  .forwarding = BGP_FAMILY_BIT(BGP_IPV6) },
	};
}

static size_t build(const struct bgp_open *open, uint8_t data[static 512])
{
	struct bgp_writer writer = { .data = data, .size = 512 };

	bgp_open_build(&writer, open);
	assert_false(writer.overflow);
	return writer.length;
}

static int parse(const uint8_t *body, size_t length, struct bgp_open *ret, struct bgp_error *error)
{
	struct bgp_reader reader = { .data = body, .length = length };

	return bgp_open_parse(reader, ret, error);
}

static void test_round_trip(void **state)
{
	struct bgp_open sent = full_open(), received;
	struct bgp_error error;
	uint8_t data[512];
	size_t length = build(&sent, data);

	(void)state;
	/* rfc: 6793: AS_TRANS stands where two bytes do not suffice. */
	assert_int_equal(data[20] << 8 | data[21], BGP_AS_TRANS);
	assert_int_equal(parse(data + 19, length - 19, &received, &error), 0);
	assert_int_equal(received.as, sent.as);
	assert_int_equal(received.hold_s, 90);
	assert_int_equal(received.identifier, sent.identifier);
	assert_true(received.capabilities.multiprotocol && received.capabilities.route_refresh);
	assert_true(received.capabilities.as4 && received.capabilities.graceful_restart);
	assert_true(received.capabilities.restarting);
	assert_int_equal(received.capabilities.restart_time_s, 120);
	assert_int_equal(received.capabilities.families, BGP_FAMILIES_ALL);
	assert_int_equal(received.capabilities.restart_families, BGP_FAMILIES_ALL);
	assert_int_equal(received.capabilities.forwarding, BGP_FAMILY_BIT(BGP_IPV6));
	assert_int_equal(received.capabilities.unknown, 0);
}

static void test_without_capabilities(void **state)
{
	struct bgp_open sent = { .as = 65000, .hold_s = 180, .identifier = 1 }, received;
	struct bgp_error error;
	uint8_t data[512];

	(void)state;
	assert_int_equal(build(&sent, data), BGP_OPEN_SIZE_MIN);
	assert_int_equal(parse(data + 19, 10, &received, &error), 0);
	assert_false(received.capabilities.given || received.capabilities.as4);
	assert_int_equal(received.capabilities.families, BGP_FAMILY_BIT(BGP_IPV4));
	assert_int_equal(received.as, 65000);
}

/* Every truncation, as a message whose header agrees with it: refused, with OPEN Message Error. */
static void test_truncations(void **state)
{
	struct bgp_open sent = full_open(), received;
	uint8_t data[512];
	size_t length = build(&sent, data) - 19;

	(void)state;
	for (size_t cut = 0; cut < length; cut++) {
		uint8_t *copy = malloc(cut == 0 ? 1 : cut);
		struct bgp_error error = { 0 };

		memcpy(copy, data + 19, cut);
		assert_int_equal(parse(copy, cut, &received, &error), -EPROTO);
		assert_int_equal(error.code, BGP_ERROR_OPEN);
		assert_int_equal(error.subcode, BGP_OPEN_UNSPECIFIC);
		/* The same with the lengths within made to fit. */
		if (cut > 12) {
			copy[9] = (uint8_t)(cut - 10);
			copy[11] = (uint8_t)(cut - 12);
			parse(copy, cut, &received, &error);
		}
		free(copy);
	}
}

#define FIXED 4, 0xfd, 0xe8, 0, 90, 10, 0, 0, 1 /* version 4, AS 65000, hold 90, 10.0.0.1 */

static void test_malformed(void **state)
{
	static const struct {
		const char *what;
		uint8_t body[40];
		size_t length;
		int subcode; /* -1: fine */
	} cases[] = {
		{ "no parameters", { FIXED, 0 }, 10, -1 },
		{ "unknown capability is ignored", { FIXED, 4, 2, 2, 200, 0 }, 14, -1 },
		{ "two parameters", { FIXED, 8, 2, 2, 2, 0, 2, 2, 200, 0 }, 18, -1 },
		{ "empty list of capabilities", { FIXED, 2, 2, 0 }, 12, -1 },
		{ "version 3",
		  { 3, 0xfd, 0xe8, 0, 90, 10, 0, 0, 1, 0 },
		  10,
		  BGP_OPEN_UNSUPPORTED_VERSION },
		{ "version 5",
		  { 5, 0xfd, 0xe8, 0, 90, 10, 0, 0, 1, 0 },
		  10,
		  BGP_OPEN_UNSUPPORTED_VERSION },
		{ "authentication parameter",
		  { FIXED, 3, 1, 1, 0 },
		  13,
		  BGP_OPEN_UNSUPPORTED_PARAMETER },
		{ "unknown parameter", { FIXED, 2, 77, 0 }, 12, BGP_OPEN_UNSUPPORTED_PARAMETER },
		{ "parameters longer than the message", { FIXED, 4, 2, 2 }, 12, 0 },
		{ "parameters shorter than the message", { FIXED, 0, 2, 2, 2, 0 }, 14, 0 },
		{ "parameter over the end", { FIXED, 3, 2, 9, 2 }, 13, 0 },
		{ "capability over the end", { FIXED, 4, 2, 2, 2, 9 }, 14, 0 },
		{ "capability without length", { FIXED, 3, 2, 1, 2 }, 13, 0 },
		{ "multiprotocol too short", { FIXED, 7, 2, 5, 1, 3, 0, 1, 0 }, 17, 0 },
		{ "AS4 too short", { FIXED, 7, 2, 5, 65, 3, 0, 1, 0 }, 17, 0 },
		{ "graceful restart too short", { FIXED, 5, 2, 3, 64, 1, 0 }, 15, 0 },
		{ "graceful restart with half a family",
		  { FIXED, 8, 2, 6, 64, 4, 0, 1, 0, 1 },
		  18,
		  0 },
		/* rfc: 9072: extended lengths */
		{ "extended", { FIXED, 255, 255, 0, 5, 2, 0, 2, 2, 0 }, 18, -1 },
		{ "extended with a length of 1", { FIXED, 1, 255, 0, 5, 2, 0, 2, 2, 0 }, 18, -1 },
		{ "extended, over the end", { FIXED, 255, 255, 0, 6, 2, 0, 2, 2, 0 }, 18, 0 },
		{ "extended, cut", { FIXED, 255, 255, 0 }, 12, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bgp_error error = { 0 };
		struct bgp_open open;
		int result = parse(cases[i].body, cases[i].length, &open, &error);

		print_message("OPEN: %s\n", cases[i].what);
		assert_int_equal(result, cases[i].subcode < 0 ? 0 : -EPROTO);
		if (cases[i].subcode < 0)
			continue;
		assert_int_equal(error.code, BGP_ERROR_OPEN);
		assert_int_equal(error.subcode, cases[i].subcode);
		if (cases[i].subcode == BGP_OPEN_UNSUPPORTED_VERSION) {
			assert_int_equal(error.data_length, 2);
			assert_int_equal(error.data[1], BGP_VERSION);
		}
	}
}

static void test_check(void **state)
{
	static const struct {
		const char *what;
		uint32_t as, identifier;
		uint16_t hold_s;
		unsigned families;
		int subcode; /* -1: fine */
	} cases[] = {
		{ "fine", 65001, 7, 90, BGP_FAMILIES_ALL, -1 },
		{ "hold 0", 65001, 7, 0, BGP_FAMILIES_ALL, -1 },
		{ "hold 3", 65001, 7, 3, BGP_FAMILIES_ALL, -1 },
		{ "hold 1", 65001, 7, 1, BGP_FAMILIES_ALL, BGP_OPEN_UNACCEPTABLE_HOLD },
		{ "hold 2", 65001, 7, 2, BGP_FAMILIES_ALL, BGP_OPEN_UNACCEPTABLE_HOLD },
		{ "another AS", 65002, 7, 90, BGP_FAMILIES_ALL, BGP_OPEN_BAD_PEER_AS },
		{ "AS 0", 0, 7, 90, BGP_FAMILIES_ALL, BGP_OPEN_BAD_PEER_AS },
		{ "identifier 0", 65001, 0, 90, BGP_FAMILIES_ALL, BGP_OPEN_BAD_IDENTIFIER },
		/* rfc: 6286: the same identifier is allowed between AS, not within one. */
		{ "our identifier, eBGP", 65001, 5, 90, BGP_FAMILIES_ALL, -1 },
		{ "one family", 65001, 7, 90, BGP_FAMILY_BIT(BGP_IPV6), -1 },
		{ "no family", 65001, 7, 90, 0, BGP_OPEN_UNSUPPORTED_CAPABILITY },
	};
	struct bgp_open local = { .as = 65000,
				  .identifier = 5,
				  .capabilities = { .families = BGP_FAMILIES_ALL } };
	struct bgp_open same = { .as = 65000, .identifier = 5, .hold_s = 90 };
	struct bgp_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bgp_open open = { .as = cases[i].as,
					 .identifier = cases[i].identifier,
					 .hold_s = cases[i].hold_s,
					 .capabilities = { .families = cases[i].families } };

		print_message("check: %s\n", cases[i].what);
		assert_int_equal(bgp_open_check(&open, &local, 65001, &error),
				 cases[i].subcode < 0 ? 0 : -EPROTO);
		if (cases[i].subcode >= 0)
			assert_int_equal(error.subcode, cases[i].subcode);
	}
	assert_int_equal(bgp_open_check(&same, &local, 65000, &error), -EPROTO);
	assert_int_equal(error.subcode, BGP_OPEN_BAD_IDENTIFIER);
}

static void test_negotiate(void **state)
{
	struct bgp_open ours = full_open(), theirs = full_open();
	struct bgp_negotiated both;

	(void)state;
	theirs.as = 65001;
	theirs.hold_s = 30;
	theirs.capabilities.families = BGP_FAMILY_BIT(BGP_IPV6);
	bgp_open_negotiate(&ours, &theirs, &both);
	assert_false(both.ibgp);
	assert_true(both.as4 && both.route_refresh && both.graceful_restart);
	assert_int_equal(both.hold_s, 30);
	assert_int_equal(both.families, BGP_FAMILY_BIT(BGP_IPV6));

	theirs = (struct bgp_open){ .as = ours.as, .hold_s = 0 };
	theirs.capabilities.families = BGP_FAMILY_BIT(BGP_IPV4);
	bgp_open_negotiate(&ours, &theirs, &both);
	assert_true(both.ibgp);
	assert_false(both.as4 || both.route_refresh || both.graceful_restart);
	assert_int_equal(both.hold_s, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_without_capabilities),
		cmocka_unit_test(test_truncations), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_check),       cmocka_unit_test(test_negotiate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
