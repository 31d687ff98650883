/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server: the REST API on the loop: listening sockets, libmicrohttpd and what keeps its clients
 * from being in each other's way. main starts it last and stops it first; nothing else calls it.
 */
#ifndef SLB_API_SERVER_H
#define SLB_API_SERVER_H

#include <uv.h>

#include "core/bgp_peers.h"
#include "core/capabilities.h"
#include "core/core.h"
#include "lib/errbuf.h"

#define API_DEFAULT_PORT 10001

struct api_server;

/* What the API shows but core does not know. Each may be NULL: an empty list is shown. What is
 * returned is borrowed until the loop goes on. */
struct api_providers {
	const struct capabilities *(*capabilities)(void *arg);
	const struct bgp_peer_view *(*bgp_peers)(void *arg, size_t *ret_count);
	/* Both or none. Answered by `done` when durable, maybe before the call returns. */
	void (*bgp_peer_create)(void *arg, const struct bgp_peer_config *config,
				bgp_peer_done_cb *done, void *done_arg);
	void (*bgp_peer_remove)(void *arg, const struct addr *address, bgp_peer_done_cb *done,
				void *done_arg);
	void *arg;
};

struct api_config {
	uv_loop_t *loop;   /* borrowed, outlives the server */
	struct core *core; /* likewise */

	/* "ADDR", "ADDR:PORT", "V6ADDR" or "[V6ADDR]:PORT"; borrowed during start only. None:
	 * 0.0.0.0 and, where the machine has IPv6, [::]. */
	const char *const *listen;
	size_t listen_count;
	uint16_t port; /* for those without one; 0 = chosen by the kernel */

	struct api_providers providers;

	/* 0 = the default. A client that needs longer to bring a request, or to take an answer, is
	 * cut off. */
	size_t connections_max, connections_max_per_client;
	uint64_t receive_limit_ms, send_limit_ms;
};

/* Listens and serves from the next turn of the loop on. Errors: -EADDRINUSE, -EACCES,
 * -EADDRNOTAVAIL …, -EINVAL an address that is none. */
int api_server_start(const struct api_config *config, struct api_server **ret, struct errbuf *err);

/* Where it listens: "0.0.0.0:10001, [::]:10001", with a remark when IPv6 is left out. Borrowed. */
const char *api_server_listening(const struct api_server *server);

/* Accepts no more, lets requests under way be answered (turning the loop, for at most five seconds;
 * then they are answered 503), closes everything. To be called while the loop is not
 * running, and before core is stopped. Accepts NULL. */
void api_server_stop(struct api_server *server);

#endif
