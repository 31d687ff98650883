/* SPDX-License-Identifier: GPL-2.0-only */
#include "core/addr_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The index of the first run whose last address is not below addr. */
static size_t find(const struct addr_set *set, const struct addr *addr)
{
	size_t low = 0, high = set->run_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (addr_compare(&set->runs[middle].last, addr) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_in(const struct addr_set *set, size_t at, const struct addr *addr)
{
	return at < set->run_count && addr_compare(&set->runs[at].first, addr) <= 0;
}

bool addr_set_contains(const struct addr_set *set, const struct addr *addr)
{
	return is_in(set, find(set, addr), addr);
}

bool addr_set_skip(const struct addr_set *set, struct addr *addr)
{
	size_t at = find(set, addr);
	struct addr next;

	if (!is_in(set, at, addr))
		return true;
	next = set->runs[at].last; /* runs are not adjacent: what follows is free */
	if (!addr_next(&next))
		return false;
	*addr = next;
	return true;
}

static bool follows(const struct addr *a, const struct addr *b)
{
	struct addr next = *a;

	return addr_next(&next) && addr_equal(&next, b);
}

static void erase(struct addr_set *set, size_t at)
{
	set->run_count--;
	memmove(&set->runs[at], &set->runs[at + 1], (set->run_count - at) * sizeof(*set->runs));
}

static void insert(struct addr_set *set, size_t at, const struct addr *first,
		   const struct addr *last)
{
	memmove(&set->runs[at + 1], &set->runs[at], (set->run_count - at) * sizeof(*set->runs));
	set->runs[at] = (struct addr_range){ .first = *first, .last = *last };
	set->run_count++;
}

int addr_set_add(struct addr_set *set, const struct addr *addr)
{
	size_t at = find(set, addr);
	bool joins_previous, joins_next;

	if (is_in(set, at, addr))
		return 0;
	if (set->count == set->run_capacity) {
		size_t capacity = set->run_capacity == 0 ? 16 : set->run_capacity * 2;
		struct addr_range *grown = reallocarray(set->runs, capacity, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		set->runs = grown;
		set->run_capacity = capacity;
	}

	joins_previous = at > 0 && follows(&set->runs[at - 1].last, addr);
	joins_next = at < set->run_count && follows(addr, &set->runs[at].first);
	if (joins_previous && joins_next) {
		set->runs[at - 1].last = set->runs[at].last;
		erase(set, at);
	} else if (joins_previous) {
		set->runs[at - 1].last = *addr;
	} else if (joins_next) {
		set->runs[at].first = *addr;
	} else {
		insert(set, at, addr, addr);
	}
	set->count++;
	return 0;
}

/* The address before this one, which is not the lowest of all. */
static struct addr previous(const struct addr *addr)
{
	struct addr before = *addr;
	size_t i = addr_length_bytes(addr);

	while (i > 0 && before.bytes[--i]-- == 0)
		;
	return before;
}

void addr_set_remove(struct addr_set *set, const struct addr *addr)
{
	size_t at = find(set, addr);
	struct addr_range *run = &set->runs[at];
	struct addr last, after = *addr;

	if (!is_in(set, at, addr))
		return;
	set->count--;
	addr_next(&after);
	if (addr_equal(&run->first, &run->last)) {
		erase(set, at);
	} else if (addr_equal(&run->first, addr)) {
		run->first = after;
	} else if (addr_equal(&run->last, addr)) {
		run->last = previous(addr);
	} else {
		last = run->last;
		run->last = previous(addr);
		insert(set, at + 1, &after, &last);
	}
}

void addr_set_free(struct addr_set *set)
{
	free(set->runs);
	memset(set, 0, sizeof(*set));
}
