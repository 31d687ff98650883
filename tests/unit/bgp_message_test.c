/* SPDX-License-Identifier: GPL-2.0-only */
/* Header, NOTIFICATION, ROUTE-REFRESH: what is built can be read, what is wrong is refused as told.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "advertise/bgp/bgp_message.h"

static void test_header_errors(void **state)
{
	/* rfc: 4271 §6.1; marker byte, length, type → subcode, data */
	static const struct {
		const char *what;
		uint8_t marker;
		uint16_t length;
		uint8_t type;
		uint8_t subcode; /* 0: fine */
		uint8_t data[2];
		size_t data_length;
	} cases[] = {
		{ "keepalive", 0xff, 19, 4, 0, { 0 }, 0 },
		{ "marker", 0xfe, 19, 4, BGP_HEADER_NOT_SYNCHRONIZED, { 0 }, 0 },
		{ "shorter than a header", 0xff, 18, 4, BGP_HEADER_BAD_LENGTH, { 0, 18 }, 2 },
		{ "longer than 4096", 0xff, 4097, 2, BGP_HEADER_BAD_LENGTH, { 0x10, 0x01 }, 2 },
		{ "keepalive with a body", 0xff, 20, 4, BGP_HEADER_BAD_LENGTH, { 0, 20 }, 2 },
		{ "short OPEN", 0xff, 28, 1, BGP_HEADER_BAD_LENGTH, { 0, 28 }, 2 },
		{ "short UPDATE", 0xff, 22, 2, BGP_HEADER_BAD_LENGTH, { 0, 22 }, 2 },
		{ "short NOTIFICATION", 0xff, 20, 3, BGP_HEADER_BAD_LENGTH, { 0, 20 }, 2 },
		{ "short ROUTE-REFRESH", 0xff, 22, 5, BGP_HEADER_BAD_LENGTH, { 0, 22 }, 2 },
		{ "type 0", 0xff, 19, 0, BGP_HEADER_BAD_TYPE, { 0 }, 1 },
		{ "type 6", 0xff, 19, 6, BGP_HEADER_BAD_TYPE, { 6 }, 1 },
		{ "type 255", 0xff, 19, 255, BGP_HEADER_BAD_TYPE, { 255 }, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t data[4100];
		struct bgp_message message = { 0 };
		struct bgp_error error = { 0 };
		int result;

		memset(data, 0xff, 16);
		data[3] = cases[i].marker;
		data[16] = (uint8_t)(cases[i].length >> 8);
		data[17] = (uint8_t)cases[i].length;
		data[18] = cases[i].type;
		result = bgp_message_split(data, sizeof(data), &message, &error);
		print_message("header: %s\n", cases[i].what);
		if (cases[i].subcode == 0) {
			assert_int_equal(result, cases[i].length);
			continue;
		}
		assert_int_equal(result, -EPROTO);
		assert_int_equal(error.code, BGP_ERROR_HEADER);
		assert_int_equal(error.subcode, cases[i].subcode);
		assert_int_equal(error.data_length, cases[i].data_length);
		assert_memory_equal(error.data, cases[i].data, cases[i].data_length);
		assert_true(error.text[0] != '\0');
	}
}

/* Every prefix of a stream of messages asks for more, and never reads beyond (ASan watches). */
static void test_stream_in_pieces(void **state)
{
	uint8_t stream[512];
	size_t length = 0;
	struct bgp_error cease;

	(void)state;
	bgp_error_cease(&cease, BGP_CEASE_ADMIN_SHUTDOWN, "bye");
	for (int i = 0; i < 4; i++) {
		struct bgp_writer writer = { .data = stream + length,
					     .size = sizeof(stream) - length };

		if (i == 0)
			bgp_keepalive_build(&writer);
		else if (i == 1)
			bgp_refresh_build(&writer, BGP_IPV6);
		else if (i == 2)
			bgp_end_of_rib_build(&writer, BGP_IPV6);
		else
			bgp_notification_build(&writer, &cease);
		assert_false(writer.overflow);
		length += writer.length;
	}
	for (size_t cut = 0; cut <= length; cut++) {
		uint8_t *copy = malloc(cut == 0 ? 1 : cut);
		size_t at = 0;
		int found = 0, size;

		memcpy(copy, stream, cut);
		do {
			struct bgp_message message;
			struct bgp_error error;

			size = bgp_message_split(copy + at, cut - at, &message, &error);
			assert_true(size >= 0);
			at += (size_t)size;
			found += size > 0;
		} while (size > 0);
		assert_int_equal(found, cut == length         ? 4
					: cut >= 19 + 23 + 29 ? 3
					: cut >= 19 + 23      ? 2
					: cut >= 19           ? 1
							      : 0);
		free(copy);
	}
}

static struct bgp_error round_trip(const struct bgp_error *sent)
{
	uint8_t data[BGP_MESSAGE_SIZE_MAX];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };
	struct bgp_message message;
	struct bgp_error received, error;

	bgp_notification_build(&writer, sent);
	assert_int_equal(bgp_message_split(data, writer.length, &message, &error), writer.length);
	assert_int_equal(message.type, BGP_NOTIFICATION);
	bgp_notification_parse(message.body, &received);
	assert_int_equal(received.code, sent->code);
	assert_int_equal(received.subcode, sent->subcode);
	return received;
}

static void test_shutdown_text(void **state)
{
	struct bgp_error cease, received;
	char text[400];

	(void)state;
	bgp_error_cease(&cease, BGP_CEASE_ADMIN_SHUTDOWN, "Wartung bis 4 Uhr, grüße");
	received = round_trip(&cease);
	assert_string_equal(received.text,
			    "Cease, Administrative Shutdown: Wartung bis 4 Uhr, grüße");

	/* rfc: 9003 §2: the text is for shutdown and reset only. */
	bgp_error_cease(&cease, BGP_CEASE_DECONFIGURED, "removed");
	assert_int_equal(cease.data_length, 0);
	bgp_error_cease(&cease, BGP_CEASE_ADMIN_SHUTDOWN, NULL);
	assert_int_equal(cease.data_length, 0);

	/* 255 bytes, cut between characters and not within one. */
	for (size_t i = 0; i < 199; i++)
		memcpy(text + 2 * i, "ü", 2);
	text[398] = '\0';
	bgp_error_cease(&cease, BGP_CEASE_ADMIN_RESET, text);
	assert_int_equal(cease.data[0], 254);
	assert_int_equal(cease.data_length, 255);
	round_trip(&cease);
}

/* A text from outside: no control characters, only valid UTF-8, whatever was sent. */
static void test_hostile_shutdown_text(void **state)
{
	static const struct {
		uint8_t data[8];
		size_t length;
		const char *text;
	} cases[] = {
		{ { 3, 'a', '\n', 'b' }, 4, "Cease, Administrative Shutdown: a?b" },
		{ { 3, 0xc0, 0x80, 'x' }, 4, "Cease, Administrative Shutdown: ??x" },
		{ { 3, 0xed, 0xa0, 0x80 }, 4, "Cease, Administrative Shutdown: ???" },
		{ { 2, 'a', 0xc3 }, 3, "Cease, Administrative Shutdown: a?" },
		{ { 9, 'a', 'b' }, 3, "Cease, Administrative Shutdown" },
		{ { 0 }, 1, "Cease, Administrative Shutdown" },
		{ { 0 }, 0, "Cease, Administrative Shutdown" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bgp_error sent = { .code = BGP_ERROR_CEASE,
					  .subcode = BGP_CEASE_ADMIN_SHUTDOWN,
					  .data_length = (uint16_t)cases[i].length };
		struct bgp_error received;

		memcpy(sent.data, cases[i].data, cases[i].length);
		received = round_trip(&sent);
		assert_string_equal(received.text, cases[i].text);
	}
}

static void test_error_names(void **state)
{
	char name[BGP_ERROR_NAME_SIZE];

	(void)state;
	assert_string_equal(bgp_error_name(2, 2, name), "OPEN Message Error, Bad Peer AS");
	assert_string_equal(bgp_error_name(4, 0, name), "Hold Timer Expired");
	assert_string_equal(bgp_error_name(6, 99, name), "Cease, subcode 99");
	assert_string_equal(bgp_error_name(0, 0, name), "error 0/0");
	assert_string_equal(bgp_error_name(200, 3, name), "error 200/3");
}

static void test_refresh(void **state)
{
	static const struct {
		uint8_t body[4];
		size_t length;
		int result;
		enum bgp_family family;
	} cases[] = {
		{ { 0, 1, 0, 1 }, 4, 0, BGP_IPV4 },          { { 0, 2, 0, 1 }, 4, 0, BGP_IPV6 },
		{ { 0, 1, 0, 128 }, 4, -ENOTSUP, BGP_IPV4 }, /* another SAFI */
		{ { 0, 25, 0, 1 }, 4, -ENOTSUP, BGP_IPV4 },  /* another AFI */
		{ { 0, 1, 1, 1 }, 4, -ENOTSUP, BGP_IPV4 },   /* rfc: 7313 demarcation */
		{ { 0, 1, 0 }, 3, -ENOTSUP, BGP_IPV4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bgp_reader body = { .data = cases[i].body, .length = cases[i].length };
		enum bgp_family family;

		assert_int_equal(bgp_refresh_parse(body, &family), cases[i].result);
		if (cases[i].result == 0)
			assert_int_equal(family, cases[i].family);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_errors), cmocka_unit_test(test_stream_in_pieces),
		cmocka_unit_test(test_shutdown_text), cmocka_unit_test(test_hostile_shutdown_text),
		cmocka_unit_test(test_error_names),   cmocka_unit_test(test_refresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
