/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The address source "range": handing addresses out and taking them back. Where an address may
 * stand is in ipam_internal.h. Memory goes with what is given out and with the window, never with
 * the size of the pool.
 */
#include "core/ipam_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_WINDOW   256
#define DEFAULT_PARALLEL 64
#define DEFAULT_FRESH_MS 60000
#define DEFAULT_RETRY_MS 120000

/* ---- answering requests ------------------------------------------------------------------- */

static void request_end(struct ipam *ipam, struct request *request, int status,
			const struct addr *addr, const struct errbuf *err)
{
	struct request ended = *request;

	TAILQ_REMOVE(&ipam->requests, request, link);
	free(request);
	ended.done(ended.arg, status, addr, err);
}

/* The address, reserved for the request, becomes its own. */
void ipam_request_give(struct ipam *ipam, struct request *request, const struct addr *addr)
{
	struct candidate *candidate = candidate_find(ipam, addr);
	struct addr given = *addr; /* addr may be the candidate's */

	if (candidate != NULL)
		candidate_free(candidate);
	request_end(ipam, request, 0, &given, NULL);
}

void ipam_request_fail(struct ipam *ipam, struct request *request, int status,
		       const struct errbuf *err)
{
	request_end(ipam, request, status, NULL, err);
}

/* Everything is taken: says how, and by whom. */
static void fail_exhausted(struct ipam *ipam, struct request *request)
{
	uint64_t size = ipam_pool_size(&ipam->pool, request->family);
	const char *family = request->family == AF_INET ? "IPv4" : "IPv6";
	struct candidate *candidate;
	size_t in_use = 0, reserved = 0, used = 0;
	char holders[192] = "", text[ADDR_TEXT_SIZE];
	struct errbuf err;

	if (size == 0) {
		errbuf_set_field(&err, -ENOSPC, "family",
				 "pool %s has no %s addresses; add some to --ipamRange",
				 ipam->pool.text, family);
		ipam_request_fail(ipam, request, -ENOSPC, &err);
		return;
	}
	for (candidate = ipam->candidates; candidate != NULL; candidate = candidate->hh.next) {
		if (candidate->addr.family != request->family)
			continue;
		if (candidate->answer != ANSWER_IN_USE) {
			reserved += candidate->request != NULL;
			continue;
		}
		if (++in_use <= 3)
			used += (size_t)snprintf(holders + used, sizeof(holders) - used,
						 "%s%s by %.24s", in_use == 1 ? " (" : ", ",
						 addr_format(&candidate->addr, text),
						 candidate->holder);
		if (used >= sizeof(holders))
			used = sizeof(holders) - 1;
	}
	errbuf_set(&err, -ENOSPC,
		   "pool %s exhausted: %" PRIu64 " %s addresses, %" PRIu64
		   " given out, %zu in use by other machines%s%s%s",
		   ipam->pool.text, size, family, size - in_use - reserved, in_use, holders,
		   in_use > 3 ? ", …" : "", in_use > 0 ? ")" : "");
	ipam_request_fail(ipam, request, -ENOSPC, &err);
}

static void fail_memory(struct ipam *ipam, struct request *request)
{
	struct errbuf err;

	errbuf_set(&err, -ENOMEM, "cannot pick an address: out of memory");
	ipam_request_fail(ipam, request, -ENOMEM, &err);
}

/* ---- address_source_ops ------------------------------------------------------------------- */

bool ipam_seek_free(const struct ipam *ipam, struct addr *addr)
{
	struct addr at = *addr;

	while (ipam_pool_seek(&ipam->pool, &at)) {
		struct addr found = at;

		if (!addr_set_skip(&ipam->taken, &at))
			return false;
		if (addr_equal(&found, &at)) {
			*addr = at;
			return true;
		}
	}
	return false;
}

/* Takes an address that may be had for the request: at once when that is known, else after a probe.
 */
static void reserve(struct ipam *ipam, struct request *request, const struct addr *addr)
{
	struct candidate *candidate = NULL;

	if (addr_set_add(&ipam->taken, addr) < 0) {
		fail_memory(ipam, request);
		return;
	}
	ipam_look_ahead_soon(ipam);
	if (ipam_prober(ipam, addr->family) != NULL) {
		candidate = candidate_get(ipam, addr);
		if (candidate == NULL) {
			addr_set_remove(&ipam->taken, addr);
			fail_memory(ipam, request);
			return;
		}
	}
	if (candidate == NULL || candidate_is_fresh(candidate)) {
		ipam_request_give(ipam, request, addr);
		return;
	}
	candidate->request = request;
	candidate_probe(candidate);
}

void ipam_request_pick_lowest(struct ipam *ipam, struct request *request)
{
	struct addr addr = { .family = (uint16_t)request->family };

	if (ipam_seek_free(ipam, &addr))
		reserve(ipam, request, &addr);
	else
		fail_exhausted(ipam, request);
}

static void pick_wanted(struct ipam *ipam, struct request *request, const struct addr *wanted)
{
	struct candidate *candidate = candidate_find(ipam, wanted);
	struct request *other;
	struct errbuf err;
	char text[ADDR_TEXT_SIZE];

	if (!ipam_pool_contains(&ipam->pool, wanted)) {
		errbuf_set_field(
			&err, -EINVAL, "eip",
			"%s is in no pool (%s); leave eip out, or give an address of a pool",
			addr_format(wanted, text), ipam->pool.text);
		ipam_request_fail(ipam, request, -EINVAL, &err);
		return;
	}
	if (!addr_set_contains(&ipam->taken, wanted)) {
		reserve(ipam, request, wanted);
		return;
	}
	other = candidate != NULL ? candidate->request : NULL;
	if (candidate == NULL || (other != NULL && other->by_name)) {
		errbuf_set_field(&err, -EADDRINUSE, "eip", "%s is given out already",
				 addr_format(wanted, text));
		ipam_request_fail(ipam, request, -EADDRINUSE, &err);
		return;
	}
	/* In use when last asked, or reserved for a request that can do with any other. */
	candidate->request = request;
	candidate_probe(candidate);
	if (other != NULL)
		ipam_request_pick_lowest(ipam, other);
}

static void ipam_acquire(struct address_source *source, int family, const struct addr *wanted,
			 const uuid_t owner, address_acquired_cb *done, void *arg)
{
	struct ipam *ipam = (struct ipam *)source;
	struct request *request = calloc(1, sizeof(*request));
	struct addr addr = *wanted; /* may be the caller's to free in the callback */
	struct errbuf err;

	(void)owner;
	if (request == NULL) {
		errbuf_set(&err, -ENOMEM, "cannot pick an address: out of memory");
		done(arg, -ENOMEM, NULL, &err);
		return;
	}
	request->family = family;
	request->by_name = addr.family != AF_UNSPEC;
	request->done = done;
	request->arg = arg;
	TAILQ_INSERT_TAIL(&ipam->requests, request, link);
	if (request->by_name)
		pick_wanted(ipam, request, &addr);
	else
		ipam_request_pick_lowest(ipam, request);
}

static void ipam_release(struct address_source *source, const struct addr *addr)
{
	struct ipam *ipam = (struct ipam *)source;
	struct candidate *candidate;

	if (!addr_set_contains(&ipam->taken, addr) || candidate_find(ipam, addr) != NULL)
		return; /* not given: free, or not ours to give back */
	addr_set_remove(&ipam->taken, addr);
	if (ipam_prober(ipam, addr->family) == NULL || !ipam_pool_contains(&ipam->pool, addr))
		return;
	/* It was our own until now: that is as good as a probe nobody answered. */
	candidate = candidate_get(ipam, addr);
	if (candidate != NULL) {
		candidate->answer = ANSWER_CLEAR;
		candidate->answered_ms = uv_now(ipam->config.loop);
	}
	ipam_look_ahead_soon(ipam);
}

static int ipam_adopt(struct address_source *source, const struct addr *addr, const uuid_t owner,
		      struct errbuf *err)
{
	struct ipam *ipam = (struct ipam *)source;
	struct candidate *candidate = candidate_find(ipam, addr);
	struct request *displaced = candidate != NULL ? candidate->request : NULL;
	char text[ADDR_TEXT_SIZE];

	(void)owner;
	if (addr_set_add(&ipam->taken, addr) < 0)
		return errbuf_set(err, -ENOMEM, "cannot note that %s is given out: out of memory",
				  addr_format(addr, text));
	if (candidate != NULL)
		candidate_free(candidate);
	if (displaced != NULL && displaced->by_name) {
		struct errbuf reason;

		errbuf_set_field(&reason, -EADDRINUSE, "eip", "%s is given out already",
				 addr_format(addr, text));
		ipam_request_fail(ipam, displaced, -EADDRINUSE, &reason);
	} else if (displaced != NULL) {
		ipam_request_pick_lowest(ipam, displaced);
	}
	ipam_look_ahead_soon(ipam);
	return 0;
}

static const struct address_source_ops range_ops = {
	.name = "range",
	.acquire = ipam_acquire,
	.release = ipam_release,
	.adopt = ipam_adopt,
};

/* ---- opening, closing, listing ------------------------------------------------------------ */

int ipam_open(const struct ipam_config *config, struct address_source **ret, struct errbuf *err)
{
	struct ipam *ipam = calloc(1, sizeof(*ipam));
	int error;

	if (ipam == NULL)
		return errbuf_set(err, -ENOMEM, "cannot make the address pools: out of memory");
	error = ipam_pool_parse(config->ranges, &ipam->pool, err);
	if (error < 0) {
		free(ipam);
		return error;
	}
	ipam->source.ops = &range_ops;
	ipam->config = *config;
	ipam->config.ranges = NULL; /* the pool has its own copy */
	if (config->window == 0)
		ipam->config.window = DEFAULT_WINDOW;
	if (config->parallel == 0)
		ipam->config.parallel = DEFAULT_PARALLEL;
	if (config->fresh_ms == 0)
		ipam->config.fresh_ms = DEFAULT_FRESH_MS;
	if (config->retry_ms == 0)
		ipam->config.retry_ms = DEFAULT_RETRY_MS;
	TAILQ_INIT(&ipam->requests);
	uv_timer_init(config->loop, &ipam->timer);
	uv_unref((uv_handle_t *)&ipam->timer); /* looking ahead alone keeps no program running */
	ipam->timer.data = ipam;
	ipam_look_ahead_soon(ipam);
	*ret = &ipam->source;
	return 0;
}

static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void ipam_close(struct address_source *source)
{
	struct ipam *ipam = (struct ipam *)source;
	struct candidate *candidate, *next;
	struct request *request;
	struct errbuf err;

	if (source == NULL)
		return;
	HASH_ITER (hh, ipam->candidates, candidate, next) {
		candidate_free(candidate);
	}
	errbuf_set(&err, -ECANCELED, "slb is stopping");
	while ((request = TAILQ_FIRST(&ipam->requests)) != NULL)
		ipam_request_fail(ipam, request, -ECANCELED, &err);
	addr_set_free(&ipam->taken);
	ipam_pool_free(&ipam->pool);
	uv_close((uv_handle_t *)&ipam->timer, timer_closed);
}

const char *ipam_state_name(enum ipam_state state)
{
	static const char *const names[] = {
		[IPAM_GIVEN] = "given",
		[IPAM_CLEAR] = "clear",
		[IPAM_PROBING] = "probing",
		[IPAM_IN_USE] = "in-use",
	};

	return names[state];
}

static enum ipam_state candidate_state(const struct candidate *candidate)
{
	if (candidate->answer == ANSWER_IN_USE)
		return IPAM_IN_USE;
	return candidate->answer == ANSWER_CLEAR ? IPAM_CLEAR : IPAM_PROBING;
}

void ipam_list(const struct address_source *source,
	       void (*found)(void *arg, const struct ipam_address *address), void *arg)
{
	const struct ipam *ipam = (const struct ipam *)source;
	const struct candidate *candidate;
	struct ipam_address address = { .state = IPAM_GIVEN };

	for (size_t i = 0; i < ipam->taken.run_count; i++) {
		const struct addr_range *run = &ipam->taken.runs[i];

		address.addr = run->first;
		do {
			if (candidate_find(ipam, &address.addr) == NULL)
				found(arg, &address);
		} while (!addr_equal(&address.addr, &run->last) && addr_next(&address.addr));
	}
	for (candidate = ipam->candidates; candidate != NULL; candidate = candidate->hh.next) {
		address.addr = candidate->addr;
		address.state = candidate_state(candidate);
		address.holder = address.state == IPAM_IN_USE ? candidate->holder : NULL;
		found(arg, &address);
	}
}
