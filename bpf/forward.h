/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forward: counts the packet, keeps its flow alive, rewrites it and sends it on.
 */
#ifndef SLB_FORWARD_H
#define SLB_FORWARD_H

#include "clock.h"
#include "rewrite.h"
#include "verdict.h"

/* A GSO frame counts as the packets it becomes, each with its headers. */
static __always_inline void count_traffic(const ctx_t *ctx, const struct packet *packet,
					  const struct slb_flow *flow)
{
	struct slb_traffic *traffic = bpf_map_lookup_elem(&backend_counters, &flow->backend_id);
	__u32 packets = ctx_segments(ctx);
	__u32 bytes = packet->bytes + (packets - 1) * packet->header_bytes;

	if (!traffic)
		return;
	if (flow->flags & SLB_FLOW_REPLY) {
		traffic->packets_out += packets;
		traffic->bytes_out += bytes;
	} else {
		traffic->packets_in += packets;
		traffic->bytes_in += bytes;
	}
}

/* Written only when it changes: the line stays shared between CPUs. */
static __always_inline void flow_touch(struct slb_flow *flow, __u32 now_s)
{
	if (flow->seen_s != now_s)
		flow->seen_s = now_s;
}

/* The flow's next hop is valid. */
static __always_inline int forward(ctx_t *ctx, const int family, struct packet *packet,
				   struct slb_flow *flow)
{
	count_traffic(ctx, packet, flow);
	flow_touch(flow, clock_now_s());
	rewrite_macs(packet->eth, flow);
	rewrite(ctx, family, packet, flow);
	return ctx_redirect(ctx, flow->ifindex);
}

/* It has no MAC yet: fib says whose the kernel must find. */
static __always_inline int forward_by_neighbour(ctx_t *ctx, const int family, struct packet *packet,
						struct slb_flow *flow, struct bpf_fib_lookup *fib)
{
	count_traffic(ctx, packet, flow);
	flow_touch(flow, clock_now_s());
	rewrite(ctx, family, packet, flow);
	return ctx_redirect_neighbour(ctx, fib);
}

#endif
