/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * answer: the node's own word to a sender: TTL run out, packet too big, nobody behind this port.
 * The kernel cannot give it: to it the packet is one for its own address, or for a closed port of a
 * VIP that is open.
 *
 * The frame is made into the answer and sent back by where it came from. Only so many a second
 * (slb_answers_per_s, per CPU), so that a flood finds no mirror; beyond that, and where the frame
 * cannot be changed, the packet just ends.
 *
 * rfc: 792, 1122 (3.2.2), 1191, 4443, 8201; 9293 (3.10.7.1: a reset for a SYN).
 */
#ifndef SLB_ANSWER_H
#define SLB_ANSWER_H

#include <linux/icmpv6.h>

#include "clock.h"
#include "icmp.h"
#include "parse.h"
#include "verdict.h"

const volatile __u32 slb_answers_per_s = 1000;

#define ANSWER_TTL           64
#define ANSWER_SUM_WORDS     ((8 + 60 + ICMP_QUOTED_BYTES) / 4) /* at most: the longest IPv4 header */
#define ANSWER_TRAFFIC_CLASS 0xc0 /* internetwork control, as the kernel sends errors */

/* rfc: 792 */
#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED  4

static __always_inline int answer_is_allowed(void)
{
	struct beginning *room = beginning_find();
	__u32 now_s = clock_now_s();

	if (!room)
		return 0;
	if (room->answers_s != now_s) {
		room->answers_s = now_s;
		room->answers = 0;
	}
	return room->answers++ < slb_answers_per_s;
}

/* Type, code and the last word of the header, by what the pipeline asked for. */
static __always_inline struct icmp_error answer_icmp_header(const int family, __u32 answer)
{
	__u32 mtu = answer & ANSWER_MTU_MASK;

	if ((answer & ANSWER_KIND_MASK) == ANSWER_TOO_BIG)
		return family == AF_INET
			       ? (struct icmp_error){ ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, 0,
						      bpf_htonl(mtu) }
			       : (struct icmp_error){ ICMPV6_PKT_TOOBIG, 0, 0, bpf_htonl(mtu) };
	if ((answer & ANSWER_KIND_MASK) == ANSWER_TTL_EXCEEDED)
		return (struct icmp_error){ family == AF_INET ? ICMP_TIME_EXCEEDED
							      : ICMPV6_TIME_EXCEED,
					    0, 0, 0 };
	return family == AF_INET
		       ? (struct icmp_error){ ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0, 0 }
		       : (struct icmp_error){ ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0, 0 };
}

/* Sum over `bytes` (a multiple of 4) from `from`, which lie in the frame. */
static __always_inline __u32 answer_sum(const ctx_t *ctx, const void *from, __u32 bytes)
{
	const void *end = ctx_data_end(ctx);
	__u64 sum = 0;

	for (__u32 i = 0; i < ANSWER_SUM_WORDS; i++) {
		const word32 *word = from + i * 4;

		if (i * 4 >= bytes || (void *)(word + 1) > end)
			break;
		sum += *word;
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	return checksum_fold((__u32)(sum & 0xffff) + (__u32)(sum >> 16));
}

static __always_inline void answer_macs(struct ethhdr *eth, const struct ethhdr *received)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, received->h_dest, ETH_ALEN);
	__builtin_memmove(eth->h_dest, received->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	eth->h_proto = received->h_proto;
}

/* The answer's IP header, with l4_bytes behind it: back to where the packet with this key came
 * from. */
static __always_inline void answer_ip4(struct iphdr *ip, __u8 protocol, __u32 l4_bytes,
				       const union flow_key *key)
{
	word32 *words = (word32 *)ip;
	__u32 bytes = sizeof(*ip) + l4_bytes;

	words[0] = bpf_htonl(0x45U << 24 | ANSWER_TRAFFIC_CLASS << 16 | bytes);
	words[1] = 0;
	words[2] = bpf_htonl(ANSWER_TTL << 24 | (__u32)protocol << 16);
	addr_copy(AF_INET, &ip->saddr, key_daddr(AF_INET, key));
	addr_copy(AF_INET, &ip->daddr, key_saddr(key));
	ip->check =
		(__u16)~checksum_fold(addr_sum(AF_INET, &words[0]) + addr_sum(AF_INET, &words[2]) +
				      addr_sum(AF_INET, &words[3]) + addr_sum(AF_INET, &words[4]));
}

static __always_inline void answer_ip6(struct ipv6hdr *ip, __u8 protocol, __u32 l4_bytes,
				       const union flow_key *key)
{
	word32 *words = (word32 *)ip;

	words[0] = bpf_htonl(6U << 28 | ANSWER_TRAFFIC_CLASS << 20);
	words[1] = bpf_htonl(l4_bytes << 16 | (__u32)protocol << 8 | ANSWER_TTL);
	addr_copy(AF_INET6, &ip->saddr, key_daddr(AF_INET6, key));
	addr_copy(AF_INET6, &ip->daddr, key_saddr(key));
}

/* Quotes the IP header and eight bytes; of very many extension headers as much as the longest IPv4
 * header would take. */
static __always_inline int answer_icmp(ctx_t *ctx, const int family, __u32 answer,
				       __u32 ip_header_bytes, const union flow_key *key)
{
	const __u32 ip_bytes = family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const __u32 head_bytes = ip_bytes + sizeof(struct icmp_error);
	__u32 quoted_bytes = (ip_header_bytes > 60 ? 60 : ip_header_bytes) + ICMP_QUOTED_BYTES;
	__u32 icmp_bytes = sizeof(struct icmp_error) + quoted_bytes, sum;
	struct icmp_error *error;
	struct ethhdr *eth;

	if (ctx_resize(ctx, sizeof(*eth) + quoted_bytes) || ctx_grow_head(ctx, head_bytes))
		return CTX_DROP;
	eth = ctx_data(ctx);
	error = (void *)(eth + 1) + ip_bytes;
	if ((void *)(error + 1) + sizeof(*eth) > ctx_data_end(ctx))
		return CTX_DROP;
	answer_macs(eth, (void *)eth + head_bytes);
	*error = answer_icmp_header(family, answer);
	if (family == AF_INET) {
		answer_ip4((void *)(eth + 1), IPPROTO_ICMP, icmp_bytes, key);
		sum = 0;
	} else {
		answer_ip6((void *)(eth + 1), IPPROTO_ICMPV6, icmp_bytes, key);
		sum = addr_sum(AF_INET6, key_saddr(key)) +
		      addr_sum(AF_INET6, key_daddr(AF_INET6, key)) + bpf_htons((__u16)icmp_bytes) +
		      bpf_htons(IPPROTO_ICMPV6);
	}
	sum += answer_sum(ctx, error, icmp_bytes);
	error->check = (__u16)~checksum_fold(sum);
	return ctx_redirect(ctx, ctx_ifindex(ctx));
}

/* A SYN is refused with a reset that acknowledges it; what it carried (fast open) is left
 * unacknowledged. */
static __always_inline int answer_reset(ctx_t *ctx, const int family, const struct packet *packet,
					const union flow_key *key)
{
	const __u32 ip_bytes = family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const struct flow_key_tail *tail = key_tail(family, key);
	__u32 sequence = packet->sequence, sum;
	struct ethhdr *eth;
	word32 *tcp;

	if (ctx_resize(ctx, sizeof(*eth) + ip_bytes + sizeof(struct tcphdr)))
		return CTX_DROP;
	eth = ctx_data(ctx);
	tcp = (void *)(eth + 1) + ip_bytes;
	if ((void *)tcp + sizeof(struct tcphdr) > ctx_data_end(ctx))
		return CTX_DROP;
	answer_macs(eth, eth);
	if (family == AF_INET)
		answer_ip4((void *)(eth + 1), IPPROTO_TCP, sizeof(struct tcphdr), key);
	else
		answer_ip6((void *)(eth + 1), IPPROTO_TCP, sizeof(struct tcphdr), key);
	((__be16 *)tcp)[0] = tail->dport;
	((__be16 *)tcp)[1] = tail->sport;
	tcp[1] = 0;
	tcp[2] = bpf_htonl(sequence + 1);
	tcp[3] = bpf_htonl(5U << 28 | (SLB_TCP_RST | SLB_TCP_ACK) << 16);
	tcp[4] = 0;
	sum = answer_sum(ctx, tcp, sizeof(struct tcphdr)) + addr_sum(family, key_saddr(key)) +
	      addr_sum(family, key_daddr(family, key)) + bpf_htons(IPPROTO_TCP) +
	      bpf_htons(sizeof(struct tcphdr));
	tcp[4] = (__u16)~checksum_fold(sum);
	return ctx_redirect(ctx, ctx_ifindex(ctx));
}

/* Nobody may be answered who cannot have sent (RFC 1122, 3.2.2: groups, loopback, the unspecified).
 */
static __always_inline int answer_may_go_to(const int family, const void *addr)
{
	const __u8 *bytes = addr;
	const word32 *words = addr;

	if (family == AF_INET)
		return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224;
	return bytes[0] != 0xff && (words[0] | words[1] | words[2]);
}

/* answer: what the pipeline asked for, of verdict.h. */
static __always_inline int answer(ctx_t *ctx, const int family, __u32 answer)
{
	struct packet packet;
	union flow_key key;

	if (parse(ctx, family, &packet, &key) != PARSE_OK || !answer_is_allowed() ||
	    !answer_may_go_to(family, key_saddr(&key)))
		return CTX_DROP;
	if ((answer & ANSWER_KIND_MASK) == ANSWER_NOBODY && packet.protocol == IPPROTO_TCP)
		return answer_reset(ctx, family, &packet, &key);
	return answer_icmp(ctx, family, answer, (__u32)((void *)packet.ports - packet.ip), &key);
}

/* verifier: global functions, each verified once by itself. */
__noinline int answer_v4(ctx_t *ctx, __u32 wanted)
{
	return answer(ctx, AF_INET, wanted);
}

__noinline int answer_v6(ctx_t *ctx, __u32 wanted)
{
	return answer(ctx, AF_INET6, wanted);
}

#endif
