/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * netfilter_mark: tells cheaply whether the rules of this network namespace may have changed: the
 * generation of nftables (linux/netfilter/nf_tables.h, NFT_MSG_GETGEN), which every change of every
 * table raises, and number and size of the rules of the older nat tables
 * (linux/netfilter_ipv4/ip_tables.h, IPT_SO_GET_INFO). Two equal marks: nothing was changed but,
 * in the older tables, perhaps one rule for another of the same size. Called by masquerade.c only.
 */
#ifndef SLB_DATAPATH_NETFILTER_MARK_H
#define SLB_DATAPATH_NETFILTER_MARK_H

#include <stdbool.h>
#include <stdint.h>

struct netfilter_mark {
	uint32_t nft_generation; /* 0: no nftables */
	uint32_t entries[2];     /* of iptables and ip6tables; 0: no such table */
	uint32_t size_bytes[2];
};

struct netfilter_mark netfilter_mark_read(void);

bool netfilter_mark_equal(const struct netfilter_mark *a, const struct netfilter_mark *b);

#endif
