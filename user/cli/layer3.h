/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * layer3: what `--bgp` adds to a node: the speaker with a placer beneath it, its peers, the devices
 * that packets to VIPs come by, and an orderly end. Called by server.c.
 */
#ifndef SLB_CLI_LAYER3_H
#define SLB_CLI_LAYER3_H

#include "advertise/adapter.h"
#include "cloud/equinix_metal.h"
#include "cli/bgp_peer_book.h"
#include "cli/server_options.h"

struct layer3;

struct layer3_config {
	uv_loop_t *loop; /* all of these are borrowed and outlive it */
	struct net *net;
	struct adapter *adapter;
	struct store *store;
	struct datapath *datapath;
	struct equinix_metal *metal; /* tells of more peers, and of our AS; NULL: none */
	const struct server_options *options;
	bool restarted; /* a datapath was left that forwards packets already */
};

int layer3_open(const struct layer3_config *config, struct layer3 **ret, struct errbuf *err);

/* What core is given. Borrowed. */
struct advertiser *layer3_advertiser(struct layer3 *layer3);

/* For the API. Borrowed. */
struct bgp_peer_book *layer3_peers(struct layer3 *layer3);

/* rfc: 8326: asks peers to take other ways, and turns the loop for as long as the flag says, so
 * that they do before VIPs are withdrawn. Returns at once when there is nobody to ask, or they have
 * been. Accepts NULL. */
void layer3_quit_gracefully(struct layer3 *layer3);

/* Turns the loop until all sessions have ended. keep: silently, so that peers with graceful restart
 * keep the routes for a successor. Accepts NULL. */
void layer3_close(struct layer3 *layer3, bool keep);

#endif
