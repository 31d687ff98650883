/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flow: the tables of flows, and what a flow's two entries are to each other.
 *
 * Nothing outside this file touches flows4/6 and half_open4/6, so that another kind of table
 * changes nothing else.
 *
 * invariant: of a pair, either both entries are in half_open or both in flows, but for the moment
 * of an insert or a promotion, and for what the LRU evicted: whoever finds an entry in half_open
 * must bear that its partner is gone.
 */
#ifndef SLB_FLOW_H
#define SLB_FLOW_H

#include <linux/errno.h>

#include "maps.h"
#include "packet.h"

#define SLB_TCP_CLOSING (SLB_TCP_FIN | SLB_TCP_RST)

/* ---- the tables ---------------------------------------------------------------------------------
 */

static __always_inline struct slb_flow *flow_find(const int family, const union flow_key *key)
{
	if (family == AF_INET)
		return bpf_map_lookup_elem(&flows4, key);
	return bpf_map_lookup_elem(&flows6, key);
}

/* -EEXIST, or another error when there is no room. */
static __always_inline long flow_insert(const int family, const union flow_key *key,
					const union flow_value *value)
{
	if (family == AF_INET)
		return bpf_map_update_elem(&flows4, key, value, BPF_NOEXIST);
	return bpf_map_update_elem(&flows6, key, value, BPF_NOEXIST);
}

static __always_inline void flow_remove(const int family, const union flow_key *key)
{
	if (family == AF_INET)
		bpf_map_delete_elem(&flows4, key);
	else
		bpf_map_delete_elem(&flows6, key);
}

static __always_inline struct slb_flow *half_open_find(const int family, const union flow_key *key)
{
	if (family == AF_INET)
		return bpf_map_lookup_elem(&half_open4, key);
	return bpf_map_lookup_elem(&half_open6, key);
}

static __always_inline long half_open_insert(const int family, const union flow_key *key,
					     const union flow_value *value)
{
	if (family == AF_INET)
		return bpf_map_update_elem(&half_open4, key, value, BPF_NOEXIST);
	return bpf_map_update_elem(&half_open6, key, value, BPF_NOEXIST);
}

static __always_inline void half_open_remove(const int family, const union flow_key *key)
{
	if (family == AF_INET)
		bpf_map_delete_elem(&half_open4, key);
	else
		bpf_map_delete_elem(&half_open6, key);
}

/* ---- pairs --------------------------------------------------------------------------------------
 */

/* The key of the other direction: what this one's packets become, turned round. */
static __always_inline void flow_other_key(const int family, const struct slb_flow *flow,
					   __u8 protocol, union flow_key *other)
{
	struct flow_key_tail *tail = key_tail(family, other);

	addr_copy(family, key_saddr(other), flow_daddr(family, flow));
	addr_copy(family, key_daddr(family, other), flow_saddr(flow));
	tail->sport = flow->dport;
	tail->dport = flow->sport;
	key_set_protocol(tail, protocol);
}

/*
 * Makes a new flow's entry into that of the other direction: all of it follows from the key and the
 * rewritten tuple. Turned twice it is the first again.
 */
static __always_inline void flow_turn(const int family, const union flow_key *key,
				      struct slb_flow *flow)
{
	const struct flow_key_tail *tail = key_tail(family, key);

	flow->sport = tail->dport;
	flow->dport = tail->sport;
	addr_copy(family, flow_saddr(flow), key_daddr(family, key));
	addr_copy(family, flow_daddr(family, flow), key_saddr(key));
	flow->addr_delta = (__u16)~flow->addr_delta;
	flow->port_delta = (__u16)~flow->port_delta;
	flow->flags ^= SLB_FLOW_REPLY;
}

/* Is `other` the entry of the other direction of the flow that `key` belongs to? */
static __always_inline int flow_is_partner(const int family, const union flow_key *key,
					   const struct slb_flow *other)
{
	const struct flow_key_tail *tail = key_tail(family, key);

	return other->sport == tail->dport && other->dport == tail->sport &&
	       addr_is_equal(family, flow_saddr(other), key_daddr(family, key)) &&
	       addr_is_equal(family, flow_daddr(family, other), key_saddr(key));
}

/* From the flags seen in the two directions. */
static __always_inline int flow_is_closed(__u8 tcp, __u8 other_tcp)
{
	return ((tcp | other_tcp) & SLB_TCP_RST) || (tcp & other_tcp & SLB_TCP_FIN);
}

/* Both entries, wherever they are. `flow` may be gone after it. */
static __always_inline void flow_remove_pair(const int family, const union flow_key *key,
					     const struct slb_flow *flow, int is_half_open)
{
	union flow_key other;

	flow_other_key(family, flow, key_tail(family, key)->protocol, &other);
	if (is_half_open) {
		half_open_remove(family, &other);
		half_open_remove(family, key);
	} else {
		flow_remove(family, &other);
		flow_remove(family, key);
	}
}

#endif
