/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_neighbours: what flows keep of neighbours. Tells which neighbour events matter to flows (MAC
 * changed or lost), and keeps the backends' next hops resolved, so that a first packet finds its
 * MAC.
 */
#ifndef SLB_DATAPATH_EBPF_NEIGHBOURS_H
#define SLB_DATAPATH_EBPF_NEIGHBOURS_H

#include "net/net.h"

struct ebpf_neighbours; /* opaque */

/* net is borrowed. NULL when memory is short. */
struct ebpf_neighbours *ebpf_neighbours_open(struct net *net);
void ebpf_neighbours_close(struct ebpf_neighbours *neighbours); /* accepts NULL */

/* Keep it resolved, from now until released as often as it was wanted. */
void ebpf_neighbours_want(struct ebpf_neighbours *neighbours, int ifindex,
			  const struct addr *address);
void ebpf_neighbours_release(struct ebpf_neighbours *neighbours, int ifindex,
			     const struct addr *address);

/* Notes a NET_NEIGH event. True when flows that kept this neighbour must look anew. */
bool ebpf_neighbours_note(struct ebpf_neighbours *neighbours, const struct net_event *event);

/* Asks again for wanted ones that are not resolved, some at a time; called about every second. */
void ebpf_neighbours_tick(struct ebpf_neighbours *neighbours);

#endif
