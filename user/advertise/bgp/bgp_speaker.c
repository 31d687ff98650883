/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/bgp/bgp_speaker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uthash.h>

#include "lib/log.h"

#define LISTEN_BACKLOG  64
#define LISTEN_RETRY_MS 5000
#define LISTEN_AGAIN_MS 10

struct peer_entry {
	struct addr address; /* the key */
	struct bgp_peer *peer;
	UT_hash_handle hh;
};

struct listener {
	uv_tcp_t tcp;
	bool open;
};

struct bgp_speaker {
	struct advertiser advertiser; /* first, for the ops */
	struct advertiser *placer;
	struct bgp_config config;
	struct bgp_peer_context context;
	struct peer_entry *peers; /* sorted by address */
	struct listener listeners[BGP_FAMILY_COUNT];
	char listen_error[ERRBUF_SIZE];
	uv_timer_t flush; /* fires on the loop's next turn: a burst of changes is told together */
	bool withdrew;    /* on this turn already */
	uv_timer_t listen_retry;

	bool stopping;
	unsigned pending; /* peers and handles that are not gone yet */
	void (*done)(void *arg);
	void *done_arg;
};

/* ---- listening ------------------------------------------------------------------------------ */

static struct peer_entry *find_peer(const struct bgp_speaker *speaker, const struct addr *address)
{
	struct peer_entry *entry;

	HASH_FIND(hh, speaker->peers, address, sizeof(*address), entry);
	return entry;
}

static void on_listener_closed(uv_handle_t *handle);
static void on_handle_closed(uv_handle_t *handle);

static void on_incoming(uv_stream_t *server, int status)
{
	struct bgp_speaker *speaker = server->data;
	struct bgp_connection *connection;
	const struct peer_entry *entry;
	char text[ADDR_TEXT_SIZE];
	struct addr remote;
	struct errbuf err;

	if (status < 0)
		return;
	if (bgp_connection_accept(speaker->context.loop, &speaker->context.connections, server,
				  &connection, &err) < 0) {
		/* uv waits for this connection to be taken before it gives another: begin anew. */
		uv_close((uv_handle_t *)server, on_listener_closed);
		return;
	}
	remote = bgp_connection_remote(connection);
	entry = find_peer(speaker, &remote);
	if (entry == NULL) {
		log_debug("BGP connection from %s, which is no peer, refused",
			  addr_format(&remote, text));
		bgp_connection_close(connection, true);
		return;
	}
	bgp_peer_take(entry->peer, connection);
}

/* The passwords are on the listening socket: an unsigned SYN is not even answered. */
static int set_listener_passwords(struct bgp_speaker *speaker, enum bgp_family family, int fd,
				  struct errbuf *err)
{
	struct peer_entry *entry, *tmp;

	HASH_ITER (hh, speaker->peers, entry, tmp) {
		const struct bgp_peer_config *config = bgp_peer_config(entry->peer);
		int result;

		if (config->password[0] == '\0' || bgp_family_of(&config->address) != family)
			continue;
		result = bgp_socket_set_password(fd, &config->address, config->password, err);
		if (result < 0)
			return result;
	}
	return 0;
}

static int open_listener(struct bgp_speaker *speaker, enum bgp_family family, struct errbuf *err)
{
	struct listener *listener = &speaker->listeners[family];
	int fd, result;

	fd = bgp_listening_socket(family == BGP_IPV6 ? AF_INET6 : AF_INET,
				  speaker->config.listen_port, err);
	if (fd < 0)
		return fd;
	result = set_listener_passwords(speaker, family, fd, err);
	if (result < 0) {
		close(fd);
		return result;
	}
	uv_tcp_init(speaker->context.loop, &listener->tcp);
	listener->tcp.data = speaker;
	listener->open = true;
	speaker->pending++;
	result = uv_tcp_open(&listener->tcp, fd);
	if (result < 0)
		close(fd);
	else
		result = uv_listen((uv_stream_t *)&listener->tcp, LISTEN_BACKLOG, on_incoming);
	if (result < 0) {
		uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
		return errbuf_set(err, result, "cannot listen on port %u for BGP: %s",
				  speaker->config.listen_port, uv_strerror(result));
	}
	return 0;
}

static bool needs_listener(const struct bgp_speaker *speaker, enum bgp_family family)
{
	struct peer_entry *entry, *tmp;

	HASH_ITER (hh, speaker->peers, entry, tmp) {
		if (bgp_family_of(&entry->address) == family)
			return !speaker->stopping;
	}
	return false;
}

static void on_listen_retry(uv_timer_t *timer);

/* Opens and closes listening sockets as the peers need them. What fails is logged when it is new,
 * and tried again. */
static void update_listeners(struct bgp_speaker *speaker)
{
	struct errbuf err = { 0 };

	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		struct listener *listener = &speaker->listeners[i];
		bool closing = listener->open && uv_is_closing((uv_handle_t *)&listener->tcp);

		if (listener->open && !closing && !needs_listener(speaker, (enum bgp_family)i))
			uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
		else if (!listener->open && needs_listener(speaker, (enum bgp_family)i))
			open_listener(speaker, (enum bgp_family)i, &err);
	}
	if (err.text[0] != '\0' && strcmp(err.text, speaker->listen_error) != 0)
		log_warn("%s; peers are connected to, but cannot connect", err.text);
	memcpy(speaker->listen_error, err.text, sizeof(speaker->listen_error));
	if (err.text[0] != '\0' && !speaker->stopping)
		uv_timer_start(&speaker->listen_retry, on_listen_retry, LISTEN_RETRY_MS, 0);
}

static void on_listen_retry(uv_timer_t *timer)
{
	update_listeners(timer->data);
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct bgp_speaker *speaker = handle->data;

	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		if (handle == (uv_handle_t *)&speaker->listeners[i].tcp)
			speaker->listeners[i].open = false;
	}
	/* A peer may have come while the socket went. */
	if (!speaker->stopping)
		uv_timer_start(&speaker->listen_retry, on_listen_retry, LISTEN_AGAIN_MS, 0);
	on_handle_closed(handle);
}

/* Makes the listening socket's key for this address be `password` (empty: none). */
static int change_listener_password(struct bgp_speaker *speaker, const struct addr *address,
				    const char *password, struct errbuf *err)
{
	struct listener *listener = &speaker->listeners[bgp_family_of(address)];
	uv_os_fd_t fd;

	if (!listener->open || uv_fileno((uv_handle_t *)&listener->tcp, &fd) < 0)
		return 0;
	return bgp_socket_set_password(fd, address, password, err);
}

/* ---- peers ---------------------------------------------------------------------------------- */

static int compare_entries(const struct peer_entry *a, const struct peer_entry *b)
{
	return addr_compare(&a->address, &b->address);
}

int bgp_speaker_add_peer(struct bgp_speaker *speaker, const struct bgp_peer_config *config,
			 struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];
	struct peer_entry *entry;
	int result;

	if (find_peer(speaker, &config->address) != NULL)
		return errbuf_set(err, -EEXIST, "%s is a BGP peer already",
				  addr_format(&config->address, text));
	result = bgp_peer_check(config, speaker->config.as, err);
	if (result < 0)
		return errbuf_prefix(err, result, "BGP peer %s",
				     addr_format(&config->address, text));
	if (config->password[0] != '\0')
		result = change_listener_password(speaker, &config->address, config->password, err);
	if (result < 0)
		return result;
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		result = errbuf_set(err, -ENOMEM, "memory is short");
	else
		result = bgp_peer_new(&speaker->context, config, &entry->peer, err);
	if (result < 0) {
		struct errbuf ignored; /* the sentence is written already */

		change_listener_password(speaker, &config->address, "", &ignored);
		free(entry);
		return result;
	}
	entry->address = config->address;
	speaker->pending++;
	HASH_ADD(hh, speaker->peers, address, sizeof(entry->address), entry);
	HASH_SORT(speaker->peers, compare_entries);
	update_listeners(speaker);
	bgp_peer_start(entry->peer);
	return 0;
}

static void check_done(struct bgp_speaker *speaker);

static void on_peer_freed(void *arg)
{
	struct bgp_speaker *speaker = arg;

	speaker->pending--;
	check_done(speaker);
}

static void drop_peer(struct bgp_speaker *speaker, struct peer_entry *entry,
		      const struct bgp_error *cease)
{
	struct errbuf ignored; /* the key of a peer that is gone does no harm */

	HASH_DEL(speaker->peers, entry);
	change_listener_password(speaker, &entry->address, "", &ignored);
	bgp_peer_stop(entry->peer, cease);
	bgp_peer_free(entry->peer, on_peer_freed, speaker);
	free(entry);
}

int bgp_speaker_remove_peer(struct bgp_speaker *speaker, const struct addr *peer,
			    struct errbuf *err)
{
	struct peer_entry *entry = find_peer(speaker, peer);
	char text[ADDR_TEXT_SIZE];
	struct bgp_error cease;

	if (entry == NULL)
		return errbuf_set(err, -ENOENT, "%s is not a BGP peer", addr_format(peer, text));
	bgp_error_cease(&cease, BGP_CEASE_DECONFIGURED, NULL);
	drop_peer(speaker, entry, &cease);
	update_listeners(speaker);
	return 0;
}

/* ---- the advertiser ------------------------------------------------------------------------- */

static struct bgp_speaker *speaker_of(struct advertiser *advertiser)
{
	return (struct bgp_speaker *)advertiser;
}

static void flush_peers(struct bgp_speaker *speaker)
{
	struct peer_entry *entry, *tmp;

	HASH_ITER (hh, speaker->peers, entry, tmp) {
		bgp_peer_flush(entry->peer);
	}
}

static void on_flush(uv_timer_t *timer)
{
	struct bgp_speaker *speaker = timer->data;

	speaker->withdrew = false;
	flush_peers(speaker);
}

static void flush_soon(struct bgp_speaker *speaker)
{
	if (!uv_is_active((uv_handle_t *)&speaker->flush))
		uv_timer_start(&speaker->flush, on_flush, 0, 0);
}

static int bgp_prepare(struct advertiser *advertiser, const struct addr *vip, struct errbuf *err)
{
	struct advertiser *placer = speaker_of(advertiser)->placer;

	return placer == NULL ? 0 : placer->ops->prepare(placer, vip, err);
}

static void bgp_announce(struct advertiser *advertiser, const struct addr *vip)
{
	struct bgp_speaker *speaker = speaker_of(advertiser);
	char text[ADDR_TEXT_SIZE];

	/* The contract has no failure here; core calls again with every reconcile. */
	if (bgp_rib_announce(speaker->context.rib, vip) < 0)
		log_error("VIP %s cannot be announced by BGP: memory is short",
			  addr_format(vip, text));
	flush_soon(speaker);
}

static int bgp_withdraw(struct advertiser *advertiser, const struct addr *vip, struct errbuf *err)
{
	struct bgp_speaker *speaker = speaker_of(advertiser);
	struct advertiser *placer = speaker->placer;

	/* The first withdrawal of a turn goes out at once; a burst behind it is packed and follows
	 * on the next turn. */
	if (bgp_rib_withdraw(speaker->context.rib, vip)) {
		if (!speaker->withdrew)
			flush_peers(speaker);
		speaker->withdrew = true;
		flush_soon(speaker);
	}
	return placer == NULL ? 0 : placer->ops->withdraw(placer, vip, err);
}

static int bgp_retain(struct advertiser *advertiser,
		      bool (*is_desired)(void *arg, const struct addr *vip), void *arg,
		      struct errbuf *err)
{
	struct bgp_speaker *speaker = speaker_of(advertiser);
	struct advertiser *placer = speaker->placer;

	speaker->context.complete = true;
	flush_soon(speaker);
	return placer == NULL ? 0 : placer->ops->retain(placer, is_desired, arg, err);
}

static const struct advertiser_ops advertiser_ops = {
	.name = "bgp",
	.prepare = bgp_prepare,
	.announce = bgp_announce,
	.withdraw = bgp_withdraw,
	.retain = bgp_retain,
};

struct advertiser *bgp_speaker_advertiser(struct bgp_speaker *speaker)
{
	return &speaker->advertiser;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void check_done(struct bgp_speaker *speaker)
{
	void (*done)(void *arg) = speaker->done;
	void *arg = speaker->done_arg;

	if (!speaker->stopping || speaker->pending > 0 || speaker->context.connections.live > 0)
		return;
	bgp_rib_free(speaker->context.rib);
	free(speaker);
	if (done != NULL)
		done(arg);
}

static void on_connections_gone(void *arg)
{
	check_done(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct bgp_speaker *speaker = handle->data;

	speaker->pending--;
	check_done(speaker);
}

int bgp_speaker_new(uv_loop_t *loop, const struct bgp_config *config, struct advertiser *placer,
		    struct bgp_speaker **ret, struct errbuf *err)
{
	struct bgp_config complete = *config;
	struct bgp_speaker *speaker;
	int result;

	result = bgp_config_complete(&complete, err);
	if (result < 0)
		return result;
	speaker = calloc(1, sizeof(*speaker));
	if (speaker == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	speaker->context.rib = bgp_rib_new();
	if (speaker->context.rib == NULL) {
		free(speaker);
		return errbuf_set(err, -ENOMEM, "memory is short");
	}
	speaker->advertiser.ops = &advertiser_ops;
	speaker->placer = placer;
	speaker->config = complete;
	speaker->context.loop = loop;
	speaker->context.config = &speaker->config;
	speaker->context.connections.gone = on_connections_gone;
	speaker->context.connections.arg = speaker;
	uv_timer_init(loop, &speaker->flush);
	uv_timer_init(loop, &speaker->listen_retry);
	speaker->flush.data = speaker;
	speaker->listen_retry.data = speaker;
	speaker->pending = 2;
	*ret = speaker;
	return 0;
}

bool bgp_speaker_peer_status(const struct bgp_speaker *speaker, size_t index,
			     struct bgp_peer_status *ret)
{
	struct peer_entry *entry, *tmp;

	HASH_ITER (hh, speaker->peers, entry, tmp) {
		if (index-- == 0) {
			bgp_peer_status(entry->peer, ret);
			return true;
		}
	}
	return false;
}

bool bgp_speaker_find_peer(const struct bgp_speaker *speaker, const struct addr *address,
			   struct bgp_peer_status *ret)
{
	const struct peer_entry *entry = find_peer(speaker, address);

	if (entry == NULL)
		return false;
	bgp_peer_status(entry->peer, ret);
	return true;
}

void bgp_speaker_status(const struct bgp_speaker *speaker, struct bgp_speaker_status *ret)
{
	struct bgp_peer_status status;

	*ret = (struct bgp_speaker_status){
		.as = speaker->config.as,
		.router_id = speaker->config.router_id,
		.listen_port = speaker->config.listen_port,
		.listening = speaker->peers != NULL && speaker->listen_error[0] == '\0',
		.vips = bgp_rib_count(speaker->context.rib),
		.graceful_shutdown = speaker->config.attributes.graceful_shutdown,
	};
	memcpy(ret->listen_error, speaker->listen_error, sizeof(ret->listen_error));
	while (bgp_speaker_peer_status(speaker, ret->peers, &status)) {
		ret->peers++;
		ret->established += status.state == BGP_STATE_ESTABLISHED;
	}
}

void bgp_speaker_graceful_shutdown(struct bgp_speaker *speaker, bool on)
{
	struct peer_entry *entry, *tmp;

	if (speaker->config.attributes.graceful_shutdown == on)
		return;
	speaker->config.attributes.graceful_shutdown = on;
	HASH_ITER (hh, speaker->peers, entry, tmp) {
		bgp_peer_resend(entry->peer);
	}
}

void bgp_speaker_addresses_changed(struct bgp_speaker *speaker)
{
	struct peer_entry *entry, *tmp;

	HASH_ITER (hh, speaker->peers, entry, tmp) {
		bgp_peer_check_next_hops(entry->peer);
	}
}

void bgp_speaker_stop(struct bgp_speaker *speaker, enum bgp_stop how, const char *text,
		      void (*done)(void *arg), void *arg)
{
	struct peer_entry *entry, *tmp;
	struct bgp_error cease;

	if (speaker == NULL) {
		if (done != NULL)
			done(arg);
		return;
	}
	speaker->stopping = true;
	speaker->done = done;
	speaker->done_arg = arg;
	bgp_error_cease(&cease, BGP_CEASE_ADMIN_SHUTDOWN, text);
	HASH_ITER (hh, speaker->peers, entry, tmp) {
		drop_peer(speaker, entry, how == BGP_STOP_FOR_GOOD ? &cease : NULL);
	}
	update_listeners(speaker);
	uv_close((uv_handle_t *)&speaker->flush, on_handle_closed);
	uv_close((uv_handle_t *)&speaker->listen_retry, on_handle_closed);
}
