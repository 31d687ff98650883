/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_fsm: the state machine of one BGP connection (rfc: 4271 §8). It knows neither sockets nor
 * clocks: it is told events and asks for actions through an ops table, so that a test can drive it
 * with a time of its own.
 *
 * A peer has two of them, as §8.2.1 provides for: one that connects, and a passive one that waits
 * to be connected to. Which of the two stays when both get as far as an OPEN is
 * bgp_fsm_keep_outgoing(), asked by bgp_peer.c (§6.8).
 *
 * Optional attributes of §8.1 in use: PassiveTcpEstablishment, DampPeerOscillations
 * (IdleHoldTimer), SendNOTIFICATIONwithoutOPEN off. DelayOpen is not used. Added: SendHoldTimer
 * (rfc: 9687), ROUTE-REFRESH (2918), a silent stop (4724 §4: a connection that ends without
 * NOTIFICATION keeps its routes).
 */
#ifndef SLB_ADVERTISE_BGP_FSM_H
#define SLB_ADVERTISE_BGP_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "advertise/bgp/bgp_message.h"

enum bgp_state {
	BGP_STATE_IDLE,
	BGP_STATE_CONNECT,
	BGP_STATE_ACTIVE,
	BGP_STATE_OPEN_SENT,
	BGP_STATE_OPEN_CONFIRM,
	BGP_STATE_ESTABLISHED,
	BGP_STATE_COUNT,
};

/* The numbers are those of rfc: 4271 §8.1 where it has the event. */
enum bgp_event {
	BGP_EVENT_START,          /* 1, 3; a passive machine: 4, 5 */
	BGP_EVENT_START_DELAYED,  /* 6, 7: start when the idle hold time has passed */
	BGP_EVENT_STOP,           /* 2: with the Cease to send; no start by itself any more */
	BGP_EVENT_STOP_SILENTLY,  /* the same, but the connection just ends */
	BGP_EVENT_AUTOMATIC_STOP, /* 8: with the Cease to send; starts again by itself */
	BGP_EVENT_CONNECT_RETRY_EXPIRES, /* 9 */
	BGP_EVENT_HOLD_EXPIRES,          /* 10 */
	BGP_EVENT_KEEPALIVE_EXPIRES,     /* 11 */
	BGP_EVENT_IDLE_HOLD_EXPIRES,     /* 13 */
	BGP_EVENT_SEND_HOLD_EXPIRES,     /* rfc: 9687 §3.2 */
	BGP_EVENT_TCP_ESTABLISHED,       /* 16, 17 */
	BGP_EVENT_TCP_FAILS,             /* 18: with the reason as an error of code 0 */
	BGP_EVENT_OPEN,                  /* 19: one that can be agreed to; hold_s has been set */
	BGP_EVENT_HEADER_ERROR,          /* 21: this and the next two with what to notify */
	BGP_EVENT_OPEN_ERROR,            /* 22 */
	BGP_EVENT_UPDATE_ERROR,          /* 28 */
	BGP_EVENT_COLLISION_DUMP,        /* 23 */
	BGP_EVENT_NOTIFICATION_VERSION,  /* 24: with what was received */
	BGP_EVENT_NOTIFICATION,          /* 25: with what was received */
	BGP_EVENT_KEEPALIVE,             /* 26 */
	BGP_EVENT_UPDATE,                /* 27 */
	BGP_EVENT_ROUTE_REFRESH,         /* rfc: 2918 §4 */
	BGP_EVENT_COUNT,
};

enum bgp_timer {
	BGP_TIMER_CONNECT_RETRY,
	BGP_TIMER_HOLD,
	BGP_TIMER_KEEPALIVE,
	BGP_TIMER_IDLE_HOLD,
	BGP_TIMER_SEND_HOLD, /* run by the owner, who knows what is queued */
	BGP_TIMER_COUNT,
};

/* Who ended a connection. */
enum bgp_fault {
	BGP_FAULT_LOCAL,     /* we sent a NOTIFICATION, or stopped */
	BGP_FAULT_REMOTE,    /* the peer sent one */
	BGP_FAULT_TRANSPORT, /* TCP could not be set up, or broke */
};

/* What the machine asks for. Every callback gets bgp_fsm.arg; none may free the machine, or send it
 * an event other than from established() and closed(), which are called last. */
struct bgp_fsm_ops {
	/* Begins to connect; ends in TCP_ESTABLISHED or TCP_FAILS, and not before it returns. */
	void (*connect)(void *arg);
	/* Ends the connection or the attempt, if there is one; what was sent before still goes out
	 * unless `silent`. No event follows. */
	void (*disconnect)(void *arg, bool silent);
	void (*send_open)(void *arg);
	void (*send_keepalive)(void *arg);
	void (*send_notification)(void *arg, const struct bgp_error *error);
	void (*timer_start)(void *arg, enum bgp_timer timer, uint64_t ms);
	void (*timer_stop)(void *arg, enum bgp_timer timer);
	uint64_t (*now_ms)(void *arg); /* monotonic */
	uint32_t (*random)(void *arg); /* for jitter */
	void (*established)(void *arg);
	/* A connection, or the attempt at one, has ended; `was` is the state before. */
	void (*closed)(void *arg, enum bgp_state was, enum bgp_fault fault,
		       const struct bgp_error *reason);
};

struct bgp_fsm_times {
	uint64_t connect_retry_ms;
	uint64_t open_hold_ms;     /* rfc: 4271 §8.2.2: "a large value", 4 minutes suggested */
	uint64_t idle_hold_min_ms; /* doubled with each failure in a row … */
	uint64_t idle_hold_max_ms; /* … up to this */
	uint64_t stable_ms;        /* Established for so long ends the row */
};

extern const struct bgp_fsm_times bgp_fsm_default_times;

struct bgp_fsm {
	const struct bgp_fsm_ops *ops; /* set by the owner, as the next three are */
	const struct bgp_fsm_times *times;
	void *arg;
	bool passive;
	uint16_t hold_s;          /* negotiated; set by the owner before BGP_EVENT_OPEN */
	enum bgp_state state;     /* read only for the owner, as are the rest */
	bool wanted;              /* starts again by itself */
	unsigned failures;        /* in a row, that ended in Idle */
	unsigned connect_retries; /* ConnectRetryCounter */
	uint64_t established_at_ms;
};

/* Feeds one event. `error` goes with the events that say so, else NULL; borrowed. */
void bgp_fsm_event(struct bgp_fsm *fsm, enum bgp_event event, const struct bgp_error *error);

const char *bgp_state_name(enum bgp_state state); /* "Idle", …, as routers spell it */
const char *bgp_event_name(enum bgp_event event);

/* Of two connections with the same peer: does the one stay that we opened? rfc: 4271 §6.8, 6286
 * §2.3 */
bool bgp_fsm_keep_outgoing(uint32_t local_identifier, uint32_t local_as, uint32_t peer_identifier,
			   uint32_t peer_as);

#endif
