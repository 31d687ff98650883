/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * checksum: one's complement sums and their incremental update.
 *
 * rfc: 1624. Sums are over 16-bit words as they lie in memory, so that byte order never matters.
 * invariant: an update keeps a right checksum right, with the very bits a full computation gives,
 * and a wrong one wrong: ~field + delta is folded from a positive number and so never becomes 0 by
 * itself.
 */
#ifndef SLB_CHECKSUM_H
#define SLB_CHECKSUM_H

#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* What a TTL less one adds to the IPv4 header's sum, and a hop limit less one to the frame's. */
#define TTL_DELTA       ((__u32)bpf_htons(0xfeff))
#define HOP_LIMIT_DELTA ((__u32)bpf_htons(0xfffe))

/* To 16 bits; sum below 2^32 - 2^16. */
static __always_inline __u32 checksum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* What to add to a sum in which `before` is replaced by `after`; both folded. */
static __always_inline __u32 checksum_delta(__u32 before, __u32 after)
{
	return checksum_fold(after + (~before & 0xffff));
}

/* delta may be the sum of a few deltas, not folded. */
static __always_inline void checksum_update(__u16 *field, __u32 delta)
{
	*field = (__u16)~checksum_fold((~(__u32)*field & 0xffff) + delta);
}

static __always_inline void checksum_update_l4(__u16 *field, __u32 delta, int zero_is_none)
{
	if (zero_is_none && !*field)
		return;
	checksum_update(field, delta);
	if (zero_is_none && !*field)
		*field = 0xffff;
}

#endif
