/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ndp_frame: Ethernet frames that carry neighbour advertisements and solicitations, built and read
 * (RFC 4861, RFC 4862 5.4). Pure functions over bytes.
 */
#ifndef SLB_ADVERTISE_NDP_FRAME_H
#define SLB_ADVERTISE_NDP_FRAME_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NDP_FRAME_SIZE_ADVERTISE 86 /* Ethernet 14, IPv6 40, ICMPv6 24, option 8 */
#define NDP_FRAME_SIZE_PROBE     78 /* the same without option */

enum ndp_type { NDP_SOLICITATION = 135, NDP_ADVERTISEMENT = 136 }; /* RFC 4861 4.3, 4.4 */

struct ndp_frame {
	enum ndp_type type;
	struct in6_addr source; /* of the IPv6 header; unspecified: a duplicate address detection */
	struct in6_addr target;
	uint8_t mac[6]; /* the target's link-layer address if it is given, else the frame's source
			 */
};

/* Unsolicited neighbour advertisement to all nodes with the override flag: address is at mac
 * (RFC 4861 7.2.6). It comes from the address itself. */
void ndp_frame_advertise(uint8_t frame[static NDP_FRAME_SIZE_ADVERTISE],
			 const uint8_t mac[static 6], const struct in6_addr *address);

/* Does anybody have the address? As in duplicate address detection (RFC 4862 5.4.2). */
void ndp_frame_probe(uint8_t frame[static NDP_FRAME_SIZE_PROBE], const uint8_t mac[static 6],
		     const struct in6_addr *address);

/* False for what is not a valid solicitation or advertisement (RFC 4861 7.1); *ret untouched. */
bool ndp_frame_parse(const uint8_t *frame, size_t size, struct ndp_frame *ret);

/* The Ethernet group that solicitations for the address are sent to (RFC 4291 2.7.1, RFC 2464 7).
 */
void ndp_solicited_node_mac(const struct in6_addr *address, uint8_t mac[static 6]);

#endif
