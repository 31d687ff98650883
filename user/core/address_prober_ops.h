/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * address_prober_ops: is an address in use by another host of the adapter's segment? Asked by an
 * address source before it hands one out (RFC 5227 for IPv4, RFC 4862 5.4 for IPv6; or a test's
 * double).
 *
 * An answer takes a few hundred milliseconds; many probes may run at once. All on the loop's
 * thread.
 */
#ifndef SLB_CORE_ADDRESS_PROBER_OPS_H
#define SLB_CORE_ADDRESS_PROBER_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"

struct address_prober;

/* status 0: in_use says it, and mac is then the other host's (zeroes otherwise). Negative errno
 * when nobody could be asked: -ENETDOWN the adapter is missing, down or without carrier, -ECANCELED
 * the prober was closed, -ENOMEM. mac is borrowed for the call. */
typedef void address_probed_cb(void *arg, int status, bool in_use, const uint8_t mac[6]);

struct address_prober_ops {
	/* Calls done once (before probe() returns only for -ENOMEM), unless cancelled. On an
	 * adapter without ARP (lo) the answer is "free". */
	void (*probe)(struct address_prober *prober, const struct addr *address,
		      address_probed_cb *done, void *arg);

	/* Forgets every probe that was given this arg; their done is not called. */
	void (*cancel)(struct address_prober *prober, void *arg);
};

/* The first member of every implementation. */
struct address_prober {
	const struct address_prober_ops *ops;
};

#endif
