/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_peer: one router. It binds together two state machines (one connects, one is connected to),
 * their connections and timers, and the peer's place in the rib; it resolves collisions and counts.
 *
 *   bgp_rib ──cursor──► bgp_peer ──messages──► bgp_connection ──► router
 *                          ▲  │ events
 *             timers ──────┘  └──► bgp_fsm (outgoing, incoming) ──actions──► bgp_peer
 *
 * Called by bgp_speaker alone. Everything happens on the loop's thread.
 */
#ifndef SLB_ADVERTISE_BGP_PEER_H
#define SLB_ADVERTISE_BGP_PEER_H

#include <uv.h>

#include "advertise/bgp/bgp_config.h"
#include "advertise/bgp/bgp_connection.h"
#include "advertise/bgp/bgp_fsm.h"
#include "advertise/bgp/bgp_rib.h"

struct bgp_peer;

/* What all peers of a speaker share; borrowed, outlives them. */
struct bgp_peer_context {
	uv_loop_t *loop;
	const struct bgp_config *config;
	struct bgp_rib *rib;
	struct bgp_connections connections;
	bool complete; /* the rib holds all that is desired: End-of-RIB may be said (rfc: 4724 §4.1)
			*/
};

struct bgp_peer_status {
	struct bgp_peer_config config; /* without the password */
	bool has_password;
	bool ibgp;
	enum bgp_state state;                 /* of the machine that has come furthest */
	bool incoming;                        /* the connection was opened by the peer */
	uint64_t uptime_ms;                   /* since Established, else 0 */
	struct addr local;                    /* of the session; AF_UNSPEC without one */
	struct bgp_negotiated negotiated;     /* zero unless Established */
	struct bgp_capabilities capabilities; /* of the peer, as it said last */
	struct bgp_next_hop next_hop[BGP_FAMILY_COUNT];
	size_t announced[BGP_FAMILY_COUNT]; /* VIPs the peer has been told now */
	uint64_t updates_sent;
	uint64_t routes_received; /* and dropped: nothing is imported */
	uint64_t routes_withdrawn_by_peer;
	uint64_t updates_received;
	uint64_t updates_malformed; /* those that RFC 7606 lets the session survive */
	uint64_t established_count;
	char last_error[BGP_ERROR_TEXT_SIZE]; /* valid UTF-8; empty: none yet */
	uint64_t last_error_age_ms;
	char connect_error[BGP_ERROR_TEXT_SIZE]; /* why the last attempt since came to nothing */
	char note[BGP_ERROR_TEXT_SIZE]; /* what is wrong though the session is up; may be empty */
};

/* -ENOMEM. Nothing happens before bgp_peer_start(). */
int bgp_peer_new(struct bgp_peer_context *context, const struct bgp_peer_config *config,
		 struct bgp_peer **ret, struct errbuf *err);
void bgp_peer_start(struct bgp_peer *peer);

/* A connection from the peer's address; takes it. */
void bgp_peer_take(struct bgp_peer *peer, struct bgp_connection *connection);

/* Tells the peer what it does not know yet, as far as its connection takes it. */
void bgp_peer_flush(struct bgp_peer *peer);
/* Tells everything again: the attributes have changed. */
void bgp_peer_resend(struct bgp_peer *peer);
/* Looks whether the next hops are still the same, and tells everything again if not. */
void bgp_peer_check_next_hops(struct bgp_peer *peer);

/* Ends the session for good: with this Cease, or silently when NULL (routes are kept by a peer that
 * does graceful restart). */
void bgp_peer_stop(struct bgp_peer *peer, const struct bgp_error *cease);

/* Frees a peer that has been stopped, some time later on the loop; `freed` (may be NULL) is called
 * then. Accepts NULL, and calls nothing then. */
void bgp_peer_free(struct bgp_peer *peer, void (*freed)(void *arg), void *arg);

const struct bgp_peer_config *bgp_peer_config(const struct bgp_peer *peer); /* borrowed */
void bgp_peer_status(const struct bgp_peer *peer, struct bgp_peer_status *ret);

#endif
