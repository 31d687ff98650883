/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * addr: an IPv4 or IPv6 address as one value, in wire order. Two addresses are equal exactly when
 * their bytes are (unused bytes are zero), so an addr can be part of a hash key.
 */
#ifndef SLB_LIB_ADDR_H
#define SLB_LIB_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	uint16_t family;   /* AF_INET, AF_INET6, or AF_UNSPEC for none */
	uint8_t bytes[16]; /* wire order; IPv4 uses the first four, the rest are zero */
};

/* Text of an address with its final NUL. */
#define ADDR_TEXT_SIZE INET6_ADDRSTRLEN

/* Parses dotted quad or RFC 4291 text (no zone, no prefix). 0 or -EINVAL; *ret untouched then. */
int addr_parse(const char *text, struct addr *ret);

/* Canonical text (RFC 5952). Returns buf. */
const char *addr_format(const struct addr *addr, char buf[static ADDR_TEXT_SIZE]);

/* From and to the socket forms. */
struct addr addr_from_in(struct in_addr in);
struct addr addr_from_in6(const struct in6_addr *in6);
struct in_addr addr_to_in(const struct addr *addr);
struct in6_addr addr_to_in6(const struct addr *addr);

bool addr_equal(const struct addr *a, const struct addr *b);

/* Orders by family, then numerically: < 0, 0, > 0. */
int addr_compare(const struct addr *a, const struct addr *b);

/* The address after this one; false (and *addr untouched) at the end of the address space. */
bool addr_next(struct addr *addr);

/* Bytes of an address of this family: 4 or 16. */
size_t addr_length_bytes(const struct addr *addr);

/* May be a VIP or a backend: not unspecified, loopback, multicast or limited broadcast, and not
 * link-local IPv6 (it has no meaning without a zone). */
bool addr_is_usable_unicast(const struct addr *addr);

#endif
