/* SPDX-License-Identifier: GPL-2.0-only */
/* A spin lock inside the value of an array: an exact round robin without atomics that fetch. */
#include "probe.h"

struct scheduler {
	struct bpf_spin_lock lock;
	__u32 next;
	__u32 backends;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct scheduler);
	__uint(max_entries, 1024);
} schedulers SEC(".maps");

PROBE int probe_spin_lock(probe_ctx *ctx)
{
	__u32 key = 0, chosen;
	struct scheduler *scheduler = bpf_map_lookup_elem(&schedulers, &key);

	if (!scheduler)
		return PASS;
	bpf_spin_lock(&scheduler->lock);
	chosen = scheduler->next++;
	if (scheduler->next >= scheduler->backends)
		scheduler->next = 0;
	bpf_spin_unlock(&scheduler->lock);
	return chosen < 1000000 ? PASS : DROP;
}

char _license[] SEC("license") = "GPL";
