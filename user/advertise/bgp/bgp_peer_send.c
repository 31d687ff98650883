/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the rib to UPDATEs, as fast as the connection takes them and no faster: what is not queued
 * waits in the rib, where it may still change.
 */
#include "advertise/bgp/bgp_peer_private.h"

#include <stdio.h>

#include "advertise/bgp/bgp_next_hop.h"

/* No more than this is queued on a connection. */
#define QUEUE_HIGH_BYTES (16 * BGP_MESSAGE_SIZE_MAX)

static void send_end_of_rib(struct bgp_peer *peer, enum bgp_family family)
{
	uint8_t data[64];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };

	bgp_end_of_rib_build(&writer, family);
	bgp_peer_send(peer->session, data, writer.length);
	peer->end_of_rib_due[family] = false;
	peer->restart_told = true;
	for (int i = 0; i < BGP_FAMILY_COUNT; i++)
		peer->restart_told &= !peer->end_of_rib_due[i];
}

/* Packs as many prefixes as fit into one message. false when there was nothing to tell. */
static bool send_update(struct bgp_peer *peer, enum bgp_family family, enum bgp_update_kind kind)
{
	struct bgp_rib *rib = peer->context->rib;
	struct bgp_update update;
	const struct addr *vip = bgp_rib_peek(&peer->reader, family, kind);
	size_t length;

	if (vip == NULL)
		return false;
	bgp_update_begin(&update, family, kind, kind == BGP_ANNOUNCE ? &peer->path : NULL);
	while (vip != NULL && bgp_update_add(&update, vip)) {
		bgp_rib_advance(rib, &peer->reader, family, kind);
		vip = bgp_rib_peek(&peer->reader, family, kind);
	}
	length = bgp_update_end(&update);
	bgp_peer_send(peer->session, update.data, length);
	peer->updates_sent++;
	return true;
}

/* One message, the most urgent: what is gone, then what is there, then End-of-RIB. */
static bool send_next(struct bgp_peer *peer)
{
	static const enum bgp_update_kind order[] = { BGP_WITHDRAW, BGP_ANNOUNCE };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		for (int family = 0; family < BGP_FAMILY_COUNT; family++) {
			if (send_update(peer, (enum bgp_family)family, order[i]))
				return true;
		}
	}
	for (int family = 0; family < BGP_FAMILY_COUNT; family++) {
		if (peer->end_of_rib_due[family] && peer->context->complete) {
			send_end_of_rib(peer, (enum bgp_family)family);
			return true;
		}
	}
	return false;
}

void bgp_peer_flush(struct bgp_peer *peer)
{
	while (peer->session != NULL && peer->session->connection != NULL &&
	       bgp_connection_queued_bytes(peer->session->connection) < QUEUE_HIGH_BYTES) {
		if (!send_next(peer))
			return;
	}
}

static void find_next_hops(const struct bgp_peer *peer,
			   struct bgp_next_hop ret[static BGP_FAMILY_COUNT])
{
	struct addr local = bgp_connection_local(peer->session->connection);

	bgp_next_hops_find(peer->context->config, peer->context->rib, &local, &peer->config.address,
			   ret);
}

void bgp_peer_tell_everything(struct bgp_peer *peer)
{
	struct bgp_rib *rib = peer->context->rib;

	peer->note[0] = '\0';
	find_next_hops(peer, peer->path.next_hop);
	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		enum bgp_family family = (enum bgp_family)i;

		if (!(peer->negotiated.families & BGP_FAMILY_BIT(i)))
			continue;
		if (peer->path.next_hop[i].global.family != AF_UNSPEC) {
			bgp_rib_start(rib, &peer->reader, family);
			continue;
		}
		bgp_rib_stop(rib, &peer->reader, family);
		snprintf(peer->note, sizeof(peer->note),
			 "%s VIPs are not announced to this peer: the adapter of the session has "
			 "no %s address to be the next hop; give it one, or --bgp-next-hop",
			 bgp_family_name(family), bgp_family_name(family));
	}
	bgp_peer_flush(peer);
}

void bgp_peer_resend(struct bgp_peer *peer)
{
	if (peer->session != NULL)
		bgp_peer_tell_everything(peer);
}

void bgp_peer_check_next_hops(struct bgp_peer *peer)
{
	struct bgp_next_hop found[BGP_FAMILY_COUNT];

	if (peer->session == NULL)
		return;
	find_next_hops(peer, found);
	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		if (addr_equal(&found[i].global, &peer->path.next_hop[i].global) &&
		    addr_equal(&found[i].link_local, &peer->path.next_hop[i].link_local))
			continue;
		bgp_peer_tell_everything(peer);
		return;
	}
}
