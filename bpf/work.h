/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * work: what the stages off the established path hand to each other, on the stack of slow() in
 * pipeline.h.
 *
 * They are functions of their own (a frame each instead of one that holds all; registers of the
 * established path stay free), all of one form: (context, family, work) → verdict or GO_ON.
 */
#ifndef SLB_WORK_H
#define SLB_WORK_H

#include "packet.h"

struct work {
	union flow_key key;
	struct packet packet;
	void *error; /* the ICMP header, when the packet is an error about the flow (icmp.h) */
	const struct slb_config *config;
	const struct slb_service *service; /* of the packet's destination, or NULL */
	struct slb_flow *flow;             /* of the packet, or NULL */
	__u32 is_half_open;                /* where that flow is */
	__u32 now_s;
	struct bpf_fib_lookup fib; /* of the last lookup of a next hop */
};

/* stage_v4 and stage_v6 as functions of their own, and stage_call to call the right one. */
#define STAGE(stage)                                                                             \
	static __noinline int stage##_v4(ctx_t *ctx, struct work *work)                          \
	{                                                                                        \
		return stage(ctx, AF_INET, work);                                                \
	}                                                                                        \
	static __noinline int stage##_v6(ctx_t *ctx, struct work *work)                          \
	{                                                                                        \
		return stage(ctx, AF_INET6, work);                                               \
	}                                                                                        \
	static __always_inline int stage##_call(ctx_t *ctx, const int family, struct work *work) \
	{                                                                                        \
		return family == AF_INET ? stage##_v4(ctx, work) : stage##_v6(ctx, work);        \
	}

#endif
