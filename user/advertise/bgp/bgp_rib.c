/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/bgp/bgp_rib.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include <uthash.h>
#include <utlist.h>

struct bgp_route {
	struct addr vip; /* the key */
	enum bgp_update_kind kind;
	uint64_t sequence; /* grows along each list */
	struct bgp_route *next, *prev;
	UT_hash_handle hh;
};

struct bgp_rib {
	struct bgp_route *by_vip; /* owns the routes */
	struct bgp_route *lists[BGP_FAMILY_COUNT][BGP_UPDATE_KINDS];
	struct bgp_rib_reader *readers;
	uint64_t sequence;
	size_t announced;
};

struct bgp_rib *bgp_rib_new(void)
{
	return calloc(1, sizeof(struct bgp_rib));
}

void bgp_rib_free(struct bgp_rib *rib)
{
	struct bgp_route *route, *tmp;

	if (rib == NULL)
		return;
	HASH_ITER (hh, rib->by_vip, route, tmp) {
		HASH_DEL(rib->by_vip, route);
		free(route);
	}
	free(rib);
}

static struct bgp_route *find(const struct bgp_rib *rib, const struct addr *vip)
{
	struct bgp_route *route;

	HASH_FIND(hh, rib->by_vip, vip, sizeof(*vip), route);
	return route;
}

/* Takes the route out of its list, and every cursor off it. */
static void unlink_route(struct bgp_rib *rib, struct bgp_route *route)
{
	enum bgp_family family = bgp_family_of(&route->vip);
	enum bgp_update_kind kind = route->kind;
	struct bgp_rib_reader *reader;

	DL_FOREACH (rib->readers, reader) {
		struct bgp_route *cursor = reader->cursor[family][kind];

		if (cursor == route)
			reader->cursor[family][kind] = route->next;
		else if (kind == BGP_ANNOUNCE && reader->active[family] &&
			 (cursor == NULL || cursor->sequence > route->sequence))
			reader->told[family]--;
	}
	DL_DELETE(rib->lists[family][kind], route);
	if (kind == BGP_ANNOUNCE)
		rib->announced--;
}

static void append_route(struct bgp_rib *rib, struct bgp_route *route, enum bgp_update_kind kind)
{
	enum bgp_family family = bgp_family_of(&route->vip);
	struct bgp_rib_reader *reader;

	route->kind = kind;
	route->sequence = ++rib->sequence;
	DL_APPEND(rib->lists[family][kind], route);
	DL_FOREACH (rib->readers, reader) {
		if (reader->active[family] && reader->cursor[family][kind] == NULL)
			reader->cursor[family][kind] = route;
	}
	if (kind == BGP_ANNOUNCE)
		rib->announced++;
}

/* Frees the withdrawn prefixes that every reader has passed. */
static void reclaim(struct bgp_rib *rib, enum bgp_family family)
{
	struct bgp_route *first;

	while ((first = rib->lists[family][BGP_WITHDRAW]) != NULL) {
		struct bgp_rib_reader *reader;

		DL_FOREACH (rib->readers, reader) {
			if (reader->cursor[family][BGP_WITHDRAW] == first)
				return;
		}
		DL_DELETE(rib->lists[family][BGP_WITHDRAW], first);
		HASH_DEL(rib->by_vip, first);
		free(first);
	}
}

int bgp_rib_announce(struct bgp_rib *rib, const struct addr *vip)
{
	struct bgp_route *route = find(rib, vip);

	if (route != NULL && route->kind == BGP_ANNOUNCE)
		return 0;
	if (route != NULL) {
		unlink_route(rib, route);
	} else {
		route = calloc(1, sizeof(*route));
		if (route == NULL)
			return -ENOMEM;
		route->vip = *vip;
		HASH_ADD(hh, rib->by_vip, vip, sizeof(route->vip), route);
	}
	append_route(rib, route, BGP_ANNOUNCE);
	return 0;
}

bool bgp_rib_withdraw(struct bgp_rib *rib, const struct addr *vip)
{
	struct bgp_route *route = find(rib, vip);

	if (route == NULL || route->kind == BGP_WITHDRAW)
		return false;
	unlink_route(rib, route);
	append_route(rib, route, BGP_WITHDRAW);
	reclaim(rib, bgp_family_of(vip));
	return true;
}

bool bgp_rib_contains(const struct bgp_rib *rib, const struct addr *vip)
{
	const struct bgp_route *route = find(rib, vip);

	return route != NULL && route->kind == BGP_ANNOUNCE;
}

size_t bgp_rib_count(const struct bgp_rib *rib)
{
	return rib->announced;
}

void bgp_rib_attach(struct bgp_rib *rib, struct bgp_rib_reader *reader)
{
	DL_APPEND(rib->readers, reader);
}

void bgp_rib_detach(struct bgp_rib *rib, struct bgp_rib_reader *reader)
{
	DL_DELETE(rib->readers, reader);
	for (int i = 0; i < BGP_FAMILY_COUNT; i++)
		reclaim(rib, (enum bgp_family)i);
}

void bgp_rib_start(struct bgp_rib *rib, struct bgp_rib_reader *reader, enum bgp_family family)
{
	/* A reader that starts anew has been told nothing that could be withdrawn; one that
	 * starts again keeps its place among the withdrawn. */
	if (!reader->active[family])
		reader->cursor[family][BGP_WITHDRAW] = NULL;
	reader->active[family] = true;
	reader->cursor[family][BGP_ANNOUNCE] = rib->lists[family][BGP_ANNOUNCE];
	reader->told[family] = 0;
}

void bgp_rib_stop(struct bgp_rib *rib, struct bgp_rib_reader *reader, enum bgp_family family)
{
	reader->active[family] = false;
	reader->told[family] = 0;
	for (int kind = 0; kind < BGP_UPDATE_KINDS; kind++)
		reader->cursor[family][kind] = NULL;
	reclaim(rib, family);
}

const struct addr *bgp_rib_peek(const struct bgp_rib_reader *reader, enum bgp_family family,
				enum bgp_update_kind kind)
{
	const struct bgp_route *route = reader->cursor[family][kind];

	return route == NULL ? NULL : &route->vip;
}

void bgp_rib_advance(struct bgp_rib *rib, struct bgp_rib_reader *reader, enum bgp_family family,
		     enum bgp_update_kind kind)
{
	struct bgp_route *route = reader->cursor[family][kind];

	reader->cursor[family][kind] = route->next;
	if (kind == BGP_ANNOUNCE)
		reader->told[family]++;
	else
		reclaim(rib, family);
}
