/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * connections: who is connected and what each is doing, so that no client can keep others out.
 *
 * libmicrohttpd's own timeout counts silence only: a client that sends one byte now and then would
 * hold its connection for ever. Here a connection must bring its next request, whole, within a
 * limit counted from its start or its last answer, and take an answer within another.
 * When all places are taken, the connection that has waited longest for its client gives way
 * to the new one (first among those of the same client, when that one has more than its share).
 *
 * A connection is ended by shutdown(2) of its socket; libmicrohttpd notices and closes it.
 */
#ifndef SLB_API_CONNECTIONS_H
#define SLB_API_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"

enum connection_phase {
	CONNECTION_WAITING, /* for a request, or for the rest of one */
	CONNECTION_WORKING, /* on an answer: it is our turn, no limit */
	CONNECTION_SENDING, /* an answer */
	CONNECTION_ENDING,  /* shut down by us */
	CONNECTION_PHASES,
};

struct connection {
	int fd; /* libmicrohttpd's */
	enum connection_phase phase;
	struct addr client;             /* IPv6: the /64, which is what one client has */
	uint64_t since_ms;              /* when the phase began */
	struct connection *prev, *next; /* of the same phase, oldest first */
};

struct connections {
	uint64_t (*now_ms)(void *arg);
	void *now_arg;
	size_t max, max_per_client;
	uint64_t receive_limit_ms, send_limit_ms;
	struct connection *by_phase[CONNECTION_PHASES];
	size_t count[CONNECTION_PHASES];
};

/* A connection that libmicrohttpd has taken over; NULL when memory is short. */
struct connection *connection_add(struct connections *connections, int fd,
				  const struct sockaddr *client);
void connection_remove(struct connections *connections, struct connection *connection);

void connection_set_phase(struct connections *connections, struct connection *connection,
			  enum connection_phase phase);

/* Before a connection of this client is added: sees to it that there is room. False: all are at
 * work, the new one must be turned away. */
bool connections_make_room(struct connections *connections, const struct sockaddr *client);

/* Ends what is over its limit. Called about once a second while there are connections. */
void connections_sweep(struct connections *connections);

/* Ends every connection that waits for its client. */
void connections_end_waiting(struct connections *connections);

size_t connections_total(const struct connections *connections);

#endif
