/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sink: on the lab's backend, where small UDP packets are measured: they end here, counted by the
 * device. All else goes to the backend's own stack.
 *
 * In XDP, because veth turns a frame that comes from the stack into one for XDP wherever the first
 * XDP program is: with this one that is paid once, whoever forwards: here, or in a node that has
 * XDP itself. (A NIC has no such cost.)
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	const struct ethhdr *eth = (void *)(long)ctx->data;
	const struct iphdr *ip = (const void *)(eth + 1);

	if ((const void *)(ip + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP) && ip->protocol == IPPROTO_UDP)
		return XDP_DROP;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
