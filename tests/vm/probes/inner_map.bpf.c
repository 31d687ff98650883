/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Backend tables of different sizes inside one array of maps, looked up in a loop.
 *
 * verifier: 5.10, 6.1, 6.12: the loop's counter must not be the variable whose address is given as
 * key. It then lives on the stack in four bytes, whose value is not followed, and the loop has no
 * bound (ENOSPC, "too complex").
 */
#include "probe.h"

struct backend {
	__be32 addr;
	__be16 port;
	__u16 weight;
};

struct backends {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct backend);
	__uint(max_entries, 1);
};

struct backends_4 {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct backend);
	__uint(max_entries, 4);
} small SEC(".maps");

struct backends_65537 {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct backend);
	__uint(max_entries, 65537);
} large SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__array(values, struct backends);
} services SEC(".maps") = { .values = { (void *)&small, (void *)&large } };

PROBE int probe_inner_map(probe_ctx *ctx)
{
	__u32 service = ctx->ingress_ifindex & 1, sum = 0;

	for (__u32 i = 0; i < 64; i++) {
		void *table = bpf_map_lookup_elem(&services, &service);
		struct backend *backend;
		__u32 key;

		if (!table)
			return PASS;
		/* Keeps the compiler from using the key as the counter. */
		asm volatile("%0 = %1" : "=r"(key) : "r"(i));
		backend = bpf_map_lookup_elem(table, &key);
		if (!backend)
			break;
		sum += backend->weight;
		if (backend->port == 0)
			break;
	}
	return sum > 1000000 ? DROP : PASS;
}

char _license[] SEC("license") = "GPL";
