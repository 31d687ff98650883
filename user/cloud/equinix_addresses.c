/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reservations. README.md draws the states.
 *
 * invariant: a reservation whose POST was answered with an id is in the table from then on, until a
 * DELETE of it was answered; one without a known id is found by its tags (equinix_survey.c).
 * invariant: a callback of core's is the last thing a function does with a reservation.
 */
#define HASH_NONFATAL_OOM 1
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/equinix_internal.h"

static void on_timer(uv_timer_t *timer);

/* ---- the table ------------------------------------------------------------------------------- */

static struct reservation *reservation_new(struct equinix_metal *metal, const uuid_t owner)
{
	struct reservation *reservation = calloc(1, sizeof(*reservation));

	if (reservation == NULL)
		return NULL;
	reservation->metal = metal;
	uuid_copy(reservation->owner, owner);
	reservation->retry_ms = metal->config.retry_ms;
	uv_timer_init(metal->config.loop, &reservation->timer);
	reservation->timer.data = reservation;
	DL_APPEND(metal->reservations, reservation);
	return reservation;
}

static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void reservation_remove(struct reservation *reservation)
{
	struct equinix_metal *metal = reservation->metal;

	if (reservation->id[0] != '\0')
		HASH_DEL(metal->by_id, reservation);
	DL_DELETE(metal->reservations, reservation);
	uv_close((uv_handle_t *)&reservation->timer, timer_closed);
	metal_settled(metal);
}

struct reservation *reservation_by_id(const struct equinix_metal *metal, const char *id)
{
	struct reservation *reservation;

	HASH_FIND_STR(metal->by_id, id, reservation);
	return reservation;
}

/* False when memory is short, or another has the id. */
static bool set_id(struct reservation *reservation, const char *id)
{
	struct equinix_metal *metal = reservation->metal;

	if (reservation_by_id(metal, id) != NULL)
		return false;
	memcpy(reservation->id, id, strlen(id) + 1);
	HASH_ADD_STR(metal->by_id, id, reservation);
	if (reservation->hh.tbl != NULL)
		return true;
	reservation->id[0] = '\0';
	return false;
}

/* Is it a load balancer's now? */
static bool is_given(const struct reservation *reservation)
{
	return reservation->state == RESERVATION_HELD || reservation->state == RESERVATION_ADOPTED;
}

static struct reservation *given_by_address(const struct equinix_metal *metal,
					    const struct addr *address)
{
	struct reservation *reservation;

	DL_FOREACH (metal->reservations, reservation) {
		if (is_given(reservation) && addr_equal(&reservation->address, address))
			break;
	}
	return reservation;
}

struct reservation *reservation_unidentified(const struct equinix_metal *metal,
					     const struct addr *address)
{
	struct reservation *reservation;

	DL_FOREACH (metal->reservations, reservation) {
		if ((reservation->state == RESERVATION_ADOPTED ||
		     reservation->state == RESERVATION_UNFOUND) &&
		    addr_equal(&reservation->address, address))
			break;
	}
	return reservation;
}

bool reservation_is_asked(const struct equinix_metal *metal, const uuid_t owner)
{
	const struct reservation *reservation;

	DL_FOREACH (metal->reservations, reservation) {
		if (reservation->state == RESERVATION_ASKED &&
		    uuid_compare(reservation->owner, owner) == 0)
			return true;
	}
	return false;
}

bool reservation_is_unsettled(const struct reservation *reservation)
{
	return reservation->state == RESERVATION_ASKED ||
	       reservation->state == RESERVATION_RELEASING;
}

/* ---- giving back ----------------------------------------------------------------------------- */

static const char *name_of(const struct reservation *reservation, char text[static ADDR_TEXT_SIZE])
{
	if (reservation->address.family == AF_UNSPEC)
		return reservation->id;
	return addr_format(&reservation->address, text);
}

static void on_released(void *arg, int status, const struct errbuf *err)
{
	struct reservation *reservation = arg;
	struct equinix_metal *metal = reservation->metal;
	char text[ADDR_TEXT_SIZE];

	if (status == 0 && metal->survey.under_way && !metal->closing) {
		reservation->state = RESERVATION_GONE;
		return;
	}
	if (status == 0) {
		reservation_remove(reservation);
		return;
	}
	reservation->state = RESERVATION_RELEASE_DUE;
	if (metal->closing) {
		metal_settled(metal);
		return;
	}
	if (!reservation->told)
		metal_trouble(metal, "cannot give back the address %s: %s; trying again",
			      name_of(reservation, text), err->text);
	reservation->told = true;
	uv_timer_start(&reservation->timer, on_timer, reservation->retry_ms, 0);
	reservation->retry_ms = metal_double(reservation->retry_ms);
}

static void release(struct reservation *reservation)
{
	uv_timer_stop(&reservation->timer);
	reservation->state = RESERVATION_RELEASING;
	reservation->told = false;
	equinix_release(reservation->metal->api, reservation->id, on_released, reservation);
}

void reservation_give_back(struct equinix_metal *metal, const struct equinix_reservation *item)
{
	struct reservation *reservation = reservation_new(metal, item->owner);
	char text[ADDR_TEXT_SIZE], owner[UUID_STR_LEN];

	if (reservation == NULL)
		return; /* the next survey sees it again */
	reservation->address = item->address;
	if (!set_id(reservation, item->id)) {
		reservation_remove(reservation);
		return;
	}
	uuid_unparse_lower(item->owner, owner);
	metal_report(metal,
		     "Giving back the address %s: it was reserved for load balancer %s, which "
		     "does not have it",
		     name_of(reservation, text), owner);
	release(reservation);
}

/* ---- acquiring ------------------------------------------------------------------------------- */

/* Who waits for an acquire's answer; taken out of the reservation before it changes. */
struct waiter {
	address_acquired_cb *done;
	void *arg;
};

static struct waiter take_waiter(struct reservation *reservation)
{
	struct waiter waiter = { .done = reservation->done, .arg = reservation->arg };

	reservation->done = NULL;
	return waiter;
}

/* Errors of HTTP mean something else to who asked for a load balancer. */
static int error_for_user(int status)
{
	switch (status) {
	case -EINVAL:
		return -ENOSPC; /* 422: the API will not reserve one */
	case -ETIMEDOUT:
	case -EBUSY:
	case -ENOMEM:
	case -ECANCELED:
	case -ENOSPC:
		return status;
	default:
		return -EIO;
	}
}

static void tell_failure(const struct waiter *waiter, int status, struct errbuf *err)
{
	if (waiter->done == NULL)
		return;
	status = error_for_user(status);
	errbuf_prefix(err, status, "no address from Equinix Metal");
	waiter->done(waiter->arg, status, NULL, err);
}

/* The acquire has failed and nothing is reserved that the table should have. */
static void fail_and_remove(struct reservation *reservation, int status,
			    const struct errbuf *reason)
{
	struct waiter waiter = take_waiter(reservation);
	struct errbuf err = *reason;

	reservation_remove(reservation);
	tell_failure(&waiter, status, &err);
}

/* The acquire has failed; the reservation is there, and is given back. Whether that is all there
 * is, an API that answers so is not believed. */
static void fail_and_release(struct reservation *reservation, int status,
			     const struct errbuf *reason)
{
	struct waiter waiter = take_waiter(reservation);
	struct errbuf err = *reason;

	release(reservation);
	survey_doubt(reservation->metal);
	tell_failure(&waiter, status, &err);
}

/* The API has given the address: is it one that can be used? */
static void take(struct reservation *reservation, const struct addr *address)
{
	const struct equinix_metal *metal = reservation->metal;
	struct addr given = *address;
	char text[ADDR_TEXT_SIZE];
	struct waiter waiter;
	struct errbuf err;

	if (given.family != AF_INET || !addr_is_usable_unicast(&given) ||
	    given_by_address(metal, &given) != NULL) {
		errbuf_set(&err, -EPROTO,
			   "the API reserved %s, which cannot be a VIP or is one already",
			   given.family == AF_UNSPEC ? "no address" : addr_format(&given, text));
		fail_and_release(reservation, -EPROTO, &err);
		return;
	}
	uv_timer_stop(&reservation->timer);
	reservation->address = given;
	reservation->state = RESERVATION_HELD;
	waiter = take_waiter(reservation);
	if (waiter.done != NULL)
		waiter.done(waiter.arg, 0, &given, NULL);
}

static void deny(struct reservation *reservation)
{
	struct errbuf err;

	errbuf_set(&err, -ENOSPC, "the API denied the reservation (%s)", reservation->id);
	fail_and_release(reservation, -ENOSPC, &err);
}

static void run_late(struct reservation *reservation)
{
	struct errbuf err;

	errbuf_set(&err, -ETIMEDOUT,
		   "the reservation (%s) is still pending after %llu s; it is given back",
		   reservation->id,
		   (unsigned long long)reservation->metal->config.acquire_timeout_ms / 1000);
	fail_and_release(reservation, -ETIMEDOUT, &err);
}

static void progress(struct reservation *reservation, enum equinix_reservation_state state,
		     const struct addr *address)
{
	switch (state) {
	case EQUINIX_READY:
		take(reservation, address);
		break;
	case EQUINIX_DENIED:
		deny(reservation);
		break;
	case EQUINIX_PENDING:
		reservation->state = RESERVATION_PENDING;
		if (uv_is_active((uv_handle_t *)&reservation->timer))
			survey_within(reservation->metal, reservation->metal->config.poll_ms);
		else
			run_late(reservation);
		break;
	}
}

static void on_reserved(void *arg, int status, const struct equinix_reservation *made,
			bool uncertain, const struct errbuf *reason)
{
	struct reservation *reservation = arg;
	struct equinix_metal *metal = reservation->metal;
	struct errbuf err;

	if (made != NULL && !set_id(reservation, made->id)) {
		made = NULL;
		uncertain = true;
		status = errbuf_set(&err, -EPROTO,
				    "the API answered with a reservation that is another's");
		reason = &err;
	}
	if (made == NULL) {
		if (uncertain)
			survey_doubt(metal);
		fail_and_remove(reservation, status, reason);
	} else if (status < 0) {
		fail_and_release(reservation, status, reason);
	} else if (reservation->done == NULL) { /* cancelled meanwhile */
		release(reservation);
	} else {
		progress(reservation, made->state, &made->address);
	}
}

static void ask(struct reservation *reservation)
{
	struct equinix_metal *metal = reservation->metal;

	reservation->state = RESERVATION_ASKED;
	equinix_reserve(metal->api, metal->facility, metal->node.device.id, reservation->owner,
			on_reserved, reservation);
}

void reservations_go_on(struct equinix_metal *metal)
{
	struct reservation *reservation, *following;

	DL_FOREACH_SAFE (metal->reservations, reservation, following) {
		if (reservation->state == RESERVATION_WAITING)
			ask(reservation);
	}
}

static struct reservation *first_waiting(const struct equinix_metal *metal)
{
	struct reservation *reservation;

	DL_FOREACH (metal->reservations, reservation) {
		if (reservation->state == RESERVATION_WAITING)
			break;
	}
	return reservation;
}

void reservations_fail_waiting(struct equinix_metal *metal, int error, const struct errbuf *err)
{
	struct reservation *reservation, *waiting = NULL;

	/* Marked first: a callback may bring a new one, which waits for the next try. */
	DL_FOREACH (metal->reservations, reservation) {
		if (reservation->state == RESERVATION_WAITING)
			reservation->told = true;
	}
	while ((waiting = first_waiting(metal)) != NULL && waiting->told)
		fail_and_remove(waiting, error, err);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer)
{
	struct reservation *reservation = timer->data;
	struct errbuf err;

	switch (reservation->state) {
	case RESERVATION_WAITING:
		errbuf_set(&err, -ETIMEDOUT,
			   "the API did not tell in time which device this node is");
		fail_and_remove(reservation, -ETIMEDOUT, &err);
		break;
	case RESERVATION_PENDING:
		run_late(reservation);
		break;
	case RESERVATION_RELEASE_DUE:
		reservation->state = RESERVATION_RELEASING;
		equinix_release(reservation->metal->api, reservation->id, on_released, reservation);
		break;
	default:
		break; /* ASKED: the answer of its POST is waited for */
	}
}

/* ---- what a survey saw ----------------------------------------------------------------------- */

void reservation_seen(struct reservation *reservation, const struct equinix_reservation *item)
{
	reservation->seen = reservation->metal->survey.number;
	switch (reservation->state) {
	case RESERVATION_PENDING:
		progress(reservation, item->state, &item->address);
		break;
	case RESERVATION_ADOPTED:
		if (set_id(reservation, item->id))
			reservation->state = RESERVATION_HELD;
		break;
	case RESERVATION_UNFOUND:
		if (set_id(reservation, item->id))
			release(reservation);
		break;
	default:
		break;
	}
}

/* ---- address_source_ops ---------------------------------------------------------------------- */

static int check_acquire(const struct equinix_metal *metal, int family, const struct addr *wanted,
			 struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];

	if (metal->closing)
		return errbuf_set(err, -ECANCELED, "slb is stopping");
	if (wanted->family != AF_UNSPEC)
		return errbuf_set_field(
			err, -EINVAL, "eip",
			"%s cannot be asked for: Equinix Metal gives the addresses; "
			"leave eip out",
			addr_format(wanted, text));
	if (family != AF_INET)
		return errbuf_set_field(err, -EINVAL, "family",
					"Equinix Metal gives IPv4 addresses only");
	return 0;
}

static void metal_acquire(struct address_source *source, int family, const struct addr *wanted,
			  const uuid_t owner, address_acquired_cb *done, void *arg)
{
	struct equinix_metal *metal = (struct equinix_metal *)source;
	struct reservation *reservation;
	struct errbuf err;
	int error = check_acquire(metal, family, wanted, &err);

	if (error < 0) {
		done(arg, error, NULL, &err);
		return;
	}
	reservation = reservation_new(metal, owner);
	if (reservation == NULL) {
		errbuf_set(&err, -ENOMEM, "no address from Equinix Metal: out of memory");
		done(arg, -ENOMEM, NULL, &err);
		return;
	}
	reservation->done = done;
	reservation->arg = arg;
	uv_update_time(metal->config.loop);
	uv_timer_start(&reservation->timer, on_timer, metal->config.acquire_timeout_ms, 0);
	if (metal->node.device_known) {
		ask(reservation);
		return;
	}
	reservation->state = RESERVATION_WAITING;
	node_find(metal);
}

static void metal_release(struct address_source *source, const struct addr *address)
{
	struct equinix_metal *metal = (struct equinix_metal *)source;
	struct reservation *reservation = given_by_address(metal, address);

	if (reservation == NULL)
		return;
	if (reservation->state == RESERVATION_HELD) {
		release(reservation);
		return;
	}
	reservation->state = RESERVATION_UNFOUND;
	reservation->since = metal->survey.number;
	survey_within(metal, 0);
}

static int metal_adopt(struct address_source *source, const struct addr *address,
		       const uuid_t owner, struct errbuf *err)
{
	struct equinix_metal *metal = (struct equinix_metal *)source;
	struct reservation *reservation = given_by_address(metal, address);
	char text[ADDR_TEXT_SIZE];

	if (reservation != NULL)
		return 0;
	reservation = reservation_new(metal, owner);
	if (reservation == NULL)
		return errbuf_set(err, -ENOMEM, "cannot note that %s is given out: out of memory",
				  addr_format(address, text));
	reservation->address = *address;
	reservation->state = RESERVATION_ADOPTED;
	reservation->since = metal->survey.number;
	survey_within(metal, 0);
	return 0;
}

const struct address_source_ops equinix_metal_ops = {
	.name = "equinix-metal",
	.acquire = metal_acquire,
	.release = metal_release,
	.adopt = metal_adopt,
};

/* ---- the end --------------------------------------------------------------------------------- */

static struct reservation *first_awaited(const struct equinix_metal *metal)
{
	struct reservation *reservation;

	DL_FOREACH (metal->reservations, reservation) {
		if (reservation->done != NULL)
			break;
	}
	return reservation;
}

void reservations_cancel(struct equinix_metal *metal)
{
	struct reservation *reservation;
	struct waiter waiter;
	struct errbuf err;

	errbuf_set(&err, -ECANCELED, "slb is stopping");
	while ((reservation = first_awaited(metal)) != NULL) {
		switch (reservation->state) {
		case RESERVATION_PENDING:
			fail_and_release(reservation, -ECANCELED, &err);
			break;
		case RESERVATION_ASKED: /* what it brings is given back */
			waiter = take_waiter(reservation);
			if (waiter.done != NULL)
				waiter.done(waiter.arg, -ECANCELED, NULL, &err);
			break;
		default:
			fail_and_remove(reservation, -ECANCELED, &err);
		}
	}
	DL_FOREACH (metal->reservations, reservation) {
		if (reservation->state == RESERVATION_RELEASE_DUE)
			release(reservation);
	}
}
