/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * prober: is an address in use on the adapter's segment? address_prober_ops by ARP probes (RFC 5227
 * 2.1) and, for IPv6, solicitations as in duplicate address detection (RFC 4862 5.4).
 *
 * In use is what another host answers for, what another host probes at the same time, and what this
 * node itself has as an address that slb did not put there. Many probes run at once, paced
 * together.
 */
#ifndef SLB_ADVERTISE_PROBER_H
#define SLB_ADVERTISE_PROBER_H

#include "advertise/segment.h"
#include "core/address_prober_ops.h"

#define PROBER_PROBES       3 /* defaults */
#define PROBER_SPACING_MS   100
#define PROBER_FRAMES_PER_S 500

struct prober_config {
	uv_loop_t *loop; /* these four are borrowed and outlive the prober */
	struct net *net;
	struct adapter *adapter;
	struct segment *segment; /* of that adapter */
	uint32_t probes;         /* 0: the default */
	uint32_t spacing_ms;     /* between probes, and after the last; up to a quarter of jitter is
				  * added; 0: the default */
	uint32_t frames_per_s;   /* 0: the default */
};

int prober_open(const struct prober_config *config, struct address_prober **ret,
		struct errbuf *err);

/* Probes under way are answered -ECANCELED. The loop must turn once more. Accepts NULL. */
void prober_close(struct address_prober *prober);

#endif
