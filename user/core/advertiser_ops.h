/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * advertiser_ops: what core asks of whatever makes the network bring a VIP's packets here
 * (layer 2: address on the adapter, ARP and NDP; layer 3: BGP; or a test's double).
 *
 * A VIP may serve several load balancers: core calls prepare() for the first and withdraw() for the
 * last only. All calls are synchronous in effect and idempotent; what needs time (repeats, pacing,
 * BGP updates) goes on by itself on the loop.
 */
#ifndef SLB_CORE_ADVERTISER_OPS_H
#define SLB_CORE_ADVERTISER_OPS_H

#include "lib/addr.h"
#include "lib/errbuf.h"

struct advertiser;

struct advertiser_ops {
	const char *name; /* "arp", "bgp" */

	/* Puts the VIP on the adapter; nothing is announced yet. Fails without a trace. */
	int (*prepare)(struct advertiser *adv, const struct addr *vip, struct errbuf *err);

	/* Tells the network, and keeps telling it. The VIP has been prepared. Cannot fail: what
	 * does not work now is repeated. */
	void (*announce)(struct advertiser *adv, const struct addr *vip);

	/* Stops announcing (first) and takes the VIP off the adapter. 0 when it was not there. */
	int (*withdraw)(struct advertiser *adv, const struct addr *vip, struct errbuf *err);

	/* Takes off the adapter every address that an earlier slb put there and `is_desired` does
	 * not know. Called once after start. */
	int (*retain)(struct advertiser *adv, bool (*is_desired)(void *arg, const struct addr *vip),
		      void *arg, struct errbuf *err);

	/* Optional (NULL: not known). True when every VIP is where prepare() put it and is
	 * announced, as far as the advertiser has been told (netlink). When it is false or NULL,
	 * core_reconcile() repeats prepare() and announce() for every VIP. */
	bool (*is_intact)(struct advertiser *adv);
};

/* The first member of every implementation. */
struct advertiser {
	const struct advertiser_ops *ops;
};

#endif
