/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state machine with a clock and a network of its own: every state and event against rfc: 4271
 * §8.2.2, then timers, jitter and damping.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "advertise/bgp/bgp_fsm.h"

#define OFF UINT64_MAX

/* What the machine asked for, as a line: "open", "keepalive", "notify 6/2", "connect", "drop",
 * "reset" (a silent end), "up", "closed". */
struct world {
	struct bgp_fsm fsm;
	struct bgp_fsm_times times;
	uint64_t now_ms;
	uint32_t random;
	uint64_t deadline_ms[BGP_TIMER_COUNT];
	uint64_t asked_ms[BGP_TIMER_COUNT];
	char log[256];
};

static void note(struct world *world, const char *word)
{
	size_t length = strlen(world->log);

	snprintf(world->log + length, sizeof(world->log) - length, "%s%s", length > 0 ? " " : "",
		 word);
}

static void do_connect(void *arg)
{
	note(arg, "connect");
}

static void do_disconnect(void *arg, bool silent)
{
	note(arg, silent ? "reset" : "drop");
}

static void do_send_open(void *arg)
{
	note(arg, "open");
}

static void do_send_keepalive(void *arg)
{
	note(arg, "keepalive");
}

static void do_send_notification(void *arg, const struct bgp_error *error)
{
	char word[32];

	snprintf(word, sizeof(word), "notify %u/%u", error->code, error->subcode);
	note(arg, word);
}

static void do_timer_start(void *arg, enum bgp_timer timer, uint64_t ms)
{
	struct world *world = arg;

	world->asked_ms[timer] = ms;
	world->deadline_ms[timer] = world->now_ms + ms;
}

static void do_timer_stop(void *arg, enum bgp_timer timer)
{
	struct world *world = arg;

	world->deadline_ms[timer] = OFF;
}

static uint64_t do_now(void *arg)
{
	struct world *world = arg;

	return world->now_ms;
}

static uint32_t do_random(void *arg)
{
	struct world *world = arg;

	return world->random;
}

static void do_established(void *arg)
{
	note(arg, "up");
}

static void do_closed(void *arg, enum bgp_state was, enum bgp_fault fault,
		      const struct bgp_error *reason)
{
	(void)was;
	(void)fault;
	assert_non_null(reason);
	note(arg, "closed");
}

static const struct bgp_fsm_ops ops = {
	.connect = do_connect,
	.disconnect = do_disconnect,
	.send_open = do_send_open,
	.send_keepalive = do_send_keepalive,
	.send_notification = do_send_notification,
	.timer_start = do_timer_start,
	.timer_stop = do_timer_stop,
	.now_ms = do_now,
	.random = do_random,
	.established = do_established,
	.closed = do_closed,
};

static void feed(struct world *world, enum bgp_event event)
{
	struct bgp_error error = { .text = "test" };

	switch (event) {
	case BGP_EVENT_STOP:
	case BGP_EVENT_AUTOMATIC_STOP:
		error.code = BGP_ERROR_CEASE;
		error.subcode = BGP_CEASE_ADMIN_SHUTDOWN;
		break;
	case BGP_EVENT_COLLISION_DUMP:
		error.code = BGP_ERROR_CEASE;
		error.subcode = BGP_CEASE_COLLISION;
		break;
	case BGP_EVENT_HEADER_ERROR:
		error.code = BGP_ERROR_HEADER;
		error.subcode = BGP_HEADER_BAD_TYPE;
		break;
	case BGP_EVENT_OPEN_ERROR:
	case BGP_EVENT_NOTIFICATION_VERSION:
		error.code = BGP_ERROR_OPEN;
		error.subcode = BGP_OPEN_UNSUPPORTED_VERSION;
		break;
	case BGP_EVENT_UPDATE_ERROR:
	case BGP_EVENT_NOTIFICATION:
		error.code = BGP_ERROR_UPDATE;
		error.subcode = BGP_UPDATE_NETWORK;
		break;
	default:
		break;
	}
	if (event == BGP_EVENT_OPEN && world->fsm.state == BGP_STATE_OPEN_SENT)
		world->fsm.hold_s = 90;
	world->log[0] = '\0';
	bgp_fsm_event(&world->fsm, event, &error);
}

static void reach(struct world *world, enum bgp_state state, bool passive)
{
	static const enum bgp_event way[] = { BGP_EVENT_TCP_ESTABLISHED, BGP_EVENT_OPEN,
					      BGP_EVENT_KEEPALIVE };

	memset(world, 0, sizeof(*world));
	world->times = bgp_fsm_default_times;
	world->fsm = (struct bgp_fsm){
		.ops = &ops, .times = &world->times, .arg = world, .passive = passive
	};
	for (int i = 0; i < BGP_TIMER_COUNT; i++)
		world->deadline_ms[i] = OFF;
	if (state == BGP_STATE_IDLE)
		return;
	feed(world, BGP_EVENT_START);
	if (state == BGP_STATE_ACTIVE && !passive) {
		/* The way back from OpenSent. */
		feed(world, BGP_EVENT_TCP_ESTABLISHED);
		feed(world, BGP_EVENT_TCP_FAILS);
	}
	for (size_t i = 0; world->fsm.state != state; i++)
		feed(world, way[i]);
	world->log[0] = '\0';
}

/* ---- the whole table ----------------------------------------------------------------------- */

struct expectation {
	enum bgp_state to;
	const char *actions;
};

#define IDLE    BGP_STATE_IDLE
#define CONNECT BGP_STATE_CONNECT
#define ACTIVE  BGP_STATE_ACTIVE
#define SENT    BGP_STATE_OPEN_SENT
#define CONFIRM BGP_STATE_OPEN_CONFIRM
#define UP      BGP_STATE_ESTABLISHED
#define STAYS(s)      \
	{             \
		s, "" \
	}
#define GOES                        \
	{                           \
		IDLE, "drop closed" \
	}
#define REFUSES(n)                               \
	{                                        \
		IDLE, "notify " n " drop closed" \
	}

/* [event][state] */
static const struct expectation expectations[BGP_EVENT_COUNT][BGP_STATE_COUNT] = {
	[BGP_EVENT_START] = { { CONNECT, "connect" },
			      STAYS(CONNECT),
			      STAYS(ACTIVE),
			      STAYS(SENT),
			      STAYS(CONFIRM),
			      STAYS(UP) },
	/* Nothing has failed yet, but it is the idle hold timer that decides. */
	[BGP_EVENT_START_DELAYED] = { STAYS(IDLE), STAYS(CONNECT), STAYS(ACTIVE), STAYS(SENT),
				      STAYS(CONFIRM), STAYS(UP) },
	[BGP_EVENT_STOP] = { { IDLE, "drop" },
			     GOES,
			     GOES,
			     REFUSES("6/2"),
			     REFUSES("6/2"),
			     REFUSES("6/2") },
	[BGP_EVENT_STOP_SILENTLY] = { { IDLE, "reset" },
				      { IDLE, "reset closed" },
				      { IDLE, "reset closed" },
				      { IDLE, "reset closed" },
				      { IDLE, "reset closed" },
				      { IDLE, "reset closed" } },
	[BGP_EVENT_AUTOMATIC_STOP] = { STAYS(IDLE), GOES, GOES, REFUSES("6/2"), REFUSES("6/2"),
				       REFUSES("6/2") },
	[BGP_EVENT_CONNECT_RETRY_EXPIRES] = { STAYS(IDLE),
					      { CONNECT, "reset connect" },
					      { CONNECT, "reset connect" },
					      REFUSES("5/1"),
					      REFUSES("5/2"),
					      REFUSES("5/3") },
	[BGP_EVENT_HOLD_EXPIRES] = { STAYS(IDLE), GOES, GOES, REFUSES("4/0"), REFUSES("4/0"),
				     REFUSES("4/0") },
	[BGP_EVENT_KEEPALIVE_EXPIRES] = { STAYS(IDLE),
					  GOES,
					  GOES,
					  REFUSES("5/1"),
					  { CONFIRM, "keepalive" },
					  { UP, "keepalive" } },
	/* Never started: nothing begins. */
	[BGP_EVENT_IDLE_HOLD_EXPIRES] = { STAYS(IDLE), GOES, GOES, REFUSES("5/1"), REFUSES("5/2"),
					  REFUSES("5/3") },
	[BGP_EVENT_SEND_HOLD_EXPIRES] = { STAYS(IDLE),
					  GOES,
					  GOES,
					  { IDLE, "reset closed" },
					  { IDLE, "reset closed" },
					  { IDLE, "reset closed" } },
	[BGP_EVENT_TCP_ESTABLISHED] = { STAYS(IDLE),
					{ SENT, "open" },
					{ SENT, "open" },
					REFUSES("5/1"),
					REFUSES("5/2"),
					REFUSES("5/3") },
	[BGP_EVENT_TCP_FAILS] = { STAYS(IDLE),
				  { IDLE, "reset closed" },
				  { IDLE, "reset closed" },
				  { ACTIVE, "reset closed" },
				  { IDLE, "reset closed" },
				  { IDLE, "reset closed" } },
	[BGP_EVENT_OPEN] = { STAYS(IDLE),
			     GOES,
			     GOES,
			     { CONFIRM, "keepalive" },
			     REFUSES("5/2"),
			     REFUSES("5/3") },
	[BGP_EVENT_HEADER_ERROR] = { STAYS(IDLE), GOES, GOES, REFUSES("1/3"), REFUSES("1/3"),
				     REFUSES("1/3") },
	[BGP_EVENT_OPEN_ERROR] = { STAYS(IDLE), GOES, GOES, REFUSES("2/1"), REFUSES("2/1"),
				   REFUSES("5/3") },
	[BGP_EVENT_UPDATE_ERROR] = { STAYS(IDLE), GOES, GOES, REFUSES("5/1"), REFUSES("5/2"),
				     REFUSES("3/10") },
	[BGP_EVENT_COLLISION_DUMP] = { STAYS(IDLE), GOES, GOES, REFUSES("6/7"), REFUSES("6/7"),
				       REFUSES("6/7") },
	[BGP_EVENT_NOTIFICATION_VERSION] = { STAYS(IDLE), GOES, GOES, GOES, GOES, GOES },
	[BGP_EVENT_NOTIFICATION] = { STAYS(IDLE), GOES, GOES, GOES, GOES, GOES },
	[BGP_EVENT_KEEPALIVE] = { STAYS(IDLE),
				  GOES,
				  GOES,
				  REFUSES("5/1"),
				  { UP, "up" },
				  STAYS(UP) },
	[BGP_EVENT_UPDATE] = { STAYS(IDLE), GOES, GOES, REFUSES("5/1"), REFUSES("5/2"), STAYS(UP) },
	[BGP_EVENT_ROUTE_REFRESH] = { STAYS(IDLE), GOES, GOES, REFUSES("5/1"), REFUSES("5/2"),
				      STAYS(UP) },
};

static void test_table(void **state)
{
	struct world world;

	(void)state;
	for (int event = 0; event < BGP_EVENT_COUNT; event++) {
		for (int from = 0; from < BGP_STATE_COUNT; from++) {
			const struct expectation *expected = &expectations[event][from];

			reach(&world, (enum bgp_state)from, false);
			feed(&world, (enum bgp_event)event);
			print_message("%s in %s\n", bgp_event_name((enum bgp_event)event),
				      bgp_state_name((enum bgp_state)from));
			assert_string_equal(world.log, expected->actions);
			assert_int_equal(world.fsm.state, expected->to);
		}
	}
}

/* A passive machine in Idle goes to Active, and never connects, whatever happens. */
static void test_passive(void **state)
{
	struct world world;

	(void)state;
	for (int event = 0; event < BGP_EVENT_COUNT; event++) {
		for (int from = 0; from < BGP_STATE_COUNT; from++) {
			if (from == BGP_STATE_CONNECT)
				continue;
			reach(&world, (enum bgp_state)from, true);
			if (event == BGP_EVENT_CONNECT_RETRY_EXPIRES && from != BGP_STATE_IDLE)
				continue; /* its timer never runs: */
			assert_int_equal(world.deadline_ms[BGP_TIMER_CONNECT_RETRY], OFF);
			feed(&world, (enum bgp_event)event);
			assert_null(strstr(world.log, "connect"));
			assert_int_not_equal(world.fsm.state, BGP_STATE_CONNECT);
		}
	}
	reach(&world, BGP_STATE_IDLE, true);
	feed(&world, BGP_EVENT_START_DELAYED);
	assert_int_equal(world.fsm.state, BGP_STATE_ACTIVE);
	/* The first failure costs no wait, the second does. */
	feed(&world, BGP_EVENT_TCP_ESTABLISHED);
	feed(&world, BGP_EVENT_OPEN_ERROR);
	assert_int_equal(world.fsm.state, BGP_STATE_ACTIVE);
	feed(&world, BGP_EVENT_TCP_ESTABLISHED);
	feed(&world, BGP_EVENT_OPEN_ERROR);
	assert_int_equal(world.fsm.state, BGP_STATE_IDLE);
	assert_int_equal(world.asked_ms[BGP_TIMER_IDLE_HOLD], 1000);
}

static void test_timers(void **state)
{
	struct world world;

	(void)state;
	/* OpenSent: the large value; OpenConfirm: what was agreed on. rfc: 4271 §8.2.2 */
	reach(&world, BGP_STATE_OPEN_SENT, false);
	assert_int_equal(world.asked_ms[BGP_TIMER_HOLD], 240000);
	assert_int_equal(world.deadline_ms[BGP_TIMER_CONNECT_RETRY], OFF);
	feed(&world, BGP_EVENT_OPEN);
	assert_int_equal(world.asked_ms[BGP_TIMER_HOLD], 90000);
	assert_int_equal(world.asked_ms[BGP_TIMER_KEEPALIVE], 30000);
	feed(&world, BGP_EVENT_KEEPALIVE);
	/* KEEPALIVE and UPDATE put the hold timer back, ROUTE-REFRESH does not. */
	world.now_ms += 10000;
	feed(&world, BGP_EVENT_ROUTE_REFRESH);
	assert_int_equal(world.deadline_ms[BGP_TIMER_HOLD], 90000);
	feed(&world, BGP_EVENT_UPDATE);
	assert_int_equal(world.deadline_ms[BGP_TIMER_HOLD], 100000);
	world.now_ms += 10000;
	feed(&world, BGP_EVENT_KEEPALIVE);
	assert_int_equal(world.deadline_ms[BGP_TIMER_HOLD], 110000);
	/* Down: nothing runs but the idle hold timer. */
	feed(&world, BGP_EVENT_HOLD_EXPIRES);
	for (int i = 0; i < BGP_TIMER_COUNT; i++)
		assert_int_equal(world.deadline_ms[i] == OFF, i != BGP_TIMER_IDLE_HOLD);
	/* Stopped: nothing at all. */
	feed(&world, BGP_EVENT_STOP);
	for (int i = 0; i < BGP_TIMER_COUNT; i++)
		assert_int_equal(world.deadline_ms[i], OFF);
}

static void test_hold_time_zero(void **state)
{
	struct world world;
	struct bgp_error none = { 0 };

	(void)state;
	reach(&world, BGP_STATE_OPEN_SENT, false);
	world.fsm.hold_s = 0;
	bgp_fsm_event(&world.fsm, BGP_EVENT_OPEN, &none);
	assert_int_equal(world.deadline_ms[BGP_TIMER_HOLD], OFF);
	assert_int_equal(world.deadline_ms[BGP_TIMER_KEEPALIVE], OFF);
	feed(&world, BGP_EVENT_KEEPALIVE);
	feed(&world, BGP_EVENT_UPDATE);
	assert_int_equal(world.fsm.state, BGP_STATE_ESTABLISHED);
	assert_int_equal(world.deadline_ms[BGP_TIMER_HOLD], OFF);
}

static void test_jitter(void **state)
{
	struct world world;
	uint64_t least = OFF, most = 0;

	(void)state;
	reach(&world, BGP_STATE_ESTABLISHED, false);
	for (uint32_t i = 0; i < 100000; i += 7) {
		world.random = i;
		feed(&world, BGP_EVENT_KEEPALIVE_EXPIRES);
		if (world.asked_ms[BGP_TIMER_KEEPALIVE] < least)
			least = world.asked_ms[BGP_TIMER_KEEPALIVE];
		if (world.asked_ms[BGP_TIMER_KEEPALIVE] > most)
			most = world.asked_ms[BGP_TIMER_KEEPALIVE];
	}
	/* rfc: 4271 §10: from 0.75 to 1.0; the hold timer is never jittered. */
	assert_int_equal(least, 22500);
	assert_int_equal(most, 30000);
	feed(&world, BGP_EVENT_KEEPALIVE);
	assert_int_equal(world.asked_ms[BGP_TIMER_HOLD], 90000);
}

/* DampPeerOscillations: longer with every failure in a row, bounded, over after a stable session.
 */
static void test_damping(void **state)
{
	static const uint64_t waits_ms[] = { 1000,  2000,  4000,  8000, 16000,
					     32000, 60000, 60000, 60000 };
	struct world world;

	(void)state;
	reach(&world, BGP_STATE_ESTABLISHED, false);
	for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
		feed(&world, BGP_EVENT_UPDATE_ERROR);
		assert_int_equal(world.fsm.state, BGP_STATE_IDLE);
		assert_int_equal(world.asked_ms[BGP_TIMER_IDLE_HOLD], waits_ms[i]);
		feed(&world, BGP_EVENT_IDLE_HOLD_EXPIRES);
		feed(&world, BGP_EVENT_TCP_ESTABLISHED);
		feed(&world, BGP_EVENT_OPEN);
		feed(&world, BGP_EVENT_KEEPALIVE);
		assert_int_equal(world.fsm.state, BGP_STATE_ESTABLISHED);
	}
	world.now_ms += world.times.stable_ms;
	feed(&world, BGP_EVENT_UPDATE_ERROR);
	assert_int_equal(world.asked_ms[BGP_TIMER_IDLE_HOLD], 1000);
	/* A peer that does not answer is no oscillation: the connect retry time, always. */
	for (int i = 0; i < 5; i++) {
		feed(&world, BGP_EVENT_IDLE_HOLD_EXPIRES);
		feed(&world, BGP_EVENT_TCP_FAILS);
		assert_int_equal(world.asked_ms[BGP_TIMER_IDLE_HOLD], 5000);
	}
}

static void test_collision(void **state)
{
	static const struct {
		uint32_t local_id, local_as, peer_id, peer_as;
		bool outgoing;
	} cases[] = {
		{ 2, 65000, 1, 65001, true },  { 1, 65000, 2, 65001, false },
		{ 0x80000000, 1, 1, 1, true }, /* compared as unsigned */
		{ 7, 65001, 7, 65000, true },  /* rfc: 6286 §2.3 */
		{ 7, 65000, 7, 65001, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(bgp_fsm_keep_outgoing(cases[i].local_id, cases[i].local_as,
						       cases[i].peer_id, cases[i].peer_as),
				 cases[i].outgoing);
		/* The peer comes to the opposite answer, so one connection stays. */
		assert_int_equal(bgp_fsm_keep_outgoing(cases[i].peer_id, cases[i].peer_as,
						       cases[i].local_id, cases[i].local_as),
				 !cases[i].outgoing);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),     cmocka_unit_test(test_passive),
		cmocka_unit_test(test_timers),    cmocka_unit_test(test_hold_time_zero),
		cmocka_unit_test(test_jitter),    cmocka_unit_test(test_damping),
		cmocka_unit_test(test_collision),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
