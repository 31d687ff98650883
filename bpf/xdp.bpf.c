/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * xdp: the pipeline at the XDP hook, and the clock for the daemon. Attached by user/datapath.
 */
#include "ctx_xdp.h"
#include "pipeline.h"

SEC("xdp")
int slb_xdp(struct xdp_md *ctx)
{
	return pipeline(ctx);
}

/* Never attached: the daemon reads the clock by BPF_PROG_TEST_RUN. */
SEC("xdp")
int slb_clock(struct xdp_md *ctx)
{
	(void)ctx;
	return (int)clock_now_s();
}

char LICENSE[] SEC("license") = "GPL";
