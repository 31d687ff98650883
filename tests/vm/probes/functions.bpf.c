/* SPDX-License-Identifier: GPL-2.0-only */
/* BPF-to-BPF calls: static ones with packet pointers and a struct on the stack, a global one with
 * ctx. */
#include "probe.h"

struct packet {
	void *data, *end;
	__u32 sum;
};

static __noinline int parse(struct packet *packet, probe_ctx *ctx)
{
	struct ethhdr *eth;

	packet->data = probe_data(ctx);
	packet->end = probe_data_end(ctx);
	eth = packet->data;
	if ((void *)(eth + 1) > packet->end)
		return -1;
	packet->sum = eth->h_proto;
	return 0;
}

static __noinline __u32 sum_of(const __be16 *words, void *end)
{
	__u32 sum = 0;

	for (int i = 0; i < 10; i++) {
		if ((void *)(words + i + 1) > end)
			break;
		sum += words[i];
	}
	return sum;
}

/* Global: verified by itself. */
__noinline int classify(probe_ctx *ctx, __u32 seed)
{
	void *data = probe_data(ctx), *end = probe_data_end(ctx);
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return 0;
	return eth->h_proto == bpf_htons(ETH_P_IP) && seed;
}

PROBE int probe_functions(probe_ctx *ctx)
{
	struct packet packet = {};

	if (parse(&packet, ctx))
		return PASS;
	if (sum_of(packet.data, packet.end) == packet.sum)
		return DROP;
	return classify(ctx, packet.sum) ? PASS : DROP;
}

char _license[] SEC("license") = "GPL";
