/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * framing: is it beyond doubt where this request ends? libmicrohttpd (0.9.75) lets pass what
 * proxies in front of it may read differently (RFC 9112, 11.2, request smuggling): repeated
 * Content-Length and Host headers, Transfer-Encoding beside Content-Length or other than chunked,
 * white space between a header's name and its colon. Such requests are refused and their connection
 * closed.
 */
#ifndef SLB_API_FRAMING_H
#define SLB_API_FRAMING_H

#include <stdbool.h>
#include <stdint.h>

#include <microhttpd.h>

#include "lib/errbuf.h"

struct framing {
	uint64_t body_bytes; /* as announced; 0 when chunked or none */
	bool expects_continue;
};

/* 0 or -EBADMSG. */
int framing_check(struct MHD_Connection *connection, const char *version, struct framing *ret,
		  struct errbuf *err);

#endif
