/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/routes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/errors.h"
#include "api/handlers.h"

const struct route api_routes[] = {
	{ "POST", "/loadbalancer", handle_load_balancer_create },
	{ "GET", "/loadbalancers", handle_load_balancer_list },
	{ "GET", "/loadbalancer/{uuid}", handle_load_balancer_get },
	{ "PATCH", "/loadbalancer/{uuid}", handle_load_balancer_update },
	{ "DELETE", "/loadbalancer/{uuid}", handle_load_balancer_delete },
	{ "POST", "/loadbalancer/{uuid}/backend", handle_backend_create },
	{ "GET", "/loadbalancer/{uuid}/backend/{backenduuid}", handle_backend_get },
	{ "PATCH", "/loadbalancer/{uuid}/backend/{backenduuid}", handle_backend_update },
	{ "DELETE", "/loadbalancer/{uuid}/backend/{backenduuid}", handle_backend_delete },
	{ "GET", "/capabilities", handle_capabilities },
	{ "GET", "/status", handle_status },
	{ "GET", "/bgp/peers", handle_bgp_peer_list },
	{ "POST", "/bgp/peers", handle_bgp_peer_create },
	{ "GET", "/bgp/peers/{address}", handle_bgp_peer_get },
	{ "DELETE", "/bgp/peers/{address}", handle_bgp_peer_delete },
	{ "GET", "/healthz", handle_healthz },
	{ "GET", "/version", handle_version },
	{ "GET", "/metrics", handle_metrics },
	{ NULL, NULL, NULL },
};

#define PATH_MAX_BYTES 1024
/* Longer than any segment a route has, an IPv6 address being the longest. */
#define SEGMENT_SIZE 64

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decodes the segment at *path into `segment` and moves *path to the slash or NUL behind it. False
 * when no route can have it: too long, a broken escape, an encoded NUL. */
static bool next_segment(const char **path, char segment[static SEGMENT_SIZE])
{
	const char *s = *path;
	size_t length = 0;

	for (; *s != '/' && *s != '\0'; s++) {
		int c = (unsigned char)*s;

		if (c == '%') {
			int high = hex_value(s[1]);
			int low = high < 0 ? -1 : hex_value(s[2]);

			if (low < 0)
				return false;
			c = high << 4 | low;
			s += 2;
		}
		if (c == 0 || length + 1 >= SEGMENT_SIZE)
			return false;
		segment[length++] = (char)c;
	}
	segment[length] = '\0';
	*path = s;
	return true;
}

enum path_match { PATH_OTHER, PATH_SAME, PATH_BAD_UUID, PATH_BAD_ADDRESS };

/* Compares a path with that of a route, reading UUIDs and addresses on the way. */
static enum path_match match_path(const char *path, const char *pattern, struct route_match *match)
{
	enum path_match result = PATH_SAME;
	char have[SEGMENT_SIZE], want[SEGMENT_SIZE];

	while (*path == '/' && *pattern == '/') {
		path++;
		pattern++;
		if (!next_segment(&path, have) || !next_segment(&pattern, want) || *have == '\0')
			return PATH_OTHER;
		if (strcmp(want, "{uuid}") == 0) {
			if (uuid_parse(have, match->uuid) < 0)
				result = PATH_BAD_UUID;
		} else if (strcmp(want, "{backenduuid}") == 0) {
			if (uuid_parse(have, match->backend) < 0)
				result = PATH_BAD_UUID;
		} else if (strcmp(want, "{address}") == 0) {
			if (addr_parse(have, &match->address) < 0)
				result = PATH_BAD_ADDRESS;
		} else if (strcmp(have, want) != 0) {
			return PATH_OTHER;
		}
	}
	if (strcmp(path, "/") == 0)
		path++;
	return *path == '\0' && *pattern == '\0' ? result : PATH_OTHER;
}

/* RFC 9112, 3.2.2: a server must accept "http://host/path" too. */
static const char *strip_origin(const char *path)
{
	const char *slash;

	if (strncasecmp(path, "http://", 7) != 0)
		return path;
	slash = strchr(path + 7, '/');
	return slash != NULL ? slash : "/";
}

static void allow_add(char allow[static ROUTE_ALLOW_SIZE], const char *method)
{
	size_t used = strlen(allow);

	snprintf(allow + used, ROUTE_ALLOW_SIZE - used, "%s%s", used > 0 ? ", " : "", method);
}

int route_find(const char *method, const char *path, struct route_match *ret, struct errbuf *err)
{
	struct route_match match = { 0 };
	enum path_match found = PATH_OTHER;
	bool is_head = strcmp(method, "HEAD") == 0;

	if (strlen(path) > PATH_MAX_BYTES)
		return errbuf_set(err, -API_EURILENGTH, "the path is longer than %d bytes",
				  PATH_MAX_BYTES);
	path = strip_origin(path);
	if (strcmp(method, "OPTIONS") == 0 && strcmp(path, "*") == 0) {
		*ret = (struct route_match){ .allow = "GET, HEAD, POST, PATCH, DELETE, OPTIONS" };
		return 0;
	}
	for (const struct route *route = api_routes; route->method != NULL; route++) {
		enum path_match result = match_path(path, route->path, &match);

		if (result == PATH_OTHER)
			continue;
		found = result;
		allow_add(match.allow, route->method);
		if (strcmp(route->method, "GET") == 0)
			allow_add(match.allow, "HEAD");
		if (strcmp(route->method, is_head ? "GET" : method) == 0)
			match.handler = route->handler;
	}
	if (found == PATH_OTHER)
		return errbuf_set(err, -ENOENT, "there is no route %.200s", path);
	allow_add(match.allow, "OPTIONS");
	*ret = match;
	if (match.handler == NULL && strcmp(method, "OPTIONS") != 0)
		return errbuf_set(err, -API_EMETHOD, "%.16s is not possible here; allowed: %s",
				  method, match.allow);
	if (match.handler != NULL && found == PATH_BAD_ADDRESS)
		return errbuf_set(err, -ENOENT,
				  "%.200s contains what is not an IP address; write it like "
				  "192.0.2.7 or 2001:db8::7",
				  path);
	if (match.handler != NULL && found == PATH_BAD_UUID)
		return errbuf_set(err, -ENOENT,
				  "%.200s contains what is not a UUID; write it like "
				  "1b4e28ba-2fa1-4d1e-a24b-5a1c0f9c1f5e",
				  path);
	return 0;
}
