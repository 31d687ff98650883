/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * clock: the second in which a flow was last seen, made from jiffies, which cost nothing to read.
 *
 * invariant: both hooks and the daemon tell the same time. The daemon sets slb_second_multiplier
 * before loading and reads the clock by running slb_clock (xdp.bpf.c), never by computing it.
 */
#ifndef SLB_CLOCK_H
#define SLB_CLOCK_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* 2^32 / HZ, rounded; HZ is 1 / clock_getres(CLOCK_MONOTONIC_COARSE). Preset for 250. */
const volatile __u64 slb_second_multiplier = (1ULL << 32) / 250;

static __always_inline __u32 clock_now_s(void)
{
	return (__u32)((bpf_jiffies64() * slb_second_multiplier) >> 32);
}

#endif
