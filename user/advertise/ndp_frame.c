/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/ndp_frame.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <string.h>

#define HOP_LIMIT                255 /* rfc: 4861 7.1: proof that no router passed it on */
#define FLAG_OVERRIDE            0x20000000U
#define OPTION_TARGET_LINK_LAYER 2 /* rfc: 4861 4.6.1 */
#define OPTION_SOURCE_LINK_LAYER 1
#define OPTION_UNIT_BYTES        8

/* rfc: 8200 3 */
struct ip6_header {
	uint32_t version_be;
	uint16_t payload_bytes_be;
	uint8_t next_header;
	uint8_t hop_limit;
	struct in6_addr source;
	struct in6_addr destination;
} __attribute__((packed));

/* rfc: 4861 4.3 and 4.4 */
struct icmp6_neighbour {
	uint8_t type;
	uint8_t code;
	uint16_t checksum_be;
	uint32_t flags_be;
	struct in6_addr target;
} __attribute__((packed));

struct link_layer_option {
	uint8_t type;
	uint8_t units;
	uint8_t mac[6];
} __attribute__((packed));

struct packet {
	struct ether_header ethernet;
	struct ip6_header ip;
	struct icmp6_neighbour icmp;
	struct link_layer_option option;
} __attribute__((packed));

_Static_assert(sizeof(struct packet) == NDP_FRAME_SIZE_ADVERTISE, "RFC 4861 4.4");
_Static_assert(sizeof(struct packet) - sizeof(struct link_layer_option) == NDP_FRAME_SIZE_PROBE,
	       "RFC 4861 4.3");

/* rfc: 1071; the sum of 16-bit words in wire order. */
static uint32_t sum_add(uint32_t sum, const void *bytes, size_t size)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (size % 2 != 0)
		sum += (uint32_t)p[size - 1] << 8;
	return sum;
}

/* rfc: 8200 8.1: over the pseudo-header and the message. 0 when a received message is whole. */
static uint16_t checksum(const struct ip6_header *ip, const void *message, size_t size)
{
	uint32_t sum = (uint32_t)size + IPPROTO_ICMPV6;

	sum = sum_add(sum, &ip->source, sizeof(ip->source));
	sum = sum_add(sum, &ip->destination, sizeof(ip->destination));
	sum = sum_add(sum, message, size);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void ndp_solicited_node_mac(const struct in6_addr *address, uint8_t mac[static 6])
{
	const uint8_t group[6] = {
		0x33, 0x33, 0xff, address->s6_addr[13], address->s6_addr[14], address->s6_addr[15]
	};

	memcpy(mac, group, sizeof(group));
}

/* Lengths, checksum and the first `size` bytes of packet to frame. */
static void frame_finish(uint8_t *frame, size_t size, struct packet *packet)
{
	size_t message = size - sizeof(packet->ethernet) - sizeof(packet->ip);

	packet->ethernet.ether_type = htons(ETHERTYPE_IPV6);
	packet->ip.version_be = htonl(6U << 28);
	packet->ip.payload_bytes_be = htons((uint16_t)message);
	packet->ip.next_header = IPPROTO_ICMPV6;
	packet->ip.hop_limit = HOP_LIMIT;
	packet->icmp.checksum_be =
		htons(checksum(&packet->ip, (const uint8_t *)packet + size - message, message));
	memcpy(frame, packet, size);
}

void ndp_frame_advertise(uint8_t frame[static NDP_FRAME_SIZE_ADVERTISE],
			 const uint8_t mac[static 6], const struct in6_addr *address)
{
	static const uint8_t all_nodes_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct packet packet = {
		.ip.source = *address,
		.icmp.type = NDP_ADVERTISEMENT,
		.icmp.flags_be = htonl(FLAG_OVERRIDE),
		.icmp.target = *address,
		.option.type = OPTION_TARGET_LINK_LAYER,
		.option.units = sizeof(packet.option) / OPTION_UNIT_BYTES,
	};

	inet_pton(AF_INET6, "ff02::1", &packet.ip.destination);
	memcpy(packet.ethernet.ether_dhost, all_nodes_mac, sizeof(all_nodes_mac));
	memcpy(packet.ethernet.ether_shost, mac, 6);
	memcpy(packet.option.mac, mac, 6);
	frame_finish(frame, NDP_FRAME_SIZE_ADVERTISE, &packet);
}

void ndp_frame_probe(uint8_t frame[static NDP_FRAME_SIZE_PROBE], const uint8_t mac[static 6],
		     const struct in6_addr *address)
{
	struct packet packet = { .icmp.type = NDP_SOLICITATION, .icmp.target = *address };

	/* rfc: 4291 2.7.1: ff02::1:ff00:0/104 and the address's last 24 bits. */
	inet_pton(AF_INET6, "ff02::1:ff00:0", &packet.ip.destination);
	memcpy(&packet.ip.destination.s6_addr[13], &address->s6_addr[13], 3);
	ndp_solicited_node_mac(address, packet.ethernet.ether_dhost);
	memcpy(packet.ethernet.ether_shost, mac, 6);
	frame_finish(frame, NDP_FRAME_SIZE_PROBE, &packet);
}

/* rfc: 4861 7.1: every option has a length; a link-layer option of the wanted type gives the MAC.
 */
static bool options_read(const uint8_t *options, size_t size, uint8_t wanted, uint8_t mac[6],
			 bool *found)
{
	*found = false;
	while (size > 0) {
		struct link_layer_option option;
		size_t length;

		if (size < 2)
			return false;
		length = (size_t)options[1] * OPTION_UNIT_BYTES;
		if (length == 0 || length > size)
			return false;
		if (options[0] == wanted && length == sizeof(option)) {
			memcpy(&option, options, sizeof(option));
			memcpy(mac, option.mac, sizeof(option.mac));
			*found = true;
		}
		options += length;
		size -= length;
	}
	return true;
}

/* rfc: 4861 7.1.1, 7.1.2, the parts about headers. */
static bool headers_valid(const struct packet *packet, size_t message)
{
	if (packet->ethernet.ether_type != htons(ETHERTYPE_IPV6) ||
	    ntohl(packet->ip.version_be) >> 28 != 6 || packet->ip.next_header != IPPROTO_ICMPV6 ||
	    packet->ip.hop_limit != HOP_LIMIT || packet->icmp.code != 0 ||
	    message < sizeof(packet->icmp))
		return false;
	if (packet->icmp.type != NDP_SOLICITATION && packet->icmp.type != NDP_ADVERTISEMENT)
		return false;
	return packet->icmp.target.s6_addr[0] != 0xff;
}

bool ndp_frame_parse(const uint8_t *frame, size_t size, struct ndp_frame *ret)
{
	const size_t message_at = sizeof(struct ether_header) + sizeof(struct ip6_header);
	const size_t options_at = message_at + sizeof(struct icmp6_neighbour);
	struct packet packet = { 0 };
	bool found, solicitation, detection;
	uint8_t mac[6];
	size_t message;

	if (size < options_at)
		return false;
	memcpy(&packet, frame, options_at);
	message = ntohs(packet.ip.payload_bytes_be);
	if (message > size - message_at || !headers_valid(&packet, message) ||
	    checksum(&packet.ip, frame + message_at, message) != 0)
		return false;

	solicitation = packet.icmp.type == NDP_SOLICITATION;
	memcpy(mac, packet.ethernet.ether_shost, sizeof(mac));
	if (!options_read(frame + options_at, message - sizeof(packet.icmp),
			  solicitation ? OPTION_SOURCE_LINK_LAYER : OPTION_TARGET_LINK_LAYER, mac,
			  &found))
		return false;
	/* rfc: 4861 7.1.1: without a source there is no source link-layer address either. */
	detection = solicitation && memcmp(&packet.ip.source, &in6addr_any, 16) == 0;
	if (detection && found)
		return false;

	ret->type = packet.icmp.type;
	ret->source = packet.ip.source;
	ret->target = packet.icmp.target;
	memcpy(ret->mac, mac, sizeof(mac));
	return true;
}
