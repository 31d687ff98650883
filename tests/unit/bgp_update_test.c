/* SPDX-License-Identifier: GPL-2.0-only */
/* UPDATE: what is built is read back; every reaction of rfc: 4271 §6.3 and 7606, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "advertise/bgp/bgp_message.h"

static const struct bgp_update_context ebgp = { .as4 = true, .families = BGP_FAMILIES_ALL };
static const struct bgp_update_context ibgp = { .ibgp = true,
						.as4 = true,
						.families = BGP_FAMILIES_ALL };
static const struct bgp_update_context old = { .families = BGP_FAMILIES_ALL };

static struct addr address(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static struct bgp_update_summary parse(const uint8_t *body, size_t length,
				       const struct bgp_update_context *context)
{
	struct bgp_reader reader = { .data = body, .length = length };
	struct bgp_update_summary summary;

	bgp_update_parse(reader, context, &summary);
	return summary;
}

static void full_path(struct bgp_path *path, struct bgp_attributes *attributes)
{
	*attributes = (struct bgp_attributes){ .local_pref = 100, .med = 5, .med_given = true };
	for (size_t i = 0; i < BGP_COMMUNITIES_MAX; i++) {
		attributes->communities[attributes->community_count++] = (uint32_t)i;
		attributes->large_communities[attributes->large_community_count++] =
			(struct bgp_large_community){ 1, 2, (uint32_t)i };
	}
	attributes->graceful_shutdown = true;
	*path = (struct bgp_path){ .local_as = 4200000001u, .attributes = attributes };
	path->next_hop[BGP_IPV4].global = address("10.0.0.1");
	path->next_hop[BGP_IPV6].global = address("fd00::1");
	path->next_hop[BGP_IPV6].link_local = address("fe80::1");
}

/* Announces or withdraws as many as fit; with all attributes there can be, on every kind of
 * session. */
static void test_full_messages(void **state)
{
	(void)state;
	for (int variant = 0; variant < 32; variant++) {
		enum bgp_family family = variant & 1 ? BGP_IPV6 : BGP_IPV4;
		enum bgp_update_kind kind = variant & 2 ? BGP_ANNOUNCE : BGP_WITHDRAW;
		struct bgp_update_context context = { .ibgp = variant & 4,
						      .as4 = variant & 8,
						      .families = BGP_FAMILIES_ALL };
		struct addr vip = address(family == BGP_IPV6 ? "2001:db8::1" : "192.0.2.1");
		struct bgp_update_summary summary;
		struct bgp_attributes attributes;
		struct bgp_update update;
		struct bgp_path path;
		unsigned count = 0;
		size_t length;

		full_path(&path, &attributes);
		if (variant & 16)
			attributes = (struct bgp_attributes){ .local_pref = 100 };
		path.ibgp = context.ibgp;
		path.as4 = context.as4;
		bgp_update_begin(&update, family, kind, &path);
		while (bgp_update_add(&update, &vip)) {
			addr_next(&vip);
			count++;
		}
		length = bgp_update_end(&update);
		assert_true(length <= BGP_MESSAGE_SIZE_MAX);
		assert_true(length + 17 > BGP_MESSAGE_SIZE_MAX);
		assert_int_equal(update.data[16] << 8 | update.data[17], length);
		summary = parse(update.data + 19, length - 19, &context);
		assert_int_equal(summary.reaction, BGP_REACTION_NONE);
		assert_int_equal(summary.announced, kind == BGP_ANNOUNCE ? count : 0);
		assert_int_equal(summary.withdrawn, kind == BGP_WITHDRAW ? count : 0);
		assert_false(summary.end_of_rib);
	}
}

static void test_end_of_rib(void **state)
{
	(void)state;
	for (int family = 0; family < BGP_FAMILY_COUNT; family++) {
		uint8_t data[64];
		struct bgp_writer writer = { .data = data, .size = sizeof(data) };
		struct bgp_update_summary summary;

		bgp_end_of_rib_build(&writer, (enum bgp_family)family);
		summary = parse(data + 19, writer.length - 19, &ebgp);
		assert_true(summary.end_of_rib);
		assert_int_equal(summary.end_of_rib_family, family);
		assert_int_equal(summary.reaction, BGP_REACTION_NONE);
	}
}

/* Every truncation of each kind of message: never a crash, and never "nothing was wrong" when
 * routes were cut in the middle. */
static void test_truncations(void **state)
{
	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		enum bgp_family family = variant & 1 ? BGP_IPV6 : BGP_IPV4;
		enum bgp_update_kind kind = variant & 2 ? BGP_ANNOUNCE : BGP_WITHDRAW;
		struct addr vip = address(family == BGP_IPV6 ? "2001:db8::1" : "192.0.2.1");
		struct bgp_attributes attributes;
		struct bgp_update update;
		struct bgp_path path;
		size_t length;

		full_path(&path, &attributes);
		path.as4 = true;
		bgp_update_begin(&update, family, kind, &path);
		for (int i = 0; i < 3; i++)
			bgp_update_add(&update, &vip);
		length = bgp_update_end(&update) - 19;
		for (size_t cut = 0; cut < length; cut++) {
			uint8_t *copy = malloc(cut == 0 ? 1 : cut);
			struct bgp_update_summary summary;

			memcpy(copy, update.data + 19, cut);
			summary = parse(copy, cut, &ebgp);
			/* NLRI has no length of its own: a cut between prefixes is not one. */
			if (family == BGP_IPV4 && kind == BGP_ANNOUNCE && (length - cut) % 5 == 0 &&
			    cut >= length - 15)
				assert_int_equal(summary.reaction, BGP_REACTION_NONE);
			else
				assert_int_equal(summary.reaction, BGP_REACTION_RESET);
			free(copy);
		}
	}
}

/* ---- the table --------------------------------------------------------------------------- */

#define ORIGIN      0x40, 1, 1, 0
#define AS_PATH     0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9
#define AS_PATH_OLD 0x40, 2, 4, 2, 1, 0xfd, 0xe9
#define NEXT_HOP    0x40, 3, 4, 10, 0, 0, 1
#define LOCAL_PREF  0x40, 5, 4, 0, 0, 0, 100
#define GOOD        ORIGIN, AS_PATH, NEXT_HOP
#define MP_REACH                                                                              \
	0x80, 14, 38, 0, 2, 1, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 128, \
		0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1
#define BYTES(...) { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ })

static const struct reaction {
	const char *what;
	const struct bgp_update_context *context;
	uint8_t attributes[96];
	size_t length;
	bool nlri; /* 192.0.2.1/32 follows */
	enum bgp_reaction reaction;
	uint8_t subcode;
} reactions[] = {
	{ "fine", &ebgp, BYTES(GOOD), true, BGP_REACTION_NONE, 0 },
	{ "fine, iBGP", &ibgp, BYTES(GOOD, LOCAL_PREF), true, BGP_REACTION_NONE, 0 },
	{ "fine, old", &old, BYTES(ORIGIN, AS_PATH_OLD, NEXT_HOP), true, BGP_REACTION_NONE, 0 },
	{ "fine, MP_REACH", &ebgp, BYTES(MP_REACH, ORIGIN, AS_PATH), false, BGP_REACTION_NONE, 0 },
	{ "unknown optional transitive", &ebgp, BYTES(GOOD, 0xc0, 99, 1, 0), true,
	  BGP_REACTION_NONE, 0 },
	{ "unknown optional", &ebgp, BYTES(GOOD, 0x80, 99, 0), true, BGP_REACTION_NONE, 0 },
	{ "extended length where not needed", &ebgp, BYTES(0x50, 1, 0, 1, 0, AS_PATH, NEXT_HOP),
	  true, BGP_REACTION_NONE, 0 },
	{ "partial bit", &ebgp, BYTES(GOOD, 0xe0, 8, 4, 0, 1, 0, 1), true, BGP_REACTION_NONE, 0 },

	/* rfc: 4271 §6.3, not revised */
	{ "unknown well-known attribute", &ebgp, BYTES(GOOD, 0x40, 99, 0), true, BGP_REACTION_RESET,
	  BGP_UPDATE_UNRECOGNIZED_WELLKNOWN },

	/* rfc: 7606 §3 (c): flags */
	{ "ORIGIN optional", &ebgp, BYTES(0xc0, 1, 1, 0, AS_PATH, NEXT_HOP), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_FLAGS },
	{ "MED transitive", &ebgp, BYTES(GOOD, 0xc0, 4, 4, 0, 0, 0, 1), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_FLAGS },
	{ "COMMUNITIES not transitive", &ebgp, BYTES(GOOD, 0x80, 8, 4, 0, 1, 0, 1), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_FLAGS },

	/* §3 (d): mandatory ones missing */
	{ "no ORIGIN", &ebgp, BYTES(AS_PATH, NEXT_HOP), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MISSING_WELLKNOWN },
	{ "no AS_PATH", &ebgp, BYTES(ORIGIN, NEXT_HOP), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MISSING_WELLKNOWN },
	{ "no NEXT_HOP", &ebgp, BYTES(ORIGIN, AS_PATH), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MISSING_WELLKNOWN },
	{ "no LOCAL_PREF, iBGP", &ibgp, BYTES(GOOD), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MISSING_WELLKNOWN },
	{ "no ORIGIN, MP_REACH", &ebgp, BYTES(MP_REACH, AS_PATH), false, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MISSING_WELLKNOWN },

	/* §3 (g): duplicates */
	{ "ORIGIN twice", &ebgp, BYTES(GOOD, ORIGIN), true, BGP_REACTION_DISCARD_ATTRIBUTE,
	  BGP_UPDATE_MALFORMED_LIST },
	{ "MP_UNREACH twice", &ebgp, BYTES(0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1), false,
	  BGP_REACTION_RESET, BGP_UPDATE_MALFORMED_LIST },
	{ "MP_REACH twice", &ebgp, BYTES(MP_REACH, MP_REACH, ORIGIN), false, BGP_REACTION_RESET,
	  BGP_UPDATE_MALFORMED_LIST },

	/* §4: attributes over the end of the list */
	{ "attribute over the end", &ebgp, BYTES(GOOD, 0x80, 4, 9, 0), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MALFORMED_LIST },
	{ "half a head", &ebgp, BYTES(GOOD, 0x80), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MALFORMED_LIST },
	{ "half an extended length", &ebgp, BYTES(GOOD, 0x90, 4, 0), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_MALFORMED_LIST },

	/* §5.2: the same without routes ends the session */
	{ "over the end, no routes", &ebgp, BYTES(GOOD, 0x80, 4, 9, 0), false, BGP_REACTION_RESET,
	  BGP_UPDATE_MALFORMED_LIST },
	{ "discard, no routes", &ebgp, BYTES(GOOD, 0x40, 6, 1, 0), false,
	  BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_LENGTH },

	/* §7.1 … */
	{ "ORIGIN of 2 bytes", &ebgp, BYTES(0x40, 1, 2, 0, 0, AS_PATH, NEXT_HOP), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_LENGTH },
	{ "ORIGIN 3", &ebgp, BYTES(0x40, 1, 1, 3, AS_PATH, NEXT_HOP), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_ORIGIN },
	{ "AS_PATH: segment type 0", &ebgp, BYTES(ORIGIN, 0x40, 2, 6, 0, 1, 0, 0, 0, 1, NEXT_HOP),
	  true, BGP_REACTION_WITHDRAW, BGP_UPDATE_AS_PATH },
	{ "AS_PATH: segment type 5", &ebgp, BYTES(ORIGIN, 0x40, 2, 6, 5, 1, 0, 0, 0, 1, NEXT_HOP),
	  true, BGP_REACTION_WITHDRAW, BGP_UPDATE_AS_PATH },
	{ "AS_PATH: overrun", &ebgp, BYTES(ORIGIN, 0x40, 2, 6, 2, 2, 0, 0, 0, 1, NEXT_HOP), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_AS_PATH },
	{ "AS_PATH: underrun", &ebgp, BYTES(ORIGIN, 0x40, 2, 7, 2, 1, 0, 0, 0, 1, 2, NEXT_HOP),
	  true, BGP_REACTION_WITHDRAW, BGP_UPDATE_AS_PATH },
	{ "AS_PATH: empty segment", &ebgp, BYTES(ORIGIN, 0x40, 2, 2, 2, 0, NEXT_HOP), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_AS_PATH },
	{ "AS_PATH: empty", &ebgp, BYTES(ORIGIN, 0x40, 2, 0, NEXT_HOP), true, BGP_REACTION_NONE,
	  0 },
	{ "AS_PATH: 2 bytes on a 4-byte session", &ebgp, BYTES(ORIGIN, AS_PATH_OLD, NEXT_HOP), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_AS_PATH },
	{ "NEXT_HOP of 3 bytes", &ebgp, BYTES(ORIGIN, AS_PATH, 0x40, 3, 3, 10, 0, 0), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_LENGTH },
	{ "MED of 5 bytes", &ebgp, BYTES(GOOD, 0x80, 4, 5, 0, 0, 0, 0, 1), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_LENGTH },
	{ "LOCAL_PREF from outside", &ebgp, BYTES(GOOD, LOCAL_PREF), true,
	  BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_OPTIONAL },
	{ "LOCAL_PREF of 3 bytes", &ibgp, BYTES(GOOD, 0x40, 5, 3, 0, 0, 1), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_LENGTH },
	{ "ATOMIC_AGGREGATE of 1 byte", &ebgp, BYTES(GOOD, 0x40, 6, 1, 0), true,
	  BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_LENGTH },
	{ "AGGREGATOR of 6 bytes", &ebgp, BYTES(GOOD, 0xc0, 7, 6, 0, 1, 1, 2, 3, 4), true,
	  BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_LENGTH },
	{ "AGGREGATOR of 6 bytes, old", &old,
	  BYTES(ORIGIN, AS_PATH_OLD, NEXT_HOP, 0xc0, 7, 6, 0, 1, 1, 2, 3, 4), true,
	  BGP_REACTION_NONE, 0 },
	{ "COMMUNITIES of 5 bytes", &ebgp, BYTES(GOOD, 0xc0, 8, 5, 0, 1, 0, 1, 0), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_OPTIONAL },
	{ "COMMUNITIES empty", &ebgp, BYTES(GOOD, 0xc0, 8, 0), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_OPTIONAL },
	{ "ORIGINATOR_ID from outside", &ebgp, BYTES(GOOD, 0x80, 9, 4, 1, 2, 3, 4), true,
	  BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_OPTIONAL },
	{ "ORIGINATOR_ID of 5 bytes", &ibgp, BYTES(GOOD, LOCAL_PREF, 0x80, 9, 5, 1, 2, 3, 4, 5),
	  true, BGP_REACTION_WITHDRAW, BGP_UPDATE_LENGTH },
	{ "CLUSTER_LIST of 3 bytes", &ibgp, BYTES(GOOD, LOCAL_PREF, 0x80, 10, 3, 1, 2, 3), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_OPTIONAL },
	{ "EXTENDED COMMUNITIES of 7 bytes", &ebgp, BYTES(GOOD, 0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0),
	  true, BGP_REACTION_WITHDRAW, BGP_UPDATE_OPTIONAL },
	{ "IPv6 EXTENDED COMMUNITIES of 1 byte", &ebgp, BYTES(GOOD, 0xc0, 25, 1, 0), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_OPTIONAL },
	{ "LARGE_COMMUNITIES of 11 bytes", &ebgp,
	  BYTES(GOOD, 0xc0, 32, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), true, BGP_REACTION_WITHDRAW,
	  BGP_UPDATE_OPTIONAL },
	/* rfc: 6793 §6 */
	{ "AS4_PATH from a new speaker", &ebgp, BYTES(GOOD, 0xc0, 17, 6, 2, 1, 0, 0, 0, 1), true,
	  BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_OPTIONAL },
	{ "AS4_PATH malformed", &old,
	  BYTES(ORIGIN, AS_PATH_OLD, NEXT_HOP, 0xc0, 17, 5, 2, 1, 0, 0, 0), true,
	  BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_OPTIONAL },
	{ "AS4_AGGREGATOR malformed", &old, BYTES(ORIGIN, AS_PATH_OLD, NEXT_HOP, 0xc0, 18, 2, 0, 0),
	  true, BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_LENGTH },

	/* rfc: 4760 §7, 7606 §7.11: MP attributes */
	{ "MP_REACH too short", &ebgp, BYTES(0x80, 14, 4, 0, 2, 1, 16, ORIGIN, AS_PATH), false,
	  BGP_REACTION_RESET, BGP_UPDATE_OPTIONAL },
	{ "MP_REACH with a next hop of 5 bytes", &ebgp,
	  BYTES(0x80, 14, 10, 0, 2, 1, 5, 1, 2, 3, 4, 5, 0, ORIGIN, AS_PATH), false,
	  BGP_REACTION_RESET, BGP_UPDATE_OPTIONAL },
	{ "MP_REACH with a prefix of 129 bits", &ebgp,
	  BYTES(0x80, 14, 22, 0, 2, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 129,
		ORIGIN, AS_PATH),
	  false, BGP_REACTION_RESET, BGP_UPDATE_OPTIONAL },
	{ "MP_REACH of a family not agreed on", &ebgp,
	  BYTES(0x80, 14, 9, 0, 25, 65, 0, 0, 1, 2, 3, 4, ORIGIN, AS_PATH), false,
	  BGP_REACTION_NONE, 0 },
	{ "MP_UNREACH too short", &ebgp, BYTES(0x80, 15, 2, 0, 2), false, BGP_REACTION_RESET,
	  BGP_UPDATE_OPTIONAL },
	{ "MP_UNREACH with half a prefix", &ebgp, BYTES(0x80, 15, 5, 0, 2, 1, 64, 1), false,
	  BGP_REACTION_RESET, BGP_UPDATE_OPTIONAL },

	/* §3 (h): the strongest of several */
	{ "discard and withdraw", &ebgp, BYTES(GOOD, 0x40, 6, 1, 0, 0xc0, 8, 1, 0), true,
	  BGP_REACTION_WITHDRAW, BGP_UPDATE_OPTIONAL },
	{ "withdraw and reset", &ebgp, BYTES(GOOD, 0xc0, 8, 1, 0, 0x80, 15, 1, 0), true,
	  BGP_REACTION_RESET, BGP_UPDATE_OPTIONAL },
};

static void test_reactions(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(reactions) / sizeof(reactions[0]); i++) {
		const struct reaction *test = &reactions[i];
		struct bgp_update_summary summary;
		uint8_t body[128] = { 0 };
		size_t length = 4 + test->length;

		print_message("UPDATE: %s\n", test->what);
		body[3] = (uint8_t)test->length;
		memcpy(body + 4, test->attributes, test->length);
		if (test->nlri) {
			memcpy(body + length, (uint8_t[]){ 32, 192, 0, 2, 1 }, 5);
			length += 5;
		}
		summary = parse(body, length, test->context);
		assert_int_equal(summary.reaction, test->reaction);
		assert_int_equal(summary.error.subcode, test->subcode);
		if (test->reaction != BGP_REACTION_NONE)
			assert_int_equal(summary.error.code, BGP_ERROR_UPDATE);
		if (test->reaction == BGP_REACTION_WITHDRAW) {
			assert_int_equal(summary.announced, 0);
			assert_int_equal(summary.withdrawn, 1);
		}
	}
}

/* The parts that hold the attributes. rfc: 4271 §6.3, 7606 §5.3 */
static void test_broken_frame(void **state)
{
	static const struct {
		const char *what;
		uint8_t body[16];
		size_t length;
		enum bgp_reaction reaction;
		uint8_t subcode;
	} cases[] = {
		{ "withdrawn over the end",
		  { 0, 9, 0, 0 },
		  4,
		  BGP_REACTION_RESET,
		  BGP_UPDATE_MALFORMED_LIST },
		{ "attributes over the end",
		  { 0, 0, 0, 1 },
		  4,
		  BGP_REACTION_RESET,
		  BGP_UPDATE_MALFORMED_LIST },
		{ "no room for the attributes' length",
		  { 0, 1, 0, 0 },
		  4,
		  BGP_REACTION_RESET,
		  BGP_UPDATE_MALFORMED_LIST },
		{ "withdrawn prefix of 33 bits",
		  { 0, 6, 33, 1, 2, 3, 4, 5, 0, 0 },
		  10,
		  BGP_REACTION_RESET,
		  BGP_UPDATE_NETWORK },
		{ "withdrawn prefix cut",
		  { 0, 3, 32, 1, 2, 0, 0 },
		  7,
		  BGP_REACTION_RESET,
		  BGP_UPDATE_NETWORK },
		{ "NLRI prefix of 33 bits",
		  { 0, 0, 0, 0, 33, 1, 2, 3, 4, 5 },
		  10,
		  BGP_REACTION_RESET,
		  BGP_UPDATE_NETWORK },
		{ "NLRI prefix cut",
		  { 0, 0, 0, 0, 32, 1, 2 },
		  7,
		  BGP_REACTION_RESET,
		  BGP_UPDATE_NETWORK },
		{ "withdrawn default route", { 0, 1, 0, 0, 0 }, 5, BGP_REACTION_NONE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bgp_update_summary summary = parse(cases[i].body, cases[i].length, &ebgp);

		print_message("frame: %s\n", cases[i].what);
		assert_int_equal(summary.reaction, cases[i].reaction);
		assert_int_equal(summary.error.subcode, cases[i].subcode);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_messages), cmocka_unit_test(test_end_of_rib),
		cmocka_unit_test(test_truncations),   cmocka_unit_test(test_reactions),
		cmocka_unit_test(test_broken_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
