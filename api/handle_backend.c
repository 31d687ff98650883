/* SPDX-License-Identifier: GPL-2.0-only */
/* The routes of backends. */
#include <errno.h>
#include <stdio.h>

#include "api/decode.h"
#include "api/encode.h"
#include "api/handlers.h"
#include "api/request.h"

static void answer_backend(struct request *request, unsigned int status,
			   const struct load_balancer *lb, const struct backend *backend,
			   const char *location)
{
	struct text body = { 0 };

	encode_backend(&body, request_core(request), lb, backend);
	text_add(&body, "\n", 1);
	request_answer(request, status, &body, location);
}

/* core_done_cb */
static void created(void *arg, int status, const struct load_balancer *lb,
		    const struct backend *backend, const struct errbuf *err)
{
	char lb_uuid[UUID_STR_LEN], uuid[UUID_STR_LEN], location[128];
	struct request *request = arg;

	if (!request_called_back(request, status, err))
		return;
	uuid_unparse_lower(lb->uuid, lb_uuid);
	uuid_unparse_lower(backend->uuid, uuid);
	snprintf(location, sizeof(location), "/loadbalancer/%s/backend/%s", lb_uuid, uuid);
	answer_backend(request, 201, lb, backend, location);
	request_release(request);
}

void handle_backend_create(struct request *request)
{
	const struct text *body = request_body(request);
	struct backend_request wanted;
	struct json_object_error error;
	int rc;

	rc = decode_backend(body->data, body->length, DECODE_CREATE, &wanted, &error);
	if (rc < 0)
		request_fail(request, rc, &error.err);
	else
		core_create_backend(request_core(request), request_match(request)->uuid, &wanted,
				    created, request_hold(request));
}

/* core_done_cb */
static void updated(void *arg, int status, const struct load_balancer *lb,
		    const struct backend *backend, const struct errbuf *err)
{
	struct request *request = arg;

	if (!request_called_back(request, status, err))
		return;
	answer_backend(request, 200, lb, backend, NULL);
	request_release(request);
}

void handle_backend_update(struct request *request)
{
	const struct route_match *match = request_match(request);
	const struct text *body = request_body(request);
	struct backend_request wanted;
	struct json_object_error error;
	int rc;

	rc = decode_backend(body->data, body->length, DECODE_UPDATE, &wanted, &error);
	if (rc < 0)
		request_fail(request, rc, &error.err);
	else
		core_update_backend(request_core(request), match->uuid, match->backend, &wanted,
				    updated, request_hold(request));
}

/* core_done_cb */
static void deleted(void *arg, int status, const struct load_balancer *lb,
		    const struct backend *backend, const struct errbuf *err)
{
	struct request *request = arg;

	(void)lb;
	(void)backend;
	if (!request_called_back(request, status, err))
		return;
	request_answer_empty(request);
	request_release(request);
}

void handle_backend_delete(struct request *request)
{
	const struct route_match *match = request_match(request);

	core_delete_backend(request_core(request), match->uuid, match->backend, deleted,
			    request_hold(request));
}

void handle_backend_get(struct request *request)
{
	const struct route_match *match = request_match(request);
	const struct load_balancer *lb = core_find(request_core(request), match->uuid);
	const struct backend *backend = NULL;
	char text[UUID_STR_LEN];
	struct errbuf err;

	if (lb != NULL)
		backend = load_balancer_backend(lb, match->backend);
	if (backend != NULL) {
		answer_backend(request, 200, lb, backend, NULL);
		return;
	}
	uuid_unparse_lower(lb != NULL ? match->backend : match->uuid, text);
	errbuf_set(&err, -ENOENT, "there is no %s %s",
		   lb != NULL ? "such backend" : "load balancer", text);
	request_fail(request, -ENOENT, &err);
}
