/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_peer_book: every BGP peer of the node, and who asked for it. Peers of the API are in the
 * store, so that what was answered is there after a restart; those of flags and of a cloud are
 * theirs to give and to take away, and the API refuses to.
 *
 *   flags, cloud ──► book ──► bgp_speaker        the sessions
 *      API      ◄──►  │  ├──► store              those of the API
 *                     │  └──► datapath.follow    packets to VIPs come by the way to a peer
 *
 * invariant: what the API adds is answered when it is durable, and undone where that fails; what it
 * removes keeps its session until the removal is durable.
 *
 * Called by layer3.c alone, on the loop's thread.
 */
#ifndef SLB_CLI_BGP_PEER_BOOK_H
#define SLB_CLI_BGP_PEER_BOOK_H

#include "advertise/bgp/bgp_speaker.h"
#include "core/bgp_peers.h"
#include "core/datapath_ops.h"
#include "store/store.h"

struct bgp_peer_book;

struct bgp_peer_book_config {
	struct bgp_speaker *speaker; /* all are borrowed and outlive the book */
	struct store *store;
	struct datapath *datapath;
};

enum bgp_peer_origin { BGP_PEER_OF_FLAG, BGP_PEER_OF_API, BGP_PEER_OF_CLOUD };

int bgp_peer_book_open(const struct bgp_peer_book_config *config, struct bgp_peer_book **ret,
		       struct errbuf *err);

/* Waits for the store. The speaker's peers stay. Accepts NULL. */
void bgp_peer_book_close(struct bgp_peer_book *book);

/* Peers from elsewhere than the API. -EEXIST and others as bgp_speaker_add_peer(). */
int bgp_peer_book_add(struct bgp_peer_book *book, enum bgp_peer_origin origin,
		      const struct bgp_peer_config *config, struct errbuf *err);
/* Ends the session, if it is of this origin. */
void bgp_peer_book_drop(struct bgp_peer_book *book, enum bgp_peer_origin origin,
			const struct addr *address);

/* Adds those that the API was asked for in former runs. One that cannot be any more stays in the
 * book, with the reason, until it is removed. */
int bgp_peer_book_load(struct bgp_peer_book *book, struct errbuf *err);

/* What the API asks for. create: -EEXIST, -EINVAL and others as bgp_speaker_add_peer(), or the
 * store's errors. remove: -ENOENT, -EEXIST a peer that is not the API's, the store's errors. Both:
 * -EBUSY an earlier change of this peer is not done. `done` may come before the call returns. */
void bgp_peer_book_create(struct bgp_peer_book *book, const struct bgp_peer_config *config,
			  bgp_peer_done_cb *done, void *arg);
void bgp_peer_book_remove(struct bgp_peer_book *book, const struct addr *address,
			  bgp_peer_done_cb *done, void *arg);

/* All of them, in the order of their addresses; borrowed until the next call. */
const struct bgp_peer_view *bgp_peer_book_views(struct bgp_peer_book *book, size_t *ret_count);

#endif
