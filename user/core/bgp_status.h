/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_status: how a BGP session stands: the neutral form in which the speaker tells whoever shows
 * it (GET /bgp/peers, /metrics). Pure data: strings are borrowed from the speaker and NULL or ""
 * where there is nothing to say.
 */
#ifndef SLB_CORE_BGP_STATUS_H
#define SLB_CORE_BGP_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"

struct bgp_peer_status {
	struct addr address;
	uint16_t port;                   /* host order */
	uint32_t as;                     /* RFC 6793: four bytes */
	const char *state;               /* RFC 4271 8.2.2: "Idle", "Connect", … "Established" */
	uint64_t uptime_s;               /* since Established, else 0 */
	const char *last_error;          /* in words */
	size_t announced;                /* routes */
	const char *const *capabilities; /* negotiated with the peer, in words */
	size_t capability_count;
};

#endif
