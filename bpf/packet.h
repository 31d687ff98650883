/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * packet: the one description of a packet that the stages share, and what is alike in the two
 * families.
 *
 * Every stage is written once and takes `family`, a constant to the compiler. Keys and flows of
 * both families begin alike; only the addresses differ in length, and these helpers know where they
 * are.
 */
#ifndef SLB_PACKET_H
#define SLB_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "slb_abi.h"

/* As the kernel numbers them; <sys/socket.h> is not for BPF. */
#define AF_INET  2
#define AF_INET6 10

/* Loads of whole words from byte arrays: the compiler would go byte by byte. Kernels that check
 * alignment (none with efficient unaligned access: x86, arm, arm64) would refuse the program, not
 * misread. */
typedef __u32 __attribute__((may_alias)) word32;
typedef __u64 __attribute__((may_alias)) word64;

union flow_key {
	struct slb_flow_key4 v4;
	struct slb_flow_key6 v6;
} __attribute__((aligned(8)));

union flow_value {
	struct slb_flow common;
	struct slb_flow4 v4;
	struct slb_flow6 v6;
} __attribute__((aligned(8)));

/* What follows the addresses in a flow key. */
struct flow_key_tail {
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 pad[3];
};

/* Pointers lie in the frame and are valid until a helper may move it (tc: checksum updates). */
struct packet {
	struct ethhdr *eth;
	void *ip;           /* struct iphdr or struct ipv6hdr */
	__u32 *ports;       /* source and destination, where TCP and UDP begin */
	__u16 *check;       /* TCP's or UDP's checksum */
	__u32 check_offset; /* in the frame */
	__u32 bytes;        /* of the IP packet, without what pads the frame */
	__u32 header_bytes; /* IP and transport headers */
	__u32 sequence;     /* TCP, host order */
	__u32 acknowledged;
	__u8 protocol;  /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 tcp_flags; /* 0 for UDP */
	__u8 ttl;       /* or hop limit */
};

static __always_inline __u32 addr_bytes(const int family)
{
	return family == AF_INET ? 4 : SLB_ADDR_BYTES;
}

static __always_inline void *key_saddr(const union flow_key *key)
{
	return (void *)key;
}

static __always_inline void *key_daddr(const int family, const union flow_key *key)
{
	return (void *)key + addr_bytes(family);
}

static __always_inline struct flow_key_tail *key_tail(const int family, const union flow_key *key)
{
	return (void *)key + 2 * addr_bytes(family);
}

/* The padding, which is part of the key, too. */
static __always_inline void key_set_protocol(struct flow_key_tail *tail, __u8 protocol)
{
	*(word32 *)&tail->protocol = bpf_ntohl((__u32)protocol << 24);
}

/* The addresses a flow's packets get. */
static __always_inline void *flow_saddr(const struct slb_flow *flow)
{
	return (void *)(flow + 1);
}

static __always_inline void *flow_daddr(const int family, const struct slb_flow *flow)
{
	return (void *)(flow + 1) + addr_bytes(family);
}

static __always_inline void addr_copy(const int family, void *to, const void *from)
{
	if (family == AF_INET) {
		*(word32 *)to = *(const word32 *)from;
	} else {
		((word64 *)to)[0] = ((const word64 *)from)[0];
		((word64 *)to)[1] = ((const word64 *)from)[1];
	}
}

/* Source and destination, which lie one after the other in headers, keys and flows alike. */
static __always_inline void addr_copy_pair(const int family, void *to, const void *from)
{
	if (family == AF_INET) {
		*(word64 *)to = *(const word64 *)from;
	} else {
		addr_copy(AF_INET6, to, from);
		addr_copy(AF_INET6, to + SLB_ADDR_BYTES, from + SLB_ADDR_BYTES);
	}
}

static __always_inline int addr_is_equal(const int family, const void *a, const void *b)
{
	if (family == AF_INET)
		return *(const word32 *)a == *(const word32 *)b;
	return ((const word64 *)a)[0] == ((const word64 *)b)[0] &&
	       ((const word64 *)a)[1] == ((const word64 *)b)[1];
}

/* One's complement sum, folded. */
static __always_inline __u32 addr_sum(const int family, const void *addr)
{
	const word32 *words = addr;
	__u64 sum = words[0];

	if (family == AF_INET6)
		sum += (__u64)words[1] + words[2] + words[3];
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	return checksum_fold((__u32)sum);
}

/* Where the source address stands in the IP header, the destination behind it. */
static __always_inline void *packet_addresses(const int family, const struct packet *packet)
{
	return packet->ip + (family == AF_INET ? __builtin_offsetof(struct iphdr, saddr)
					       : __builtin_offsetof(struct ipv6hdr, saddr));
}

#endif
