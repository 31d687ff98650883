/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A peer has two links, OUTGOING and INCOMING: a state machine with its connection and timers each.
 * While none is Established both are at work; when one gets there the other is stopped, and started
 * again when the session ends. rfc: 4271 §6.8, §8.2.1.
 *
 * invariant: at most one link is Established, and only then is the peer's reader active in the rib.
 */
#include "advertise/bgp/bgp_peer_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/log.h"

/* rfc: 9687 §3: the larger of 8 minutes and twice the hold time. */
#define SEND_HOLD_MIN_MS (8 * 60 * 1000ull)

bool bgp_peer_is_ibgp(const struct bgp_peer *peer)
{
	return peer->config.as == peer->context->config->as;
}

struct link *bgp_peer_other_link(struct link *link)
{
	return &link->peer->links[link->role == OUTGOING ? INCOMING : OUTGOING];
}

const char *bgp_peer_text(const struct bgp_peer *peer, char buf[static ADDR_TEXT_SIZE])
{
	return addr_format(&peer->config.address, buf);
}

/* ---- timers --------------------------------------------------------------------------------- */

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
			bgp_error_set(&error, 0, 0, NULL, 0, "%s", link->failure);
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

/* ---- sending -------------------------------------------------------------------------------- */

static void restart_send_hold(struct link *link)
{
	uint64_t ms = 2000ull * link->fsm.hold_s;

	set_deadline(link, BGP_TIMER_SEND_HOLD, ms > SEND_HOLD_MIN_MS ? ms : SEND_HOLD_MIN_MS);
}

void bgp_peer_send(struct link *link, const uint8_t *data, size_t length)
{
	if (link->connection == NULL)
		return;
	bgp_connection_send(link->connection, data, length);
	/* rfc: 9687 §3.2: runs while something is queued. */
	if (bgp_connection_queued_bytes(link->connection) > 0 &&
	    link->deadline_ms[BGP_TIMER_SEND_HOLD] == NO_DEADLINE)
		restart_send_hold(link);
}

void bgp_peer_sent_some(struct link *link)
{
	if (link->deadline_ms[BGP_TIMER_SEND_HOLD] != NO_DEADLINE)
		restart_send_hold(link);
}

void bgp_peer_sent_all(struct link *link)
{
	link->deadline_ms[BGP_TIMER_SEND_HOLD] = NO_DEADLINE;
}

/* ---- what the state machine asks for -------------------------------------------------------- */

static void do_connect(void *arg)
{
	struct link *link = arg;
	struct bgp_peer *peer = link->peer;
	struct errbuf err;

	if (bgp_connection_connect(peer->context->loop, &peer->context->connections, &peer->config,
				   bgp_peer_is_ibgp(peer), &bgp_peer_connection_ops, link,
				   &link->connection, &err) == 0)
		return;
	memcpy(link->failure, err.text, sizeof(link->failure));
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
	bgp_peer_send(link, data, writer.length);
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
	bgp_peer_send(link, data, writer.length);
}

static void do_send_notification(void *arg, const struct bgp_error *error)
{
	struct link *link = arg;
	uint8_t data[BGP_NOTIFY_SIZE_MIN + BGP_ERROR_DATA_SIZE];
	struct bgp_writer writer = { .data = data, .size = sizeof(data) };

	bgp_notification_build(&writer, error);
	bgp_peer_send(link, data, writer.length);
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
	uint32_t value;

	(void)arg;
	/* Nodes that start together must not come to the same numbers. */
	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		value = (uint32_t)uv_hrtime();
	return value;
}

static void do_established(void *arg)
{
	struct link *link = arg, *other = bgp_peer_other_link(link);
	struct bgp_peer *peer = link->peer;
	char text[ADDR_TEXT_SIZE];

	peer->session = link;
	peer->established_count++;
	peer->plain_open = false;
	peer->connect_error[0] = '\0';
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
	log_info("Peer Up %s (AS %u, %s, hold %u s%s%s%s)", bgp_peer_text(peer, text),
		 peer->config.as, link->role == OUTGOING ? "outgoing" : "incoming",
		 peer->negotiated.hold_s,
		 peer->negotiated.families & BGP_FAMILY_BIT(BGP_IPV4) ? ", ipv4" : "",
		 peer->negotiated.families & BGP_FAMILY_BIT(BGP_IPV6) ? ", ipv6" : "",
		 peer->negotiated.graceful_restart ? ", graceful restart" : "");
	if (other->fsm.state != BGP_STATE_IDLE || other->fsm.wanted) {
		struct bgp_error cease;

		bgp_error_cease(&cease, BGP_CEASE_COLLISION, NULL);
		bgp_fsm_event(&other->fsm, BGP_EVENT_STOP, &cease);
	}
	bgp_peer_tell_everything(peer);
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
	/* An attempt that comes to nothing does not hide why the session ended. */
	bool attempt = fault == BGP_FAULT_TRANSPORT && was != BGP_STATE_ESTABLISHED;
	char *kept = attempt ? peer->connect_error : peer->last_error;
	char text[ADDR_TEXT_SIZE], line[BGP_ERROR_TEXT_SIZE];
	bool news;

	snprintf(line, sizeof(line), "%s%.300s", reason->code != 0 ? prefixes[fault] : "",
		 reason->text);
	news = strcmp(line, kept) != 0;
	memcpy(kept, line, sizeof(line));
	if (!attempt)
		peer->last_error_at_ms = uv_now(peer->context->loop);
	/* The same failure of each new attempt is said once. */
	if (was == BGP_STATE_ESTABLISHED)
		log_write(peer->stopped ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
			  "Peer Down %s (AS %u): %s", bgp_peer_text(peer, text), peer->config.as,
			  line);
	else if (news && !peer->stopped)
		log_warn("Peer %s (AS %u) not up: %s", bgp_peer_text(peer, text), peer->config.as,
			 line);
}

static void do_closed(void *arg, enum bgp_state was, enum bgp_fault fault,
		      const struct bgp_error *reason)
{
	struct link *link = arg, *other = bgp_peer_other_link(link);
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

/* ---- life ----------------------------------------------------------------------------------- */

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

	log_info("Add a peer configuration for:%s", bgp_peer_text(peer, text));
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
		.ibgp = bgp_peer_is_ibgp(peer),
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
	memcpy(ret->connect_error, peer->connect_error, sizeof(ret->connect_error));
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
