/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * listen: where the API can be reached: addresses as a person writes them, and sockets for them.
 */
#ifndef SLB_API_LISTEN_H
#define SLB_API_LISTEN_H

#include <stdint.h>
#include <sys/socket.h>

#include "lib/errbuf.h"

/* "[2001:db8:…%zone]:65535" */
#define LISTEN_TEXT_SIZE 96

/* Parses "ADDR", "ADDR:PORT", "V6ADDR", "[V6ADDR]" or "[V6ADDR]:PORT". 0 or -EINVAL. */
int listen_parse(const char *text, uint16_t default_port, struct sockaddr_storage *ret,
		 struct errbuf *err);

/* A listening, non-blocking socket for this address alone (IPV6_V6ONLY, SO_REUSEADDR), owned by the
 * caller. Errors as the kernel gives them, with advice. */
int listen_open(const struct sockaddr_storage *address, int *ret_fd, struct errbuf *err);

/* The port the socket really has, where 0 was asked for. Host order. */
uint16_t listen_port(int fd);

const char *listen_format(const struct sockaddr_storage *address,
			  char buf[static LISTEN_TEXT_SIZE]);

#endif
