/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The states and events of rfc: 4271 §8.2.2 as a table of handlers. A handler is named after what
 * it does; where the RFC's text was changed on purpose the handler says so. A hole in the table is
 * "any other event" of the state.
 */
#include "advertise/bgp/bgp_fsm.h"

#include <stddef.h>

/* rfc: 4271 §10 suggests 120 s for the connect retry; a load balancer must be back sooner. */
const struct bgp_fsm_times bgp_fsm_default_times = {
	.connect_retry_ms = 5000,
	.open_hold_ms = 240000,
	.idle_hold_min_ms = 1000,
	.idle_hold_max_ms = 60000,
	.stable_ms = 30000,
};

typedef void handler_fn(struct bgp_fsm *fsm, const struct bgp_error *error);

const char *bgp_state_name(enum bgp_state state)
{
	static const char *const names[BGP_STATE_COUNT] = {
		[BGP_STATE_IDLE] = "Idle",
		[BGP_STATE_CONNECT] = "Connect",
		[BGP_STATE_ACTIVE] = "Active",
		[BGP_STATE_OPEN_SENT] = "OpenSent",
		[BGP_STATE_OPEN_CONFIRM] = "OpenConfirm",
		[BGP_STATE_ESTABLISHED] = "Established",
	};

	return names[state];
}

const char *bgp_event_name(enum bgp_event event)
{
	static const char *const names[BGP_EVENT_COUNT] = {
		[BGP_EVENT_START] = "start",
		[BGP_EVENT_START_DELAYED] = "delayed start",
		[BGP_EVENT_STOP] = "stop",
		[BGP_EVENT_STOP_SILENTLY] = "silent stop",
		[BGP_EVENT_AUTOMATIC_STOP] = "automatic stop",
		[BGP_EVENT_CONNECT_RETRY_EXPIRES] = "connect retry timer",
		[BGP_EVENT_HOLD_EXPIRES] = "hold timer",
		[BGP_EVENT_KEEPALIVE_EXPIRES] = "keepalive timer",
		[BGP_EVENT_IDLE_HOLD_EXPIRES] = "idle hold timer",
		[BGP_EVENT_SEND_HOLD_EXPIRES] = "send hold timer",
		[BGP_EVENT_TCP_ESTABLISHED] = "TCP established",
		[BGP_EVENT_TCP_FAILS] = "TCP fails",
		[BGP_EVENT_OPEN] = "OPEN",
		[BGP_EVENT_HEADER_ERROR] = "header error",
		[BGP_EVENT_OPEN_ERROR] = "OPEN error",
		[BGP_EVENT_UPDATE_ERROR] = "UPDATE error",
		[BGP_EVENT_COLLISION_DUMP] = "collision",
		[BGP_EVENT_NOTIFICATION_VERSION] = "NOTIFICATION of version",
		[BGP_EVENT_NOTIFICATION] = "NOTIFICATION",
		[BGP_EVENT_KEEPALIVE] = "KEEPALIVE",
		[BGP_EVENT_UPDATE] = "UPDATE",
		[BGP_EVENT_ROUTE_REFRESH] = "ROUTE-REFRESH",
	};

	return names[event];
}

bool bgp_fsm_keep_outgoing(uint32_t local_identifier, uint32_t local_as, uint32_t peer_identifier,
			   uint32_t peer_as)
{
	/* rfc: 4271 §6.8: the connection stays that the higher identifier opened; 6286 §2.3: the
	 * higher AS where the identifiers are the same. */
	if (local_identifier != peer_identifier)
		return local_identifier > peer_identifier;
	return local_as > peer_as;
}

/* ---- small parts ---------------------------------------------------------------------------- */

/* rfc: 4271 §10: times a random factor from 0.75 to 1.0. */
static uint64_t jittered(struct bgp_fsm *fsm, uint64_t ms)
{
	uint64_t spread = ms / 4;

	return spread == 0 ? ms : ms - fsm->ops->random(fsm->arg) % (spread + 1);
}

static void start_connect_retry(struct bgp_fsm *fsm)
{
	if (!fsm->passive)
		fsm->ops->timer_start(fsm->arg, BGP_TIMER_CONNECT_RETRY,
				      jittered(fsm, fsm->times->connect_retry_ms));
}

static void restart_hold(struct bgp_fsm *fsm)
{
	if (fsm->hold_s != 0)
		fsm->ops->timer_start(fsm->arg, BGP_TIMER_HOLD, 1000ull * fsm->hold_s);
}

static void restart_keepalive(struct bgp_fsm *fsm)
{
	/* rfc: 4271 §4.4: a third of the hold time. */
	if (fsm->hold_s != 0)
		fsm->ops->timer_start(fsm->arg, BGP_TIMER_KEEPALIVE,
				      jittered(fsm, 1000ull * fsm->hold_s / 3));
}

static void stop_timers(struct bgp_fsm *fsm)
{
	for (int i = 0; i < BGP_TIMER_COUNT; i++)
		fsm->ops->timer_stop(fsm->arg, (enum bgp_timer)i);
}

/* DampPeerOscillations: how long to stay in Idle. The first failure of a passive machine costs
 * nothing: it is the peer that waits before it comes again. */
static uint64_t idle_hold_ms(const struct bgp_fsm *fsm)
{
	uint64_t ms = fsm->times->idle_hold_min_ms;
	unsigned doublings = fsm->failures;

	if (fsm->passive && doublings <= 1)
		return 0;
	doublings -= fsm->passive ? 2 : doublings > 0 ? 1 : 0;
	while (doublings-- > 0 && ms < fsm->times->idle_hold_max_ms)
		ms *= 2;
	return ms < fsm->times->idle_hold_max_ms ? ms : fsm->times->idle_hold_max_ms;
}

static void begin(struct bgp_fsm *fsm)
{
	fsm->ops->timer_stop(fsm->arg, BGP_TIMER_IDLE_HOLD);
	if (fsm->passive) {
		fsm->state = BGP_STATE_ACTIVE;
		return;
	}
	fsm->state = BGP_STATE_CONNECT;
	start_connect_retry(fsm);
	fsm->ops->connect(fsm->arg);
}

static void begin_after(struct bgp_fsm *fsm, uint64_t ms)
{
	if (ms == 0)
		begin(fsm);
	else
		fsm->ops->timer_start(fsm->arg, BGP_TIMER_IDLE_HOLD, jittered(fsm, ms));
}

enum ending {
	END_STOPPED,   /* no start by itself */
	END_UNDAMPED,  /* starts again soon */
	END_DAMPED,    /* starts again later with every failure in a row */
	END_NO_ANSWER, /* TCP could not be set up: again after the connect retry time */
};

/* Everything that leads to Idle. `notify` may be NULL; `reason` is for the operator. */
static void go_idle(struct bgp_fsm *fsm, enum ending ending, enum bgp_fault fault,
		    const struct bgp_error *notify, const struct bgp_error *reason, bool silent)
{
	static const struct bgp_error unsaid = { .text = "stopped" };
	enum bgp_state was = fsm->state;

	if (was == BGP_STATE_ESTABLISHED &&
	    fsm->ops->now_ms(fsm->arg) - fsm->established_at_ms >= fsm->times->stable_ms)
		fsm->failures = 0;
	stop_timers(fsm);
	if (notify != NULL && notify->code != 0 && was >= BGP_STATE_OPEN_SENT)
		fsm->ops->send_notification(fsm->arg, notify);
	fsm->ops->disconnect(fsm->arg, silent);
	fsm->state = BGP_STATE_IDLE;
	if (ending == END_STOPPED) {
		fsm->wanted = false;
		fsm->connect_retries = 0;
		fsm->failures = 0;
	} else {
		fsm->connect_retries++;
		if (ending == END_DAMPED)
			fsm->failures++;
		begin_after(fsm, ending == END_NO_ANSWER ? fsm->times->connect_retry_ms
							 : idle_hold_ms(fsm));
	}
	if (was > BGP_STATE_IDLE)
		fsm->ops->closed(fsm->arg, was, fault, reason != NULL ? reason : &unsaid);
}

/* ---- handlers ------------------------------------------------------------------------------- */

static void ignore(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)fsm;
	(void)error;
}

static void start(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	fsm->wanted = true;
	fsm->connect_retries = 0;
	begin(fsm);
}

static void start_delayed(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	fsm->wanted = true;
	begin_after(fsm, idle_hold_ms(fsm));
}

static void begin_again(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	if (fsm->wanted)
		begin(fsm);
}

static void stop(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_STOPPED, BGP_FAULT_LOCAL, error, error, false);
}

static void stop_silently(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_STOPPED, BGP_FAULT_LOCAL, NULL, error, true);
}

static void connect_again(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	fsm->ops->disconnect(fsm->arg, true);
	fsm->state = BGP_STATE_CONNECT;
	start_connect_retry(fsm);
	fsm->ops->connect(fsm->arg);
}

static void open_session(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	fsm->ops->timer_stop(fsm->arg, BGP_TIMER_CONNECT_RETRY);
	fsm->hold_s = 0;
	fsm->state = BGP_STATE_OPEN_SENT;
	fsm->ops->timer_start(fsm->arg, BGP_TIMER_HOLD, fsm->times->open_hold_ms);
	fsm->ops->send_open(fsm->arg);
}

static void no_answer(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_NO_ANSWER, BGP_FAULT_TRANSPORT, NULL, error, true);
}

/* OpenSent, event 18: back to Active, where the connect retry timer or the peer decides. */
static void listen_again(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	enum bgp_state was = fsm->state;

	stop_timers(fsm);
	fsm->ops->disconnect(fsm->arg, true);
	fsm->state = BGP_STATE_ACTIVE;
	start_connect_retry(fsm);
	fsm->ops->closed(fsm->arg, was, BGP_FAULT_TRANSPORT, error);
}

static void confirm_open(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	fsm->ops->timer_stop(fsm->arg, BGP_TIMER_CONNECT_RETRY);
	fsm->ops->timer_stop(fsm->arg, BGP_TIMER_HOLD);
	fsm->state = BGP_STATE_OPEN_CONFIRM;
	fsm->ops->send_keepalive(fsm->arg);
	restart_keepalive(fsm);
	restart_hold(fsm);
}

static void establish(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	fsm->state = BGP_STATE_ESTABLISHED;
	fsm->established_at_ms = fsm->ops->now_ms(fsm->arg);
	fsm->connect_retries = 0;
	restart_hold(fsm);
	fsm->ops->established(fsm->arg);
}

static void stay_alive(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	restart_hold(fsm);
}

static void send_keepalive(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	(void)error;
	fsm->ops->send_keepalive(fsm->arg);
	restart_keepalive(fsm);
}

static void hold_expired(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	struct bgp_error expired;

	(void)error;
	bgp_error_set(&expired, BGP_ERROR_HOLD_TIMER, 0, NULL, 0,
		      "Hold Timer Expired: nothing was heard from the peer in time");
	go_idle(fsm, END_DAMPED, BGP_FAULT_LOCAL, &expired, &expired, false);
}

static void send_hold_expired(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	struct bgp_error expired;

	(void)error;
	/* rfc: 9687 §3.2: the peer does not read; a NOTIFICATION would only be queued behind. */
	bgp_error_set(&expired, BGP_ERROR_SEND_HOLD, 0, NULL, 0,
		      "Send Hold Timer Expired: the peer does not take what is sent");
	go_idle(fsm, END_DAMPED, BGP_FAULT_LOCAL, NULL, &expired, true);
}

/* Sends the NOTIFICATION the event came with. */
static void refuse(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_DAMPED, BGP_FAULT_LOCAL, error, error, false);
}

/* The other connection with this peer stays: no failure, and the owner decides about a start. */
static void dump(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_STOPPED, BGP_FAULT_LOCAL, error, error, false);
}

/* The RFC answers a NOTIFICATION in OpenSent with one of its own; nobody would read it (§6.4: the
 * peer has closed), so in every state the connection just ends. */
static void be_refused(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_DAMPED, BGP_FAULT_REMOTE, NULL, error, false);
}

static void be_refused_version(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_UNDAMPED, BGP_FAULT_REMOTE, NULL, error, false);
}

static void lose_connection(struct bgp_fsm *fsm, const struct bgp_error *error)
{
	go_idle(fsm, END_DAMPED, BGP_FAULT_TRANSPORT, NULL, error, true);
}

/* "Any other event" of a state. */
static void unexpected(struct bgp_fsm *fsm, enum bgp_event event)
{
	/* rfc: 6608 §3: the subcode says in which state. */
	static const uint8_t subcodes[BGP_STATE_COUNT] = {
		[BGP_STATE_OPEN_SENT] = BGP_FSM_IN_OPENSENT,
		[BGP_STATE_OPEN_CONFIRM] = BGP_FSM_IN_OPENCONFIRM,
		[BGP_STATE_ESTABLISHED] = BGP_FSM_IN_ESTABLISHED,
	};
	struct bgp_error error;

	if (fsm->state == BGP_STATE_IDLE)
		return;
	bgp_error_set(&error, BGP_ERROR_FSM, subcodes[fsm->state], NULL, 0,
		      "Finite State Machine Error: unexpected %s in %s", bgp_event_name(event),
		      bgp_state_name(fsm->state));
	go_idle(fsm, END_DAMPED, BGP_FAULT_LOCAL, &error, &error, false);
}

/* ---- the table ------------------------------------------------------------------------------ */

static handler_fn *const table[BGP_STATE_COUNT][BGP_EVENT_COUNT] = {
	[BGP_STATE_IDLE] = {
		[BGP_EVENT_START] = start,
		[BGP_EVENT_START_DELAYED] = start_delayed,
		[BGP_EVENT_STOP] = stop,
		[BGP_EVENT_STOP_SILENTLY] = stop_silently,
		[BGP_EVENT_IDLE_HOLD_EXPIRES] = begin_again,
	},
	[BGP_STATE_CONNECT] = {
		[BGP_EVENT_START] = ignore,
		[BGP_EVENT_START_DELAYED] = ignore,
		[BGP_EVENT_STOP] = stop,
		[BGP_EVENT_STOP_SILENTLY] = stop_silently,
		[BGP_EVENT_CONNECT_RETRY_EXPIRES] = connect_again,
		[BGP_EVENT_TCP_ESTABLISHED] = open_session,
		[BGP_EVENT_TCP_FAILS] = no_answer,
		[BGP_EVENT_COLLISION_DUMP] = dump,
	},
	[BGP_STATE_ACTIVE] = {
		[BGP_EVENT_START] = ignore,
		[BGP_EVENT_START_DELAYED] = ignore,
		[BGP_EVENT_STOP] = stop,
		[BGP_EVENT_STOP_SILENTLY] = stop_silently,
		[BGP_EVENT_CONNECT_RETRY_EXPIRES] = connect_again,
		[BGP_EVENT_TCP_ESTABLISHED] = open_session,
		[BGP_EVENT_TCP_FAILS] = no_answer,
		[BGP_EVENT_COLLISION_DUMP] = dump,
	},
	[BGP_STATE_OPEN_SENT] = {
		[BGP_EVENT_START] = ignore,
		[BGP_EVENT_START_DELAYED] = ignore,
		[BGP_EVENT_STOP] = stop,
		[BGP_EVENT_STOP_SILENTLY] = stop_silently,
		[BGP_EVENT_AUTOMATIC_STOP] = refuse,
		[BGP_EVENT_HOLD_EXPIRES] = hold_expired,
		[BGP_EVENT_SEND_HOLD_EXPIRES] = send_hold_expired,
		[BGP_EVENT_TCP_FAILS] = listen_again,
		[BGP_EVENT_OPEN] = confirm_open,
		[BGP_EVENT_HEADER_ERROR] = refuse,
		[BGP_EVENT_OPEN_ERROR] = refuse,
		[BGP_EVENT_COLLISION_DUMP] = dump,
		[BGP_EVENT_NOTIFICATION_VERSION] = be_refused_version,
		[BGP_EVENT_NOTIFICATION] = be_refused,
	},
	[BGP_STATE_OPEN_CONFIRM] = {
		[BGP_EVENT_START] = ignore,
		[BGP_EVENT_START_DELAYED] = ignore,
		[BGP_EVENT_STOP] = stop,
		[BGP_EVENT_STOP_SILENTLY] = stop_silently,
		[BGP_EVENT_AUTOMATIC_STOP] = refuse,
		[BGP_EVENT_HOLD_EXPIRES] = hold_expired,
		[BGP_EVENT_KEEPALIVE_EXPIRES] = send_keepalive,
		[BGP_EVENT_SEND_HOLD_EXPIRES] = send_hold_expired,
		[BGP_EVENT_TCP_FAILS] = lose_connection,
		[BGP_EVENT_HEADER_ERROR] = refuse,
		[BGP_EVENT_OPEN_ERROR] = refuse,
		[BGP_EVENT_COLLISION_DUMP] = dump,
		[BGP_EVENT_NOTIFICATION_VERSION] = be_refused_version,
		[BGP_EVENT_NOTIFICATION] = be_refused,
		[BGP_EVENT_KEEPALIVE] = establish,
	},
	[BGP_STATE_ESTABLISHED] = {
		[BGP_EVENT_START] = ignore,
		[BGP_EVENT_START_DELAYED] = ignore,
		[BGP_EVENT_STOP] = stop,
		[BGP_EVENT_STOP_SILENTLY] = stop_silently,
		[BGP_EVENT_AUTOMATIC_STOP] = refuse,
		[BGP_EVENT_HOLD_EXPIRES] = hold_expired,
		[BGP_EVENT_KEEPALIVE_EXPIRES] = send_keepalive,
		[BGP_EVENT_SEND_HOLD_EXPIRES] = send_hold_expired,
		[BGP_EVENT_TCP_FAILS] = lose_connection,
		/* The RFC leaves these to "any other event"; §6.1 prescribes what is sent. */
		[BGP_EVENT_HEADER_ERROR] = refuse,
		[BGP_EVENT_UPDATE_ERROR] = refuse,
		[BGP_EVENT_COLLISION_DUMP] = dump,
		[BGP_EVENT_NOTIFICATION_VERSION] = be_refused,
		[BGP_EVENT_NOTIFICATION] = be_refused,
		[BGP_EVENT_KEEPALIVE] = stay_alive,
		[BGP_EVENT_UPDATE] = stay_alive,
		[BGP_EVENT_ROUTE_REFRESH] = ignore,
	},
};

void bgp_fsm_event(struct bgp_fsm *fsm, enum bgp_event event, const struct bgp_error *error)
{
	handler_fn *handler = table[fsm->state][event];

	if (handler != NULL)
		handler(fsm, error);
	else
		unexpected(fsm, event);
}
