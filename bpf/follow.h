/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * follow: a packet of a known flow that is more than data on an established path: the handshake,
 * the end, a flow whose backend or next hop may have changed.
 *
 * Promotion from half_open to flows takes a proof that the client is where it says: the backend's
 * sequence number come back (TCP), or a reply, or a packet two seconds after the first (UDP; and
 * LOCAL, whose replies are not seen).
 */
#ifndef SLB_FOLLOW_H
#define SLB_FOLLOW_H

#include "flow.h"
#include "verdict.h"
#include "work.h"

#define FOLLOW_STREAM_S 2

/* Is this the beginning of a TCP connection? */
static __always_inline int packet_is_syn(const struct packet *packet)
{
	return (packet->tcp_flags & (SLB_TCP_SYN | SLB_TCP_ACK | SLB_TCP_CLOSING)) == SLB_TCP_SYN;
}

/* The sequence number that acknowledges this packet whole. */
static __always_inline __u32 packet_next_sequence(const struct packet *packet)
{
	return packet->sequence + (packet->bytes - packet->header_bytes) +
	       !!(packet->tcp_flags & SLB_TCP_SYN) + !!(packet->tcp_flags & SLB_TCP_FIN);
}

/* The flow is none any more: go on as if it had never been. */
static __always_inline int follow_forget(const int family, struct work *work)
{
	flow_remove_pair(family, &work->key, work->flow, work->is_half_open);
	work->flow = 0;
	return GO_ON;
}

/* `other`: the partner in half_open, NULL for LOCAL flows. */
static __always_inline int may_promote(const struct work *work, struct slb_flow *other)
{
	const struct packet *packet = &work->packet;
	const struct slb_flow *flow = work->flow;

	if (!other || packet->protocol == IPPROTO_UDP)
		return (flow->flags & SLB_FLOW_REPLY) ||
		       work->now_s - flow->begun_s >= FOLLOW_STREAM_S;
	if (packet->tcp_flags & SLB_TCP_RST || !(packet->tcp_flags & SLB_TCP_ACK))
		return 0;
	if (!(flow->flags & SLB_FLOW_REPLY))
		return !(packet->tcp_flags & SLB_TCP_SYN) && (flow->flags & SLB_FLOW_REPLIED) &&
		       packet->acknowledged == flow->expected_ack;
	/* Also what follows the SYN|ACK at once (fast open): the client may acknowledge them
	 * together. */
	if (packet->tcp_flags & SLB_TCP_SYN || other->flags & SLB_FLOW_REPLIED) {
		other->expected_ack = packet_next_sequence(packet);
		other->flags |= SLB_FLOW_REPLIED;
	}
	return 0;
}

/* 0, or an error when the table has no room. That it exists already is none: another CPU was
 * faster. */
static __always_inline long promote_entry(const int family, const union flow_key *key,
					  const struct slb_flow *flow)
{
	struct beginning *room = beginning_find();
	long failed;

	if (!room)
		return -ENOMEM;
	/* A copy first: what the LRU recycles under our eyes must not become a flow. */
	__builtin_memcpy(&room->value, flow,
			 family == AF_INET ? sizeof(room->value.v4) : sizeof(room->value.v6));
	failed = flow_insert(family, key, &room->value);
	return failed == -EEXIST ? 0 : failed;
}

static __always_inline int promote(const int family, struct work *work,
				   const union flow_key *other_key, const struct slb_flow *other)
{
	__u32 service_id = work->flow->service_id;

	if (other && promote_entry(family, other_key, other))
		return drop(service_id, SLB_DROP_TABLE_FULL);
	if (promote_entry(family, &work->key, work->flow)) {
		if (other)
			flow_remove(family, other_key);
		return drop(service_id, SLB_DROP_TABLE_FULL);
	}
	if (other)
		half_open_remove(family, other_key);
	half_open_remove(family, &work->key);
	work->flow = flow_find(family, &work->key);
	work->is_half_open = 0;
	return work->flow ? GO_ON : drop(service_id, SLB_DROP_TABLE_FULL);
}

/* A flow in half_open: is it whole, and does this packet establish it? */
static __always_inline int follow_half_open(const int family, struct work *work)
{
	struct slb_flow *other = 0;
	union flow_key other_key;

	if (!(work->flow->flags & SLB_FLOW_LOCAL)) {
		flow_other_key(family, work->flow, work->packet.protocol, &other_key);
		other = half_open_find(family, &other_key);
		if (!other || !flow_is_partner(family, &work->key, other)) {
			half_open_remove(family, &work->key);
			work->flow = 0;
			return GO_ON;
		}
	}
	if (!may_promote(work, other))
		return GO_ON;
	return promote(family, work, &other_key, other);
}

/*
 * A backend that still knows an old connection from this source port (TIME_WAIT, or half closed)
 * answers a SYN with an ACK for that one; the client resets what it takes for a stranger, which
 * clears the old connection, and sends its SYN again (rfc: 9293 3.5.1, figure 9). That SYN must
 * take the same source port: the next one would meet the next old connection.
 */
static __always_inline int follow_again(struct slb_flow *flow, struct slb_flow *other)
{
	struct slb_backend_state *state;

	if (!other || (flow->flags & (SLB_FLOW_TAKEN_BACK | SLB_FLOW_REPLIED | SLB_FLOW_REPLY)) !=
			      SLB_FLOW_TAKEN_BACK)
		return 0;
	state = bpf_map_lookup_elem(&backend_state, &flow->backend_id);
	if (state)
		__sync_fetch_and_add(&state->opened, 1);
	flow->tcp &= (__u8)~SLB_TCP_RST;
	other->tcp &= (__u8)~SLB_TCP_RST;
	flow->flags &= (__u8)~SLB_FLOW_TAKEN_BACK;
	return 1;
}

/* Keeps the TCP flags that say where in its life the flow is, and tells a SYN that begins a new
 * one. */
static __always_inline int follow_tcp(const int family, struct work *work)
{
	struct slb_flow *flow = work->flow;
	__u8 flags = work->packet.tcp_flags & (SLB_TCP_SYN | SLB_TCP_CLOSING);
	int taken_back =
		work->is_half_open && (flags & SLB_TCP_RST) && !(flow->flags & SLB_FLOW_REPLY);
	__u8 before = flow->tcp, other_tcp = 0;
	struct slb_backend_state *state;
	struct slb_flow *other = 0;
	union flow_key other_key;

	if (!(flags & ~before) && !packet_is_syn(&work->packet))
		return GO_ON;
	if (!(flow->flags & SLB_FLOW_LOCAL)) {
		flow_other_key(family, flow, IPPROTO_TCP, &other_key);
		other = work->is_half_open ? half_open_find(family, &other_key)
					   : flow_find(family, &other_key);
		if (other) {
			other_tcp = other->tcp;
			/* In both entries, so that either tells. */
			if (!taken_back)
				other->tcp |= flags & SLB_TCP_RST;
			if (flags & SLB_TCP_RST)
				other->flags &= (__u8)~SLB_FLOW_TAKEN_BACK;
		}
	}
	if (packet_is_syn(&work->packet) && flow_is_closed(before, other_tcp))
		return work->is_half_open && follow_again(flow, other)
			       ? GO_ON
			       : follow_forget(family, work);
	if (taken_back)
		flow->flags |= SLB_FLOW_TAKEN_BACK;
	flow->tcp = before | flags;
	if (flow_is_closed(before, other_tcp) || !flow_is_closed(before | flags, other_tcp))
		return GO_ON;
	state = bpf_map_lookup_elem(&backend_state, &flow->backend_id);
	if (state)
		__sync_fetch_and_add(&state->closed, 1);
	return GO_ON;
}

/* The flow's backend is there and takes packets: GO_ON. CTX_UP: it is gone. */
static __always_inline int follow_backend(struct work *work)
{
	__u32 service_id = work->flow->service_id;
	const struct slb_backend *backend = bpf_map_lookup_elem(&backends, &work->flow->backend_id);

	if (!backend || backend->type == SLB_BACKEND_NONE || backend->service_id != service_id)
		return CTX_UP;
	if (backend->flags & SLB_BACKEND_DISABLED)
		return drop(service_id, SLB_DROP_BACKEND_DISABLED);
	return GO_ON;
}

/* work->flow is set. GO_ON: the packet may take it, or (work->flow NULL) has no flow after all. */
static __always_inline int follow(ctx_t *ctx, const int family, struct work *work)
{
	int verdict = follow_backend(work);

	(void)ctx;
	if (verdict == CTX_UP)
		return follow_forget(family, work);
	if (verdict != GO_ON)
		return verdict;
	if (work->packet.protocol == IPPROTO_TCP) {
		verdict = follow_tcp(family, work);
		if (verdict != GO_ON || !work->flow)
			return verdict;
	}
	if (work->is_half_open) {
		verdict = follow_half_open(family, work);
		if (verdict != GO_ON || !work->flow)
			return verdict;
	}
	if (work->packet.ttl <= 1 && !(work->flow->flags & SLB_FLOW_LOCAL))
		return refuse(work->flow->service_id, SLB_DROP_TTL_EXCEEDED, ANSWER_TTL_EXCEEDED);
	return GO_ON;
}

STAGE(follow)

#endif
