/* SPDX-License-Identifier: GPL-2.0-only */
/* A lock in the values of maps that are inside another. */
#include "probe.h"

struct scheduler {
	struct bpf_spin_lock lock;
	__u32 next;
};

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct scheduler);
	__uint(max_entries, 4);
} inner_a SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 16);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { &inner_a } };

PROBE int probe_inner_spin_lock(probe_ctx *ctx)
{
	__u32 key = 0;
	void *inner = bpf_map_lookup_elem(&outer, &key);
	struct scheduler *scheduler;

	if (!inner || !(scheduler = bpf_map_lookup_elem(inner, &key)))
		return PASS;
	bpf_spin_lock(&scheduler->lock);
	scheduler->next++;
	bpf_spin_unlock(&scheduler->lock);
	return PASS;
}

char _license[] SEC("license") = "GPL";
