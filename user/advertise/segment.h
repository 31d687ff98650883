/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * segment: the adapter's layer 2, as far as addresses are claimed on it: sends announcements and
 * probes, and tells who else claims an address, for IPv4 by ARP and for IPv6 by NDP.
 *
 * Packet sockets (man 7 packet) with a filter in the kernel. The one for ARP costs data packets
 * nothing; the one for NDP is looked at for every IPv6 packet of the adapter, and is therefore
 * opened with the first IPv6 address only. On the loopback device everything is silent.
 *
 * Used by the layer-2 advertiser and by the prober. Nothing is logged here.
 */
#ifndef SLB_ADVERTISE_SEGMENT_H
#define SLB_ADVERTISE_SEGMENT_H

#include "advertise/adapter.h"

struct segment; /* opaque */

enum claim_kind {
	CLAIM_HOLDS,  /* another host says that the address is its own */
	CLAIM_PROBES, /* another host asks whether it may have the address */
};

struct claim {
	enum claim_kind kind;
	struct addr address;
	uint8_t mac[NET_MAC_SIZE]; /* not one of this node's */
};

/* Part of whoever listens, who owns it; zeroed but for cb and arg. */
struct segment_listener {
	void (*cb)(void *arg, const struct claim *claim); /* the claim is borrowed */
	void *arg;
	struct segment_listener *prev, *next;
};

/* -EINVAL when the adapter is neither Ethernet nor loopback; -EPERM without CAP_NET_RAW. Both are
 * borrowed and outlive the segment. */
int segment_open(uv_loop_t *loop, struct adapter *adapter, struct segment **ret,
		 struct errbuf *err);
void segment_close(struct segment *segment); /* accepts NULL; listeners are gone by then */

/* The adapter has no layer 2 (lo): nothing is to be announced or probed. */
bool segment_is_silent(const struct segment *segment);

/* Can frames be sent now: the adapter exists, is up and has a carrier? */
bool segment_is_ready(const struct segment *segment);

/* Frames that one announcement of the address takes. */
unsigned int segment_announcement_frames(const struct addr *address);

/* Send, or fail with a negative errno: -ENETDOWN the adapter is not ready, -ENOBUFS and -EAGAIN the
 * device's queue is full (try later), others as the kernel gives them. Silent: 0.
 * announce: gratuitous ARP, request and reply; unsolicited NA with override. defend: the request
 * form alone (RFC 5227 2.4). probe: ARP probe; NS as in duplicate address detection. */
int segment_announce(struct segment *segment, const struct addr *address);
int segment_defend(struct segment *segment, const struct addr *address);
int segment_probe(struct segment *segment, const struct addr *address);

/* Hear of claims on this address from now on: opens the socket of its family, and for IPv6 joins
 * the group that other hosts' probes go to. Every watch ends with an unwatch. Failure is a negative
 * errno; the address may be used all the same. */
int segment_watch(struct segment *segment, const struct addr *address);
void segment_unwatch(struct segment *segment, const struct addr *address);

void segment_listen(struct segment *segment, struct segment_listener *listener);
void segment_unlisten(struct segment *segment, struct segment_listener *listener);

#endif
