/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * OPEN: build, parse, check, negotiate. Capabilities are a table: one row per code, with what
 * writes it and what reads it. rfc: 4271 §4.2, §6.2; 5492; 4760 §8; 2918 §2; 4724 §3; 6793 §3;
 * 6286; 7607; 9072.
 */
#include "advertise/bgp/bgp_message.h"

#include <errno.h>
#include <stdio.h>

/* ---- capabilities --------------------------------------------------------------------------- */

static void put_multiprotocol(struct bgp_writer *writer, const struct bgp_open *open)
{
	bool first = true;

	/* One capability per family: the caller has written the head of the first. */
	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		if (!(open->capabilities.families & BGP_FAMILY_BIT(i)))
			continue;
		if (!first) {
			bgp_put_u8(writer, BGP_CAP_MULTIPROTOCOL);
			bgp_put_u8(writer, 4);
		}
		bgp_put_u16(writer, bgp_family_afi((enum bgp_family)i));
		bgp_put_u8(writer, 0);
		bgp_put_u8(writer, BGP_SAFI_UNICAST);
		first = false;
	}
}

static bool wants_multiprotocol(const struct bgp_open *open)
{
	return open->capabilities.families != 0;
}

static bool take_multiprotocol(struct bgp_reader *value, struct bgp_open *open)
{
	enum bgp_family family;
	uint16_t afi;
	uint8_t reserved, safi;

	if (!bgp_take_u16(value, &afi) || !bgp_take_u8(value, &reserved) ||
	    !bgp_take_u8(value, &safi))
		return false;
	open->capabilities.multiprotocol = true;
	if (bgp_family_parse(afi, safi, &family))
		open->capabilities.families |= BGP_FAMILY_BIT(family);
	return true;
}

static void put_route_refresh(struct bgp_writer *writer, const struct bgp_open *open)
{
	(void)writer; /* rfc: 2918 §2: the capability has no value */
	(void)open;
}

static bool wants_route_refresh(const struct bgp_open *open)
{
	return open->capabilities.route_refresh;
}

static bool take_route_refresh(struct bgp_reader *value, struct bgp_open *open)
{
	(void)value;
	open->capabilities.route_refresh = true;
	return true;
}

static void put_graceful_restart(struct bgp_writer *writer, const struct bgp_open *open)
{
	const struct bgp_capabilities *caps = &open->capabilities;

	bgp_put_u16(writer, (uint16_t)((caps->restart_time_s & BGP_RESTART_TIME_MASK) |
				       (caps->restarting ? BGP_RESTART_STATE_BIT : 0)));
	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		uint8_t flags = 0;

		if (!(caps->restart_families & BGP_FAMILY_BIT(i)))
			continue;
		bgp_put_u16(writer, bgp_family_afi((enum bgp_family)i));
		bgp_put_u8(writer, BGP_SAFI_UNICAST);
		if (caps->forwarding & BGP_FAMILY_BIT(i))
			flags = BGP_FORWARDING_STATE_BIT;
		bgp_put_u8(writer, flags);
	}
}

static bool wants_graceful_restart(const struct bgp_open *open)
{
	return open->capabilities.graceful_restart;
}

static bool take_graceful_restart(struct bgp_reader *value, struct bgp_open *open)
{
	struct bgp_capabilities *caps = &open->capabilities;
	uint16_t flags, afi;
	uint8_t safi, family_flags;

	if (!bgp_take_u16(value, &flags))
		return false;
	/* rfc: 4724 §3: of several, the last one counts. */
	caps->graceful_restart = true;
	caps->restarting = flags & BGP_RESTART_STATE_BIT;
	caps->restart_time_s = flags & BGP_RESTART_TIME_MASK;
	caps->restart_families = 0;
	caps->forwarding = 0;
	while (value->length > 0) {
		enum bgp_family family;

		if (!bgp_take_u16(value, &afi) || !bgp_take_u8(value, &safi) ||
		    !bgp_take_u8(value, &family_flags))
			return false;
		if (!bgp_family_parse(afi, safi, &family))
			continue;
		caps->restart_families |= BGP_FAMILY_BIT(family);
		if (family_flags & BGP_FORWARDING_STATE_BIT)
			caps->forwarding |= BGP_FAMILY_BIT(family);
	}
	return true;
}

static void put_as4(struct bgp_writer *writer, const struct bgp_open *open)
{
	bgp_put_u32(writer, open->as);
}

static bool wants_as4(const struct bgp_open *open)
{
	return open->capabilities.as4;
}

static bool take_as4(struct bgp_reader *value, struct bgp_open *open)
{
	if (!bgp_take_u32(value, &open->as))
		return false;
	open->capabilities.as4 = true;
	return true;
}

static const struct capability {
	enum bgp_capability_code code;
	bool (*wants)(const struct bgp_open *open);
	void (*put)(struct bgp_writer *writer, const struct bgp_open *open);
	bool (*take)(struct bgp_reader *value, struct bgp_open *open);
} capabilities[] = {
	{ BGP_CAP_MULTIPROTOCOL, wants_multiprotocol, put_multiprotocol, take_multiprotocol },
	{ BGP_CAP_ROUTE_REFRESH, wants_route_refresh, put_route_refresh, take_route_refresh },
	{ BGP_CAP_GRACEFUL_RESTART, wants_graceful_restart, put_graceful_restart,
	  take_graceful_restart },
	{ BGP_CAP_AS4, wants_as4, put_as4, take_as4 },
};

#define CAPABILITY_COUNT (sizeof(capabilities) / sizeof(capabilities[0]))

static size_t capability_value_size(const struct capability *capability,
				    const struct bgp_open *open)
{
	uint8_t scratch[64];
	struct bgp_writer writer = { .data = scratch, .size = sizeof(scratch) };

	/* One capability per family; put_multiprotocol() writes the heads after the first. */
	if (capability->code == BGP_CAP_MULTIPROTOCOL)
		return 4;
	capability->put(&writer, open);
	return writer.length;
}

/* ---- build ---------------------------------------------------------------------------------- */

void bgp_open_build(struct bgp_writer *writer, const struct bgp_open *open)
{
	size_t parameters_at, capabilities_at;

	bgp_message_begin(writer, BGP_OPEN);
	bgp_put_u8(writer, BGP_VERSION);
	/* rfc: 6793 §4.2.3 (and §9): AS_TRANS where the number does not fit. */
	bgp_put_u16(writer, open->as > UINT16_MAX ? BGP_AS_TRANS : (uint16_t)open->as);
	bgp_put_u16(writer, open->hold_s);
	bgp_put_u32(writer, open->identifier);
	parameters_at = writer->length;
	bgp_put_u8(writer, 0);
	if (open->capabilities.given) {
		/* rfc: 5492 §4: one optional parameter with all of them. */
		bgp_put_u8(writer, BGP_OPEN_PARAMETER_CAPABILITIES);
		capabilities_at = writer->length;
		bgp_put_u8(writer, 0);
		for (size_t i = 0; i < CAPABILITY_COUNT; i++) {
			if (!capabilities[i].wants(open))
				continue;
			bgp_put_u8(writer, (uint8_t)capabilities[i].code);
			bgp_put_u8(writer, (uint8_t)capability_value_size(&capabilities[i], open));
			capabilities[i].put(writer, open);
		}
		bgp_patch_u8(writer, capabilities_at, writer->length - capabilities_at - 1);
		bgp_patch_u8(writer, parameters_at, writer->length - parameters_at - 1);
	}
	bgp_message_end(writer);
}

/* ---- parse ---------------------------------------------------------------------------------- */

static int malformed(struct bgp_error *error, const char *what)
{
	/* rfc: 4271 §6.2: recognized but malformed is subcode 0. */
	return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_UNSPECIFIC, NULL, 0,
			     "%s in the OPEN is malformed", what);
}

static int parse_capabilities(struct bgp_reader *list, struct bgp_open *open,
			      struct bgp_error *error)
{
	open->capabilities.given = true;
	while (list->length > 0) {
		struct bgp_reader value;
		uint8_t code, length;
		bool known = false;

		if (!bgp_take_u8(list, &code) || !bgp_take_u8(list, &length) ||
		    !bgp_take_part(list, length, &value))
			return malformed(error, "the list of capabilities");
		for (size_t i = 0; i < CAPABILITY_COUNT; i++) {
			if (capabilities[i].code != code)
				continue;
			known = true;
			if (!capabilities[i].take(&value, open))
				return malformed(error, "a capability");
		}
		/* rfc: 5492 §3: what is not known is ignored. */
		if (!known)
			open->capabilities.unknown++;
	}
	return 0;
}

static int parse_parameters(struct bgp_reader *parameters, bool extended, struct bgp_open *open,
			    struct bgp_error *error)
{
	while (parameters->length > 0) {
		struct bgp_reader value;
		uint16_t length = 0;
		uint8_t type, short_length;
		int result;

		if (!bgp_take_u8(parameters, &type))
			return malformed(error, "an optional parameter");
		if (extended ? !bgp_take_u16(parameters, &length)
			     : !bgp_take_u8(parameters, &short_length))
			return malformed(error, "an optional parameter");
		if (!extended)
			length = short_length;
		if (!bgp_take_part(parameters, length, &value))
			return malformed(error, "an optional parameter");
		if (type != BGP_OPEN_PARAMETER_CAPABILITIES)
			return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_UNSUPPORTED_PARAMETER,
					     NULL, 0, "optional parameter %u is not supported",
					     type);
		result = parse_capabilities(&value, open, error);
		if (result < 0)
			return result;
	}
	return 0;
}

/* rfc: 4271 §6.2, data: the version we speak, which is one. */
static int check_version(uint8_t version, struct bgp_error *error)
{
	static const uint8_t ours[2] = { 0, BGP_VERSION };

	if (version == BGP_VERSION)
		return 0;
	return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_UNSUPPORTED_VERSION, ours,
			     sizeof(ours), "the peer speaks BGP version %u, not 4", version);
}

int bgp_open_parse(struct bgp_reader body, struct bgp_open *ret, struct bgp_error *error)
{
	struct bgp_open open = { 0 };
	struct bgp_reader parameters;
	uint8_t version, parameters_length, extended_type;
	uint16_t as, extended_length;
	bool extended = false;
	int result;

	if (!bgp_take_u8(&body, &version))
		return malformed(error, "the fixed part");
	result = check_version(version, error);
	if (result < 0)
		return result;
	if (!bgp_take_u16(&body, &as) || !bgp_take_u16(&body, &open.hold_s) ||
	    !bgp_take_u32(&body, &open.identifier) || !bgp_take_u8(&body, &parameters_length))
		return malformed(error, "the fixed part");
	open.as = as;

	/* rfc: 9072 §2: a non-zero length whose first parameter type is 255. */
	if (parameters_length > 0 && body.length > 0 &&
	    body.data[0] == BGP_OPEN_PARAMETER_EXTENDED) {
		if (!bgp_take_u8(&body, &extended_type) || !bgp_take_u16(&body, &extended_length) ||
		    !bgp_take_part(&body, extended_length, &parameters))
			return malformed(error, "the extended length");
		extended = true;
	} else if (!bgp_take_part(&body, parameters_length, &parameters)) {
		return malformed(error, "the length of the optional parameters");
	}
	if (body.length > 0)
		return malformed(error, "what follows the optional parameters");
	result = parse_parameters(&parameters, extended, &open, error);
	if (result < 0)
		return result;

	/* rfc: 4760 §8: without the capability, IPv4 unicast and nothing else. */
	if (!open.capabilities.multiprotocol)
		open.capabilities.families = BGP_FAMILY_BIT(BGP_IPV4);
	*ret = open;
	return 0;
}

/* ---- check and negotiate -------------------------------------------------------------------- */

/* rfc: 5492 §5, data: the capability that would have been needed. */
static int no_common_family(const struct bgp_open *local, struct bgp_error *error)
{
	uint8_t data[32];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };

	bgp_put_u8(&writer, BGP_CAP_MULTIPROTOCOL);
	bgp_put_u8(&writer, 4);
	put_multiprotocol(&writer, local);
	return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_UNSUPPORTED_CAPABILITY, data,
			     writer.length,
			     "the peer offers neither IPv4 nor IPv6 unicast; enable one there");
}

int bgp_open_check(const struct bgp_open *open, const struct bgp_open *local, uint32_t peer_as,
		   struct bgp_error *error)
{
	/* rfc: 7607 §2: AS 0 is never acceptable; it is not the configured one either. */
	if (open->as != peer_as || open->as == 0)
		return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_BAD_PEER_AS, NULL, 0,
				     "the peer says it is AS %u, but AS %u is configured", open->as,
				     peer_as);
	/* rfc: 6286 §2.2: any non-zero value, and not our own within the AS. */
	if (open->identifier == 0)
		return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_BAD_IDENTIFIER, NULL, 0,
				     "the peer's BGP identifier is 0.0.0.0");
	if (open->identifier == local->identifier && open->as == local->as)
		return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_BAD_IDENTIFIER, NULL, 0,
				     "the peer has our own BGP identifier; set --bgp-router-id");
	if (open->hold_s != 0 && open->hold_s < BGP_HOLD_MIN_S)
		return bgp_error_set(error, BGP_ERROR_OPEN, BGP_OPEN_UNACCEPTABLE_HOLD, NULL, 0,
				     "the peer's hold time of %u s is not allowed", open->hold_s);
	if ((open->capabilities.families & local->capabilities.families) == 0)
		return no_common_family(local, error);
	return 0;
}

void bgp_open_negotiate(const struct bgp_open *local, const struct bgp_open *peer,
			struct bgp_negotiated *ret)
{
	const struct bgp_capabilities *ours = &local->capabilities, *theirs = &peer->capabilities;

	*ret = (struct bgp_negotiated){
		.ibgp = local->as == peer->as,
		/* rfc: 6793 §4.1: between two NEW speakers only. */
		.as4 = ours->as4 && theirs->as4,
		.route_refresh = ours->route_refresh && theirs->route_refresh,
		.graceful_restart = ours->graceful_restart && theirs->graceful_restart,
		/* rfc: 4271 §4.2: the smaller of both. */
		.hold_s = local->hold_s < peer->hold_s ? local->hold_s : peer->hold_s,
		.families = ours->families & theirs->families,
		.peer_identifier = peer->identifier,
		.peer_restart_time_s = theirs->restart_time_s,
		.peer_restarting = theirs->restarting,
	};
}
