/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two speakers on one loop, over loopback in a network namespace of their own: the advertiser's
 * contract, life and death of peers, and (with ASan) that everything is given back.
 */
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "advertise/bgp/bgp_speaker.h"
#include "lib/log.h"

#define PORT_A 10179
#define PORT_B 10180

/* A double that knows what is on "the adapter". */
struct placer {
	struct advertiser advertiser;
	struct bgp_speaker *observed; /* whose peer is asked when a VIP is taken off */
	unsigned prepared, withdrawn, retained;
	uint64_t updates_at_withdraw;
	int result;
};

static struct placer *placer_of(struct advertiser *advertiser)
{
	return (struct placer *)advertiser;
}

static int placer_prepare(struct advertiser *advertiser, const struct addr *vip, struct errbuf *err)
{
	struct placer *placer = placer_of(advertiser);

	(void)vip;
	if (placer->result < 0)
		return errbuf_set(err, placer->result, "no such adapter");
	placer->prepared++;
	return 0;
}

static int placer_withdraw(struct advertiser *advertiser, const struct addr *vip,
			   struct errbuf *err)
{
	struct placer *placer = placer_of(advertiser);
	struct bgp_peer_status status;

	(void)vip;
	(void)err;
	placer->withdrawn++;
	if (placer->observed != NULL && bgp_speaker_peer_status(placer->observed, 0, &status))
		placer->updates_at_withdraw = status.updates_sent;
	return placer->result;
}

static int placer_retain(struct advertiser *advertiser,
			 bool (*is_desired)(void *arg, const struct addr *vip), void *arg,
			 struct errbuf *err)
{
	struct placer *placer = placer_of(advertiser);

	(void)is_desired;
	(void)arg;
	(void)err;
	placer->retained++;
	return 0;
}

static const struct advertiser_ops placer_ops = {
	.name = "test",
	.prepare = placer_prepare,
	.withdraw = placer_withdraw,
	.retain = placer_retain,
};

struct pair {
	uv_loop_t loop;
	struct placer placer;
	struct bgp_speaker *a, *b;
	unsigned stopped;
};

static struct addr address(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static struct bgp_speaker *new_speaker(struct pair *pair, uint32_t as, uint16_t port,
				       struct advertiser *placer)
{
	struct bgp_config config = bgp_config_default();
	struct bgp_speaker *speaker;
	struct errbuf err;

	config.as = as;
	config.router_id = as;
	config.listen_port = port;
	assert_int_equal(bgp_speaker_new(&pair->loop, &config, placer, &speaker, &err), 0);
	return speaker;
}

static void add_peer(struct bgp_speaker *speaker, const char *text)
{
	struct bgp_peer_config peer;
	struct errbuf err;

	assert_int_equal(bgp_peer_parse(text, &peer, &err), 0);
	assert_int_equal(bgp_speaker_add_peer(speaker, &peer, &err), 0);
	assert_int_equal(bgp_speaker_add_peer(speaker, &peer, &err), -EEXIST);
}

static void set_up(struct pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	assert_int_equal(uv_loop_init(&pair->loop), 0);
	pair->placer.advertiser.ops = &placer_ops;
	pair->a = new_speaker(pair, 65001, PORT_A, &pair->placer.advertiser);
	pair->b = new_speaker(pair, 65002, PORT_B, NULL);
	pair->placer.observed = pair->a;
}

static void connect_pair(struct pair *pair)
{
	add_peer(pair->a, "127.0.0.1,65002,port=10180");
	add_peer(pair->b, "127.0.0.1,65001,port=10179");
}

static void on_stopped(void *arg)
{
	struct pair *pair = arg;

	pair->stopped++;
}

static void tear_down(struct pair *pair)
{
	bgp_speaker_stop(pair->a, BGP_STOP_FOR_GOOD, "test is over", on_stopped, pair);
	bgp_speaker_stop(pair->b, BGP_STOP_TO_RETURN, NULL, on_stopped, pair);
	uv_run(&pair->loop, UV_RUN_DEFAULT);
	assert_int_equal(pair->stopped, 2);
	assert_int_equal(uv_loop_close(&pair->loop), 0);
}

static struct bgp_peer_status status_of(const struct bgp_speaker *speaker)
{
	struct bgp_peer_status status;

	assert_true(bgp_speaker_peer_status(speaker, 0, &status));
	return status;
}

typedef bool condition_fn(struct pair *pair);

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

/* Runs the loop until the condition holds; at most 10 s. */
static void run_until(struct pair *pair, condition_fn *condition)
{
	uint64_t deadline_ms;
	uv_timer_t tick;

	uv_timer_init(&pair->loop, &tick);
	uv_timer_start(&tick, on_tick, 5, 5);
	uv_update_time(&pair->loop);
	deadline_ms = uv_now(&pair->loop) + 10000;
	while (!condition(pair)) {
		assert_true(uv_now(&pair->loop) < deadline_ms);
		uv_run(&pair->loop, UV_RUN_ONCE);
	}
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&pair->loop, UV_RUN_NOWAIT);
}

static bool both_up(struct pair *pair)
{
	return status_of(pair->a).state == BGP_STATE_ESTABLISHED &&
	       status_of(pair->b).state == BGP_STATE_ESTABLISHED;
}

static bool all_received(struct pair *pair)
{
	return status_of(pair->b).routes_received == 1000;
}

static bool all_withdrawn(struct pair *pair)
{
	return status_of(pair->b).routes_withdrawn_by_peer == 1000;
}

static bool b_is_down(struct pair *pair)
{
	return status_of(pair->b).state != BGP_STATE_ESTABLISHED;
}

static bool desires_all(void *arg, const struct addr *vip)
{
	(void)arg;
	(void)vip;
	return true;
}

static void test_advertiser(void **state)
{
	struct advertiser *advertiser;
	struct addr vip = address("192.0.2.1");
	uint64_t updates;
	struct pair pair;
	struct errbuf err = { 0 };

	(void)state;
	set_up(&pair);
	advertiser = bgp_speaker_advertiser(pair.a);
	assert_string_equal(advertiser->ops->name, "bgp");
	/* What the placer refuses is not announced. */
	pair.placer.result = -ENODEV;
	assert_int_equal(advertiser->ops->prepare(advertiser, &vip, &err), -ENODEV);
	assert_string_equal(err.text, "no such adapter");
	pair.placer.result = 0;
	connect_pair(&pair);
	run_until(&pair, both_up);
	/* A thousand in one turn. */
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(advertiser->ops->prepare(advertiser, &vip, &err), 0);
		advertiser->ops->announce(advertiser, &vip);
		advertiser->ops->announce(advertiser, &vip);
		addr_next(&vip);
	}
	assert_int_equal(advertiser->ops->retain(advertiser, desires_all, NULL, &err), 0);
	assert_int_equal(pair.placer.retained, 1);
	run_until(&pair, all_received);
	assert_true(status_of(pair.a).updates_sent <= 2);
	/* The first withdrawal is sent before the VIP leaves the adapter. */
	updates = status_of(pair.a).updates_sent;
	vip = address("192.0.2.1");
	assert_int_equal(advertiser->ops->withdraw(advertiser, &vip, &err), 0);
	assert_int_equal(pair.placer.updates_at_withdraw, updates + 1);
	for (int i = 1; i < 1000; i++) {
		addr_next(&vip);
		assert_int_equal(advertiser->ops->withdraw(advertiser, &vip, &err), 0);
	}
	assert_int_equal(advertiser->ops->withdraw(advertiser, &vip, &err), 0);
	assert_int_equal(pair.placer.withdrawn, 1001);
	run_until(&pair, all_withdrawn);
	assert_true(status_of(pair.a).updates_sent <= updates + 3);
	tear_down(&pair);
}

static void test_peers_come_and_go(void **state)
{
	struct bgp_speaker_status status;
	struct addr peer = address("127.0.0.1");
	struct pair pair;
	struct errbuf err;

	(void)state;
	set_up(&pair);
	bgp_speaker_status(pair.a, &status);
	assert_int_equal(status.peers, 0);
	assert_false(status.listening);
	assert_int_equal(bgp_speaker_remove_peer(pair.a, &peer, &err), -ENOENT);
	connect_pair(&pair);
	run_until(&pair, both_up);
	bgp_speaker_status(pair.a, &status);
	assert_int_equal(status.established, 1);
	assert_true(status.listening);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(bgp_speaker_remove_peer(pair.a, &peer, &err), 0);
		run_until(&pair, b_is_down);
		assert_string_equal(status_of(pair.b).last_error,
				    "received Cease, Peer De-configured");
		add_peer(pair.a, "127.0.0.1,65002,port=10180");
		run_until(&pair, both_up);
	}
	tear_down(&pair);
}

/* Stopping at any moment of a session's beginning leaves nothing. */
static void test_stop_at_any_time(void **state)
{
	(void)state;
	for (int turns = 0; turns < 40; turns++) {
		struct addr vip = address("192.0.2.1");
		struct pair pair;

		set_up(&pair);
		connect_pair(&pair);
		for (int i = 0; i < turns; i++) {
			struct advertiser *advertiser = bgp_speaker_advertiser(pair.a);

			uv_run(&pair.loop, UV_RUN_NOWAIT);
			advertiser->ops->announce(advertiser, &vip);
			addr_next(&vip);
		}
		tear_down(&pair);
	}
	bgp_speaker_stop(NULL, BGP_STOP_FOR_GOOD, NULL, NULL, NULL);
}

/* Loopback of a fresh namespace: no port is taken, nothing leaves. */
static int enter_namespace(void **state)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd, result;

	(void)state;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	if (unshare(CLONE_NEWNET) < 0) {
		print_message("not root: using the machine's loopback\n");
		return 0;
	}
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	result = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return result;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_advertiser),
		cmocka_unit_test(test_peers_come_and_go),
		cmocka_unit_test(test_stop_at_any_time),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
