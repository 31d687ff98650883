/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_speaker: the BGP advertiser as the rest of slb sees it. It owns the peers, the rib and the
 * listening sockets; it implements advertiser_ops ("bgp"). Putting a VIP on the adapter is not its
 * business: it passes prepare, the second half of withdraw, and retain on to a `placer`.
 *
 * invariant: a withdrawal is sent before the VIP leaves the adapter; of a burst the first one is,
 * and the rest, packed together, on the loop's next turn. invariant: peers hear "that is all"
 * (End-of-RIB) only after retain(), when core has announced all that it desires; so a restart loses
 * no route at a peer that does graceful restart.
 *
 * Called on the loop's thread. Logs what happens by itself (peers up and down).
 */
#ifndef SLB_ADVERTISE_BGP_SPEAKER_H
#define SLB_ADVERTISE_BGP_SPEAKER_H

#include <uv.h>

#include "advertise/bgp/bgp_config.h"
#include "advertise/bgp/bgp_peer.h"
#include "core/advertiser_ops.h"

struct bgp_speaker;

/* `config` is copied, and completed (bgp_config_complete); `placer` is borrowed and outlives the
 * speaker, NULL: VIPs are on the node by other means. Opens nothing before the first peer. */
int bgp_speaker_new(uv_loop_t *loop, const struct bgp_config *config, struct advertiser *placer,
		    struct bgp_speaker **ret, struct errbuf *err);

/* What core is given. Borrowed. */
struct advertiser *bgp_speaker_advertiser(struct bgp_speaker *speaker);

/* -EEXIST: this address is a peer already. Listening that fails is logged and to be read in the
 * status; the peer is connected to all the same. */
int bgp_speaker_add_peer(struct bgp_speaker *speaker, const struct bgp_peer_config *peer,
			 struct errbuf *err);
/* Sends "Peer De-configured" and forgets it. -ENOENT. */
int bgp_speaker_remove_peer(struct bgp_speaker *speaker, const struct addr *peer,
			    struct errbuf *err);

/* In the order of their addresses: the one at `index`; false when there are no more. */
bool bgp_speaker_peer_status(const struct bgp_speaker *speaker, size_t index,
			     struct bgp_peer_status *ret);

/* The one at this address; false when it is no peer. */
bool bgp_speaker_find_peer(const struct bgp_speaker *speaker, const struct addr *address,
			   struct bgp_peer_status *ret);

struct bgp_speaker_status {
	uint32_t as, router_id;
	uint16_t listen_port;
	bool listening;                 /* for every family that peers need */
	char listen_error[ERRBUF_SIZE]; /* a sentence, or empty */
	size_t peers, established;
	size_t vips; /* announced */
	bool graceful_shutdown;
};

void bgp_speaker_status(const struct bgp_speaker *speaker, struct bgp_speaker_status *ret);

/* rfc: 8326: announces everything again with (or without) 65535:0, so that peers prefer other ways
 * before this node goes. Give them a few seconds, then withdraw or stop. */
void bgp_speaker_graceful_shutdown(struct bgp_speaker *speaker, bool on);

/* Looks for the next hops again; call it when addresses of the node have changed. */
void bgp_speaker_addresses_changed(struct bgp_speaker *speaker);

enum bgp_stop {
	BGP_STOP_FOR_GOOD,  /* with Administrative Shutdown: peers drop our routes at once */
	BGP_STOP_TO_RETURN, /* silently: peers that do graceful restart keep them for a while */
};

/* Ends all sessions and frees the speaker, on the loop; then `done` (may be NULL) is called, after
 * no longer than about a second. `text` (may be NULL) is shown to the peers' operators (rfc: 9003).
 * Nothing else may be called any more. Accepts NULL: `done` is called at once. */
void bgp_speaker_stop(struct bgp_speaker *speaker, enum bgp_stop how, const char *text,
		      void (*done)(void *arg), void *arg);

#endif
