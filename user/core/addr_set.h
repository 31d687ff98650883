/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * addr_set: a set of single addresses, kept as sorted runs, so that ten thousand consecutive ones
 * cost one entry and the next address that is not in it is found in O(log runs).
 *
 * invariant: runs are disjoint, sorted, and not adjacent. There is room for as many runs as there
 * are addresses, so taking one out (which may split a run) never needs memory.
 */
#ifndef SLB_CORE_ADDR_SET_H
#define SLB_CORE_ADDR_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"

struct addr_range {
	struct addr first, last; /* of one family, both included */
};

struct addr_set {
	struct addr_range *runs;
	size_t run_count, run_capacity;
	size_t count; /* addresses */
};

/* 0, also when it was there; -ENOMEM and nothing changed. */
int addr_set_add(struct addr_set *set, const struct addr *addr);
void addr_set_remove(struct addr_set *set, const struct addr *addr);
bool addr_set_contains(const struct addr_set *set, const struct addr *addr);

/* Moves *addr to the first address not below it that is not in the set; false at the end of the
 * address space. */
bool addr_set_skip(const struct addr_set *set, struct addr *addr);

void addr_set_free(struct addr_set *set);

#endif
