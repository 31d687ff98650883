/* SPDX-License-Identifier: GPL-2.0-only */
/* Builds schedules; see schedule.h. Called by ebpf_services.c. */
#include "datapath/schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Up to this much work the smooth sequence is made by nginx's algorithm, above by sorting. */
#define SMOOTH_STEPS_MAX (64u << 20)
/* Makes another hash of the same bytes: 2^64 / golden ratio. */
#define SECOND_HASH 0x9e3779b97f4a7c15u

static uint32_t greatest_common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Weights reduced by their divisor and scaled so that they sum up to about SCHEDULE_WEIGHTED_SLOTS
 * at most; none falls below 1. Returns the sum. */
static uint64_t scale_weights(const struct schedule_entry *entries, size_t count, uint32_t *ret)
{
	uint32_t divisor = 0;
	uint64_t sum = 0, scaled = 0;

	for (size_t i = 0; i < count; i++)
		divisor = greatest_common_divisor(divisor, entries[i].weight);
	for (size_t i = 0; i < count; i++)
		sum += entries[i].weight / divisor;

	for (size_t i = 0; i < count; i++) {
		uint64_t weight = entries[i].weight / divisor;

		if (sum > SCHEDULE_WEIGHTED_SLOTS)
			weight = (weight * SCHEDULE_WEIGHTED_SLOTS + sum / 2) / sum;
		ret[i] = weight ? (uint32_t)weight : 1;
		scaled += ret[i];
	}
	return scaled;
}

static void fill_in_turn(const struct schedule_entry *entries, size_t count, uint32_t *slots)
{
	for (size_t i = 0; i < count; i++)
		slots[i] = entries[i].id;
}

/* nginx's smooth weighted round robin: everyone earns its weight, the richest is taken and pays the
 * sum. a:5 b:1 c:1 gives a a b a c a a. */
static int fill_smooth(const struct schedule_entry *entries, const uint32_t *weights, size_t count,
		       uint32_t *slots, size_t slot_count)
{
	int64_t *credit = calloc(count, sizeof(*credit));

	if (!credit)
		return -ENOMEM;
	for (size_t slot = 0; slot < slot_count; slot++) {
		size_t best = 0;

		for (size_t i = 0; i < count; i++) {
			credit[i] += weights[i];
			if (credit[i] > credit[best])
				best = i;
		}
		credit[best] -= (int64_t)slot_count;
		slots[slot] = entries[best].id;
	}
	free(credit);
	return 0;
}

struct deadline {
	double at; /* 0 .. 1: where in the sequence this turn would ideally be */
	size_t index;
};

static int compare_deadlines(const void *a, const void *b)
{
	const struct deadline *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* For very many backends: every turn at its ideal place, in n log n. */
static int fill_by_deadline(const struct schedule_entry *entries, const uint32_t *weights,
			    size_t count, uint32_t *slots, size_t slot_count)
{
	struct deadline *turns = calloc(slot_count, sizeof(*turns));
	size_t n = 0;

	if (!turns)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		for (uint32_t turn = 0; turn < weights[i]; turn++)
			turns[n++] = (struct deadline){ (turn + 0.5) / weights[i], i };
	qsort(turns, slot_count, sizeof(*turns), compare_deadlines);
	for (size_t slot = 0; slot < slot_count; slot++)
		slots[slot] = entries[turns[slot].index].id;
	free(turns);
	return 0;
}

static void fill_by_weight(const struct schedule_entry *entries, const uint32_t *weights,
			   size_t count, uint32_t *slots)
{
	for (size_t i = 0; i < count; i++)
		for (uint32_t n = 0; n < weights[i]; n++)
			*slots++ = entries[i].id;
}

/* FNV-1a over what identifies a backend on every node, finished as splitmix64 does it. */
static uint64_t hash_backend(const struct schedule_entry *entry, uint64_t seed)
{
	uint64_t hash = 0xcbf29ce484222325u ^ seed;

	for (size_t i = 0; i < sizeof(entry->ip.bytes); i++)
		hash = (hash ^ entry->ip.bytes[i]) * 0x100000001b3u;
	hash = (hash ^ entry->port) * 0x100000001b3u;
	hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
	return hash ^ (hash >> 31);
}

struct preference {
	uint32_t next; /* the slot this backend wants next */
	uint32_t step;
	uint32_t credit; /* a turn is taken for every full `heaviest` */
};

/* Maglev, section 3.4: the backends in turn take the next free slot of their own permutation.
 * Weights: a backend has its turn as often as its weight says against the heaviest. */
static int fill_maglev(const struct schedule_entry *entries, size_t count, uint32_t *slots)
{
	struct preference *preferences = calloc(count, sizeof(*preferences));
	bool *taken = calloc(SCHEDULE_MAGLEV_SLOTS, sizeof(*taken));
	uint32_t heaviest = 0, filled = 0;

	if (!preferences || !taken) {
		free(preferences);
		free(taken);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		preferences[i].next =
			(uint32_t)(hash_backend(&entries[i], 0) % SCHEDULE_MAGLEV_SLOTS);
		preferences[i].step = 1 + (uint32_t)(hash_backend(&entries[i], SECOND_HASH) %
						     (SCHEDULE_MAGLEV_SLOTS - 1));
		if (entries[i].weight > heaviest)
			heaviest = entries[i].weight;
	}
	while (filled < SCHEDULE_MAGLEV_SLOTS) {
		for (size_t i = 0; i < count && filled < SCHEDULE_MAGLEV_SLOTS; i++) {
			struct preference *p = &preferences[i];

			p->credit += entries[i].weight;
			if (p->credit < heaviest)
				continue;
			p->credit -= heaviest;
			while (taken[p->next])
				p->next = (p->next + p->step) % SCHEDULE_MAGLEV_SLOTS;
			taken[p->next] = true;
			slots[p->next] = entries[i].id;
			filled++;
		}
	}
	free(preferences);
	free(taken);
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct schedule_entry *x = a, *y = b;
	int order = addr_compare(&x->ip, &y->ip);

	return order ? order : (x->port > y->port) - (x->port < y->port);
}

/* `entries` may be sorted in place. */
static int fill(enum scheduler scheduler, struct schedule_entry *entries, size_t count,
		const uint32_t *weights, uint32_t *slots, size_t slot_count)
{
	switch (scheduler) {
	case SCHEDULER_MAGLEV:
		return fill_maglev(entries, count, slots);
	case SCHEDULER_SH:
		fill_by_weight(entries, weights, count, slots);
		return 0;
	case SCHEDULER_WRR:
		if (slot_count * count > SMOOTH_STEPS_MAX)
			return fill_by_deadline(entries, weights, count, slots, slot_count);
		return fill_smooth(entries, weights, count, slots, slot_count);
	case SCHEDULER_RR:
	case SCHEDULER_LC:
		break;
	}
	fill_in_turn(entries, count, slots);
	return 0;
}

int schedule_build(enum scheduler scheduler, const struct schedule_entry *given, size_t count,
		   uint32_t **ret_slots, uint32_t *ret_slot_count)
{
	struct schedule_entry *entries = NULL;
	uint32_t *weights = NULL, *slots = NULL;
	size_t slot_count = count;
	int r = -ENOMEM;

	if (!count) {
		*ret_slots = NULL;
		*ret_slot_count = 0;
		return 0;
	}
	entries = malloc(count * sizeof(*entries));
	weights = malloc(count * sizeof(*weights));
	if (!entries || !weights)
		goto out;
	memcpy(entries, given, count * sizeof(*entries));
	if (scheduler == SCHEDULER_SH || scheduler == SCHEDULER_MAGLEV)
		qsort(entries, count, sizeof(*entries), compare_entries);
	if (scheduler == SCHEDULER_SH || scheduler == SCHEDULER_WRR)
		slot_count = scale_weights(entries, count, weights);
	if (scheduler == SCHEDULER_MAGLEV)
		slot_count = SCHEDULE_MAGLEV_SLOTS;
	slots = malloc(slot_count * sizeof(*slots));
	if (!slots)
		goto out;
	r = fill(scheduler, entries, count, weights, slots, slot_count);
	if (r < 0)
		goto out;
	*ret_slots = slots;
	*ret_slot_count = (uint32_t)slot_count;
	slots = NULL;
out:
	free(slots);
	free(weights);
	free(entries);
	return r;
}
