/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core: every step of every change made to fail in turn leaves nothing; so does every allocation;
 * and a seeded random walk of changes, failures and repairs ends in agreement. SEED=n repeats a
 * walk.
 */
#include "core_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "alloc_fault.h"
#include "fault_vfs.h"
#include "lib/log.h"

/* ---- each step in turn -------------------------------------------------------------------- */

enum kind {
	CREATE,
	CREATE_SHARED,
	CREATE_BACKEND,
	UPDATE,
	UPDATE_BACKEND,
	DELETE,
	DELETE_BACKEND,
	KINDS
};

static const char *const kind_names[KINDS] = { "create",        "create shared",  "create backend",
					       "update",        "update backend", "delete",
					       "delete backend" };

struct base {
	uuid_t lb, backend;
};

/* One load balancer with two backends, to be changed. */
static struct base make_base(struct fixture *f)
{
	struct answer lb = make_lb(f, "base", 80, NULL);
	struct answer backend = make_backend(f, lb.lb.uuid, "10.1.0.1");
	struct base base;

	make_backend(f, lb.lb.uuid, "10.1.0.2");
	uuid_copy(base.lb, lb.lb.uuid);
	uuid_copy(base.backend, backend.backend.uuid);
	return base;
}

static void submit(struct fixture *f, const struct base *base, enum kind kind,
		   struct answer *answer)
{
	struct load_balancer_request update = { .given = LB_AFFINITY, .affinity_s = 77 };
	struct backend_request weight = { .given = BACKEND_WEIGHT_GIVEN, .weight = 77 };

	memset(answer, 0, sizeof(*answer));
	switch (kind) {
	case CREATE:
		submit_lb(f, "new", 80, NULL, answer);
		break;
	case CREATE_SHARED:
		submit_lb(f, "new", 81, "10.0.0.1", answer);
		break;
	case CREATE_BACKEND:
		submit_backend(f, base->lb, "10.1.0.3", answer);
		break;
	case UPDATE:
		core_update_load_balancer(f->core, base->lb, &update, answer_cb, answer);
		break;
	case UPDATE_BACKEND:
		core_update_backend(f->core, base->lb, base->backend, &weight, answer_cb, answer);
		break;
	case DELETE:
		core_delete_load_balancer(f->core, base->lb, answer_cb, answer);
		break;
	default:
		core_delete_backend(f->core, base->lb, base->backend, answer_cb, answer);
		break;
	}
}

static bool is_delete(enum kind kind)
{
	return kind == DELETE || kind == DELETE_BACKEND;
}

static void assert_nothing_happened(struct fixture *f, const char *core_before,
				    const char *doubles_before)
{
	char *core_after = core_state(f->core), *doubles_after = doubles_state(&f->doubles);

	assert_string_equal(core_before, core_after);
	assert_string_equal(doubles_before, doubles_after);
	free(core_after);
	free(doubles_after);
	assert_agreement(f);
}

/* Makes call n fail; returns whether it came to that call. */
static bool fail_call(struct fixture *f, enum kind kind, size_t n)
{
	struct base base = make_base(f);
	char *core_before = core_state(f->core), *doubles_before = doubles_state(&f->doubles);
	struct answer answer;
	bool hit;

	doubles_reset(&f->doubles);
	f->doubles.fail_at = n;
	f->doubles.fail_status = -ENOSPC;
	submit(f, &base, kind, &answer);
	fixture_wait(f, &answer);
	hit = f->doubles.calls >= n;
	doubles_reset(&f->doubles);
	if (hit && !is_delete(kind)) {
		assert_int_equal(answer.status, -ENOSPC);
		assert_non_null(strstr(answer.text, "fails as the test wants"));
		assert_nothing_happened(f, core_before, doubles_before);
	} else {
		/* A delete is durable; what could not be taken down at once is at the next try. */
		assert_int_equal(answer.status, 0);
		core_reconcile(f->core);
		assert_agreement(f);
	}
	free(core_before);
	free(doubles_before);
	return hit;
}

static void each_fresh(bool (*attempt)(struct fixture *f, enum kind kind, size_t n))
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		bool more = true;
		size_t n;

		for (n = 1; more; n++) {
			void *state;

			assert_int_equal(fixture_setup(&state), 0);
			more = attempt(state, kind, n);
			assert_int_equal(fixture_teardown(&state), 0);
		}
		print_message("             %s: %zu made to fail in turn\n", kind_names[kind],
			      n - 2);
		assert_true(n > 2);
	}
}

static void test_each_call_fails(void **state)
{
	(void)state;
	each_fresh(fail_call);
}

/* Each write and sync of the commit in turn. */
static bool fail_write(struct fixture *f, enum kind kind, size_t n)
{
	static const int codes[] = { SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC,
				     SQLITE_READONLY };
	static const int statuses[] = { -ENOSPC, -EIO, -EIO, -EROFS };
	struct base base = make_base(f);
	char *core_before = core_state(f->core), *doubles_before = doubles_state(&f->doubles);
	struct answer answer;
	bool hit;

	fault_vfs_fail(n, codes[n % 4]);
	submit(f, &base, kind, &answer);
	fixture_wait(f, &answer);
	hit = fault_vfs_operations() >= n;
	fault_vfs_fail(0, 0);
	if (hit) {
		assert_int_equal(answer.status, statuses[n % 4]);
		assert_nothing_happened(f, core_before, doubles_before);
		fixture_restart(f);
		assert_nothing_happened(f, core_before, doubles_before);
	} else {
		assert_int_equal(answer.status, 0);
		assert_agreement(f);
	}
	free(core_before);
	free(doubles_before);
	return hit;
}

static void test_each_write_fails(void **state)
{
	(void)state;
	each_fresh(fail_write);
}

/* Each allocation of core and store in turn. The doubles allocate, too: their failure is not ours,
 * so they have what they need beforehand where they can, and are left out where they cannot
 * (apply). */
static bool fail_allocation(struct fixture *f, enum kind kind, size_t n)
{
	struct base base = make_base(f);
	char *core_before = core_state(f->core), *doubles_before = doubles_state(&f->doubles);
	struct answer answer;
	bool hit;

	f->doubles.spares_allocation_faults = true;
	alloc_fault_set(n);
	submit(f, &base, kind, &answer);
	hit = alloc_fault_hit();
	alloc_fault_set(0);
	fixture_wait(f, &answer);
	if (answer.status < 0) {
		assert_int_equal(answer.status, -ENOMEM);
		assert_nothing_happened(f, core_before, doubles_before);
	} else {
		assert_agreement(f);
	}
	assert_true(hit || answer.status == 0);
	free(core_before);
	free(doubles_before);
	return hit;
}

static void test_each_allocation_fails(void **state)
{
	(void)state;
	each_fresh(fail_allocation);
}

/* Each allocation of a start with something in the store. */
static void test_start_without_memory(void **state)
{
	struct fixture *f = *state;
	struct base base = make_base(f);
	struct core_config config;
	struct errbuf err;
	bool hit = true;
	size_t n;

	(void)base;
	make_lb(f, "second", 81, "10.0.0.1");
	f->doubles.spares_allocation_faults = true;
	for (n = 1; hit; n++) {
		struct store *store = NULL;
		struct core *core = NULL;
		int error;

		fixture_stop(f);
		alloc_fault_set(n);
		error = store_open(&f->loop, f->directory, &store, &err);
		config = (struct core_config){ .loop = &f->loop,
					       .store = store,
					       .datapath = &f->doubles.datapath,
					       .advertiser = &f->doubles.advertiser,
					       .addresses = &f->doubles.addresses };
		if (error == 0)
			error = core_start(&config, &core, &err);
		hit = alloc_fault_hit();
		alloc_fault_set(0);
		if (error < 0) {
			assert_int_equal(error, -ENOMEM);
			assert_true(hit);
		}
		core_stop(core);
		store_close(store);
		fixture_start(f);
		assert_agreement(f);
	}
	print_message("             start: %zu made to fail in turn\n", n - 2);
}

/* ---- the walk ----------------------------------------------------------------------------- */

#define WALK_ROUNDS  150
#define WALK_AT_ONCE 12

struct step {
	struct answer answer;
	int kind;
	uuid_t lb;
};

static unsigned int seed;

static unsigned int dice(unsigned int sides)
{
	return (unsigned int)rand_r(&seed) % sides;
}

/* A load balancer that core shows, or an unknown one. */
static void pick(struct fixture *f, uuid_t ret, uuid_t ret_backend)
{
	const struct load_balancer *lb = NULL;
	size_t skip = core_count(f->core) != 0 ? dice((unsigned int)core_count(f->core)) : 0;

	uuid_clear(ret);
	uuid_clear(ret_backend);
	do {
		lb = core_next(f->core, lb != NULL ? lb->created_order : 0);
	} while (lb != NULL && skip-- > 0);
	if (lb == NULL)
		return;
	uuid_copy(ret, lb->uuid);
	if (lb->backend_count > 0)
		uuid_copy(ret_backend, lb->backends[dice((unsigned int)lb->backend_count)].uuid);
}

static void random_step(struct fixture *f, struct step *step)
{
	struct load_balancer_request update = { .given = LB_AFFINITY, .affinity_s = dice(3) };
	struct backend_request backend_update = { .given = BACKEND_WEIGHT_GIVEN,
						  .weight = dice(3) };
	char text[32];
	uuid_t backend;

	memset(step, 0, sizeof(*step));
	pick(f, step->lb, backend);
	step->kind = (int)dice(12);
	switch (step->kind) {
	case 0:
	case 1:
		submit_lb(f, "any", 80, NULL, &step->answer);
		break;
	case 2:
	case 3:
		snprintf(text, sizeof(text), "10.0.0.%u", 1 + dice(6));
		submit_lb(f, "wanted", (uint16_t)(80 + dice(3)), text, &step->answer);
		break;
	case 4:
	case 5:
		core_delete_load_balancer(f->core, step->lb, answer_cb, &step->answer);
		break;
	case 6:
		core_update_load_balancer(f->core, step->lb, &update, answer_cb, &step->answer);
		break;
	case 7:
		core_update_backend(f->core, step->lb, backend, &backend_update, answer_cb,
				    &step->answer);
		break;
	case 8:
		core_delete_backend(f->core, step->lb, backend, answer_cb, &step->answer);
		break;
	default:
		snprintf(text, sizeof(text), "10.1.0.%u", 1 + dice(9));
		submit_backend(f, step->lb, text, &step->answer);
		break;
	}
}

/* What was answered is what is shown: deleted ones are gone, created ones that nobody was seen to
 * delete are there. */
static void check_answers(struct fixture *f, const struct step *steps, size_t count, size_t *sum)
{
	for (size_t i = 0; i < count; i++) {
		const struct answer *answer = &steps[i].answer;
		bool deleted = false;

		assert_int_equal(answer->count, 1);
		sum[answer->status == 0 ? 0 : 1]++;
		if (answer->status != 0)
			continue;
		if (steps[i].kind == 4 || steps[i].kind == 5) {
			assert_null(core_find(f->core, steps[i].lb));
			continue;
		}
		if (steps[i].kind > 3)
			continue;
		for (size_t j = 0; j < count; j++)
			deleted |= (steps[j].kind == 4 || steps[j].kind == 5) &&
				   steps[j].answer.status == 0 &&
				   uuid_compare(steps[j].lb, answer->lb.uuid) == 0;
		assert_true(deleted || core_find(f->core, answer->lb.uuid) != NULL);
	}
}

static void walk_round(struct fixture *f, size_t *sum)
{
	struct step steps[WALK_AT_ONCE];
	size_t count = 1 + dice(WALK_AT_ONCE);
	bool all;

	doubles_reset(&f->doubles);
	f->doubles.asynchronous = dice(2) == 0;
	if (dice(3) == 0) {
		f->doubles.fail_at = 1 + dice(20);
		f->doubles.fail_count = 1 + dice(3);
	}
	if (dice(4) == 0)
		fault_vfs_fail(1 + dice(12), SQLITE_FULL);
	for (size_t i = 0; i < count; i++) {
		random_step(f, &steps[i]);
		if (dice(3) == 0)
			store_flush(f->store); /* not the loop: a seed must repeat its walk */
		if (dice(3) == 0)
			doubles_answer(&f->doubles);
		if (dice(8) == 0)
			core_reconcile(f->core);
	}
	do {
		while (doubles_answer(&f->doubles))
			;
		store_flush(f->store);
		all = true;
		for (size_t i = 0; i < count; i++)
			all &= steps[i].answer.count > 0;
	} while (!all);
	fault_vfs_fail(0, 0);
	doubles_reset(&f->doubles);
	check_answers(f, steps, count, sum);
	core_reconcile(f->core);
	core_reconcile(f->core); /* a VIP given back by the first may have been in trouble */
	assert_agreement(f);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	if (dice(10) == 0) {
		fixture_restart(f);
		assert_agreement(f);
	}
}

static void test_random_walk(void **state)
{
	struct fixture *f = *state;
	const char *given = getenv("SEED");
	size_t sum[2] = { 0, 0 };

	seed = given != NULL ? (unsigned int)strtoul(given, NULL, 10) : (unsigned int)time(NULL);
	print_message("             SEED=%u\n", seed);
	for (size_t i = 0; i < WALK_ROUNDS; i++)
		walk_round(f, sum);
	print_message("             %zu changes made, %zu refused or failed\n", sum[0], sum[1]);
	assert_true(sum[0] > 50 && sum[1] > 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_call_fails),
		cmocka_unit_test(test_each_write_fails),
		cmocka_unit_test(test_each_allocation_fails),
		TEST(test_start_without_memory),
		TEST(test_random_walk),
	};

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT); /* warnings are the rule here */
	fault_vfs_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
