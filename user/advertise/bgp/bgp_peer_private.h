/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_peer_private: a peer from the inside, shared by the files bgp_peer*.c and by nobody else.
 *
 *   bgp_peer.c          life, timers, what the state machines ask for, status
 *   bgp_peer_send.c     from the rib to UPDATEs
 *   bgp_peer_receive.c  messages and connections that come in, collisions
 */
#ifndef SLB_ADVERTISE_BGP_PEER_PRIVATE_H
#define SLB_ADVERTISE_BGP_PEER_PRIVATE_H

#include "advertise/bgp/bgp_peer.h"

#define NO_DEADLINE   UINT64_MAX
#define FAILURE_TIMER BGP_TIMER_COUNT /* a connect that failed at once, told from the loop */
#define TIMER_SLOTS   (BGP_TIMER_COUNT + 1)

enum role { OUTGOING, INCOMING, ROLE_COUNT };

struct link {
	struct bgp_peer *peer;
	enum role role;
	struct bgp_fsm fsm;
	struct bgp_connection *connection; /* owned; NULL without one */
	struct bgp_open sent, received;
	bool open_received;
	uv_timer_t timer; /* runs for the earliest deadline, or earlier */
	uint64_t deadline_ms[TIMER_SLOTS];
	char failure[ERRBUF_SIZE]; /* of a connect that failed at once */
};

struct bgp_peer {
	struct bgp_peer_context *context;
	struct bgp_peer_config config;
	struct bgp_fsm_times times;
	struct link links[ROLE_COUNT];
	struct link *session; /* the Established one, or NULL */
	struct bgp_rib_reader reader;
	bool stopped;
	bool plain_open; /* the peer does not know optional parameters; rfc: 5492 §3 */

	/* of the session */
	struct bgp_negotiated negotiated;
	struct bgp_path path;
	bool end_of_rib_due[BGP_FAMILY_COUNT];
	char note[BGP_ERROR_TEXT_SIZE];

	/* of the peer's whole life */
	struct bgp_capabilities capabilities;
	bool restart_told; /* End-of-RIB was sent: this start is over for this peer */
	uint64_t established_count;
	uint64_t updates_sent, updates_received, updates_malformed;
	uint64_t routes_received, routes_withdrawn;
	char last_error[BGP_ERROR_TEXT_SIZE];
	char connect_error[BGP_ERROR_TEXT_SIZE]; /* since the last session */
	uint64_t last_error_at_ms;

	unsigned handles; /* that uv has not closed yet */
	void (*freed)(void *arg);
	void *freed_arg;
};

/* bgp_peer.c */
bool bgp_peer_is_ibgp(const struct bgp_peer *peer);
struct link *bgp_peer_other_link(struct link *link);
const char *bgp_peer_text(const struct bgp_peer *peer, char buf[static ADDR_TEXT_SIZE]);
/* Sends a whole message, if there is a connection, and watches that it gets away. */
void bgp_peer_send(struct link *link, const uint8_t *data, size_t length);

/* bgp_peer_send.c: finds the next hops and begins to tell each agreed family from its start. */
void bgp_peer_tell_everything(struct bgp_peer *peer);

/* bgp_peer_receive.c: what the connections of a link call. */
extern const struct bgp_connection_ops bgp_peer_connection_ops;

/* For both: the send hold timer (rfc: 9687) goes on, or has nothing to watch. */
void bgp_peer_sent_some(struct link *link);
void bgp_peer_sent_all(struct link *link);

#endif
