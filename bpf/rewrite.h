/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rewrite: the packet becomes what its flow says: addresses, ports, TTL, checksums.
 *
 * invariant: all checks are done; from here on nothing fails, so a packet is never left half
 * rewritten.
 */
#ifndef SLB_REWRITE_H
#define SLB_REWRITE_H

#include <linux/stddef.h>

#include "packet.h"

/* Packet pointers are void after it. */
static __always_inline void rewrite(ctx_t *ctx, const int family, struct packet *packet,
				    const struct slb_flow *flow)
{
	if (family == AF_INET) {
		struct iphdr *ip = packet->ip;

		checksum_update(&ip->check, (__u32)flow->addr_delta + TTL_DELTA);
		ip->ttl--;
	} else {
		((struct ipv6hdr *)packet->ip)->hop_limit--;
	}
	addr_copy_pair(family, packet_addresses(family, packet), flow_saddr(flow));
	*packet->ports = *(const word32 *)&flow->sport;
	ctx_l4_checksum(ctx, family, packet, flow);
}

/* Destination and source lie together in the frame and in the flow. */
static __always_inline void rewrite_macs(struct ethhdr *eth, const struct slb_flow *flow)
{
	*(word64 *)eth = *(const word64 *)flow->dmac;
	((word32 *)eth)[2] = ((const word32 *)flow->dmac)[2];
}

#endif
