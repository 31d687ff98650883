/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nexthop: where a flow's packets leave, by the kernel's own routes and neighbours
 * (bpf_fib_lookup). Forwarding must be enabled on the device they come in by.
 *
 * The result is kept in the flow's entry while config.generation stays the same. mtu: what the
 * kernel says from 5.12 on; before, the length that was just found to fit; in both cases longer
 * packets come here again.
 */
#ifndef SLB_NEXTHOP_H
#define SLB_NEXTHOP_H

#include "forward.h"
#include "parse.h"
#include "verdict.h"
#include "work.h"

/* The largest IP packet the frame becomes on the wire. */
static __always_inline __u32 packet_largest(const ctx_t *ctx, const struct packet *packet)
{
	__u32 payload = ctx_segment_payload(ctx);

	return payload ? packet->header_bytes + payload : packet->bytes;
}

static __always_inline void nexthop_ask(const ctx_t *ctx, const int family, struct work *work,
					struct bpf_fib_lookup *fib)
{
	const struct slb_flow *flow = work->flow;
	__u32 bytes = packet_largest(ctx, &work->packet);

	fib->family = (__u8)family;
	fib->l4_protocol = work->packet.protocol;
	fib->sport = flow->sport;
	fib->dport = flow->dport;
	fib->tot_len = (__u16)(bytes < 0xffff ? bytes : 0xffff);
	fib->ifindex = ctx_ifindex(ctx);
	if (family == AF_INET) {
		fib->tos = ((const struct iphdr *)work->packet.ip)->tos;
		addr_copy(family, &fib->ipv4_src, flow_saddr(flow));
		addr_copy(family, &fib->ipv4_dst, flow_daddr(family, flow));
	} else {
		/* Traffic class and flow label: the first word but for the version. */
		fib->flowinfo = *(const word32 *)work->packet.ip & bpf_htonl(0x0fffffff);
		__builtin_memcpy(fib->ipv6_src, flow_saddr(flow), sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, flow_daddr(family, flow), sizeof(fib->ipv6_dst));
	}
}

/* generation last: whoever sees it on another CPU sees the rest. */
static __always_inline void nexthop_keep(struct slb_flow *flow, const struct bpf_fib_lookup *fib,
					 __u32 generation)
{
	__builtin_memcpy(flow->dmac, fib->dmac, sizeof(flow->dmac));
	__builtin_memcpy(flow->smac, fib->smac, sizeof(flow->smac));
	flow->ifindex = fib->ifindex;
	flow->mtu = fib->mtu_result;
	asm volatile("" ::: "memory");
	flow->generation = generation;
}

/* Up to 5.11 the kernel does not say the MTU: then a plateau of RFC 1191 below the packet's length.
 */
static __always_inline int nexthop_too_big(const ctx_t *ctx, const int family,
					   const struct work *work)
{
	__u32 bytes = packet_largest(ctx, &work->packet), mtu = work->fib.mtu_result;

	count_drop(work->flow->service_id, SLB_DROP_TOO_BIG);
	if (family == AF_INET &&
	    !(((const struct iphdr *)work->packet.ip)->frag_off & bpf_htons(IPV4_DF)))
		return CTX_DROP;
	if (mtu >= bytes)
		mtu = bytes > 1492 ? 1492 : bytes > 1280 || family == AF_INET6 ? 1280 : 576;
	return -(int)(ANSWER_TOO_BIG | mtu);
}

/*
 * GO_ON: work->flow has a valid next hop for this packet. BY_NEIGHBOUR (tc): the kernel must
 * resolve its neighbour; rewrite the packet and give it to ctx_redirect_neighbour with work->fib.
 */
static __always_inline int nexthop(ctx_t *ctx, const int family, struct work *work)
{
	__u32 generation = work->config->generation; /* before the lookup, not after */
	__u32 service_id = work->flow->service_id;

	nexthop_ask(ctx, family, work, &work->fib);
	switch (bpf_fib_lookup(ctx, &work->fib, sizeof(work->fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		nexthop_keep(work->flow, &work->fib, generation);
		return GO_ON;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return CTX_RESOLVES_NEIGHBOUR ? BY_NEIGHBOUR
					      : hand_up(service_id, SLB_DROP_NO_NEIGHBOUR);
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return nexthop_too_big(ctx, family, work);
	default:
		return drop(service_id, SLB_DROP_NO_ROUTE);
	}
}

STAGE(nexthop)

#endif
