/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core: changes that are under way at once come out as if made one after the other. Nothing is
 * answered while a test submits, because commits are answered from the loop only.
 */
#include "core_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "fault_vfs.h"

static void update_name(struct fixture *f, const uuid_t lb, const char *name, struct answer *answer)
{
	struct load_balancer_request request = { .given = LB_NAME };

	snprintf(request.name, sizeof(request.name), "%s", name);
	memset(answer, 0, sizeof(*answer));
	core_update_load_balancer(f->core, lb, &request, answer_cb, answer);
}

static void submit_delete(struct fixture *f, const uuid_t lb, struct answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	core_delete_load_balancer(f->core, lb, answer_cb, answer);
}

static void submit_delete_backend(struct fixture *f, const uuid_t lb, const uuid_t backend,
				  struct answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	core_delete_backend(f->core, lb, backend, answer_cb, answer);
}

/* Of identical creates for one VIP and port, one wins; the others hear of it after its commit. */
static void test_identical_creates(void **state)
{
	struct fixture *f = *state;
	struct answer a, b, c;

	submit_lb(f, "a", 80, "10.0.0.5", &a);
	submit_lb(f, "b", 80, "10.0.0.5", &b);
	submit_lb(f, "c", 81, "10.0.0.5", &c);
	assert_int_equal(b.count, 0); /* a may yet fail */
	fixture_wait(f, &c);
	assert_int_equal(a.status, 0);
	assert_int_equal(b.status, -EADDRINUSE);
	assert_int_equal(c.status, 0);
	assert_agreement(f);
}

/* The same while the address itself is still being asked for. */
static void test_creates_wait_for_one_address(void **state)
{
	struct fixture *f = *state;
	struct answer a, b, c;

	f->doubles.asynchronous = true;
	submit_lb(f, "a", 80, "10.0.0.5", &a);
	submit_lb(f, "b", 80, "10.0.0.5", &b);
	submit_lb(f, "c", 81, "10.0.0.5", &c);
	assert_int_equal(f->doubles.asked_count, 1);
	doubles_answer(&f->doubles);
	fixture_wait(f, &c);
	assert_int_equal(a.status, 0);
	assert_int_equal(b.status, -EADDRINUSE);
	assert_int_equal(c.status, 0);
	assert_agreement(f);

	/* Not to be had: all who waited hear it. */
	f->doubles.fail_at = f->doubles.calls + 1;
	f->doubles.fail_status = -EADDRINUSE;
	submit_lb(f, "d", 80, "10.0.0.6", &a);
	submit_lb(f, "e", 81, "10.0.0.6", &b);
	doubles_answer(&f->doubles);
	assert_int_equal(a.status, -EADDRINUSE);
	assert_int_equal(b.status, -EADDRINUSE);
	assert_agreement(f);
}

/* One takes any address and gets the one another is asking for by name: they share it. */
static void test_any_and_wanted_meet(void **state)
{
	struct fixture *f = *state;
	struct answer any, wanted;

	f->doubles.asynchronous = true;
	submit_lb(f, "any", 80, NULL, &any);
	submit_lb(f, "wanted", 81, "10.0.0.1", &wanted);
	assert_int_equal(f->doubles.asked_count, 2);
	doubles_answer(&f->doubles);
	doubles_answer(&f->doubles);
	fixture_wait(f, &wanted);
	fixture_wait(f, &any);
	assert_int_equal(any.status, 0);
	assert_int_equal(wanted.status, 0);
	assert_true(addr_equal(&any.lb.vip, &wanted.lb.vip));
	assert_agreement(f);
}

/* A delete overtakes nothing and is overtaken by nothing. */
static void test_delete_while_backend_waits(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL);
	struct answer before, gone, after, update, again;

	submit_backend(f, lb.lb.uuid, "10.1.0.1", &before);
	submit_delete(f, lb.lb.uuid, &gone);
	submit_backend(f, lb.lb.uuid, "10.1.0.2", &after);
	update_name(f, lb.lb.uuid, "new", &update);
	submit_delete(f, lb.lb.uuid, &again);
	assert_int_equal(after.count + update.count + again.count, 0);
	fixture_wait(f, &again);
	assert_int_equal(before.status, 0);
	assert_int_equal(gone.status, 0);
	assert_int_equal(after.status, -ENOENT);
	assert_int_equal(update.status, -ENOENT);
	assert_int_equal(again.status, -ENOENT);
	assert_agreement(f);
	assert_int_equal(core_count(f->core), 0);
}

/* The service of a load balancer that is being deleted can be had again as soon as it is gone. */
static void test_create_while_delete_waits(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "old", 80, NULL);
	struct answer gone, again, other;

	submit_delete(f, lb.lb.uuid, &gone);
	submit_lb(f, "again", 80, "10.0.0.1", &again);
	submit_lb(f, "other", 81, "10.0.0.1", &other);
	fixture_wait(f, &again);
	fixture_wait(f, &other);
	assert_int_equal(gone.status, 0);
	assert_int_equal(again.status, 0);
	assert_int_equal(other.status, 0);
	assert_agreement(f);
}

static void test_two_updates(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL), first, second, same;

	update_name(f, lb.lb.uuid, "first", &first);
	update_name(f, lb.lb.uuid, "second", &second);
	update_name(f, lb.lb.uuid, "second", &same); /* changes nothing, but only once that is so */
	assert_int_equal(same.count, 0);
	fixture_wait(f, &same);
	assert_string_equal(first.lb.name, "first");
	assert_string_equal(second.lb.name, "second");
	assert_string_equal(same.lb.name, "second");
	assert_agreement(f);
}

static void test_backends_at_once(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL), twin, answers[20], gone[3], again;

	for (size_t i = 0; i < 20; i++) {
		char ip[32];

		snprintf(ip, sizeof(ip), "10.1.0.%zu", i + 1);
		submit_backend(f, lb.lb.uuid, ip, &answers[i]);
	}
	submit_backend(f, lb.lb.uuid, "10.1.0.7", &twin);
	fixture_wait(f, &twin);
	assert_int_equal(twin.status, -EEXIST);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(answers[i].status, 0);
	assert_int_equal(answers[19].backend_count, 20);
	assert_agreement(f);

	submit_delete_backend(f, lb.lb.uuid, answers[6].backend.uuid, &gone[0]);
	submit_delete_backend(f, lb.lb.uuid, answers[6].backend.uuid, &gone[1]);
	submit_delete_backend(f, lb.lb.uuid, answers[7].backend.uuid, &gone[2]);
	submit_backend(f, lb.lb.uuid, "10.1.0.7", &again);
	assert_int_equal(doubles_applied(&f->doubles, lb.lb.uuid)->backend_count, 20);
	fixture_wait(f, &again);
	fixture_wait(f, &gone[2]);
	assert_int_equal(gone[0].status, 0);
	assert_int_equal(gone[1].status, -ENOENT);
	assert_int_equal(gone[2].status, 0);
	assert_int_equal(again.status, 0);
	assert_int_equal(core_find(f->core, lb.lb.uuid)->backend_count, 19);
	assert_agreement(f);
}

/* A failed commit takes everything submitted with it, with the reason, and leaves no trace. */
static void test_failed_commit(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL), one = make_lb(f, "one", 80, NULL);
	struct answer backend = make_backend(f, lb.lb.uuid, "10.1.0.1"), answers[9];
	char *before = core_state(f->core), *after;

	fault_vfs_fail(1, SQLITE_FULL);
	submit_lb(f, "new", 80, NULL, &answers[0]);
	submit_backend(f, lb.lb.uuid, "10.1.0.2", &answers[1]);
	update_name(f, lb.lb.uuid, "renamed", &answers[2]);
	submit_delete_backend(f, lb.lb.uuid, backend.backend.uuid, &answers[3]);
	submit_delete(f, one.lb.uuid, &answers[4]);
	submit_lb(f, "shared", 99, "10.0.0.1", &answers[5]);
	submit_lb(f, "twin", 99, "10.0.0.1", &answers[6]);      /* refused by answers[5] */
	update_name(f, lb.lb.uuid, "waits", &answers[7]);       /* for answers[3] */
	submit_lb(f, "waits too", 80, "10.0.0.2", &answers[8]); /* for answers[4] */
	for (size_t i = 0; i < 9; i++) {
		fixture_wait(f, &answers[i]);
		/* Those that waited were started afresh: and met the full disk, or what is taken.
		 */
		assert_int_equal(answers[i].status, i == 8 ? -EADDRINUSE : -ENOSPC);
		if (i != 8)
			assert_non_null(strstr(answers[i].text, "disk is full"));
	}
	after = core_state(f->core);
	assert_string_equal(before, after);
	assert_agreement(f);
	free(before);
	free(after);

	fault_vfs_fail(0, 0);
	assert_int_equal(make_lb(f, "new", 80, NULL).status, 0);
	assert_agreement(f);
	fixture_restart(f);
	assert_agreement(f);
}

/* Stopping: what was submitted is stored and answered, what only waited is refused. */
static void test_stop_under_way(void **state)
{
	struct fixture *f = *state;
	struct answer lb = make_lb(f, "web", 80, NULL), created, gone, waits, any, wanted;

	submit_lb(f, "created", 80, NULL, &created);
	submit_delete(f, lb.lb.uuid, &gone);
	update_name(f, lb.lb.uuid, "waits", &waits);
	f->doubles.asynchronous = true;
	submit_lb(f, "any", 80, NULL, &any);
	submit_lb(f, "wanted", 80, "10.0.0.9", &wanted);
	fixture_stop(f);
	assert_int_equal(created.status, 0);
	assert_int_equal(gone.status, 0);
	assert_int_equal(waits.status, -ECANCELED);
	assert_int_equal(any.status, -ECANCELED);
	assert_int_equal(wanted.status, -ECANCELED);
	/* The addresses come when nobody waits any more: they are given back. */
	while (doubles_answer(&f->doubles))
		;
	assert_int_equal(doubles_count_addresses(&f->doubles), 1);
	fixture_start(f);
	assert_int_equal(core_count(f->core), 1);
	assert_agreement(f);
}

/* Callbacks that go on with the next change, as the API's clients do. */
struct chain {
	struct fixture *fixture;
	int left;
	uuid_t lb;
};

static void chain_next(void *arg, int status, const struct load_balancer *lb,
		       const struct backend *backend, const struct errbuf *err)
{
	struct chain *chain = arg;
	struct load_balancer_request create = lb_request("chain", 80, NULL);

	(void)backend;
	(void)err;
	assert_int_equal(status, 0);
	if (chain->left-- == 0)
		return;
	if (lb == NULL) {
		core_create_load_balancer(chain->fixture->core, &create, chain_next, chain);
	} else if (chain->left % 3 == 0) {
		core_delete_load_balancer(chain->fixture->core, lb->uuid, chain_next, chain);
	} else {
		create = (struct load_balancer_request){ .given = LB_AFFINITY,
							 .affinity_s = (uint32_t)chain->left };
		core_update_load_balancer(chain->fixture->core, lb->uuid, &create, chain_next,
					  chain);
	}
}

static void test_changes_from_callbacks(void **state)
{
	struct fixture *f = *state;
	struct chain chains[8];
	bool busy = true;

	for (size_t i = 0; i < 8; i++) {
		struct load_balancer_request create = lb_request("chain", 80, NULL);

		chains[i] = (struct chain){ .fixture = f, .left = 40 };
		core_create_load_balancer(f->core, &create, chain_next, &chains[i]);
	}
	while (busy) {
		uv_run(&f->loop, UV_RUN_ONCE);
		busy = false;
		for (size_t i = 0; i < 8; i++)
			busy |= chains[i].left >= 0;
	}
	assert_agreement(f);
}

/* ---- how fast ----------------------------------------------------------------------------- */

struct client {
	struct fixture *fixture;
	int *left; /* creates of all clients */
	int *busy; /* clients */
};

static void client_next(void *arg, int status, const struct load_balancer *lb,
			const struct backend *backend, const struct errbuf *err)
{
	struct client *client = arg;
	struct load_balancer_request create = lb_request("fast", 80, NULL);

	(void)lb;
	(void)backend;
	(void)err;
	assert_int_equal(status, 0);
	if ((*client->left)-- > 0)
		core_create_load_balancer(client->fixture->core, &create, client_next, client);
	else
		(*client->busy)--;
}

static void test_throughput(void **state)
{
	struct fixture *f = *state;
	struct client clients[16];
	uint64_t started = uv_hrtime();
	int left = 3000, busy = 16;
	double seconds;

	for (size_t i = 0; i < 16; i++) {
		clients[i] = (struct client){ .fixture = f, .left = &left, .busy = &busy };
		client_next(&clients[i], 0, NULL, NULL, NULL);
	}
	while (busy > 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	seconds = (double)(uv_hrtime() - started) / 1e9;
	assert_int_equal(core_count(f->core), 3000);
	print_message("             %.0f durable creates/s through core, 16 under way\n",
		      3000 / seconds);
	started = uv_hrtime();
	fixture_restart(f);
	print_message("             stop and start with 3,000 load balancers: %.0f ms\n",
		      (double)(uv_hrtime() - started) / 1e6);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_identical_creates),
		TEST(test_creates_wait_for_one_address),
		TEST(test_any_and_wanted_meet),
		TEST(test_delete_while_backend_waits),
		TEST(test_create_while_delete_waits),
		TEST(test_two_updates),
		TEST(test_backends_at_once),
		TEST(test_failed_commit),
		TEST(test_stop_under_way),
		TEST(test_changes_from_callbacks),
		TEST(test_throughput),
	};

	fault_vfs_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
