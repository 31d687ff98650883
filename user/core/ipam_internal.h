/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the two files of the address source "range" share: ipam.c hands addresses out, ipam_probe.c
 * finds out which ones nobody else uses. Nobody else includes this. Two structures say where an
 * address stands:
 *
 *   taken       addresses that are not to be handed out: given, reserved for a request that waits
 *               for a probe, or in use by another machine
 *   candidates  what is known by probing: of the window's addresses, reserved ones, ones in use
 *
 *            in taken   candidate                         reserved for `request`
 *   given    yes        none                              no
 *   reserved yes        probing                           yes
 *   in use   yes        answer = IN_USE (maybe probing)   maybe (it was asked for by name)
 *   free     no         none, or any other answer         no
 */
#ifndef SLB_CORE_IPAM_INTERNAL_H
#define SLB_CORE_IPAM_INTERNAL_H

/* A HASH_ADD that finds no memory leaves hh.tbl NULL instead of ending the process. */
#define HASH_NONFATAL_OOM 1

#include <sys/queue.h>
#include <uthash.h>

#include "core/ipam.h"
#include "core/ipam_pool.h"

enum answer { ANSWER_NONE, ANSWER_CLEAR, ANSWER_IN_USE, ANSWER_FAILED };

struct request {
	TAILQ_ENTRY(request) link;
	int family;
	bool by_name; /* this address or none */
	address_acquired_cb *done;
	void *arg;
};

struct candidate {
	struct addr addr;
	struct ipam *ipam;
	enum answer answer;
	uint64_t answered_ms; /* uv_now() */
	bool probing;
	bool ahead; /* the probe under way counts against `parallel` */
	struct request *request;
	char holder[IPAM_HOLDER_SIZE];
	UT_hash_handle hh;
};

struct ipam {
	struct address_source source; /* first */
	struct ipam_config config;
	struct ipam_pool pool;
	struct addr_set taken;
	struct candidate *candidates;
	TAILQ_HEAD(, request) requests; /* waiting for a probe */
	size_t probing_ahead;
	uv_timer_t timer;
	bool gathering; /* the timer is set to GATHER_MS */
};

/* ---- ipam_probe.c ------------------------------------------------------------------------- */

/* NULL: addresses of this family are not probed. */
struct address_prober *ipam_prober(const struct ipam *ipam, int family);

struct candidate *candidate_find(const struct ipam *ipam, const struct addr *addr);
struct candidate *candidate_get(struct ipam *ipam, const struct addr *addr); /* NULL: no memory */
void candidate_free(struct candidate *candidate);

/* Clear, and not so long ago that it may have changed. */
bool candidate_is_fresh(const struct candidate *candidate);

/* Asks, unless that is under way, because a request waits. The answer may come, and free the
 * candidate, before this returns. */
void candidate_probe(struct candidate *candidate);

/* Sees to the window when more has gathered. */
void ipam_look_ahead_soon(struct ipam *ipam);

/* ---- ipam.c ------------------------------------------------------------------------------- */

/* The first free address of the pool, not below *addr. */
bool ipam_seek_free(const struct ipam *ipam, struct addr *addr);

/* How a request ends, or goes on, when the probe it waited for has been answered. */
void ipam_request_give(struct ipam *ipam, struct request *request, const struct addr *addr);
void ipam_request_fail(struct ipam *ipam, struct request *request, int status,
		       const struct errbuf *err);
void ipam_request_pick_lowest(struct ipam *ipam, struct request *request);

#endif
