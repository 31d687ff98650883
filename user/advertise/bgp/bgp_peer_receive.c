/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What comes in: messages become events of the state machine, connections find their link, and of
 * two one is chosen.
 */
#include "advertise/bgp/bgp_peer_private.h"

#include "lib/log.h"

/* ---- what the connection tells -------------------------------------------------------------- */

static void on_connected(void *arg)
{
	struct link *link = arg;

	bgp_fsm_event(&link->fsm, BGP_EVENT_TCP_ESTABLISHED, NULL);
}

static void on_failed(void *arg, const char *reason)
{
	struct link *link = arg;
	struct bgp_error error;

	if (link->fsm.state < BGP_STATE_OPEN_SENT)
		bgp_error_set(&error, 0, 0, NULL, 0, "cannot connect: %s", reason);
	else if (link->fsm.state < BGP_STATE_ESTABLISHED)
		bgp_error_set(&error, 0, 0, NULL, 0,
			      "connected, but then: %s; does the peer know this node's address "
			      "and AS?",
			      reason);
	else
		bgp_error_set(&error, 0, 0, NULL, 0, "connection lost: %s", reason);
	bgp_fsm_event(&link->fsm, BGP_EVENT_TCP_FAILS, &error);
}

static void on_garbage(void *arg, const struct bgp_error *error)
{
	struct link *link = arg;

	bgp_fsm_event(&link->fsm, BGP_EVENT_HEADER_ERROR, error);
}

/* rfc: 4271 §6.8, looked at when the OPEN is here and with it the peer's identifier. true when this
 * link stays. */
static bool survive_collision(struct link *link)
{
	const struct bgp_config *config = link->peer->context->config;
	struct link *other = bgp_peer_other_link(link);
	struct bgp_error cease;
	bool keep_outgoing, stays;

	if (other->fsm.state < BGP_STATE_OPEN_CONFIRM)
		return true;
	keep_outgoing = bgp_fsm_keep_outgoing(config->router_id, config->as,
					      link->received.identifier, link->received.as);
	stays = other->fsm.state != BGP_STATE_ESTABLISHED &&
		keep_outgoing == (link->role == OUTGOING);
	bgp_error_cease(&cease, BGP_CEASE_COLLISION, NULL);
	bgp_fsm_event(stays ? &other->fsm : &link->fsm, BGP_EVENT_COLLISION_DUMP, &cease);
	return stays;
}

static void on_open(struct link *link, struct bgp_reader body)
{
	struct bgp_peer *peer = link->peer;
	struct bgp_error error;
	struct bgp_negotiated negotiated;
	int result;

	if (link->fsm.state != BGP_STATE_OPEN_SENT) {
		bgp_fsm_event(&link->fsm, BGP_EVENT_OPEN, NULL);
		return;
	}
	result = bgp_open_parse(body, &link->received, &error);
	if (result == 0) {
		peer->capabilities = link->received.capabilities;
		result = bgp_open_check(&link->received, &link->sent, peer->config.as, &error);
	}
	if (result < 0) {
		bgp_fsm_event(&link->fsm, BGP_EVENT_OPEN_ERROR, &error);
		return;
	}
	if (!survive_collision(link))
		return;
	bgp_open_negotiate(&link->sent, &link->received, &negotiated);
	link->fsm.hold_s = negotiated.hold_s;
	link->open_received = true;
	bgp_fsm_event(&link->fsm, BGP_EVENT_OPEN, NULL);
}

static void on_update(struct link *link, struct bgp_reader body)
{
	struct bgp_peer *peer = link->peer;
	struct bgp_update_summary summary;
	struct bgp_update_context context = {
		.ibgp = peer->negotiated.ibgp,
		.as4 = peer->negotiated.as4,
		.families = peer->negotiated.families,
	};
	char text[ADDR_TEXT_SIZE];

	if (link->fsm.state != BGP_STATE_ESTABLISHED) {
		bgp_fsm_event(&link->fsm, BGP_EVENT_UPDATE, NULL);
		return;
	}
	bgp_update_parse(body, &context, &summary);
	peer->updates_received++;
	if (summary.reaction == BGP_REACTION_RESET) {
		bgp_fsm_event(&link->fsm, BGP_EVENT_UPDATE_ERROR, &summary.error);
		return;
	}
	/* Here the routes would be imported. They are counted and dropped. */
	peer->routes_received += summary.announced;
	peer->routes_withdrawn += summary.withdrawn;
	if (summary.reaction != BGP_REACTION_NONE && peer->updates_malformed++ == 0)
		log_warn("Peer %s sends UPDATEs with errors (%s): %s", bgp_peer_text(peer, text),
			 bgp_reaction_name(summary.reaction), summary.error.text);
	bgp_fsm_event(&link->fsm, BGP_EVENT_UPDATE, NULL);
}

static void on_notification(struct link *link, struct bgp_reader body)
{
	struct bgp_error received;
	bool version;

	bgp_notification_parse(body, &received);
	version =
		received.code == BGP_ERROR_OPEN && received.subcode == BGP_OPEN_UNSUPPORTED_VERSION;
	bgp_fsm_event(&link->fsm, version ? BGP_EVENT_NOTIFICATION_VERSION : BGP_EVENT_NOTIFICATION,
		      &received);
}

static void on_refresh(struct link *link, struct bgp_reader body)
{
	struct bgp_peer *peer = link->peer;
	enum bgp_family family;

	bgp_fsm_event(&link->fsm, BGP_EVENT_ROUTE_REFRESH, NULL);
	/* rfc: 2918 §4: what was not agreed on is ignored. */
	if (peer->session != link || bgp_refresh_parse(body, &family) < 0 ||
	    !peer->reader.active[family])
		return;
	bgp_rib_start(peer->context->rib, &peer->reader, family);
	bgp_peer_flush(peer);
}

static void on_message(void *arg, const struct bgp_message *message)
{
	struct link *link = arg;

	switch (message->type) {
	case BGP_OPEN:
		on_open(link, message->body);
		break;
	case BGP_UPDATE:
		on_update(link, message->body);
		break;
	case BGP_NOTIFICATION:
		on_notification(link, message->body);
		break;
	case BGP_KEEPALIVE:
		bgp_fsm_event(&link->fsm, BGP_EVENT_KEEPALIVE, NULL);
		break;
	case BGP_ROUTE_REFRESH:
		on_refresh(link, message->body);
		break;
	}
}

static void on_progressed(void *arg)
{
	struct link *link = arg;

	bgp_peer_sent_some(link);
	if (link->peer->session == link)
		bgp_peer_flush(link->peer);
}

static void on_drained(void *arg)
{
	struct link *link = arg;

	bgp_peer_sent_all(link);
	if (link->peer->session == link)
		bgp_peer_flush(link->peer);
}

const struct bgp_connection_ops bgp_peer_connection_ops = {
	.connected = on_connected,
	.failed = on_failed,
	.message = on_message,
	.garbage = on_garbage,
	.drained = on_drained,
	.progressed = on_progressed,
};

/* ---- incoming connections ------------------------------------------------------------------- */

static void refuse_connection(struct bgp_connection *connection, uint8_t subcode)
{
	uint8_t data[BGP_NOTIFY_SIZE_MIN + BGP_ERROR_DATA_SIZE];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };
	struct bgp_error cease;

	bgp_error_cease(&cease, subcode, NULL);
	bgp_notification_build(&writer, &cease);
	bgp_connection_send(connection, data, writer.length);
	bgp_connection_close(connection, false);
}

void bgp_peer_take(struct bgp_peer *peer, struct bgp_connection *connection)
{
	struct link *link = &peer->links[INCOMING];
	struct bgp_error replaced;
	struct errbuf err;

	bgp_error_set(&replaced, 0, 0, NULL, 0, "the peer opened a new connection");
	if (peer->session != NULL) {
		/* rfc: 4271 §6.8: the session stays; 4724 §5: unless the peer told that it
		 * restarts like this. */
		if (!peer->negotiated.graceful_restart) {
			refuse_connection(connection, BGP_CEASE_COLLISION);
			return;
		}
		bgp_fsm_event(&peer->session->fsm, BGP_EVENT_TCP_FAILS, &replaced);
	} else if (link->fsm.state >= BGP_STATE_OPEN_SENT) {
		/* The peer has one process: it has given up the older one. */
		bgp_fsm_event(&link->fsm, BGP_EVENT_TCP_FAILS, &replaced);
	}
	if (link->fsm.state != BGP_STATE_ACTIVE) {
		refuse_connection(connection, BGP_CEASE_REJECTED);
		return;
	}
	if (bgp_connection_adopt(connection, &peer->config, bgp_peer_is_ibgp(peer),
				 &bgp_peer_connection_ops, link, &err) < 0) {
		bgp_connection_close(connection, true);
		return;
	}
	link->connection = connection;
	bgp_fsm_event(&link->fsm, BGP_EVENT_TCP_ESTABLISHED, NULL);
}
