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
#include <utlist.h>

/* Of those that do not answer, so many are asked in a second: each is a request of 10 µs to the
 * kernel, and more would crowd its table. */
#define ASKED_PER_TICK 100

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
	bool missing; /* wanted and not usable: in that list */
	struct neighbour *next, *prev;
	UT_hash_handle hh;
};

struct ebpf_neighbours {
	struct net *net;
	struct neighbour *table;
	struct neighbour *missing;
	unsigned int missing_count;
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

/* After `wanted` or `usable` has changed. */
static void note_missing(struct ebpf_neighbours *neighbours, struct neighbour *neighbour)
{
	bool missing = neighbour->wanted && !neighbour->usable;

	if (missing == neighbour->missing)
		return;
	neighbour->missing = missing;
	if (missing) {
		DL_APPEND(neighbours->missing, neighbour);
		neighbours->missing_count++;
	} else {
		DL_DELETE(neighbours->missing, neighbour);
		neighbours->missing_count--;
	}
}

static void drop(struct ebpf_neighbours *neighbours, struct neighbour *neighbour)
{
	neighbour->wanted = 0;
	note_missing(neighbours, neighbour);
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
	note_missing(neighbours, neighbour);
	ask(neighbours, neighbour);
}

void ebpf_neighbours_release(struct ebpf_neighbours *neighbours, int ifindex,
			     const struct addr *address)
{
	struct neighbour *neighbour = find(neighbours, ifindex, address);

	if (!neighbour || !neighbour->wanted || --neighbour->wanted)
		return;
	note_missing(neighbours, neighbour);
	if (!neighbour->usable)
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
	note_missing(neighbours, neighbour);
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
	unsigned int count = neighbours->missing_count;

	if (count > ASKED_PER_TICK)
		count = ASKED_PER_TICK;
	while (count--) {
		struct neighbour *neighbour = neighbours->missing;

		DL_DELETE(neighbours->missing, neighbour); /* the next one's turn */
		DL_APPEND(neighbours->missing, neighbour);
		ask(neighbours, neighbour);
	}
}
