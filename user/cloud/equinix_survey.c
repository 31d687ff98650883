/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A survey reads the API's list of the project's addresses and compares: pending ones may have
 * become ready, adopted ones get their id, and a stray (tagged by this node, and nobody's here) is
 * given back.
 *
 * invariant: a stray is given back only after the whole list was read, core has told of all that
 * its store knows, and no request is under way that may have just made it.
 */
#include <errno.h>
#include <stdlib.h>

#include "cloud/equinix_internal.h"

/* After an uncertain answer the API may still be at work on what it was asked for. */
static const uint64_t doubt_ms[] = { 0, 2000, 10000, 60000, 300000 };
#define DOUBT_STEPS (sizeof(doubt_ms) / sizeof(*doubt_ms))

static void survey_begin(struct equinix_metal *metal);

static void on_timer(uv_timer_t *timer)
{
	survey_begin(timer->data);
}

static void set_timer(struct equinix_metal *metal)
{
	struct survey *survey = &metal->survey;
	uint64_t now = uv_now(metal->config.loop);

	if (metal->closing || survey->under_way || !metal->node.device_known ||
	    survey->due_ms == UINT64_MAX)
		return;
	uv_timer_start(&survey->timer, on_timer, survey->due_ms > now ? survey->due_ms - now : 0,
		       0);
}

void survey_within(struct equinix_metal *metal, uint64_t delay_ms)
{
	uint64_t due_ms = uv_now(metal->config.loop) + delay_ms;

	if (due_ms < metal->survey.due_ms)
		metal->survey.due_ms = due_ms;
	set_timer(metal);
}

void survey_doubt(struct equinix_metal *metal)
{
	metal->survey.doubt = 1;
	survey_within(metal, doubt_ms[0]);
}

/* ---- what the list has ----------------------------------------------------------------------- */

static void note_stray(struct equinix_metal *metal, const struct equinix_reservation *item)
{
	struct survey *survey = &metal->survey;

	if (survey->stray_count == survey->stray_room) {
		size_t room = survey->stray_room == 0 ? 16 : survey->stray_room * 2;
		struct equinix_reservation *strays =
			reallocarray(survey->strays, room, sizeof(*strays));

		if (strays == NULL)
			return; /* the next survey sees it again */
		survey->strays = strays;
		survey->stray_room = room;
	}
	survey->strays[survey->stray_count++] = *item;
}

static void on_item(void *arg, const struct equinix_reservation *item)
{
	struct equinix_metal *metal = arg;
	struct reservation *reservation = reservation_by_id(metal, item->id);

	if (metal->closing)
		return;
	if (reservation == NULL && item->is_owned)
		reservation = reservation_unidentified(metal, &item->address);
	if (reservation != NULL)
		reservation_seen(reservation, item);
	else if (item->is_owned)
		note_stray(metal, item);
}

/* ---- what follows ---------------------------------------------------------------------------- */

/* True when one was left for later. */
static bool give_back_strays(struct equinix_metal *metal)
{
	struct survey *survey = &metal->survey;
	bool left = false;

	for (size_t i = 0; i < survey->stray_count; i++) {
		const struct equinix_reservation *stray = &survey->strays[i];

		if (!metal->adopted || reservation_by_id(metal, stray->id) != NULL)
			continue;
		if (reservation_is_asked(metal, stray->owner))
			left = true;
		else
			reservation_give_back(metal, stray);
	}
	survey->stray_count = 0;
	return left;
}

/* The list that they may have been in has been read. */
static void forget_gone(struct equinix_metal *metal)
{
	struct reservation *reservation, *following;

	DL_FOREACH_SAFE (metal->reservations, reservation, following) {
		if (reservation->state == RESERVATION_GONE)
			reservation_remove(reservation);
	}
}

/* Those that should have been in the list. */
static void handle_missing(struct equinix_metal *metal)
{
	struct reservation *reservation, *following;
	char text[ADDR_TEXT_SIZE];

	DL_FOREACH_SAFE (metal->reservations, reservation, following) {
		if (reservation->seen == metal->survey.number ||
		    reservation->since == metal->survey.number)
			continue;
		if (reservation->state == RESERVATION_UNFOUND) {
			reservation_remove(reservation); /* there is nothing to give back */
		} else if (reservation->state == RESERVATION_ADOPTED && !reservation->told &&
			   metal->adopted) {
			reservation->told = true;
			metal_trouble(
				metal,
				"VIP %s is not among the project's addresses reserved by this "
				"node; it is used all the same, but its packets may not come "
				"here",
				addr_format(&reservation->address, text));
		}
	}
}

/* When to look again, beside the regular comparison. */
static void plan_next(struct equinix_metal *metal)
{
	struct survey *survey = &metal->survey;
	const struct reservation *reservation;

	/* One that is wanted already may be for a doubt that this one came too early for. */
	if (survey->due_ms == UINT64_MAX && survey->doubt > 0 && survey->doubt < DOUBT_STEPS)
		survey_within(metal, doubt_ms[survey->doubt++]);
	survey_within(metal, metal->config.refresh_ms);
	DL_FOREACH (metal->reservations, reservation) {
		if (reservation->state == RESERVATION_PENDING)
			survey_within(metal, metal->config.poll_ms);
		else if (reservation->state == RESERVATION_UNFOUND)
			survey_within(metal, 0);
	}
}

static void on_done(void *arg, int status, const struct errbuf *err)
{
	struct equinix_metal *metal = arg;
	struct survey *survey = &metal->survey;

	survey->under_way = false;
	if (metal->closing) {
		metal_settled(metal);
		return;
	}
	if (status < 0) {
		survey->stray_count = 0;
		forget_gone(metal);
		if (!survey->complained)
			metal_trouble(metal,
				      "cannot look for the addresses reserved: %s; trying again",
				      err->text);
		survey->complained = true;
		survey_within(metal, survey->retry_ms);
		survey->retry_ms = metal_double(survey->retry_ms);
		return;
	}
	survey->complained = false;
	survey->retry_ms = metal->config.retry_ms;
	handle_missing(metal);
	if (give_back_strays(metal))
		survey_within(metal, metal->config.poll_ms);
	forget_gone(metal);
	plan_next(metal);
}

static void survey_begin(struct equinix_metal *metal)
{
	struct survey *survey = &metal->survey;

	survey->under_way = true;
	survey->number++;
	survey->due_ms = UINT64_MAX;
	survey->stray_count = 0;
	equinix_list_reservations(metal->api, metal->node.device.id, on_item, on_done, metal);
}
