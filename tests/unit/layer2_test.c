/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The layer-2 advertiser and the prober on a veth pair: what the other end sees, and what is left
 * on the adapter, whatever happens to it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "advertise/arp.h"
#include "advertise/arp_frame.h"
#include "advertise/ndp_frame.h"
#include "advertise/prober.h"
#include "net_lab.h"

struct fixture {
	char directory[32];
	uv_loop_t loop;
	struct net *net;
	struct adapter *adapter;
	struct segment *segment;
	struct advertiser *adv;
	struct address_prober *prober;
	struct errbuf err;
	int capture;
};

static int start_on(struct fixture *f, const char *name)
{
	struct arp_config config = { .loop = &f->loop, .state_dir = f->directory };
	struct prober_config prober = { .loop = &f->loop };
	int error;

	uv_loop_init(&f->loop);
	assert_int_equal(net_open(&f->loop, &f->net, &f->err), 0);
	error = adapter_open(f->net, name, &f->adapter, &f->err);
	if (error == 0)
		error = segment_open(&f->loop, f->adapter, &f->segment, &f->err);
	if (error < 0)
		return error;
	config.net = prober.net = f->net;
	config.adapter = prober.adapter = f->adapter;
	config.segment = prober.segment = f->segment;
	assert_int_equal(arp_advertiser_open(&config, &f->adv, &f->err), 0);
	assert_int_equal(prober_open(&prober, &f->prober, &f->err), 0);
	return 0;
}

/* As a kill -9 would: the kernel keeps what slb put there. */
static void stop(struct fixture *f)
{
	prober_close(f->prober);
	arp_advertiser_close(f->adv);
	segment_close(f->segment);
	adapter_close(f->adapter);
	net_close(f->net);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	f->prober = NULL;
	f->adv = NULL;
	f->segment = NULL;
	f->adapter = NULL;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	lab_wire();
	snprintf(f->directory, sizeof(f->directory), "/tmp/layer2_test.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	assert_int_equal(start_on(f, "eth0"), 0);
	f->capture = lab_capture();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	stop(f);
	close(f->capture);
	lab_run("rm -r %s; ip addr flush dev lo to 10.9.0.0/24", f->directory);
	free(f);
	return 0;
}

static void prepare(struct fixture *f, const char *text)
{
	struct addr vip = lab_addr(text);

	assert_int_equal(f->adv->ops->prepare(f->adv, &vip, &f->err), 0);
}

static void announce(struct fixture *f, const char *text)
{
	struct addr vip = lab_addr(text);

	prepare(f, text);
	f->adv->ops->announce(f->adv, &vip);
}

static void withdraw(struct fixture *f, const char *text)
{
	struct addr vip = lab_addr(text);

	assert_int_equal(f->adv->ops->withdraw(f->adv, &vip, &f->err), 0);
}

static struct arp_vip_status status(struct fixture *f, const char *text)
{
	struct addr vip = lab_addr(text);
	struct arp_vip_status status;

	assert_int_equal(arp_advertiser_vip_status(f->adv, &vip, &status), 0);
	return status;
}

static bool has_address(const char *device, const char *text)
{
	return lab_try("ip -o addr show dev %s 2>/dev/null | grep -qF ' %s/'", device, text) == 0;
}

/* Announcements of an address by a MAC that came to the other end. */
struct heard {
	unsigned int requests, replies, advertisements;
};

static struct heard hear(struct fixture *f, const char *text, const uint8_t mac[6])
{
	struct addr address = lab_addr(text);
	struct in6_addr in6 = addr_to_in6(&address);
	struct in_addr in = addr_to_in(&address);
	uint8_t frame[2048];
	struct heard heard = { 0 };
	size_t size;

	while ((size = lab_frame(f->capture, frame, sizeof(frame), 20)) > 0) {
		struct arp_frame arp;
		struct ndp_frame ndp;

		if (address.family == AF_INET && arp_frame_parse(frame, size, &arp) &&
		    arp.sender.s_addr == in.s_addr && arp.target.s_addr == in.s_addr &&
		    memcmp(arp.sender_mac, mac, 6) == 0) {
			heard.requests += arp.operation == ARP_REQUEST;
			heard.replies += arp.operation == ARP_REPLY;
		}
		if (address.family == AF_INET6 && ndp_frame_parse(frame, size, &ndp) &&
		    ndp.type == NDP_ADVERTISEMENT && memcmp(&ndp.target, &in6, 16) == 0 &&
		    memcmp(ndp.mac, mac, 6) == 0 && memcmp(frame, "\x33\x33\0\0\0\1", 6) == 0)
			heard.advertisements++;
	}
	return heard;
}

/* ---- the advertiser -------------------------------------------------------------------------- */

static void test_create(void **state)
{
	struct fixture *f = *state;
	struct heard heard;
	uint8_t mac[6];

	lab_mac("eth0", mac);
	prepare(f, "10.9.0.85");
	assert_true(has_address("eth0", "10.9.0.85"));
	heard = hear(f, "10.9.0.85", mac);
	assert_int_equal(heard.requests + heard.replies, 0);

	/* At once, without a turn of the loop. */
	announce(f, "10.9.0.85");
	heard = hear(f, "10.9.0.85", mac);
	assert_int_equal(heard.requests, 1);
	assert_int_equal(heard.replies, 1);
	/* 1 s and 2 s later. */
	lab_turn(&f->loop, 2300);
	heard = hear(f, "10.9.0.85", mac);
	assert_int_equal(heard.requests, 2);
	assert_int_equal(status(f, "10.9.0.85").announcements, 3);

	lab_peer("arping -q -c 1 -w 2 -I eth1 10.9.0.85");
	assert_true(lab_reaches("10.9.0.85"));
	lab_peer("ip neigh show 10.9.0.85 | grep -q %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		 mac[2], mac[3], mac[4], mac[5]);

	withdraw(f, "10.9.0.85");
	withdraw(f, "10.9.0.85");
	assert_false(has_address("eth0", "10.9.0.85"));
	lab_turn(&f->loop, 2500);
	assert_int_equal(hear(f, "10.9.0.85", mac).requests, 0);
	assert_int_not_equal(lab_peer_try("arping -q -c 1 -w 1 -I eth1 10.9.0.85"), 0);
}

static void test_create_ipv6(void **state)
{
	struct fixture *f = *state;
	uint8_t mac[6];

	lab_mac("eth0", mac);
	announce(f, "fd09::85");
	assert_true(has_address("eth0", "fd09::85"));
	assert_int_equal(hear(f, "fd09::85", mac).advertisements, 1);
	assert_true(lab_reaches("fd09::85"));
	/* It is nobody's source address. */
	lab_run("! ip -6 route get fd09::2 | grep -q 'src fd09::85'");
	withdraw(f, "fd09::85");
	assert_false(has_address("eth0", "fd09::85"));
}

/* 10.9.0.85 has been announced more often than that. The kernel tells of a carrier that changes
 * often only once in a second (linkwatch). */
struct since {
	struct fixture *fixture;
	uint64_t announcements;
};

static bool is_announced(void *arg)
{
	struct since *since = arg;

	return status(since->fixture, "10.9.0.85").announcements > since->announcements;
}

static void test_link_down_and_up(void **state)
{
	struct fixture *f = *state;
	struct since since = { .fixture = f };
	uint8_t mac[6];

	lab_mac("eth0", mac);
	announce(f, "10.9.0.85");
	announce(f, "fd09::85");
	lab_run("ip link set eth0 down");
	lab_turn(&f->loop, 1200);
	(void)hear(f, "10.9.0.85", mac);
	since.announcements = status(f, "10.9.0.85").announcements;
	lab_run("ip link set eth0 up && ip addr add fd09::1/64 dev eth0 nodad");
	assert_true(lab_turn_until(&f->loop, 2000, is_announced, &since));
	assert_int_equal(hear(f, "10.9.0.85", mac).requests, 1);
	/* The kernel takes IPv6 addresses off a device that goes down. */
	assert_true(has_address("eth0", "fd09::85"));
	assert_true(lab_reaches("fd09::85"));

	/* The carrier goes with the other end: nothing is sent meanwhile, and then at once. */
	lab_peer("ip link set eth1 down");
	lab_turn(&f->loop, 1500);
	since.announcements = status(f, "10.9.0.85").announcements;
	lab_turn(&f->loop, 1500);
	assert_false(is_announced(&since));
	lab_peer("ip link set eth1 up");
	assert_true(lab_turn_until(&f->loop, 2000, is_announced, &since));
	assert_int_equal(hear(f, "10.9.0.85", mac).requests, 1);
}

/* Created while the adapter is down: announced when it is up. */
static void test_created_while_down(void **state)
{
	struct fixture *f = *state;
	struct since since = { .fixture = f };
	uint8_t mac[6];

	lab_mac("eth0", mac);
	lab_run("ip link set eth0 down");
	lab_turn(&f->loop, 50);
	announce(f, "10.9.0.85");
	announce(f, "fd09::85");
	assert_int_equal(status(f, "10.9.0.85").announcements, 0);
	lab_run("ip link set eth0 up && ip addr add fd09::1/64 dev eth0 nodad");
	assert_true(lab_turn_until(&f->loop, 2000, is_announced, &since));
	assert_int_equal(hear(f, "10.9.0.85", mac).requests, 1);
	assert_true(lab_reaches("10.9.0.85"));
	assert_true(lab_reaches("fd09::85"));
}

static void test_mac_change(void **state)
{
	struct fixture *f = *state;
	static const uint8_t mac[6] = { 0x02, 0, 0, 0, 0, 0x77 };

	announce(f, "10.9.0.85");
	announce(f, "fd09::85");
	lab_run("ip link set eth0 address 02:00:00:00:00:77");
	lab_turn(&f->loop, 300);
	assert_in_range(hear(f, "10.9.0.85", mac).requests, 1, 2);
	lab_run("ip link set eth0 address 02:00:00:00:00:78");
	lab_turn(&f->loop, 300);
	assert_int_equal(status(f, "fd09::85").conflicts, 0);
}

static void test_flush(void **state)
{
	struct fixture *f = *state;
	uint8_t mac[6];

	lab_mac("eth0", mac);
	announce(f, "10.9.0.85");
	announce(f, "10.9.0.86");
	announce(f, "fd09::85");
	lab_turn(&f->loop, 100);
	(void)hear(f, "10.9.0.85", mac);
	lab_run("ip addr flush dev eth0 && ip -6 addr flush dev eth0");
	lab_turn(&f->loop, 900);
	assert_true(has_address("eth0", "10.9.0.85"));
	assert_true(has_address("eth0", "10.9.0.86"));
	assert_true(has_address("eth0", "fd09::85"));
	assert_int_equal(arp_advertiser_totals(f->adv).restored, 3);
	assert_in_range(hear(f, "10.9.0.85", mac).requests, 1, 2);
	/* What slb itself takes off stays off. */
	withdraw(f, "10.9.0.86");
	lab_turn(&f->loop, 900);
	assert_false(has_address("eth0", "10.9.0.86"));
	assert_int_equal(arp_advertiser_totals(f->adv).restored, 3);
}

/* The kernel could not tell us of everything: the adapter is looked at as a whole. */
static void test_events_lost(void **state)
{
	struct fixture *f = *state;
	struct addr other = lab_addr("10.9.0.99");
	int ifindex = adapter_link(f->adapter)->ifindex;

	announce(f, "10.9.0.85");
	announce(f, "fd09::85");
	for (int i = 0; i < 6000; i++) {
		assert_int_equal(net_addr_add(f->net, ifindex, &other, 32, 0, &f->err), 0);
		assert_int_equal(net_addr_del(f->net, ifindex, &other, 32, &f->err), 0);
	}
	lab_run("ip addr flush dev eth0 && ip -6 addr flush dev eth0");
	lab_turn(&f->loop, 1500);
	assert_true(has_address("eth0", "10.9.0.85"));
	assert_true(has_address("eth0", "fd09::85"));
	assert_int_equal(arp_advertiser_totals(f->adv).restored, 2);
}

static void test_device_recreated(void **state)
{
	struct fixture *f = *state;
	struct addr other = lab_addr("10.9.0.90");
	struct since since = { .fixture = f };
	uint8_t mac[6];

	announce(f, "10.9.0.85");
	announce(f, "fd09::85");
	lab_run("ip link del eth0");
	lab_turn(&f->loop, 1200);
	assert_int_equal(f->adv->ops->prepare(f->adv, &other, &f->err), -ENODEV);
	assert_non_null(strstr(f->err.text, "eth0"));
	lab_wire();
	lab_mac("eth0", mac);
	close(f->capture);
	f->capture = lab_capture();
	since.announcements = status(f, "10.9.0.85").announcements;
	assert_true(lab_turn_until(&f->loop, 2000, is_announced, &since));
	assert_true(has_address("eth0", "10.9.0.85"));
	assert_true(has_address("eth0", "fd09::85"));
	assert_in_range(hear(f, "10.9.0.85", mac).requests, 1, 2);
	assert_true(lab_reaches("10.9.0.85"));
	assert_true(lab_reaches("fd09::85"));

	/* Gone for good: withdrawing is no error. */
	lab_run("ip link del eth0");
	lab_turn(&f->loop, 100);
	withdraw(f, "10.9.0.85");
	withdraw(f, "fd09::85");
}

static bool is_86(void *arg, const struct addr *vip)
{
	struct addr wanted = lab_addr("10.9.0.86");

	(void)arg;
	return addr_equal(vip, &wanted);
}

static void test_after_a_crash(void **state)
{
	struct fixture *f = *state;

	prepare(f, "10.9.0.85");
	prepare(f, "10.9.0.86");
	prepare(f, "fd09::85");
	stop(f);
	assert_true(has_address("eth0", "10.9.0.85"));

	/* Adopted, and the others removed; the operator's own stay. */
	assert_int_equal(start_on(f, "eth0"), 0);
	announce(f, "10.9.0.86");
	assert_int_equal(f->adv->ops->retain(f->adv, is_86, NULL, &f->err), 0);
	assert_false(has_address("eth0", "10.9.0.85"));
	assert_false(has_address("eth0", "fd09::85"));
	assert_true(has_address("eth0", "10.9.0.86"));
	assert_true(has_address("eth0", "10.9.0.1"));
	assert_true(has_address("eth0", "fd09::1"));
	stop(f);

	/* On another adapter now: it moves. */
	lab_run("ip link add dev br0 type bridge && ip link set br0 up");
	assert_int_equal(start_on(f, "br0"), 0);
	announce(f, "10.9.0.86");
	assert_true(has_address("br0", "10.9.0.86"));
	assert_false(has_address("eth0", "10.9.0.86"));
	prepare(f, "10.9.0.87");
	stop(f);
	assert_int_equal(start_on(f, "eth0"), 0);
	assert_int_equal(f->adv->ops->retain(f->adv, is_86, NULL, &f->err), 0);
	assert_false(has_address("br0", "10.9.0.86"));
	assert_false(has_address("br0", "10.9.0.87"));
	lab_run("ip link del br0");
}

static void refused(struct fixture *f, const char *text, const char *device)
{
	struct addr vip = lab_addr(text);

	assert_int_equal(f->adv->ops->prepare(f->adv, &vip, &f->err), -EADDRINUSE);
	assert_non_null(strstr(f->err.text, text));
	assert_non_null(strstr(f->err.text, device));
}

static void test_operators_own(void **state)
{
	struct fixture *f = *state;

	refused(f, "10.9.0.1", "eth0");
	refused(f, "fd09::1", "eth0");
	lab_run("ip addr add 10.9.0.85/32 dev lo");
	refused(f, "10.9.0.85", "lo");
	assert_false(has_address("eth0", "10.9.0.85"));
	lab_run("ip addr del 10.9.0.85/32 dev lo && ip addr add 10.9.0.85/32 dev eth0");
	refused(f, "10.9.0.85", "eth0");
	assert_int_equal(f->adv->ops->retain(f->adv, is_86, NULL, &f->err), 0);
	assert_true(has_address("eth0", "10.9.0.85"));
	/* Also on a device that is down, which has no routes. */
	lab_run("ip link set eth0 down");
	lab_turn(&f->loop, 50);
	refused(f, "10.9.0.85", "eth0");
}

static void test_conflict(void **state)
{
	struct fixture *f = *state;
	static const uint8_t foreign[6] = { 0x02, 0, 0, 0, 0, 0x99 };
	uint8_t mac[6], frame[NDP_FRAME_SIZE_ADVERTISE];
	struct in6_addr in6;
	struct in_addr in;
	struct addr vip;
	struct heard heard;

	lab_mac("eth0", mac);
	announce(f, "10.9.0.85");
	announce(f, "fd09::85");
	(void)hear(f, "10.9.0.85", mac);
	vip = lab_addr("10.9.0.85");
	in = addr_to_in(&vip);
	vip = lab_addr("fd09::85");
	in6 = addr_to_in6(&vip);

	/* A probe is no claim, and the kernel answers it; our own frames are none either. */
	arp_frame_probe(frame, foreign, in);
	lab_send(f->capture, frame, ARP_FRAME_SIZE);
	arp_frame_announce(frame, ARP_REPLY, mac, in);
	lab_send(f->capture, frame, ARP_FRAME_SIZE);
	lab_turn(&f->loop, 100);
	assert_int_equal(status(f, "10.9.0.85").conflicts, 0);
	(void)hear(f, "10.9.0.85", mac);

	for (int i = 0; i < 5; i++) {
		arp_frame_announce(frame, ARP_REPLY, foreign, in);
		lab_send(f->capture, frame, ARP_FRAME_SIZE);
	}
	lab_turn(&f->loop, 100);
	assert_int_equal(status(f, "10.9.0.85").conflicts, 5);
	assert_int_equal(status(f, "10.9.0.85").defences, 1);
	assert_memory_equal(status(f, "10.9.0.85").conflict_mac, foreign, 6);
	heard = hear(f, "10.9.0.85", mac);
	assert_int_equal(heard.requests, 1);
	assert_int_equal(heard.replies, 0);

	ndp_frame_advertise(frame, foreign, &in6);
	lab_send(f->capture, frame, NDP_FRAME_SIZE_ADVERTISE);
	lab_turn(&f->loop, 100);
	assert_int_equal(status(f, "fd09::85").conflicts, 1);
	assert_int_equal(hear(f, "fd09::85", mac).advertisements, 1);
	assert_int_equal(arp_advertiser_totals(f->adv).defences, 2);
}

static void test_thousand_vips(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[2048];
	unsigned int frames = 0;
	struct arp_frame arp;
	char text[ADDR_TEXT_SIZE];
	uint64_t began_ms;
	size_t size;

	uv_update_time(&f->loop);
	began_ms = uv_now(&f->loop);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.9.%d.%d", 1 + i / 250, 1 + i % 250);
		announce(f, text);
	}
	uv_update_time(&f->loop);
	print_message("1000 VIPs prepared in %llu ms\n",
		      (unsigned long long)(uv_now(&f->loop) - began_ms));
	lab_turn(&f->loop, 900);
	while ((size = lab_frame(f->capture, frame, sizeof(frame), 20)) > 0)
		frames += arp_frame_parse(frame, size, &arp);
	print_message("%u frames in %llu ms\n", frames,
		      (unsigned long long)(uv_now(&f->loop) - began_ms));
	/* Never more than 1000 a second and the first tenth of a second's worth. */
	assert_in_range(frames, 700, 1 + 100 + uv_now(&f->loop) - began_ms);
	/* Everybody's turn comes. */
	lab_turn(&f->loop, 2500);
	assert_true(status(f, "10.9.1.1").announcements >= 1);
	assert_true(status(f, "10.9.4.250").announcements >= 1);
	/* Restarted: all adopted. */
	stop(f);
	assert_int_equal(start_on(f, "eth0"), 0);
	uv_update_time(&f->loop);
	began_ms = uv_now(&f->loop);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.9.%d.%d", 1 + i / 250, 1 + i % 250);
		announce(f, text);
	}
	uv_update_time(&f->loop);
	print_message("1000 VIPs adopted in %llu ms\n",
		      (unsigned long long)(uv_now(&f->loop) - began_ms));
	assert_in_range(uv_now(&f->loop) - began_ms, 0, 1000);
	lab_run("ip addr flush dev eth0");
	lab_turn(&f->loop, 1500);
	assert_int_equal(arp_advertiser_totals(f->adv).restored, 1000);
	assert_true(has_address("eth0", "10.9.4.250"));
}

static void test_loopback(void **state)
{
	struct fixture *f = *state;

	stop(f);
	assert_int_equal(start_on(f, "lo"), 0);
	announce(f, "10.9.0.85");
	assert_true(has_address("lo", "10.9.0.85"));
	lab_turn(&f->loop, 100);
	assert_int_equal(status(f, "10.9.0.85").announcements, 0);
	withdraw(f, "10.9.0.85");
	assert_false(has_address("lo", "10.9.0.85"));
}

static void test_unusable_adapters(void **state)
{
	struct fixture *f = *state;

	stop(f);
	assert_int_equal(start_on(f, "nope"), -ENODEV);
	assert_non_null(strstr(f->err.text, "adapter nope does not exist"));
	stop(f);
	lab_run("ip tuntap add dev tun7 mode tun");
	assert_int_equal(start_on(f, "tun7"), -EINVAL);
	assert_non_null(strstr(f->err.text, "no Ethernet device"));
	stop(f);
	lab_run("ip tuntap del dev tun7 mode tun; ip link add dev br0 type bridge && "
		"ip link set eth0 master br0");
	assert_int_equal(start_on(f, "eth0"), -EINVAL);
	assert_non_null(strstr(f->err.text, "--adapter br0"));
	stop(f);
	lab_run("ip link del br0");
	assert_int_equal(start_on(f, "eth0"), 0);
}

/* ---- the prober ------------------------------------------------------------------------------ */

struct answer {
	int count, status;
	bool in_use;
	uint8_t mac[6];
};

static void on_answer(void *arg, int answer_status, const char *holder, const struct errbuf *err)
{
	struct answer *answer = arg;

	answer->count++;
	answer->in_use = answer_status == -EADDRINUSE;
	answer->status = answer->in_use ? 0 : answer_status;
	assert_true((holder != NULL) == answer->in_use);
	assert_true((err != NULL) == (answer->status < 0));
	if (holder != NULL)
		assert_int_equal(sscanf(holder, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &answer->mac[0],
					&answer->mac[1], &answer->mac[2], &answer->mac[3],
					&answer->mac[4], &answer->mac[5]),
				 6);
}

static bool is_answered(void *arg)
{
	return ((struct answer *)arg)->count > 0;
}

static struct answer probe(struct fixture *f, const char *text)
{
	struct addr address = lab_addr(text);
	struct answer answer = { 0 };

	uv_update_time(&f->loop);
	f->prober->ops->probe(f->prober, &address, on_answer, &answer);
	assert_int_equal(answer.count, 0);
	assert_true(lab_turn_until(&f->loop, 2000, is_answered, &answer));
	assert_int_equal(answer.count, 1);
	return answer;
}

static void test_probe(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	uint8_t mac[6], own[6];

	lab_mac("eth1", mac);
	lab_mac("eth0", own);
	answer = probe(f, "10.9.0.2");
	assert_int_equal(answer.status, 0);
	assert_true(answer.in_use);
	assert_memory_equal(answer.mac, mac, 6);
	answer = probe(f, "fd09::2");
	assert_true(answer.in_use);
	assert_memory_equal(answer.mac, mac, 6);
	answer = probe(f, "10.9.0.99");
	assert_int_equal(answer.status, 0);
	assert_false(answer.in_use);
	assert_false(probe(f, "fd09::99").in_use);
	/* The node's own; but not what slb put there. */
	answer = probe(f, "10.9.0.1");
	assert_true(answer.in_use);
	assert_memory_equal(answer.mac, own, 6);

	lab_run("ip link set eth0 down");
	lab_turn(&f->loop, 50);
	assert_int_equal(probe(f, "10.9.0.99").status, -ENETDOWN);
}

/* Another host probes for the same address at the same time. */
static void test_probe_meets_probe(void **state)
{
	struct fixture *f = *state;
	static const uint8_t foreign[6] = { 0x02, 0, 0, 0, 0, 0x99 };
	const char *const texts[] = { "10.9.0.99", "fd09::99" };

	for (size_t i = 0; i < 2; i++) {
		struct addr address = lab_addr(texts[i]);
		struct in6_addr in6 = addr_to_in6(&address);
		struct answer answer = { 0 };
		uint8_t frame[128];

		f->prober->ops->probe(f->prober, &address, on_answer, &answer);
		lab_turn(&f->loop, 50);
		if (address.family == AF_INET6) {
			ndp_frame_probe(frame, foreign, &in6);
			lab_send(f->capture, frame, NDP_FRAME_SIZE_PROBE);
		} else {
			arp_frame_probe(frame, foreign, addr_to_in(&address));
			lab_send(f->capture, frame, ARP_FRAME_SIZE);
		}
		lab_turn(&f->loop, 100);
		assert_int_equal(answer.count, 1);
		assert_true(answer.in_use);
		assert_memory_equal(answer.mac, foreign, 6);
	}
}

static void test_probe_many(void **state)
{
	struct fixture *f = *state;
	struct answer answers[100] = { 0 }, cancelled = { 0 };
	struct addr address;
	char text[ADDR_TEXT_SIZE];
	uint64_t began_ms;

	uv_update_time(&f->loop);
	began_ms = uv_now(&f->loop);
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "10.9.0.%d", 100 + i);
		address = lab_addr(text);
		f->prober->ops->probe(f->prober, &address, on_answer, &answers[i]);
	}
	address = lab_addr("10.9.0.99");
	f->prober->ops->probe(f->prober, &address, on_answer, &cancelled);
	f->prober->ops->cancel(f->prober, &address);
	for (int i = 0; i < 100; i++) {
		assert_true(lab_turn_until(&f->loop, 3000, is_answered, &answers[i]));
		assert_int_equal(answers[i].status, 0);
		assert_false(answers[i].in_use);
	}
	print_message("100 probes at once took %llu ms\n",
		      (unsigned long long)(uv_now(&f->loop) - began_ms));
	assert_int_equal(cancelled.count, 0);

	/* Closed under way: everybody is told. */
	memset(answers, 0, sizeof(answers));
	f->prober->ops->probe(f->prober, &address, on_answer, &answers[0]);
	prober_close(f->prober);
	f->prober = NULL;
	assert_int_equal(answers[0].count, 1);
	assert_int_equal(answers[0].status, -ECANCELED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create),
		TEST(test_create_ipv6),
		TEST(test_link_down_and_up),
		TEST(test_created_while_down),
		TEST(test_mac_change),
		TEST(test_flush),
		TEST(test_events_lost),
		TEST(test_device_recreated),
		TEST(test_after_a_crash),
		TEST(test_operators_own),
		TEST(test_conflict),
		TEST(test_thousand_vips),
		TEST(test_loopback),
		TEST(test_unusable_adapters),
		TEST(test_probe),
		TEST(test_probe_meets_probe),
		TEST(test_probe_many),
	};

	return cmocka_run_group_tests(tests, net_lab_open, net_lab_close);
}
