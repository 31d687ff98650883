/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * icmp: errors about packets that slb has rewritten, translated back for whom they concern: the
 * backend's port is closed, a router on either side wants smaller packets.
 *
 * An error quotes the packet as slb sent it. Turned round, the quoted tuple is the key of the
 * flow's other direction, and what that entry makes of its packets is what becomes of the error:
 * outer addresses as of any packet of that direction (the sender's too, as the kernel's NAT does:
 * neither side sees addresses of the other), quoted addresses and ports likewise, turned round. All
 * other ICMP is the kernel's: it answers echo requests to the VIP.
 *
 * rfc: 792, 4443, 5508 (NAT behaviour for ICMP).
 */
#ifndef SLB_ICMP_H
#define SLB_ICMP_H

#include <linux/icmpv6.h>

#include "flow.h"
#include "follow.h"
#include "nexthop.h"
#include "parse.h"
#include "verdict.h"
#include "work.h"

/* rfc: 792; <linux/icmp.h> does not compile for BPF. */
#define ICMP_DEST_UNREACH  3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

/* Of either protocol: type, code, checksum, four more bytes; then the quoted packet. */
struct icmp_error {
	__u8 type;
	__u8 code;
	__u16 check;
	__u32 rest;
};

/* Of the quoted transport header, what must be there (RFC 792). */
#define ICMP_QUOTED_BYTES 8

static __always_inline int icmp_is_error(const int family, __u8 type)
{
	if (family == AF_INET)
		return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED ||
		       type == ICMP_PARAMETERPROB;
	return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
}

/* The error and the IP packet it quotes, or NULL; sets packet->bytes. */
static __always_inline struct icmp_error *icmp_find(const ctx_t *ctx, const int family,
						    struct packet *packet)
{
	void *end = ctx_data_end(ctx), *ip = packet->ip;
	__u32 header_bytes = sizeof(struct ipv6hdr);
	struct icmp_error *error;

	if (family == AF_INET) {
		const struct iphdr *ip4 = ip;

		if (ip + sizeof(*ip4) > end || ip4->frag_off & bpf_htons(IPV4_FRAGMENT))
			return 0;
		header_bytes = (*(__u8 *)ip & 0xf) * IP_WORD_BYTES;
		packet->bytes = bpf_ntohs(ip4->tot_len);
		packet->ttl = ip4->ttl;
	} else {
		const struct ipv6hdr *ip6 = ip;

		if (ip + sizeof(*ip6) > end)
			return 0;
		packet->bytes = (__u32)sizeof(*ip6) + bpf_ntohs(ip6->payload_len);
		packet->ttl = ip6->hop_limit;
	}
	if (header_bytes < IPV4_LEAST_BYTES || packet->bytes > ctx_frame_bytes(ctx) - ETH_HLEN)
		return 0;
	error = ip + header_bytes;
	packet->header_bytes = header_bytes + sizeof(*error);
	if ((void *)(error + 1) > end || !icmp_is_error(family, error->type))
		return 0;
	return error;
}

/*
 * The quoted packet: its ports, and its checksum when that is quoted too; fills the key of the
 * other direction. Returns whether it is one of TCP or UDP, and whole enough.
 */
static __always_inline int icmp_quoted(const ctx_t *ctx, const int family, void *quoted,
				       struct packet *packet, union flow_key *key)
{
	struct flow_key_tail *tail = key_tail(family, key);
	__u32 header_bytes = sizeof(struct ipv6hdr), check_offset;
	void *end = ctx_data_end(ctx), *l4;

	if (family == AF_INET) {
		const struct iphdr *ip = quoted;

		if (quoted + sizeof(*ip) > end || ip->frag_off & bpf_htons(IPV4_OFFSET))
			return 0;
		header_bytes = (*(__u8 *)quoted & 0xf) * IP_WORD_BYTES;
		if (header_bytes < IPV4_LEAST_BYTES)
			return 0;
		packet->protocol = ip->protocol;
		addr_copy(family, key_saddr(key), &ip->daddr);
		addr_copy(family, key_daddr(family, key), &ip->saddr);
	} else {
		const struct ipv6hdr *ip = quoted;

		if (quoted + sizeof(*ip) > end)
			return 0;
		packet->protocol = ip->nexthdr;
		addr_copy(family, key_saddr(key), &ip->daddr);
		addr_copy(family, key_daddr(family, key), &ip->saddr);
	}
	packet->header_bytes += header_bytes;
	l4 = quoted + header_bytes;
	if (l4 + ICMP_QUOTED_BYTES > end ||
	    packet->header_bytes + ICMP_QUOTED_BYTES > packet->bytes)
		return 0;
	packet->ports = l4;
	tail->sport = ((__be16 *)l4)[1];
	tail->dport = ((__be16 *)l4)[0];
	key_set_protocol(tail, packet->protocol);
	packet->check = 0;
	if (packet->protocol == IPPROTO_UDP) {
		packet->check = &((struct udphdr *)l4)->check;
		return 1;
	}
	check_offset = __builtin_offsetof(struct tcphdr, check);
	if (l4 + check_offset + sizeof(__u16) <= end &&
	    packet->header_bytes + check_offset + sizeof(__u16) <= packet->bytes)
		packet->check = l4 + check_offset;
	return packet->protocol == IPPROTO_TCP;
}

/* Rewrites what is quoted; returns what that adds to the sum over the error. */
static __always_inline __u32 icmp_rewrite_quoted(const int family, void *quoted,
						 struct packet *packet, const struct slb_flow *flow)
{
	__u32 addr_delta = flow->addr_delta, port_delta = flow->port_delta, delta = port_delta;
	int is_udp = packet->protocol == IPPROTO_UDP;

	if (family == AF_INET) {
		struct iphdr *ip = quoted;

		checksum_update(&ip->check,
				addr_delta); /* which leaves the header's sum as it was */
		addr_copy(family, &ip->saddr, flow_daddr(family, flow));
		addr_copy(family, &ip->daddr, flow_saddr(flow));
	} else {
		struct ipv6hdr *ip = quoted;

		addr_copy(family, &ip->saddr, flow_daddr(family, flow));
		addr_copy(family, &ip->daddr, flow_saddr(flow));
		delta += addr_delta;
	}
	((__be16 *)packet->ports)[0] = flow->dport;
	((__be16 *)packet->ports)[1] = flow->sport;
	if (packet->check && !(is_udp && !*packet->check)) {
		__u32 before = *packet->check;

		checksum_update_l4(packet->check, addr_delta + port_delta, is_udp);
		delta += checksum_delta(before, *packet->check);
	}
	return delta;
}

/* The error becomes a packet of the flow's direction. */
static __always_inline int icmp_rewrite(ctx_t *ctx, const int family, struct work *work)
{
	struct packet *packet = &work->packet;
	struct icmp_error *error = work->error;
	const struct slb_flow *flow = work->flow;
	void *addresses = packet_addresses(family, packet);
	__u32 before, after, outer_delta, delta;

	before = checksum_fold(addr_sum(family, addresses) +
			       addr_sum(family, addresses + addr_bytes(family)));
	after = checksum_fold(addr_sum(family, flow_saddr(flow)) +
			      addr_sum(family, flow_daddr(family, flow)));
	outer_delta = checksum_delta(before, after);
	delta = icmp_rewrite_quoted(family, error + 1, packet, flow);
	addr_copy_pair(family, addresses, flow_saddr(flow));
	if (family == AF_INET) {
		struct iphdr *ip = packet->ip;

		checksum_update(&ip->check, outer_delta + TTL_DELTA);
		ip->ttl--;
	} else {
		((struct ipv6hdr *)packet->ip)->hop_limit--;
		delta += outer_delta; /* ICMPv6's checksum has a pseudo header */
		ctx_frame_changed(ctx, HOP_LIMIT_DELTA);
	}
	checksum_update(&error->check, delta);
	return GO_ON;
}

STAGE(icmp_rewrite)

/* The flow's direction that the error goes with; GO_ON: work->flow has it, with a valid next hop.
 */
static __always_inline int icmp_follow(ctx_t *ctx, const int family, struct work *work)
{
	int verdict;

	work->flow = flow_find(family, &work->key);
	if (!work->flow)
		work->flow = half_open_find(family, &work->key);
	if (!work->flow || work->flow->flags & SLB_FLOW_LOCAL)
		return CTX_UP;
	verdict = follow_backend(work);
	if (verdict != GO_ON)
		return verdict;
	if (work->packet.ttl <= 1) /* no error about an error */
		return drop(work->flow->service_id, SLB_DROP_TTL_EXCEEDED);
	if (work->flow->generation == work->config->generation &&
	    work->packet.bytes <= work->flow->mtu)
		return GO_ON;
	verdict = nexthop_call(ctx, family, work);
	return verdict <= -ANSWER_FIRST ? CTX_DROP : verdict;
}

/* Is this an error about a packet that may have been slb's? Fills key and packet. */
static __always_inline int icmp_parse(ctx_t *ctx, const int family, struct work *work)
{
	struct icmp_error *error;

	work->packet.eth = ctx_data(ctx);
	work->packet.ip = work->packet.eth + 1;
	error = icmp_find(ctx, family, &work->packet);
	if (!error || !icmp_quoted(ctx, family, error + 1, &work->packet, &work->key))
		return CTX_UP;
	work->error = error;
	return GO_ON;
}

STAGE(icmp_parse)

static __always_inline int icmp(ctx_t *ctx, const int family)
{
	struct work work = { .config = config_find() };
	int verdict;

	if (!work.config || !work.config->generation)
		return CTX_UP;
	verdict = icmp_parse_call(ctx, family, &work);
	if (verdict != GO_ON)
		return verdict;
	verdict = icmp_follow(ctx, family, &work);
	if (verdict != GO_ON && verdict != BY_NEIGHBOUR)
		return verdict;
	count_traffic(ctx, &work.packet, work.flow);
	icmp_rewrite_call(ctx, family, &work);
	if (verdict == BY_NEIGHBOUR)
		return ctx_redirect_neighbour(ctx, &work.fib);
	rewrite_macs(work.packet.eth, work.flow);
	return ctx_redirect(ctx, work.flow->ifindex);
}

/* verifier: global functions, each verified once by itself. */
__noinline int icmp_v4(ctx_t *ctx)
{
	return icmp(ctx, AF_INET);
}

__noinline int icmp_v6(ctx_t *ctx)
{
	return icmp(ctx, AF_INET6);
}

#endif
