/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctx_tc: what the pipeline needs of its hook, for tc ingress; the same names as ctx_xdp.h.
 *
 * A frame may be in pieces, may stand for many packets (GSO, GRO), and its transport checksum may
 * be left to the device that sends it (CHECKSUM_PARTIAL). Direct writes are right for all that but
 * the checksum.
 */
#ifndef SLB_CTX_TC_H
#define SLB_CTX_TC_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "packet.h"

typedef struct __sk_buff ctx_t;

/* Not TC_ACT_OK: filters of others on the same device get their turn. */
#define CTX_UP   TC_ACT_UNSPEC
#define CTX_DROP TC_ACT_SHOT

#define CTX_RESOLVES_NEIGHBOUR 1

/* Ethernet, the longest IPv4 header, then the longest TCP header, or an ICMP error and what it
 * quotes of a packet. */
#define CTX_PULL_BYTES (14 + 60 + 8 + 60 + 20)

/* How many bytes of IPv6 extension headers leave room for TCP's header within these. */
#define CTX_EXTENSIONS_BYTES 88

/* skb->pkt_type, of <linux/if_packet.h>, which does not compile for BPF. */
#define CTX_PACKET_HOST 0

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_data_end(const ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline void ctx_pull(ctx_t *ctx)
{
	__u32 want = ctx->len < CTX_PULL_BYTES ? ctx->len : CTX_PULL_BYTES;

	if (ctx_data(ctx) + want > ctx_data_end(ctx))
		bpf_skb_pull_data(ctx, want);
}

static __always_inline __u32 ctx_frame_bytes(const ctx_t *ctx)
{
	return ctx->len;
}

/* Big TCP: a GSO frame too long for the header's field has 0 there. */
static __always_inline __u32 ctx_ipv4_bytes(const ctx_t *ctx, __u32 total_bytes, __u32 frame_bytes)
{
	if (!total_bytes && ctx->gso_size)
		return frame_bytes;
	return total_bytes;
}

static __always_inline __u32 ctx_ifindex(const ctx_t *ctx)
{
	return ctx->ifindex;
}

static __always_inline int ctx_is_plain(const ctx_t *ctx, const struct ethhdr *eth)
{
	(void)eth;
	return ctx->pkt_type == CTX_PACKET_HOST && !ctx->vlan_present;
}

static __always_inline __u32 ctx_segments(const ctx_t *ctx)
{
	return ctx->gso_segs ?: 1;
}

static __always_inline __u32 ctx_segment_payload(const ctx_t *ctx)
{
	return ctx->gso_size;
}

/*
 * A checksum that the device has verified (CHECKSUM_UNNECESSARY: what real ones deliver) is updated
 * in place. Otherwise only the kernel knows whether the field holds a checksum or the sum of the
 * pseudo header alone.
 *
 * bpf_csum_update is for CHECKSUM_COMPLETE, the sum over the whole frame, and refused, rightly, for
 * all else. In IPv4 the frame's sum stays as it was but for what bpf_l4_csum_replace does itself.
 * In IPv6, where addresses and transport checksum make up for each other, that helper is wrong by
 * the addresses, and nothing makes up for the hop limit.
 */
static __always_inline void ctx_l4_checksum(ctx_t *ctx, const int family,
					    const struct packet *packet,
					    const struct slb_flow *flow)
{
	const int zero_is_none = packet->protocol == IPPROTO_UDP;
	const __u64 mangled = zero_is_none ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 check_offset = packet->check_offset;
	__u32 addr_delta = flow->addr_delta;
	__u32 port_delta = flow->port_delta;

	if (zero_is_none && !*packet->check) {
		if (family == AF_INET6)
			port_delta += addr_delta + HOP_LIMIT_DELTA;
		bpf_csum_update(ctx, port_delta);
		return;
	}
	if (bpf_csum_level(ctx, BPF_CSUM_LEVEL_QUERY) >= 0) {
		checksum_update_l4(packet->check, addr_delta + port_delta, zero_is_none);
		return;
	}
	bpf_l4_csum_replace(ctx, check_offset, 0, addr_delta, mangled | BPF_F_PSEUDO_HDR);
	bpf_l4_csum_replace(ctx, check_offset, 0, port_delta, mangled);
	if (family == AF_INET6)
		bpf_csum_update(ctx, addr_delta + HOP_LIMIT_DELTA);
}

/* Both void all packet pointers, and return 0 when it worked. */
static __always_inline long ctx_resize(ctx_t *ctx, __u32 bytes)
{
	long failed = bpf_skb_change_tail(ctx, bytes, 0);

	ctx_pull(ctx);
	return failed;
}

static __always_inline long ctx_grow_head(ctx_t *ctx, __u32 bytes)
{
	long failed = bpf_skb_change_head(ctx, bytes, 0);

	ctx_pull(ctx);
	return failed;
}

/* The frame was changed by `delta` (a one's complement sum), which no checksum in it makes up for.
 */
static __always_inline void ctx_frame_changed(ctx_t *ctx, __u32 delta)
{
	bpf_csum_update(ctx, delta);
}

static __always_inline int ctx_redirect(ctx_t *ctx, __u32 ifindex)
{
	(void)ctx;
	return (int)bpf_redirect(ifindex, 0);
}

/* Sends by a neighbour that the kernel resolves first, holding the packet meanwhile. fib: of a
 * lookup that ended with BPF_FIB_LKUP_RET_NO_NEIGH: the device, and the next hop's address where
 * the destination was. */
static __always_inline int ctx_redirect_neighbour(ctx_t *ctx, struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh hop = { .nh_family = fib->family };

	(void)ctx;
	if (fib->family == AF_INET)
		hop.ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(hop.ipv6_nh, fib->ipv6_dst, sizeof(hop.ipv6_nh));
	/* verifier: a constant, or it takes the result for any number, GO_ON among them. */
	if (bpf_redirect_neigh(fib->ifindex, &hop, sizeof(hop), 0) != TC_ACT_REDIRECT)
		return TC_ACT_SHOT;
	return TC_ACT_REDIRECT;
}

#endif
