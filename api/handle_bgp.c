/* SPDX-License-Identifier: GPL-2.0-only */
/* The routes of BGP peers, which those who run the API provide (server.h). */
#include <errno.h>
#include <stdio.h>

#include "api/decode.h"
#include "api/encode.h"
#include "api/handlers.h"
#include "api/request.h"

static const struct bgp_peer_view *all_peers(struct request *request, size_t *ret_count)
{
	const struct api_providers *providers = &request_config(request)->providers;

	*ret_count = 0;
	return providers->bgp_peers == NULL ? NULL
					    : providers->bgp_peers(providers->arg, ret_count);
}

static const struct bgp_peer_view *find_peer(struct request *request, const struct addr *address)
{
	size_t count;
	const struct bgp_peer_view *peers = all_peers(request, &count);

	for (size_t i = 0; i < count; i++) {
		if (addr_equal(&peers[i].config.address, address))
			return &peers[i];
	}
	return NULL;
}

static void answer_peer(struct request *request, unsigned int status,
			const struct bgp_peer_view *peer, const char *location)
{
	struct text body = { 0 };

	encode_bgp_peer(&body, peer);
	text_add(&body, "\n", 1);
	request_answer(request, status, &body, location);
}

static void fail_unknown(struct request *request, const struct addr *address)
{
	char text[ADDR_TEXT_SIZE];
	struct errbuf err;

	errbuf_set(&err, -ENOENT, "%s is not a BGP peer", addr_format(address, text));
	request_fail(request, -ENOENT, &err);
}

/* False: answered, since there is no BGP here. */
static bool has_bgp(struct request *request)
{
	struct errbuf err;

	if (request_config(request)->providers.bgp_peer_create != NULL)
		return true;
	errbuf_set(&err, -ENOTSUP, "this slb does not speak BGP; start it with --bgp");
	request_fail(request, -ENOTSUP, &err);
	return false;
}

void handle_bgp_peer_list(struct request *request)
{
	struct text body = { 0 };
	size_t count;
	const struct bgp_peer_view *peers = all_peers(request, &count);

	encode_bgp_peers(&body, peers, count);
	text_add(&body, "\n", 1);
	request_answer(request, 200, &body, NULL);
}

void handle_bgp_peer_get(struct request *request)
{
	const struct addr *address = &request_match(request)->address;
	const struct bgp_peer_view *peer = find_peer(request, address);

	if (peer != NULL)
		answer_peer(request, 200, peer, NULL);
	else
		fail_unknown(request, address);
}

/* bgp_peer_done_cb. The body, which is still there, says which one it is about. */
static void created(void *arg, int status, const struct errbuf *err)
{
	struct request *request = arg;
	const struct bgp_peer_view *peer;
	struct json_object_error ignored;
	struct bgp_peer_config wanted;
	char address[ADDR_TEXT_SIZE], location[sizeof("/bgp/peers/") + ADDR_TEXT_SIZE];
	const struct text *body;

	if (!request_called_back(request, status, err))
		return;
	body = request_body(request);
	decode_bgp_peer(body->data, body->length, &wanted, &ignored);
	peer = find_peer(request, &wanted.address);
	snprintf(location, sizeof(location), "/bgp/peers/%s",
		 addr_format(&wanted.address, address));
	if (peer != NULL)
		answer_peer(request, 201, peer, location);
	else
		fail_unknown(request, &wanted.address);
	request_release(request);
}

void handle_bgp_peer_create(struct request *request)
{
	const struct api_providers *providers = &request_config(request)->providers;
	const struct text *body = request_body(request);
	struct json_object_error error;
	struct bgp_peer_config wanted;
	int rc;

	if (!has_bgp(request))
		return;
	rc = decode_bgp_peer(body->data, body->length, &wanted, &error);
	if (rc < 0)
		request_fail(request, rc, &error.err);
	else
		providers->bgp_peer_create(providers->arg, &wanted, created, request_hold(request));
}

/* bgp_peer_done_cb */
static void deleted(void *arg, int status, const struct errbuf *err)
{
	struct request *request = arg;

	if (!request_called_back(request, status, err))
		return;
	request_answer_empty(request);
	request_release(request);
}

void handle_bgp_peer_delete(struct request *request)
{
	const struct api_providers *providers = &request_config(request)->providers;

	if (has_bgp(request))
		providers->bgp_peer_remove(providers->arg, &request_match(request)->address,
					   deleted, request_hold(request));
}
