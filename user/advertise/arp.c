/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every announced VIP has the time of its next announcement. One timer serves them all: what is due
 * goes to the queue, the queue is sent at the pace.
 *
 * invariant: a VIP is in the queue at most once, and only while it is announced.
 */
#include "advertise/arp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>
#include <utlist.h>

#include "advertise/pace.h"
#include "advertise/placement.h"
#include "lib/log.h"

/* While frames wait for their turn, or the device's queue was full. */
#define QUEUE_INTERVAL_MS 10
/* What is due within this time is sent together, so that many VIPs are few wake-ups. */
#define TICK_MS 100
/* An announcement that a device refused for good reason is tried again after this. */
#define RETRY_MS 1000
/* rfc: 5227 1.1, DEFEND_INTERVAL */
#define DEFEND_INTERVAL_MS       10000
#define CONFLICT_LOG_INTERVAL_MS 60000
#define NEVER                    UINT64_MAX

struct vip {
	struct addr address;
	bool announcing;
	bool queued;
	unsigned int step; /* announcements since the reason for the present burst */
	uint64_t next_ms;  /* NEVER: waits for the adapter */
	uint64_t defended_ms, conflict_logged_ms; /* 0: never */
	struct arp_vip_status status;
	UT_hash_handle hh;
	struct vip *prev, *next; /* in the queue */
};

struct arp {
	struct advertiser advertiser;
	struct adapter *adapter;
	struct adapter_listener adapter_listener;
	struct segment *segment;
	struct segment_listener segment_listener;
	struct placement *placement;
	struct vip *vips;
	struct vip *queue;
	uv_timer_t timer;  /* its closing frees the advertiser */
	uint64_t timer_ms; /* when it fires; NEVER: it is not running */
	uint64_t repeat_ms;
	struct pace pace;
	struct arp_totals totals;
};

static struct arp *arp_of(const struct advertiser *adv)
{
	return (struct arp *)adv; /* its first member */
}

static struct vip *find(const struct arp *arp, const struct addr *address)
{
	struct vip *vip;

	HASH_FIND(hh, arp->vips, address, sizeof(*address), vip);
	return vip;
}

/* ---- when ------------------------------------------------------------------------------------ */

/* Time to the next announcement after `step` of them: at 0, 1, 2, 4, 8 … s, then regularly, with a
 * tenth of jitter so that VIPs created together drift apart. */
static uint64_t gap_ms(const struct arp *arp, unsigned int step)
{
	uint64_t gap = step <= 1 ? 1000 : step < 32 ? 1000ULL << (step - 2) : NEVER;
	uint32_t random = 0;

	if (gap < arp->repeat_ms)
		return gap;
	(void)uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
	return arp->repeat_ms - arp->repeat_ms / 20 + random % (arp->repeat_ms / 10 + 1);
}

static void on_timer(uv_timer_t *timer);

static void wake_at(struct arp *arp, uint64_t when_ms)
{
	uint64_t now_ms = uv_now(arp->timer.loop);

	if (when_ms >= arp->timer_ms)
		return;
	arp->timer_ms = when_ms;
	uv_timer_start(&arp->timer, on_timer, when_ms > now_ms ? when_ms - now_ms : 0, 0);
}

static void enqueue(struct arp *arp, struct vip *vip)
{
	if (vip->queued)
		return;
	DL_APPEND(arp->queue, vip);
	vip->queued = true;
}

static void dequeue(struct arp *arp, struct vip *vip)
{
	if (!vip->queued)
		return;
	DL_DELETE(arp->queue, vip);
	vip->queued = false;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void sent(struct arp *arp, struct vip *vip, uint64_t now_ms)
{
	vip->step++;
	vip->next_ms = now_ms + gap_ms(arp, vip->step);
	/* On a silent adapter nothing was announced; it may yet become one that is not. */
	if (segment_is_silent(arp->segment))
		return;
	vip->status.announcements++;
	vip->status.last_announced = time(NULL);
	arp->totals.announcements++;
}

/* Sends what is queued, as far as pace and device let it. */
static void drain(struct arp *arp)
{
	uint64_t now_ms = uv_now(arp->timer.loop);

	while (arp->queue != NULL) {
		struct vip *vip = arp->queue;
		int error;

		if (!segment_is_ready(arp->segment) ||
		    !placement_is_placed(arp->placement, &vip->address)) {
			/* The adapter's or the address's return queues it again. */
			dequeue(arp, vip);
			vip->next_ms = NEVER;
			continue;
		}
		if (!pace_take(&arp->pace, segment_announcement_frames(&vip->address), now_ms))
			break;
		error = segment_announce(arp->segment, &vip->address);
		if (error == -ENOBUFS || error == -EAGAIN) {
			arp->totals.send_errors++;
			break;
		}
		dequeue(arp, vip);
		if (error == 0) {
			sent(arp, vip, now_ms);
		} else {
			arp->totals.send_errors++;
			vip->next_ms = now_ms + RETRY_MS;
		}
		wake_at(arp, vip->next_ms);
	}
	if (arp->queue != NULL)
		wake_at(arp, now_ms + QUEUE_INTERVAL_MS);
}

static void on_timer(uv_timer_t *timer)
{
	struct arp *arp = timer->data;
	uint64_t now_ms = uv_now(timer->loop), next_ms = NEVER;
	struct vip *vip, *next;

	arp->timer_ms = NEVER;
	HASH_ITER (hh, arp->vips, vip, next) {
		if (!vip->announcing || vip->queued)
			continue;
		if (vip->next_ms <= now_ms)
			enqueue(arp, vip);
		else if (vip->next_ms < next_ms)
			next_ms = vip->next_ms;
	}
	drain(arp);
	if (next_ms != NEVER)
		wake_at(arp, next_ms < now_ms + TICK_MS ? now_ms + TICK_MS : next_ms);
}

/* There is news to tell of this VIP. */
static void burst(struct arp *arp, struct vip *vip)
{
	vip->step = 0;
	enqueue(arp, vip);
}

static void on_adapter(void *arg, unsigned int changes)
{
	struct arp *arp = arg;
	struct vip *vip, *next;

	if ((changes & (ADAPTER_BACK | ADAPTER_RUNNING | ADAPTER_MAC | ADAPTER_MOVED)) == 0)
		return;
	HASH_ITER (hh, arp->vips, vip, next) {
		if (vip->announcing)
			burst(arp, vip);
	}
	drain(arp);
}

static void on_restored(void *arg, const struct addr *address)
{
	struct arp *arp = arg;
	struct vip *vip = find(arp, address);

	if (vip != NULL && vip->announcing) {
		burst(arp, vip);
		drain(arp);
	}
}

/* ---- conflicts ------------------------------------------------------------------------------- */

static bool is_time(uint64_t *last_ms, uint64_t interval_ms, uint64_t now_ms)
{
	if (*last_ms != 0 && now_ms - *last_ms < interval_ms)
		return false;
	*last_ms = now_ms;
	return true;
}

static void defend(struct arp *arp, struct vip *vip)
{
	if (segment_defend(arp->segment, &vip->address) < 0)
		return;
	vip->status.defences++;
	arp->totals.defences++;
}

/* A probe is no claim: the kernel answers it, as the address is its own. */
static void on_claim(void *arg, const struct claim *claim)
{
	struct arp *arp = arg;
	struct vip *vip = find(arp, &claim->address);
	uint64_t now_ms = uv_now(arp->timer.loop);
	char text[ADDR_TEXT_SIZE];
	const uint8_t *mac = claim->mac;

	if (vip == NULL || claim->kind != CLAIM_HOLDS)
		return;
	vip->status.conflicts++;
	vip->status.last_conflict = time(NULL);
	memcpy(vip->status.conflict_mac, mac, sizeof(vip->status.conflict_mac));
	arp->totals.conflicts++;
	if (is_time(&vip->conflict_logged_ms, CONFLICT_LOG_INTERVAL_MS, now_ms))
		log_warn("Another host on %s claims VIP %s: its MAC is "
			 "%02x:%02x:%02x:%02x:%02x:%02x; take the address off it (%" PRIu64
			 " claims so far)",
			 adapter_name(arp->adapter), addr_format(&vip->address, text), mac[0],
			 mac[1], mac[2], mac[3], mac[4], mac[5], vip->status.conflicts);
	if (vip->announcing && is_time(&vip->defended_ms, DEFEND_INTERVAL_MS, now_ms))
		defend(arp, vip);
}

/* ---- advertiser_ops -------------------------------------------------------------------------- */

static int arp_prepare(struct advertiser *adv, const struct addr *address, struct errbuf *err)
{
	struct arp *arp = arp_of(adv);
	struct vip *vip = find(arp, address), *fresh = NULL;
	int error;

	if (vip == NULL) {
		fresh = calloc(1, sizeof(*fresh));
		if (fresh == NULL)
			return errbuf_set(err, -ENOMEM, "out of memory");
	}
	error = placement_put(arp->placement, address, err);
	if (error < 0) {
		free(fresh);
		return error;
	}
	if (fresh != NULL) {
		fresh->address = fresh->status.vip = *address;
		fresh->next_ms = NEVER;
		HASH_ADD(hh, arp->vips, address, sizeof(fresh->address), fresh);
		/* Without it conflicts of this VIP stay unseen; it works all the same. */
		(void)segment_watch(arp->segment, address);
	}
	return 0;
}

static void arp_announce(struct advertiser *adv, const struct addr *address)
{
	struct arp *arp = arp_of(adv);
	struct vip *vip = find(arp, address);

	if (vip == NULL || vip->announcing)
		return;
	vip->announcing = true;
	burst(arp, vip);
	drain(arp);
}

static int arp_withdraw(struct advertiser *adv, const struct addr *address, struct errbuf *err)
{
	struct arp *arp = arp_of(adv);
	struct vip *vip = find(arp, address);
	int error;

	if (vip == NULL)
		return 0;
	vip->announcing = false;
	dequeue(arp, vip);
	error = placement_remove(arp->placement, address, err);
	if (error < 0)
		return error;
	segment_unwatch(arp->segment, address);
	HASH_DEL(arp->vips, vip);
	free(vip);
	return 0;
}

static int arp_retain(struct advertiser *adv, bool (*is_desired)(void *arg, const struct addr *vip),
		      void *arg, struct errbuf *err)
{
	return placement_retain(arp_of(adv)->placement, is_desired, arg, err);
}

static const struct advertiser_ops ops = {
	.name = "arp",
	.prepare = arp_prepare,
	.announce = arp_announce,
	.withdraw = arp_withdraw,
	.retain = arp_retain,
};

int arp_advertiser_open(const struct arp_config *config, struct advertiser **ret,
			struct errbuf *err)
{
	struct arp *arp = calloc(1, sizeof(*arp));
	struct placement_config placement = {
		.loop = config->loop,
		.net = config->net,
		.adapter = config->adapter,
		.state_dir = config->state_dir,
		.restored = on_restored,
		.arg = arp,
	};
	int error;

	if (arp == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	error = placement_open(&placement, &arp->placement, err);
	if (error < 0) {
		free(arp);
		return error;
	}
	arp->advertiser.ops = &ops;
	arp->adapter = config->adapter;
	arp->segment = config->segment;
	arp->repeat_ms = 1000ULL * (config->repeat_interval_s != 0 ? config->repeat_interval_s
								   : ARP_REPEAT_INTERVAL_S);
	arp->timer_ms = NEVER;
	uv_timer_init(config->loop, &arp->timer);
	arp->timer.data = arp;
	pace_start(&arp->pace, config->frames_per_s != 0 ? config->frames_per_s : ARP_FRAMES_PER_S,
		   uv_now(config->loop));
	arp->adapter_listener = (struct adapter_listener){ .cb = on_adapter, .arg = arp };
	adapter_listen(arp->adapter, &arp->adapter_listener);
	arp->segment_listener = (struct segment_listener){ .cb = on_claim, .arg = arp };
	segment_listen(arp->segment, &arp->segment_listener);
	*ret = &arp->advertiser;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void arp_advertiser_close(struct advertiser *adv)
{
	struct arp *arp = arp_of(adv);
	struct vip *vip, *next;

	if (adv == NULL)
		return;
	HASH_ITER (hh, arp->vips, vip, next) {
		segment_unwatch(arp->segment, &vip->address);
		HASH_DEL(arp->vips, vip);
		free(vip);
	}
	segment_unlisten(arp->segment, &arp->segment_listener);
	adapter_unlisten(arp->adapter, &arp->adapter_listener);
	placement_close(arp->placement);
	uv_close((uv_handle_t *)&arp->timer, on_closed);
}

/* ---- status ---------------------------------------------------------------------------------- */

int arp_advertiser_vip_status(const struct advertiser *adv, const struct addr *address,
			      struct arp_vip_status *ret)
{
	const struct vip *vip = find(arp_of(adv), address);

	if (vip == NULL)
		return -ENOENT;
	*ret = vip->status;
	ret->announcing = vip->announcing;
	return 0;
}

struct arp_totals arp_advertiser_totals(const struct advertiser *adv)
{
	struct arp *arp = arp_of(adv);
	struct arp_totals totals = arp->totals;

	totals.restored = placement_restored_count(arp->placement);
	return totals;
}
