/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The address source "range". Two structures say where an address stands:
 *
 *   taken       addresses that are not to be handed out: given, reserved for a request that waits
 *               for a probe, or in use by another machine
 *   candidates  what is known by probing: of the window's addresses, of reserved ones, of those in
 * use
 *
 *            in taken   candidate                         reserved for `request`
 *   given    yes        none                              no
 *   reserved yes        probing                           yes
 *   in use   yes        answer = IN_USE (maybe probing)   maybe (it was asked for by name)
 *   free     no         none, or any other answer         no
 *
 * invariant: a candidate is freed only when its probe is not under way (or was cancelled).
 * Memory goes with what is given out and with the window, never with the size of the pool.
 */
#define HASH_NONFATAL_OOM 1
#include "core/ipam.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "core/ipam_pool.h"

#define DEFAULT_WINDOW   256
#define DEFAULT_PARALLEL 64
#define DEFAULT_FRESH_MS 60000
#define DEFAULT_RETRY_MS 120000
#define GATHER_MS        5    /* how long the window waits for more to change */
#define FAILED_MS        5000 /* after which a probe that could not be made is tried again */

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

static const int families[] = { AF_INET, AF_INET6 };

static struct address_prober *prober_of(const struct ipam *ipam, int family)
{
	return family == AF_INET ? ipam->config.prober_ipv4 : ipam->config.prober_ipv6;
}

/* ---- candidates --------------------------------------------------------------------------- */

static struct candidate *candidate_find(const struct ipam *ipam, const struct addr *addr)
{
	struct candidate *candidate;

	HASH_FIND(hh, ipam->candidates, addr, sizeof(*addr), candidate);
	return candidate;
}

static struct candidate *candidate_get(struct ipam *ipam, const struct addr *addr)
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

static void candidate_free(struct candidate *candidate)
{
	struct ipam *ipam = candidate->ipam;
	struct address_prober *prober = prober_of(ipam, candidate->addr.family);

	if (candidate->probing) {
		prober->ops->cancel(prober, &candidate->addr);
		probe_ended(candidate);
	}
	HASH_DEL(ipam->candidates, candidate);
	free(candidate);
}

/* Clear, and not so long ago that it may have changed. Twice the age at which it is asked again, so
 * that it holds while that goes on. */
static bool is_fresh(const struct candidate *candidate)
{
	const struct ipam_config *config = &candidate->ipam->config;

	return candidate->answer == ANSWER_CLEAR &&
	       uv_now(config->loop) - candidate->answered_ms < 2 * config->fresh_ms;
}

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
static void hand_out(struct ipam *ipam, struct request *request, const struct addr *addr)
{
	struct candidate *candidate = candidate_find(ipam, addr);
	struct addr given = *addr; /* addr may be the candidate's */

	if (candidate != NULL)
		candidate_free(candidate);
	request_end(ipam, request, 0, &given, NULL);
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
		request_end(ipam, request, -ENOSPC, NULL, &err);
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
	request_end(ipam, request, -ENOSPC, NULL, &err);
}

static void fail_memory(struct ipam *ipam, struct request *request)
{
	struct errbuf err;

	errbuf_set(&err, -ENOMEM, "cannot pick an address: out of memory");
	request_end(ipam, request, -ENOMEM, NULL, &err);
}

static void fail_in_use(struct ipam *ipam, struct request *request,
			const struct candidate *candidate)
{
	struct errbuf err;
	char text[ADDR_TEXT_SIZE];

	errbuf_set_field(&err, -EADDRINUSE, "eip", "%s is in use by another machine (%s)",
			 addr_format(&candidate->addr, text), candidate->holder);
	request_end(ipam, request, -EADDRINUSE, NULL, &err);
}

/* ---- probing ------------------------------------------------------------------------------ */

static void look_ahead_soon(struct ipam *ipam);
static void pick_lowest(struct ipam *ipam, struct request *request);

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
		pick_lowest(ipam, request);
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
	request_end(ipam, request, status, NULL, &err);
}

static void probed(void *arg, int status, const char *holder, const struct errbuf *err)
{
	struct candidate *candidate = arg;
	struct ipam *ipam = candidate->ipam;

	probe_ended(candidate);
	candidate->answered_ms = uv_now(ipam->config.loop);
	look_ahead_soon(ipam);
	if (status == -EADDRINUSE) {
		found_in_use(candidate, holder);
	} else if (status < 0) {
		probe_failed(candidate, status, err);
	} else if (candidate->request != NULL) {
		hand_out(ipam, candidate->request, &candidate->addr);
	} else {
		if (candidate->answer == ANSWER_IN_USE)
			addr_set_remove(&ipam->taken, &candidate->addr);
		candidate->answer = ANSWER_CLEAR;
	}
}

/* The answer may come, and free the candidate, before this returns. */
static void probe(struct candidate *candidate, bool ahead)
{
	struct address_prober *prober = prober_of(candidate->ipam, candidate->addr.family);

	if (candidate->probing)
		return;
	candidate->probing = true;
	candidate->ahead = ahead;
	if (ahead)
		candidate->ipam->probing_ahead++;
	prober->ops->probe(prober, &candidate->addr, probed, candidate);
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

/* The first free address of the pool, not below *addr. */
static bool seek_free(const struct ipam *ipam, struct addr *addr)
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

/* Makes candidates of the lowest free addresses; *end is the last one's. */
static void fill_window(struct ipam *ipam, int family, struct addr *end)
{
	struct addr addr = { .family = (uint16_t)family };

	*end = addr;
	for (size_t i = 0; i < ipam->config.window && seek_free(ipam, &addr); i++) {
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
		if (prober_of(ipam, families[i]) != NULL)
			fill_window(ipam, families[i], &window_end[i]);
	}
	next = probe_ahead(ipam, window_end);
	if (!ipam->gathering && next != UINT64_MAX)
		uv_timer_start(timer, look_ahead, next - now, 0);
}

static void look_ahead_soon(struct ipam *ipam)
{
	if (ipam->gathering ||
	    (ipam->config.prober_ipv4 == NULL && ipam->config.prober_ipv6 == NULL))
		return;
	ipam->gathering = true;
	uv_timer_start(&ipam->timer, look_ahead, GATHER_MS, 0);
}

/* ---- address_source_ops ------------------------------------------------------------------- */

/* Takes an address that may be had for the request: at once when that is known, else after a probe.
 */
static void reserve(struct ipam *ipam, struct request *request, const struct addr *addr)
{
	struct candidate *candidate = NULL;

	if (addr_set_add(&ipam->taken, addr) < 0) {
		fail_memory(ipam, request);
		return;
	}
	look_ahead_soon(ipam);
	if (prober_of(ipam, addr->family) != NULL) {
		candidate = candidate_get(ipam, addr);
		if (candidate == NULL) {
			addr_set_remove(&ipam->taken, addr);
			fail_memory(ipam, request);
			return;
		}
	}
	if (candidate == NULL || is_fresh(candidate)) {
		hand_out(ipam, request, addr);
		return;
	}
	candidate->request = request;
	probe(candidate, false);
}

static void pick_lowest(struct ipam *ipam, struct request *request)
{
	struct addr addr = { .family = (uint16_t)request->family };

	if (seek_free(ipam, &addr))
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
		request_end(ipam, request, -EINVAL, NULL, &err);
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
		request_end(ipam, request, -EADDRINUSE, NULL, &err);
		return;
	}
	/* In use when last asked, or reserved for a request that can do with any other. */
	candidate->request = request;
	probe(candidate, false);
	if (other != NULL)
		pick_lowest(ipam, other);
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
		pick_lowest(ipam, request);
}

static void ipam_release(struct address_source *source, const struct addr *addr)
{
	struct ipam *ipam = (struct ipam *)source;
	struct candidate *candidate;

	if (!addr_set_contains(&ipam->taken, addr) || candidate_find(ipam, addr) != NULL)
		return; /* not given: free, or not ours to give back */
	addr_set_remove(&ipam->taken, addr);
	if (prober_of(ipam, addr->family) == NULL || !ipam_pool_contains(&ipam->pool, addr))
		return;
	/* It was our own until now: that is as good as a probe nobody answered. */
	candidate = candidate_get(ipam, addr);
	if (candidate != NULL) {
		candidate->answer = ANSWER_CLEAR;
		candidate->answered_ms = uv_now(ipam->config.loop);
	}
	look_ahead_soon(ipam);
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
		request_end(ipam, displaced, -EADDRINUSE, NULL, &reason);
	} else if (displaced != NULL) {
		pick_lowest(ipam, displaced);
	}
	look_ahead_soon(ipam);
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
	look_ahead_soon(ipam);
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
		request_end(ipam, request, -ECANCELED, NULL, &err);
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
