/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * metal_lab: the stand-in of the Equinix Metal API (tests/e2e/metal/standin.py) as a child of the
 * test, and a loop with a limit.
 */
#ifndef SLB_TESTS_METAL_LAB_H
#define SLB_TESTS_METAL_LAB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#define STANDIN_TOKEN   "s3cr3t-t0ken-of-the-tests"
#define STANDIN_PROJECT "7d6a4b80-0e5c-4d54-a1f0-5c5c3a1d2e11"
#define STANDIN_DEVICE  "c0ffee00-1111-4222-8333-444455556666"

struct standin {
	pid_t pid;
	int input; /* it ends when this is closed */
	char url[128], control[128];
	char ca[256]; /* empty without TLS */
};

/* Fails the test when it does not start. */
void standin_start(struct standin *standin, bool tls);
void standin_stop(struct standin *standin);

/* Tells it something: JSON in which ' stands for ", and # for \" (a quote inside of a string).
 * Returns its state, which is the caller's for json_decref(). */
json_t *standin_tell(const struct standin *standin, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same, and the state is of no interest. */
void standin_set(const struct standin *standin, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

size_t standin_reserved(const struct standin *standin);
/* Requests that begin so. */
size_t standin_requests(const struct standin *standin, const char *prefix);
/* Fails the test when it was sent something it should not have been. */
void standin_check(const struct standin *standin);

/* Turns the loop until the condition holds; false after the time. */
bool metal_turn_until(uv_loop_t *loop, uint64_t ms, bool (*condition)(void *arg), void *arg);
void metal_turn(uv_loop_t *loop, uint64_t ms);

#endif
