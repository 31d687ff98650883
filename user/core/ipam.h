/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipam: the address source "range": VIPs from pools of our own (--ipamRange), lowest free one
 * first.
 *
 * With a prober, no address is handed out that another machine answers for. So that a create need
 * not wait for the probe, the next lowest free ones (the window) are probed ahead, and again when
 * the answer has become old. A create that meets an address without a fresh answer waits for it;
 * one found in use is passed over and tried again after a while.
 */
#ifndef SLB_CORE_IPAM_H
#define SLB_CORE_IPAM_H

#include <uv.h>

#include "core/address_prober_ops.h"
#include "core/address_source_ops.h"

#define IPAM_HOLDER_SIZE 64

struct ipam_config {
	uv_loop_t *loop;    /* borrowed, as the probers are: they outlive the source */
	const char *ranges; /* see core/ipam_pool.h */
	struct address_prober *prober_ipv4, *prober_ipv6; /* NULL: addresses are not probed */
	/* 0 stands for the default. */
	size_t window;     /* free addresses probed ahead, per family: 256 */
	size_t parallel;   /* probes ahead of need under way at once: 64 */
	uint64_t fresh_ms; /* age at which an answer is asked for again: 60,000 */
	uint64_t retry_ms; /* after which one in use is tried again: 120,000 */
};

/* -EINVAL: the ranges, with a sentence; -ENOMEM. *ret is to be closed with ipam_close(). */
int ipam_open(const struct ipam_config *config, struct address_source **ret, struct errbuf *err);

/* Acquires under way are answered -ECANCELED. Accepts NULL. The loop must be run once more. */
void ipam_close(struct address_source *source);

enum ipam_state {
	IPAM_GIVEN,   /* to a load balancer */
	IPAM_CLEAR,   /* free, nobody answered */
	IPAM_PROBING, /* free, no answer yet */
	IPAM_IN_USE,  /* by another machine */
};

struct ipam_address {
	struct addr addr;
	enum ipam_state state;
	const char *holder; /* IPAM_IN_USE: who answered (a MAC address); else NULL */
};

/* Every address that is given out, probed or known to be in use; `found` borrows. Given ones come
 * first, in order; free ones outside of the window are not listed. */
void ipam_list(const struct address_source *source,
	       void (*found)(void *arg, const struct ipam_address *address), void *arg);

const char *ipam_state_name(enum ipam_state state);

#endif
