/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * source: makes the packets that a program is measured with, and calls it.
 *
 * BPF_PROG_TEST_RUN runs a program again and again on one frame, which a NAT changes: the second
 * run would meet another packet than the first. So the program that is run is this one: it writes
 * the whole head of the next flow's packet over the frame and tail-calls what is measured. What
 * this costs is measured with an empty program in the other's place, and taken off.
 *
 * Flow i is client address `addr_first + i / ports`, port `port_first + i % ports` (a request), or
 * backend `addr_first + i % addresses`, towards source port `port_first + i / addresses` (a reply):
 * where the load balancer puts it when flows begin in turn, with round robin.
 *
 * Stores are laid out so that every field lies in one store: a load that spans two waits for both
 * to leave the store buffer, as no packet from a device makes it wait.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Of the frame, as far as it is written. Whatever is longer stays as it was given. */
#define HEAD_BYTES 80
#define BITS       24 /* flows there can be: 2^24 */

/* Offsets in the frame. */
#define V4_ADDRESSES 26
#define V4_PORTS     34
#define V6_SADDR_END 34 /* its last 8 bytes are from 30 on, the last 4 from here */
#define V6_PORTS     54

typedef __u16 __attribute__((may_alias)) word16;
typedef __u32 __attribute__((may_alias)) word32;
typedef __u64 __attribute__((may_alias)) word64;

/* Written by plan.py (Source), but for `n`, which goes on. */
struct source {
	__u8 head[HEAD_BYTES];
	__u64 n; /* packets made */
	__u32 flows_mask;
	__u32 shuffle_shift; /* half the mask's bits; 0 = in turn */
	__u32 addr_first;    /* host order; IPv6: the last four bytes */
	__u32 port_first;
	__u32 shift; /* log2 of ports per client, or of backends */
	__u32 is_reply;
	__u32 is_v6;
	__u32 is_fixed;    /* the head as it is */
	__u32 is_verified; /* tc: the checksum counts as checked by the device */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xdp_target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tc_target SEC(".maps");

/* The next flow: in turn, or each once in an order without pattern (a bijection of the mask's
 * bits). */
static __always_inline __u32 flow_next(struct source *source)
{
	__u32 mask = source->flows_mask, shift = source->shuffle_shift;
	__u32 i = (__u32)source->n++ & mask;

	if (!shift)
		return i;
	i ^= i >> shift;
	i = (i * 0x9e3779b1) & mask;
	i ^= i >> shift;
	i = (i * 0x85ebca6b) & mask;
	return i ^ i >> shift;
}

static __always_inline void copy(void *to, const void *from, int first, int last)
{
#pragma unroll
	for (int i = first; i < last; i += 8)
		*(word64 *)(to + i) = *(const word64 *)(from + i);
}

/* The varying address and port, in wire order, and the ports as they lie in the packet. */
struct flow {
	__u32 addr;
	__u32 ports;
};

static __always_inline struct flow flow_of(const struct source *source, int ports_offset)
{
	__u32 i = flow_next((struct source *)source);
	__u32 low = i & ((1U << source->shift) - 1), high = i >> source->shift;
	__u32 ports = *(const word32 *)(source->head + ports_offset);
	__u32 addr, port;

	if (source->is_reply) {
		addr = source->addr_first + low;
		port = bpf_htons((__u16)(source->port_first + high));
		ports = (ports & 0xffff) | port << 16;
	} else {
		addr = source->addr_first + high;
		port = bpf_htons((__u16)(source->port_first + low));
		ports = (ports & 0xffff0000) | port;
	}
	return (struct flow){ .addr = bpf_htonl(addr), .ports = ports };
}

static __always_inline void write_v4(void *frame, struct source *source)
{
	struct flow flow = flow_of(source, V4_PORTS);
	__u64 daddr = *(const word32 *)(source->head + V4_ADDRESSES + 4);
	__u64 after = *(const word32 *)(source->head + V4_PORTS + 4);

	*(word64 *)frame = *(const word64 *)source->head;
	copy(frame, source->head, 6, 22);
	*(word32 *)(frame + 22) = *(const word32 *)(source->head + 22);
	*(word64 *)(frame + V4_ADDRESSES) = daddr << 32 | flow.addr;
	*(word64 *)(frame + V4_PORTS) = after << 32 | flow.ports;
	copy(frame, source->head, V4_PORTS + 8, V4_PORTS + 24);
}

static __always_inline void write_v6(void *frame, struct source *source)
{
	struct flow flow = flow_of(source, V6_PORTS);
	__u64 before = *(const word32 *)(source->head + V6_SADDR_END - 4);
	__u64 after = *(const word32 *)(source->head + V6_PORTS + 4);

	*(word64 *)frame = *(const word64 *)source->head;
	copy(frame, source->head, 6, 30);
	*(word64 *)(frame + V6_SADDR_END - 4) = (__u64)flow.addr << 32 | before;
	copy(frame, source->head, 38, V6_PORTS);
	*(word64 *)(frame + V6_PORTS) = after << 32 | flow.ports;
	copy(frame, source->head, V6_PORTS + 8, V6_PORTS + 24);
}

/* Returns whether the frame has room for the head. */
static __always_inline int write_frame(void *frame, const void *end)
{
	__u32 zero = 0;
	struct source *source = bpf_map_lookup_elem(&sources, &zero);

	if (!source || frame + HEAD_BYTES > end)
		return 0;
	if (source->is_fixed)
		copy(frame, source->head, 0, HEAD_BYTES);
	else if (source->is_v6)
		write_v6(frame, source);
	else
		write_v4(frame, source);
	return 1;
}

SEC("xdp")
int source_xdp(struct xdp_md *ctx)
{
	if (write_frame((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		bpf_tail_call(ctx, &xdp_target, 0);
	return XDP_ABORTED;
}

SEC("tc")
int source_tc(struct __sk_buff *ctx)
{
	__u32 zero = 0;
	const struct source *source = bpf_map_lookup_elem(&sources, &zero);

	if (source && source->is_verified)
		bpf_csum_level(ctx, BPF_CSUM_LEVEL_INC);
	if (write_frame((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		bpf_tail_call(ctx, &tc_target, 0);
	return TC_ACT_STOLEN;
}

char LICENSE[] SEC("license") = "GPL";
