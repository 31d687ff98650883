/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A core with a real store in a temporary directory and doubles for the rest, for tests; and short
 * words for what they do all the time. submit_*() only submit; make_*() run the loop until the
 * answer is there.
 */
#ifndef SLB_TESTS_CORE_FIXTURE_H
#define SLB_TESTS_CORE_FIXTURE_H

#include "core_doubles.h"

struct fixture {
	char directory[64];
	uv_loop_t loop;
	struct store *store;
	struct doubles doubles;
	struct core *core;
};

/* What a done callback was given. */
struct answer {
	int count; /* calls of the callback */
	int status;
	char text[ERRBUF_SIZE];
	const char *field;
	bool has_lb, has_backend;
	struct load_balancer lb; /* without backends */
	size_t backend_count;
	struct backend backend;
};

/* cmocka's set-up and tear-down: *state is the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Ends core and store as a crash does not: with answers; and starts them again on the same
 * directory. */
void fixture_stop(struct fixture *fixture);
void fixture_start(struct fixture *fixture);
void fixture_restart(struct fixture *fixture);

/* Runs the loop until the answer has come. */
void fixture_wait(struct fixture *fixture, const struct answer *answer);

/* A core_done_cb; arg is a struct answer. */
void answer_cb(void *arg, int status, const struct load_balancer *lb, const struct backend *backend,
	       const struct errbuf *err);

struct addr addr_of(const char *text);
struct load_balancer_request lb_request(const char *name, uint16_t port, const char *eip);
struct backend_request backend_request(const char *ip, uint16_t port);

void submit_lb(struct fixture *fixture, const char *name, uint16_t port, const char *eip,
	       struct answer *answer);
void submit_backend(struct fixture *fixture, const uuid_t lb, const char *ip,
		    struct answer *answer);
struct answer make_lb(struct fixture *fixture, const char *name, uint16_t port, const char *eip);
struct answer make_backend(struct fixture *fixture, const uuid_t lb, const char *ip);
struct answer delete_lb(struct fixture *fixture, const uuid_t lb);

/* What core shows, as text; the caller frees. Equal texts: equal desired states. */
char *core_state(const struct core *core);

/* The doubles hold exactly what core shows, and so does the store. */
void assert_agreement(struct fixture *fixture);

#endif
