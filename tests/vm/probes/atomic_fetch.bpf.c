/* SPDX-License-Identifier: GPL-2.0-only */
/* An atomic that fetches: 5.12 and later. Built with -mcpu=v3. */
#include "probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} next SEC(".maps");

PROBE int probe_atomic_fetch(probe_ctx *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&next, &key);

	return value && __sync_fetch_and_add(value, 1) == 77 ? DROP : PASS;
}

char _license[] SEC("license") = "GPL";
