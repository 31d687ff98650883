/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * decode: the body of a request (JSON, RFC 8259) to what core is asked for. Strict: what is not
 * understood completely is refused with a sentence that names the member, and nothing is guessed.
 *
 * Errors: -EBADMSG the body is not one JSON object that can be read (syntax, with line and column;
 * a repeated member; nested too deep), -EINVAL a member is unknown, has the wrong type or cannot
 * have this value (err.field names it), -ENOMEM. *ret is untouched on failure.
 *
 * Clients of the predecessor send members they do not set as "" (eip, uuid, type) or null
 * (backends): those count as not given.
 */
#ifndef SLB_API_DECODE_H
#define SLB_API_DECODE_H

#include "api/json_object.h"
#include "core/bgp_peers.h"
#include "core/core.h"

enum decode_purpose {
	DECODE_CREATE, /* members that a new object cannot do without are required */
	DECODE_UPDATE,
};

int decode_load_balancer(const char *body, size_t length, enum decode_purpose purpose,
			 struct load_balancer_request *ret, struct json_object_error *error);

int decode_backend(const char *body, size_t length, enum decode_purpose purpose,
		   struct backend_request *ret, struct json_object_error *error);

/* What is not given has its default. */
int decode_bgp_peer(const char *body, size_t length, struct bgp_peer_config *ret,
		    struct json_object_error *error);

#endif
