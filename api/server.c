/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/server.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

#include "api/connections.h"
#include "api/listen.h"
#include "api/request.h"
#include "lib/log.h"

#define CONNECTIONS_MAX            1024
#define CONNECTIONS_MAX_PER_CLIENT 256
/* Those we have shut down and libmicrohttpd has not closed yet come on top. */
#define CONNECTIONS_ENDING_MAX 256
#define RECEIVE_LIMIT_MS       30000
#define SEND_LIMIT_MS          300000
#define SILENCE_LIMIT_S        30
#define STOP_LIMIT_MS          5000
#define TICK_MS                1000
/* All headers of a request, and one piece of a streamed answer, must fit. */
#define CONNECTION_MEMORY_BYTES (32u << 10)
/* New connections taken in one turn of the loop. */
#define ACCEPTS_PER_TURN 64

struct listener {
	struct api_server *server;
	int fd;
	uv_poll_t poll;
};

struct api_server {
	struct api_config config;
	struct connections connections;
	struct request_context context;
	struct MHD_Daemon *daemon;
	uv_poll_t daemon_poll;   /* libmicrohttpd's epoll descriptor */
	uv_timer_t daemon_timer; /* and its next time-out */
	bool resumed;            /* a connection, since libmicrohttpd was run */
	uv_timer_t tick;         /* runs while there are connections */
	uv_timer_t stop_timer;
	bool stop_expired;
	size_t open_handles; /* of libuv, not yet closed */
	struct listener *listeners;
	size_t listener_count;
	bool accepting;
	char listening[512];
};

/* ---- libmicrohttpd in the loop -----------------------------------------------------------------
 */

static void on_daemon_timer(uv_timer_t *timer);

/* Lets libmicrohttpd do what can be done now. A connection with more to do at once (a streamed
 * answer) comes back on the loop's next turn, so that everything else has its turn too. */
static void drive(struct api_server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

	server->resumed = false;
	MHD_run(server->daemon);
	if (server->resumed || MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&server->daemon_timer, on_daemon_timer, timeout_ms, 0);
	else
		uv_timer_stop(&server->daemon_timer);
}

static void on_daemon_timer(uv_timer_t *timer)
{
	drive(timer->data);
}

/* In the loop's next turn, when all that was answered in this one has been resumed. */
static void on_resumed(struct request_context *context)
{
	struct api_server *server =
		(struct api_server *)((char *)context - offsetof(struct api_server, context));

	server->resumed = true;
	uv_timer_start(&server->daemon_timer, on_daemon_timer, 0, 0);
}

static void on_daemon_event(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	drive(poll->data);
}

/* MHD_LogCallback: nearly all of it is about what clients did wrong. */
static void on_daemon_log(void *arg, const char *format, va_list args)
{
	char line[512];
	int length;

	(void)arg;
	length = vsnprintf(line, sizeof(line), format, args);
	if (length > 0 && (size_t)length < sizeof(line) && line[length - 1] == '\n')
		line[length - 1] = '\0';
	log_debug("API: %s", line);
}

/* MHD_NotifyConnectionCallback */
static void on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct api_server *server = arg;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		connection_remove(&server->connections, *socket_context);
		*socket_context = NULL;
		return;
	}
	*socket_context = connection_add(
		&server->connections,
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
			->client_addr);
}

/* Paths are decoded by the route table, segment by segment; libmicrohttpd would decode %2F and %00
 * before anybody could see them. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
	(void)arg;
	(void)connection;
	return strlen(text);
}

static int start_daemon(struct api_server *server, struct errbuf *err)
{
	unsigned int limit = (unsigned int)server->connections.max + CONNECTIONS_ENDING_MAX;
	int fd;

	/* No listening socket: there are several, and the limits are ours. */
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
			MHD_USE_ERROR_LOG,
		0, NULL, NULL, request_access, &server->context, MHD_OPTION_EXTERNAL_LOGGER,
		on_daemon_log, NULL, MHD_OPTION_CONNECTION_LIMIT, limit,
		MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_LIMIT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		server, MHD_OPTION_NOTIFY_COMPLETED, request_completed, &server->context,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_END);
	if (server->daemon == NULL)
		return errbuf_set(err, -EIO, "cannot start libmicrohttpd: %s", strerror(errno));
	fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	if (uv_poll_init(server->config.loop, &server->daemon_poll, fd) < 0)
		return errbuf_set(err, -EIO, "cannot watch libmicrohttpd's descriptor");
	server->daemon_poll.data = server;
	server->open_handles++;
	uv_poll_start(&server->daemon_poll, UV_READABLE, on_daemon_event);
	return 0;
}

/* ---- new connections ---------------------------------------------------------------------------
 */

static void on_accept(uv_poll_t *poll, int status, int events);
static void on_tick(uv_timer_t *timer);

static void set_accepting(struct api_server *server, bool accepting)
{
	server->accepting = accepting;
	for (size_t i = 0; i < server->listener_count; i++) {
		if (accepting)
			uv_poll_start(&server->listeners[i].poll, UV_READABLE, on_accept);
		else
			uv_poll_stop(&server->listeners[i].poll);
	}
}

static void start_tick(struct api_server *server)
{
	if (!uv_is_active((uv_handle_t *)&server->tick))
		uv_timer_start(&server->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_tick(uv_timer_t *timer)
{
	struct api_server *server = timer->data;

	connections_sweep(&server->connections);
	/* Also libmicrohttpd's second chance, should it have passed over a connection. */
	drive(server);
	if (!server->accepting)
		set_accepting(server, true);
	else if (connections_total(&server->connections) == 0)
		uv_timer_stop(timer);
}

/* False when there is nobody to accept, or no descriptor to do it with. */
static bool accept_one(struct api_server *server, int listener)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int fd;

	fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		log_warn("The API cannot accept connections for a moment: %s", strerror(errno));
		set_accepting(server, false);
		start_tick(server);
	}
	if (fd < 0)
		return errno == ECONNABORTED || errno == EINTR;
	if (connections_make_room(&server->connections, (struct sockaddr *)&address))
		MHD_add_connection(server->daemon, fd, (struct sockaddr *)&address, length);
	else
		close(fd);
	return true;
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;
	struct api_server *server = listener->server;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		if (!accept_one(server, listener->fd))
			break;
	}
	if (connections_total(&server->connections) > 0)
		start_tick(server);
	drive(server);
}

/* ---- listening ---------------------------------------------------------------------------------
 */

static int add_listener(struct api_server *server, struct sockaddr_storage *address,
			struct errbuf *err)
{
	struct listener *listener = &server->listeners[server->listener_count];
	char text[LISTEN_TEXT_SIZE];
	size_t used = strlen(server->listening);
	int rc;

	rc = listen_open(address, &listener->fd, err);
	if (rc < 0)
		return rc;
	rc = uv_poll_init(server->config.loop, &listener->poll, listener->fd);
	if (rc < 0) {
		close(listener->fd);
		return errbuf_set(err, rc, "cannot watch a listening socket: %s", uv_strerror(rc));
	}
	listener->server = server;
	listener->poll.data = listener;
	server->open_handles++;
	server->listener_count++;

	/* sin_port and sin6_port are at the same place. */
	((struct sockaddr_in *)address)->sin_port = htons(listen_port(listener->fd));
	snprintf(server->listening + used, sizeof(server->listening) - used, "%s%s",
		 used > 0 ? ", " : "", listen_format(address, text));
	return 0;
}

static int listen_on_all(struct api_server *server, struct errbuf *err)
{
	struct sockaddr_storage address;
	size_t used;
	int rc;

	rc = listen_parse("0.0.0.0", server->config.port, &address, err);
	if (rc == 0)
		rc = add_listener(server, &address, err);
	if (rc < 0)
		return rc;
	rc = listen_parse("::", listen_port(server->listeners[0].fd), &address, err);
	if (rc == 0)
		rc = add_listener(server, &address, err);
	if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL) {
		used = strlen(server->listening);
		snprintf(server->listening + used, sizeof(server->listening) - used,
			 " (this machine has no IPv6)");
		rc = 0;
	}
	return rc;
}

static int listen_on_given(struct api_server *server, const struct api_config *config,
			   struct errbuf *err)
{
	struct sockaddr_storage address;
	int rc = 0;

	for (size_t i = 0; i < config->listen_count && rc == 0; i++) {
		rc = listen_parse(config->listen[i], config->port, &address, err);
		if (rc == 0)
			rc = add_listener(server, &address, err);
	}
	return rc;
}

/* ---- start and stop ----------------------------------------------------------------------------
 */

static uint64_t now_ms(void *arg)
{
	return uv_now(arg);
}

static void init_timer(struct api_server *server, uv_timer_t *timer)
{
	uv_timer_init(server->config.loop, timer);
	timer->data = server;
	server->open_handles++;
}

static struct api_server *server_new(const struct api_config *config)
{
	struct api_server *server = calloc(1, sizeof(*server));
	size_t listeners = config->listen_count > 0 ? config->listen_count : 2;

	if (server == NULL)
		return NULL;
	server->listeners = calloc(listeners, sizeof(*server->listeners));
	if (server->listeners == NULL) {
		free(server);
		return NULL;
	}
	server->config = *config;
	server->config.listen = NULL;
	server->connections = (struct connections){
		.now_ms = now_ms,
		.now_arg = config->loop,
		.max = config->connections_max ?: CONNECTIONS_MAX,
		.max_per_client = config->connections_max_per_client ?: CONNECTIONS_MAX_PER_CLIENT,
		.receive_limit_ms = config->receive_limit_ms ?: RECEIVE_LIMIT_MS,
		.send_limit_ms = config->send_limit_ms ?: SEND_LIMIT_MS,
	};
	server->context.config = &server->config;
	server->context.connections = &server->connections;
	server->context.resumed = on_resumed;
	init_timer(server, &server->daemon_timer);
	init_timer(server, &server->tick);
	init_timer(server, &server->stop_timer);
	return server;
}

int api_server_start(const struct api_config *config, struct api_server **ret, struct errbuf *err)
{
	struct api_server *server = server_new(config);
	int rc;

	if (server == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	rc = config->listen_count > 0 ? listen_on_given(server, config, err)
				      : listen_on_all(server, err);
	if (rc == 0)
		rc = start_daemon(server, err);
	if (rc < 0) {
		api_server_stop(server);
		return rc;
	}
	set_accepting(server, true);
	*ret = server;
	return 0;
}

const char *api_server_listening(const struct api_server *server)
{
	return server->listening;
}

static void on_stop_timer(uv_timer_t *timer)
{
	struct api_server *server = timer->data;

	server->stop_expired = true;
}

/* Turns the loop until every request has its answer, or time is up. */
static void finish_requests(struct api_server *server)
{
	const size_t *count = server->connections.count;

	connections_end_waiting(&server->connections);
	uv_timer_start(&server->stop_timer, on_stop_timer, STOP_LIMIT_MS, 0);
	while (count[CONNECTION_WORKING] + count[CONNECTION_SENDING] > 0 && !server->stop_expired)
		uv_run(server->config.loop, UV_RUN_ONCE);

	/* libmicrohttpd must not be stopped while a connection is suspended; two rounds: one
	 * resumes them, one sends the answers. */
	request_cancel_suspended(&server->context);
	MHD_run(server->daemon);
	MHD_run(server->daemon);
}

static void on_closed(uv_handle_t *handle)
{
	size_t *open_handles = handle->data;

	(*open_handles)--;
}

static void close_handle(struct api_server *server, uv_handle_t *handle)
{
	handle->data = &server->open_handles;
	uv_close(handle, on_closed);
}

void api_server_stop(struct api_server *server)
{
	if (server == NULL)
		return;
	for (size_t i = 0; i < server->listener_count; i++) {
		close_handle(server, (uv_handle_t *)&server->listeners[i].poll);
		close(server->listeners[i].fd);
	}
	server->listener_count = 0;
	if (server->daemon != NULL) {
		finish_requests(server);
		close_handle(server, (uv_handle_t *)&server->daemon_poll);
	}
	close_handle(server, (uv_handle_t *)&server->daemon_timer);
	close_handle(server, (uv_handle_t *)&server->tick);
	close_handle(server, (uv_handle_t *)&server->stop_timer);
	if (server->daemon != NULL)
		MHD_stop_daemon(server->daemon);
	while (server->open_handles > 0)
		uv_run(server->config.loop, UV_RUN_ONCE);
	free(server->listeners);
	free(server);
}
