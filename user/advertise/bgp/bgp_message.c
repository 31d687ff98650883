/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Header, KEEPALIVE, NOTIFICATION and ROUTE-REFRESH, and the words for error codes.
 * rfc: 4271 §4.1, §4.4, §4.5, §6.1; 2918; 4486; 9003.
 */
#include "advertise/bgp/bgp_message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- families ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint16_t afi;
} families[BGP_FAMILY_COUNT] = {
	[BGP_IPV4] = { "ipv4", BGP_AFI_IPV4 },
	[BGP_IPV6] = { "ipv6", BGP_AFI_IPV6 },
};

const char *bgp_family_name(enum bgp_family family)
{
	return families[family].name;
}

uint16_t bgp_family_afi(enum bgp_family family)
{
	return families[family].afi;
}

bool bgp_family_parse(uint16_t afi, uint8_t safi, enum bgp_family *ret)
{
	if (safi != BGP_SAFI_UNICAST)
		return false;
	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		if (families[i].afi == afi) {
			*ret = (enum bgp_family)i;
			return true;
		}
	}
	return false;
}

/* ---- the words for errors ------------------------------------------------------------------- */

static const char *const code_names[] = {
	[BGP_ERROR_HEADER] = "Message Header Error",
	[BGP_ERROR_OPEN] = "OPEN Message Error",
	[BGP_ERROR_UPDATE] = "UPDATE Message Error",
	[BGP_ERROR_HOLD_TIMER] = "Hold Timer Expired",
	[BGP_ERROR_FSM] = "Finite State Machine Error",
	[BGP_ERROR_CEASE] = "Cease",
	[BGP_ERROR_ROUTE_REFRESH] = "ROUTE-REFRESH Message Error",
	[BGP_ERROR_SEND_HOLD] = "Send Hold Timer Expired",
};

static const struct {
	uint8_t code, subcode;
	const char *name;
} subcode_names[] = {
	{ BGP_ERROR_HEADER, BGP_HEADER_NOT_SYNCHRONIZED, "Connection Not Synchronized" },
	{ BGP_ERROR_HEADER, BGP_HEADER_BAD_LENGTH, "Bad Message Length" },
	{ BGP_ERROR_HEADER, BGP_HEADER_BAD_TYPE, "Bad Message Type" },
	{ BGP_ERROR_OPEN, BGP_OPEN_UNSUPPORTED_VERSION, "Unsupported Version Number" },
	{ BGP_ERROR_OPEN, BGP_OPEN_BAD_PEER_AS, "Bad Peer AS" },
	{ BGP_ERROR_OPEN, BGP_OPEN_BAD_IDENTIFIER, "Bad BGP Identifier" },
	{ BGP_ERROR_OPEN, BGP_OPEN_UNSUPPORTED_PARAMETER, "Unsupported Optional Parameter" },
	{ BGP_ERROR_OPEN, BGP_OPEN_UNACCEPTABLE_HOLD, "Unacceptable Hold Time" },
	{ BGP_ERROR_OPEN, BGP_OPEN_UNSUPPORTED_CAPABILITY, "Unsupported Capability" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_MALFORMED_LIST, "Malformed Attribute List" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_UNRECOGNIZED_WELLKNOWN,
	  "Unrecognized Well-known Attribute" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_MISSING_WELLKNOWN, "Missing Well-known Attribute" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_FLAGS, "Attribute Flags Error" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_LENGTH, "Attribute Length Error" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_ORIGIN, "Invalid ORIGIN Attribute" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_NEXT_HOP, "Invalid NEXT_HOP Attribute" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_OPTIONAL, "Optional Attribute Error" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_NETWORK, "Invalid Network Field" },
	{ BGP_ERROR_UPDATE, BGP_UPDATE_AS_PATH, "Malformed AS_PATH" },
	{ BGP_ERROR_FSM, BGP_FSM_IN_OPENSENT, "Unexpected Message in OpenSent" },
	{ BGP_ERROR_FSM, BGP_FSM_IN_OPENCONFIRM, "Unexpected Message in OpenConfirm" },
	{ BGP_ERROR_FSM, BGP_FSM_IN_ESTABLISHED, "Unexpected Message in Established" },
	{ BGP_ERROR_CEASE, BGP_CEASE_MAX_PREFIXES, "Maximum Number of Prefixes Reached" },
	{ BGP_ERROR_CEASE, BGP_CEASE_ADMIN_SHUTDOWN, "Administrative Shutdown" },
	{ BGP_ERROR_CEASE, BGP_CEASE_DECONFIGURED, "Peer De-configured" },
	{ BGP_ERROR_CEASE, BGP_CEASE_ADMIN_RESET, "Administrative Reset" },
	{ BGP_ERROR_CEASE, BGP_CEASE_REJECTED, "Connection Rejected" },
	{ BGP_ERROR_CEASE, BGP_CEASE_CONFIG_CHANGE, "Other Configuration Change" },
	{ BGP_ERROR_CEASE, BGP_CEASE_COLLISION, "Connection Collision Resolution" },
	{ BGP_ERROR_CEASE, BGP_CEASE_OUT_OF_RESOURCES, "Out of Resources" },
	{ BGP_ERROR_CEASE, BGP_CEASE_HARD_RESET, "Hard Reset" },
};

const char *bgp_error_name(uint8_t code, uint8_t subcode, char buf[static BGP_ERROR_NAME_SIZE])
{
	const char *name = NULL;

	if (code < sizeof(code_names) / sizeof(code_names[0]))
		name = code_names[code];
	if (name == NULL) {
		snprintf(buf, BGP_ERROR_NAME_SIZE, "error %u/%u", code, subcode);
		return buf;
	}
	snprintf(buf, BGP_ERROR_NAME_SIZE, subcode == 0 ? "%s" : "%s, subcode %u", name, subcode);
	for (size_t i = 0; i < sizeof(subcode_names) / sizeof(subcode_names[0]); i++) {
		if (subcode_names[i].code == code && subcode_names[i].subcode == subcode)
			snprintf(buf, BGP_ERROR_NAME_SIZE, "%s, %s", name, subcode_names[i].name);
	}
	return buf;
}

int bgp_error_set(struct bgp_error *error, uint8_t code, uint8_t subcode, const void *data,
		  size_t data_length, const char *format, ...)
{
	va_list args;

	if (data_length > sizeof(error->data))
		data_length = sizeof(error->data);
	error->code = code;
	error->subcode = subcode;
	error->data_length = (uint16_t)data_length;
	if (data_length > 0)
		memcpy(error->data, data, data_length);
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return -EPROTO;
}

/* Bytes of the well-formed UTF-8 character (RFC 3629 §4) at data, or 0. */
static size_t utf8_length(const uint8_t *data, size_t left)
{
	uint8_t first = data[0], low = 0x80, high = 0xbf;
	size_t length = first < 0x80   ? 1
			: first < 0xc2 ? 0
			: first < 0xe0 ? 2
			: first < 0xf0 ? 3
			: first < 0xf5 ? 4
				       : 0;

	if (length == 0 || length > left)
		return 0;
	/* No overlong form, no surrogate, nothing above U+10FFFF. */
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < length; i++) {
		if (data[i] < low || data[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

void bgp_error_cease(struct bgp_error *error, uint8_t subcode, const char *text)
{
	char name[BGP_ERROR_NAME_SIZE];
	uint8_t data[1 + BGP_SHUTDOWN_TEXT_MAX];
	size_t length = text == NULL ? 0 : strlen(text), fitting = 0;
	bool with_text = length > 0 &&
			 (subcode == BGP_CEASE_ADMIN_SHUTDOWN || subcode == BGP_CEASE_ADMIN_RESET);

	while (with_text && fitting < length) {
		size_t step = utf8_length((const uint8_t *)text + fitting, length - fitting);

		if (step == 0 || fitting + step > BGP_SHUTDOWN_TEXT_MAX)
			break;
		memcpy(data + 1 + fitting, text + fitting, step);
		fitting += step;
	}
	data[0] = (uint8_t)fitting;
	bgp_error_name(BGP_ERROR_CEASE, subcode, name);
	if (length > 0)
		bgp_error_set(error, BGP_ERROR_CEASE, subcode, data, with_text ? 1 + fitting : 0,
			      "%s: %s", name, text);
	else
		bgp_error_set(error, BGP_ERROR_CEASE, subcode, NULL, 0, "%s", name);
}

/* ---- header --------------------------------------------------------------------------------- */

/* rfc: 4271 §6.1: the least and the most each type can have. */
static const struct {
	uint16_t least, most;
} message_sizes[] = {
	[BGP_OPEN] = { BGP_OPEN_SIZE_MIN, BGP_MESSAGE_SIZE_MAX },
	[BGP_UPDATE] = { BGP_UPDATE_SIZE_MIN, BGP_MESSAGE_SIZE_MAX },
	[BGP_NOTIFICATION] = { BGP_NOTIFY_SIZE_MIN, BGP_MESSAGE_SIZE_MAX },
	[BGP_KEEPALIVE] = { BGP_KEEPALIVE_SIZE, BGP_KEEPALIVE_SIZE },
	/* Longer ones carry filters (rfc: 5291), never asked for here, and are read as plain. */
	[BGP_ROUTE_REFRESH] = { BGP_REFRESH_SIZE, BGP_MESSAGE_SIZE_MAX },
};

int bgp_message_split(const uint8_t *data, size_t length, struct bgp_message *ret,
		      struct bgp_error *error)
{
	struct bgp_reader reader = { .data = data, .length = length };
	const uint8_t *marker;
	uint16_t size;
	uint8_t type;

	if (!bgp_take_bytes(&reader, BGP_MARKER_SIZE, &marker) || !bgp_take_u16(&reader, &size) ||
	    !bgp_take_u8(&reader, &type))
		return 0;
	for (size_t i = 0; i < BGP_MARKER_SIZE; i++) {
		if (marker[i] != 0xff)
			return bgp_error_set(error, BGP_ERROR_HEADER, BGP_HEADER_NOT_SYNCHRONIZED,
					     NULL, 0, "the marker of a message is not all ones");
	}
	/* The length of an unknown type is looked at first, as §6.1 has it. */
	if (size < BGP_HEADER_SIZE || size > BGP_MESSAGE_SIZE_MAX)
		return bgp_error_set(error, BGP_ERROR_HEADER, BGP_HEADER_BAD_LENGTH,
				     data + BGP_MARKER_SIZE, 2, "a message of %u bytes", size);
	if (type == 0 || type >= sizeof(message_sizes) / sizeof(message_sizes[0]))
		return bgp_error_set(error, BGP_ERROR_HEADER, BGP_HEADER_BAD_TYPE, &type, 1,
				     "a message of unknown type %u", type);
	if (size < message_sizes[type].least || size > message_sizes[type].most)
		return bgp_error_set(error, BGP_ERROR_HEADER, BGP_HEADER_BAD_LENGTH,
				     data + BGP_MARKER_SIZE, 2,
				     "a message of type %u with %u bytes", type, size);
	if (!bgp_take_part(&reader, size - BGP_HEADER_SIZE, &ret->body))
		return 0;
	ret->type = type;
	return size;
}

void bgp_message_begin(struct bgp_writer *writer, enum bgp_message_type type)
{
	static const uint8_t marker[BGP_MARKER_SIZE] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	};

	bgp_put_bytes(writer, marker, sizeof(marker));
	bgp_put_u16(writer, 0);
	bgp_put_u8(writer, (uint8_t)type);
}

void bgp_message_end(struct bgp_writer *writer)
{
	bgp_patch_u16(writer, BGP_MARKER_SIZE, writer->length);
}

/* ---- the short messages --------------------------------------------------------------------- */

void bgp_keepalive_build(struct bgp_writer *writer)
{
	bgp_message_begin(writer, BGP_KEEPALIVE);
	bgp_message_end(writer);
}

void bgp_notification_build(struct bgp_writer *writer, const struct bgp_error *error)
{
	bgp_message_begin(writer, BGP_NOTIFICATION);
	bgp_put_u8(writer, error->code);
	bgp_put_u8(writer, error->subcode);
	bgp_put_bytes(writer, error->data, error->data_length);
	bgp_message_end(writer);
}

void bgp_refresh_build(struct bgp_writer *writer, enum bgp_family family)
{
	bgp_message_begin(writer, BGP_ROUTE_REFRESH);
	bgp_put_u16(writer, bgp_family_afi(family));
	bgp_put_u8(writer, 0);
	bgp_put_u8(writer, BGP_SAFI_UNICAST);
	bgp_message_end(writer);
}

int bgp_refresh_parse(struct bgp_reader body, enum bgp_family *ret)
{
	uint16_t afi;
	uint8_t subtype, safi;

	if (!bgp_take_u16(&body, &afi) || !bgp_take_u8(&body, &subtype) ||
	    !bgp_take_u8(&body, &safi))
		return -ENOTSUP;
	/* rfc: 7313 §3.2 uses the reserved byte as a subtype for those who offered it; we did not,
	 * and 2918 §3 says to ignore it: a demarcation of routes we do not keep is no request. */
	if (subtype != 0)
		return -ENOTSUP;
	return bgp_family_parse(afi, safi, ret) ? 0 : -ENOTSUP;
}

/* rfc: 9003 §2: the text a peer's operator left, made safe to show. Returns false when there is
 * none. */
static bool shutdown_text(const struct bgp_error *error, char *buf, size_t size)
{
	size_t length = error->data_length > 0 ? error->data[0] : 0, at = 0, out = 0;

	if (error->code != BGP_ERROR_CEASE || length == 0 || 1 + length > error->data_length ||
	    (error->subcode != BGP_CEASE_ADMIN_SHUTDOWN && error->subcode != BGP_CEASE_ADMIN_RESET))
		return false;
	while (at < length) {
		const uint8_t *from = error->data + 1 + at;
		size_t step = utf8_length(from, length - at);

		if (out + step + 1 >= size)
			break;
		/* §4: what is not UTF-8 is not shown as it is, nor are control characters. */
		if (step == 0 || (step == 1 && (from[0] < 0x20 || from[0] == 0x7f))) {
			buf[out++] = '?';
			at++;
			continue;
		}
		memcpy(buf + out, from, step);
		out += step;
		at += step;
	}
	buf[out] = '\0';
	return true;
}

void bgp_notification_parse(struct bgp_reader body, struct bgp_error *ret)
{
	char name[BGP_ERROR_NAME_SIZE], text[BGP_SHUTDOWN_TEXT_MAX + 1];
	uint8_t code = 0, subcode = 0;

	/* The header's check has seen to it that both are there. */
	bgp_take_u8(&body, &code);
	bgp_take_u8(&body, &subcode);
	bgp_error_name(code, subcode, name);
	bgp_error_set(ret, code, subcode, body.data, body.length, "%s", name);
	if (shutdown_text(ret, text, sizeof(text)))
		snprintf(ret->text, sizeof(ret->text), "%s: %.*s", name,
			 (int)(sizeof(ret->text) - BGP_ERROR_NAME_SIZE - 2), text);
}
