/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * equinix_metal: a node at Equinix Metal, or at what speaks the same API. It is the address source
 * "equinix-metal" (VIPs are reserved in the project, and given back), and it tells which BGP peers
 * the node has. README.md has the states and what becomes of every failure.
 *
 * invariant: whatever the API may have reserved for this node is known here, or is found by its
 * tags and given back. One slb per device and project: the tags name the device.
 *
 * Everything happens on the loop, in the background; nothing is logged, `report` tells what is
 * worth a line. Built by cli/server.c; in the order: open, wait, watch_peers, core_start, adopted;
 * close after core has stopped.
 */
#ifndef SLB_CLOUD_EQUINIX_METAL_H
#define SLB_CLOUD_EQUINIX_METAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/address_source_ops.h"
#include "lib/addr.h"
#include "lib/errbuf.h"
#include "net/net.h"

#define EQUINIX_METAL_URL           "https://api.equinix.com/metal/v1"
#define EQUINIX_METAL_PASSWORD_SIZE 81 /* TCP_MD5SIG_MAXKEYLEN and the final NUL */

struct equinix_metal;

struct equinix_metal_config {
	uv_loop_t *loop;      /* borrowed */
	struct net *net;      /* borrowed; NULL: no routes to peers are set */
	const char *url;      /* --equinix-api; NULL: EQUINIX_METAL_URL. All strings are copied */
	const char *token;    /* NULL: from the environment, see equinix_metal_token() */
	const char *project;  /* --project: its id */
	const char *facility; /* --facility: code of where addresses are reserved */
	const char *device;   /* --device: hostname or id; NULL: this node's host name */
	const char *ca_file;  /* PEM file of the authorities trusted; NULL: the system's */

	/* May be NULL. `trouble`: something is wrong and is tried again. */
	void (*report)(void *arg, bool trouble, const char *sentence);
	void *report_arg;

	/* 0 stands for the default. */
	uint64_t acquire_timeout_ms; /* until a create is told that there is no address: 60,000 */
	uint64_t request_timeout_ms; /* one call with its repetitions: 30,000 */
	uint64_t connect_timeout_ms; /* 5,000 */
	uint64_t attempt_timeout_ms; /* 15,000 */
	uint64_t backoff_ms;         /* between attempts of a call, at first: 250 */
	uint64_t poll_ms;            /* how often a pending address is looked at: 1,000 */
	uint64_t retry_ms;           /* work in the background that failed, at first: 5,000 */
	uint64_t refresh_ms;         /* reservations and peers are compared again: 600,000 */
	uint64_t patience_ms;        /* for what is under way at the end: 3,000 */
};

/* PACKET_AUTH_TOKEN, or else METAL_AUTH_TOKEN, of the environment; NULL without either. */
const char *equinix_metal_token(void);

/* -EINVAL with a sentence (project, URL, token, …), -ENOMEM. Begins to look for the node. */
int equinix_metal_open(const struct equinix_metal_config *config, struct equinix_metal **ret,
		       struct errbuf *err);

/* Turns the loop until node and peers have been found, or a first try has failed (then the error is
 * that try's, and it goes on trying). For the start, before there is anything else to do. */
int equinix_metal_wait(struct equinix_metal *metal, struct errbuf *err);

/* What core is given. Borrowed. */
struct address_source *equinix_metal_addresses(struct equinix_metal *metal);

/* core has adopted all that its store knows: addresses reserved for this node beyond these may be
 * given back from now on. Never call it when the store could not be read. */
void equinix_metal_adopted(struct equinix_metal *metal);

/* Answers the acquires under way with -ECANCELED, goes on giving back addresses for a while, then
 * frees everything and calls `done` (may be NULL); what was not given back is found by the next
 * start. `keep_routes`: the routes to peers stay for a successor. Nothing else may be called any
 * more, but the ops of the source until `done`. Accepts NULL: `done` is called at once. */
void equinix_metal_close(struct equinix_metal *metal, bool keep_routes, void (*done)(void *arg),
			 void *arg);

/* ---- BGP peers ------------------------------------------------------------------------------- */

struct equinix_metal_peer {
	struct addr address;
	uint32_t as;
	uint32_t local_as;  /* the node's own */
	struct addr source; /* the node's address that the peer expects; AF_UNSPEC: not said */
	uint8_t multihop;   /* hops that the peer may be away; 0: it is on the link */
	char password[EQUINIX_METAL_PASSWORD_SIZE]; /* TCP-MD5 (RFC 2385); empty: none */
};

/* The node's own AS as the API has it; 0 while it is not known. */
uint32_t equinix_metal_local_as(const struct equinix_metal *metal);

/* Tells of the peers known, at once, and of changes from then on. A peer that changes is removed
 * and added. There is a route to it when `added` is called. `peer` is borrowed. */
void equinix_metal_watch_peers(struct equinix_metal *metal,
			       void (*added)(void *arg, const struct equinix_metal_peer *peer),
			       void (*removed)(void *arg, const struct addr *address), void *arg);

/* ---- state ----------------------------------------------------------------------------------- */

struct equinix_metal_status {
	const char *device_id;        /* borrowed; empty while the node is not found */
	const char *hostname;         /* as the API has it */
	size_t held;                  /* addresses that load balancers have */
	size_t asking;                /* acquires under way */
	size_t releasing;             /* addresses that are to be given back */
	char last_error[ERRBUF_SIZE]; /* of work in the background; empty: all is well */
};

void equinix_metal_status(const struct equinix_metal *metal, struct equinix_metal_status *ret);

#endif
