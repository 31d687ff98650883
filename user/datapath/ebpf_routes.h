/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_routes: the ways to the backends: which device, which next hop, which source address, as the
 * kernel's FIB says now. Shared by all backends of one address; follows the network by looking them
 * up again, a few per turn of the loop, when something changed.
 */
#ifndef SLB_DATAPATH_EBPF_ROUTES_H
#define SLB_DATAPATH_EBPF_ROUTES_H

#include <uthash.h>
#include <uv.h>

#include "datapath/ebpf_neighbours.h"
#include "datapath/ebpf_uplinks.h"

struct ebpf_routes; /* opaque */

struct backend_record; /* of ebpf_services.c: the routes only carry the list's head for it */

struct ebpf_route {
	struct addr address; /* the backend's */
	int oif;             /* 0: no route now */
	struct addr next_hop;
	struct addr source; /* the kernel's choice; kept while there is no route */
	struct backend_record *users;
	unsigned int shares;
	bool stale;                     /* to be looked up again: */
	struct ebpf_route *next, *prev; /* then in the list of those */
	UT_hash_handle hh;
};

/* Called after route->source has changed. */
typedef void ebpf_route_changed_cb(void *arg, struct ebpf_route *route);

int ebpf_routes_open(uv_loop_t *loop, struct net *net, struct ebpf_uplinks *uplinks,
		     struct ebpf_neighbours *neighbours, ebpf_route_changed_cb *changed, void *arg,
		     struct ebpf_routes **ret, struct errbuf *err);
/* Shares need not be given back before. The memory goes when libuv has closed the handle. Accepts
 * NULL. */
void ebpf_routes_close(struct ebpf_routes *routes);

/* Takes a share, looking the route up at once when it is new. NULL when memory is short. */
struct ebpf_route *ebpf_routes_acquire(struct ebpf_routes *routes, const struct addr *address);
void ebpf_routes_release(struct ebpf_routes *routes, struct ebpf_route *route); /* accepts NULL */

/* Looks up again what a NET_LINK, NET_ADDR, NET_ROUTE or NET_RESYNC event may have changed, in
 * small steps from the loop. A VIP that comes or goes, which is most events, costs O(1). */
void ebpf_routes_note(struct ebpf_routes *routes, const struct net_event *event);

#endif
