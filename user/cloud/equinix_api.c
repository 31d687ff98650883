/* SPDX-License-Identifier: GPL-2.0-only */
#include "cloud/equinix_api.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/equinix_decode.h"

#define URL_SIZE  1024
#define PAGES_MAX 5000
#define SECRET    "X-Auth-Token"

struct equinix_api {
	struct http *http;
	char url[URL_SIZE];   /* without a final slash */
	size_t origin_length; /* of url: scheme, host and port */
	char project[EQUINIX_ID_SIZE];
	char *token;
	uint64_t deadline_ms;
};

/* ---- opening --------------------------------------------------------------------------------- */

/* Visible ASCII only: it stands in a header. */
static bool token_is_valid(const char *token)
{
	for (const char *at = token; *at != '\0'; at++) {
		if (*at <= ' ' || *at > '~')
			return false;
	}
	return token[0] != '\0';
}

static int url_part(CURLU *url, CURLUPart part, char **ret)
{
	curl_free(*ret);
	*ret = NULL;
	return curl_url_get(url, part, ret, 0) == CURLUE_OK ? 0 : -1;
}

/* Keeps the URL without final slashes, and how long its origin is. */
static int set_url(struct equinix_api *api, const char *text, struct errbuf *err)
{
	CURLU *url = curl_url();
	char *part = NULL;
	bool usable;
	size_t length;

	usable = url != NULL && strlen(text) < URL_SIZE / 2 && strpbrk(text, " \t\r\n\\") == NULL &&
		 curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
		 url_part(url, CURLUPART_SCHEME, &part) == 0 &&
		 (strcmp(part, "http") == 0 || strcmp(part, "https") == 0) &&
		 strncasecmp(text, part, strlen(part)) == 0 && /* not guessed */
		 url_part(url, CURLUPART_USER, &part) < 0 &&
		 url_part(url, CURLUPART_QUERY, &part) < 0 &&
		 url_part(url, CURLUPART_FRAGMENT, &part) < 0;
	curl_free(part);
	curl_url_cleanup(url);
	if (!usable)
		return errbuf_set(err, -EINVAL,
				  "the URL of the Equinix Metal API must be such as "
				  "https://api.equinix.com/metal/v1, not '%.80s'",
				  text);
	length = strlen(text);
	while (text[length - 1] == '/')
		length--;
	snprintf(api->url, sizeof(api->url), "%.*s", (int)length, text);
	api->origin_length = (size_t)(strstr(api->url, "://") + 3 - api->url);
	api->origin_length += strcspn(api->url + api->origin_length, "/");
	return 0;
}

int equinix_api_open(const struct equinix_api_config *config, struct equinix_api **ret,
		     struct errbuf *err)
{
	const struct http_config http = {
		.loop = config->loop,
		.ca_file = config->ca_file,
		.connect_timeout_ms = config->connect_timeout_ms,
		.attempt_timeout_ms = config->attempt_timeout_ms,
		.backoff_ms = config->backoff_ms,
	};
	struct equinix_api *api = calloc(1, sizeof(*api));
	int error = 0;

	if (api == NULL)
		return errbuf_set(err, -ENOMEM, "cannot speak to the API: out of memory");
	if (!equinix_id_is_valid(config->project))
		error = errbuf_set(err, -EINVAL,
				   "the project must be given by its id (letters, digits and "
				   "dashes), not '%.80s'",
				   config->project);
	else if (!token_is_valid(config->token))
		error = errbuf_set(err, -EINVAL,
				   "the token of the Equinix Metal API is empty, or has characters "
				   "that no token has");
	else
		error = set_url(api, config->url, err);
	if (error == 0) {
		api->token = strdup(config->token);
		error = api->token == NULL
				? errbuf_set(err, -ENOMEM, "cannot speak to the API: out of memory")
				: http_open(&http, &api->http, err);
	}
	if (error < 0) {
		equinix_api_close(api);
		return error;
	}
	snprintf(api->project, sizeof(api->project), "%s", config->project);
	api->deadline_ms = config->deadline_ms;
	*ret = api;
	return 0;
}

void equinix_api_close(struct equinix_api *api)
{
	if (api == NULL)
		return;
	http_close(api->http);
	if (api->token != NULL)
		explicit_bzero(api->token, strlen(api->token));
	free(api->token);
	free(api);
}

static void begin(struct equinix_api *api, const char *method, const char *url, const json_t *body,
		  enum http_repeat repeat, http_done_cb *done, void *arg)
{
	const struct http_request request = {
		.method = method,
		.url = url,
		.secret_header = SECRET,
		.secret = api->token,
		.body = body,
		.deadline_ms = api->deadline_ms,
		.repeat = repeat,
	};

	http_begin(api->http, &request, done, arg);
}

/* ---- lists ----------------------------------------------------------------------------------- */

struct list {
	struct equinix_api *api;
	char url[URL_SIZE]; /* of the page under way */
	unsigned int pages;
	const char *member; /* of the answer: the array */
	char device_id[EQUINIX_ID_SIZE];

	/* Decodes an item and tells `each` of it. */
	int (*tell)(const struct list *list, const json_t *item, struct errbuf *err);
	union {
		void (*device)(void *arg, const struct equinix_device *device);
		void (*neighbour)(void *arg, const struct equinix_neighbour *neighbour);
		void (*reservation)(void *arg, const struct equinix_reservation *reservation);
	} each;
	equinix_done_cb *done;
	void *arg;
};

static void list_end(struct list *list, int status, const struct errbuf *err)
{
	list->done(list->arg, status, err);
	free(list);
}

/* The next page's URL: an href is absolute, or a path of the host, or a path below the API's URL.
 * -EPROTO for another host: the token does not go there. */
static int next_url(const struct equinix_api *api, const char *href, char url[static URL_SIZE],
		    struct errbuf *err)
{
	const char *prefix = api->url + api->origin_length;
	size_t prefix_length = strlen(prefix), start = 0;
	int written;

	for (const char *at = href; *at != '\0'; at++) {
		if (*at <= ' ' || *at > '~')
			return errbuf_set(err, -EPROTO, "the API's link to its next page is none");
	}
	if (strncmp(href, api->url, api->origin_length) == 0 && href[api->origin_length] == '/')
		start = api->origin_length;
	else if (strstr(href, "://") != NULL && strcspn(href, ":") < strcspn(href, "/?"))
		return errbuf_set(err, -EPROTO,
				  "the API's link to its next page leads to another host: %.100s",
				  href);
	if (start > 0 || (strncmp(href, prefix, prefix_length) == 0 && href[prefix_length] == '/'))
		written = snprintf(url, URL_SIZE, "%.*s%s", (int)api->origin_length, api->url,
				   href + start);
	else
		written = snprintf(url, URL_SIZE, "%s%s%s", api->url, href[0] == '/' ? "" : "/",
				   href);
	if (written >= URL_SIZE)
		return errbuf_set(err, -EPROTO, "the API's link to its next page is too long");
	return 0;
}

static void on_page(void *arg, const struct http_answer *answer);

static void list_fetch(struct list *list)
{
	begin(list->api, "GET", list->url, NULL, HTTP_REPEAT_ANY, on_page, list);
}

/* Tells of the page's items; 1: there is another page, whose URL is in list->url. */
static int read_page(struct list *list, const json_t *json, struct errbuf *err)
{
	const json_t *items = json_object_get(json, list->member), *item;
	const json_t *next = json_object_get(json_object_get(json, "meta"), "next");
	const char *href = json_string_value(json_object_get(next, "href"));
	char url[URL_SIZE];
	size_t i;

	if (!json_is_array(items))
		return errbuf_set(err, -EPROTO, "the API's answer has no list '%s'", list->member);
	json_array_foreach(items, i, item)
	{
		if (list->tell(list, item, err) < 0)
			return -EPROTO;
	}
	if (href == NULL || href[0] == '\0')
		return 0;
	if (++list->pages >= PAGES_MAX)
		return errbuf_set(err, -EPROTO, "the API's list has more than %d pages", PAGES_MAX);
	if (next_url(list->api, href, url, err) < 0)
		return -EPROTO;
	if (strcmp(url, list->url) == 0)
		return errbuf_set(err, -EPROTO, "the API's list has a page that follows itself");
	snprintf(list->url, sizeof(list->url), "%s", url);
	return 1;
}

static void on_page(void *arg, const struct http_answer *answer)
{
	struct list *list = arg;
	struct errbuf err;
	int more;

	if (answer->status < 0) {
		list_end(list, answer->status, answer->err);
		return;
	}
	more = read_page(list, answer->json, &err);
	if (more > 0) {
		list_fetch(list);
		return;
	}
	if (more < 0)
		errbuf_prefix(&err, more, "GET %s", list->url);
	list_end(list, more, more < 0 ? &err : NULL);
}

/* A list to be filled in and fetched; NULL: done has been called. */
static struct list *list_new(struct equinix_api *api, const char *member, const char *device_id,
			     equinix_done_cb *done, void *arg)
{
	struct list *list = calloc(1, sizeof(*list));
	struct errbuf err;

	if (list == NULL) {
		errbuf_set(&err, -ENOMEM, "cannot ask the API: out of memory");
		done(arg, -ENOMEM, &err);
		return NULL;
	}
	list->api = api;
	list->member = member;
	list->done = done;
	list->arg = arg;
	snprintf(list->device_id, sizeof(list->device_id), "%s", device_id);
	return list;
}

static int tell_device(const struct list *list, const json_t *item, struct errbuf *err)
{
	struct equinix_device device;

	if (equinix_decode_device(item, &device, err) < 0)
		return -EPROTO;
	list->each.device(list->arg, &device);
	return 0;
}

void equinix_list_devices(struct equinix_api *api,
			  void (*each)(void *arg, const struct equinix_device *device),
			  equinix_done_cb *done, void *arg)
{
	struct list *list = list_new(api, "devices", "", done, arg);

	if (list == NULL)
		return;
	list->tell = tell_device;
	list->each.device = each;
	snprintf(list->url, sizeof(list->url), "%s/projects/%s/devices", api->url, api->project);
	list_fetch(list);
}

static int tell_neighbour(const struct list *list, const json_t *item, struct errbuf *err)
{
	struct equinix_neighbour neighbour;
	int error = equinix_decode_neighbour(item, &neighbour, err);

	if (error == 0)
		list->each.neighbour(list->arg, &neighbour);
	explicit_bzero(neighbour.password, sizeof(neighbour.password));
	return error;
}

void equinix_list_neighbours(struct equinix_api *api, const char *device_id,
			     void (*each)(void *arg, const struct equinix_neighbour *neighbour),
			     equinix_done_cb *done, void *arg)
{
	struct list *list = list_new(api, "bgp_neighbors", device_id, done, arg);

	if (list == NULL)
		return;
	list->tell = tell_neighbour;
	list->each.neighbour = each;
	snprintf(list->url, sizeof(list->url), "%s/devices/%s/bgp/neighbors", api->url, device_id);
	list_fetch(list);
}

static int tell_reservation(const struct list *list, const json_t *item, struct errbuf *err)
{
	struct equinix_reservation reservation;

	if (equinix_decode_reservation(item, list->device_id, &reservation, err) < 0)
		return -EPROTO;
	list->each.reservation(list->arg, &reservation);
	return 0;
}

void equinix_list_reservations(struct equinix_api *api, const char *device_id,
			       void (*each)(void *arg, const struct equinix_reservation *item),
			       equinix_done_cb *done, void *arg)
{
	struct list *list = list_new(api, "ip_addresses", device_id, done, arg);

	if (list == NULL)
		return;
	list->tell = tell_reservation;
	list->each.reservation = each;
	snprintf(list->url, sizeof(list->url), "%s/projects/%s/ips", api->url, api->project);
	list_fetch(list);
}

/* ---- reserving and releasing ----------------------------------------------------------------- */

struct call {
	equinix_reserved_cb *reserved;
	equinix_done_cb *done;
	void *arg;
	char device_id[EQUINIX_ID_SIZE];
};

static void on_reserved(void *arg, const struct http_answer *answer)
{
	struct call *call = arg;
	struct equinix_reservation made;
	struct errbuf err;

	if (answer->status < 0) {
		call->reserved(call->arg, answer->status, NULL, answer->uncertain, answer->err);
	} else if (equinix_decode_reservation(answer->json, call->device_id, &made, &err) < 0) {
		errbuf_prefix(&err, -EPROTO, "cannot use what the API answered to a reservation");
		call->reserved(call->arg, -EPROTO, NULL, true, &err);
	} else if (made.state == EQUINIX_READY && made.address.family == AF_UNSPEC) {
		errbuf_set(&err, -EPROTO, "the API reserved an address (%s) and did not say which",
			   made.id);
		call->reserved(call->arg, -EPROTO, &made, true, &err);
	} else {
		call->reserved(call->arg, 0, &made, false, NULL);
	}
	free(call);
}

static json_t *reserve_body(const char *facility, const char *device_id, const uuid_t owner)
{
	char node_tag[EQUINIX_TAG_SIZE], owner_tag[EQUINIX_TAG_SIZE];

	equinix_tag_node(device_id, node_tag);
	equinix_tag_owner(owner, owner_tag);
	return json_pack("{s:s, s:i, s:s, s:b, s:[s, s]}", "type", "public_ipv4", "quantity", 1,
			 "facility", facility, "fail_on_approval_required", 1, "tags", owner_tag,
			 node_tag);
}

void equinix_reserve(struct equinix_api *api, const char *facility, const char *device_id,
		     const uuid_t owner, equinix_reserved_cb *done, void *arg)
{
	struct call *call = calloc(1, sizeof(*call));
	json_t *body = reserve_body(facility, device_id, owner);
	char url[URL_SIZE];
	struct errbuf err;

	if (call == NULL || body == NULL) {
		free(call);
		json_decref(body);
		errbuf_set(&err, -ENOMEM, "cannot reserve an address: out of memory");
		done(arg, -ENOMEM, NULL, false, &err);
		return;
	}
	call->reserved = done;
	call->arg = arg;
	snprintf(call->device_id, sizeof(call->device_id), "%s", device_id);
	snprintf(url, sizeof(url), "%s/projects/%s/ips", api->url, api->project);
	begin(api, "POST", url, body, HTTP_REPEAT_REFUSED, on_reserved, call);
	json_decref(body);
}

static void on_released(void *arg, const struct http_answer *answer)
{
	struct call *call = arg;

	if (answer->status == 0 || answer->status == -ENOENT)
		call->done(call->arg, 0, NULL);
	else
		call->done(call->arg, answer->status, answer->err);
	free(call);
}

void equinix_release(struct equinix_api *api, const char *id, equinix_done_cb *done, void *arg)
{
	struct call *call = calloc(1, sizeof(*call));
	char url[URL_SIZE];
	struct errbuf err;

	if (call == NULL) {
		errbuf_set(&err, -ENOMEM, "cannot release an address: out of memory");
		done(arg, -ENOMEM, &err);
		return;
	}
	call->done = done;
	call->arg = arg;
	snprintf(url, sizeof(url), "%s/ips/%s", api->url, id);
	begin(api, "DELETE", url, NULL, HTTP_REPEAT_ANY, on_released, call);
}
