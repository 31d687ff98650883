/* SPDX-License-Identifier: GPL-2.0-only */
/* The pure parts of the eBPF datapath: ids, source ports, flow timeouts, sizes of maps. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/ebpf_sizes.h"
#include "datapath/flow_timeouts.h"
#include "datapath/ids.h"
#include "datapath/ports.h"
#include "datapath/regions.h"

/* ---- ids ------------------------------------------------------------------------------------- */

static void ids_are_lowest_first_and_never_0(void **state)
{
	struct ids ids;

	(void)state;
	assert_int_equal(ids_init(&ids, 200), 0);
	for (uint32_t id = 1; id < 200; id++)
		assert_int_equal(ids_give(&ids), id);
	assert_int_equal(ids.free_count, 0);
	assert_int_equal(ids_give(&ids), 0);
	ids_return(&ids, 130);
	ids_return(&ids, 7);
	assert_int_equal(ids_give(&ids), 7);
	assert_int_equal(ids_give(&ids), 130);
	assert_int_equal(ids_give(&ids), 0);
	ids_free(&ids);
}

static void adopted_ids_are_stepped_over(void **state)
{
	struct ids ids;

	(void)state;
	assert_int_equal(ids_init(&ids, 100), 0);
	for (uint32_t id = 1; id < 64; id++)
		assert_true(ids_take(&ids, id));
	assert_false(ids_take(&ids, 0));
	assert_false(ids_take(&ids, 63));
	assert_false(ids_take(&ids, 100));
	assert_int_equal(ids_give(&ids), 64);
	ids_return(&ids, 99); /* free already: nothing happens */
	assert_int_equal(ids.free_count, 35);
	ids_free(&ids);
}

/* ---- regions --------------------------------------------------------------------------------- */

static void regions_are_lowest_first(void **state)
{
	struct regions regions;
	uint32_t first;

	(void)state;
	assert_int_equal(regions_init(&regions, 300), 0);
	for (uint32_t i = 0; i < 30; i++) {
		assert_true(regions_give(&regions, 10, &first));
		assert_int_equal(first, i * 10);
	}
	assert_false(regions_give(&regions, 1, &first));
	regions_return(&regions, 130, 10);
	regions_return(&regions, 50, 10);
	assert_int_equal(regions.used_count, 280);
	assert_true(regions_give(&regions, 4, &first));
	assert_int_equal(first, 50);
	assert_true(regions_give(&regions, 7, &first)); /* what is left there is too short */
	assert_int_equal(first, 130);
	regions_return(&regions, 60, 70); /* joins what is free on both sides of it */
	assert_true(regions_give(&regions, 76, &first));
	assert_int_equal(first, 54);
	assert_false(regions_give(&regions, 4, &first));
	assert_true(regions_give(&regions, 3, &first));
	assert_int_equal(first, 137);
	assert_int_equal(regions.used_count, 300);
	regions_free(&regions);
}

static void adopted_regions_do_not_overlap(void **state)
{
	struct regions regions;
	uint32_t first;

	(void)state;
	assert_int_equal(regions_init(&regions, 100), 0);
	assert_true(regions_take(&regions, 0, 3));
	assert_true(regions_take(&regions, 60, 40));
	assert_false(regions_take(&regions, 2, 1));
	assert_false(regions_take(&regions, 59, 2));
	assert_false(regions_take(&regions, 100, 1));
	assert_false(regions_take(&regions, 3, UINT32_MAX));
	assert_false(regions_take(&regions, UINT32_MAX, 2));
	assert_false(regions_take(&regions, 5, 0));
	assert_int_equal(regions.used_count, 43);
	assert_true(regions_give(&regions, 57, &first));
	assert_int_equal(first, 3);
	regions_free(&regions);
}

/* Against the simplest of models. */
static void regions_never_overlap(void **state)
{
	enum { LINES = 200, HELD = 40 };
	struct regions regions;
	uint32_t held[HELD][2] = { 0 }, seed = 1;
	bool used[LINES] = { false };

	(void)state;
	assert_int_equal(regions_init(&regions, LINES), 0);
	for (unsigned int step = 0; step < 20000; step++) {
		uint32_t *one, first;

		seed = seed * 1103515245 + 12345;
		one = held[(seed >> 16) % HELD];
		if (one[1]) {
			regions_return(&regions, one[0], one[1]);
			memset(used + one[0], 0, one[1]);
			one[1] = 0;
			continue;
		}
		if (!regions_give(&regions, 1 + (seed >> 24) % 20, &first))
			continue;
		one[0] = first;
		one[1] = 1 + (seed >> 24) % 20;
		for (uint32_t i = 0; i < one[1]; i++) {
			assert_false(used[first + i]);
			used[first + i] = true;
		}
	}
	regions_free(&regions);
}

/* ---- ports ----------------------------------------------------------------------------------- */

static void assert_ports(unsigned int local_first, unsigned int local_last, unsigned int first0,
			 unsigned int count0, unsigned int first1, unsigned int count1)
{
	struct slb_port_range ranges[2];

	ports_outside(local_first, local_last, ranges);
	assert_int_equal(ranges[0].first, first0);
	assert_int_equal(ranges[0].count, count0);
	assert_int_equal(ranges[1].first, first1);
	assert_int_equal(ranges[1].count, count1);
}

static void ports_are_outside_the_kernels_range(void **state)
{
	(void)state;
	assert_ports(32768, 60999, 1024, 31744, 61000, 4536); /* the kernel's default */
	assert_ports(1024, 60999, 61000, 4536, 0, 0);
	assert_ports(10000, 65535, 1024, 8976, 0, 0);
	assert_ports(20000, 30000, 30001, 35535, 1024, 18976); /* the larger part first */
	assert_ports(1, 1023, 1024, 64512, 0, 0);
	assert_ports(1, 500, 1024, 64512, 0, 0);
	assert_ports(1024, 65535, 0, 0, 0, 0);
	assert_ports(60000, 50000, 1024, 64512, 0, 0); /* turned round: empty */
}

static void ports_are_read_from_the_kernel(void **state)
{
	struct slb_port_range ranges[2];
	struct errbuf err;

	(void)state;
	assert_int_equal(ports_read(ranges, &err), 0);
	assert_true(ranges[0].count > 0 && ranges[0].first >= 1024);
}

/* ---- timeouts -------------------------------------------------------------------------------- */

#define FIN SLB_TCP_FIN
#define RST SLB_TCP_RST
#define SYN SLB_TCP_SYN

static void timeouts_follow_the_table(void **state)
{
	static const struct {
		struct flow_view view;
		uint32_t timeout_s;
		bool ended;
	} table[] = {
		/* protocol, half_open, tcp, tcp_other, seen, begun */
		{ { IPPROTO_TCP, true, SYN, 0, 10, 10 }, 120, false },
		{ { IPPROTO_TCP, true, SYN, SYN, 10, 10 }, 120, false },
		{ { IPPROTO_TCP, true, SYN, RST, 10, 10 }, 10, true },
		{ { IPPROTO_TCP, false, SYN, SYN, 10, 10 }, 432000, false },
		{ { IPPROTO_TCP, false, SYN | FIN, SYN, 10, 10 }, 120, false },
		{ { IPPROTO_TCP, false, SYN, SYN | FIN, 10, 10 }, 120, false },
		{ { IPPROTO_TCP, false, SYN | FIN, SYN | FIN, 10, 10 }, 120, true },
		{ { IPPROTO_TCP, false, SYN | FIN, SYN | FIN | RST, 10, 10 }, 10, true },
		{ { IPPROTO_TCP, false, SYN | RST, SYN, 10, 10 }, 10, true },
		{ { IPPROTO_UDP, true, 0, 0, 10, 10 }, 30, false },
		{ { IPPROTO_UDP, true, 0, 0, 100, 10 }, 30, false },
		{ { IPPROTO_UDP, false, 0, 0, 11, 10 }, 30, false },
		{ { IPPROTO_UDP, false, 0, 0, 13, 10 }, 120, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(flow_timeout_s(&flow_timeouts_default, &table[i].view),
				 table[i].timeout_s);
		assert_int_equal(flow_has_ended(&table[i].view), table[i].ended);
	}
}

static void idle_time_survives_a_wrap_of_the_clock(void **state)
{
	struct flow_view view = { .seen_s = UINT32_MAX - 4 };

	(void)state;
	assert_int_equal(flow_idle_s(&view, 5), 10);
	view.seen_s = 6; /* seen after the caller took its time */
	assert_int_equal(flow_idle_s(&view, 5), 0);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void sizes_follow_the_machine(void **state)
{
	struct ebpf_machine large = { .memory_bytes = 256ull << 30, .cpus = 64 };
	struct ebpf_machine small = { .memory_bytes = 512ull << 20, .cpus = 4 };
	struct ebpf_machine middle = { .memory_bytes = 8ull << 30, .cpus = 4 };
	struct ebpf_sizes sizes = { 0 };

	(void)state;
	ebpf_sizes_default(&sizes, &large);
	assert_int_equal(sizes.flows4, 1 << 20);
	assert_int_equal(sizes.half_open, 64 << 10);
	assert_int_equal(sizes.load_balancers, 16384);
	assert_int_equal(sizes.backends, 131072);

	memset(&sizes, 0, sizeof(sizes));
	ebpf_sizes_default(&sizes, &small);
	assert_int_equal(sizes.flows4, (512u << 20) / 64 / 200);
	assert_int_equal(sizes.flows6, 32 << 10);
	assert_true(sizes.backends < 131072 && sizes.load_balancers < 16384);

	memset(&sizes, 0, sizeof(sizes));
	sizes.flows4 = 5000;
	ebpf_sizes_default(&sizes, &middle);
	assert_int_equal(sizes.flows4, 5000); /* as asked for */
	assert_int_equal(sizes.half_open, 5000);
	assert_int_equal(sizes.flows6, (8ull << 30) / 64 / 200 / 4);
}

static void sizes_shrink_to_a_floor(void **state)
{
	struct ebpf_machine machine = { .memory_bytes = 8ull << 30, .cpus = 2 };
	struct ebpf_sizes sizes = { 0 };
	unsigned int steps = 0;

	(void)state;
	ebpf_sizes_default(&sizes, &machine);
	while (ebpf_sizes_halve(&sizes))
		steps++;
	assert_in_range(steps, 5, 10);
	assert_true(sizes.flows4 >= 1024 && sizes.half_open >= 1024 && sizes.backends >= 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_lowest_first_and_never_0),
		cmocka_unit_test(adopted_ids_are_stepped_over),
		cmocka_unit_test(regions_are_lowest_first),
		cmocka_unit_test(adopted_regions_do_not_overlap),
		cmocka_unit_test(regions_never_overlap),
		cmocka_unit_test(ports_are_outside_the_kernels_range),
		cmocka_unit_test(ports_are_read_from_the_kernel),
		cmocka_unit_test(timeouts_follow_the_table),
		cmocka_unit_test(idle_time_survives_a_wrap_of_the_clock),
		cmocka_unit_test(sizes_follow_the_machine),
		cmocka_unit_test(sizes_shrink_to_a_floor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
