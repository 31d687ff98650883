/* SPDX-License-Identifier: GPL-2.0-only */
/* core: single changes, validation, VIP sharing, reading, restart, reconcile. */
#include "core_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_create(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL);
	static const char *const steps[] = { "acquire 1", "apply web 0", "prepare 10.0.0.1",
					     "announce 10.0.0.1" };

	assert_int_equal(lb.status, 0);
	assert_int_equal(lb.count, 1);
	assert_string_equal(lb.lb.name, "web");
	assert_int_equal(lb.lb.protocol, PROTOCOL_TCP);
	assert_true(lb.lb.source_nat);
	assert_int_equal(lb.lb.scheduler, SCHEDULER_RR);
	assert_true(lb.lb.created_order > 0);
	assert_int_equal(f->doubles.trace_count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(f->doubles.trace[i], steps[i]);
	assert_non_null(core_find(f->core, lb.lb.uuid));
	assert_agreement(f);
}

static void test_not_shown_before_durable(void **state)
{
	struct fixture *f = *state;
	struct answer lb, backend;

	submit_lb(f, "web", 80, NULL, &lb);
	assert_int_equal(lb.count, 0);
	assert_int_equal(core_count(f->core), 0);
	assert_null(core_next(f->core, 0));
	assert_false(doubles_has_call(&f->doubles, "announce"));
	fixture_wait(f, &lb);
	assert_int_equal(core_count(f->core), 1);

	submit_backend(f, lb.lb.uuid, "10.1.0.1", &backend);
	assert_int_equal(core_find(f->core, lb.lb.uuid)->backend_count, 0);
	fixture_wait(f, &backend);
	assert_int_equal(core_find(f->core, lb.lb.uuid)->backend_count, 1);
}

static void expect_refused(struct fixture *f, struct load_balancer_request request,
			   const char *field)
{
	struct answer answer = { 0 };

	core_create_load_balancer(f->core, &request, answer_cb, &answer);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.status, -EINVAL);
	assert_string_equal(answer.field, field);
	assert_int_equal(f->doubles.calls, 0);
}

static void test_validation(void **state)
{
	struct fixture *f = *state;
	struct load_balancer_request good = lb_request("web", 80, NULL), bad;
	static const char *const bad_names[] = {
		"a\nb",     "\x7f",         "\xc2\x85",         "\xff",
		"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82",
		"\x80"
	};
	static const char *const bad_eips[] = { "0.0.0.0",         "127.0.0.1", "224.0.0.1",
						"255.255.255.255", "::",        "::1",
						"fe80::1",         "ff02::1" };

	for (size_t i = 0; i < sizeof(bad_names) / sizeof(*bad_names); i++)
		expect_refused(f, lb_request(bad_names[i], 80, NULL), "name");
	for (size_t i = 0; i < sizeof(bad_eips) / sizeof(*bad_eips); i++)
		expect_refused(f, lb_request("web", 80, bad_eips[i]), "eip");
	bad = good;
	memset(bad.name, 'x', sizeof(bad.name));
	expect_refused(f, bad, "name");
	expect_refused(f, lb_request("web", 0, NULL), "port");
	bad = good;
	bad.given &= ~(unsigned int)LB_PORT;
	expect_refused(f, bad, "port");
	bad = lb_request("web", 80, "10.0.0.9");
	bad.given |= LB_FAMILY;
	bad.family = AF_INET6;
	expect_refused(f, bad, "family");
	bad = good;
	bad.given |= LB_AFFINITY;
	bad.affinity_s = AFFINITY_MAX_S + 1;
	expect_refused(f, bad, "affinity_s");
	bad = good;
	bad.given |= LB_PROTOCOL;
	bad.protocol = 1;
	expect_refused(f, bad, "protocol");
	bad = good;
	bad.given |= LB_SCHEDULER;
	bad.scheduler = 99;
	expect_refused(f, bad, "scheduler");
	assert_agreement(f);
}

static void test_names_that_are_fine(void **state)
{
	struct fixture *f = *state;
	char longest[NAME_SIZE];
	struct answer lb;

	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	lb = make_lb(f, longest, 80, NULL);
	assert_int_equal(lb.status, 0);
	assert_string_equal(lb.lb.name, longest);
	lb = make_lb(f, "", 80, NULL);
	assert_int_equal(lb.status, 0);
	lb = make_lb(f, "Größe \xe2\x82\xac \xf0\x9f\x98\x80 ' \" ; --", 80, NULL);
	assert_int_equal(lb.status, 0);
	assert_agreement(f);
	fixture_restart(f);
	assert_agreement(f);
}

static void test_backends(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL);
	struct answer backend = make_backend(f, lb.lb.uuid, "10.1.0.1");
	struct backend_request request;
	struct answer answer;
	uuid_t unknown = { 1 };

	assert_int_equal(backend.status, 0);
	assert_true(backend.has_backend);
	assert_int_equal(backend.backend.weight, 1);
	assert_int_equal(backend.backend.state, BACKEND_UP);
	assert_int_equal(make_backend(f, lb.lb.uuid, "10.1.0.1").status, -EEXIST);
	assert_int_equal(make_backend(f, lb.lb.uuid, "2001:db8::1").status, -EINVAL);
	assert_int_equal(make_backend(f, lb.lb.uuid, "10.0.0.1").status, -EINVAL); /* the VIP */
	assert_int_equal(make_backend(f, lb.lb.uuid, "127.0.0.1").status, -EINVAL);
	assert_int_equal(make_backend(f, unknown, "10.1.0.2").status, -ENOENT);
	assert_int_equal(make_backend(f, lb.lb.uuid, "10.1.0.2").status, 0);

	request = (struct backend_request){ .given = BACKEND_WEIGHT_GIVEN | BACKEND_STATE_GIVEN,
					    .weight = 7,
					    .state = BACKEND_DRAIN };
	memset(&answer, 0, sizeof(answer));
	core_update_backend(f->core, lb.lb.uuid, backend.backend.uuid, &request, answer_cb,
			    &answer);
	fixture_wait(f, &answer);
	assert_int_equal(answer.status, 0);
	assert_int_equal(answer.backend.weight, 7);
	assert_agreement(f);

	request = backend_request("10.1.0.1", 81);
	memset(&answer, 0, sizeof(answer));
	core_update_backend(f->core, lb.lb.uuid, backend.backend.uuid, &request, answer_cb,
			    &answer);
	fixture_wait(f, &answer);
	assert_int_equal(answer.status, -EINVAL);
	assert_string_equal(answer.field, "port");

	memset(&answer, 0, sizeof(answer));
	core_delete_backend(f->core, lb.lb.uuid, unknown, answer_cb, &answer);
	fixture_wait(f, &answer);
	assert_int_equal(answer.status, -ENOENT);

	memset(&answer, 0, sizeof(answer));
	core_delete_backend(f->core, lb.lb.uuid, backend.backend.uuid, answer_cb, &answer);
	fixture_wait(f, &answer);
	assert_int_equal(answer.status, 0);
	assert_false(answer.has_lb || answer.has_backend);
	assert_int_equal(core_find(f->core, lb.lb.uuid)->backend_count, 1);
	assert_agreement(f);
	fixture_restart(f);
	assert_agreement(f);
}

/* The order of backends is that of creation, also after an update and a restart. */
static void test_backend_order(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL), backends[5], answer = { 0 };
	struct backend_request request = { .given = BACKEND_WEIGHT_GIVEN, .weight = 9 };

	for (size_t i = 0; i < 5; i++) {
		char ip[32];

		snprintf(ip, sizeof(ip), "10.1.0.%zu", 9 - i);
		backends[i] = make_backend(f, lb.lb.uuid, ip);
	}
	core_update_backend(f->core, lb.lb.uuid, backends[1].backend.uuid, &request, answer_cb,
			    &answer);
	fixture_wait(f, &answer);
	for (int round = 0; round < 2; round++) {
		const struct load_balancer *now = core_find(f->core, lb.lb.uuid);

		assert_int_equal(now->backend_count, 5);
		for (size_t i = 0; i < 5; i++)
			assert_int_equal(
				uuid_compare(now->backends[i].uuid, backends[i].backend.uuid), 0);
		fixture_restart(f);
	}
}

static void test_update(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL), answer = { 0 };
	struct load_balancer_request request = { .given = LB_NAME | LB_SCHEDULER | LB_AFFINITY |
							  LB_SOURCE_NAT | LB_PORT,
						 .name = "new",
						 .port = 80,
						 .scheduler = SCHEDULER_MAGLEV,
						 .affinity_s = 30 };

	core_update_load_balancer(f->core, lb.lb.uuid, &request, answer_cb, &answer);
	fixture_wait(f, &answer);
	assert_int_equal(answer.status, 0);
	assert_string_equal(answer.lb.name, "new");
	assert_int_equal(answer.lb.affinity_s, 30);
	assert_false(answer.lb.source_nat);
	assert_agreement(f);

	request.port = 81;
	memset(&answer, 0, sizeof(answer));
	core_update_load_balancer(f->core, lb.lb.uuid, &request, answer_cb, &answer);
	fixture_wait(f, &answer);
	assert_int_equal(answer.status, -EINVAL);
	assert_string_equal(answer.field, "port");
	assert_agreement(f);

	/* Nothing new: answered at once, nothing is called. */
	request = (struct load_balancer_request){ .given = LB_NAME, .name = "new" };
	memset(&answer, 0, sizeof(answer));
	doubles_reset(&f->doubles);
	core_update_load_balancer(f->core, lb.lb.uuid, &request, answer_cb, &answer);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.status, 0);
	assert_true(answer.has_lb);
	assert_int_equal(f->doubles.calls, 0);
}

static void test_delete(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL);
	char *empty;

	make_backend(f, lb.lb.uuid, "10.1.0.1");
	doubles_reset(&f->doubles);
	assert_int_equal(delete_lb(f, lb.lb.uuid).status, 0);
	assert_string_equal(f->doubles.trace[0], "withdraw 10.0.0.1");
	assert_string_equal(f->doubles.trace[1], "remove web");
	assert_string_equal(f->doubles.trace[2], "release 1");
	empty = doubles_state(&f->doubles);
	assert_string_equal(empty, "");
	free(empty);
	assert_int_equal(delete_lb(f, lb.lb.uuid).status, -ENOENT);
	assert_agreement(f);
	/* The address is there for the next one. */
	lb = make_lb(f, "next", 80, NULL);
	assert_int_equal(lb.lb.vip.bytes[3], 1);
}

static void test_vip_sharing(void **state)
{
	struct fixture *f = *state;
	struct answer a = make_lb(f, "a", 80, NULL);
	struct answer b = make_lb(f, "b", 443, "10.0.0.1");
	struct answer c = make_lb(f, "c", 443, "10.0.0.1");
	struct answer d = make_lb(f, "d", 443, NULL);
	struct load_balancer_request udp = lb_request("u", 443, "10.0.0.1");
	struct answer u = { 0 };

	assert_int_equal(a.status, 0);
	assert_int_equal(b.status, 0);
	assert_int_equal(c.status, -EADDRINUSE);
	assert_string_equal(c.field, "port");
	assert_int_equal(d.status, 0);
	assert_int_equal(d.lb.vip.bytes[3], 2); /* not shared unless asked for */
	udp.given |= LB_PROTOCOL;
	udp.protocol = PROTOCOL_UDP;
	core_create_load_balancer(f->core, &udp, answer_cb, &u);
	fixture_wait(f, &u);
	assert_int_equal(u.status, 0);
	assert_agreement(f);

	fixture_restart(f); /* the count of users comes back, too */
	doubles_reset(&f->doubles);
	assert_int_equal(delete_lb(f, a.lb.uuid).status, 0);
	assert_int_equal(delete_lb(f, u.lb.uuid).status, 0);
	assert_false(doubles_has_call(&f->doubles, "withdraw"));
	assert_false(doubles_has_call(&f->doubles, "release"));
	assert_int_equal(delete_lb(f, b.lb.uuid).status, 0);
	assert_true(doubles_has_call(&f->doubles, "withdraw 10.0.0.1"));
	assert_true(doubles_has_call(&f->doubles, "release 1"));
	assert_agreement(f);
}

static void test_order(void **state)
{
	struct fixture *f = *state;
	struct answer answers[50];
	const struct load_balancer *lb = NULL;
	size_t at = 0;

	for (size_t i = 0; i < 50; i++)
		submit_lb(f, "x", 80, NULL, &answers[i]);
	fixture_wait(f, &answers[49]);
	for (size_t i = 0; i < 50; i += 3)
		assert_int_equal(delete_lb(f, answers[i].lb.uuid).status, 0);
	for (int round = 0; round < 2; round++) {
		at = 0;
		lb = NULL;
		while ((lb = core_next(f->core, lb != NULL ? lb->created_order : 0)) != NULL) {
			at += at % 3 == 0;
			assert_int_equal(uuid_compare(lb->uuid, answers[at].lb.uuid), 0);
			at++;
		}
		assert_int_equal(core_count(f->core), 33);
		fixture_restart(f);
	}
	make_lb(f, "last", 80, NULL);
	for (lb = core_next(f->core, 0); core_next(f->core, lb->created_order) != NULL;)
		lb = core_next(f->core, lb->created_order);
	assert_string_equal(lb->name, "last");
	assert_agreement(f);
}

static void test_traffic(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL);
	struct load_balancer unknown = { .uuid = { 1 } };
	struct traffic total, each[2];
	struct errbuf err;

	make_backend(f, lb.lb.uuid, "10.1.0.1");
	make_backend(f, lb.lb.uuid, "10.1.0.2");
	assert_int_equal(core_traffic(f->core, core_find(f->core, lb.lb.uuid), &total, each, &err),
			 0);
	assert_int_equal(total.connections, 2);
	assert_int_equal(each[1].connections, 1);
	assert_int_equal(core_traffic(f->core, &unknown, &total, NULL, &err), -ENOENT);
}

/* What a crash left behind goes at the start; what is wanted stays untouched. */
static void test_start_cleans(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL);
	struct load_balancer stranger = { .uuid = { 9 }, .name = "stranger", .port = 1 };
	struct addr vip = addr_of("10.0.0.77");
	struct errbuf err;

	f->doubles.datapath.ops->apply(&f->doubles.datapath, &stranger, &err);
	f->doubles.advertiser.ops->prepare(&f->doubles.advertiser, &vip, &err);
	fixture_stop(f);
	doubles_reset(&f->doubles);
	fixture_start(f);
	assert_int_equal(f->doubles.writes, 2);
	assert_int_equal(doubles_applied(&f->doubles, stranger.uuid) != NULL, 0);
	assert_true(doubles_has_call(&f->doubles, "adopt 1"));
	assert_non_null(core_find(f->core, lb.lb.uuid));
	assert_agreement(f);
}

static void test_reconcile(void **state)
{
	struct fixture *f = *state;
	struct answer a = make_lb(f, "a", 80, NULL), b = make_lb(f, "b", 81, "10.0.0.1");
	struct addr vip = addr_of("10.0.0.1");
	struct errbuf err;

	make_backend(f, a.lb.uuid, "10.1.0.1");
	doubles_reset(&f->doubles);
	assert_int_equal(core_reconcile(f->core), 0);
	assert_int_equal(f->doubles.writes, 0);

	/* Somebody else took things away. */
	f->doubles.datapath.ops->remove(&f->doubles.datapath, core_find(f->core, b.lb.uuid), &err);
	f->doubles.advertiser.ops->withdraw(&f->doubles.advertiser, &vip, &err);
	assert_int_equal(core_reconcile(f->core), 0);
	assert_agreement(f);
	doubles_reset(&f->doubles);
	assert_int_equal(core_reconcile(f->core), 0);
	assert_int_equal(f->doubles.writes, 0); /* the second run changes nothing */

	/* The cheap path: nothing is even called. */
	f->doubles.answers_intact = true;
	doubles_reset(&f->doubles);
	assert_int_equal(core_reconcile(f->core), 0);
	assert_int_equal(f->doubles.trace_count, 0);
}

/* What cannot be made true at the start is kept, and made true later. */
static void test_start_in_trouble(void **state)
{
	struct fixture *f = *state;
	static const char *const calls[] = { "apply", "prepare", "dp-retain", "adv-retain",
					     "adopt" };

	make_lb(f, "a", 80, NULL);
	make_lb(f, "b", 80, NULL);
	f->doubles.answers_intact = true;
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		fixture_stop(f);
		doubles_free(&f->doubles);
		doubles_reset(&f->doubles);
		f->doubles.fail_only = calls[i];
		f->doubles.fail_at = 1;
		f->doubles.fail_count = 1000;
		fixture_start(f);
		assert_int_equal(core_count(f->core), 2);
		if (i < 2) {
			assert_int_equal(core_reconcile(f->core), 2);
			assert_int_equal(HASH_COUNT(f->doubles.vips), 0);
		}
		doubles_reset(&f->doubles);
		assert_int_equal(core_reconcile(f->core), 0);
		assert_agreement(f);
		doubles_reset(&f->doubles);
		assert_int_equal(core_reconcile(f->core), 0);
		assert_int_equal(f->doubles.trace_count, 0);
	}
}

/* A delete is durable although the datapath or the adapter does not let go; that follows later. */
static void test_delete_in_trouble(void **state)
{
	struct fixture *f = *state;
	struct answer lb, again;

	f->doubles.answers_intact = true;
	for (int round = 0; round < 2; round++) {
		lb = make_lb(f, "web", 80, NULL);
		doubles_reset(&f->doubles);
		f->doubles.fail_only = round == 0 ? "remove" : "withdraw";
		f->doubles.fail_at = 1;
		f->doubles.fail_count = 1000;
		assert_int_equal(delete_lb(f, lb.lb.uuid).status, 0);
		assert_int_equal(core_count(f->core), 0);
		/* The same service cannot come back while the old one is there. */
		again = make_lb(f, "again", 80, "10.0.0.1");
		assert_int_equal(again.status, round == 0 ? -EBUSY : 0);
		if (round == 1)
			assert_int_equal(delete_lb(f, again.lb.uuid).status, 0);
		core_reconcile(f->core);
		doubles_reset(&f->doubles);
		core_reconcile(f->core);
		assert_agreement(f);
		assert_int_equal(f->doubles.writes, round == 0 ? 1 : 2);
	}
	assert_int_equal(make_lb(f, "again", 80, "10.0.0.1").status, 0);
	assert_agreement(f);
}

static void test_withdraw_all(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	char *text;

	make_lb(f, "a", 80, NULL);
	make_lb(f, "b", 80, NULL);
	core_withdraw_all(f->core);
	assert_int_equal(HASH_COUNT(f->doubles.applied), 0);
	assert_int_equal(HASH_COUNT(f->doubles.vips), 0);
	assert_int_equal(core_reconcile(f->core), 0);
	assert_int_equal(HASH_COUNT(f->doubles.applied), 0);
	submit_lb(f, "late", 80, NULL, &answer);
	assert_int_equal(answer.status, -ECANCELED);
	fixture_restart(f);
	text = core_state(f->core);
	assert_non_null(strstr(text, " b "));
	free(text);
	assert_agreement(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_create),
		TEST(test_not_shown_before_durable),
		TEST(test_validation),
		TEST(test_names_that_are_fine),
		TEST(test_backends),
		TEST(test_backend_order),
		TEST(test_update),
		TEST(test_delete),
		TEST(test_vip_sharing),
		TEST(test_order),
		TEST(test_traffic),
		TEST(test_start_cleans),
		TEST(test_reconcile),
		TEST(test_start_in_trouble),
		TEST(test_delete_in_trouble),
		TEST(test_withdraw_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
