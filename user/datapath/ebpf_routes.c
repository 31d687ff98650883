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

/* A source address of some routes. There are few: one per device, mostly. */
struct source {
	struct addr address;
	unsigned int users; /* routes */
	UT_hash_handle hh;
};

struct ebpf_routes {
	struct net *net;
	struct ebpf_uplinks *uplinks;
	struct ebpf_neighbours *neighbours;
	ebpf_route_changed_cb *changed;
	void *changed_arg;
	struct ebpf_route *table;
	struct ebpf_route *stale;
	struct source *sources; /* AF_UNSPEC, for routes without, among them */
	uv_idle_t refresher;    /* active while there are stale routes */
};

static struct source *find_source(const struct ebpf_routes *routes, const struct addr *address)
{
	struct source *source;

	HASH_FIND(hh, routes->sources, address, sizeof(*address), source);
	return source;
}

static void release_source(struct ebpf_routes *routes, const struct addr *address)
{
	struct source *source = find_source(routes, address);

	if (!source || --source->users)
		return;
	HASH_DEL(routes->sources, source);
	free(source);
}

/* False when memory is short. */
static bool use_source(struct ebpf_routes *routes, const struct addr *address)
{
	struct source *source = find_source(routes, address);

	if (!source) {
		source = calloc(1, sizeof(*source));
		if (!source)
			return false;
		source->address = *address;
		HASH_ADD(hh, routes->sources, address, sizeof(source->address), source);
	}
	source->users++;
	return true;
}

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
		  !addr_equal(&found.prefsrc, &route->source) && use_source(routes, &found.prefsrc);
	if (changed) {
		release_source(routes, &route->source);
		route->source = found.prefsrc;
	}
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
		release_source(routes, &route->source);
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
		if (!use_source(routes, &route->source)) {
			free(route);
			return NULL;
		}
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
	release_source(routes, &route->source);
	HASH_DEL(routes->table, route);
	free(route);
}

static bool is_of_host(const struct net_event *event)
{
	return (event->kind == NET_ADDR || event->kind == NET_ROUTE) &&
	       ((event->address.family == AF_INET && event->prefix_length == 32) ||
		(event->address.family == AF_INET6 && event->prefix_length == 128));
}

/* What one address or host route means to the route: it leads there, leaves from there (and the
 * kernel removes such routes with the address, without a word), or has had no source until now. */
static bool is_touched(const struct ebpf_route *route, const struct net_event *event)
{
	return addr_equal(&route->address, &event->address) ||
	       addr_equal(&route->source, &event->address) || route->source.family == AF_UNSPEC;
}

void ebpf_routes_note(struct ebpf_routes *routes, const struct net_event *event)
{
	static const struct addr none = { 0 };
	struct ebpf_route *route, *next;
	bool of_host = is_of_host(event);

	if (of_host && !find_source(routes, &event->address) && !find_source(routes, &none)) {
		HASH_FIND(hh, routes->table, &event->address, sizeof(event->address), route);
		if (route)
			set_stale(routes, route, true);
	} else {
		HASH_ITER (hh, routes->table, route, next)
			if (!of_host || is_touched(route, event))
				set_stale(routes, route, true);
	}
	if (routes->stale)
		uv_idle_start(&routes->refresher, refresh_some);
}
