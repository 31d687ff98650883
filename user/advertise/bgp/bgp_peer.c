/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A peer has two links, OUTGOING and INCOMING: a state machine with its connection and timers each.
 * While none is Established both are at work; when one gets there the other is stopped, and started
 * again when the session ends. rfc: 4271 §6.8, §8.2.1.
 *
 * invariant: at most one link is Established, and only then is the peer's reader active in the rib.
 */
#include "advertise/bgp/bgp_peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "advertise/bgp/bgp_next_hop.h"
#include "lib/log.h"

/* No more than this is queued on a connection; the rest waits in the rib, where it may change. */
#define QUEUE_HIGH_BYTES (16 * BGP_MESSAGE_SIZE_MAX)

/* rfc: 9687 §3: the larger of 8 minutes and twice the hold time. */
#define SEND_HOLD_MIN_MS (8 * 60 * 1000ull)

#define NO_DEADLINE   UINT64_MAX
#define FAILURE_TIMER BGP_TIMER_COUNT /* a connect that failed at once, told from the loop */
#define TIMER_SLOTS   (BGP_TIMER_COUNT + 1)

enum role { OUTGOING, INCOMING, ROLE_COUNT };

struct link {
	struct bgp_peer *peer;
	enum role role;
	struct bgp_fsm fsm;
	struct bgp_connection *connection; /* owned; NULL without one */
	struct bgp_open sent, received;
	bool open_received;
	uv_timer_t timer; /* runs for the earliest deadline, or earlier */
	uint64_t deadline_ms[TIMER_SLOTS];
	char connect_error[ERRBUF_SIZE];
};

struct bgp_peer {
	struct bgp_peer_context *context;
	struct bgp_peer_config config;
	struct bgp_fsm_times times;
	struct link links[ROLE_COUNT];
	struct link *session; /* the Established one, or NULL */
	struct bgp_rib_reader reader;
	bool stopped;
	bool plain_open; /* the peer does not know optional parameters; rfc: 5492 §3 */

	/* of the session */
	struct bgp_negotiated negotiated;
	struct bgp_path path;
	bool end_of_rib_due[BGP_FAMILY_COUNT];
	char note[BGP_ERROR_TEXT_SIZE];

	/* of the peer's whole life */
	struct bgp_capabilities capabilities;
	bool restart_told; /* End-of-RIB was sent: this start is over for this peer */
	uint64_t established_count;
	uint64_t updates_sent, updates_received, updates_malformed;
	uint64_t routes_received, routes_withdrawn;
	char last_error[BGP_ERROR_TEXT_SIZE];
	uint64_t last_error_at_ms;

	unsigned handles; /* that uv has not closed yet */
	void (*freed)(void *arg);
	void *freed_arg;
};

static bool is_ibgp(const struct bgp_peer *peer)
{
	return peer->config.as == peer->context->config->as;
}

static struct link *other_link(struct link *link)
{
	return &link->peer->links[link->role == OUTGOING ? INCOMING : OUTGOING];
}

static const char *peer_text(const struct bgp_peer *peer, char buf[static ADDR_TEXT_SIZE])
{
	return addr_format(&peer->config.address, buf);
}

/* ---- timers -----------------------------------------------------------------------------------
 */

static void on_timer(uv_timer_t *timer);

static void arm(struct link *link)
{
	uint64_t now = uv_now(link->peer->context->loop), next = NO_DEADLINE;

	for (int i = 0; i < TIMER_SLOTS; i++) {
		if (link->deadline_ms[i] < next)
			next = link->deadline_ms[i];
	}
	if (next != NO_DEADLINE)
		uv_timer_start(&link->timer, on_timer, next > now ? next - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	static const enum bgp_event events[BGP_TIMER_COUNT] = {
		[BGP_TIMER_CONNECT_RETRY] = BGP_EVENT_CONNECT_RETRY_EXPIRES,
		[BGP_TIMER_HOLD] = BGP_EVENT_HOLD_EXPIRES,
		[BGP_TIMER_KEEPALIVE] = BGP_EVENT_KEEPALIVE_EXPIRES,
		[BGP_TIMER_IDLE_HOLD] = BGP_EVENT_IDLE_HOLD_EXPIRES,
		[BGP_TIMER_SEND_HOLD] = BGP_EVENT_SEND_HOLD_EXPIRES,
	};
	struct link *link = timer->data;
	uint64_t now = uv_now(timer->loop);

	for (int i = 0; i < TIMER_SLOTS; i++) {
		struct bgp_error error;

		if (link->deadline_ms[i] > now)
			continue;
		link->deadline_ms[i] = NO_DEADLINE;
		if (i == FAILURE_TIMER) {
			bgp_error_set(&error, 0, 0, NULL, 0, "%s", link->connect_error);
			bgp_fsm_event(&link->fsm, BGP_EVENT_TCP_FAILS, &error);
		} else {
			bgp_fsm_event(&link->fsm, events[i], NULL);
		}
	}
	if (!uv_is_closing((uv_handle_t *)timer))
		arm(link);
}

static void set_deadline(struct link *link, int slot, uint64_t ms)
{
	link->deadline_ms[slot] = uv_now(link->peer->context->loop) + ms;
	/* A timer that fires too early only looks again; so moving a deadline away is free. */
	if (!uv_is_active((uv_handle_t *)&link->timer) || uv_timer_get_due_in(&link->timer) > ms)
		arm(link);
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static void restart_send_hold(struct link *link)
{
	uint64_t ms = 2000ull * link->fsm.hold_s;

	set_deadline(link, BGP_TIMER_SEND_HOLD, ms > SEND_HOLD_MIN_MS ? ms : SEND_HOLD_MIN_MS);
}

static void send_message(struct link *link, const uint8_t *data, size_t length)
{
	if (link->connection == NULL)
		return;
	bgp_connection_send(link->connection, data, length);
	/* rfc: 9687 §3.2: runs while something is queued. */
	if (bgp_connection_queued_bytes(link->connection) > 0 &&
	    link->deadline_ms[BGP_TIMER_SEND_HOLD] == NO_DEADLINE)
		restart_send_hold(link);
}

static void send_end_of_rib(struct bgp_peer *peer, enum bgp_family family)
{
	uint8_t data[64];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };

	bgp_end_of_rib_build(&writer, family);
	send_message(peer->session, data, writer.length);
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
	send_message(peer->session, update.data, length);
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

/* Finds the next hops and begins to tell each agreed family from its start. */
static void tell_everything(struct bgp_peer *peer)
{
	const struct bgp_peer_context *context = peer->context;
	struct addr local = bgp_connection_local(peer->session->connection);

	peer->note[0] = '\0';
	bgp_next_hops_find(context->config, context->rib, &local, &peer->config.address,
			   peer->path.next_hop);
	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		enum bgp_family family = (enum bgp_family)i;

		if (!(peer->negotiated.families & BGP_FAMILY_BIT(i)))
			continue;
		if (peer->path.next_hop[i].global.family != AF_UNSPEC) {
			bgp_rib_start(context->rib, &peer->reader, family);
			continue;
		}
		bgp_rib_stop(context->rib, &peer->reader, family);
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
		tell_everything(peer);
}

/* ---- what the state machine asks for ----------------------------------------------------------
 */

static const struct bgp_connection_ops connection_ops;

static void do_connect(void *arg)
{
	struct link *link = arg;
	struct bgp_peer *peer = link->peer;
	struct errbuf err;

	if (bgp_connection_connect(peer->context->loop, &peer->context->connections, &peer->config,
				   is_ibgp(peer), &connection_ops, link, &link->connection,
				   &err) == 0)
		return;
	memcpy(link->connect_error, err.text, sizeof(link->connect_error));
	set_deadline(link, FAILURE_TIMER, 0);
}

static void do_disconnect(void *arg, bool silent)
{
	struct link *link = arg;

	bgp_connection_close(link->connection, silent);
	link->connection = NULL;
	link->open_received = false;
	link->deadline_ms[FAILURE_TIMER] = NO_DEADLINE;
}

static void do_send_open(void *arg)
{
	struct link *link = arg;
	struct bgp_peer *peer = link->peer;
	const struct bgp_config *config = peer->context->config;
	uint8_t data[BGP_OPEN_SIZE_MIN + 255];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };
	/* rfc: 4724 §4.1: restarting until this peer has had all routes; the forwarding state was
	 * kept then, and it is whenever only the session was lost. */
	bool restarting = config->restarted && !peer->restart_told;
	bool forwarding = config->restarted || peer->established_count > 0;

	link->sent = (struct bgp_open){
		.as = config->as,
		.hold_s = peer->config.hold_s,
		.identifier = config->router_id,
		.capabilities = { .families = BGP_FAMILY_BIT(BGP_IPV4) },
	};
	if (!peer->plain_open)
		link->sent.capabilities = (struct bgp_capabilities){
			.given = true,
			.families = BGP_FAMILIES_ALL,
			.route_refresh = true,
			.as4 = true,
			.graceful_restart = config->restart_time_s != 0,
			.restart_time_s = config->restart_time_s,
			.restarting = restarting,
			.restart_families = BGP_FAMILIES_ALL,
			.forwarding = forwarding ? BGP_FAMILIES_ALL : 0,
		};
	bgp_open_build(&writer, &link->sent);
	send_message(link, data, writer.length);
}

static void do_send_keepalive(void *arg)
{
	struct link *link = arg;
	uint8_t data[BGP_KEEPALIVE_SIZE];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };

	/* What is still queued keeps the peer's hold timer busy as well, once it gets there. */
	if (link->connection != NULL && bgp_connection_queued_bytes(link->connection) > 0)
		return;
	bgp_keepalive_build(&writer);
	send_message(link, data, writer.length);
}

static void do_send_notification(void *arg, const struct bgp_error *error)
{
	struct link *link = arg;
	uint8_t data[BGP_NOTIFY_SIZE_MIN + BGP_ERROR_DATA_SIZE];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };

	bgp_notification_build(&writer, error);
	send_message(link, data, writer.length);
}

static void do_timer_start(void *arg, enum bgp_timer timer, uint64_t ms)
{
	set_deadline(arg, (int)timer, ms);
}

static void do_timer_stop(void *arg, enum bgp_timer timer)
{
	struct link *link = arg;

	link->deadline_ms[timer] = NO_DEADLINE;
}

static uint64_t do_now(void *arg)
{
	struct link *link = arg;

	return uv_now(link->peer->context->loop);
}

static uint32_t do_random(void *arg)
{
	(void)arg;
	return (uint32_t)random();
}

static void do_established(void *arg)
{
	struct link *link = arg, *other = other_link(link);
	struct bgp_peer *peer = link->peer;
	char text[ADDR_TEXT_SIZE];

	peer->session = link;
	peer->established_count++;
	peer->plain_open = false;
	bgp_open_negotiate(&link->sent, &link->received, &peer->negotiated);
	peer->path = (struct bgp_path){
		.local_as = peer->context->config->as,
		.ibgp = peer->negotiated.ibgp,
		.as4 = peer->negotiated.as4,
		.attributes = &peer->context->config->attributes,
	};
	for (int i = 0; i < BGP_FAMILY_COUNT; i++)
		peer->end_of_rib_due[i] = peer->negotiated.graceful_restart &&
					  (peer->negotiated.families & BGP_FAMILY_BIT(i));
	log_info("Peer Up %s (AS %u, %s, hold %u s%s%s%s)", peer_text(peer, text), peer->config.as,
		 link->role == OUTGOING ? "outgoing" : "incoming", peer->negotiated.hold_s,
		 peer->negotiated.families & BGP_FAMILY_BIT(BGP_IPV4) ? ", ipv4" : "",
		 peer->negotiated.families & BGP_FAMILY_BIT(BGP_IPV6) ? ", ipv6" : "",
		 peer->negotiated.graceful_restart ? ", graceful restart" : "");
	if (other->fsm.state != BGP_STATE_IDLE || other->fsm.wanted) {
		struct bgp_error cease;

		bgp_error_cease(&cease, BGP_CEASE_COLLISION, NULL);
		bgp_fsm_event(&other->fsm, BGP_EVENT_STOP, &cease);
	}
	tell_everything(peer);
	if (peer->note[0] != '\0')
		log_warn("Peer %s: %s", text, peer->note);
}

static void remember_error(struct bgp_peer *peer, enum bgp_state was, enum bgp_fault fault,
			   const struct bgp_error *reason)
{
	static const char *const prefixes[] = {
		[BGP_FAULT_LOCAL] = "sent ",
		[BGP_FAULT_REMOTE] = "received ",
		[BGP_FAULT_TRANSPORT] = "",
	};
	char text[ADDR_TEXT_SIZE], line[BGP_ERROR_TEXT_SIZE];
	bool news;

	snprintf(line, sizeof(line), "%s%.300s", reason->code != 0 ? prefixes[fault] : "",
		 reason->text);
	news = strcmp(line, peer->last_error) != 0;
	memcpy(peer->last_error, line, sizeof(line));
	peer->last_error_at_ms = uv_now(peer->context->loop);
	/* The same failure of each new attempt is said once. */
	if (was == BGP_STATE_ESTABLISHED)
		log_warn("Peer Down %s (AS %u): %s", peer_text(peer, text), peer->config.as, line);
	else if (news && !peer->stopped)
		log_warn("Peer %s (AS %u) not up: %s", peer_text(peer, text), peer->config.as,
			 line);
}

static void do_closed(void *arg, enum bgp_state was, enum bgp_fault fault,
		      const struct bgp_error *reason)
{
	struct link *link = arg, *other = other_link(link);
	struct bgp_peer *peer = link->peer;
	bool collided = reason->code == BGP_ERROR_CEASE && reason->subcode == BGP_CEASE_COLLISION &&
			was != BGP_STATE_ESTABLISHED;

	if (fault == BGP_FAULT_REMOTE && reason->code == BGP_ERROR_OPEN &&
	    reason->subcode == BGP_OPEN_UNSUPPORTED_PARAMETER)
		peer->plain_open = true;
	if (peer->session == link) {
		peer->session = NULL;
		for (int i = 0; i < BGP_FAMILY_COUNT; i++)
			bgp_rib_stop(peer->context->rib, &peer->reader, (enum bgp_family)i);
		memset(&peer->negotiated, 0, sizeof(peer->negotiated));
		memset(peer->end_of_rib_due, 0, sizeof(peer->end_of_rib_due));
		peer->note[0] = '\0';
	}
	if (!collided)
		remember_error(peer, was, fault, reason);
	/* The link that stood back for this one is needed again. */
	if (!peer->stopped && peer->session == NULL && other->fsm.state == BGP_STATE_IDLE &&
	    !other->fsm.wanted && (other->role == INCOMING || !peer->config.passive))
		bgp_fsm_event(&other->fsm, BGP_EVENT_START_DELAYED, NULL);
}

static const struct bgp_fsm_ops fsm_ops = {
	.connect = do_connect,
	.disconnect = do_disconnect,
	.send_open = do_send_open,
	.send_keepalive = do_send_keepalive,
	.send_notification = do_send_notification,
	.timer_start = do_timer_start,
	.timer_stop = do_timer_stop,
	.now_ms = do_now,
	.random = do_random,
	.established = do_established,
	.closed = do_closed,
};

/* ---- what the connection tells ----------------------------------------------------------------
 */

static void on_connected(void *arg)
{
	struct link *link = arg;

	bgp_fsm_event(&link->fsm, BGP_EVENT_TCP_ESTABLISHED, NULL);
}

static void on_failed(void *arg, const char *reason)
{
	struct link *link = arg;
	struct bgp_error error;

	bgp_error_set(&error, 0, 0, NULL, 0, "%s: %s",
		      link->fsm.state < BGP_STATE_OPEN_SENT ? "cannot connect" : "connection lost",
		      reason);
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
	struct link *other = other_link(link);
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
		log_warn("Peer %s sends UPDATEs with errors (%s): %s", peer_text(peer, text),
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

	if (link->deadline_ms[BGP_TIMER_SEND_HOLD] != NO_DEADLINE)
		restart_send_hold(link);
	if (link->peer->session == link)
		bgp_peer_flush(link->peer);
}

static void on_drained(void *arg)
{
	struct link *link = arg;

	link->deadline_ms[BGP_TIMER_SEND_HOLD] = NO_DEADLINE;
	if (link->peer->session == link)
		bgp_peer_flush(link->peer);
}

static const struct bgp_connection_ops connection_ops = {
	.connected = on_connected,
	.failed = on_failed,
	.message = on_message,
	.garbage = on_garbage,
	.drained = on_drained,
	.progressed = on_progressed,
};

/* ---- incoming connections ---------------------------------------------------------------------
 */

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
	if (bgp_connection_adopt(connection, &peer->config, is_ibgp(peer), &connection_ops, link,
				 &err) < 0) {
		bgp_connection_close(connection, true);
		return;
	}
	link->connection = connection;
	bgp_fsm_event(&link->fsm, BGP_EVENT_TCP_ESTABLISHED, NULL);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void init_link(struct bgp_peer *peer, enum role role)
{
	struct link *link = &peer->links[role];

	link->peer = peer;
	link->role = role;
	link->fsm = (struct bgp_fsm){
		.ops = &fsm_ops,
		.times = &peer->times,
		.arg = link,
		.passive = role == INCOMING,
	};
	for (int i = 0; i < TIMER_SLOTS; i++)
		link->deadline_ms[i] = NO_DEADLINE;
	uv_timer_init(peer->context->loop, &link->timer);
	link->timer.data = link;
	peer->handles++;
}

int bgp_peer_new(struct bgp_peer_context *context, const struct bgp_peer_config *config,
		 struct bgp_peer **ret, struct errbuf *err)
{
	struct bgp_peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	peer->context = context;
	peer->config = *config;
	peer->times = bgp_fsm_default_times;
	peer->times.connect_retry_ms = 1000ull * config->connect_retry_s;
	init_link(peer, OUTGOING);
	init_link(peer, INCOMING);
	bgp_rib_attach(context->rib, &peer->reader);
	*ret = peer;
	return 0;
}

void bgp_peer_start(struct bgp_peer *peer)
{
	char text[ADDR_TEXT_SIZE];

	log_info("Add a peer configuration for:%s", peer_text(peer, text));
	bgp_fsm_event(&peer->links[INCOMING].fsm, BGP_EVENT_START, NULL);
	if (!peer->config.passive)
		bgp_fsm_event(&peer->links[OUTGOING].fsm, BGP_EVENT_START, NULL);
}

void bgp_peer_stop(struct bgp_peer *peer, const struct bgp_error *cease)
{
	static const struct bgp_error silent = { .text = "stopped, to be continued" };

	bgp_peer_flush(peer);
	peer->stopped = true;
	for (int i = 0; i < ROLE_COUNT; i++)
		bgp_fsm_event(&peer->links[i].fsm,
			      cease == NULL ? BGP_EVENT_STOP_SILENTLY : BGP_EVENT_STOP,
			      cease == NULL ? &silent : cease);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;
	struct bgp_peer *peer = link->peer;
	void (*freed)(void *arg) = peer->freed;
	void *arg = peer->freed_arg;

	if (--peer->handles > 0)
		return;
	explicit_bzero(peer->config.password, sizeof(peer->config.password));
	free(peer);
	if (freed != NULL)
		freed(arg);
}

void bgp_peer_free(struct bgp_peer *peer, void (*freed)(void *arg), void *arg)
{
	if (peer == NULL)
		return;
	peer->freed = freed;
	peer->freed_arg = arg;
	bgp_rib_detach(peer->context->rib, &peer->reader);
	for (int i = 0; i < ROLE_COUNT; i++)
		uv_close((uv_handle_t *)&peer->links[i].timer, on_handle_closed);
}

const struct bgp_peer_config *bgp_peer_config(const struct bgp_peer *peer)
{
	return &peer->config;
}

void bgp_peer_status(const struct bgp_peer *peer, struct bgp_peer_status *ret)
{
	const struct link *best = &peer->links[OUTGOING];
	uint64_t now = uv_now(peer->context->loop);

	if (peer->links[INCOMING].fsm.state > best->fsm.state)
		best = &peer->links[INCOMING];
	*ret = (struct bgp_peer_status){
		.config = peer->config,
		.has_password = peer->config.password[0] != '\0',
		.ibgp = is_ibgp(peer),
		.state = best->fsm.state,
		.incoming = best->role == INCOMING && best->connection != NULL,
		.negotiated = peer->negotiated,
		.capabilities = peer->capabilities,
		.updates_sent = peer->updates_sent,
		.routes_received = peer->routes_received,
		.routes_withdrawn_by_peer = peer->routes_withdrawn,
		.updates_received = peer->updates_received,
		.updates_malformed = peer->updates_malformed,
		.established_count = peer->established_count,
	};
	explicit_bzero(ret->config.password, sizeof(ret->config.password));
	memcpy(ret->last_error, peer->last_error, sizeof(ret->last_error));
	memcpy(ret->note, peer->note, sizeof(ret->note));
	if (peer->last_error[0] != '\0')
		ret->last_error_age_ms = now - peer->last_error_at_ms;
	if (peer->session == NULL)
		return;
	ret->uptime_ms = now - peer->session->fsm.established_at_ms;
	ret->local = bgp_connection_local(peer->session->connection);
	memcpy(ret->next_hop, peer->path.next_hop, sizeof(ret->next_hop));
	memcpy(ret->announced, peer->reader.told, sizeof(ret->announced));
}
