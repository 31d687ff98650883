/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_rib: what is announced, and how far each peer has been told.
 *
 * Every prefix is in one list: announced or withdrawn, per family, in the order of the last change.
 * A reader (one per peer) holds a cursor into each list: what is before it has been told, the rest
 * has not. So a change costs the same for any number of VIPs, a peer that is slow or down costs
 * nothing, and a VIP that comes and goes a hundred times while a peer does not read is told once.
 *
 *   withdrawn:  [gone, and all told: freed] … | cursor → not yet told …
 *   announced:  [told …]                      | cursor → not yet told …
 *
 * invariant: a prefix is in one list only; moving it to the end moves every cursor off it first.
 * invariant: a withdrawn prefix is kept only while some active reader has not passed it.
 */
#ifndef SLB_ADVERTISE_BGP_RIB_H
#define SLB_ADVERTISE_BGP_RIB_H

#include <stdbool.h>
#include <stddef.h>

#include "advertise/bgp/bgp_message.h"
#include "lib/addr.h"

struct bgp_rib;
struct bgp_route;

/* A peer's place in the rib. Zeroed by its owner before bgp_rib_attach(). */
struct bgp_rib_reader {
	struct bgp_rib_reader *next, *prev; /* of the rib's list */
	bool active[BGP_FAMILY_COUNT];
	struct bgp_route *cursor[BGP_FAMILY_COUNT][BGP_UPDATE_KINDS]; /* NULL: all told */
	size_t told[BGP_FAMILY_COUNT]; /* announced prefixes this reader has passed */
};

struct bgp_rib *bgp_rib_new(void);      /* NULL when memory is short */
void bgp_rib_free(struct bgp_rib *rib); /* accepts NULL; no reader may be attached */

/* Idempotent. -ENOMEM, and nothing has changed. */
int bgp_rib_announce(struct bgp_rib *rib, const struct addr *vip);
/* Idempotent; false when it was not announced. */
bool bgp_rib_withdraw(struct bgp_rib *rib, const struct addr *vip);
bool bgp_rib_contains(const struct bgp_rib *rib, const struct addr *vip); /* announced */
size_t bgp_rib_count(const struct bgp_rib *rib);                          /* announced */

/* A reader belongs to the rib from attach to detach; families start and stop in between. */
void bgp_rib_attach(struct bgp_rib *rib, struct bgp_rib_reader *reader);
void bgp_rib_detach(struct bgp_rib *rib, struct bgp_rib_reader *reader);
/* From here on the reader is told the family, from its beginning (also: again). */
void bgp_rib_start(struct bgp_rib *rib, struct bgp_rib_reader *reader, enum bgp_family family);
void bgp_rib_stop(struct bgp_rib *rib, struct bgp_rib_reader *reader, enum bgp_family family);

/* The next prefix to tell of this kind; NULL when there is none. Borrowed until the rib changes. */
const struct addr *bgp_rib_peek(const struct bgp_rib_reader *reader, enum bgp_family family,
				enum bgp_update_kind kind);
/* What peek returned has been told. */
void bgp_rib_advance(struct bgp_rib *rib, struct bgp_rib_reader *reader, enum bgp_family family,
		     enum bgp_update_kind kind);

#endif
