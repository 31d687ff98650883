/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_next_hop: next hop self. For the family of a session it is the session's own address; for the
 * other family an address of the adapter the session leaves by (rfc: 4760 §3 wants one of the
 * route's family). Addresses that are announced themselves (VIPs) are never taken.
 */
#ifndef SLB_ADVERTISE_BGP_NEXT_HOP_H
#define SLB_ADVERTISE_BGP_NEXT_HOP_H

#include "advertise/bgp/bgp_config.h"
#include "advertise/bgp/bgp_rib.h"

/* Fills one next hop per family; a family without one gets AF_UNSPEC. `local` and `peer` are the
 * addresses of the session. */
void bgp_next_hops_find(const struct bgp_config *config, const struct bgp_rib *rib,
			const struct addr *local, const struct addr *peer,
			struct bgp_next_hop ret[static BGP_FAMILY_COUNT]);

#endif
