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

/* The packet ends here, and its sender is told why (answer.h): the verdict is -kind, or
 * -(ANSWER_TOO_BIG | mtu). */
#define ANSWER_TTL_EXCEEDED 0x10000
#define ANSWER_TOO_BIG      0x20000
#define ANSWER_NOBODY       0x30000
#define ANSWER_KIND_MASK    0xf0000
#define ANSWER_MTU_MASK     0xffff
#define ANSWER_FIRST        ANSWER_TTL_EXCEEDED

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

static __always_inline int refuse(__u32 service_id, enum slb_drop reason, int answer)
{
	count_drop(service_id, reason);
	return -answer;
}

/* The kernel gets it, unchanged. */
static __always_inline int hand_up(__u32 service_id, enum slb_drop reason)
{
	count_drop(service_id, reason);
	return CTX_UP;
}

#endif
