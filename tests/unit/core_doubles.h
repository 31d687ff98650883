/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test doubles for what core calls: a datapath, an advertiser, an address source and a prober that
 * keep their state in memory, record every call, and fail when told to. They are as idempotent as
 * their contracts ask; `writes` counts the calls that changed something.
 */
#ifndef SLB_TESTS_CORE_DOUBLES_H
#define SLB_TESTS_CORE_DOUBLES_H

#include "core/address_prober_ops.h"
#include "core/core.h"

#define DOUBLES_ADDRESSES 4096
#define DOUBLES_TRACE     256

struct applied {
	struct load_balancer *lb;
	UT_hash_handle hh; /* by lb->uuid */
};

struct vip_state {
	struct addr addr;
	bool announced;
	UT_hash_handle hh; /* by addr */
};

struct asked {
	struct addr wanted;
	int family;
	address_acquired_cb *done;
	void *arg;
};

/* All of them, with one count of calls: `fail_at` names the n-th call (1 = the next) of any that
 * can fail. */
struct doubles {
	struct datapath datapath;
	struct advertiser advertiser;
	struct address_source addresses;
	size_t calls, writes;
	size_t fail_at;    /* 0: none */
	size_t fail_count; /* so many calls from there on; 0 stands for 1 */
	int fail_status;
	const char *fail_only;         /* only calls of this name count for fail_at; NULL: all */
	bool spares_allocation_faults; /* what the doubles allocate never fails */
	bool answers_intact;           /* is_intact() is there and says so */
	char trace[DOUBLES_TRACE][96];
	size_t trace_count;

	struct applied *applied;
	struct vip_state *vips;

	bool out[DOUBLES_ADDRESSES]; /* 10.0.x.y given out, by its low 12 bits */
	bool asynchronous;           /* acquire() is answered by doubles_answer() only */
	struct asked asked[64];
	size_t asked_count;
};

void doubles_init(struct doubles *doubles);
void doubles_free(struct doubles *doubles);

/* Forgets the trace and the counts. */
void doubles_reset(struct doubles *doubles);

/* Answers the acquire() that waits longest; false: none does. */
bool doubles_answer(struct doubles *doubles);

/* What the doubles have, as text, to be compared: sorted lines of services, VIPs and addresses. The
 * caller frees. */
char *doubles_state(const struct doubles *doubles);

size_t doubles_count_addresses(const struct doubles *doubles);
bool doubles_has_call(const struct doubles *doubles, const char *prefix);
struct load_balancer *doubles_applied(const struct doubles *doubles, const uuid_t uuid);

#endif
