/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_config: what a person writes about BGP (flags, and the same words by the API), as values.
 *
 *   --bgp-as 65000                --bgp-router-id 192.0.2.1      --bgp-next-hop 2001:db8::1
 *   --bgp-peer ADDRESS,AS[,port=N][,password-file=PATH][,multihop=HOPS][,ttl-security[=HOPS]]
 *                        [,source=ADDRESS][,hold=SECONDS][,connect-retry=SECONDS][,passive]
 *   --bgp-communities 65000:1,no-export,65000:1:2     --bgp-local-pref 100     --bgp-med 10
 *
 * Every function: 0, or -EINVAL (others where said) with a sentence, and *ret untouched.
 */
#ifndef SLB_ADVERTISE_BGP_CONFIG_H
#define SLB_ADVERTISE_BGP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "advertise/bgp/bgp_message.h"
#include "core/bgp_peers.h"
#include "lib/addr.h"
#include "lib/errbuf.h"

#define BGP_LOCAL_PREF_DEFAULT 100
#define BGP_RESTART_DEFAULT_S  120

struct bgp_config {
	uint32_t as;
	uint32_t router_id; /* host order; 0: bgp_config_complete() picks one */
	uint16_t listen_port;
	uint16_t restart_time_s; /* graceful restart, rfc: 4724; 0: not offered */
	bool restarted;          /* an slb ran here before this one and packets were forwarded on */
	struct addr next_hop[BGP_FAMILY_COUNT]; /* AF_UNSPEC: found per session */
	struct bgp_attributes attributes;
};

/* As it is without any flag; as and router_id are 0. */
struct bgp_config bgp_config_default(void);

/* 1 … 4294967294, plain or "asdot" (rfc: 5396), not one of the reserved numbers. */
int bgp_as_parse(const char *text, uint32_t *ret, struct errbuf *err);
int bgp_router_id_parse(const char *text, uint32_t *ret, struct errbuf *err);
/* Adds to *attributes; -ENOSPC for more than BGP_COMMUNITIES_MAX of a kind. */
int bgp_communities_parse(const char *text, struct bgp_attributes *attributes, struct errbuf *err);
int bgp_number_parse(const char *flag, const char *text, uint32_t *ret, struct errbuf *err);
int bgp_next_hop_parse(const char *text, struct bgp_config *config, struct errbuf *err);
/* Reads the password file too; others as the kernel gives them. */
int bgp_peer_parse(const char *text, struct bgp_peer_config *ret, struct errbuf *err);
/* The rules between a peer's values, for those that did not come as text. */
int bgp_peer_check(const struct bgp_peer_config *peer, uint32_t local_as, struct errbuf *err);

/* Checks the whole and picks a router id from the node's own addresses where none was given: the
 * numerically lowest global IPv4 address that is not a host route (a VIP may be one), so that it is
 * the same after a restart. */
int bgp_config_complete(struct bgp_config *config, struct errbuf *err);

#endif
