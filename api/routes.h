/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * routes: which handler answers which method and path: one table, which openapi.yaml describes and
 * a test compares with it.
 *
 * Paths: one trailing slash is ignored, the query is ignored, percent-encoding is decoded within a
 * segment after the path was split at its slashes (so %2F never makes a segment). HEAD is GET,
 * and OPTIONS of any known path says what is allowed.
 */
#ifndef SLB_API_ROUTES_H
#define SLB_API_ROUTES_H

#include <uuid/uuid.h>

#include "lib/addr.h"
#include "lib/errbuf.h"

struct request;

/* Answers the request at once, or holds it until core has called back (see request.h). */
typedef void route_handler(struct request *request);

struct route {
	const char *method;
	const char *path; /* {uuid} and {backenduuid} stand for a UUID, {address} for an address */
	route_handler *handler;
};

/* Ends with a NULL method. */
extern const struct route api_routes[];

#define ROUTE_ALLOW_SIZE 64

struct route_match {
	route_handler *handler;
	uuid_t uuid;                  /* {uuid} */
	uuid_t backend;               /* {backenduuid} */
	struct addr address;          /* {address} */
	char allow[ROUTE_ALLOW_SIZE]; /* the path's methods, as the Allow header has them */
};

/* 0, -ENOENT no such path, -API_EMETHOD the path has other methods (ret->allow says which),
 * -API_EURILENGTH. A handler of NULL answers OPTIONS. */
int route_find(const char *method, const char *path, struct route_match *ret, struct errbuf *err);

#endif
