/* SPDX-License-Identifier: GPL-2.0-only */
/* A bounded loop with lookups in it: the search for a free source port. */
#include "probe.h"

struct key {
	__be32 saddr, daddr;
	__be16 sport, dport;
	__u32 proto;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key);
	__type(value, __u64);
	__uint(max_entries, 65536);
} flows SEC(".maps");

PROBE int probe_loop(probe_ctx *ctx)
{
	struct key key = { .saddr = 1, .daddr = 2, .dport = 3, .proto = IPPROTO_TCP };
	__u32 start = bpf_get_prandom_u32();

	for (__u32 i = 0; i < 64; i++) {
		__u64 value = i;

		key.sport = bpf_htons((start + i) & 0x3fff);
		if (bpf_map_lookup_elem(&flows, &key))
			continue;
		if (!bpf_map_update_elem(&flows, &key, &value, BPF_NOEXIST))
			return PASS;
	}
	return DROP;
}

char _license[] SEC("license") = "GPL";
