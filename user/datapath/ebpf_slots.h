/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_slots: the map `slots`: schedules in regions that services name.
 *
 * A schedule is published by writing a fresh region and then replacing the service's entry, which
 * costs no waiting for the kernel. What the region before held is left alone until every program
 * that may still go by the former entry is done: a grace period of RCU, waited for in the loop's
 * thread pool.
 */
#ifndef SLB_DATAPATH_EBPF_SLOTS_H
#define SLB_DATAPATH_EBPF_SLOTS_H

#include <uv.h>

#include "datapath/ebpf_maps.h"
#include "lib/errbuf.h"

struct ebpf_slots; /* opaque */

struct slot_region {
	uint32_t first; /* slot; a multiple of SLB_SLOTS_PER_LINE */
	uint32_t count; /* 0: none */
};

/* maps is borrowed until the done callback of ebpf_slots_close(). */
int ebpf_slots_open(uv_loop_t *loop, const struct ebpf_maps *maps, struct ebpf_slots **ret,
		    struct errbuf *err);

/* Calls done(arg) from the loop when no thread waits any more; at once with NULL. The map stays. */
void ebpf_slots_close(struct ebpf_slots *slots, void (*done)(void *arg), void *arg);

/* Writes a new region with these backend ids; none for count 0. -ENOSPC. */
int ebpf_slots_put(struct ebpf_slots *slots, const uint32_t *backend_ids, uint32_t count,
		   struct slot_region *ret, struct errbuf *err);

/* Gives back a region that no service has named. */
void ebpf_slots_drop(struct ebpf_slots *slots, struct slot_region region);
/* Gives back one that no service names any more. */
void ebpf_slots_retire(struct ebpf_slots *slots, struct slot_region region);

/* Takes the region that a former run's service names. False when it cannot be (it overlaps another,
 * or is out of range). */
bool ebpf_slots_adopt(struct ebpf_slots *slots, struct slot_region region);

/* Does the region hold exactly these? */
bool ebpf_slots_hold(const struct ebpf_slots *slots, struct slot_region region,
		     const uint32_t *backend_ids, uint32_t count);

/* Slots in use, those in grace periods included. */
uint32_t ebpf_slots_used(const struct ebpf_slots *slots);

#endif
