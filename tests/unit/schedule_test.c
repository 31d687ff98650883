/* SPDX-License-Identifier: GPL-2.0-only */
/* Schedules: the order of wrr, what Maglev promises, what scaling may do to weights. */
#include "datapath/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANY 100

static struct schedule_entry entry(uint32_t id, uint32_t weight)
{
	struct schedule_entry entry = { .id = id, .weight = weight, .port = 80 };

	entry.ip.family = AF_INET;
	entry.ip.bytes[0] = 10;
	entry.ip.bytes[2] = (uint8_t)(id >> 8);
	entry.ip.bytes[3] = (uint8_t)id;
	return entry;
}

static void assert_slots(enum scheduler scheduler, const struct schedule_entry *entries,
			 size_t count, const char *expected)
{
	uint32_t *slots, n;
	char text[256] = "";

	assert_int_equal(schedule_build(scheduler, entries, count, &slots, &n), 0);
	for (uint32_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u ", slots[i]);
	assert_string_equal(text, expected);
	free(slots);
}

static uint32_t count_of(const uint32_t *slots, uint32_t n, uint32_t id)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += slots[i] == id;
	return count;
}

static void no_backends_no_slots(void **state)
{
	uint32_t *slots = (uint32_t *)-1, n = 99;

	(void)state;
	for (enum scheduler s = SCHEDULER_RR; s <= SCHEDULER_LC; s++) {
		assert_int_equal(schedule_build(s, NULL, 0, &slots, &n), 0);
		assert_null(slots);
		assert_int_equal(n, 0);
	}
}

static void rr_and_lc_name_each_once(void **state)
{
	struct schedule_entry entries[] = { entry(3, 7), entry(1, 1), entry(2, 9) };

	(void)state;
	assert_slots(SCHEDULER_RR, entries, 3, "3 1 2 ");
	assert_slots(SCHEDULER_LC, entries, 3, "3 1 2 ");
}

static void wrr_is_smooth(void **state)
{
	struct schedule_entry nginx[] = { entry(1, 5), entry(2, 1), entry(3, 1) };
	struct schedule_entry reduced[] = { entry(1, 300), entry(2, 100) };
	struct schedule_entry equal[] = { entry(1, 65535), entry(2, 65535), entry(3, 65535) };

	(void)state;
	assert_slots(SCHEDULER_WRR, nginx, 3, "1 1 2 1 3 1 1 ");
	assert_slots(SCHEDULER_WRR, reduced, 2, "1 1 2 1 ");
	assert_slots(SCHEDULER_WRR, equal, 3, "1 2 3 ");
}

static void large_weights_are_scaled(void **state)
{
	struct schedule_entry entries[] = { entry(1, 65535), entry(2, 32768), entry(3, 1) };
	uint32_t *slots, n;

	(void)state;
	assert_int_equal(schedule_build(SCHEDULER_WRR, entries, 3, &slots, &n), 0);
	assert_in_range(n, SCHEDULE_WEIGHTED_SLOTS - 2, SCHEDULE_WEIGHTED_SLOTS + 2);
	assert_in_range(count_of(slots, n, 1), 2725, 2735);
	assert_in_range(count_of(slots, n, 2), 1360, 1370);
	assert_int_equal(count_of(slots, n, 3), 1); /* it still gets its turn */
	free(slots);
}

static void very_many_backends_go_by_deadline(void **state)
{
	enum { COUNT = 20000 };
	struct schedule_entry *entries = calloc(COUNT, sizeof(*entries));
	uint32_t *slots, n;

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++)
		entries[i] = entry(i + 1, i % 3 + 1);
	assert_int_equal(schedule_build(SCHEDULER_WRR, entries, COUNT, &slots, &n), 0);
	assert_true(n >= COUNT);
	for (uint32_t i = 1; i < n; i++)
		assert_int_not_equal(slots[i], slots[i - 1]);
	free(slots);
	free(entries);
}

static void sh_depends_on_addresses_alone(void **state)
{
	struct schedule_entry one[] = { entry(1, 2), entry(2, 1), entry(3, 1) };
	struct schedule_entry other[] = { entry(3, 1), entry(1, 2), entry(2, 1) };

	(void)state;
	assert_slots(SCHEDULER_SH, one, 3, "1 1 2 3 ");
	assert_slots(SCHEDULER_SH, other, 3, "1 1 2 3 ");
}

static uint32_t *maglev(const struct schedule_entry *entries, size_t count)
{
	uint32_t *slots, n;

	assert_int_equal(schedule_build(SCHEDULER_MAGLEV, entries, count, &slots, &n), 0);
	assert_int_equal(n, SCHEDULE_MAGLEV_SLOTS);
	return slots;
}

static void maglev_is_even(void **state)
{
	struct schedule_entry entries[MANY];
	uint32_t *slots;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		entries[i] = entry(i + 1, 1);
	slots = maglev(entries, MANY);
	for (uint32_t i = 1; i <= MANY; i++) /* 655.37 each, within 1 % */
		assert_in_range(count_of(slots, SCHEDULE_MAGLEV_SLOTS, i), 649, 662);
	free(slots);
}

static void maglev_follows_weights(void **state)
{
	struct schedule_entry entries[] = { entry(1, 100), entry(2, 200), entry(3, 700) };
	uint32_t *slots = maglev(entries, 3);

	(void)state;
	assert_in_range(count_of(slots, SCHEDULE_MAGLEV_SLOTS, 1), 6450, 6660);
	assert_in_range(count_of(slots, SCHEDULE_MAGLEV_SLOTS, 2), 12900, 13310);
	assert_in_range(count_of(slots, SCHEDULE_MAGLEV_SLOTS, 3), 45200, 46600);
	free(slots);
}

/* Removing one of 100 moves fewer than 2 % of the slots that the others had; whichever it is. */
static void maglev_removal_moves_little(void **state)
{
	struct schedule_entry all[MANY], rest[MANY - 1];
	uint32_t *before, worst = 0;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		all[i] = entry(i + 1, 1);
	before = maglev(all, MANY);
	for (uint32_t gone = 0; gone < MANY; gone += 9) {
		uint32_t moved = 0, kept = 0, *after;

		memcpy(rest, all, gone * sizeof(*all));
		memcpy(rest + gone, all + gone + 1, (MANY - 1 - gone) * sizeof(*all));
		after = maglev(rest, MANY - 1);
		for (uint32_t i = 0; i < SCHEDULE_MAGLEV_SLOTS; i++) {
			if (before[i] == gone + 1)
				continue;
			kept++;
			moved += before[i] != after[i];
		}
		free(after);
		if (moved * 10000 / kept > worst)
			worst = moved * 10000 / kept;
	}
	free(before);
	print_message("at worst %u.%02u %% of the others' slots moved\n", worst / 100, worst % 100);
	assert_true(worst < 200);
}

static void maglev_is_the_same_on_every_node(void **state)
{
	struct schedule_entry one[] = { entry(1, 1), entry(2, 1), entry(3, 1) };
	struct schedule_entry other[] = { entry(2, 1), entry(3, 1), entry(1, 1) };
	uint32_t *a = maglev(one, 3), *b = maglev(other, 3);

	(void)state;
	assert_memory_equal(a, b, SCHEDULE_MAGLEV_SLOTS * sizeof(*a));
	free(a);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_backends_no_slots),
		cmocka_unit_test(rr_and_lc_name_each_once),
		cmocka_unit_test(wrr_is_smooth),
		cmocka_unit_test(large_weights_are_scaled),
		cmocka_unit_test(very_many_backends_go_by_deadline),
		cmocka_unit_test(sh_depends_on_addresses_alone),
		cmocka_unit_test(maglev_is_even),
		cmocka_unit_test(maglev_follows_weights),
		cmocka_unit_test(maglev_removal_moves_little),
		cmocka_unit_test(maglev_is_the_same_on_every_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
