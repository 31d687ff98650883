/* SPDX-License-Identifier: GPL-2.0-only */
/* Routes to backends; see ebpf_routes.h. Called by ebpf_services.c (backends) and ebpf.c (events).
 */
#include "datapath/ebpf_routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* One lookup costs some 10 µs; so many at a time hold the loop for less than a millisecond. */
#define LOOKUPS_PER_TURN 64

struct ebpf_routes {
	struct net *net;
	struct ebpf_uplinks *uplinks;
	struct ebpf_neighbours *neighbours;
	ebpf_route_changed_cb *changed;
	void *changed_arg;
	struct ebpf_route *table;
	struct ebpf_route *stale;
	uv_idle_t refresher; /* active while there are stale routes */
};

/* The route follows its lookup: device and next hop are held by it. */
static void move_to(struct ebpf_routes *routes, struct ebpf_route *route, int oif,
		    const struct addr *next_hop)
{
	int old_oif = route->oif;
	struct addr old_next_hop = route->next_hop;

	if (oif == old_oif && addr_equal(next_hop, &old_next_hop))
		return;
	if (oif) {
		ebpf_uplinks_acquire(routes->uplinks, oif);
		ebpf_neighbours_want(routes->neighbours, oif, next_hop);
	}
	route->oif = oif;
	route->next_hop = *next_hop;
	if (old_oif) {
		ebpf_uplinks_release(routes->uplinks, old_oif);
		ebpf_neighbours_release(routes->neighbours, old_oif, &old_next_hop);
	}
}

/* True when the source address is another one now. */
static bool look_up(struct ebpf_routes *routes, struct ebpf_route *route)
{
	struct net_route found;
	struct addr nowhere = { 0 };
	struct errbuf ignored;
	bool changed;

	if (net_route_get(routes->net, &route->address, NULL, 0, &found, &ignored) < 0 ||
	    found.type != RTN_UNICAST) {
		move_to(routes, route, 0, &nowhere);
		return false;
	}
	move_to(routes, route, found.oif,
		found.gateway.family == AF_UNSPEC ? &route->address : &found.gateway);
	changed = found.prefsrc.family == route->address.family &&
		  !addr_equal(&found.prefsrc, &route->source);
	if (changed)
		route->source = found.prefsrc;
	return changed;
}

static void set_stale(struct ebpf_routes *routes, struct ebpf_route *route, bool stale)
{
	if (stale && !route->stale)
		DL_APPEND(routes->stale, route);
	if (!stale && route->stale)
		DL_DELETE(routes->stale, route);
	route->stale = stale;
}

static void refresh_some(uv_idle_t *handle)
{
	struct ebpf_routes *routes = handle->data;
	for (unsigned int n = 0; n < LOOKUPS_PER_TURN && routes->stale; n++) {
		struct ebpf_route *route = routes->stale;

		set_stale(routes, route, false);
		if (look_up(routes, route))
			routes->changed(routes->changed_arg, route);
	}
	if (!routes->stale)
		uv_idle_stop(handle);
}

int ebpf_routes_open(uv_loop_t *loop, struct net *net, struct ebpf_uplinks *uplinks,
		     struct ebpf_neighbours *neighbours, ebpf_route_changed_cb *changed, void *arg,
		     struct ebpf_routes **ret, struct errbuf *err)
{
	struct ebpf_routes *routes = calloc(1, sizeof(*routes));

	if (!routes)
		return errbuf_set(err, -ENOMEM, "out of memory");
	routes->net = net;
	routes->uplinks = uplinks;
	routes->neighbours = neighbours;
	routes->changed = changed;
	routes->changed_arg = arg;
	uv_idle_init(loop, &routes->refresher);
	routes->refresher.data = routes;
	*ret = routes;
	return 0;
}

static void free_routes(uv_handle_t *handle)
{
	struct ebpf_routes *routes = handle->data;
	struct ebpf_route *route, *next;

	HASH_ITER (hh, routes->table, route, next) {
		HASH_DEL(routes->table, route);
		free(route);
	}
	free(routes);
}

void ebpf_routes_close(struct ebpf_routes *routes)
{
	if (routes)
		uv_close((uv_handle_t *)&routes->refresher, free_routes);
}

struct ebpf_route *ebpf_routes_acquire(struct ebpf_routes *routes, const struct addr *address)
{
	struct ebpf_route *route;

	HASH_FIND(hh, routes->table, address, sizeof(*address), route);
	if (!route) {
		route = calloc(1, sizeof(*route));
		if (!route)
			return NULL;
		route->address = *address;
		HASH_ADD(hh, routes->table, address, sizeof(route->address), route);
		look_up(routes, route);
	}
	route->shares++;
	return route;
}

void ebpf_routes_release(struct ebpf_routes *routes, struct ebpf_route *route)
{
	struct addr nowhere = { 0 };

	if (!route || --route->shares)
		return;
	move_to(routes, route, 0, &nowhere);
	set_stale(routes, route, false);
	HASH_DEL(routes->table, route);
	free(route);
}

void ebpf_routes_refresh(struct ebpf_routes *routes)
{
	struct ebpf_route *route, *next;

	HASH_ITER (hh, routes->table, route, next)
		set_stale(routes, route, true);
	if (routes->stale)
		uv_idle_start(&routes->refresher, refresh_some);
}
