/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * verdict: every stage returns what becomes of the packet, or GO_ON. Whoever refuses a packet
 * counts why, in the same breath.
 */
#ifndef SLB_VERDICT_H
#define SLB_VERDICT_H

#include "maps.h"

/* Not a verdict of any hook. */
#define GO_ON        (-1000)
#define BY_NEIGHBOUR (-1001) /* of nexthop alone */

static __always_inline void count_drop(__u32 service_id, enum slb_drop reason)
{
	struct slb_drops *counters = bpf_map_lookup_elem(&drops, &service_id);

	if (counters)
		counters->packets[reason]++;
}

/* The packet ends here. */
static __always_inline int drop(__u32 service_id, enum slb_drop reason)
{
	count_drop(service_id, reason);
	return CTX_DROP;
}

/* The kernel gets it, unchanged. */
static __always_inline int hand_up(__u32 service_id, enum slb_drop reason)
{
	count_drop(service_id, reason);
	return CTX_UP;
}

#endif
