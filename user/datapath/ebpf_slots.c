/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Regions of slots; see ebpf_slots.h. Called by ebpf_plan.c, ebpf_records.c, ebpf.c.
 *
 * Programs run under rcu_read_lock, and membarrier(2) with MEMBARRIER_CMD_GLOBAL is
 * synchronize_rcu(): when it returns, every program that was running when it was called is done.
 * A kernel with nohz_full CPUs refuses it; there a second of sleep must do, which no program lasts.
 *
 * invariant: `waiting` are the regions that the period under way will free; `retired` came later
 * and need another one.
 */
#include "datapath/ebpf_slots.h"

#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include "datapath/regions.h"

/* After a change the period begins a little later, so that many changes share one. */
#define GRACE_DELAY_MS 50

struct retired_region {
	struct slot_region region;
	struct retired_region *next;
};

struct ebpf_slots {
	struct slb_slots *lines; /* the map's memory */
	struct regions regions;  /* of lines */
	struct retired_region *retired, *waiting;
	uv_timer_t delay;
	uv_work_t work;
	bool working, closing, timer_closed;
	void (*closed)(void *arg);
	void *closed_arg;
};

static uint32_t line_of(uint32_t slot)
{
	return slot / SLB_SLOTS_PER_LINE;
}

static uint32_t lines_for(uint32_t slot_count)
{
	return slot_count / SLB_SLOTS_PER_LINE + (slot_count % SLB_SLOTS_PER_LINE != 0);
}

static void give_back(struct ebpf_slots *slots, struct slot_region region)
{
	regions_return(&slots->regions, line_of(region.first), lines_for(region.count));
}

/* ---- grace periods --------------------------------------------------------------------------- */

static void wait_for_programs(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
		sleep(1);
}

static void wait_in_pool(uv_work_t *work)
{
	(void)work;
	wait_for_programs();
}

static void give_back_all(struct ebpf_slots *slots, struct retired_region **list)
{
	struct retired_region *retired, *next;

	LL_FOREACH_SAFE(*list, retired, next)
	{
		give_back(slots, retired->region);
		free(retired);
	}
	*list = NULL;
}

static void free_slots(struct ebpf_slots *slots)
{
	give_back_all(slots, &slots->retired);
	give_back_all(slots, &slots->waiting);
	regions_free(&slots->regions);
	free(slots);
}

static void finish_close(struct ebpf_slots *slots)
{
	if (slots->working || !slots->timer_closed)
		return;
	slots->closed(slots->closed_arg);
	free_slots(slots);
}

static void begin_period(uv_timer_t *timer);

static void schedule_period(struct ebpf_slots *slots)
{
	if (slots->retired && !slots->working && !slots->closing &&
	    !uv_is_active((uv_handle_t *)&slots->delay))
		uv_timer_start(&slots->delay, begin_period, GRACE_DELAY_MS, 0);
}

static void period_is_over(uv_work_t *work, int status)
{
	struct ebpf_slots *slots = work->data;

	(void)status; /* nothing cancels it */
	slots->working = false;
	give_back_all(slots, &slots->waiting);
	schedule_period(slots);
	if (slots->closing)
		finish_close(slots);
}

static void begin_period(uv_timer_t *timer)
{
	struct ebpf_slots *slots = timer->data;

	slots->work.data = slots;
	if (uv_queue_work(timer->loop, &slots->work, wait_in_pool, period_is_over) < 0) {
		schedule_period(slots);
		return;
	}
	slots->working = true;
	LL_CONCAT(slots->waiting, slots->retired);
	slots->retired = NULL;
}

/* Only when there is no room otherwise: holds the loop for some milliseconds. */
static void give_back_now(struct ebpf_slots *slots)
{
	wait_for_programs();
	give_back_all(slots, &slots->retired);
	give_back_all(slots, &slots->waiting);
}

/* ---- opening and closing --------------------------------------------------------------------- */

int ebpf_slots_open(uv_loop_t *loop, const struct ebpf_maps *maps, struct ebpf_slots **ret,
		    struct errbuf *err)
{
	struct ebpf_slots *slots = calloc(1, sizeof(*slots));

	if (!slots || regions_init(&slots->regions, maps->capacity[EBPF_MAP_SLOTS]) < 0) {
		free(slots);
		return errbuf_set(err, -ENOMEM, "out of memory");
	}
	slots->lines = maps->slots;
	uv_timer_init(loop, &slots->delay);
	slots->delay.data = slots;
	*ret = slots;
	return 0;
}

static void timer_closed(uv_handle_t *handle)
{
	struct ebpf_slots *slots = handle->data;

	slots->timer_closed = true;
	finish_close(slots);
}

void ebpf_slots_close(struct ebpf_slots *slots, void (*done)(void *arg), void *arg)
{
	if (!slots) {
		done(arg);
		return;
	}
	slots->closing = true;
	slots->closed = done;
	slots->closed_arg = arg;
	uv_close((uv_handle_t *)&slots->delay, timer_closed);
}

/* ---- regions --------------------------------------------------------------------------------- */

static int no_room(const struct ebpf_slots *slots, uint32_t count, struct errbuf *err)
{
	return errbuf_set(err, -ENOSPC,
			  "no room for a schedule of %u slots (%u of %u are in use); delete load "
			  "balancers, or give those of scheduler maglev, which take 65537 slots "
			  "each, another one",
			  count, ebpf_slots_used(slots), slots->regions.limit * SLB_SLOTS_PER_LINE);
}

int ebpf_slots_put(struct ebpf_slots *slots, const uint32_t *backend_ids, uint32_t count,
		   struct slot_region *ret, struct errbuf *err)
{
	uint32_t line, lines = lines_for(count);

	if (!count) {
		*ret = (struct slot_region){ 0 };
		return 0;
	}
	if (!regions_give(&slots->regions, lines, &line)) {
		if (!slots->retired && !slots->waiting)
			return no_room(slots, count, err);
		give_back_now(slots);
		if (!regions_give(&slots->regions, lines, &line))
			return no_room(slots, count, err);
	}
	memcpy(slots->lines[line].backend_id, backend_ids, count * sizeof(*backend_ids));
	*ret = (struct slot_region){ line * SLB_SLOTS_PER_LINE, count };
	return 0;
}

void ebpf_slots_drop(struct ebpf_slots *slots, struct slot_region region)
{
	give_back(slots, region);
}

void ebpf_slots_retire(struct ebpf_slots *slots, struct slot_region region)
{
	struct retired_region *retired;

	if (!region.count)
		return;
	retired = malloc(sizeof(*retired));
	if (!retired)
		return; /* lost until the next start: better than given out too early */
	retired->region = region;
	LL_PREPEND(slots->retired, retired);
	schedule_period(slots);
}

bool ebpf_slots_adopt(struct ebpf_slots *slots, struct slot_region region)
{
	return region.first % SLB_SLOTS_PER_LINE == 0 &&
	       regions_take(&slots->regions, line_of(region.first), lines_for(region.count));
}

bool ebpf_slots_hold(const struct ebpf_slots *slots, struct slot_region region,
		     const uint32_t *backend_ids, uint32_t count)
{
	return region.count == count &&
	       (!count || memcmp(slots->lines[line_of(region.first)].backend_id, backend_ids,
				 count * sizeof(*backend_ids)) == 0);
}

uint32_t ebpf_slots_used(const struct ebpf_slots *slots)
{
	return slots->regions.used_count * SLB_SLOTS_PER_LINE;
}
