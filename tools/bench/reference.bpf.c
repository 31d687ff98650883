/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * reference: the least that a NAT of this kind can do with the kernel's own maps, to measure slb
 * by.
 *
 * It checks no more than the verifier asks for, follows no TCP state, counts nothing, has no
 * services, ages nothing, and asks the kernel for no route: what it needs is in the flow. Both
 * directions of a flow lie in one LRU map.
 *
 *   empty      returns at once: what the measuring itself costs
 *   parse      headers and key only
 *   nat        parse, one LRU lookup, kept deltas, kept next hop, redirect
 *   nat_fib    the same, but asks bpf_fib_lookup for the next hop
 *   new        parse, the LRU lookup that misses, a backend and a port in turn, two LRU inserts,
 *              and on as in nat
 *
 * Direct packet access in tc as well, which is wrong for packets whose checksum is left to a
 * device; slb has to be right.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET  2
#define AF_INET6 10

typedef __u32 __attribute__((may_alias)) word32;
typedef __u64 __attribute__((may_alias)) word64;

/* Addresses one after the other, as in the header; then ports and protocol. */
struct key4 {
	__u32 addr[2];
	__u32 ports;
	__u32 protocol;
};

struct key6 {
	__u32 addr[8];
	__u32 ports;
	__u32 protocol;
};

struct next_hop {
	__u8 macs[12]; /* destination, source */
	__u32 ifindex;
};

struct flow {
	struct next_hop hop;
	__u32 ports;
	__u16 addr_delta; /* RFC 1624, of the addresses; port_delta of the ports */
	__u16 port_delta;
};

struct flow4 {
	struct flow common;
	__u32 addr[2];
	__u64 pad[4]; /* as many bytes as slb's */
};

struct flow6 {
	struct flow common;
	__u32 addr[8];
	__u64 pad[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct key4);
	__type(value, struct flow4);
} ref_flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct key6);
	__type(value, struct flow6);
} ref_flows6 SEC(".maps");

/* Where new flows go; written by plan.py, but for `next`. */
struct plan {
	__u32 source[4];  /* address that requests get, IPv4 in the first */
	__u32 backend[4]; /* the first one's; others differ in the last four bytes, counting up */
	__u32 backends_shift;
	__u32 port_first;
	__u32 backend_port; /* wire order */
	__u32 next;
	struct next_hop to_backend;
	struct next_hop to_client;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} ref_plan SEC(".maps");

struct packet {
	struct ethhdr *eth;
	void *ip;
	__u32 *ports;
	__u16 *check;
	union {
		struct key4 v4;
		struct key6 v6;
		__u32 addr[8];
	} key;
};

static __always_inline int words(const int family)
{
	return family == AF_INET ? 2 : 8;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 delta(__u32 before, __u32 after)
{
	return fold(after + (~before & 0xffff));
}

static __always_inline void update(__u16 *check, __u32 by)
{
	*check = (__u16)~fold((~(__u32)*check & 0xffff) + by);
}

static __always_inline __u32 sum_of(const __u32 *addr, int count)
{
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < count; i++)
		sum += (addr[i] & 0xffff) + (addr[i] >> 16);
	return fold(sum);
}

static __always_inline void addr_copy(const int family, void *to, const void *from)
{
#pragma unroll
	for (int i = 0; i < words(family) / 2; i++)
		((word64 *)to)[i] = ((const word64 *)from)[i];
}

/* Returns whether it is a packet to look at. */
static __always_inline int parse(const int family, struct packet *packet, const void *end)
{
	__u8 protocol;
	void *l4;

	if (family == AF_INET) {
		struct iphdr *ip = packet->ip;

		if ((void *)(ip + 1) > end || *(__u8 *)ip != 0x45 ||
		    ip->frag_off & bpf_htons(0x3fff))
			return 0;
		addr_copy(family, packet->key.addr, &ip->saddr);
		protocol = ip->protocol;
		l4 = ip + 1;
	} else {
		struct ipv6hdr *ip = packet->ip;

		if ((void *)(ip + 1) > end)
			return 0;
		addr_copy(family, packet->key.addr, &ip->saddr);
		protocol = ip->nexthdr;
		l4 = ip + 1;
	}
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return 0;
		packet->check = &tcp->check;
	} else if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end)
			return 0;
		packet->check = &udp->check;
	} else {
		return 0;
	}
	packet->ports = l4;
	if (family == AF_INET) {
		packet->key.v4.ports = *packet->ports;
		packet->key.v4.protocol = protocol;
	} else {
		packet->key.v6.ports = *packet->ports;
		packet->key.v6.protocol = protocol;
	}
	return 1;
}

static __always_inline struct flow *find(const int family, struct packet *packet)
{
	if (family == AF_INET)
		return bpf_map_lookup_elem(&ref_flows4, &packet->key);
	return bpf_map_lookup_elem(&ref_flows6, &packet->key);
}

static __always_inline void rewrite(const int family, struct packet *packet,
				    const struct flow *flow, const struct next_hop *hop)
{
	*(word64 *)packet->eth = *(const word64 *)hop->macs;
	((word32 *)packet->eth)[2] = ((const word32 *)hop->macs)[2];
	if (family == AF_INET) {
		struct iphdr *ip = packet->ip;

		update(&ip->check, (__u32)flow->addr_delta + bpf_htons(0xfeff));
		ip->ttl--;
		addr_copy(family, &ip->saddr, flow + 1);
	} else {
		struct ipv6hdr *ip = packet->ip;

		ip->hop_limit--;
		addr_copy(family, &ip->saddr, flow + 1);
	}
	*packet->ports = flow->ports;
	update(packet->check, (__u32)flow->addr_delta + flow->port_delta);
}

/* ---- a new flow ---------------------------------------------------------------------------------
 */

struct beginning {
	struct packet reply; /* its key alone */
	union {
		struct flow common;
		struct flow4 v4;
		struct flow6 v6;
	} to_backend, to_client;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct beginning);
} ref_beginnings SEC(".maps");

static __always_inline __u32 turned(__u32 ports)
{
	return ports << 16 | ports >> 16;
}

/* Two addresses the other way round. */
static __always_inline void turn(const int family, __u32 *to, const __u32 *from)
{
	const int half = words(family) / 2;

#pragma unroll
	for (int i = 0; i < half; i++) {
		to[i] = from[half + i];
		to[half + i] = from[i];
	}
}

static __always_inline struct flow *begin(const int family, struct packet *packet)
{
	const int half = words(family) / 2;
	__u32 zero = 0, n, failed;
	struct plan *plan = bpf_map_lookup_elem(&ref_plan, &zero);
	struct beginning *new = bpf_map_lookup_elem(&ref_beginnings, &zero);
	struct flow *there, *back;
	__u32 *there_addr, *back_addr;

	if (!plan || !new)
		return 0;
	there = &new->to_backend.common;
	back = &new->to_client.common;
	there_addr = (__u32 *)(there + 1);
	back_addr = (__u32 *)(back + 1);
	n = plan->next++;
#pragma unroll
	for (int i = 0; i < half; i++) {
		there_addr[i] = plan->source[i];
		there_addr[half + i] = plan->backend[i];
	}
	there_addr[2 * half - 1] = bpf_htonl(bpf_ntohl(plan->backend[half - 1]) +
					     (n & ((1U << plan->backends_shift) - 1)));
	there->ports = plan->backend_port << 16 |
		       bpf_htons((__u16)(plan->port_first + (n >> plan->backends_shift)));
	there->addr_delta = (__u16)delta(sum_of(packet->key.addr, words(family)),
					 sum_of(there_addr, words(family)));
	there->port_delta = (__u16)delta(fold((*packet->ports & 0xffff) + (*packet->ports >> 16)),
					 fold((there->ports & 0xffff) + (there->ports >> 16)));
	there->hop = plan->to_backend;
	turn(family, back_addr, packet->key.addr);
	back->ports = turned(*packet->ports);
	back->addr_delta = (__u16)~there->addr_delta;
	back->port_delta = (__u16)~there->port_delta;
	back->hop = plan->to_client;
	turn(family, new->reply.key.addr, there_addr);
	if (family == AF_INET) {
		new->reply.key.v4.ports = turned(there->ports);
		new->reply.key.v4.protocol = packet->key.v4.protocol;
		failed = bpf_map_update_elem(&ref_flows4, &new->reply.key, back, BPF_NOEXIST) ||
			 bpf_map_update_elem(&ref_flows4, &packet->key, there, BPF_NOEXIST);
	} else {
		new->reply.key.v6.ports = turned(there->ports);
		new->reply.key.v6.protocol = packet->key.v6.protocol;
		failed = bpf_map_update_elem(&ref_flows6, &new->reply.key, back, BPF_NOEXIST) ||
			 bpf_map_update_elem(&ref_flows6, &packet->key, there, BPF_NOEXIST);
	}
	return failed ? 0 : there;
}

/* ---- the programs -------------------------------------------------------------------------------
 */

enum what { PARSE, NAT, NAT_FIB, NEW };

static __always_inline __u32 ask_fib(void *ctx, __u32 ifindex, const int family,
				     const struct flow *flow, struct next_hop *hop)
{
	struct bpf_fib_lookup fib = { .family = (__u8)family, .ifindex = ifindex };
	const __u32 *addr = (const __u32 *)(flow + 1);

	if (family == AF_INET) {
		fib.ipv4_src = addr[0];
		fib.ipv4_dst = addr[1];
	} else {
		__builtin_memcpy(fib.ipv6_src, addr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, addr + 4, sizeof(fib.ipv6_dst));
	}
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	__builtin_memcpy(hop->macs, fib.dmac, ETH_ALEN);
	__builtin_memcpy(hop->macs + ETH_ALEN, fib.smac, ETH_ALEN);
	return fib.ifindex;
}

/* The device it goes out by, or 0. */
static __always_inline __u32 handle(void *ctx, __u32 ifindex, const int family,
				    const enum what what, struct packet *packet, const void *end)
{
	struct next_hop hop;
	struct flow *flow;

	if (!parse(family, packet, end))
		return 0;
	if (what == PARSE) {
		/* Or none of it would be computed. */
		asm volatile("" : : "r"(&packet->key), "r"(packet->check) : "memory");
		return 0;
	}
	flow = find(family, packet);
	if (!flow && what == NEW)
		flow = begin(family, packet);
	if (!flow)
		return 0;
	if (what == NAT_FIB) {
		ifindex = ask_fib(ctx, ifindex, family, flow, &hop);
		if (!ifindex)
			return 0;
		rewrite(family, packet, flow, &hop);
		return ifindex;
	}
	rewrite(family, packet, flow, &flow->hop);
	return flow->hop.ifindex;
}

#define PROGRAM(hook, context, in_ifindex, name, what, up)                                    \
	SEC(#hook)                                                                            \
	int ref_##hook##_##name(struct context *ctx)                                          \
	{                                                                                     \
		const void *end = (void *)(long)ctx->data_end;                                \
		struct packet packet;                                                         \
		__u32 ifindex;                                                                \
                                                                                              \
		packet.eth = (void *)(long)ctx->data;                                         \
		packet.ip = packet.eth + 1;                                                   \
		if (packet.ip > end)                                                          \
			return up;                                                            \
		if (packet.eth->h_proto == bpf_htons(ETH_P_IP))                               \
			ifindex = handle(ctx, ctx->in_ifindex, AF_INET, what, &packet, end);  \
		else if (packet.eth->h_proto == bpf_htons(ETH_P_IPV6))                        \
			ifindex = handle(ctx, ctx->in_ifindex, AF_INET6, what, &packet, end); \
		else                                                                          \
			return up;                                                            \
		if (!ifindex)                                                                 \
			return up;                                                            \
		return (int)bpf_redirect(ifindex, 0);                                         \
	}

#define XDP(name, what) PROGRAM(xdp, xdp_md, ingress_ifindex, name, what, XDP_PASS)
#define TC(name, what)  PROGRAM(tc, __sk_buff, ifindex, name, what, TC_ACT_UNSPEC)

XDP(parse, PARSE)
XDP(nat, NAT)
XDP(nat_fib, NAT_FIB)
XDP(new, NEW)
TC(parse, PARSE)
TC(nat, NAT)
TC(nat_fib, NAT_FIB)
TC(new, NEW)

SEC("xdp")
int ref_xdp_empty(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("tc")
int ref_tc_empty(struct __sk_buff *ctx)
{
	(void)ctx;
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
