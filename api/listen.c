/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/listen.h"

#include <errno.h>
#include <stdbool.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

static int parse_failed(const char *text, struct errbuf *err)
{
	return errbuf_set(
		err, -EINVAL,
		"\"%.100s\" is no address to listen on; write 192.0.2.1, 192.0.2.1:10001, "
		"2001:db8::1 or [2001:db8::1]:10001",
		text);
}

/* Splits at the port, if there is one; false when the text has neither form. */
static bool split(const char *text, char *host, size_t host_size, const char **ret_port)
{
	const char *start = text, *end, *colon = strchr(text, ':');

	*ret_port = NULL;
	if (*text == '[') {
		start = text + 1;
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		if (end[1] == ':')
			*ret_port = end + 2;
	} else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
		end = colon;
		*ret_port = colon + 1;
	} else {
		end = text + strlen(text);
	}
	if ((size_t)(end - start) >= host_size)
		return false;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	return true;
}

int listen_parse(const char *text, uint16_t default_port, struct sockaddr_storage *ret,
		 struct errbuf *err)
{
	struct sockaddr_storage address = { 0 };
	char host[LISTEN_TEXT_SIZE];
	const char *port_text;
	long port = default_port;
	int rc;

	if (!split(text, host, sizeof(host), &port_text))
		return parse_failed(text, err);
	if (port_text != NULL) {
		if (*port_text == '\0' || strlen(port_text) > 5 ||
		    strspn(port_text, "0123456789") != strlen(port_text))
			return parse_failed(text, err);
		port = strtol(port_text, NULL, 10);
		if (port > UINT16_MAX)
			return parse_failed(text, err);
	}
	if (strchr(host, ':') != NULL)
		rc = uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)&address);
	else if (*text != '[')
		rc = uv_ip4_addr(host, (int)port, (struct sockaddr_in *)&address);
	else
		rc = -EINVAL;
	if (rc < 0)
		return parse_failed(text, err);
	*ret = address;
	return 0;
}

static int open_failed(int error, const struct sockaddr_storage *address, struct errbuf *err)
{
	const char *advice = "";
	char where[LISTEN_TEXT_SIZE];

	if (error == EADDRINUSE)
		advice = "; is another slb running here? Choose another port with --port, or "
			 "address "
			 "with --api-listen";
	else if (error == EADDRNOTAVAIL)
		advice = "; it is not an address of this machine (see `ip address`)";
	else if (error == EACCES)
		advice = "; ports below 1024 need root";
	return errbuf_set(err, -error, "cannot listen on %s: %s%s", listen_format(address, where),
			  strerror(error), advice);
}

int listen_open(const struct sockaddr_storage *address, int *ret_fd, struct errbuf *err)
{
	socklen_t length = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
							  : sizeof(struct sockaddr_in);
	int on = 1, error, fd;

	fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return open_failed(errno, address, err);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (address->ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (const struct sockaddr *)address, length) < 0 || listen(fd, SOMAXCONN) < 0) {
		error = errno;
		close(fd);
		return open_failed(error, address, err);
	}
	*ret_fd = fd;
	return 0;
}

uint16_t listen_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return 0;
	/* sin_port and sin6_port are at the same place. */
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

const char *listen_format(const struct sockaddr_storage *address, char buf[static LISTEN_TEXT_SIZE])
{
	char host[64] = "";
	uint16_t port;

	if (address->ss_family == AF_INET6) {
		port = ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
		uv_ip6_name((const struct sockaddr_in6 *)address, host, sizeof(host));
		snprintf(buf, LISTEN_TEXT_SIZE, "[%s]:%u", host, port);
	} else {
		port = ntohs(((const struct sockaddr_in *)address)->sin_port);
		uv_ip4_name((const struct sockaddr_in *)address, host, sizeof(host));
		snprintf(buf, LISTEN_TEXT_SIZE, "%s:%u", host, port);
	}
	return buf;
}
