/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * address_source_ops: where VIPs come from (ranges of our own, a cloud's API, or a test's double).
 *
 * acquire() may take time (a probe on the segment, an HTTP request), so it answers by callback;
 * everything runs on the loop's thread. The callback may come before acquire() returns.
 * invariant: an address is out at most once until released (sharing one VIP between load balancers
 * is core's business, not the source's).
 */
#ifndef SLB_CORE_ADDRESS_SOURCE_OPS_H
#define SLB_CORE_ADDRESS_SOURCE_OPS_H

#include <uuid/uuid.h>

#include "lib/addr.h"
#include "lib/errbuf.h"

struct address_source;

/* status 0: *address is the caller's until released. Negative errno: err (borrowed) says why:
 * -ENOSPC pool exhausted (names the pool), -EADDRINUSE the wanted address is taken or answers on
 * the segment, -EINVAL the wanted address is in no pool, -ECANCELED the source was closed. */
typedef void address_acquired_cb(void *arg, int status, const struct addr *address,
				 const struct errbuf *err);

struct address_source_ops {
	const char *name; /* "range", "equinix-metal" */

	/* An address of `family` (AF_INET, AF_INET6), the lowest free one; or exactly `wanted` when
	 * its family is not AF_UNSPEC. `owner` is the load balancer's uuid (a cloud tags with it).
	 */
	void (*acquire)(struct address_source *source, int family, const struct addr *wanted,
			const uuid_t owner, address_acquired_cb *done, void *arg);

	/* Gives an address back. Unknown addresses are ignored. */
	void (*release)(struct address_source *source, const struct addr *address);

	/* At start: this address is in use by a load balancer from the store, whether or not a
	 * pool still has it. */
	int (*adopt)(struct address_source *source, const struct addr *address, const uuid_t owner,
		     struct errbuf *err);
};

/* The first member of every implementation. */
struct address_source {
	const struct address_source_ops *ops;
};

#endif
