/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * parse: the frame, once, into struct packet and the flow key.
 *
 * All that later stages rely on is checked here: the headers lie in the frame, and the lengths in
 * them agree with each other and with the frame. What is no packet of ours (other protocols,
 * fragments, tags) is told from what is broken: both go up untouched, the second is counted.
 *
 * rfc: 791, 8200, 9293, 768.
 */
#ifndef SLB_PARSE_H
#define SLB_PARSE_H

#include "packet.h"

enum parse_result {
	PARSE_OK,
	PARSE_OTHER,
	PARSE_ICMP,
	PARSE_MALFORMED,
};

#define IPV4_FRAGMENT    0x3fff /* more fragments, or an offset */
#define IPV4_DF          0x4000
#define IPV4_OFFSET      0x1fff
#define IP_WORD_BYTES    4  /* IHL and TCP's data offset count these */
#define TCP_OFFSET_BYTE  12 /* data offset in its upper half */
#define TCP_FLAGS_BYTE   13
#define IPV4_LEAST_BYTES sizeof(struct iphdr)
#define TCP_LEAST_BYTES  sizeof(struct tcphdr)
#define UDP_BYTES        sizeof(struct udphdr)

/* More extension headers, or longer ones, than any sender has reason for go up. The limit in bytes
 * is what tc has made readable (ctx_pull). */
#define EXTENSIONS_MOST       6
#define EXTENSIONS_BYTES_MOST CTX_EXTENSIONS_BYTES
#define IPV6_MOST_BYTES       (sizeof(struct ipv6hdr) + EXTENSIONS_BYTES_MOST)
_Static_assert(IPV6_MOST_BYTES < 256, "fits the mask in parse_ipv6()");

/* What every extension header that is stepped over begins with. */
struct extension {
	__u8 next;
	__u8 more_words; /* of 8 bytes, after the first */
	__u8 type;       /* a routing header's */
	__u8 segments_left;
};

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_DSTOPTS ||
	       protocol == IPPROTO_ROUTING;
}

/*
 * Steps over the extension headers of the IPv6 header `offset` bytes into the frame. Returns the
 * bytes of all headers before the transport's << 8 | its protocol; 0 = none that slb knows. Options
 * are for the packet's end, or for whoever they concern: they go on unread. A routing header with
 * segments left means that this is not the end.
 *
 * verifier: a global function, verified once.
 */
__noinline int ipv6_transport(ctx_t *ctx, __u32 offset)
{
	const void *end = ctx_data_end(ctx);
	__u32 bytes = sizeof(struct ipv6hdr);
	const struct ipv6hdr *ip;
	__u8 protocol;

	if (offset > IPV6_MOST_BYTES + ETH_HLEN + 8)
		return 0;
	ip = ctx_data(ctx) + offset;
	if ((void *)(ip + 1) > end)
		return 0;
	protocol = ip->nexthdr;
	for (__u32 i = 0; i < EXTENSIONS_MOST; i++) {
		const struct extension *extension = (void *)ip + bytes;

		if (!is_extension(protocol))
			break;
		if ((void *)(extension + 1) > end)
			return 0;
		if (protocol == IPPROTO_HOPOPTS && i > 0)
			return 0;
		if (protocol == IPPROTO_ROUTING && extension->segments_left)
			return 0;
		protocol = extension->next;
		bytes += ((__u32)extension->more_words + 1) * 8;
		if (bytes > IPV6_MOST_BYTES)
			return 0;
	}
	return is_extension(protocol) ? 0 : (int)(bytes << 8 | protocol);
}

/* Each returns the length of its header, or 0. */
static __always_inline __u32 parse_tcp(struct packet *packet, struct tcphdr *tcp, const void *end)
{
	const __u8 *bytes = (const __u8 *)tcp;
	__u32 header_bytes;

	if ((void *)(tcp + 1) > end)
		return 0;
	packet->check = &tcp->check;
	packet->check_offset = __builtin_offsetof(struct tcphdr, check);
	packet->tcp_flags = bytes[TCP_FLAGS_BYTE];
	packet->sequence = bpf_ntohl(tcp->seq);
	packet->acknowledged = bpf_ntohl(tcp->ack_seq);
	header_bytes = (__u32)(bytes[TCP_OFFSET_BYTE] >> 4) * IP_WORD_BYTES;
	return header_bytes < sizeof(*tcp) ? 0 : header_bytes;
}

static __always_inline __u32 parse_udp(struct packet *packet, struct udphdr *udp, const void *end,
				       __u32 ip_header_bytes)
{
	__u32 bytes;

	if ((void *)(udp + 1) > end)
		return 0;
	packet->check = &udp->check;
	packet->check_offset = __builtin_offsetof(struct udphdr, check);
	packet->tcp_flags = 0;
	bytes = bpf_ntohs(udp->len);
	if (bytes < sizeof(*udp) || ip_header_bytes + bytes > packet->bytes)
		return 0;
	return sizeof(*udp);
}

/* packet->protocol is known, and packet->bytes checked against the frame. */
static __always_inline enum parse_result parse_l4(ctx_t *ctx, const int family,
						  struct packet *packet, union flow_key *key,
						  __u32 ip_header_bytes)
{
	struct flow_key_tail *tail = key_tail(family, key);
	const void *end = ctx_data_end(ctx);
	void *l4 = packet->ip + ip_header_bytes;
	__u32 l4_header_bytes;

	if (packet->protocol == IPPROTO_TCP)
		l4_header_bytes = parse_tcp(packet, l4, end);
	else
		l4_header_bytes = parse_udp(packet, l4, end, ip_header_bytes);
	packet->header_bytes = ip_header_bytes + l4_header_bytes;
	if (!l4_header_bytes || packet->header_bytes > packet->bytes)
		return PARSE_MALFORMED;
	packet->check_offset += sizeof(struct ethhdr) + ip_header_bytes;
	packet->ports = l4;
	*(word32 *)&tail->sport = *packet->ports;
	key_set_protocol(tail, packet->protocol);
	return PARSE_OK;
}

static __always_inline enum parse_result parse_ipv4(ctx_t *ctx, struct packet *packet,
						    union flow_key *key)
{
	const struct iphdr *ip = packet->ip;
	__u32 header_bytes, frame_bytes;
	__u8 first;

	if ((void *)(ip + 1) > ctx_data_end(ctx))
		return PARSE_MALFORMED;
	packet->protocol = ip->protocol;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return ip->protocol == IPPROTO_ICMP ? PARSE_ICMP : PARSE_OTHER;
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT))
		return PARSE_OTHER;
	first = *(const __u8 *)ip; /* version and IHL: bit fields would cost more */
	header_bytes = (__u32)(first & 0xf) * IP_WORD_BYTES;
	if (first >> 4 != 4 || header_bytes < IPV4_LEAST_BYTES)
		return PARSE_MALFORMED;
	frame_bytes = ctx_frame_bytes(ctx) - ETH_HLEN;
	packet->bytes = ctx_ipv4_bytes(ctx, bpf_ntohs(ip->tot_len), frame_bytes);
	if (packet->bytes > frame_bytes)
		return PARSE_MALFORMED;
	packet->ttl = ip->ttl;
	addr_copy_pair(AF_INET, key_saddr(key), &ip->saddr);
	return parse_l4(ctx, AF_INET, packet, key, header_bytes);
}

static __always_inline enum parse_result parse_ipv6(ctx_t *ctx, struct packet *packet,
						    union flow_key *key)
{
	const struct ipv6hdr *ip = packet->ip;
	__u32 header_bytes = sizeof(*ip), found;

	if ((void *)(ip + 1) > ctx_data_end(ctx))
		return PARSE_MALFORMED;
	packet->protocol = ip->nexthdr;
	if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP) {
		if (ip->nexthdr == IPPROTO_ICMPV6)
			return PARSE_ICMP;
		if (!is_extension(ip->nexthdr))
			return PARSE_OTHER;
		found = (__u32)ipv6_transport(ctx, ETH_HLEN);
		packet->protocol = (__u8)found;
		header_bytes = found >> 8 & 0xff; /* verifier: masked, or it has no bound */
		if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP)
			return PARSE_OTHER;
	}
	if (*(const __u8 *)ip >> 4 != 6)
		return PARSE_MALFORMED;
	packet->bytes = (__u32)sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (packet->bytes > ctx_frame_bytes(ctx) - ETH_HLEN)
		return PARSE_MALFORMED;
	packet->ttl = ip->hop_limit;
	addr_copy_pair(AF_INET6, key_saddr(key), &ip->saddr);
	return parse_l4(ctx, AF_INET6, packet, key, header_bytes);
}

/* The frame is Ethernet and says that it carries `family`. */
static __always_inline enum parse_result parse(ctx_t *ctx, const int family, struct packet *packet,
					       union flow_key *key)
{
	packet->eth = ctx_data(ctx);
	packet->ip = packet->eth + 1;
	if (family == AF_INET)
		return parse_ipv4(ctx, packet, key);
	return parse_ipv6(ctx, packet, key);
}

#endif
