/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * schedule: from a load balancer's scheduler, backends and weights to the slots that the eBPF
 * programs go through (see `schedules` in slb_abi.h). Pure: no maps, no clock, no randomness; the
 * same input gives the same slots on every node.
 *
 *   rr      every backend once, in order
 *   wrr     every backend by its weight, evenly interleaved (smooth: no runs of one backend)
 *   sh      every backend by its weight; the programs pick a slot by hash of the client
 *   maglev  a table of SCHEDULE_MAGLEV_SLOTS filled by Maglev's algorithm (Eisenbud et al., NSDI
 * 2016) lc      every backend once; the programs compare active flows per weight
 *
 * For sh and maglev the slots depend on backends' addresses alone, not on the order they were
 * created in or on their ids: two nodes with the same backends send a client to the same one.
 */
#ifndef SLB_DATAPATH_SCHEDULE_H
#define SLB_DATAPATH_SCHEDULE_H

#include "core/model.h"

#define SCHEDULE_MAGLEV_SLOTS 65537 /* a prime; large against the number of backends */
#define SCHEDULE_WEIGHTED_SLOTS                                           \
	4096 /* wrr, sh: weights are scaled down to about this many slots \
	      */

struct schedule_entry {
	uint32_t id;     /* what is put into the slots */
	uint32_t weight; /* 1 .. WEIGHT_MAX */
	struct addr ip;
	uint16_t port;
};

/* *ret_slots is the caller's, for free(); NULL when there are no entries. -ENOMEM. */
int schedule_build(enum scheduler scheduler, const struct schedule_entry *entries, size_t count,
		   uint32_t **ret_slots, uint32_t *ret_slot_count);

#endif
