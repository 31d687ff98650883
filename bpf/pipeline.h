/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pipeline: a packet's way, from top to bottom. Read `established` first: it is nearly all packets.
 *
 * Includers have defined the hook's context (ctx_xdp.h or ctx_tc.h).
 */
#ifndef SLB_PIPELINE_H
#define SLB_PIPELINE_H

#include "affinity.h"
#include "answer.h"
#include "begin.h"
#include "clock.h"
#include "flow.h"
#include "follow.h"
#include "forward.h"
#include "icmp.h"
#include "nexthop.h"
#include "parse.h"
#include "select.h"
#include "verdict.h"
#include "work.h"

static __always_inline const struct slb_service *service_find(const int family,
							      const union flow_key *key)
{
	const struct flow_key_tail *tail = key_tail(family, key);

	if (family == AF_INET) {
		struct slb_service_key4 service = { .port = tail->dport,
						    .protocol = tail->protocol };

		addr_copy(AF_INET, &service.vip, key_daddr(AF_INET, key));
		return bpf_map_lookup_elem(&services4, &service);
	} else {
		struct slb_service_key6 service = { .port = tail->dport,
						    .protocol = tail->protocol };

		__builtin_memcpy(service.vip, key_daddr(AF_INET6, key), sizeof(service.vip));
		return bpf_map_lookup_elem(&services6, &service);
	}
}

static __always_inline int range_has(const struct slb_port_range *range, __be16 port)
{
	return (__u32)bpf_ntohs(port) - range->first < range->count;
}

/*
 * The flow of a packet that is in no established one, and the service it asks for.
 *
 * Most packets that come here are none of slb's business (ssh, the API, the node's own traffic) and
 * should leave at the least cost: one lookup in services. A lookup in half_open can be of use only
 * to a packet that hits a service, or to a backend's reply, which goes to one of the source ports;
 * these are the node's alone, so hardly anything else does. With source_nat off replies go to any
 * port: only while there is such a service does every packet pay for both.
 */
static __always_inline int classify(ctx_t *ctx, const int family, struct work *work)
{
	const struct slb_config *config = work->config;
	__be16 dport = key_tail(family, &work->key)->dport;

	(void)ctx;
	work->service = service_find(family, &work->key);
	if (!work->service && !(config->flags & SLB_CONFIG_CLIENT_SOURCE) &&
	    !range_has(&config->ports[0], dport) && !range_has(&config->ports[1], dport))
		return CTX_UP;
	work->flow = half_open_find(family, &work->key);
	work->is_half_open = 1;
	/* A SYN has no flow that the others would miss; should it be a late copy, what it begins is
	 * never found. */
	if (work->flow || packet_is_syn(&work->packet))
		return GO_ON;
	/* Another CPU may have promoted it since the first look: it inserts there before it removes
	 * here. */
	work->flow = flow_find(family, &work->key);
	work->is_half_open = 0;
	return GO_ON;
}

/* A packet without flow to a service. GO_ON: work->flow is set. */
static __always_inline int begin_call(ctx_t *ctx, const int family, struct work *work)
{
	const __u32 refuse = family == AF_INET ? SLB_CONFIG_REFUSE_NEW4 : SLB_CONFIG_REFUSE_NEW6;
	const struct slb_service *service = work->service;
	__u32 service_id = service->service_id, flags = service->flags, backend_id = 0;
	int verdict;

	if (work->packet.protocol == IPPROTO_TCP && !packet_is_syn(&work->packet))
		return hand_up(service_id, SLB_DROP_NOT_SYN);
	if (work->config->flags & refuse)
		return drop(service_id, SLB_DROP_TABLE_FULL);
	if (service->affinity_s)
		backend_id = (__u32)affinity_find_call(ctx, family, work);
	if (!backend_id)
		backend_id = (__u32)select_backend(service_id, service->scheduler,
						   select_hash(family, key_saddr(&work->key)),
						   service->first_slot, service->slot_count);
	verdict = family == AF_INET ? begin_v4(ctx, service_id, flags, backend_id)
				    : begin_v6(ctx, service_id, flags, backend_id);
	if (verdict != GO_ON)
		return verdict;
	/* If another CPU began it at the same moment, it is that one's. */
	work->flow = half_open_find(family, &work->key);
	work->is_half_open = 1;
	if (!work->flow)
		return drop(service_id, SLB_DROP_TABLE_FULL);
	if (service->affinity_s)
		affinity_keep_call(ctx, family, work);
	return GO_ON;
}

/* The packet's flow, found or begun. */
static __always_inline int flow_get(ctx_t *ctx, const int family, struct work *work, int is_missed)
{
	int verdict;

	if (!is_missed)
		work->flow = flow_find(family, &work->key);
	if (!work->flow) {
		verdict = classify(ctx, family, work);
		if (verdict != GO_ON)
			return verdict;
	}
	if (work->flow) {
		verdict = follow_call(ctx, family, work);
		if (verdict != GO_ON || work->flow)
			return verdict;
		/* Forgotten; it may have been found without a look at the services. */
		work->service = service_find(family, &work->key);
	}
	if (!work->service)
		return CTX_UP;
	return begin_call(ctx, family, work);
}

/* Everything but data of an established flow. is_missed: the packet was not found in flows. */
static __always_inline int slow(ctx_t *ctx, const int family, int is_missed)
{
	struct work work = { .config = config_find(), .now_s = clock_now_s() };
	int verdict;

	if (parse(ctx, family, &work.packet, &work.key) != PARSE_OK)
		return hand_up(0, SLB_DROP_MALFORMED); /* established() took the rest */
	if (!work.config || !work.config->generation)
		return CTX_UP;
	verdict = flow_get(ctx, family, &work, is_missed);
	if (verdict != GO_ON || !work.flow)
		return verdict;
	if (work.flow->flags & SLB_FLOW_LOCAL) {
		count_traffic(ctx, &work.packet, work.flow);
		flow_touch(work.flow, work.now_s);
		return CTX_UP;
	}
	if (work.flow->generation != work.config->generation ||
	    packet_largest(ctx, &work.packet) > work.flow->mtu) {
		verdict = nexthop_call(ctx, family, &work);
		if (verdict == BY_NEIGHBOUR)
			return forward_by_neighbour(ctx, family, &work.packet, work.flow,
						    &work.fib);
		if (verdict != GO_ON)
			return verdict;
	}
	return forward(ctx, family, &work.packet, work.flow);
}

static __noinline int slow_v4(ctx_t *ctx, int is_missed)
{
	return slow(ctx, AF_INET, is_missed);
}

static __noinline int slow_v6(ctx_t *ctx, int is_missed)
{
	return slow(ctx, AF_INET6, is_missed);
}

/*
 * Data of an established flow: one lookup, one comparison with config, rewrite, out. All else, and
 * all that is rare (the flags that begin and end a connection, a packet too long, a TTL run out),
 * is slow()'s, which begins anew, so that nothing of it weighs on the registers and the stack here.
 */
static __always_inline int established(ctx_t *ctx, const int family)
{
	const struct slb_config *config;
	struct packet packet;
	union flow_key key;
	struct slb_flow *flow;
	int is_missed = 0, verdict;

	switch (parse(ctx, family, &packet, &key)) {
	case PARSE_OTHER:
		return CTX_UP;
	case PARSE_ICMP:
		return family == AF_INET ? icmp_v4(ctx) : icmp_v6(ctx);
	case PARSE_MALFORMED:
		goto other;
	case PARSE_OK:
		break;
	}
	flow = flow_find(family, &key);
	is_missed = !flow;
	config = config_find();
	if (!flow || !config)
		goto other;
	if (flow->generation != config->generation || packet_largest(ctx, &packet) > flow->mtu ||
	    packet.ttl <= 1 || packet.tcp_flags & (SLB_TCP_SYN | SLB_TCP_CLOSING))
		goto other;
	return forward(ctx, family, &packet, flow);
other:
	verdict = family == AF_INET ? slow_v4(ctx, is_missed) : slow_v6(ctx, is_missed);
	if (verdict > -ANSWER_FIRST)
		return verdict;
	return family == AF_INET ? answer_v4(ctx, (__u32)-verdict)
				 : answer_v6(ctx, (__u32)-verdict);
}

static __always_inline int pipeline(ctx_t *ctx)
{
	const struct ethhdr *eth;

	ctx_pull(ctx);
	eth = ctx_data(ctx);
	if ((void *)(eth + 1) > ctx_data_end(ctx) || !ctx_is_plain(ctx, eth))
		return CTX_UP;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return established(ctx, AF_INET);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return established(ctx, AF_INET6);
	return CTX_UP;
}

#endif
