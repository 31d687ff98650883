/* SPDX-License-Identifier: GPL-2.0-only */
/* The routes of load balancers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/decode.h"
#include "api/encode.h"
#include "api/handlers.h"
#include "api/request.h"

static void answer_load_balancer(struct request *request, unsigned int status,
				 const struct load_balancer *lb, const char *location)
{
	struct text body = { 0 };

	encode_load_balancer(&body, request_core(request), lb);
	text_add(&body, "\n", 1);
	request_answer(request, status, &body, location);
}

/* core_done_cb */
static void created(void *arg, int status, const struct load_balancer *lb,
		    const struct backend *backend, const struct errbuf *err)
{
	char uuid[UUID_STR_LEN], location[sizeof("/loadbalancer/") + UUID_STR_LEN];
	struct request *request = arg;

	(void)backend;
	if (!request_called_back(request, status, err))
		return;
	uuid_unparse_lower(lb->uuid, uuid);
	snprintf(location, sizeof(location), "/loadbalancer/%s", uuid);
	answer_load_balancer(request, 201, lb, location);
	request_release(request);
}

void handle_load_balancer_create(struct request *request)
{
	const struct text *body = request_body(request);
	struct load_balancer_request wanted;
	struct json_object_error error;
	int rc;

	rc = decode_load_balancer(body->data, body->length, DECODE_CREATE, &wanted, &error);
	if (rc < 0)
		request_fail(request, rc, &error.err);
	else
		core_create_load_balancer(request_core(request), &wanted, created,
					  request_hold(request));
}

/* core_done_cb */
static void updated(void *arg, int status, const struct load_balancer *lb,
		    const struct backend *backend, const struct errbuf *err)
{
	struct request *request = arg;

	(void)backend;
	if (!request_called_back(request, status, err))
		return;
	answer_load_balancer(request, 200, lb, NULL);
	request_release(request);
}

void handle_load_balancer_update(struct request *request)
{
	const struct text *body = request_body(request);
	struct load_balancer_request wanted;
	struct json_object_error error;
	int rc;

	rc = decode_load_balancer(body->data, body->length, DECODE_UPDATE, &wanted, &error);
	if (rc < 0)
		request_fail(request, rc, &error.err);
	else
		core_update_load_balancer(request_core(request), request_match(request)->uuid,
					  &wanted, updated, request_hold(request));
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

void handle_load_balancer_delete(struct request *request)
{
	core_delete_load_balancer(request_core(request), request_match(request)->uuid, deleted,
				  request_hold(request));
}

void handle_load_balancer_get(struct request *request)
{
	const unsigned char *uuid = request_match(request)->uuid;
	const struct load_balancer *lb = core_find(request_core(request), uuid);
	char text[UUID_STR_LEN];
	struct errbuf err;

	if (lb != NULL) {
		answer_load_balancer(request, 200, lb, NULL);
		return;
	}
	uuid_unparse_lower(uuid, text);
	errbuf_set(&err, -ENOENT, "there is no load balancer %s", text);
	request_fail(request, -ENOENT, &err);
}

/* ---- the list ----------------------------------------------------------------------------------
 */

struct list {
	struct core *core;
	uint64_t after; /* created_order of the last one sent */
};

/* One load balancer at a time, so that changes in between are harmless. */
static bool list_fill(void *stream, struct text *text)
{
	struct list *list = stream;
	const struct load_balancer *lb = core_next(list->core, list->after);
	bool is_first = list->after == 0;

	if (lb == NULL) {
		text_print(text, is_first ? "[]\n" : "]\n");
		return false;
	}
	text_add(text, is_first ? "[" : ",", 1);
	encode_load_balancer(text, list->core, lb);
	list->after = lb->created_order;
	return true;
}

static const struct stream_ops list_ops = { "application/json", list_fill, free };

void handle_load_balancer_list(struct request *request)
{
	struct list *list = malloc(sizeof(*list));
	struct errbuf err;

	if (list == NULL) {
		errbuf_set(&err, -ENOMEM, "memory is short; try again later");
		request_fail(request, -ENOMEM, &err);
		return;
	}
	*list = (struct list){ .core = request_core(request) };
	request_answer_stream(request, &list_ops, list);
}
