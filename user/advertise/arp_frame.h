/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * arp_frame: Ethernet frames that carry ARP for IPv4, built and read (RFC 826, RFC 5227). Pure
 * functions over bytes.
 */
#ifndef SLB_ADVERTISE_ARP_FRAME_H
#define SLB_ADVERTISE_ARP_FRAME_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARP_FRAME_SIZE 42 /* without padding: Ethernet's 14 bytes and ARP's 28 */

enum arp_operation { ARP_REQUEST = 1, ARP_REPLY = 2 }; /* RFC 826, ares_op */

struct arp_frame {
	enum arp_operation operation;
	uint8_t sender_mac[6];
	struct in_addr sender;
	uint8_t target_mac[6];
	struct in_addr target;
};

/* Gratuitous ARP to everybody: address is at mac. Stacks differ in whether they learn from a
 * request (RFC 5227 2.3, the announcement) or a reply; slb sends both. */
void arp_frame_announce(uint8_t frame[static ARP_FRAME_SIZE], enum arp_operation operation,
			const uint8_t mac[static 6], struct in_addr address);

/* Does anybody have the address? The sender address is 0, so that no cache is touched
 * (RFC 5227 2.1.1). */
void arp_frame_probe(uint8_t frame[static ARP_FRAME_SIZE], const uint8_t mac[static 6],
		     struct in_addr address);

/* False for what is not a whole ARP request or reply for IPv4 over Ethernet; *ret untouched. */
bool arp_frame_parse(const uint8_t *frame, size_t size, struct arp_frame *ret);

#endif
