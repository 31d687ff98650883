/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/connections.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

static struct addr client_of(const struct sockaddr *address)
{
	struct addr client = { 0 };

	if (address->sa_family == AF_INET) {
		client = addr_from_in(((const struct sockaddr_in *)address)->sin_addr);
	} else if (address->sa_family == AF_INET6) {
		client = addr_from_in6(&((const struct sockaddr_in6 *)address)->sin6_addr);
		memset(client.bytes + 8, 0, 8);
	}
	return client;
}

static void enter(struct connections *connections, struct connection *connection,
		  enum connection_phase phase)
{
	connection->phase = phase;
	connection->since_ms = connections->now_ms(connections->now_arg);
	DL_APPEND(connections->by_phase[phase], connection);
	connections->count[phase]++;
}

static void leave(struct connections *connections, struct connection *connection)
{
	DL_DELETE(connections->by_phase[connection->phase], connection);
	connections->count[connection->phase]--;
}

struct connection *connection_add(struct connections *connections, int fd,
				  const struct sockaddr *client)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (connection == NULL)
		return NULL;
	connection->fd = fd;
	connection->client = client_of(client);
	enter(connections, connection, CONNECTION_WAITING);
	return connection;
}

void connection_remove(struct connections *connections, struct connection *connection)
{
	if (connection == NULL)
		return;
	leave(connections, connection);
	free(connection);
}

void connection_set_phase(struct connections *connections, struct connection *connection,
			  enum connection_phase phase)
{
	if (connection == NULL || connection->phase == CONNECTION_ENDING)
		return;
	leave(connections, connection);
	enter(connections, connection, phase);
}

static void end(struct connections *connections, struct connection *connection)
{
	shutdown(connection->fd, SHUT_RDWR);
	connection_set_phase(connections, connection, CONNECTION_ENDING);
}

/* Those of this client that are not being ended, and the longest waiting of them. */
static size_t count_client(struct connections *connections, const struct addr *client,
			   struct connection **ret_waiting)
{
	struct connection *connection;
	size_t count = 0;

	*ret_waiting = NULL;
	for (int phase = CONNECTION_WAITING; phase < CONNECTION_ENDING; phase++) {
		DL_FOREACH (connections->by_phase[phase], connection) {
			if (!addr_equal(&connection->client, client))
				continue;
			count++;
			if (phase == CONNECTION_WAITING && *ret_waiting == NULL)
				*ret_waiting = connection;
		}
	}
	return count;
}

bool connections_make_room(struct connections *connections, const struct sockaddr *client)
{
	struct addr address = client_of(client);
	struct connection *victim;

	if (count_client(connections, &address, &victim) >= connections->max_per_client) {
		if (victim == NULL)
			return false;
		end(connections, victim);
		return true;
	}
	if (connections_total(connections) - connections->count[CONNECTION_ENDING] <
	    connections->max)
		return true;
	victim = connections->by_phase[CONNECTION_WAITING];
	if (victim == NULL)
		return false;
	end(connections, victim);
	return true;
}

static void end_older(struct connections *connections, enum connection_phase phase,
		      uint64_t limit_ms)
{
	uint64_t now_ms = connections->now_ms(connections->now_arg);
	struct connection *oldest;

	while ((oldest = connections->by_phase[phase]) != NULL &&
	       now_ms - oldest->since_ms >= limit_ms)
		end(connections, oldest);
}

void connections_sweep(struct connections *connections)
{
	end_older(connections, CONNECTION_WAITING, connections->receive_limit_ms);
	end_older(connections, CONNECTION_SENDING, connections->send_limit_ms);
}

void connections_end_waiting(struct connections *connections)
{
	end_older(connections, CONNECTION_WAITING, 0);
}

size_t connections_total(const struct connections *connections)
{
	size_t total = 0;

	for (int phase = 0; phase < CONNECTION_PHASES; phase++)
		total += connections->count[phase];
	return total;
}
