/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One timer serves all probes. A probe is in the list `asking` until its answer is known, then in
 * `answered` until the caller has been told; telling is done from the loop only, and one at a time
 * from the list's head, since the callback may begin and cancel others.
 */
#include "advertise/prober.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "advertise/pace.h"

#define TICK_MS 10

struct probe {
	struct addr address;
	address_probed_cb *done;
	void *arg;
	uint32_t sent;
	uint64_t next_ms;
	int status;
	bool in_use;
	uint8_t mac[6];
	struct probe *prev, *next;
};

struct prober {
	struct address_prober prober;
	struct net *net;
	struct adapter *adapter;
	struct segment *segment;
	struct segment_listener listener;
	struct probe *asking, *answered;
	uv_timer_t timer; /* its closing frees the prober */
	uint32_t probes, spacing_ms;
	struct pace pace;
	bool closed;
};

static void on_timer(uv_timer_t *timer);

static void wake(struct prober *prober)
{
	if (!uv_is_active((uv_handle_t *)&prober->timer))
		uv_timer_start(&prober->timer, on_timer, 0, TICK_MS);
}

/* The probe's end; its caller is told by the timer. */
static void answer(struct prober *prober, struct probe *probe, int status, const uint8_t *mac)
{
	DL_DELETE(prober->asking, probe);
	segment_unwatch(prober->segment, &probe->address);
	probe->status = status;
	probe->in_use = mac != NULL;
	if (mac != NULL)
		memcpy(probe->mac, mac, sizeof(probe->mac));
	DL_APPEND(prober->answered, probe);
}

static void tell_one(const struct probe *probe)
{
	char holder[sizeof("00:00:00:00:00:00")], address[ADDR_TEXT_SIZE];
	const uint8_t *mac = probe->mac;
	struct errbuf err;

	if (probe->in_use) {
		snprintf(holder, sizeof(holder), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
		probe->done(probe->arg, -EADDRINUSE, holder, NULL);
	} else if (probe->status < 0) {
		errbuf_set(&err, probe->status, "cannot ask the segment for %s: %s",
			   addr_format(&probe->address, address), strerror(-probe->status));
		probe->done(probe->arg, probe->status, NULL, &err);
	} else {
		probe->done(probe->arg, 0, NULL, NULL);
	}
}

static void tell(struct prober *prober)
{
	while (prober->answered != NULL) {
		struct probe *probe = prober->answered;

		DL_DELETE(prober->answered, probe);
		tell_one(probe);
		free(probe);
	}
}

/* Does this node have the address, other than from slb? An FIB lookup rules nearly all out. */
static bool is_own(struct prober *prober, const struct addr *address)
{
	struct net_addr *addrs;
	struct errbuf ignored;
	bool local = false, own = false;
	size_t count;

	if (net_addr_is_local(prober->net, address, &local, &ignored) < 0 || !local ||
	    net_addr_list(prober->net, 0, &addrs, &count, &ignored) < 0)
		return false;
	for (size_t i = 0; i < count && !own; i++)
		own = addr_equal(&addrs[i].address, address) &&
		      addrs[i].protocol != NET_PROTOCOL_SLB;
	free(addrs);
	return own;
}

static uint64_t jittered(const struct prober *prober)
{
	uint32_t random = 0;

	(void)uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
	return prober->spacing_ms + random % (prober->spacing_ms / 4 + 1);
}

/* Sends the next probe, or knows that nobody answered. False when the pace says to wait. */
static bool step(struct prober *prober, struct probe *probe, uint64_t now_ms)
{
	int error;

	if (probe->sent == 0 && is_own(prober, &probe->address)) {
		const struct net_link *link = adapter_link(prober->adapter);
		static const uint8_t none[NET_MAC_SIZE] = { 0 };

		answer(prober, probe, 0, link != NULL ? link->mac : none);
		return true;
	}
	if (segment_is_silent(prober->segment)) {
		answer(prober, probe, 0, NULL);
		return true;
	}
	/* Asking a segment that is not there would find every address free. */
	if (!segment_is_ready(prober->segment)) {
		answer(prober, probe, -ENETDOWN, NULL);
		return true;
	}
	if (probe->sent == prober->probes) {
		answer(prober, probe, 0, NULL);
		return true;
	}
	if (!pace_take(&prober->pace, 1, now_ms))
		return false;
	error = segment_probe(prober->segment, &probe->address);
	if (error == 0) {
		probe->sent++;
		probe->next_ms = now_ms + jittered(prober);
	} else if (error != -ENOBUFS && error != -EAGAIN) {
		answer(prober, probe, error, NULL);
	}
	return true;
}

static void on_timer(uv_timer_t *timer)
{
	struct prober *prober = timer->data;
	uint64_t now_ms = uv_now(timer->loop);
	struct probe *probe, *next;

	DL_FOREACH_SAFE (prober->asking, probe, next) {
		if (probe->next_ms <= now_ms && !step(prober, probe, now_ms))
			break;
	}
	tell(prober);
	if (prober->asking == NULL && prober->answered == NULL && !prober->closed)
		uv_timer_stop(timer);
}

static void on_claim(void *arg, const struct claim *claim)
{
	struct prober *prober = arg;
	struct probe *probe, *next;

	DL_FOREACH_SAFE (prober->asking, probe, next) {
		if (addr_equal(&probe->address, &claim->address))
			answer(prober, probe, 0, claim->mac);
	}
}

static void prober_probe(struct address_prober *base, const struct addr *address,
			 address_probed_cb *done, void *arg);
static void prober_cancel(struct address_prober *base, const struct addr *address);

static const struct address_prober_ops ops = {
	.name = "arp",
	.probe = prober_probe,
	.cancel = prober_cancel,
};

static void prober_probe(struct address_prober *base, const struct addr *address,
			 address_probed_cb *done, void *arg)
{
	struct prober *prober = (struct prober *)base;
	struct probe *probe = calloc(1, sizeof(*probe));
	struct errbuf err;

	/* The one answer that comes at once, since there is nothing to remember it by. */
	if (probe == NULL) {
		errbuf_set(&err, -ENOMEM, "cannot ask the segment: out of memory");
		done(arg, -ENOMEM, NULL, &err);
		return;
	}
	probe->address = *address;
	probe->done = done;
	probe->arg = arg;
	DL_APPEND(prober->asking, probe);
	(void)segment_watch(prober->segment, address); /* else the probe itself fails */
	wake(prober);
}

static void prober_cancel(struct address_prober *base, const struct addr *address)
{
	struct prober *prober = (struct prober *)base;
	struct probe *probe, *next;

	DL_FOREACH_SAFE (prober->asking, probe, next) {
		if (addr_equal(&probe->address, address))
			answer(prober, probe, -ECANCELED, NULL);
	}
	DL_FOREACH_SAFE (prober->answered, probe, next) {
		if (addr_equal(&probe->address, address)) {
			DL_DELETE(prober->answered, probe);
			free(probe);
		}
	}
}

int prober_open(const struct prober_config *config, struct address_prober **ret, struct errbuf *err)
{
	struct prober *prober = calloc(1, sizeof(*prober));

	if (prober == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	prober->prober.ops = &ops;
	prober->net = config->net;
	prober->adapter = config->adapter;
	prober->segment = config->segment;
	prober->probes = config->probes != 0 ? config->probes : PROBER_PROBES;
	prober->spacing_ms = config->spacing_ms != 0 ? config->spacing_ms : PROBER_SPACING_MS;
	pace_start(&prober->pace,
		   config->frames_per_s != 0 ? config->frames_per_s : PROBER_FRAMES_PER_S,
		   uv_now(config->loop));
	uv_timer_init(config->loop, &prober->timer);
	prober->timer.data = prober;
	prober->listener = (struct segment_listener){ .cb = on_claim, .arg = prober };
	segment_listen(prober->segment, &prober->listener);
	*ret = &prober->prober;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void prober_close(struct address_prober *base)
{
	struct prober *prober = (struct prober *)base;
	struct probe *probe, *next;

	if (base == NULL || prober->closed)
		return;
	prober->closed = true;
	segment_unlisten(prober->segment, &prober->listener);
	DL_FOREACH_SAFE (prober->asking, probe, next)
		answer(prober, probe, -ECANCELED, NULL);
	tell(prober);
	uv_close((uv_handle_t *)&prober->timer, on_closed);
}
