/* SPDX-License-Identifier: GPL-2.0-only */
/* ipam: handing out, probing. */
#include "core/ipam.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"

static struct addr addr_from(const char *text)
{
	struct addr addr;

	if (addr_parse(text, &addr) < 0)
		fail_msg("not an address: %s", text);
	return addr;
}

/* ---- a prober's double -------------------------------------------------------------------- */

struct prober {
	struct address_prober prober; /* first */
	struct waiting {
		struct addr addr;
		address_probed_cb *done;
		void *arg;
	} waiting[1024];
	size_t waiting_count, probes, most_waiting;
	bool at_once; /* answers before probe() returns */
	bool broken;  /* cannot probe */
	struct addr in_use[16];
	size_t in_use_count;
};

static void prober_decide(struct prober *p, struct waiting w)
{
	struct errbuf err;

	if (p->broken) {
		errbuf_set(&err, -ENETDOWN, "adapter eth0 is down");
		w.done(w.arg, -ENETDOWN, NULL, &err);
		return;
	}
	for (size_t i = 0; i < p->in_use_count; i++) {
		if (addr_equal(&p->in_use[i], &w.addr)) {
			w.done(w.arg, -EADDRINUSE, "aa:bb:cc:00:00:01", NULL);
			return;
		}
	}
	w.done(w.arg, 0, NULL, NULL);
}

static void prober_probe(struct address_prober *prober, const struct addr *addr,
			 address_probed_cb *done, void *arg)
{
	struct prober *p = (struct prober *)prober;
	struct waiting w = { .addr = *addr, .done = done, .arg = arg };

	for (size_t i = 0; i < p->waiting_count; i++)
		assert_false(addr_equal(&p->waiting[i].addr, addr));
	p->probes++;
	if (p->at_once) {
		prober_decide(p, w);
		return;
	}
	assert_true(p->waiting_count < 1024);
	p->waiting[p->waiting_count++] = w;
	if (p->waiting_count > p->most_waiting)
		p->most_waiting = p->waiting_count;
}

static void prober_cancel(struct address_prober *prober, const struct addr *addr)
{
	struct prober *p = (struct prober *)prober;

	for (size_t i = 0; i < p->waiting_count; i++) {
		if (addr_equal(&p->waiting[i].addr, addr)) {
			p->waiting[i] = p->waiting[--p->waiting_count];
			return;
		}
	}
}

static const struct address_prober_ops prober_ops = {
	.name = "double",
	.probe = prober_probe,
	.cancel = prober_cancel,
};

/* Answers every probe that waits; false: none did. */
static bool prober_answer(struct prober *p)
{
	size_t count = p->waiting_count;

	for (size_t i = 0; i < count && p->waiting_count > 0; i++) {
		struct waiting w = p->waiting[0];

		p->waiting_count--;
		memmove(p->waiting, p->waiting + 1, p->waiting_count * sizeof(w));
		prober_decide(p, w);
	}
	return count > 0;
}

/* ---- handing out -------------------------------------------------------------------------- */

struct fixture {
	uv_loop_t loop;
	struct prober prober;
	struct address_source *source;
};

struct result {
	int count, status;
	struct addr addr;
	char text[ERRBUF_SIZE];
};

static const uuid_t owner;

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	uv_loop_init(&f->loop);
	f->prober.prober.ops = &prober_ops;
	*state = f;
	return 0;
}

static void source_close(struct fixture *f)
{
	ipam_close(f->source);
	f->source = NULL;
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	source_close(f);
	assert_int_equal(f->prober.waiting_count, 0); /* all cancelled */
	assert_int_equal(uv_loop_close(&f->loop), 0);
	free(f);
	return 0;
}

static void source_open(struct fixture *f, const char *ranges, bool probing, size_t window)
{
	struct ipam_config config = {
		.loop = &f->loop,
		.ranges = ranges,
		.prober_ipv4 = probing ? &f->prober.prober : NULL,
		.prober_ipv6 = probing ? &f->prober.prober : NULL,
		.window = window,
		.fresh_ms = 400,
		.retry_ms = 300,
	};
	struct errbuf err;

	if (ipam_open(&config, &f->source, &err) < 0)
		fail_msg("%s", err.text);
}

static void result_cb(void *arg, int status, const struct addr *addr, const struct errbuf *err)
{
	struct result *result = arg;

	result->count++;
	result->status = status;
	assert_true((status == 0) == (addr != NULL));
	assert_true((status < 0) == (err != NULL));
	if (addr != NULL)
		result->addr = *addr;
	if (err != NULL)
		snprintf(result->text, sizeof(result->text), "%s", err->text);
}

static void acquire(struct fixture *f, int family, const char *wanted, struct result *result)
{
	struct addr addr = { .family = AF_UNSPEC };

	if (wanted != NULL)
		addr = addr_from(wanted);
	memset(result, 0, sizeof(*result));
	f->source->ops->acquire(f->source, family, &addr, owner, result_cb, result);
}

static void expect_next(struct fixture *f, const char *expected)
{
	struct result result;
	char text[ADDR_TEXT_SIZE];

	acquire(f, strchr(expected, ':') != NULL ? AF_INET6 : AF_INET, NULL, &result);
	assert_int_equal(result.count, 1);
	if (result.status < 0)
		fail_msg("%s", result.text);
	assert_string_equal(addr_format(&result.addr, text), expected);
}

static void release(struct fixture *f, const char *text)
{
	struct addr addr = addr_from(text);

	f->source->ops->release(f->source, &addr);
}

/* Lets timers run for so long. */
static void timed_out(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
}

static void run_ms(struct fixture *f, uint64_t ms)
{
	uv_timer_t timer;

	uv_timer_init(&f->loop, &timer);
	uv_timer_start(&timer, timed_out, ms, 0);
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void test_lowest_first(void **state)
{
	struct fixture *f = *state;
	struct result result;

	source_open(f, "10.0.0.5-10.0.0.7,10.0.0.2,2001:db8::/64", false, 0);
	expect_next(f, "10.0.0.2");
	expect_next(f, "10.0.0.5");
	expect_next(f, "10.0.0.6");
	release(f, "10.0.0.5");
	expect_next(f, "10.0.0.5");
	expect_next(f, "10.0.0.7");
	acquire(f, AF_INET, NULL, &result);
	assert_int_equal(result.status, -ENOSPC);
	assert_non_null(strstr(result.text, "exhausted: 4 IPv4 addresses, 4 given out, 0 in use"));
	expect_next(f, "2001:db8::1");
	expect_next(f, "2001:db8::2");
	release(f, "10.0.0.77"); /* ignored */
	release(f, "10.0.0.7");
	release(f, "10.0.0.7");
	expect_next(f, "10.0.0.7");
}

static void test_wanted(void **state)
{
	struct fixture *f = *state;
	struct result result;

	source_open(f, "10.0.0.1-10.0.0.4", false, 0);
	acquire(f, AF_INET, "10.0.0.2", &result);
	assert_int_equal(result.status, 0);
	acquire(f, AF_INET, "10.0.0.2", &result);
	assert_int_equal(result.status, -EADDRINUSE);
	acquire(f, AF_INET, "10.0.0.9", &result);
	assert_int_equal(result.status, -EINVAL);
	assert_non_null(strstr(result.text, "10.0.0.1-10.0.0.4"));
	expect_next(f, "10.0.0.1");
	expect_next(f, "10.0.0.3");
	acquire(f, AF_INET6, NULL, &result);
	assert_int_equal(result.status, -ENOSPC);
	assert_non_null(strstr(result.text, "no IPv6"));
}

static void test_adopt(void **state)
{
	struct fixture *f = *state;
	struct addr first = addr_from("10.0.0.1"), foreign = addr_from("192.0.2.1");
	struct errbuf err;

	source_open(f, "10.0.0.1-10.0.0.4", false, 0);
	assert_int_equal(f->source->ops->adopt(f->source, &first, owner, &err), 0);
	assert_int_equal(f->source->ops->adopt(f->source, &foreign, owner, &err), 0);
	expect_next(f, "10.0.0.2");
	release(f, "192.0.2.1"); /* of no pool any more: it is not handed out again */
	release(f, "10.0.0.1");
	expect_next(f, "10.0.0.1");
	expect_next(f, "10.0.0.3");
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	uint64_t started = uv_hrtime();
	struct result result;

	source_open(f, "10.0.0.0/8,2001:db8::/32", false, 0);
	for (size_t i = 0; i < 20000; i++) {
		acquire(f, i % 2 == 0 ? AF_INET : AF_INET6, NULL, &result);
		assert_int_equal(result.status, 0);
	}
	for (unsigned int i = 1; i < 10000; i += 2) {
		struct addr addr = { .family = AF_INET,
				     .bytes = { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } };

		f->source->ops->release(f->source, &addr);
	}
	expect_next(f, "10.0.0.1");
	expect_next(f, "10.0.0.3");
	print_message("             20,000 given out, 5,000 given back in %.0f ms\n",
		      (double)(uv_hrtime() - started) / 1e6);
}

struct listing {
	size_t states[4];
	char holder[32];
};

static void list_cb(void *arg, const struct ipam_address *address)
{
	struct listing *listing = arg;

	listing->states[address->state]++;
	assert_true((address->state == IPAM_IN_USE) == (address->holder != NULL));
	if (address->holder != NULL)
		snprintf(listing->holder, sizeof(listing->holder), "%s", address->holder);
}

static struct listing list(struct fixture *f)
{
	struct listing listing = { .holder = "" };

	ipam_list(f->source, list_cb, &listing);
	return listing;
}

static void test_probed_ahead(void **state)
{
	struct fixture *f = *state;
	struct listing listing;

	source_open(f, "10.0.0.0/16,2001:db8::/64", true, 100);
	run_ms(f, 20);
	assert_int_equal(f->prober.waiting_count, 64); /* as many as may be at once */
	while (prober_answer(&f->prober))
		run_ms(f, 10);
	assert_int_equal(f->prober.probes, 200); /* the windows of both families, no more */
	assert_int_equal(f->prober.most_waiting, 64);
	listing = list(f);
	assert_int_equal(listing.states[IPAM_CLEAR], 200);
	expect_next(f, "10.0.0.1"); /* at once */
	expect_next(f, "2001:db8::1");
	run_ms(f, 20);
	assert_int_equal(f->prober.waiting_count, 2); /* the windows move on */
	prober_answer(&f->prober);

	/* What is old is asked again, and holds while it is. */
	run_ms(f, 450);
	assert_true(f->prober.waiting_count > 0);
	expect_next(f, "10.0.0.2");
	listing = list(f);
	assert_int_equal(listing.states[IPAM_GIVEN], 3);

	/* What is too old does not hold. */
	run_ms(f, 900);
	struct result result;

	acquire(f, AF_INET, NULL, &result);
	assert_int_equal(result.count, 0);
	while (result.count == 0)
		assert_true(prober_answer(&f->prober));
	assert_int_equal(result.status, 0);
	assert_int_equal(result.addr.bytes[3], 3);
}

static void test_create_waits_for_its_probe(void **state)
{
	struct fixture *f = *state;
	struct result a, b, c;

	f->prober.in_use[0] = addr_from("10.0.0.1");
	f->prober.in_use_count = 1;
	source_open(f, "10.0.0.1-10.0.0.3", true, 10);
	acquire(f, AF_INET, NULL, &a);
	acquire(f, AF_INET, NULL, &b);
	assert_int_equal(a.count + b.count, 0);
	assert_int_equal(f->prober.waiting_count, 2);
	while (a.count == 0 || b.count == 0)
		assert_true(prober_answer(&f->prober));
	/* The first address is somebody's: passed over, nobody gets what another got. */
	assert_int_equal(a.status, 0);
	assert_int_equal(b.status, 0);
	assert_int_equal(a.addr.bytes[3], 3);
	assert_int_equal(b.addr.bytes[3], 2);
	assert_int_equal(list(f).states[IPAM_IN_USE], 1);
	assert_string_equal(list(f).holder, "aa:bb:cc:00:00:01");

	acquire(f, AF_INET, NULL, &c);
	assert_int_equal(c.status, -ENOSPC);
	assert_string_equal(c.text,
			    "pool 10.0.0.1-10.0.0.3 exhausted: 3 IPv4 addresses, 2 given out, 1 "
			    "in use by other machines (10.0.0.1 by aa:bb:cc:00:00:01)");

	/* By name it is asked for again, and refused with the holder. */
	acquire(f, AF_INET, "10.0.0.1", &c);
	assert_int_equal(c.count, 0);
	prober_answer(&f->prober);
	assert_int_equal(c.status, -EADDRINUSE);
	assert_non_null(strstr(c.text, "aa:bb:cc:00:00:01"));

	/* After a while it is tried again by itself. */
	f->prober.in_use_count = 0;
	run_ms(f, 350);
	assert_int_equal(f->prober.waiting_count, 1);
	prober_answer(&f->prober);
	assert_int_equal(list(f).states[IPAM_IN_USE], 0);
	expect_next(f, "10.0.0.1");
}

/* What was given back a moment ago needs no probe. */
static void test_released_is_clear(void **state)
{
	struct fixture *f = *state;
	struct result result;

	source_open(f, "10.0.0.1-10.0.0.3", true, 1);
	acquire(f, AF_INET, NULL, &result);
	prober_answer(&f->prober);
	assert_int_equal(result.status, 0);
	release(f, "10.0.0.1");
	expect_next(f, "10.0.0.1");
}

static void test_wanted_takes_a_reservation(void **state)
{
	struct fixture *f = *state;
	struct result any, wanted, twin;

	source_open(f, "10.0.0.1-10.0.0.9", true, 1);
	acquire(f, AF_INET, NULL, &any);
	acquire(f, AF_INET, "10.0.0.1", &wanted);
	acquire(f, AF_INET, "10.0.0.1", &twin);
	assert_int_equal(twin.status, -EADDRINUSE);
	while (prober_answer(&f->prober))
		;
	assert_int_equal(wanted.status, 0);
	assert_int_equal(wanted.addr.bytes[3], 1);
	assert_int_equal(any.status, 0);
	assert_int_equal(any.addr.bytes[3], 2);
}

static void test_prober_broken(void **state)
{
	struct fixture *f = *state;
	struct result result;
	size_t probes;

	f->prober.broken = true;
	f->prober.at_once = true;
	source_open(f, "10.0.0.1-10.0.0.9", true, 5);
	acquire(f, AF_INET, NULL, &result);
	assert_int_equal(result.status, -ENETDOWN);
	assert_non_null(strstr(result.text, "10.0.0.1"));
	assert_non_null(strstr(result.text, "eth0 is down"));
	run_ms(f, 50);
	probes = f->prober.probes;
	run_ms(f, 100);
	assert_int_equal(f->prober.probes, probes); /* not over and over */
	f->prober.broken = false;
	expect_next(f, "10.0.0.1");
	acquire(f, AF_INET, "10.0.0.7", &result);
	assert_int_equal(result.status, 0);
}

static void test_close_answers(void **state)
{
	struct fixture *f = *state;
	struct result a, b;

	source_open(f, "10.0.0.1-10.0.0.9", true, 5);
	acquire(f, AF_INET, NULL, &a);
	acquire(f, AF_INET, "10.0.0.5", &b);
	source_close(f);
	assert_int_equal(a.status, -ECANCELED);
	assert_int_equal(b.status, -ECANCELED);
}

/* Random acquires, releases, answers: an address is out at most once, and never one in use. */
static void test_random(void **state)
{
	struct fixture *f = *state;
	struct result results[64];
	bool pending[64] = { false };
	unsigned int seed = 7;
	size_t given = 0;

	for (size_t i = 0; i < 8; i++)
		f->prober.in_use[i] = addr_from(
			(const char *[]){ "10.0.0.3", "10.0.0.4", "10.0.0.9", "10.0.0.17",
					  "10.0.0.30", "10.0.0.1", "10.0.0.2", "10.0.0.22" }[i]);
	source_open(f, "10.0.0.1-10.0.0.40", true, 8);
	for (size_t step = 0; step < 5000; step++) {
		size_t i = (size_t)rand_r(&seed) % 64;
		char text[32];

		f->prober.in_use_count = 4 + (size_t)rand_r(&seed) % 4;
		f->prober.broken = rand_r(&seed) % 20 == 0;
		snprintf(text, sizeof(text), "10.0.0.%d", 1 + rand_r(&seed) % 42);
		if (pending[i] && results[i].count > 0) {
			if (results[i].status == 0)
				f->source->ops->release(f->source, &results[i].addr);
			pending[i] = false;
		} else if (!pending[i]) {
			acquire(f, AF_INET, rand_r(&seed) % 3 == 0 ? text : NULL, &results[i]);
			pending[i] = true;
		}
		if (rand_r(&seed) % 3 == 0)
			prober_answer(&f->prober);
		if (rand_r(&seed) % 50 == 0)
			run_ms(f, 6);
		for (size_t a = 0; a < 64; a++) {
			if (!pending[a] || results[a].count == 0 || results[a].status != 0)
				continue;
			given++;
			for (size_t b = 0; b < 4; b++)
				assert_false(addr_equal(&results[a].addr, &f->prober.in_use[b]));
			for (size_t b = a + 1; b < 64; b++)
				assert_false(pending[b] && results[b].count > 0 &&
					     results[b].status == 0 &&
					     addr_equal(&results[a].addr, &results[b].addr));
		}
	}
	assert_true(given > 1000);
	while (prober_answer(&f->prober))
		;
}

static void test_without_memory(void **state)
{
	struct fixture *f = *state;
	bool hit = true;
	size_t n;

	f->prober.at_once = true;
	for (n = 1; hit; n++) {
		struct ipam_config config = { .loop = &f->loop,
					      .ranges = "10.0.0.1-10.0.0.40,2001:db8::/64",
					      .prober_ipv4 = &f->prober.prober,
					      .window = 4 };
		struct result a = { 0 }, b = { 0 };
		struct addr adopted = addr_from("10.0.0.2");
		struct errbuf err;

		alloc_fault_set(n);
		if (ipam_open(&config, &f->source, &err) == 0) {
			(void)f->source->ops->adopt(f->source, &adopted, owner, &err);
			acquire(f, AF_INET, NULL, &a);
			acquire(f, AF_INET, "10.0.0.9", &b);
			if (a.status == 0)
				f->source->ops->release(f->source, &a.addr);
			run_ms(f, 12);
			assert_int_equal(a.count, 1);
			assert_int_equal(b.count, 1);
			assert_true(a.status == 0 || a.status == -ENOMEM);
			assert_true(b.status == 0 || b.status == -ENOMEM);
		}
		hit = alloc_fault_hit();
		alloc_fault_set(0);
		if (f->source != NULL)
			expect_next(f, "10.0.0.1");
		source_close(f);
	}
	print_message("             %zu made to fail in turn\n", n - 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_lowest_first),
		TEST(test_wanted),
		TEST(test_adopt),
		TEST(test_many),
		TEST(test_probed_ahead),
		TEST(test_create_waits_for_its_probe),
		TEST(test_released_is_clear),
		TEST(test_wanted_takes_a_reservation),
		TEST(test_prober_broken),
		TEST(test_close_answers),
		TEST(test_random),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
