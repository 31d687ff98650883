/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * placement: puts VIPs on the adapter, as /32 and /128, and keeps them there: what a person,
 * systemd-networkd or the kernel takes off is back within two seconds (logged, counted), also after
 * the device was deleted and created again. Shared by the advertisers.
 *
 * An address that is on the node already is refused, since it is not slb's to remove, unless an
 * earlier slb left it: such an address has the mark NET_PROTOCOL_SLB, or, where the kernel has no
 * marks (before 5.18), is in the journal.
 */
#ifndef SLB_ADVERTISE_PLACEMENT_H
#define SLB_ADVERTISE_PLACEMENT_H

#include "advertise/adapter.h"

struct placement; /* opaque */

struct placement_config {
	uv_loop_t *loop; /* all of these are borrowed and outlive the placement */
	struct net *net;
	struct adapter *adapter;
	const char *state_dir; /* for the journal; NULL: none, only the kernel's marks. Borrowed for
				* the call */
	/* A VIP that was missing is on the adapter again: the network may have to be told. May be
	 * NULL. */
	void (*restored)(void *arg, const struct addr *vip);
	void *arg;
};

int placement_open(const struct placement_config *config, struct placement **ret,
		   struct errbuf *err);

/* Ends following; the VIPs stay where they are. Accepts NULL. */
void placement_close(struct placement *placement);

/* The VIP is on the adapter when this returns 0. Idempotent. -EADDRINUSE: the node has this
 * address, and not from slb. -ENODEV: the adapter does not exist now. Fails without a trace. */
int placement_put(struct placement *placement, const struct addr *vip, struct errbuf *err);

/* Takes the VIP off. 0 when it was not there, or when there is no adapter any more. */
int placement_remove(struct placement *placement, const struct addr *vip, struct errbuf *err);

/* Takes off every device of the node what an earlier slb put there, but for what is_desired knows
 * and is on the adapter. */
int placement_retain(struct placement *placement,
		     bool (*is_desired)(void *arg, const struct addr *vip), void *arg,
		     struct errbuf *err);

/* Is it on the adapter, as far as the kernel's events tell? */
bool placement_is_placed(const struct placement *placement, const struct addr *vip);

/* How often a VIP was put back since placement_open(). */
uint64_t placement_restored_count(const struct placement *placement);

#endif
