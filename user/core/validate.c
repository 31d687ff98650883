/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What can be said of a request without knowing any state: names, ranges, enumerations. What
 * depends on other objects (unique, of one family) is checked where the change starts.
 */
#include "core/core_internal.h"

#include <errno.h>
#include <string.h>

/* The length of the UTF-8 sequence at `text` (RFC 3629), with its code point; 0 when it is none. */
static size_t utf8_decode(const unsigned char *text, uint32_t *ret)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least; /* smaller ones are overlong */
	} forms[] = {
		{ 0x80, 0x00, 0 },
		{ 0xe0, 0xc0, 0x80 },
		{ 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 },
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		uint32_t point = text[0] & (unsigned char)~forms[i].mask;

		if ((text[0] & forms[i].mask) != forms[i].lead)
			continue;
		for (size_t n = 1; n <= i; n++) {
			if ((text[n] & 0xc0) != 0x80)
				return 0; /* also at the final NUL */
			point = point << 6 | (text[n] & 0x3f);
		}
		if (point < forms[i].least || point > 0x10ffff ||
		    (point >= 0xd800 && point <= 0xdfff))
			return 0;
		*ret = point;
		return i + 1;
	}
	return 0;
}

static bool is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

static int validate_name(const char *name, struct errbuf *err)
{
	const unsigned char *at = (const unsigned char *)name;

	if (memchr(name, '\0', NAME_SIZE) == NULL)
		return errbuf_set_field(err, -EINVAL, "name", "name is longer than %d bytes",
					NAME_SIZE - 1);
	while (*at != '\0') {
		uint32_t point;
		size_t length = utf8_decode(at, &point);

		if (length == 0)
			return errbuf_set_field(err, -EINVAL, "name", "name is not valid UTF-8");
		if (is_control(point))
			return errbuf_set_field(err, -EINVAL, "name",
						"name has the control character U+%04X",
						(unsigned int)point);
		at += length;
	}
	return 0;
}

static int validate_port(uint16_t port, struct errbuf *err)
{
	if (port == 0)
		return errbuf_set_field(err, -EINVAL, "port", "port must be 1 to 65535");
	return 0;
}

/* An address that can be a VIP or a backend. */
static int validate_address(const struct addr *addr, const char *field, struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];

	if (addr_is_usable_unicast(addr))
		return 0;
	return errbuf_set_field(err, -EINVAL, field,
				"%s %s is not an address that can be used: it must be unicast, and "
				"neither unspecified nor loopback nor link-local IPv6",
				field, addr_format(addr, text));
}

static int validate_family(const struct load_balancer_request *request, struct errbuf *err)
{
	if (!(request->given & LB_FAMILY))
		return 0;
	if (request->family != AF_INET && request->family != AF_INET6)
		return errbuf_set_field(err, -EINVAL, "family", "family must be ipv4 or ipv6");
	if ((request->given & LB_EIP) && request->eip.family != request->family)
		return errbuf_set_field(err, -EINVAL, "family",
					"family contradicts eip; leave family out, it follows eip");
	return 0;
}

/* Also what an update may give. */
int validate_update_load_balancer(const struct load_balancer_request *request, struct errbuf *err)
{
	int error = 0;

	if (request->given & LB_NAME)
		error = validate_name(request->name, err);
	if (error == 0 && (request->given & LB_PORT))
		error = validate_port(request->port, err);
	if (error == 0 && (request->given & LB_EIP))
		error = validate_address(&request->eip, "eip", err);
	if (error == 0)
		error = validate_family(request, err);
	if (error < 0)
		return error;
	if ((request->given & LB_PROTOCOL) && protocol_name(request->protocol) == NULL)
		return errbuf_set_field(err, -EINVAL, "protocol", "protocol must be tcp or udp");
	if ((request->given & LB_SCHEDULER) && scheduler_name(request->scheduler) == NULL)
		return errbuf_set_field(err, -EINVAL, "scheduler",
					"scheduler must be one of rr, wrr, sh, maglev, lc");
	if ((request->given & LB_AFFINITY) && request->affinity_s > AFFINITY_MAX_S)
		return errbuf_set_field(err, -EINVAL, "affinity_s",
					"affinity_s must be 0 (off) to %d", AFFINITY_MAX_S);
	return 0;
}

int validate_create_load_balancer(const struct load_balancer_request *request, struct errbuf *err)
{
	if (!(request->given & LB_PORT))
		return errbuf_set_field(err, -EINVAL, "port", "port is missing");
	return validate_update_load_balancer(request, err);
}

int validate_update_backend(const struct backend_request *request, struct errbuf *err)
{
	int error = 0;

	if (request->given & BACKEND_IP_GIVEN)
		error = validate_address(&request->ip, "ip", err);
	if (error == 0 && (request->given & BACKEND_PORT_GIVEN))
		error = validate_port(request->port, err);
	if (error < 0)
		return error;
	if ((request->given & BACKEND_TYPE_GIVEN) && backend_type_name(request->type) == NULL)
		return errbuf_set_field(err, -EINVAL, "type", "type must be MASQ or LOCAL");
	if ((request->given & BACKEND_WEIGHT_GIVEN) && request->weight > WEIGHT_MAX)
		return errbuf_set_field(err, -EINVAL, "weight", "weight must be 0 to %d",
					WEIGHT_MAX);
	if ((request->given & BACKEND_STATE_GIVEN) && backend_state_name(request->state) == NULL)
		return errbuf_set_field(err, -EINVAL, "state",
					"state must be one of up, drain, disabled");
	return 0;
}

int validate_create_backend(const struct backend_request *request, struct errbuf *err)
{
	if (!(request->given & BACKEND_IP_GIVEN))
		return errbuf_set_field(err, -EINVAL, "ip", "ip is missing");
	if (!(request->given & BACKEND_PORT_GIVEN))
		return errbuf_set_field(err, -EINVAL, "port", "port is missing");
	return validate_update_backend(request, err);
}
