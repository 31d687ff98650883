/* SPDX-License-Identifier: GPL-2.0-only */
/* Two million flows, allocated beforehand. */
#include "probe.h"

struct key {
	__u32 words[4];
};

struct value {
	__u64 words[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct key);
	__type(value, struct value);
	__uint(max_entries, 2097152);
} flows SEC(".maps");

PROBE int probe_big_map(probe_ctx *ctx)
{
	struct key key = { .words = { 1, 2, 3, 4 } };

	return bpf_map_lookup_elem(&flows, &key) ? DROP : PASS;
}

char _license[] SEC("license") = "GPL";
