/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/bgp/bgp_connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73 /* linux/in6.h, which does not go with netinet/in.h */
#endif

#define INPUT_SIZE     (16 * BGP_MESSAGE_SIZE_MAX)
#define LISTEN_BACKLOG 64
#define LINGER_MS      1000
#define TTL_MAX        255 /* rfc: 5082 §3 */

struct bgp_connection {
	uv_tcp_t tcp;
	uv_timer_t linger;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	struct bgp_connections *connections;
	const struct bgp_connection_ops *ops; /* NULL: closing, or without owner */
	void *arg;
	unsigned handles; /* that uv has not closed yet */
	bool connected;
	size_t filled;
	uint8_t input[INPUT_SIZE];
};

struct write_request {
	uv_write_t write;
	uint8_t data[];
};

/* ---- sockets -------------------------------------------------------------------------------- */

static socklen_t to_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr->family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		in6->sin6_addr = addr_to_in6(addr);
		return sizeof(*in6);
	}
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	in->sin_addr = addr_to_in(addr);
	return sizeof(*in);
}

static struct addr from_sockaddr(const struct sockaddr_storage *from)
{
	if (from->ss_family == AF_INET6)
		return addr_from_in6(&((const struct sockaddr_in6 *)from)->sin6_addr);
	if (from->ss_family == AF_INET)
		return addr_from_in(((const struct sockaddr_in *)from)->sin_addr);
	return (struct addr){ 0 };
}

int bgp_socket_set_password(int fd, const struct addr *peer, const char *password,
			    struct errbuf *err)
{
	struct tcp_md5sig key = { .tcpm_keylen = (uint16_t)strlen(password) };
	struct sockaddr_storage address;
	char text[ADDR_TEXT_SIZE];
	int error;

	to_sockaddr(peer, 0, &address);
	memcpy(&key.tcpm_addr, &address, sizeof(address));
	memcpy(key.tcpm_key, password, key.tcpm_keylen);
	error = setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof(key)) < 0 ? errno : 0;
	explicit_bzero(&key, sizeof(key));
	/* Removing a key that is not there. */
	if (error == 0 || (*password == '\0' && error == ENOENT))
		return 0;
	return errbuf_set(err, -error, "TCP-MD5 for peer %s cannot be set: %s%s",
			  addr_format(peer, text), strerror(error),
			  error == ENOPROTOOPT ? "; the kernel needs CONFIG_TCP_MD5SIG" : "");
}

static int set_option(int fd, int family, int option4, int option6, int value)
{
	if (family == AF_INET6)
		return setsockopt(fd, IPPROTO_IPV6, option6, &value, sizeof(value));
	return setsockopt(fd, IPPROTO_IP, option4, &value, sizeof(value));
}

/* How far packets may come and go. */
static int set_hops(int fd, const struct bgp_peer_config *peer, bool ibgp, struct errbuf *err)
{
	int family = peer->address.family, ttl = 0, least = 0;

	if (peer->ttl_security != 0) {
		/* rfc: 5082 §3: send with 255, take what has lost no more than the hops allowed. */
		ttl = TTL_MAX;
		least = TTL_MAX + 1 - peer->ttl_security;
	} else if (peer->multihop != 0) {
		ttl = peer->multihop;
	} else if (!ibgp) {
		ttl = 1;
	}
	if ((ttl != 0 && set_option(fd, family, IP_TTL, IPV6_UNICAST_HOPS, ttl) < 0) ||
	    (least != 0 && set_option(fd, family, IP_MINTTL, IPV6_MINHOPCOUNT, least) < 0))
		return errbuf_set(err, -errno, "the hop limit cannot be set: %s", strerror(errno));
	return 0;
}

/* What all sockets get: no address kept busy by an earlier connection, no delay, and the class
 * routing protocols have (rfc: 4271 appendix E). Failure of these costs nothing but comfort. */
static void set_common(int fd, int family)
{
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	set_option(fd, family, IP_TOS, IPV6_TCLASS, IPTOS_CLASS_CS6);
}

static int prepare_socket(const struct bgp_peer_config *peer, bool ibgp, int *ret,
			  struct errbuf *err)
{
	struct sockaddr_storage source;
	char text[ADDR_TEXT_SIZE];
	int result = 0, fd;

	fd = socket(peer->address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errbuf_set(err, -errno, "a socket cannot be opened: %s", strerror(errno));
	set_common(fd, peer->address.family);
	result = set_hops(fd, peer, ibgp, err);
	if (result == 0 && peer->password[0] != '\0')
		result = bgp_socket_set_password(fd, &peer->address, peer->password, err);
	if (result == 0 && peer->source.family != AF_UNSPEC &&
	    bind(fd, (struct sockaddr *)&source, to_sockaddr(&peer->source, 0, &source)) < 0)
		result = errbuf_set(err, -errno, "source address %s cannot be used: %s",
				    addr_format(&peer->source, text), strerror(errno));
	if (result < 0)
		close(fd);
	else
		*ret = fd;
	return result;
}

int bgp_listening_socket(int family, uint16_t port, struct errbuf *err)
{
	struct addr any = { .family = (uint16_t)family };
	struct sockaddr_storage address;
	socklen_t length = to_sockaddr(&any, port, &address);
	int one = 1, fd, error;

	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errbuf_set(err, -errno, "a socket cannot be opened: %s", strerror(errno));
	set_common(fd, family);
	/* Answers to a SYN leave before the peer is known; with 255 they satisfy GTSM too. */
	set_option(fd, family, IP_TTL, IPV6_UNICAST_HOPS, TTL_MAX);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	return errbuf_set(err, -error, "cannot listen on %s port %u for BGP: %s%s",
			  family == AF_INET6 ? "IPv6" : "IPv4", port, strerror(error),
			  error == EADDRINUSE ? "; is another BGP daemon running on this node? "
						"set another port with --bgp-listen-port"
			  : error == EACCES   ? "; run slb as root"
					      : "");
}

/* ---- life ----------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct bgp_connection *connection = handle->data;
	struct bgp_connections *connections = connection->connections;

	if (--connection->handles > 0)
		return;
	free(connection);
	if (--connections->live == 0 && connections->gone != NULL)
		connections->gone(connections->arg);
}

static void close_handles(struct bgp_connection *connection)
{
	connection->ops = NULL;
	if (!uv_is_closing((uv_handle_t *)&connection->tcp))
		uv_close((uv_handle_t *)&connection->tcp, on_handle_closed);
	if (!uv_is_closing((uv_handle_t *)&connection->linger))
		uv_close((uv_handle_t *)&connection->linger, on_handle_closed);
}

static struct bgp_connection *new_connection(uv_loop_t *loop, struct bgp_connections *connections)
{
	struct bgp_connection *connection = calloc(1, sizeof(*connection));

	if (connection == NULL)
		return NULL;
	/* Neither can fail without flags. */
	uv_tcp_init(loop, &connection->tcp);
	uv_timer_init(loop, &connection->linger);
	connection->tcp.data = connection;
	connection->linger.data = connection;
	connection->handles = 2;
	connection->connections = connections;
	connections->live++;
	return connection;
}

/* ---- reading -------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct bgp_connection *connection = handle->data;

	(void)suggested;
	*ret = uv_buf_init((char *)connection->input + connection->filled,
			   (unsigned)(sizeof(connection->input) - connection->filled));
}

/* Hands out whole messages; what is left, less than one, moves to the front. */
static void take_messages(struct bgp_connection *connection)
{
	size_t at = 0;

	while (connection->ops != NULL) {
		struct bgp_message message;
		struct bgp_error error;
		int size = bgp_message_split(connection->input + at, connection->filled - at,
					     &message, &error);

		if (size < 0)
			connection->ops->garbage(connection->arg, &error);
		else if (size > 0)
			connection->ops->message(connection->arg, &message);
		if (size <= 0)
			break;
		at += (size_t)size;
	}
	if (connection->ops == NULL) {
		connection->filled = 0; /* closed from within */
		return;
	}
	memmove(connection->input, connection->input + at, connection->filled - at);
	connection->filled -= at;
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
	struct bgp_connection *connection = stream->data;

	(void)buf;
	if (length == 0)
		return;
	if (connection->ops == NULL) {
		/* Lingering: what still comes is not wanted; the peer's end is the end. */
		if (length < 0)
			close_handles(connection);
		return;
	}
	if (length < 0) {
		const char *reason = length == UV_EOF ? "the peer closed the connection"
						      : uv_strerror((int)length);

		uv_read_stop(stream);
		connection->ops->failed(connection->arg, reason);
		return;
	}
	connection->filled += (size_t)length;
	take_messages(connection);
}

/* ---- connecting and accepting --------------------------------------------------------------- */

static void on_connected(uv_connect_t *request, int status)
{
	struct bgp_connection *connection = request->data;

	if (connection->ops == NULL)
		return;
	if (status == 0)
		status = uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
	if (status < 0) {
		connection->ops->failed(connection->arg, uv_strerror(status));
		return;
	}
	connection->connected = true;
	connection->ops->connected(connection->arg);
}

int bgp_connection_connect(uv_loop_t *loop, struct bgp_connections *connections,
			   const struct bgp_peer_config *peer, bool ibgp,
			   const struct bgp_connection_ops *ops, void *arg,
			   struct bgp_connection **ret, struct errbuf *err)
{
	struct bgp_connection *connection;
	struct sockaddr_storage address;
	int fd = -1, result;

	result = prepare_socket(peer, ibgp, &fd, err);
	if (result < 0)
		return result;
	connection = new_connection(loop, connections);
	if (connection == NULL) {
		close(fd);
		return errbuf_set(err, -ENOMEM, "memory is short");
	}
	connection->connect.data = connection;
	to_sockaddr(&peer->address, peer->port, &address);
	result = uv_tcp_open(&connection->tcp, fd);
	if (result < 0)
		close(fd);
	else
		result = uv_tcp_connect(&connection->connect, &connection->tcp,
					(struct sockaddr *)&address, on_connected);
	if (result < 0) {
		close_handles(connection);
		return errbuf_set(err, result, "%s", uv_strerror(result));
	}
	connection->ops = ops;
	connection->arg = arg;
	*ret = connection;
	return 0;
}

int bgp_connection_accept(uv_loop_t *loop, struct bgp_connections *connections, uv_stream_t *server,
			  struct bgp_connection **ret, struct errbuf *err)
{
	struct bgp_connection *connection = new_connection(loop, connections);
	int result;

	if (connection == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	result = uv_accept(server, (uv_stream_t *)&connection->tcp);
	if (result < 0) {
		close_handles(connection);
		return errbuf_set(err, result, "%s", uv_strerror(result));
	}
	connection->connected = true;
	*ret = connection;
	return 0;
}

int bgp_connection_adopt(struct bgp_connection *connection, const struct bgp_peer_config *peer,
			 bool ibgp, const struct bgp_connection_ops *ops, void *arg,
			 struct errbuf *err)
{
	uv_os_fd_t fd;
	int result = uv_fileno((uv_handle_t *)&connection->tcp, &fd);

	if (result == 0)
		result = uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
	if (result < 0)
		return errbuf_set(err, result, "%s", uv_strerror(result));
	set_common(fd, peer->address.family);
	result = set_hops(fd, peer, ibgp, err);
	if (result < 0)
		return result;
	connection->ops = ops;
	connection->arg = arg;
	return 0;
}

/* ---- writing and the end -------------------------------------------------------------------- */

static void on_written(uv_write_t *request, int status)
{
	struct write_request *write = (struct write_request *)request;
	struct bgp_connection *connection = request->data;

	free(write);
	if (connection->ops == NULL)
		return;
	if (status < 0)
		connection->ops->failed(connection->arg, uv_strerror(status));
	else if (bgp_connection_queued_bytes(connection) == 0)
		connection->ops->drained(connection->arg);
	else
		connection->ops->progressed(connection->arg);
}

void bgp_connection_send(struct bgp_connection *connection, const uint8_t *data, size_t length)
{
	struct write_request *write = malloc(sizeof(*write) + length);
	uv_buf_t buf;

	/* Without memory a message would be missing from the stream: the stream ends instead, and
	 * the reader hears of it. */
	if (write == NULL) {
		uv_os_fd_t fd;

		if (uv_fileno((uv_handle_t *)&connection->tcp, &fd) == 0)
			shutdown(fd, SHUT_RDWR);
		return;
	}
	memcpy(write->data, data, length);
	write->write.data = connection;
	buf = uv_buf_init((char *)write->data, (unsigned)length);
	if (uv_write(&write->write, (uv_stream_t *)&connection->tcp, &buf, 1, on_written) < 0)
		free(write); /* not connected any more: the reader hears of it */
}

size_t bgp_connection_queued_bytes(const struct bgp_connection *connection)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&connection->tcp);
}

static void on_linger_over(uv_timer_t *timer)
{
	close_handles(timer->data);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	struct bgp_connection *connection = request->data;

	/* The peer's own end is awaited, by on_read(). */
	if (status < 0)
		close_handles(connection);
}

void bgp_connection_close(struct bgp_connection *connection, bool silent)
{
	if (connection == NULL)
		return;
	connection->ops = NULL;
	connection->shutdown.data = connection;
	if (silent || !connection->connected ||
	    uv_shutdown(&connection->shutdown, (uv_stream_t *)&connection->tcp, on_shutdown) < 0) {
		close_handles(connection);
		return;
	}
	uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
	connection->filled = 0;
	uv_timer_start(&connection->linger, on_linger_over, LINGER_MS, 0);
}

struct addr bgp_connection_local(const struct bgp_connection *connection)
{
	struct sockaddr_storage address = { 0 };
	int length = sizeof(address);

	uv_tcp_getsockname(&connection->tcp, (struct sockaddr *)&address, &length);
	return from_sockaddr(&address);
}

struct addr bgp_connection_remote(const struct bgp_connection *connection)
{
	struct sockaddr_storage address = { 0 };
	int length = sizeof(address);

	uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&address, &length);
	return from_sockaddr(&address);
}
