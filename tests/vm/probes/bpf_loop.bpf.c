/* SPDX-License-Identifier: GPL-2.0-only */
/* bpf_loop(): 5.17 and later. */
#include "probe.h"

static int step(__u32 index, void *context)
{
	*(__u32 *)context += index;
	return 0;
}

PROBE int probe_bpf_loop(probe_ctx *ctx)
{
	__u32 sum = ctx->ingress_ifindex;

	bpf_loop(64, step, &sum, 0);
	return sum == 77 ? DROP : PASS;
}

char _license[] SEC("license") = "GPL";
