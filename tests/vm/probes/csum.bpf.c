/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Destination NAT to 10.77.0.2:8080 and back for what comes to 10.77.0.9:80, checksums by
 * difference: under tc by one bpf_l4_csum_replace() with BPF_F_PSEUDO_HDR for the addresses and one
 * without for the ports, so that packets whose checksum the device fills in stay right; under XDP
 * by hand.
 */
#include "probe.h"

#define VIP          bpf_htonl(0x0a4d0009)
#define BACKEND      bpf_htonl(0x0a4d0002)
#define VIP_PORT     bpf_htons(80)
#define BACKEND_PORT bpf_htons(8080)

static __always_inline __u32 difference(__u32 from, __u32 to)
{
	__u64 sum = (__u64)(__u32)~from + to;

	return (__u32)((sum & 0xffffffff) + (sum >> 32));
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff) + (sum >> 48);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static __always_inline int rewrite(probe_ctx *ctx, __be32 from, __be32 to, __be16 from_port,
				   __be16 to_port, int source)
{
	void *data = probe_data(ctx), *end = probe_data_end(ctx);
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_TCP || ip->ihl != 5)
		return PASS;
	if ((source ? ip->saddr : ip->daddr) != from ||
	    (source ? tcp->source : tcp->dest) != from_port)
		return PASS;
	if (source) {
		ip->saddr = to;
		tcp->source = to_port;
	} else {
		ip->daddr = to;
		tcp->dest = to_port;
	}
	ip->check = (__u16)~fold((__u64)(__u16)~ip->check + difference(from, to));
#ifdef HOOK_XDP
	tcp->check = (__u16)~fold((__u64)(__u16)~tcp->check + difference(from, to) +
				  difference(from_port, to_port));
#else
	const __u32 offset = sizeof(*eth) + sizeof(*ip) + __builtin_offsetof(struct tcphdr, check);

	if (bpf_l4_csum_replace(ctx, offset, 0, difference(from, to), BPF_F_PSEUDO_HDR) ||
	    bpf_l4_csum_replace(ctx, offset, 0, difference(from_port, to_port), 0))
		return DROP;
#endif
	return PASS;
}

PROBE int probe_csum_in(probe_ctx *ctx)
{
	return rewrite(ctx, VIP, BACKEND, VIP_PORT, BACKEND_PORT, 0);
}

PROBE int probe_csum_out(probe_ctx *ctx)
{
	return rewrite(ctx, BACKEND, VIP, BACKEND_PORT, VIP_PORT, 1);
}

char _license[] SEC("license") = "GPL";
