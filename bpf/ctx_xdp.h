/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctx_xdp: what the pipeline needs of its hook, for XDP. ctx_tc.h has the same names; nothing else
 * in bpf/ may know which hook it runs in, but for CTX_RESOLVES_NEIGHBOUR.
 *
 * A frame is one linear stretch here, and one packet; its checksums are complete.
 */
#ifndef SLB_CTX_XDP_H
#define SLB_CTX_XDP_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "packet.h"

typedef struct xdp_md ctx_t;

#define CTX_UP   XDP_PASS
#define CTX_DROP XDP_DROP

/* XDP cannot send to a neighbour whose MAC is unknown: the packet goes up, where tc can. */
#define CTX_RESOLVES_NEIGHBOUR 0

/* As many bytes of IPv6 extension headers are looked at as in tc. */
#define CTX_EXTENSIONS_BYTES 88

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_data_end(const ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* Makes the first bytes of the frame readable by ctx_data. */
static __always_inline void ctx_pull(ctx_t *ctx)
{
	(void)ctx;
}

static __always_inline __u32 ctx_frame_bytes(const ctx_t *ctx)
{
	return (__u32)(ctx_data_end(ctx) - ctx_data(ctx));
}

/* The length of an IPv4 packet, of which the header says total_bytes. */
static __always_inline __u32 ctx_ipv4_bytes(const ctx_t *ctx, __u32 total_bytes, __u32 frame_bytes)
{
	(void)ctx;
	(void)frame_bytes;
	return total_bytes;
}

static __always_inline __u32 ctx_ifindex(const ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

/* Is this for us, as far as the link layer can tell, and without a VLAN tag kept beside the frame?
 */
static __always_inline int ctx_is_plain(const ctx_t *ctx, const struct ethhdr *eth)
{
	(void)ctx;
	return !(eth->h_dest[0] & 1); /* a group address */
}

/* A GSO frame stands for several packets: how many, and the payload of each (0 = it is one packet).
 */
static __always_inline __u32 ctx_segments(const ctx_t *ctx)
{
	(void)ctx;
	return 1;
}

static __always_inline __u32 ctx_segment_payload(const ctx_t *ctx)
{
	(void)ctx;
	return 0;
}

/* Updates the transport checksum for the flow's addresses and ports, and a TTL less one. Packet
 * pointers are void after it. */
static __always_inline void ctx_l4_checksum(ctx_t *ctx, const int family,
					    const struct packet *packet,
					    const struct slb_flow *flow)
{
	(void)ctx;
	(void)family;
	checksum_update_l4(packet->check, (__u32)flow->addr_delta + flow->port_delta,
			   packet->protocol == IPPROTO_UDP);
}

/* Both void all packet pointers, and return 0 when it worked. */
static __always_inline long ctx_resize(ctx_t *ctx, __u32 bytes)
{
	__u32 frame_bytes = ctx_frame_bytes(ctx);

	/* verifier: or the compiler adds to data_end before it subtracts from it ("prohibited"). */
	asm volatile("" : "+r"(frame_bytes));
	return bpf_xdp_adjust_tail(ctx, (int)(bytes - frame_bytes));
}

static __always_inline long ctx_grow_head(ctx_t *ctx, __u32 bytes)
{
	return bpf_xdp_adjust_head(ctx, -(int)bytes);
}

/* The frame was changed by `delta` (a one's complement sum), which no checksum in it makes up for.
 */
static __always_inline void ctx_frame_changed(ctx_t *ctx, __u32 delta)
{
	(void)ctx;
	(void)delta;
}

static __always_inline int ctx_redirect(ctx_t *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return (int)bpf_redirect(ifindex, 0);
}

static __always_inline int ctx_redirect_neighbour(ctx_t *ctx, struct bpf_fib_lookup *fib)
{
	(void)ctx;
	(void)fib;
	return XDP_PASS;
}

#endif
