/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * UPDATEs that announce and withdraw host routes, packed as many to a message as fit.
 *
 * invariant: a message carries one of withdrawn routes, NLRI, MP_REACH_NLRI, MP_UNREACH_NLRI, and
 * the MP attribute comes first (rfc: 7606 §5.1). The other attributes follow by type (rfc: 4271
 * §5).
 *
 *   IPv4 announce  header · 0 · length · attributes · prefixes
 *   IPv4 withdraw  header · length · prefixes · 0
 *   IPv6 announce  header · 0 · length · MP_REACH(next hop, prefixes) · attributes
 *   IPv6 withdraw  header · 0 · length · MP_UNREACH(prefixes)
 *
 * The attributes that may stand after the prefixes are built first, into `tail`, so that it is
 * known how much room they leave.
 */
#include "advertise/bgp/bgp_message.h"

#include <assert.h>

#define WITHDRAWN_LENGTH_AT BGP_HEADER_SIZE
#define MP_HEAD_SIZE        4 /* flags, type, two bytes of length */

/* Writes flags, type and length of an attribute whose value the caller puts next. */
static void put_attribute(struct bgp_writer *writer, uint8_t flags, enum bgp_attribute_type type,
			  size_t length)
{
	/* rfc: 4271 §4.3: the extended length only where it is needed. */
	if (length > UINT8_MAX)
		flags |= BGP_FLAG_EXTENDED;
	bgp_put_u8(writer, flags);
	bgp_put_u8(writer, (uint8_t)type);
	if (length > UINT8_MAX)
		bgp_put_u16(writer, (uint16_t)length);
	else
		bgp_put_u8(writer, (uint8_t)length);
}

static void put_as_path(struct bgp_writer *writer, const struct bgp_path *path)
{
	/* rfc: 4271 §5.1.2: empty within the AS, our AS alone to others. */
	if (path->ibgp) {
		put_attribute(writer, BGP_FLAG_TRANSITIVE, BGP_ATTR_AS_PATH, 0);
		return;
	}
	put_attribute(writer, BGP_FLAG_TRANSITIVE, BGP_ATTR_AS_PATH, path->as4 ? 6 : 4);
	bgp_put_u8(writer, BGP_SEGMENT_SEQUENCE);
	bgp_put_u8(writer, 1);
	if (path->as4)
		bgp_put_u32(writer, path->local_as);
	else
		bgp_put_u16(writer,
			    path->local_as > UINT16_MAX ? BGP_AS_TRANS : (uint16_t)path->local_as);
}

/* rfc: 6793 §4.2.2: to an OLD speaker, when AS_TRANS stands in AS_PATH. */
static void put_as4_path(struct bgp_writer *writer, const struct bgp_path *path)
{
	if (path->ibgp || path->as4 || path->local_as <= UINT16_MAX)
		return;
	put_attribute(writer, BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE, BGP_ATTR_AS4_PATH, 6);
	bgp_put_u8(writer, BGP_SEGMENT_SEQUENCE);
	bgp_put_u8(writer, 1);
	bgp_put_u32(writer, path->local_as);
}

static void put_communities(struct bgp_writer *writer, const struct bgp_attributes *attributes)
{
	size_t count = attributes->community_count + (attributes->graceful_shutdown ? 1 : 0);

	if (count == 0)
		return;
	put_attribute(writer, BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE, BGP_ATTR_COMMUNITIES,
		      4 * count);
	for (size_t i = 0; i < attributes->community_count; i++)
		bgp_put_u32(writer, attributes->communities[i]);
	if (attributes->graceful_shutdown)
		bgp_put_u32(writer, BGP_COMMUNITY_GRACEFUL_SHUTDOWN);
}

static void put_large_communities(struct bgp_writer *writer,
				  const struct bgp_attributes *attributes)
{
	if (attributes->large_community_count == 0)
		return;
	put_attribute(writer, BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE, BGP_ATTR_LARGE_COMMUNITIES,
		      12 * attributes->large_community_count);
	for (size_t i = 0; i < attributes->large_community_count; i++) {
		bgp_put_u32(writer, attributes->large_communities[i].global);
		bgp_put_u32(writer, attributes->large_communities[i].local1);
		bgp_put_u32(writer, attributes->large_communities[i].local2);
	}
}

/* All attributes but the MP ones, in the order of their types. */
static void put_attributes(struct bgp_writer *writer, enum bgp_family family,
			   const struct bgp_path *path)
{
	const struct bgp_attributes *attributes = path->attributes;

	put_attribute(writer, BGP_FLAG_TRANSITIVE, BGP_ATTR_ORIGIN, 1);
	bgp_put_u8(writer, BGP_ORIGIN_IGP);
	put_as_path(writer, path);
	if (family == BGP_IPV4) {
		put_attribute(writer, BGP_FLAG_TRANSITIVE, BGP_ATTR_NEXT_HOP, 4);
		bgp_put_bytes(writer, path->next_hop[BGP_IPV4].global.bytes, 4);
	}
	if (attributes->med_given) {
		put_attribute(writer, BGP_FLAG_OPTIONAL, BGP_ATTR_MED, 4);
		bgp_put_u32(writer, attributes->med);
	}
	/* rfc: 4271 §5.1.5: to internal peers always, to external ones never. rfc: 8326 §4: during
	 * a graceful shutdown 0, which routers inside the AS obey without knowing the community. */
	if (path->ibgp) {
		put_attribute(writer, BGP_FLAG_TRANSITIVE, BGP_ATTR_LOCAL_PREF, 4);
		bgp_put_u32(writer, attributes->graceful_shutdown ? 0 : attributes->local_pref);
	}
	put_communities(writer, attributes);
	put_as4_path(writer, path);
	put_large_communities(writer, attributes);
}

/* AFI, SAFI, next hop and the reserved byte. rfc: 4760 §3, 2545 §3 */
static void put_mp_reach_head(struct bgp_writer *writer, const struct bgp_next_hop *next_hop)
{
	bool link_local = next_hop->link_local.family == AF_INET6;

	bgp_put_u16(writer, BGP_AFI_IPV6);
	bgp_put_u8(writer, BGP_SAFI_UNICAST);
	bgp_put_u8(writer, link_local ? 32 : 16);
	bgp_put_bytes(writer, next_hop->global.bytes, 16);
	if (link_local)
		bgp_put_bytes(writer, next_hop->link_local.bytes, 16);
	bgp_put_u8(writer, 0);
}

/* The head of an MP attribute; its length is set at the end, so it is always the extended one. */
static void put_mp_head(struct bgp_writer *writer, enum bgp_attribute_type type)
{
	bgp_put_u8(writer, BGP_FLAG_OPTIONAL | BGP_FLAG_EXTENDED);
	bgp_put_u8(writer, (uint8_t)type);
	bgp_put_u16(writer, 0);
}

void bgp_update_begin(struct bgp_update *update, enum bgp_family family, enum bgp_update_kind kind,
		      const struct bgp_path *path)
{
	struct bgp_writer tail = { .data = update->tail, .size = sizeof(update->tail) };
	struct bgp_writer *writer = &update->writer;

	if (kind == BGP_ANNOUNCE)
		put_attributes(&tail, family, path);
	assert(!tail.overflow); /* invariant: tail[] holds the most communities there can be */
	update->family = family;
	update->kind = kind;
	update->tail_length = tail.length;
	*writer = (struct bgp_writer){ .data = update->data, .size = sizeof(update->data) };
	bgp_message_begin(writer, BGP_UPDATE);
	bgp_put_u16(writer, 0);
	update->attributes_at = writer->length;
	if (family == BGP_IPV6 || kind == BGP_ANNOUNCE)
		bgp_put_u16(writer, 0);
	if (family == BGP_IPV6 && kind == BGP_ANNOUNCE) {
		put_mp_head(writer, BGP_ATTR_MP_REACH);
		put_mp_reach_head(writer, &path->next_hop[BGP_IPV6]);
	} else if (family == BGP_IPV6) {
		put_mp_head(writer, BGP_ATTR_MP_UNREACH);
		bgp_put_u16(writer, BGP_AFI_IPV6);
		bgp_put_u8(writer, BGP_SAFI_UNICAST);
	} else if (kind == BGP_ANNOUNCE) {
		bgp_put_bytes(writer, tail.data, tail.length);
	}
	update->prefixes_at = writer->length;
	/* What has to follow the prefixes must find room. */
	if (family == BGP_IPV6)
		writer->size -= tail.length;
	else if (kind == BGP_WITHDRAW)
		writer->size -= 2;
}

bool bgp_update_add(struct bgp_update *update, const struct addr *vip)
{
	size_t length = addr_length_bytes(vip);

	if (update->writer.size - update->writer.length < 1 + length)
		return false;
	bgp_put_u8(&update->writer, (uint8_t)(8 * length));
	bgp_put_bytes(&update->writer, vip->bytes, length);
	return true;
}

size_t bgp_update_end(struct bgp_update *update)
{
	struct bgp_writer *writer = &update->writer;
	size_t attributes_from = update->attributes_at + 2;

	writer->size = sizeof(update->data);
	if (update->family == BGP_IPV4 && update->kind == BGP_WITHDRAW) {
		bgp_patch_u16(writer, WITHDRAWN_LENGTH_AT, writer->length - update->prefixes_at);
		bgp_put_u16(writer, 0);
	} else if (update->family == BGP_IPV4) {
		bgp_patch_u16(writer, update->attributes_at, update->tail_length);
	} else {
		bgp_patch_u16(writer, attributes_from + 2,
			      writer->length - attributes_from - MP_HEAD_SIZE);
		bgp_put_bytes(writer, update->tail, update->tail_length);
		bgp_patch_u16(writer, update->attributes_at, writer->length - attributes_from);
	}
	bgp_message_end(writer);
	return writer->length;
}

void bgp_end_of_rib_build(struct bgp_writer *writer, enum bgp_family family)
{
	/* rfc: 4724 §2: for IPv4 an empty UPDATE, else an MP_UNREACH_NLRI without routes. */
	bgp_message_begin(writer, BGP_UPDATE);
	bgp_put_u16(writer, 0);
	if (family == BGP_IPV4) {
		bgp_put_u16(writer, 0);
	} else {
		bgp_put_u16(writer, 6);
		put_attribute(writer, BGP_FLAG_OPTIONAL, BGP_ATTR_MP_UNREACH, 3);
		bgp_put_u16(writer, bgp_family_afi(family));
		bgp_put_u8(writer, BGP_SAFI_UNICAST);
	}
	bgp_message_end(writer);
}
