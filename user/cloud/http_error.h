/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http_error: what a failed attempt means, in an errno and in words. Called by http.c alone.
 */
#ifndef SLB_CLOUD_HTTP_ERROR_H
#define SLB_CLOUD_HTTP_ERROR_H

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/errbuf.h"

struct http_failure {
	int error;
	bool refused; /* the server surely did nothing */
	bool passing; /* another attempt may fare better */
};

/* An attempt without a whole answer. `sent`: some of the request went out. `detail` is libcurl's
 * error buffer, maybe empty. */
struct http_failure http_error_transport(CURLcode result, bool sent, const char *detail,
					 struct errbuf *err);

/* A whole answer of another code than 2xx; `body` need not be JSON. */
struct http_failure http_error_code(unsigned int code, const char *location, const char *body,
				    size_t body_bytes, struct errbuf *err);

/* A body that is not JSON where it should be. */
struct http_failure http_error_json(unsigned int code, const char *content_type,
				    const json_error_t *reason, struct errbuf *err);

/* Puts asterisks over the secret wherever the sentence contains it, or its beginning at the
 * sentence's end. NULL: nothing to do. */
void http_error_redact(struct errbuf *err, const char *secret);

#endif
