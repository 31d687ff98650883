/* SPDX-License-Identifier: GPL-2.0-only */
/* One pipeline under both hooks, with every kind of map and helper that the datapath takes for
 * granted. */
#include "probe.h"

struct flow_key {
	__be32 saddr, daddr;
	__be16 sport, dport;
	__u32 proto;
};

struct flow {
	__be32 saddr, daddr;
	__be16 sport, dport;
	__u16 ip_delta, l4_delta;
	__u32 seen;
	__u32 ifindex;
	__u8 smac[6], dmac[6];
	__u64 bytes;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(max_entries, 65536);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(max_entries, 65536);
} half_open SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 64);
} counters SEC(".maps");

const volatile __u32 tunable_ttl = 64;

static __always_inline void count(__u32 index)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &index);

	if (counter)
		(*counter)++;
}

static __always_inline int next_hop(probe_ctx *ctx, struct flow *flow)
{
	struct bpf_fib_lookup fib = {
		.family = 2,
		.l4_protocol = IPPROTO_TCP,
		.ipv4_src = flow->saddr,
		.ipv4_dst = flow->daddr,
		.ifindex = ctx->ingress_ifindex,
	};

	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return -1;
	__builtin_memcpy(flow->smac, fib.smac, 6);
	__builtin_memcpy(flow->dmac, fib.dmac, 6);
	flow->ifindex = fib.ifindex;
	return 0;
}

PROBE int probe_pipeline(probe_ctx *ctx)
{
	void *data = probe_data(ctx), *end = probe_data_end(ctx);
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct flow_key key = {};
	struct flow *flow;

	if ((void *)(tcp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_TCP || ip->ihl != 5)
		return PASS;
	key.saddr = ip->saddr;
	key.daddr = ip->daddr;
	key.sport = tcp->source;
	key.dport = tcp->dest;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow) {
		struct flow fresh = { .saddr = ip->saddr, .daddr = ip->daddr };

		count(1);
		if (next_hop(ctx, &fresh))
			return PASS;
		bpf_map_update_elem(&half_open, &key, &fresh, BPF_NOEXIST);
		return bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST) ? DROP : PASS;
	}
	flow->seen = (__u32)bpf_jiffies64();
	__sync_fetch_and_add(&flow->bytes, (__u64)(end - data));
	count(0);
	if (ip->ttl <= 1 || tunable_ttl == 0)
		return PASS;
	__builtin_memcpy(eth->h_source, flow->smac, 6);
	__builtin_memcpy(eth->h_dest, flow->dmac, 6);
	return bpf_redirect(flow->ifindex, 0);
}

char _license[] SEC("license") = "GPL";
