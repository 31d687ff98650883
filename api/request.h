/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * request: one request from its headers to the end of its answer, on libmicrohttpd's terms, so that
 * handlers need not know them.
 *
 *   headers ─► READING ─► WORKING ─► ANSWERED ─► queued, sent
 *                            └─► SUSPENDED ─┘      (core calls back later)
 *
 * Whatever is wrong is answered after the body has been read and thrown away, so that the
 * connection can go on; only a request whose end cannot be trusted or is too far away is answered
 * at once and its connection closed.
 *
 * invariant: exactly one answer per request. A client that goes away does not stop a change: core's
 * callback finds the request gone and only drops it. Two hold a request: libmicrohttpd until it has
 * completed, and core while it owes a callback.
 *
 * All on the loop's thread.
 */
#ifndef SLB_API_REQUEST_H
#define SLB_API_REQUEST_H

#include <microhttpd.h>

#include "api/connections.h"
#include "api/routes.h"
#include "api/server.h"
#include "api/text.h"

/* What requests share. Owned by the server. */
struct request_context {
	const struct api_config *config;
	struct connections *connections;
	struct request *suspended; /* utlist */
	/* A suspended connection was resumed: libmicrohttpd must be run soon (nothing else tells it
	 * when it has no thread of its own). */
	void (*resumed)(struct request_context *context);
};

struct request;

/* ---- for libmicrohttpd -------------------------------------------------------------------------
 */

/* MHD_AccessHandlerCallback and MHD_RequestCompletedCallback; cls is the struct request_context. */
enum MHD_Result request_access(void *cls, struct MHD_Connection *connection, const char *url,
			       const char *method, const char *version, const char *upload_data,
			       size_t *upload_data_size, void **con_cls);
void request_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
		       enum MHD_RequestTerminationCode code);

/* Answers every suspended request with -ECANCELED; what core is doing for them goes on. */
void request_cancel_suspended(struct request_context *context);

/* ---- for handlers ------------------------------------------------------------------------------
 */

const struct api_config *request_config(const struct request *request);
struct core *request_core(const struct request *request);
const struct route_match *request_match(const struct request *request);
const struct text *request_body(const struct request *request);

/* Before calling core: the request lives until request_called_back(). Returns the request. */
struct request *request_hold(struct request *request);

/* First thing in core's callback, with its arg and status. True when there is success to be
 * answered: the handler answers and then calls request_release(). False when the failure has been
 * answered or nobody waits any more: the handler returns. */
bool request_called_back(struct request *request, int status, const struct errbuf *err);
void request_release(struct request *request);

/* The one answer. `body` is taken and left empty. location may be NULL. */
void request_answer(struct request *request, unsigned int status, struct text *body,
		    const char *location);
void request_answer_empty(struct request *request); /* 204 */
void request_fail(struct request *request, int error, const struct errbuf *err);

/* A body that is made while it is sent. `fill` adds the next piece to `text` (empty when called)
 * and returns false after the last one; `release` frees `stream` in any case, at once when memory
 * is short. The piece may be of any size, but all of it is kept in memory. */
struct stream_ops {
	const char *content_type;
	bool (*fill)(void *stream, struct text *text);
	void (*release)(void *stream);
};
void request_answer_stream(struct request *request, const struct stream_ops *ops, void *stream);

#endif
