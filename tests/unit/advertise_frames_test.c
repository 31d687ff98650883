/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ARP and NDP frames against bytes written out by hand from the RFCs, and every malformation that
 * the RFCs tell to ignore; the pace; the journal.
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

#include "advertise/arp_frame.h"
#include "advertise/journal.h"
#include "advertise/ndp_frame.h"
#include "advertise/pace.h"

static const uint8_t mac[6] = { 0x02, 0x00, 0x5e, 0x10, 0x00, 0x01 };

/* rfc: 826 and 5227 2.3: 192.0.2.85 is at 02:00:5e:10:00:01. */
static const uint8_t arp_announcement[ARP_FRAME_SIZE] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x5e, 0x10, 0x00, 0x01,
	0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, /* Ethernet, IPv4, request */
	0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 0xc0, 0x00, 0x02, 0x55, /* sender */
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x00, 0x02, 0x55, /* target */
};

/* rfc: 4861 4.4, 7.2.6: 2001:db8::85, override; the checksum was computed by Scapy. */
static const uint8_t
	ndp_advertisement[NDP_FRAME_SIZE_ADVERTISE] = {
		0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00,
		0x5e, 0x10, 0x00, 0x01, 0x86, 0xdd,             /* Eth */
		0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, /* IPv6, 32 bytes, ICMPv6, 255 */
		0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,
		0,    0,    0,    0,    0,    0,    0,    0x85, /* from 2001:db8::85 */
		0xff, 0x02, 0,    0,    0,    0,    0,    0,
		0,    0,    0,    0,    0,    0,    0,    0x01, /* to ff02::1 */
		0x88, 0x00, 0x9a, 0x12, 0x20, 0x00, 0x00, 0x00, /* NA, override */
		0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,
		0,    0,    0,    0,    0,    0,    0,    0x85, /* target */
		0x02, 0x01, 0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, /* its link-layer address */
	};

/* rfc: 4862 5.4.2: is there a 2001:db8::85? */
static const uint8_t
	ndp_probe[NDP_FRAME_SIZE_PROBE] = {
		0x33, 0x33, 0xff, 0x00, 0x00, 0x85, 0x02, 0x00,
		0x5e, 0x10, 0x00, 0x01, 0x86, 0xdd,             /* Eth */
		0x60, 0x00, 0x00, 0x00, 0x00, 0x18, 0x3a, 0xff, /* IPv6, 24 bytes */
		0,    0,    0,    0,    0,    0,    0,    0,
		0,    0,    0,    0,    0,    0,    0,    0, /* from :: */
		0xff, 0x02, 0,    0,    0,    0,    0,    0,
		0,    0,    0,    0x01, 0xff, 0,    0,    0x85, /* to ff02::1:ff00:85 */
		0x87, 0x00, 0x4b, 0xe5, 0x00, 0x00, 0x00, 0x00, /* NS */
		0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,
		0,    0,    0,    0,    0,    0,    0,    0x85, /* target */
	};

static struct in_addr v4(const char *text)
{
	struct in_addr in;

	assert_int_equal(inet_pton(AF_INET, text, &in), 1);
	return in;
}

static struct in6_addr v6(const char *text)
{
	struct in6_addr in6;

	assert_int_equal(inet_pton(AF_INET6, text, &in6), 1);
	return in6;
}

static void test_arp_build(void **state)
{
	uint8_t frame[ARP_FRAME_SIZE], expected[ARP_FRAME_SIZE];

	(void)state;
	arp_frame_announce(frame, ARP_REQUEST, mac, v4("192.0.2.85"));
	assert_memory_equal(frame, arp_announcement, sizeof(frame));

	memcpy(expected, arp_announcement, sizeof(expected));
	expected[21] = 2;              /* reply */
	memcpy(expected + 32, mac, 6); /* target MAC: the sender's */
	arp_frame_announce(frame, ARP_REPLY, mac, v4("192.0.2.85"));
	assert_memory_equal(frame, expected, sizeof(frame));

	memcpy(expected, arp_announcement, sizeof(expected));
	memset(expected + 28, 0, 4); /* no sender address */
	arp_frame_probe(frame, mac, v4("192.0.2.85"));
	assert_memory_equal(frame, expected, sizeof(frame));
}

static void test_arp_parse(void **state)
{
	uint8_t frame[60] = { 0 };
	struct arp_frame arp;

	(void)state;
	memcpy(frame, arp_announcement, sizeof(arp_announcement));
	assert_true(arp_frame_parse(frame, sizeof(frame), &arp)); /* padded to 60 bytes */
	assert_int_equal(arp.operation, ARP_REQUEST);
	assert_int_equal(arp.sender.s_addr, v4("192.0.2.85").s_addr);
	assert_int_equal(arp.target.s_addr, v4("192.0.2.85").s_addr);
	assert_memory_equal(arp.sender_mac, mac, 6);

	for (size_t size = 0; size < ARP_FRAME_SIZE; size++)
		assert_false(arp_frame_parse(frame, size, &arp));
	/* Ethertype, hardware, protocol, both lengths, operation. */
	for (size_t at = 12; at < 22; at++) {
		frame[at] ^= 0x40;
		assert_false(arp_frame_parse(frame, sizeof(frame), &arp));
		frame[at] ^= 0x40;
	}
}

static void test_ndp_build(void **state)
{
	uint8_t frame[NDP_FRAME_SIZE_ADVERTISE], group[6];
	struct in6_addr address = v6("2001:db8::85");
	static const uint8_t expected_group[6] = { 0x33, 0x33, 0xff, 0xab, 0xcd, 0xef };

	(void)state;
	ndp_frame_advertise(frame, mac, &address);
	assert_memory_equal(frame, ndp_advertisement, sizeof(ndp_advertisement));
	ndp_frame_probe(frame, mac, &address);
	assert_memory_equal(frame, ndp_probe, sizeof(ndp_probe));
	address = v6("fd00::12ab:cdef");
	ndp_solicited_node_mac(&address, group);
	assert_memory_equal(group, expected_group, sizeof(group));
}

static void test_ndp_parse(void **state)
{
	struct in6_addr address = v6("2001:db8::85");
	uint8_t frame[NDP_FRAME_SIZE_ADVERTISE];
	struct ndp_frame ndp;

	(void)state;
	assert_true(ndp_frame_parse(ndp_advertisement, sizeof(ndp_advertisement), &ndp));
	assert_int_equal(ndp.type, NDP_ADVERTISEMENT);
	assert_memory_equal(&ndp.target, &address, sizeof(address));
	assert_memory_equal(&ndp.source, &address, sizeof(address));
	assert_memory_equal(ndp.mac, mac, 6);
	assert_true(ndp_frame_parse(ndp_probe, sizeof(ndp_probe), &ndp));
	assert_int_equal(ndp.type, NDP_SOLICITATION);
	assert_memory_equal(&ndp.source, &in6addr_any, sizeof(address));

	for (size_t size = 0; size < sizeof(ndp_advertisement); size++) {
		/* On the heap, so that a read past the end is seen. */
		uint8_t *part = malloc(size + (size == 0));

		memcpy(part, ndp_advertisement, size);
		assert_false(ndp_frame_parse(part, size, &ndp));
		free(part);
	}
	/* Every bit from the IPv6 header on, but for traffic class and flow label, is checked or
	 * changes the checksum. */
	for (size_t bit = 8 * 18; bit < 8 * sizeof(frame); bit++) {
		memcpy(frame, ndp_advertisement, sizeof(frame));
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(ndp_frame_parse(frame, sizeof(frame), &ndp));
	}
}

/* Sums as the parser does, so that only the rule at hand makes the frame invalid. */
static void fix_checksum(uint8_t *frame, size_t size)
{
	uint32_t sum = (uint32_t)(size - 54) + IPPROTO_ICMPV6;

	frame[56] = frame[57] = 0;
	for (size_t i = 22; i + 1 < size; i += 2)
		sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	frame[56] = (uint8_t)(~sum >> 8);
	frame[57] = (uint8_t)~sum;
}

static void check_ndp(size_t at, uint8_t value, bool valid)
{
	uint8_t frame[NDP_FRAME_SIZE_ADVERTISE];
	struct ndp_frame ndp;

	memcpy(frame, ndp_advertisement, sizeof(frame));
	frame[at] = value;
	fix_checksum(frame, sizeof(frame));
	assert_int_equal(ndp_frame_parse(frame, sizeof(frame), &ndp), valid);
}

static void test_ndp_rules(void **state)
{
	uint8_t frame[NDP_FRAME_SIZE_ADVERTISE];
	struct ndp_frame ndp;

	(void)state;
	check_ndp(54, NDP_ADVERTISEMENT, true);
	check_ndp(54, 134, false);  /* router advertisement */
	check_ndp(55, 1, false);    /* code */
	check_ndp(62, 0xff, false); /* target is multicast */
	check_ndp(79, 0, false);    /* option without length */
	check_ndp(79, 2, false);    /* option longer than the message */
	check_ndp(78, 14, true);    /* another option is ignored, the frame's source is the MAC */
	check_ndp(21, 254, false);  /* hop limit */

	/* rfc: 4861 7.1.1: a solicitation from :: with a source link-layer address. */
	memcpy(frame, ndp_advertisement, sizeof(frame));
	frame[54] = NDP_SOLICITATION;
	memset(frame + 22, 0, 16);
	frame[78] = 1;
	fix_checksum(frame, sizeof(frame));
	assert_false(ndp_frame_parse(frame, sizeof(frame), &ndp));
}

static void test_pace(void **state)
{
	struct pace pace;
	int sent = 0;

	(void)state;
	pace_start(&pace, 100, 5000);
	for (uint64_t now_ms = 5000; now_ms < 7000; now_ms++) {
		while (pace_take(&pace, 2, now_ms))
			sent += 2;
	}
	assert_in_range(sent, 200, 210); /* 2 s at 100/s, and the bucket of a tenth */
	/* After a year: a full bucket, no more. */
	sent = 0;
	while (pace_take(&pace, 1, 7000 + 31536000000ULL))
		sent++;
	assert_int_equal(sent, 10);
	pace_start(&pace, 1, 0);
	assert_true(pace_take(&pace, 2, 0));
	assert_false(pace_take(&pace, 2, 1999));
	assert_true(pace_take(&pace, 2, 2000));
}

static void test_journal(void **state)
{
	char directory[] = "/tmp/journal_test.XXXXXX", command[128];
	struct addr a, b;
	struct journal *journal;
	struct errbuf err;

	(void)state;
	assert_non_null(mkdtemp(directory));
	assert_int_equal(addr_parse("192.0.2.1", &a), 0);
	assert_int_equal(addr_parse("2001:db8::1", &b), 0);
	assert_int_equal(journal_open(directory, &journal, &err), 0);
	assert_int_equal(journal_add(journal, &a, &err), 0);
	assert_int_equal(journal_add(journal, &b, &err), 0);
	journal_remove(journal, &a);
	journal_close(journal);

	assert_int_equal(journal_open(directory, &journal, &err), 0);
	assert_false(journal_has(journal, &a));
	assert_true(journal_has(journal, &b));
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(journal_add(journal, &a, &err), 0);
		journal_remove(journal, &a);
	}
	journal_close(journal);
	snprintf(command, sizeof(command), "test $(wc -l <%s/addresses) -lt 1100", directory);
	assert_int_equal(system(command), 0);

	/* Of another boot: forgotten. */
	snprintf(command, sizeof(command), "sed -i '1s/.*/boot of old/' %s/addresses", directory);
	assert_int_equal(system(command), 0);
	assert_int_equal(journal_open(directory, &journal, &err), 0);
	assert_false(journal_has(journal, &b));
	journal_close(journal);
	journal_close(NULL);
	assert_int_equal(journal_open("/nonexistent", &journal, &err), -ENOENT);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arp_build), cmocka_unit_test(test_arp_parse),
		cmocka_unit_test(test_ndp_build), cmocka_unit_test(test_ndp_parse),
		cmocka_unit_test(test_ndp_rules), cmocka_unit_test(test_pace),
		cmocka_unit_test(test_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
