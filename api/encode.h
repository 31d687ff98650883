/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * encode: the model as JSON, members always in the same order. Objects are compact and without a
 * final newline; whoever answers adds it.
 */
#ifndef SLB_API_ENCODE_H
#define SLB_API_ENCODE_H

#include "api/text.h"
#include "core/bgp_peers.h"
#include "core/capabilities.h"
#include "core/core.h"

/* With its backends, and with traffic counters and drops where core knows them. */
void encode_load_balancer(struct text *text, struct core *core, const struct load_balancer *lb);

/* How full the tables are, and packets of no load balancer that were not forwarded. */
void encode_status(struct text *text, struct core *core);

/* One backend of lb, likewise. */
void encode_backend(struct text *text, struct core *core, const struct load_balancer *lb,
		    const struct backend *backend);

void encode_capabilities(struct text *text, const struct capabilities *capabilities);
void encode_bgp_peer(struct text *text, const struct bgp_peer_view *peer);
void encode_bgp_peers(struct text *text, const struct bgp_peer_view *peers, size_t count);

#endif
