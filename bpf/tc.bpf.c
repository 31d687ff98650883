/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tc: the pipeline at tc ingress: where XDP cannot be attached, and behind XDP for what that hands
 * up. Attached by user/datapath.
 */
#include "ctx_tc.h"
#include "pipeline.h"

SEC("tc")
int slb_tc(struct __sk_buff *ctx)
{
	return pipeline(ctx);
}

char LICENSE[] SEC("license") = "GPL";
