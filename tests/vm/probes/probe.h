/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the probes share. A probe is one small program set that asks the kernel one question the
 * design depends on; test_load.py loads every one of them in every kernel.
 *
 * HOOK_XDP or HOOK_TC is defined by the build: each probe is built for both.
 */
#ifndef SLB_PROBE_H
#define SLB_PROBE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifdef HOOK_XDP
typedef struct xdp_md probe_ctx;
#define PROBE SEC("xdp")
#define PASS  XDP_PASS
#define DROP  XDP_DROP
#else
typedef struct __sk_buff probe_ctx;
#define PROBE SEC("tc")
#define PASS  TC_ACT_OK
#define DROP  TC_ACT_SHOT
#endif

static __always_inline void *probe_data(const probe_ctx *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *probe_data_end(const probe_ctx *ctx)
{
	return (void *)(long)ctx->data_end;
}

#endif
