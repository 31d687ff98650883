/* SPDX-License-Identifier: GPL-2.0-only */
/* The routes that tell about the node itself. */
#include "api/encode.h"
#include "api/handlers.h"
#include "api/request.h"

static void answer(struct request *request, struct text *body)
{
	text_add(body, "\n", 1);
	request_answer(request, 200, body, NULL);
}

void handle_capabilities(struct request *request)
{
	static const struct capabilities nothing = { 0 };
	const struct api_providers *providers = &request_config(request)->providers;
	const struct capabilities *capabilities = &nothing;
	struct text body = { 0 };

	if (providers->capabilities != NULL)
		capabilities = providers->capabilities(providers->arg);
	encode_capabilities(&body, capabilities);
	answer(request, &body);
}

void handle_status(struct request *request)
{
	struct text body = { 0 };

	encode_status(&body, request_core(request));
	answer(request, &body);
}

void handle_healthz(struct request *request)
{
	struct text body = { 0 };

	text_print(&body, "{\"status\":\"ok\"}");
	answer(request, &body);
}

void handle_version(struct request *request)
{
	struct text body = { 0 };

	text_print(&body, "{\"version\":\"%s\",\"commit\":\"%s\"}", SLB_VERSION, SLB_GIT_ID);
	answer(request, &body);
}
