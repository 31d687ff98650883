/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int addr_parse(const char *text, struct addr *ret)
{
	struct addr parsed = { 0 };

	if (inet_pton(AF_INET, text, parsed.bytes) == 1)
		parsed.family = AF_INET;
	else if (inet_pton(AF_INET6, text, parsed.bytes) == 1)
		parsed.family = AF_INET6;
	else
		return -EINVAL;
	*ret = parsed;
	return 0;
}

const char *addr_format(const struct addr *addr, char buf[static ADDR_TEXT_SIZE])
{
	if (addr->family == AF_UNSPEC ||
	    inet_ntop(addr->family, addr->bytes, buf, ADDR_TEXT_SIZE) == NULL)
		memcpy(buf, "none", sizeof("none"));
	return buf;
}

struct addr addr_from_in(struct in_addr in)
{
	struct addr addr = { .family = AF_INET };

	memcpy(addr.bytes, &in, sizeof(in));
	return addr;
}

struct addr addr_from_in6(const struct in6_addr *in6)
{
	struct addr addr = { .family = AF_INET6 };

	memcpy(addr.bytes, in6, sizeof(*in6));
	return addr;
}

struct in_addr addr_to_in(const struct addr *addr)
{
	struct in_addr in;

	memcpy(&in, addr->bytes, sizeof(in));
	return in;
}

struct in6_addr addr_to_in6(const struct addr *addr)
{
	struct in6_addr in6;

	memcpy(&in6, addr->bytes, sizeof(in6));
	return in6;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_compare(a, b) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool addr_next(struct addr *addr)
{
	struct addr next = *addr;
	size_t i = addr_length_bytes(addr);

	while (i > 0) {
		if (++next.bytes[--i] != 0) {
			*addr = next;
			return true;
		}
	}
	return false;
}

size_t addr_length_bytes(const struct addr *addr)
{
	return addr->family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
}

bool addr_is_usable_unicast(const struct addr *addr)
{
	struct in6_addr in6 = addr_to_in6(addr);

	if (addr->family == AF_INET)
		return addr->bytes[0] != 0 && addr->bytes[0] != 127 && addr->bytes[0] < 224;
	return addr->family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&in6) &&
	       !IN6_IS_ADDR_LOOPBACK(&in6) && !IN6_IS_ADDR_MULTICAST(&in6) &&
	       !IN6_IS_ADDR_LINKLOCAL(&in6) && !IN6_IS_ADDR_V4MAPPED(&in6);
}
