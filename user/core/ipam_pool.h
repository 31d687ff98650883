/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipam_pool: the addresses that may become VIPs, as --ipamRange gives them:
 *
 *   192.168.0.85-192.168.0.90,10.0.8.0/24,203.0.113.7,2001:db8:0:5::/64
 *
 * Ranges, prefixes and single addresses, of both families, in any order; what overlaps is merged.
 * Memory goes with the number of items, not of addresses. A prefix leaves out what is not a host's:
 * network and broadcast address of IPv4 prefixes shorter than /31 (RFC 3021), the subnet-router
 * anycast address of IPv6 prefixes shorter than /127 (RFC 4291, 2.6.1; RFC 6164).
 */
#ifndef SLB_CORE_IPAM_POOL_H
#define SLB_CORE_IPAM_POOL_H

#include "core/addr_set.h"
#include "lib/errbuf.h"

struct ipam_pool {
	char *text;                /* as it was given, for messages */
	struct addr_range *ranges; /* sorted, disjoint */
	size_t count;
};

/* -EINVAL with a sentence that names the item at fault, or -ENOMEM. */
int ipam_pool_parse(const char *text, struct ipam_pool *ret, struct errbuf *err);
void ipam_pool_free(struct ipam_pool *pool);

bool ipam_pool_contains(const struct ipam_pool *pool, const struct addr *addr);

/* Moves *addr to the first address of the pool that is of its family and not below it; false: none.
 */
bool ipam_pool_seek(const struct ipam_pool *pool, struct addr *addr);

/* How many addresses of this family; UINT64_MAX when more. */
uint64_t ipam_pool_size(const struct ipam_pool *pool, int family);

#endif
