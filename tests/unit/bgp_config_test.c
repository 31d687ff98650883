/* SPDX-License-Identifier: GPL-2.0-only */
/* What a person writes: every option, and a sentence for every mistake. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "advertise/bgp/bgp_config.h"

static void test_as(void **state)
{
	static const struct {
		const char *text;
		uint32_t as; /* 0: refused */
	} cases[] = {
		{ "1", 1 },
		{ "65000", 65000 },
		{ "4200000001", 4200000001u },
		{ "4294967294", 4294967294u },
		{ "1.0", 65536 },
		{ "64512.1", 4227858433u },
		{ "0", 0 },
		{ "23456", 0 },
		{ "65535", 0 },
		{ "4294967295", 0 },
		{ "4294967296", 0 },
		{ "", 0 },
		{ "-1", 0 },
		{ "65000 ", 0 },
		{ "1.65536", 0 },
		{ "1.2.3", 0 },
		{ ".1", 0 },
		{ "1.", 0 },
		{ "AS65000", 0 },
		{ "0x10", 0 },
		{ "99999999999999999999", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct errbuf err = { 0 };
		uint32_t as = 7;

		assert_int_equal(bgp_as_parse(cases[i].text, &as, &err),
				 cases[i].as == 0 ? -EINVAL : 0);
		assert_int_equal(as, cases[i].as == 0 ? 7 : cases[i].as);
		assert_int_equal(err.text[0] != '\0', cases[i].as == 0);
	}
}

static void test_peer(void **state)
{
	struct bgp_peer_config peer;
	struct errbuf err;

	(void)state;
	assert_int_equal(bgp_peer_parse("192.0.2.1,65001", &peer, &err), 0);
	assert_int_equal(peer.as, 65001);
	assert_int_equal(peer.port, 179);
	assert_int_equal(peer.hold_s, 90);
	assert_false(peer.passive || peer.multihop || peer.ttl_security || peer.password[0]);
	assert_int_equal(bgp_peer_parse("2001:db8::1,1.1,port=1790,multihop=3,source=2001:db8::2,"
					"hold=0,connect-retry=30,passive",
					&peer, &err),
			 0);
	assert_int_equal(peer.as, 65537);
	assert_int_equal(peer.port, 1790);
	assert_int_equal(peer.multihop, 3);
	assert_int_equal(peer.hold_s, 0);
	assert_int_equal(peer.connect_retry_s, 30);
	assert_true(peer.passive);
	assert_int_equal(peer.source.family, AF_INET6);
	assert_int_equal(bgp_peer_parse("192.0.2.1,65001,ttl-security", &peer, &err), 0);
	assert_int_equal(peer.ttl_security, 1);
	assert_int_equal(bgp_peer_parse("192.0.2.1,65001,ttl-security=4", &peer, &err), 0);
	assert_int_equal(peer.ttl_security, 4);
}

static void test_peer_mistakes(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{ "", "is not an IPv4 or IPv6 address" },
		{ "router,65001", "\"router\" is not an IPv4 or IPv6 address" },
		{ "192.0.2.1", "write 192.0.2.1,AS" },
		{ "192.0.2.1,", "is not an AS number" },
		{ "192.0.2.1,65535", "AS 65535 is reserved" },
		{ "224.0.0.5,65001", "cannot be a peer" },
		{ "0.0.0.0,65001", "cannot be a peer" },
		{ "fe80::1,65001", "give its global address" },
		{ "192.0.2.1,65001,", "\"\" is not known" },
		{ "192.0.2.1,65001,hops=3", "\"hops\" is not known; there are port=" },
		{ "192.0.2.1,65001,port", "give a number from 1 to 65535" },
		{ "192.0.2.1,65001,port=0", "give a number from 1 to 65535" },
		{ "192.0.2.1,65001,port=65536", "give a number from 1 to 65535" },
		{ "192.0.2.1,65001,hold=2", "give 0, or 3 and more seconds" },
		{ "192.0.2.1,65001,hold=65536", "give a number from 0 to 65535" },
		{ "192.0.2.1,65001,multihop=256", "give a number from 1 to 255" },
		{ "192.0.2.1,65001,multihop=2,ttl-security=2", "exclude each other" },
		{ "192.0.2.1,65001,ttl-security=255", "give a number from 1 to 254" },
		{ "192.0.2.1,65001,source=eth0", "give an address of this node" },
		{ "192.0.2.1,65001,source=::1", "of the peer's address family" },
		{ "192.0.2.1,65001,passive=yes", "passive takes no value" },
		{ "192.0.2.1,65001,passive,passive", "passive is given twice" },
		{ "192.0.2.1,65001,connect-retry=0", "give a number from 1" },
		{ "192.0.2.1,65001,password-file=", "needs the path of a file" },
		{ "192.0.2.1,65001,password-file=/nonexistent", "cannot be opened: No such file" },
	};
	char *longest = malloc(3000);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bgp_peer_config peer = { .as = 7 };
		struct errbuf err = { 0 };

		print_message("%s\n", cases[i].text);
		assert_true(bgp_peer_parse(cases[i].text, &peer, &err) < 0);
		assert_int_equal(peer.as, 7);
		assert_non_null(strstr(err.text, cases[i].sentence));
		assert_int_equal(strncmp(err.text, "--bgp-peer ", 11), 0);
	}
	memset(longest, 'a', 2999);
	longest[2999] = '\0';
	struct bgp_peer_config peer;
	struct errbuf err;

	assert_int_equal(bgp_peer_parse(longest, &peer, &err), -EINVAL);
	free(longest);
}

/* A password file with this content and mode: the result of parsing. */
static int parse_with_password(const char *content, size_t length, mode_t mode,
			       struct bgp_peer_config *peer, struct errbuf *err)
{
	char path[] = "/tmp/slb-bgp-password-XXXXXX", text[128];
	int fd = mkstemp(path), result;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, length), length);
	fchmod(fd, mode);
	close(fd);
	snprintf(text, sizeof(text), "192.0.2.1,65001,password-file=%s", path);
	result = bgp_peer_parse(text, peer, err);
	unlink(path);
	return result;
}

static void test_password(void **state)
{
	struct bgp_peer_config peer;
	struct errbuf err;
	char longest[82];

	(void)state;
	assert_int_equal(parse_with_password("sesame\n", 7, 0600, &peer, &err), 0);
	assert_string_equal(peer.password, "sesame");
	assert_int_equal(parse_with_password("open it", 7, 0640, &peer, &err), 0);
	assert_string_equal(peer.password, "open it");
	memset(longest, 'x', sizeof(longest));
	longest[80] = '\n';
	assert_int_equal(parse_with_password(longest, 81, 0600, &peer, &err), 0);
	assert_int_equal(strlen(peer.password), 80);
	longest[80] = 'x';
	assert_int_equal(parse_with_password(longest, 81, 0600, &peer, &err), -EINVAL);
	assert_int_equal(parse_with_password("", 0, 0600, &peer, &err), -EINVAL);
	assert_int_equal(parse_with_password("\n", 1, 0600, &peer, &err), -EINVAL);
	assert_int_equal(parse_with_password("a\nb\n", 4, 0600, &peer, &err), -EINVAL);
	assert_int_equal(parse_with_password("a\0b", 3, 0600, &peer, &err), -EINVAL);
	assert_int_equal(parse_with_password("sesame", 6, 0644, &peer, &err), -EINVAL);
	assert_non_null(strstr(err.text, "chmod 600"));
}

static void test_communities(void **state)
{
	struct bgp_attributes attributes = { 0 };
	struct errbuf err;
	char many[1000] = "";

	(void)state;
	assert_int_equal(bgp_communities_parse("65000:1,no-export,NO-ADVERTISE,65000:1,1:2:3,"
					       "4200000000:4294967295:0,blackhole",
					       &attributes, &err),
			 0);
	assert_int_equal(attributes.community_count, 4);
	assert_int_equal(attributes.communities[0], 65000u << 16 | 1);
	assert_int_equal(attributes.communities[1], 0xffffff01);
	assert_int_equal(attributes.communities[3], 0xffff029a);
	assert_int_equal(attributes.large_community_count, 2);
	assert_int_equal(attributes.large_communities[1].global, 4200000000u);

	static const char *const wrong[] = {
		"",   "65000", "65536:1", "1:65536", "1:2:3:4",        "a:b",
		"1:", ":1",    "1:2,",    "export",  "1:2:4294967296", "1: 2"
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(bgp_communities_parse(wrong[i], &attributes, &err), -EINVAL);
		assert_int_equal(attributes.community_count, 4);
	}
	for (int i = 0; i < 65; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "%s7:%d",
			 i == 0 ? "" : ",", i);
	attributes.community_count = 0;
	assert_int_equal(bgp_communities_parse(many, &attributes, &err), -ENOSPC);
	assert_int_equal(attributes.community_count, 0);
}

static void test_whole(void **state)
{
	struct bgp_config config = bgp_config_default();
	struct errbuf err;

	(void)state;
	assert_int_equal(bgp_config_complete(&config, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--bgp-as"));
	config.as = 65000;
	assert_int_equal(bgp_router_id_parse("192.0.2.9", &config.router_id, &err), 0);
	assert_int_equal(config.router_id, 0xc0000209);
	assert_int_equal(bgp_router_id_parse("0.0.0.0", &config.router_id, &err), -EINVAL);
	assert_int_equal(bgp_router_id_parse("::1", &config.router_id, &err), -EINVAL);
	assert_int_equal(bgp_config_complete(&config, &err), 0);
	assert_int_equal(config.router_id, 0xc0000209);
	assert_int_equal(bgp_next_hop_parse("2001:db8::1", &config, &err), 0);
	assert_int_equal(config.next_hop[BGP_IPV6].family, AF_INET6);
	assert_int_equal(bgp_next_hop_parse("127.0.0.1", &config, &err), -EINVAL);
	config.restart_time_s = 4096;
	assert_int_equal(bgp_config_complete(&config, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_peer_mistakes),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_communities),
		cmocka_unit_test(test_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
