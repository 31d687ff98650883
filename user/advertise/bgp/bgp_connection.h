/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_connection: one TCP connection on the loop, that takes and gives whole BGP messages. It knows
 * the options a peer's sockets need (TCP-MD5 rfc: 2385, GTSM 5082, TTL, source address), and
 * nothing of states.
 *
 * invariant: after bgp_connection_close() no callback comes any more; the object lives on by itself
 * until what was queued has gone out (or a deadline), and frees itself. invariant: memory is
 * bounded: one input buffer, and what the caller chose to queue.
 */
#ifndef SLB_ADVERTISE_BGP_CONNECTION_H
#define SLB_ADVERTISE_BGP_CONNECTION_H

#include <uv.h>

#include "advertise/bgp/bgp_config.h"
#include "advertise/bgp/bgp_message.h"

struct bgp_connection;

/* How many connections still exist, closing ones included; whoever wants to stop waits for none. */
struct bgp_connections {
	size_t live;
	void (*gone)(void *arg); /* called when `live` has become 0; may be NULL */
	void *arg;
};

struct bgp_connection_ops {
	void (*connected)(void *arg);
	/* Could not be set up, or ended. `reason` is a sentence. */
	void (*failed)(void *arg, const char *reason);
	void (*message)(void *arg, const struct bgp_message *message);
	/* No message can be found any more; the owner closes the connection. */
	void (*garbage)(void *arg, const struct bgp_error *error);
	void (*drained)(void *arg);    /* all that was queued is with the kernel */
	void (*progressed)(void *arg); /* a part of it is */
};

/* Begins to connect. -errno with a sentence when that is not even possible. */
int bgp_connection_connect(uv_loop_t *loop, struct bgp_connections *connections,
			   const struct bgp_peer_config *peer, bool ibgp,
			   const struct bgp_connection_ops *ops, void *arg,
			   struct bgp_connection **ret, struct errbuf *err);

/* Takes one from a listening socket, without owner yet: nothing is read until
 * bgp_connection_adopt(). */
int bgp_connection_accept(uv_loop_t *loop, struct bgp_connections *connections, uv_stream_t *server,
			  struct bgp_connection **ret, struct errbuf *err);
int bgp_connection_adopt(struct bgp_connection *connection, const struct bgp_peer_config *peer,
			 bool ibgp, const struct bgp_connection_ops *ops, void *arg,
			 struct errbuf *err);

/* Copies and queues. What cannot be sent ends in failed(), later. */
void bgp_connection_send(struct bgp_connection *connection, const uint8_t *data, size_t length);
size_t bgp_connection_queued_bytes(const struct bgp_connection *connection);

/* Ends it. Not silent: what is queued goes out first, then the peer has a moment to close its side,
 * so that a NOTIFICATION is not overtaken by a reset. Accepts NULL. */
void bgp_connection_close(struct bgp_connection *connection, bool silent);

struct addr bgp_connection_local(const struct bgp_connection *connection);
struct addr bgp_connection_remote(const struct bgp_connection *connection);

/* A listening socket for this family, ready for uv_tcp_open(). Negative errno with a sentence. */
int bgp_listening_socket(int family, uint16_t port, struct errbuf *err);

/* Sets (or, empty, removes) the key that connections from this peer must be signed with. */
int bgp_socket_set_password(int fd, const struct addr *peer, const char *password,
			    struct errbuf *err);

#endif
