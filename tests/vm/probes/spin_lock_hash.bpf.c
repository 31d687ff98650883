/* SPDX-License-Identifier: GPL-2.0-only */
/* The same lock in the value of a hash, and in a function of its own (not global: see global_lock).
 */
#include "probe.h"

struct scheduler {
	__u32 next;
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct scheduler);
	__uint(max_entries, 1024);
} schedulers SEC(".maps");

static __noinline __u32 take(struct scheduler *scheduler)
{
	__u32 next;

	bpf_spin_lock(&scheduler->lock);
	next = scheduler->next++;
	bpf_spin_unlock(&scheduler->lock);
	return next;
}

PROBE int probe_spin_lock_hash(probe_ctx *ctx)
{
	__u32 key = 0;
	struct scheduler *scheduler = bpf_map_lookup_elem(&schedulers, &key);

	if (!scheduler)
		return PASS;
	return take(scheduler) < 1000000 ? PASS : DROP;
}

char _license[] SEC("license") = "GPL";
