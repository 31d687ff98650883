/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * address_prober_ops: is an address already somebody else's? (ARP probe, RFC 5227 section 2.1; NDP
 * duplicate address detection, RFC 4862 section 5.4; or a test's double.) The range address source
 * (core/ipam.h) asks before it hands an address out, and ahead of need.
 *
 * Everything runs on the loop's thread. The callback may come before probe() returns.
 * invariant: the caller has at most one probe of one address under way; many addresses at once are
 * fine, the prober paces what it sends.
 */
#ifndef SLB_CORE_ADDRESS_PROBER_OPS_H
#define SLB_CORE_ADDRESS_PROBER_OPS_H

#include "lib/addr.h"
#include "lib/errbuf.h"

struct address_prober;

/* status 0: nobody answered for the address. -EADDRINUSE: somebody did; `holder` (borrowed) is who,
 * as text ("02:00:5e:10:00:01"). Any other negative errno: it could not be found out (adapter
 * down), err (borrowed) says why; -ECANCELED: the prober was closed. holder and err are NULL
 * otherwise. */
typedef void address_probed_cb(void *arg, int status, const char *holder, const struct errbuf *err);

struct address_prober_ops {
	const char *name; /* "arp", "ndp" */

	/* Asks the segment; `done` is called exactly once, unless cancelled. address is copied. */
	void (*probe)(struct address_prober *prober, const struct addr *address,
		      address_probed_cb *done, void *arg);

	/* Gives up the probe of this address: its callback will not come. Unknown ones are ignored.
	 */
	void (*cancel)(struct address_prober *prober, const struct addr *address);
};

/* The first member of every implementation. */
struct address_prober {
	const struct address_prober_ops *ops;
};

#endif
