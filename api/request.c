/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "api/errors.h"
#include "api/framing.h"
#include "api/origin.h"

#define BODY_MAX_BYTES (64u << 10)
/* A body that is refused is still read up to here, so that the client sees the answer and not a
 * reset connection. */
#define DISCARD_MAX_BYTES (16u << 20)
/* Room for one piece of a streamed answer in libmicrohttpd. */
#define STREAM_BLOCK_BYTES (32u << 10)

enum request_state { REQUEST_READING, REQUEST_WORKING, REQUEST_SUSPENDED, REQUEST_ANSWERED };

struct request {
	struct request_context *context;   /* NULL once libmicrohttpd has completed it */
	struct MHD_Connection *connection; /* likewise */
	struct connection *peer;           /* likewise */
	unsigned int holders;
	enum request_state state;
	struct route_match match;
	struct text body;
	size_t received_bytes;
	unsigned int status;
	struct MHD_Response *response; /* NULL in REQUEST_ANSWERED: memory was short */
	struct request *prev, *next;   /* among the suspended */
};

/* ---- answers -----------------------------------------------------------------------------------
 */

static void drop(struct request *request)
{
	if (--request->holders > 0)
		return;
	if (request->response != NULL)
		MHD_destroy_response(request->response);
	text_free(&request->body);
	free(request);
}

/* Takes the response (NULL when memory was short: the connection is closed without an answer). */
static void set_answer(struct request *request, unsigned int status, struct MHD_Response *response)
{
	assert(request->state != REQUEST_ANSWERED);
	if (response != NULL && request->match.allow[0] != '\0' && (status == 405 || status == 204))
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, request->match.allow);
	if (response != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	request->status = status;
	request->response = response;
	if (request->state == REQUEST_SUSPENDED) {
		DL_DELETE(request->context->suspended, request);
		MHD_resume_connection(request->connection);
		request->context->resumed(request->context);
	}
	request->state = REQUEST_ANSWERED;
}

void request_answer(struct request *request, unsigned int status, struct text *body,
		    const char *location)
{
	struct MHD_Response *response = NULL;

	if (!body->failed)
		response = MHD_create_response_from_buffer(body->length, body->data,
							   MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		free(body->data);
	*body = (struct text){ 0 };
	if (response != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	if (response != NULL && location != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, location);
	set_answer(request, status, response);
}

void request_answer_empty(struct request *request)
{
	set_answer(request, MHD_HTTP_NO_CONTENT,
		   MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

void request_fail(struct request *request, int error, const struct errbuf *err)
{
	struct text body = { 0 };

	api_error_write(&body, error, err);
	request_answer(request, api_error_status(error), &body, NULL);
}

/* ---- streamed answers --------------------------------------------------------------------------
 */

struct stream_reader {
	const struct stream_ops *ops;
	void *stream; /* owned */
	struct text piece;
	size_t sent_bytes; /* of piece */
	bool ended;
};

/* MHD_ContentReaderCallback */
static ssize_t stream_read(void *cls, uint64_t position, char *buffer, size_t size)
{
	struct stream_reader *reader = cls;
	size_t used = 0;

	(void)position;
	while (used < size) {
		size_t rest = reader->piece.length - reader->sent_bytes;
		size_t part = rest < size - used ? rest : size - used;

		if (part > 0) {
			memcpy(buffer + used, reader->piece.data + reader->sent_bytes, part);
			reader->sent_bytes += part;
			used += part;
			continue;
		}
		if (reader->ended)
			break;
		text_clear(&reader->piece);
		reader->sent_bytes = 0;
		reader->ended = !reader->ops->fill(reader->stream, &reader->piece);
		if (reader->piece.failed)
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	return used > 0 ? (ssize_t)used : MHD_CONTENT_READER_END_OF_STREAM;
}

static void stream_free(void *cls)
{
	struct stream_reader *reader = cls;

	reader->ops->release(reader->stream);
	text_free(&reader->piece);
	free(reader);
}

void request_answer_stream(struct request *request, const struct stream_ops *ops, void *stream)
{
	struct stream_reader *reader = calloc(1, sizeof(*reader));
	struct MHD_Response *response = NULL;

	if (reader != NULL) {
		*reader = (struct stream_reader){ .ops = ops, .stream = stream };
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
							     stream_read, reader, stream_free);
	}
	if (response != NULL) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, ops->content_type);
	} else {
		ops->release(stream);
		free(reader);
	}
	set_answer(request, MHD_HTTP_OK, response);
}

/* ---- for handlers ------------------------------------------------------------------------------
 */

const struct api_config *request_config(const struct request *request)
{
	return request->context->config;
}

struct core *request_core(const struct request *request)
{
	return request->context->config->core;
}

const struct route_match *request_match(const struct request *request)
{
	return &request->match;
}

const struct text *request_body(const struct request *request)
{
	return &request->body;
}

struct request *request_hold(struct request *request)
{
	request->holders++;
	return request;
}

void request_release(struct request *request)
{
	drop(request);
}

bool request_called_back(struct request *request, int status, const struct errbuf *err)
{
	bool waited_for = request->context != NULL && request->state != REQUEST_ANSWERED;

	if (waited_for && status == 0)
		return true;
	if (waited_for)
		request_fail(request, status, err);
	drop(request);
	return false;
}

void request_cancel_suspended(struct request_context *context)
{
	struct errbuf err;
	struct request *request, *next;

	errbuf_set(&err, -ECANCELED, "slb is stopping; whether the change was made is not known");
	DL_FOREACH_SAFE (context->suspended, request, next)
		request_fail(request, -ECANCELED, &err);
}

/* ---- libmicrohttpd's callbacks -----------------------------------------------------------------
 */

static enum MHD_Result queue_answer(struct request *request)
{
	if (request->response == NULL)
		return MHD_NO;
	connection_set_phase(request->context->connections, request->peer, CONNECTION_SENDING);
	return MHD_queue_response(request->connection, request->status, request->response);
}

/* For requests whose body is not to be read: libmicrohttpd closes the connection after an answer
 * that is queued before the body. The header tells the client. */
static enum MHD_Result queue_last_answer(struct request *request)
{
	if (request->response != NULL)
		MHD_add_response_header(request->response, MHD_HTTP_HEADER_CONNECTION, "close");
	return queue_answer(request);
}

static struct request *request_new(struct request_context *context,
				   struct MHD_Connection *connection)
{
	struct request *request = calloc(1, sizeof(*request));

	if (request == NULL)
		return NULL;
	request->context = context;
	request->connection = connection;
	request->peer = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
				->socket_context;
	request->holders = 1;
	return request;
}

static void fail_too_large(struct request *request)
{
	struct errbuf err;

	errbuf_set(&err, -API_ETOOLARGE, "the body is larger than %u bytes", BODY_MAX_BYTES);
	request_fail(request, -API_ETOOLARGE, &err);
}

/* The headers are there, the body is not. */
static enum MHD_Result request_begin(struct request_context *context,
				     struct MHD_Connection *connection, const char *url,
				     const char *method, const char *version, void **con_cls)
{
	struct request *request = request_new(context, connection);
	struct framing framing;
	struct errbuf err;
	int rc;

	if (request == NULL)
		return MHD_NO;
	*con_cls = request;
	rc = framing_check(connection, version, &framing, &err);
	if (rc < 0) {
		request_fail(request, rc, &err);
		return queue_last_answer(request);
	}
	rc = origin_check(connection, method, &err);
	if (rc == 0)
		rc = route_find(method, url, &request->match, &err);
	if (rc < 0)
		request_fail(request, rc, &err);
	else if (framing.body_bytes > BODY_MAX_BYTES)
		fail_too_large(request);
	if (request->state == REQUEST_ANSWERED &&
	    (framing.expects_continue || framing.body_bytes > DISCARD_MAX_BYTES))
		return queue_last_answer(request);
	return MHD_YES;
}

/* A piece of the body. */
static enum MHD_Result request_receive(struct request *request, const char *data, size_t *size)
{
	request->received_bytes += *size;
	if (request->state == REQUEST_READING && request->received_bytes > BODY_MAX_BYTES)
		fail_too_large(request);
	else if (request->state == REQUEST_READING)
		text_add(&request->body, data, *size);
	*size = 0;
	return request->received_bytes > DISCARD_MAX_BYTES ? MHD_NO : MHD_YES;
}

static void request_dispatch(struct request *request)
{
	struct errbuf err;

	request->state = REQUEST_WORKING;
	connection_set_phase(request->context->connections, request->peer, CONNECTION_WORKING);
	if (request->body.failed) {
		errbuf_set(&err, -ENOMEM, "memory is short; try again later");
		request_fail(request, -ENOMEM, &err);
	} else if (request->match.handler == NULL) {
		request_answer_empty(request);
	} else {
		request->match.handler(request);
	}
}

enum MHD_Result request_access(void *cls, struct MHD_Connection *connection, const char *url,
			       const char *method, const char *version, const char *upload_data,
			       size_t *upload_data_size, void **con_cls)
{
	struct request *request = *con_cls;

	if (request == NULL)
		return request_begin(cls, connection, url, method, version, con_cls);
	if (*upload_data_size > 0)
		return request_receive(request, upload_data, upload_data_size);
	if (request->state == REQUEST_READING)
		request_dispatch(request);
	if (request->state == REQUEST_ANSWERED)
		return queue_answer(request);
	if (request->state == REQUEST_WORKING) {
		request->state = REQUEST_SUSPENDED;
		DL_APPEND(request->context->suspended, request);
		MHD_suspend_connection(connection);
	}
	return MHD_YES;
}

void request_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
		       enum MHD_RequestTerminationCode code)
{
	struct request_context *context = cls;
	struct request *request = *con_cls;

	(void)connection;
	(void)code;
	if (request == NULL)
		return;
	*con_cls = NULL;
	connection_set_phase(context->connections, request->peer, CONNECTION_WAITING);
	request->context = NULL;
	request->connection = NULL;
	request->peer = NULL;
	drop(request);
}
