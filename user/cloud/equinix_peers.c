/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The peers that follow from the node's BGP neighbours, and the routes to those that are not on the
 * link: they are reached by way of the gateway of the network that the node's own address (the
 * API's customer_ip) is in.
 *
 * invariant: a route of another's making is never replaced; ours bear NET_PROTOCOL_SLB.
 */
#include <errno.h>
#include <string.h>

#include "cloud/equinix_internal.h"

/* The platform's routers are within this many hops; it is what its documentation sets. */
#define MULTIHOP_HOPS 5

/* The kernel takes a device's routes away together, and tells of each. */
#define GATHER_MS 100

static void set_routes(struct equinix_metal *metal);

/* ---- routes ---------------------------------------------------------------------------------- */

static uint8_t host_prefix(const struct addr *address)
{
	return (uint8_t)(addr_length_bytes(address) * 8);
}

static void complain(struct equinix_metal *metal, struct peer *peer, const struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];

	if (!peer->route_told)
		metal_trouble(metal, "BGP peer %s: %s", addr_format(&peer->peer.address, text),
			      err->text);
	peer->route_told = true;
}

static void set_route(struct equinix_metal *metal, struct peer *peer)
{
	const struct addr *dst = &peer->peer.address;
	char text[ADDR_TEXT_SIZE], via[ADDR_TEXT_SIZE];
	struct net_route route;
	struct errbuf err, ignored;
	int error = net_route_get(metal->config.net, dst, NULL, 0, &route, &err);

	if (error == 0 &&
	    (route.gateway.family == AF_UNSPEC || addr_equal(&route.gateway, &peer->gateway) ||
	     peer->gateway.family == AF_UNSPEC)) {
		peer->route_told = false;
		return; /* on the link, or by the right way; or who knows a better one? */
	}
	if (peer->gateway.family == AF_UNSPEC) {
		complain(metal, peer, &err);
		return;
	}
	/* One of ours from before the gateway changed. */
	(void)net_route_del(metal->config.net, dst, host_prefix(dst), &ignored);
	error = net_route_add(metal->config.net, dst, host_prefix(dst), &peer->gateway, &err);
	if (error == -EEXIST)
		return;
	if (error < 0) {
		complain(metal, peer, &err);
		return;
	}
	peer->route_told = false;
	metal_report(metal, "Route to BGP peer %s is via %s", addr_format(dst, text),
		     addr_format(&peer->gateway, via));
}

static void set_routes(struct equinix_metal *metal)
{
	for (size_t i = 0; metal->config.net != NULL && i < metal->peers.count; i++) {
		if (metal->peers.list[i].peer.multihop > 0)
			set_route(metal, &metal->peers.list[i]);
	}
}

static void remove_route(struct equinix_metal *metal, const struct peer *peer)
{
	const struct addr *dst = &peer->peer.address;
	struct errbuf ignored; /* there is none, mostly */

	if (metal->config.net != NULL && peer->peer.multihop > 0)
		(void)net_route_del(metal->config.net, dst, host_prefix(dst), &ignored);
}

static void on_gathered(uv_timer_t *timer)
{
	set_routes(timer->data);
}

static void on_event(void *arg, const struct net_event *event)
{
	struct equinix_metal *metal = arg;

	(void)event;
	if (!uv_is_active((uv_handle_t *)&metal->peers.timer))
		uv_timer_start(&metal->peers.timer, on_gathered, GATHER_MS, 0);
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void add(struct equinix_metal *metal, const struct peer *peer)
{
	struct peers *peers = &metal->peers;

	peers->list[peers->count++] = *peer;
	if (metal->config.net != NULL && peer->peer.multihop > 0)
		set_route(metal, &peers->list[peers->count - 1]);
	if (peers->added != NULL)
		peers->added(peers->arg, &peer->peer);
}

static void drop(struct equinix_metal *metal, size_t index)
{
	struct peers *peers = &metal->peers;
	struct peer gone = peers->list[index];
	char text[ADDR_TEXT_SIZE];

	peers->count--;
	memmove(&peers->list[index], &peers->list[index + 1],
		(peers->count - index) * sizeof(*peers->list));
	metal_report(metal, "Remove the peer configuration of:%s",
		     addr_format(&gone.peer.address, text));
	if (peers->removed != NULL)
		peers->removed(peers->arg, &gone.peer.address);
	remove_route(metal, &gone);
}

static struct addr gateway_of(const struct equinix_device *device, const struct addr *address)
{
	for (size_t i = 0; i < device->gateway_count; i++) {
		if (addr_equal(&device->gateways[i].address, address))
			return device->gateways[i].gateway;
	}
	return (struct addr){ .family = AF_UNSPEC };
}

static struct peer peer_of(const struct equinix_metal *metal,
			   const struct equinix_neighbour *neighbour, size_t index)
{
	struct peer peer;

	memset(&peer, 0, sizeof(peer)); /* compared as bytes */
	peer.peer.address = neighbour->peer_ips[index];
	peer.peer.as = neighbour->peer_as;
	peer.peer.local_as = neighbour->customer_as;
	peer.peer.source = neighbour->customer_ip;
	peer.peer.multihop = neighbour->multihop ? MULTIHOP_HOPS : 0;
	memcpy(peer.peer.password, neighbour->password, sizeof(peer.peer.password));
	peer.gateway = gateway_of(&metal->node.device, &neighbour->customer_ip);
	return peer;
}

static struct peer *find(struct peer *list, size_t count, const struct peer *peer)
{
	for (size_t i = 0; i < count; i++) {
		if (addr_equal(&list[i].peer.address, &peer->peer.address))
			return &list[i];
	}
	return NULL;
}

static size_t peers_of_neighbours(const struct equinix_metal *metal,
				  struct peer list[static EQUINIX_PEERS_MAX])
{
	const struct node *node = &metal->node;
	size_t count = 0;

	for (size_t i = 0; i < node->neighbour_count; i++) {
		for (size_t j = 0; j < node->neighbours[i].peer_ip_count; j++) {
			struct peer peer = peer_of(metal, &node->neighbours[i], j);

			if (count < EQUINIX_PEERS_MAX && find(list, count, &peer) == NULL)
				list[count++] = peer;
		}
	}
	return count;
}

static bool is_same(const struct peer *a, const struct peer *b)
{
	return memcmp(&a->peer, &b->peer, sizeof(a->peer)) == 0 &&
	       addr_equal(&a->gateway, &b->gateway);
}

void peers_update(struct equinix_metal *metal)
{
	struct peer wanted[EQUINIX_PEERS_MAX];
	size_t count = peers_of_neighbours(metal, wanted), i = 0;

	while (i < metal->peers.count) {
		const struct peer *same = find(wanted, count, &metal->peers.list[i]);

		if (same != NULL && is_same(same, &metal->peers.list[i]))
			i++;
		else
			drop(metal, i);
	}
	for (i = 0; i < count; i++) {
		if (find(metal->peers.list, metal->peers.count, &wanted[i]) == NULL)
			add(metal, &wanted[i]);
	}
	explicit_bzero(wanted, sizeof(wanted));
}

uint32_t equinix_metal_local_as(const struct equinix_metal *metal)
{
	return metal->peers.count > 0 ? metal->peers.list[0].peer.local_as : 0;
}

void equinix_metal_watch_peers(struct equinix_metal *metal,
			       void (*added)(void *arg, const struct equinix_metal_peer *peer),
			       void (*removed)(void *arg, const struct addr *address), void *arg)
{
	metal->peers.added = added;
	metal->peers.removed = removed;
	metal->peers.arg = arg;
	for (size_t i = 0; added != NULL && i < metal->peers.count; i++)
		added(arg, &metal->peers.list[i].peer);
}

int peers_open(struct equinix_metal *metal, struct errbuf *err)
{
	if (metal->config.net == NULL)
		return 0;
	return net_subscribe(metal->config.net, NET_LINK | NET_ADDR | NET_ROUTE, on_event, metal,
			     &metal->peers.subscription, err);
}

void peers_close(struct equinix_metal *metal)
{
	struct peers *peers = &metal->peers;

	net_unsubscribe(peers->subscription);
	peers->subscription = NULL;
	peers->added = NULL;
	peers->removed = NULL;
	for (size_t i = 0; !metal->keep_routes && i < peers->count; i++)
		remove_route(metal, &peers->list[i]);
	explicit_bzero(peers->list, sizeof(peers->list));
	peers->count = 0;
}
