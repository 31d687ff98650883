/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * arp: the layer-2 advertiser (advertiser_ops): a VIP is an address of the adapter, and gratuitous
 * ARP (IPv4) or unsolicited neighbour advertisements (IPv6) tell the segment where it is.
 *
 * Announced at once and 1, 2, 4, 8 … s later, then every repeat_interval_s; the same again when the
 * adapter comes up, gets its carrier back, changes its MAC, fails over (bond), is created again, or
 * the address had been taken off and was put back. Announcements of all VIPs together are paced.
 *
 * Another host that claims a VIP is logged, counted and answered by one announcement, at most every
 * 10 s (RFC 5227 2.4 (c): a server's address is not given up).
 *
 * On the loopback device VIPs are placed and nothing is announced.
 *
 * rfc: 826, 5227; 4861 7.2.6 for IPv6. Frames: arp_frame.h, ndp_frame.h; sockets: segment.h;
 * addresses: placement.h.
 */
#ifndef SLB_ADVERTISE_ARP_H
#define SLB_ADVERTISE_ARP_H

#include <time.h>

#include "advertise/adapter.h"
#include "advertise/segment.h"
#include "core/advertiser_ops.h"

#define ARP_REPEAT_INTERVAL_S 60 /* defaults */
#define ARP_FRAMES_PER_S      1000

struct arp_config {
	uv_loop_t *loop; /* these four are borrowed and outlive the advertiser */
	struct net *net;
	struct adapter *adapter;
	struct segment *segment;    /* of that adapter */
	const char *state_dir;      /* borrowed for the call; NULL: see placement.h */
	uint32_t repeat_interval_s; /* 0: the default */
	uint32_t frames_per_s;      /* 0: the default */
};

int arp_advertiser_open(const struct arp_config *config, struct advertiser **ret,
			struct errbuf *err);

/* Stops announcing; the VIPs stay on the adapter. The loop must turn once more. Accepts NULL. */
void arp_advertiser_close(struct advertiser *adv);

struct arp_vip_status {
	struct addr vip;
	bool announcing;
	uint64_t announcements;  /* sent since prepare() */
	time_t last_announced;   /* 0: never */
	uint64_t conflicts;      /* claims of other hosts seen */
	uint64_t defences;       /* announcements sent in answer */
	uint8_t conflict_mac[6]; /* of the last of them */
	time_t last_conflict;    /* 0: never */
};

/* -ENOENT: not prepared. */
int arp_advertiser_vip_status(const struct advertiser *adv, const struct addr *vip,
			      struct arp_vip_status *ret);

/* Of all VIPs together, withdrawn ones included. */
struct arp_totals {
	uint64_t announcements;
	uint64_t send_errors; /* announcements that a device refused; they are sent later */
	uint64_t conflicts;
	uint64_t defences;
	uint64_t restored; /* VIPs put back on the adapter */
};

struct arp_totals arp_advertiser_totals(const struct advertiser *adv);

#endif
