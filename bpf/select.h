/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * select: which backend gets a new flow.
 *
 * NEXT is exact on any number of CPUs: the slot is taken under the service's lock. Nothing else is
 * locked anywhere.
 */
#ifndef SLB_SELECT_H
#define SLB_SELECT_H

#include "maps.h"
#include "packet.h"

/* Of a longer schedule LEAST looks at so many slots, beginning at a different one each time. */
#define SELECT_LEAST_SLOTS 128

/* Where to begin in a schedule of n slots, and one further next time. n > 0. */
static __always_inline __u32 select_turn(__u32 service_id, __u32 n)
{
	struct slb_scheduler_state *state = bpf_map_lookup_elem(&scheduler_state, &service_id);
	__u32 turn;

	if (!state)
		return 0;
	bpf_spin_lock(&state->lock);
	turn = state->next < n ? state->next : 0;
	state->next = turn + 1 < n ? turn + 1 : 0;
	bpf_spin_unlock(&state->lock);
	return turn;
}

/* Well mixed and the same after every start: clients stay where they were (finalizer of
 * MurmurHash3). */
static __always_inline __u32 select_mix(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline __u32 select_hash(const int family, const void *addr)
{
	const word32 *words = addr;
	__u32 hash = select_mix(words[0] + 0x9e3779b9);

	if (family == AF_INET6) {
		hash = select_mix(hash + words[1]);
		hash = select_mix(hash + words[2]);
		hash = select_mix(hash + words[3]);
	}
	return hash;
}

static __always_inline __u32 slot_at(__u32 slot)
{
	__u32 line = slot / SLB_SLOTS_PER_LINE;
	const struct slb_slots *slots_line = bpf_map_lookup_elem(&slots, &line);

	return slots_line ? slots_line->backend_id[slot % SLB_SLOTS_PER_LINE] : 0;
}

/* The least loaded of the backends looked at so far. */
struct least {
	__u64 active;
	__u32 weight;
	__u32 id; /* 0 = none */
};

/* verifier: a function for the same reason as port_try_v4 in begin.h. */
static __noinline int least_look(__u32 slot, struct least *least)
{
	__u32 id = slot_at(slot);
	const struct slb_backend *backend = bpf_map_lookup_elem(&backends, &id);
	const struct slb_backend_state *state = bpf_map_lookup_elem(&backend_state, &id);
	__u32 active, weight;

	if (!id || !backend || !state)
		return 0;
	weight = backend->weight ?: 1;
	active = state->opened - state->closed - state->expired;
	if ((__s32)active < 0) /* counters of several CPUs, read one after the other */
		active = 0;
	if (!least->id || (__u64)active * least->weight < least->active * weight) {
		least->id = id;
		least->active = active;
		least->weight = weight;
	}
	return 0;
}

/* The backend with the fewest active flows for its weight; among equals each in turn. */
static __always_inline __u32 select_least(__u32 service_id, __u32 first, __u32 n)
{
	__u32 turn = select_turn(service_id, n);
	struct least least = {};

	/* verifier: no slot that is carried on and wraps: each of its values would be gone through.
	 */
	for (__u32 i = 0; i < SELECT_LEAST_SLOTS && i < n; i++)
		least_look(first + (turn + i) % n, &least);
	return least.id;
}

/*
 * The backend's id, or 0 when none takes new flows. first, n: the service's slots. hash:
 * select_hash of the client's address. verifier: a global function, so that its loop is verified
 * once and not on every way that leads here.
 */
__noinline int select_backend(__u32 service_id, __u32 scheduler, __u32 hash, __u32 first, __u32 n)
{
	if (!n)
		return 0;
	if (scheduler == SLB_SCHEDULER_LEAST)
		return (int)select_least(service_id, first, n);
	if (scheduler == SLB_SCHEDULER_HASH)
		return (int)slot_at(first + hash % n);
	return (int)slot_at(first + select_turn(service_id, n));
}

#endif
