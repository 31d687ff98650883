/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http: requests to a JSON API, on the loop, with limits on everything: connecting, one attempt,
 * all attempts, the size of an answer. Callers: the cloud address sources.
 *
 * Tried again, with growing pauses, until the deadline: an answer of 429 (RFC 6585 4; after
 * Retry-After where it is given, RFC 9110 10.2.3), a connection that could not be made; and, for
 * requests that may be repeated, whatever else may pass (5xx, time-outs, broken answers).
 *
 * invariant: the secret goes to the host of the URL only: redirects are not followed, and no error
 * contains it, not even when the server's own words do.
 * invariant: a failed answer says whether the server may have acted all the same (`uncertain`).
 */
#ifndef SLB_CLOUD_HTTP_H
#define SLB_CLOUD_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/errbuf.h"

struct http;

struct http_config {
	uv_loop_t *loop;     /* borrowed */
	const char *ca_file; /* PEM file of the authorities trusted; NULL: the system's */
	/* 0 stands for the default. */
	uint64_t connect_timeout_ms; /* TCP and TLS: 5,000 */
	uint64_t attempt_timeout_ms; /* from sending to the last byte of the answer: 15,000 */
	uint64_t backoff_ms;         /* the first pause, doubled each time: 250 */
	uint64_t backoff_max_ms;     /* 5,000 */
	size_t answer_max_bytes;     /* 16 MiB */
};

enum http_repeat {
	HTTP_REPEAT_REFUSED, /* only when the server surely did nothing */
	HTTP_REPEAT_ANY,     /* doing it twice is as doing it once */
};

struct http_request {
	const char *method; /* "GET", "POST", "DELETE" */
	const char *url;    /* http or https */
	const char *secret_header;
	const char *secret;   /* sent as `secret_header: secret`; NULL: none */
	const json_t *body;   /* NULL: none */
	uint64_t deadline_ms; /* of all attempts, from now */
	enum http_repeat repeat;
};

/* Everything is borrowed for the call. */
struct http_answer {
	/* 0: 2xx. Negative errno otherwise, with the sentence in err:
	 *   -EINVAL   4xx that none of the following is   -ENOENT    404, 410
	 *   -EACCES   401, 403                            -EBUSY     429 until the deadline
	 *   -EIO      5xx, a redirect, no connection      -ETIMEDOUT no answer in time
	 *   -EPROTO   not JSON, cut off, too large, TLS   -ENOMEM, -ECANCELED (http_close) */
	int status;
	unsigned int code;  /* HTTP's, or 0 when there was no answer */
	const json_t *json; /* NULL when the body is empty, or status is not 0 */
	bool uncertain;     /* failed, and it may have been done nevertheless */
	const struct errbuf *err;
};

typedef void http_done_cb(void *arg, const struct http_answer *answer);

/* `config` and its strings are copied. */
int http_open(const struct http_config *config, struct http **ret, struct errbuf *err);

/* Requests under way are answered -ECANCELED, and so are those begun in these callbacks. Never from
 * inside a callback of a request. The loop must turn until it has nothing left. Accepts NULL. */
void http_close(struct http *http);

/* The request is copied. `done` is called once; before this returns only when memory is short. */
void http_begin(struct http *http, const struct http_request *request, http_done_cb *done,
		void *arg);

#endif
