/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stream of bytes from a peer, through everything that parses: split, OPEN, UPDATE on each kind
 * of session, NOTIFICATION, ROUTE-REFRESH. What must hold besides no crash: a refusal has a code
 * and words, an OPEN that is accepted can be built and read again, texts are valid UTF-8 without
 * control characters.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "advertise/bgp/bgp_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_error(const struct bgp_error *error)
{
	require(error->code >= BGP_ERROR_HEADER && error->code <= BGP_ERROR_SEND_HOLD);
	require(error->text[0] != '\0' && memchr(error->text, 0, sizeof(error->text)) != NULL);
	require(error->data_length <= sizeof(error->data));
}

static void try_open(struct bgp_reader body)
{
	struct bgp_open open, again, local = { .as = 65000, .identifier = 1 };
	struct bgp_negotiated negotiated;
	struct bgp_error error = { 0 };
	uint8_t data[512];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };

	local.capabilities.families = BGP_FAMILIES_ALL;
	if (bgp_open_parse(body, &open, &error) < 0) {
		check_error(&error);
		return;
	}
	if (bgp_open_check(&open, &local, open.as, &error) < 0)
		check_error(&error);
	bgp_open_negotiate(&local, &open, &negotiated);
	bgp_open_build(&writer, &open);
	require(!writer.overflow);
	body = (struct bgp_reader){ .data = data + BGP_HEADER_SIZE,
				    .length = writer.length - BGP_HEADER_SIZE };
	require(bgp_open_parse(body, &again, &error) == 0);
	require(again.hold_s == open.hold_s && again.identifier == open.identifier);
	require(again.capabilities.families == open.capabilities.families ||
		!open.capabilities.multiprotocol || open.capabilities.families == 0);
}

static void try_update(struct bgp_reader body)
{
	for (unsigned variant = 0; variant < 8; variant++) {
		struct bgp_update_context context = { .ibgp = variant & 1,
						      .as4 = variant & 2,
						      .families =
							      variant & 4 ? BGP_FAMILIES_ALL : 1 };
		struct bgp_update_summary summary;

		bgp_update_parse(body, &context, &summary);
		require(summary.reaction == BGP_REACTION_NONE || summary.error.code != 0);
		if (summary.reaction != BGP_REACTION_NONE)
			check_error(&summary.error);
		require(summary.announced + summary.withdrawn <= body.length);
	}
}

static void try_notification(struct bgp_reader body)
{
	struct bgp_error received;

	bgp_notification_parse(body, &received);
	require(memchr(received.text, 0, sizeof(received.text)) != NULL);
	for (const char *c = received.text; *c != '\0'; c++)
		require((unsigned char)*c >= 0x20 && *c != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;
	int used;

	/* The first byte chooses: a stream, or a body straight to one parser (else the marker of
	 * sixteen ones stands in the way of everything). */
	if (size > 0 && data[0] < 4) {
		struct bgp_reader body = { .data = data + 1, .length = size - 1 };
		enum bgp_family family;

		if (data[0] == 0)
			try_open(body);
		else if (data[0] == 1)
			try_update(body);
		else if (data[0] == 2)
			try_notification(body);
		else
			bgp_refresh_parse(body, &family);
		return 0;
	}
	do {
		struct bgp_message message;
		struct bgp_error error = { 0 };

		used = bgp_message_split(data + at, size - at, &message, &error);
		if (used < 0)
			check_error(&error);
		if (used <= 0)
			break;
		require((size_t)used >= BGP_HEADER_SIZE && (size_t)used <= size - at);
		at += (size_t)used;
		if (message.type == BGP_OPEN)
			try_open(message.body);
		else if (message.type == BGP_UPDATE)
			try_update(message.body);
		else if (message.type == BGP_NOTIFICATION)
			try_notification(message.body);
	} while (true);
	return 0;
}
