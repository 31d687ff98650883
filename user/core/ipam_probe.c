/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Probing for the address source "range": candidates, their answers, and the window of the lowest
 * free addresses that are probed ahead of need.
 *
 * invariant: a candidate is freed only when its probe is not under way, or was cancelled.
 * invariant: at most `parallel` probes ahead of need are under way; those that a request waits for
 * come on top.
 */
#include "core/ipam_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GATHER_MS 5    /* how long the window waits for more to change */
#define FAILED_MS 5000 /* after which a probe that could not be made is tried again */

static const int families[] = { AF_INET, AF_INET6 };

struct address_prober *ipam_prober(const struct ipam *ipam, int family)
{
	return family == AF_INET ? ipam->config.prober_ipv4 : ipam->config.prober_ipv6;
}

/* ---- candidates --------------------------------------------------------------------------- */

struct candidate *candidate_find(const struct ipam *ipam, const struct addr *addr)
{
	struct candidate *candidate;

	HASH_FIND(hh, ipam->candidates, addr, sizeof(*addr), candidate);
	return candidate;
}

struct candidate *candidate_get(struct ipam *ipam, const struct addr *addr)
{
	struct candidate *candidate = candidate_find(ipam, addr);

	if (candidate != NULL)
		return candidate;
	candidate = calloc(1, sizeof(*candidate));
	if (candidate == NULL)
		return NULL;
	candidate->addr = *addr;
	candidate->ipam = ipam;
	HASH_ADD(hh, ipam->candidates, addr, sizeof(candidate->addr), candidate);
	if (candidate->hh.tbl == NULL) {
		free(candidate);
		return NULL;
	}
	return candidate;
}

static void probe_ended(struct candidate *candidate)
{
	candidate->probing = false;
	if (candidate->ahead)
		candidate->ipam->probing_ahead--;
	candidate->ahead = false;
}

void candidate_free(struct candidate *candidate)
{
	struct ipam *ipam = candidate->ipam;
	struct address_prober *prober = ipam_prober(ipam, candidate->addr.family);

	if (candidate->probing) {
		prober->ops->cancel(prober, &candidate->addr);
		probe_ended(candidate);
	}
	HASH_DEL(ipam->candidates, candidate);
	free(candidate);
}

/* Twice the age at which it is asked again, so that the answer holds while that goes on. */
bool candidate_is_fresh(const struct candidate *candidate)
{
	const struct ipam_config *config = &candidate->ipam->config;

	return candidate->answer == ANSWER_CLEAR &&
	       uv_now(config->loop) - candidate->answered_ms < 2 * config->fresh_ms;
}

/* ---- probing ------------------------------------------------------------------------------ */

static void fail_in_use(struct ipam *ipam, struct request *request,
			const struct candidate *candidate)
{
	struct errbuf err;
	char text[ADDR_TEXT_SIZE];

	errbuf_set_field(&err, -EADDRINUSE, "eip", "%s is in use by another machine (%s)",
			 addr_format(&candidate->addr, text), candidate->holder);
	ipam_request_fail(ipam, request, -EADDRINUSE, &err);
}

/* Somebody has it: the request it was reserved for takes the next one. */
static void found_in_use(struct candidate *candidate, const char *holder)
{
	struct ipam *ipam = candidate->ipam;
	struct request *request = candidate->request;

	candidate->answer = ANSWER_IN_USE;
	candidate->request = NULL;
	snprintf(candidate->holder, sizeof(candidate->holder), "%s",
		 holder != NULL ? holder : "unknown");
	if (addr_set_add(&ipam->taken, &candidate->addr) < 0)
		candidate->answer = ANSWER_FAILED; /* no memory to note it: ask again later */
	if (request != NULL && request->by_name)
		fail_in_use(ipam, request, candidate);
	else if (request != NULL)
		ipam_request_pick_lowest(ipam, request);
}

/* It could not be found out. */
static void probe_failed(struct candidate *candidate, int status, const struct errbuf *reason)
{
	struct ipam *ipam = candidate->ipam;
	struct request *request = candidate->request;
	struct errbuf err = *reason;
	char text[ADDR_TEXT_SIZE];

	if (candidate->answer != ANSWER_IN_USE) {
		candidate->answer = ANSWER_FAILED;
		addr_set_remove(&ipam->taken, &candidate->addr);
	}
	candidate->request = NULL;
	if (request == NULL)
		return;
	errbuf_prefix(&err, status, "cannot find out whether %s is in use",
		      addr_format(&candidate->addr, text));
	ipam_request_fail(ipam, request, status, &err);
}

static void probed(void *arg, int status, const char *holder, const struct errbuf *err)
{
	struct candidate *candidate = arg;
	struct ipam *ipam = candidate->ipam;

	probe_ended(candidate);
	candidate->answered_ms = uv_now(ipam->config.loop);
	ipam_look_ahead_soon(ipam);
	if (status == -EADDRINUSE) {
		found_in_use(candidate, holder);
	} else if (status < 0) {
		probe_failed(candidate, status, err);
	} else if (candidate->request != NULL) {
		ipam_request_give(ipam, candidate->request, &candidate->addr);
	} else {
		if (candidate->answer == ANSWER_IN_USE)
			addr_set_remove(&ipam->taken, &candidate->addr);
		candidate->answer = ANSWER_CLEAR;
	}
}

static void probe(struct candidate *candidate, bool ahead)
{
	struct address_prober *prober = ipam_prober(candidate->ipam, candidate->addr.family);

	if (candidate->probing)
		return;
	candidate->probing = true;
	candidate->ahead = ahead;
	if (ahead)
		candidate->ipam->probing_ahead++;
	prober->ops->probe(prober, &candidate->addr, probed, candidate);
}

void candidate_probe(struct candidate *candidate)
{
	probe(candidate, false);
}

/* ---- the window --------------------------------------------------------------------------- */

/* When the candidate is to be asked again. */
static uint64_t due_ms(const struct candidate *candidate)
{
	const struct ipam_config *config = &candidate->ipam->config;

	switch (candidate->answer) {
	case ANSWER_CLEAR:
		return candidate->answered_ms + config->fresh_ms;
	case ANSWER_IN_USE:
		return candidate->answered_ms + config->retry_ms;
	case ANSWER_FAILED:
		return candidate->answered_ms + FAILED_MS;
	default:
		return 0;
	}
}

/* Makes candidates of the lowest free addresses; *end is the last one's. */
static void fill_window(struct ipam *ipam, int family, struct addr *end)
{
	struct addr addr = { .family = (uint16_t)family };

	*end = addr;
	for (size_t i = 0; i < ipam->config.window && ipam_seek_free(ipam, &addr); i++) {
		*end = addr;
		if (candidate_get(ipam, &addr) == NULL || !addr_next(&addr))
			break;
	}
}

/* Asks where an answer is due, forgets free ones above the window. Returns when the next is due. */
static uint64_t probe_ahead(struct ipam *ipam, const struct addr window_end[2])
{
	uint64_t now = uv_now(ipam->config.loop), next = UINT64_MAX;
	struct candidate *candidate, *following;
	struct addr *asked = calloc(ipam->config.parallel, sizeof(*asked));
	size_t asking = 0;

	/* First who is to be asked, then asking: an answer at once may free any candidate. */
	HASH_ITER (hh, ipam->candidates, candidate, following) {
		const struct addr *end = &window_end[candidate->addr.family == AF_INET ? 0 : 1];
		uint64_t due = due_ms(candidate);

		if (candidate->probing || candidate->request != NULL)
			continue;
		if (candidate->answer != ANSWER_IN_USE && addr_compare(&candidate->addr, end) > 0)
			candidate_free(candidate);
		else if (due > now)
			next = due < next ? due : next;
		else if (asked != NULL && ipam->probing_ahead + asking < ipam->config.parallel)
			asked[asking++] = candidate->addr;
	}
	for (size_t i = 0; i < asking; i++) {
		candidate = candidate_find(ipam, &asked[i]);
		if (candidate != NULL)
			probe(candidate, true);
	}
	if (asked == NULL)
		next = now + FAILED_MS;
	free(asked);
	return next;
}

/* What did not fit into `parallel` is asked when an answer comes, which brings us here again. */
static void look_ahead(uv_timer_t *timer)
{
	struct ipam *ipam = timer->data;
	uint64_t now = uv_now(timer->loop), next;
	struct addr window_end[2];

	ipam->gathering = false;
	for (size_t i = 0; i < 2; i++) {
		window_end[i] = (struct addr){ .family = (uint16_t)families[i] };
		if (ipam_prober(ipam, families[i]) != NULL)
			fill_window(ipam, families[i], &window_end[i]);
	}
	next = probe_ahead(ipam, window_end);
	if (!ipam->gathering && next != UINT64_MAX)
		uv_timer_start(timer, look_ahead, next - now, 0);
}

void ipam_look_ahead_soon(struct ipam *ipam)
{
	if (ipam->gathering ||
	    (ipam->config.prober_ipv4 == NULL && ipam->config.prober_ipv6 == NULL))
		return;
	ipam->gathering = true;
	uv_timer_start(&ipam->timer, look_ahead, GATHER_MS, 0);
}
