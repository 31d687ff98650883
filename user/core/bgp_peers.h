/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_peers: the routers that VIPs are announced to, as those who know BGP (advertise/bgp) and
 * those who only show, ask for or keep peers (api, store) tell each other. Pure data.
 */
#ifndef SLB_CORE_BGP_PEERS_H
#define SLB_CORE_BGP_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/errbuf.h"

#define BGP_PASSWORD_MAX            80 /* TCP_MD5SIG_MAXKEYLEN */
#define BGP_PEER_PORT_DEFAULT       179
#define BGP_HOLD_DEFAULT_S          90 /* rfc: 4271 §10 */
#define BGP_CONNECT_RETRY_DEFAULT_S 5
#define BGP_HOPS_MAX                255

/* What a peer is asked for with. */
struct bgp_peer_config {
	struct addr address; /* what tells peers apart */
	uint32_t as;         /* rfc: 6793: four bytes */
	uint16_t port;
	uint16_t hold_s;
	uint16_t connect_retry_s;
	uint8_t multihop; /* 0: an eBGP peer is one hop away (TTL 1), iBGP as the system has it */
	uint8_t ttl_security; /* GTSM (rfc: 5082): the most hops the peer is away; 0: off */
	bool passive;         /* never connects, waits to be connected to */
	struct addr source;   /* AF_UNSPEC: as the kernel picks */
	char password[BGP_PASSWORD_MAX + 1]; /* TCP-MD5 (rfc: 2385); empty: none */
};

/* How a peer stands, for whoever shows it (GET /bgp/peers, /metrics). Strings are borrowed, and
 * NULL or "" where there is nothing to say. */
struct bgp_peer_view {
	struct bgp_peer_config config; /* without the password */
	bool has_password;
	const char *origin;     /* who asked for it: "flag", "api", … */
	const char *state;      /* rfc: 4271 §8.2.2: "Idle", "Connect", … "Established" */
	uint64_t uptime_s;      /* since Established, else 0 */
	const char *last_error; /* in words */
	const char *note;       /* what is wrong though the session is up */
	size_t announced;       /* routes */
	const char *const *capabilities; /* negotiated with the peer, in words */
	size_t capability_count;
};

/* status 0: done, and durable. Negative errno: err (borrowed) says why, and nothing has changed. */
typedef void bgp_peer_done_cb(void *arg, int status, const struct errbuf *err);

#endif
