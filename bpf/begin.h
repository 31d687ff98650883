/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * begin: a new flow: a backend, a source address and port, and the two entries in half_open.
 *
 * The entry for replies is the claim on the source port: whoever inserts its key has the port, on
 * whatever CPU. It goes in first, and is taken back when the other fails.
 */
#ifndef SLB_BEGIN_H
#define SLB_BEGIN_H

#include "clock.h"
#include "flow.h"
#include "parse.h"
#include "verdict.h"

/* Ports tried for one packet. When all are taken, the search goes on with the client's
 * retransmission. */
#define BEGIN_PORTS  64
#define NO_CANDIDATE (~0U)

/*
 * The next candidate's number; every CPU's search goes round on the same counter, and a race costs
 * a step at most. verifier: n must come from memory each time: carried in a register it has as many
 * known values as the loop has turns, and each is gone through alone ("too large", 1,000,000
 * instructions). The same goes for what `struct beginning` holds.
 */
static __always_inline __u32 port_next(struct slb_backend_state *state, const struct beginning *new)
{
	__u32 n = state->next_port % new->candidates;

	state->next_port = n + 1;
	return n;
}

/* The source address and port that candidate n stands for, as destination of the replies. */
static __always_inline int port_set(const int family, struct beginning *new,
				    const struct slb_config *config,
				    const struct slb_backend *backend, __u32 n)
{
	const struct slb_port_range *ports = config->ports;
	__u32 index = backend->source_first + n / new->ports;
	const struct slb_source *source = bpf_map_lookup_elem(&sources, &index);
	__u32 port = n % new->ports;

	if (!source)
		return 0;
	port = port < ports[0].count ? ports[0].first + port
				     : ports[1].first + (port - ports[0].count);
	addr_copy(family, key_daddr(family, &new->reply), source->ip);
	key_tail(family, &new->reply)->dport = bpf_htons((__u16)port);
	return 1;
}

/* Inserts the entry for replies; new->value is complete but for the deltas. Returns whether the key
 * was free. */
static __always_inline int reply_insert(const int family, struct beginning *new)
{
	const struct flow_key_tail *inside = key_tail(family, &new->reply);
	struct slb_flow *flow = &new->value.common;

	flow->addr_delta = (__u16)checksum_delta(
		checksum_fold(addr_sum(family, key_saddr(&new->reply)) +
			      addr_sum(family, key_daddr(family, &new->reply))),
		checksum_fold(addr_sum(family, flow_saddr(flow)) +
			      addr_sum(family, flow_daddr(family, flow))));
	flow->port_delta =
		(__u16)checksum_delta(checksum_fold((__u32)inside->sport + inside->dport),
				      checksum_fold((__u32)flow->sport + flow->dport));
	return !half_open_insert(family, &new->reply, &new->value);
}

/* Is the flow over whose reply entry this is? One without a partner is. */
static __always_inline int reply_is_closed(const int family, struct beginning *new,
					   const struct slb_flow *flow)
{
	const struct slb_flow *other;

	if (!(flow->tcp & SLB_TCP_CLOSING))
		return 0;
	flow_other_key(family, flow, key_tail(family, &new->reply)->protocol, &new->other);
	other = flow_find(family, &new->other);
	return !other || flow_is_closed(flow->tcp, other->tcp);
}

/* Puts the entry in the place of a closed flow, which is removed. */
static __always_inline int reply_take_over(const int family, struct beginning *new)
{
	const struct slb_flow *flow = flow_find(family, &new->reply);

	if (flow) {
		flow_other_key(family, flow, key_tail(family, &new->reply)->protocol, &new->other);
		flow_remove(family, &new->other);
		flow_remove(family, &new->reply);
	}
	return reply_insert(family, new);
}

enum port_result {
	PORT_CLAIMED = 1,
	PORT_TAKEN,
	PORT_NONE, /* nor any other: the daemon has not given addresses */
};

static __always_inline enum port_result port_try(const int family, struct beginning *new,
						 const struct slb_config *config,
						 const struct slb_backend *backend,
						 struct slb_backend_state *state)
{
	__u32 n = port_next(state, new);
	const struct slb_flow *taken;

	if (!port_set(family, new, config, backend, n))
		return PORT_NONE;
	taken = flow_find(family, &new->reply);
	if (!taken)
		return reply_insert(family, new) ? PORT_CLAIMED : PORT_TAKEN;
	if (reply_is_closed(family, new, taken))
		new->closed = n;
	return PORT_TAKEN;
}

/* verifier: functions, so that the loop around them has no branches: the compiler lays others out
 * so that the way back falls through ("back-edge": up to 6.1 only a jump may lead back). */
static __noinline enum port_result port_try_v4(struct beginning *new,
					       const struct slb_config *config,
					       const struct slb_backend *backend,
					       struct slb_backend_state *state)
{
	return port_try(AF_INET, new, config, backend, state);
}

static __noinline enum port_result port_try_v6(struct beginning *new,
					       const struct slb_config *config,
					       const struct slb_backend *backend,
					       struct slb_backend_state *state)
{
	return port_try(AF_INET6, new, config, backend, state);
}

/* Claims a source port by inserting the entry for replies. 0 = none is free. */
static __always_inline int port_claim(const int family, struct beginning *new,
				      const struct slb_config *config,
				      const struct slb_backend *backend,
				      struct slb_backend_state *state)
{
	enum port_result result;

	new->ports = (__u32)config->ports[0].count + config->ports[1].count;
	new->candidates = new->ports * backend->source_count;
	new->closed = NO_CANDIDATE;
	if (!new->candidates)
		return 0;
	for (__u32 i = 0; i < BEGIN_PORTS; i++) {
		result = family == AF_INET ? port_try_v4(new, config, backend, state)
					   : port_try_v6(new, config, backend, state);
		if (result != PORT_TAKEN)
			return result == PORT_CLAIMED;
	}
	if (new->closed == NO_CANDIDATE || !port_set(family, new, config, backend, new->closed))
		return 0;
	return reply_take_over(family, new);
}

/* The client's own address and port stay: there is but one candidate. */
static __always_inline int client_port_claim(const int family, struct beginning *new)
{
	const struct slb_flow *taken;

	addr_copy(family, key_daddr(family, &new->reply), key_saddr(&new->key));
	key_tail(family, &new->reply)->dport = key_tail(family, &new->key)->sport;
	taken = flow_find(family, &new->reply);
	if (taken && !reply_is_closed(family, new, taken))
		return 0;
	return reply_take_over(family, new);
}

static __always_inline void count_connection(const struct beginning *new,
					     struct slb_backend_state *state)
{
	struct slb_traffic *traffic = bpf_map_lookup_elem(&backend_counters, &new->backend_id);

	__sync_fetch_and_add(&state->opened, 1);
	if (traffic)
		traffic->connections++;
}

/* What every entry begins with. */
static __always_inline void flow_init(struct beginning *new, __u8 flags)
{
	__u32 now_s = clock_now_s();

	new->value.common = (struct slb_flow){
		.seen_s = now_s,
		.begun_s = now_s,
		.backend_id = new->backend_id,
		.service_id = new->service_id,
		.flags = flags,
	};
}

/* Both entries, the next hops still unknown. */
static __always_inline int begin_nat(const int family, struct beginning *new, __u32 flags,
				     __u8 tcp_flags, const struct slb_config *config,
				     const struct slb_backend *backend,
				     struct slb_backend_state *state)
{
	const struct flow_key_tail *outside = key_tail(family, &new->key);
	struct flow_key_tail *inside = key_tail(family, &new->reply);
	struct slb_flow *flow = &new->value.common;
	int claimed;

	addr_copy(family, key_saddr(&new->reply), backend->ip);
	inside->sport = backend->port;
	key_set_protocol(inside, outside->protocol);
	flow_init(new, SLB_FLOW_REPLY);
	flow->sport = outside->dport;
	flow->dport = outside->sport;
	addr_copy(family, flow_saddr(flow), key_daddr(family, &new->key));
	addr_copy(family, flow_daddr(family, flow), key_saddr(&new->key));
	if (flags & SLB_SERVICE_SOURCE_NAT)
		claimed = port_claim(family, new, config, backend, state);
	else
		claimed = client_port_claim(family, new);
	if (!claimed)
		return drop(new->service_id, SLB_DROP_PORTS_EXHAUSTED);
	flow_turn(family, &new->reply, flow);
	flow->tcp = tcp_flags & SLB_TCP_SYN;
	if (half_open_insert(family, &new->key, &new->value))
		half_open_remove(family, &new->reply);
	else
		count_connection(new, state);
	return GO_ON;
}

/* One entry: replies leave the node without passing the hook. */
static __always_inline int begin_local(const int family, struct beginning *new,
				       struct slb_backend_state *state)
{
	flow_init(new, SLB_FLOW_LOCAL);
	__builtin_memset(flow_saddr(&new->value.common), 0, 2 * addr_bytes(family));
	if (!half_open_insert(family, &new->key, &new->value))
		count_connection(new, state);
	return GO_ON;
}

/*
 * GO_ON: the flow is in half_open, if it found room there. service_flags: of struct slb_service;
 * the backend is of that service.
 */
static __always_inline int begin(ctx_t *ctx, const int family, __u32 service_id,
				 __u32 service_flags, __u32 backend_id)
{
	struct beginning *new = beginning_find();
	const struct slb_config *config = config_find();
	const struct slb_backend *backend = bpf_map_lookup_elem(&backends, &backend_id);
	struct slb_backend_state *state = bpf_map_lookup_elem(&backend_state, &backend_id);
	struct packet packet;

	if (!new || !config || parse(ctx, family, &packet, &new->key) != PARSE_OK)
		return CTX_UP;
	if (!backend_id || !backend || !state || backend->type == SLB_BACKEND_NONE ||
	    backend->service_id != service_id)
		return refuse(service_id, SLB_DROP_NO_BACKEND, ANSWER_NOBODY);
	if (backend->flags & SLB_BACKEND_DISABLED)
		return drop(service_id, SLB_DROP_BACKEND_DISABLED);
	new->service_id = service_id;
	new->backend_id = backend_id;
	if (backend->type == SLB_BACKEND_LOCAL)
		return begin_local(family, new, state);
	if (packet.ttl <= 1)
		return refuse(service_id, SLB_DROP_TTL_EXCEEDED, ANSWER_TTL_EXCEEDED);
	return begin_nat(family, new, service_flags, packet.tcp_flags, config, backend, state);
}

__noinline int begin_v4(ctx_t *ctx, __u32 service_id, __u32 service_flags, __u32 backend_id)
{
	return begin(ctx, AF_INET, service_id, service_flags, backend_id);
}

__noinline int begin_v6(ctx_t *ctx, __u32 service_id, __u32 service_flags, __u32 backend_id)
{
	return begin(ctx, AF_INET6, service_id, service_flags, backend_id);
}

#endif
