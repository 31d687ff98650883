/* SPDX-License-Identifier: GPL-2.0-only */
/* The rib against a model: whatever is announced, withdrawn, read and started in whatever order, a
 * reader that has read to the end knows exactly what is announced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "advertise/bgp/bgp_rib.h"

static struct addr vip_of(unsigned number)
{
	struct addr vip = { .family = number % 2 ? AF_INET6 : AF_INET, .bytes = { 10, 0 } };

	vip.bytes[2] = (uint8_t)(number >> 8);
	vip.bytes[3] = (uint8_t)number;
	return vip;
}

#define VIPS    64
#define READERS 3

struct model {
	struct bgp_rib *rib;
	bool announced[VIPS];
	struct bgp_rib_reader readers[READERS];
	bool known[READERS][VIPS];
};

static unsigned number_of(const struct addr *vip)
{
	return (unsigned)(vip->bytes[2] << 8 | vip->bytes[3]);
}

/* Reads up to `limit` changes, as a peer does: what is gone first. */
static void read_some(struct model *model, int who, unsigned limit)
{
	struct bgp_rib_reader *reader = &model->readers[who];

	for (int kind = 0; kind < BGP_UPDATE_KINDS; kind++) {
		for (int family = 0; family < BGP_FAMILY_COUNT; family++) {
			const struct addr *vip;

			while (limit > 0 &&
			       (vip = bgp_rib_peek(reader, (enum bgp_family)family,
						   (enum bgp_update_kind)kind)) != NULL) {
				assert_int_equal(bgp_family_of(vip), family);
				model->known[who][number_of(vip)] = kind == BGP_ANNOUNCE;
				bgp_rib_advance(model->rib, reader, (enum bgp_family)family,
						(enum bgp_update_kind)kind);
				limit--;
			}
		}
	}
}

static void check_reader(struct model *model, int who)
{
	size_t told[BGP_FAMILY_COUNT] = { 0 };

	read_some(model, who, 10000);
	for (unsigned i = 0; i < VIPS; i++) {
		bool expected = model->announced[i] && model->readers[who].active[i % 2];

		assert_int_equal(model->known[who][i], expected);
		told[i % 2] += expected;
	}
	assert_int_equal(model->readers[who].told[0], told[0]);
	assert_int_equal(model->readers[who].told[1], told[1]);
}

static void start_or_stop(struct model *model, int who, enum bgp_family family, bool start)
{
	if (start) {
		/* A refresh: known things stay known. */
		bgp_rib_start(model->rib, &model->readers[who], family);
		return;
	}
	bgp_rib_stop(model->rib, &model->readers[who], family);
	for (unsigned i = 0; i < VIPS; i++) {
		if (i % 2 == (unsigned)family)
			model->known[who][i] = false;
	}
}

static void test_against_model(void **state)
{
	(void)state;
	srandom(1);
	for (int round = 0; round < 200; round++) {
		struct model model = { .rib = bgp_rib_new() };
		size_t count = 0;

		for (int i = 0; i < READERS; i++)
			bgp_rib_attach(model.rib, &model.readers[i]);
		for (int step = 0; step < 400; step++) {
			unsigned number = (unsigned)random() % VIPS;
			int who = (int)(random() % READERS);
			struct addr vip = vip_of(number);

			switch (random() % 8) {
			case 0:
			case 1:
			case 2:
				assert_int_equal(bgp_rib_announce(model.rib, &vip), 0);
				model.announced[number] = true;
				break;
			case 3:
			case 4:
				assert_int_equal(bgp_rib_withdraw(model.rib, &vip),
						 model.announced[number]);
				model.announced[number] = false;
				break;
			case 5:
				start_or_stop(&model, who, (enum bgp_family)(random() % 2),
					      random() % 3 != 0);
				break;
			case 6:
				read_some(&model, who, (unsigned)random() % 20);
				break;
			case 7:
				check_reader(&model, who);
				break;
			}
			assert_int_equal(bgp_rib_contains(model.rib, &vip),
					 model.announced[number]);
		}
		for (int i = 0; i < READERS; i++)
			check_reader(&model, i);
		for (unsigned i = 0; i < VIPS; i++)
			count += model.announced[i];
		assert_int_equal(bgp_rib_count(model.rib), count);
		for (int i = 0; i < READERS; i++)
			bgp_rib_detach(model.rib, &model.readers[i]);
		bgp_rib_free(model.rib);
	}
}

/* A VIP that flaps while nobody reads is one change. */
static void test_flap_is_one_change(void **state)
{
	struct bgp_rib *rib = bgp_rib_new();
	struct bgp_rib_reader reader = { 0 };
	struct addr vip = vip_of(2);

	(void)state;
	bgp_rib_attach(rib, &reader);
	bgp_rib_start(rib, &reader, BGP_IPV4);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(bgp_rib_announce(rib, &vip), 0);
		assert_true(bgp_rib_withdraw(rib, &vip));
	}
	assert_non_null(bgp_rib_peek(&reader, BGP_IPV4, BGP_WITHDRAW));
	bgp_rib_advance(rib, &reader, BGP_IPV4, BGP_WITHDRAW);
	assert_null(bgp_rib_peek(&reader, BGP_IPV4, BGP_WITHDRAW));
	assert_null(bgp_rib_peek(&reader, BGP_IPV4, BGP_ANNOUNCE));
	bgp_rib_detach(rib, &reader);
	bgp_rib_free(rib);
	bgp_rib_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_flap_is_one_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
