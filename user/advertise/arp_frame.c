/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/arp_frame.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <string.h>

/* rfc: 826, "Packet format", for Ethernet (6-byte) and IPv4 (4-byte) addresses. */
struct packet {
	struct ether_header ethernet;
	uint16_t hardware_be;
	uint16_t protocol_be;
	uint8_t hardware_length;
	uint8_t protocol_length;
	uint16_t operation_be;
	uint8_t sender_mac[6];
	struct in_addr sender;
	uint8_t target_mac[6];
	struct in_addr target;
} __attribute__((packed));

_Static_assert(sizeof(struct packet) == ARP_FRAME_SIZE, "RFC 826");

static void frame_write(uint8_t frame[static ARP_FRAME_SIZE], const struct arp_frame *arp)
{
	struct packet packet = {
		.ethernet.ether_type = htons(ETHERTYPE_ARP),
		.hardware_be = htons(ARPHRD_ETHER),
		.protocol_be = htons(ETHERTYPE_IP),
		.hardware_length = sizeof(packet.sender_mac),
		.protocol_length = sizeof(packet.sender),
		.operation_be = htons(arp->operation),
		.sender = arp->sender,
		.target = arp->target,
	};

	memset(packet.ethernet.ether_dhost, 0xff, sizeof(packet.ethernet.ether_dhost));
	memcpy(packet.ethernet.ether_shost, arp->sender_mac, sizeof(arp->sender_mac));
	memcpy(packet.sender_mac, arp->sender_mac, sizeof(arp->sender_mac));
	memcpy(packet.target_mac, arp->target_mac, sizeof(arp->target_mac));
	memcpy(frame, &packet, sizeof(packet));
}

void arp_frame_announce(uint8_t frame[static ARP_FRAME_SIZE], enum arp_operation operation,
			const uint8_t mac[static 6], struct in_addr address)
{
	struct arp_frame arp = { .operation = operation, .sender = address, .target = address };

	memcpy(arp.sender_mac, mac, sizeof(arp.sender_mac));
	/* rfc: 5227 2.3 leaves the request's target MAC zero; the reply form has the sender's
	 * there (RFC 5944 4.6). */
	if (operation == ARP_REPLY)
		memcpy(arp.target_mac, mac, sizeof(arp.target_mac));
	frame_write(frame, &arp);
}

void arp_frame_probe(uint8_t frame[static ARP_FRAME_SIZE], const uint8_t mac[static 6],
		     struct in_addr address)
{
	struct arp_frame arp = { .operation = ARP_REQUEST, .target = address };

	memcpy(arp.sender_mac, mac, sizeof(arp.sender_mac));
	frame_write(frame, &arp);
}

bool arp_frame_parse(const uint8_t *frame, size_t size, struct arp_frame *ret)
{
	struct packet packet;
	uint16_t operation;

	if (size < sizeof(packet))
		return false;
	memcpy(&packet, frame, sizeof(packet));
	operation = ntohs(packet.operation_be);
	if (packet.ethernet.ether_type != htons(ETHERTYPE_ARP) ||
	    packet.hardware_be != htons(ARPHRD_ETHER) ||
	    packet.protocol_be != htons(ETHERTYPE_IP) ||
	    packet.hardware_length != sizeof(packet.sender_mac) ||
	    packet.protocol_length != sizeof(packet.sender) ||
	    (operation != ARP_REQUEST && operation != ARP_REPLY))
		return false;
	ret->operation = operation;
	ret->sender = packet.sender;
	ret->target = packet.target;
	memcpy(ret->sender_mac, packet.sender_mac, sizeof(ret->sender_mac));
	memcpy(ret->target_mac, packet.target_mac, sizeof(ret->target_mac));
	return true;
}
