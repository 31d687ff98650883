/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * adapter: the device VIPs are put on, followed through its life: down and up, another MAC, deleted
 * and created again under the same name, a bond's failover.
 *
 * The adapter is found by name at first; from then on it is that device (a rename does not lose it)
 * until it is deleted; then the next device of the name it was opened with.
 *
 * Used by placement (addresses on it), segment (packets on it), and whoever must know its state.
 */
#ifndef SLB_ADVERTISE_ADAPTER_H
#define SLB_ADVERTISE_ADAPTER_H

#include "net/net.h"

struct adapter; /* opaque */

enum adapter_change {
	ADAPTER_GONE = 1 << 0,    /* the device was deleted; adapter_link() is NULL now */
	ADAPTER_BACK = 1 << 1,    /* there is a device again, with another ifindex */
	ADAPTER_STOPPED = 1 << 2, /* down, or without carrier */
	ADAPTER_RUNNING = 1 << 3, /* up, with carrier */
	ADAPTER_MAC = 1 << 4,     /* it has another MAC */
	ADAPTER_MOVED = 1 << 5,   /* its MAC may be behind another port of the switch now */
};

/* Part of whoever listens, who owns it; zeroed but for cb and arg. */
struct adapter_listener {
	void (*cb)(void *arg, unsigned int changes); /* ADAPTER_*, one or more */
	void *arg;
	struct adapter_listener *prev, *next;
};

/* name must exist now: -ENODEV. -EINVAL when VIPs cannot be put there (the port of a bridge or
 * bond). net is borrowed and outlives the adapter. */
int adapter_open(struct net *net, const char *name, struct adapter **ret, struct errbuf *err);
void adapter_close(struct adapter *adapter); /* accepts NULL; listeners are gone by then */

/* The device as it is now; NULL while it does not exist. Borrowed until the loop turns. */
const struct net_link *adapter_link(const struct adapter *adapter);

/* The name it was opened with, or was renamed to. */
const char *adapter_name(const struct adapter *adapter);

/* Listeners are called in the order of listening. One may stop listening in its callback. */
void adapter_listen(struct adapter *adapter, struct adapter_listener *listener);
void adapter_unlisten(struct adapter *adapter, struct adapter_listener *listener);

/* Is this the MAC of any device of this node? */
bool adapter_is_own_mac(struct adapter *adapter, const uint8_t mac[static NET_MAC_SIZE]);

#endif
