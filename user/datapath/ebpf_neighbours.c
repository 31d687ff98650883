/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Neighbours; see ebpf_neighbours.h. Called by ebpf_routes.c (next hops of backends) and ebpf.c
 * (events).
 *
 * The table holds what was wanted and what was ever seen usable: clients' neighbours and routers
 * too, since flows keep their MACs. It is as large as the kernel's own table, which gc_thresh3
 * bounds.
 */
#include "datapath/ebpf_neighbours.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct neighbour_key {
	int32_t ifindex;
	struct addr address;
	uint16_t pad;
};

struct neighbour {
	struct neighbour_key key;
	unsigned int wanted;
	bool usable;
	uint8_t mac[NET_MAC_SIZE];
	UT_hash_handle hh;
};

struct ebpf_neighbours {
	struct net *net;
	struct neighbour *table;
};

static struct neighbour *find(struct ebpf_neighbours *neighbours, int ifindex,
			      const struct addr *address)
{
	struct neighbour_key key;
	struct neighbour *neighbour;

	memset(&key, 0, sizeof(key));
	key.ifindex = ifindex;
	key.address = *address;
	HASH_FIND(hh, neighbours->table, &key, sizeof(key), neighbour);
	return neighbour;
}

static struct neighbour *find_or_add(struct ebpf_neighbours *neighbours, int ifindex,
				     const struct addr *address)
{
	struct neighbour *neighbour = find(neighbours, ifindex, address);

	if (neighbour)
		return neighbour;
	neighbour = calloc(1, sizeof(*neighbour));
	if (!neighbour)
		return NULL;
	neighbour->key.ifindex = ifindex;
	neighbour->key.address = *address;
	HASH_ADD(hh, neighbours->table, key, sizeof(neighbour->key), neighbour);
	return neighbour;
}

static void drop(struct ebpf_neighbours *neighbours, struct neighbour *neighbour)
{
	HASH_DEL(neighbours->table, neighbour);
	free(neighbour);
}

/* A failure shows in the neighbour's state; the next tick asks again. */
static void ask(struct ebpf_neighbours *neighbours, const struct neighbour *neighbour)
{
	struct errbuf ignored;

	net_neigh_resolve(neighbours->net, neighbour->key.ifindex, &neighbour->key.address,
			  &ignored);
}

struct ebpf_neighbours *ebpf_neighbours_open(struct net *net)
{
	struct ebpf_neighbours *neighbours = calloc(1, sizeof(*neighbours));

	if (neighbours)
		neighbours->net = net;
	return neighbours;
}

void ebpf_neighbours_close(struct ebpf_neighbours *neighbours)
{
	struct neighbour *neighbour, *next;

	if (!neighbours)
		return;
	HASH_ITER (hh, neighbours->table, neighbour, next)
		drop(neighbours, neighbour);
	free(neighbours);
}

void ebpf_neighbours_want(struct ebpf_neighbours *neighbours, int ifindex,
			  const struct addr *address)
{
	struct neighbour *neighbour = find_or_add(neighbours, ifindex, address);
	struct net_neigh now;
	struct errbuf ignored;

	if (!neighbour || neighbour->wanted++)
		return;
	if (net_neigh_get(neighbours->net, ifindex, address, &now, &ignored) == 0 &&
	    net_neigh_is_usable(&now)) {
		neighbour->usable = true;
		memcpy(neighbour->mac, now.mac, sizeof(neighbour->mac));
	}
	ask(neighbours, neighbour);
}

void ebpf_neighbours_release(struct ebpf_neighbours *neighbours, int ifindex,
			     const struct addr *address)
{
	struct neighbour *neighbour = find(neighbours, ifindex, address);

	if (neighbour && neighbour->wanted && !--neighbour->wanted && !neighbour->usable)
		drop(neighbours, neighbour);
}

bool ebpf_neighbours_note(struct ebpf_neighbours *neighbours, const struct net_event *event)
{
	struct neighbour *neighbour = find(neighbours, event->ifindex, &event->address);
	bool usable = !event->removed && net_neigh_is_usable(&event->neigh);
	bool matters;

	if (!neighbour) {
		if (!usable)
			return false;
		neighbour = find_or_add(neighbours, event->ifindex, &event->address);
		if (!neighbour)
			return true;
	}
	matters = usable != neighbour->usable ||
		  (usable && memcmp(neighbour->mac, event->neigh.mac, sizeof(neighbour->mac)) != 0);
	neighbour->usable = usable;
	if (usable)
		memcpy(neighbour->mac, event->neigh.mac, sizeof(neighbour->mac));

	if (neighbour->wanted && usable && (event->neigh.state & NUD_STALE))
		ask(neighbours, neighbour); /* before the kernel's garbage collection takes it */
	if (!neighbour->wanted && !usable)
		drop(neighbours, neighbour);
	return matters;
}

void ebpf_neighbours_tick(struct ebpf_neighbours *neighbours)
{
	struct neighbour *neighbour, *next;

	HASH_ITER (hh, neighbours->table, neighbour, next)
		if (neighbour->wanted && !neighbour->usable)
			ask(neighbours, neighbour);
}
