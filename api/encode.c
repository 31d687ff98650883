/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/encode.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- traffic -----------------------------------------------------------------------------------
 */

/* Traffic of a load balancer and its backends, where core knows it. */
struct traffic_view {
	bool known;
	struct traffic total;
	struct traffic *per_backend; /* owned; in the order of lb->backends */
};

static void traffic_view_get(struct traffic_view *view, struct core *core,
			     const struct load_balancer *lb)
{
	struct errbuf err;

	*view = (struct traffic_view){ 0 };
	view->per_backend = calloc(lb->backend_count + 1, sizeof(*view->per_backend));
	if (view->per_backend != NULL)
		view->known = core_traffic(core, lb, &view->total, view->per_backend, &err) == 0;
}

static void traffic_view_free(struct traffic_view *view)
{
	free(view->per_backend);
}

static void add_traffic(struct text *text, const struct traffic *traffic)
{
	text_print(text,
		   ",\"traffic\":{\"connections\":%" PRIu64 ",\"packets_in\":%" PRIu64
		   ",\"bytes_in\":%" PRIu64 ",\"packets_out\":%" PRIu64 ",\"bytes_out\":%" PRIu64
		   "}",
		   traffic->connections, traffic->packets_in, traffic->bytes_in,
		   traffic->packets_out, traffic->bytes_out);
}

/* A member with the reasons that there were; without a comma before it. False: not known. */
static bool add_drops(struct text *text, struct core *core, const struct load_balancer *lb)
{
	struct drop_count drops[DROP_REASONS_MAX];
	struct errbuf err;
	size_t count;

	if (core_drops(core, lb, drops, &count, &err) < 0)
		return false;
	text_print(text, "\"drops\":{");
	for (size_t i = 0; i < count; i++)
		text_print(text, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", drops[i].reason,
			   drops[i].packets);
	text_add(text, "}", 1);
	return true;
}

/* ---- load balancer and backend -----------------------------------------------------------------
 */

static void add_backend(struct text *text, const struct backend *backend,
			const struct traffic *traffic)
{
	char uuid[UUID_STR_LEN], ip[ADDR_TEXT_SIZE];

	uuid_unparse_lower(backend->uuid, uuid);
	text_print(text,
		   "{\"uuid\":\"%s\",\"ip\":\"%s\",\"port\":%u,\"type\":\"%s\",\"weight\":%" PRIu32
		   ",\"state\":\"%s\"",
		   uuid, addr_format(&backend->ip, ip), backend->port,
		   backend_type_name(backend->type), backend->weight,
		   backend_state_name(backend->state));
	if (traffic != NULL)
		add_traffic(text, traffic);
	text_add(text, "}", 1);
}

void encode_backend(struct text *text, struct core *core, const struct load_balancer *lb,
		    const struct backend *backend)
{
	const struct backend *place = load_balancer_backend(lb, backend->uuid);
	struct traffic_view view;

	traffic_view_get(&view, core, lb);
	add_backend(text, backend,
		    view.known && place != NULL ? &view.per_backend[place - lb->backends] : NULL);
	traffic_view_free(&view);
}

void encode_load_balancer(struct text *text, struct core *core, const struct load_balancer *lb)
{
	char uuid[UUID_STR_LEN], eip[ADDR_TEXT_SIZE];
	struct traffic_view view;

	traffic_view_get(&view, core, lb);
	uuid_unparse_lower(lb->uuid, uuid);
	text_print(text, "{\"uuid\":\"%s\",\"name\":", uuid);
	text_json_string(text, lb->name);
	text_print(text,
		   ",\"eip\":\"%s\",\"port\":%u,\"protocol\":\"%s\",\"family\":\"%s\","
		   "\"scheduler\":\"%s\",\"source_nat\":%s,\"affinity_s\":%" PRIu32,
		   addr_format(&lb->vip, eip), lb->port, protocol_name(lb->protocol),
		   lb->vip.family == AF_INET6 ? "ipv6" : "ipv4", scheduler_name(lb->scheduler),
		   lb->source_nat ? "true" : "false", lb->affinity_s);
	if (view.known)
		add_traffic(text, &view.total);
	text_add(text, ",", 1);
	if (add_drops(text, core, lb))
		text_add(text, ",", 1);
	text_print(text, "\"backends\":[");
	for (size_t i = 0; i < lb->backend_count; i++) {
		if (i > 0)
			text_add(text, ",", 1);
		add_backend(text, &lb->backends[i], view.known ? &view.per_backend[i] : NULL);
	}
	text_add(text, "]}", 2);
	traffic_view_free(&view);
}

/* ---- status ------------------------------------------------------------------------------------
 */

void encode_status(struct text *text, struct core *core)
{
	struct table_use tables[TABLES_MAX];
	size_t count = core_tables(core, tables);

	text_add(text, "{", 1);
	if (add_drops(text, core, NULL))
		text_add(text, ",", 1);
	text_print(text, "\"tables\":[");
	for (size_t i = 0; i < count; i++)
		text_print(text,
			   "%s{\"name\":\"%s\",\"entries\":%" PRIu64 ",\"capacity\":%" PRIu64 "}",
			   i > 0 ? "," : "", tables[i].name, tables[i].entries, tables[i].capacity);
	text_print(text, "]}");
}

/* ---- capabilities and BGP ----------------------------------------------------------------------
 */

static const char *const capability_status_names[] = {
#define CAPABILITY_STATUS(constant, name) [constant] = name,
	CAPABILITY_STATUSES(CAPABILITY_STATUS)
#undef CAPABILITY_STATUS
};

static void add_string_member(struct text *text, const char *name, const char *value)
{
	text_print(text, ",\"%s\":", name);
	text_json_string(text, value);
}

static void add_string_list(struct text *text, const char *name, const char *const *values,
			    size_t count)
{
	text_print(text, ",\"%s\":[", name);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			text_add(text, ",", 1);
		text_json_string(text, values[i]);
	}
	text_add(text, "]", 1);
}

void encode_capabilities(struct text *text, const struct capabilities *capabilities)
{
	text_print(text, "{\"capabilities\":[");
	for (size_t i = 0; i < capabilities->capability_count; i++) {
		const struct capability *capability = &capabilities->capabilities[i];

		text_print(text, "%s{\"name\":", i > 0 ? "," : "");
		text_json_string(text, capability->name);
		add_string_member(text, "status", capability_status_names[capability->status]);
		add_string_member(text, "reason", capability->reason);
		add_string_member(text, "consequence", capability->consequence);
		add_string_member(text, "advice", capability->advice);
		text_add(text, "}", 1);
	}
	text_print(text, "],\"devices\":[");
	for (size_t i = 0; i < capabilities->device_count; i++) {
		const struct device_capability *device = &capabilities->devices[i];

		text_print(text, "%s{\"name\":", i > 0 ? "," : "");
		text_json_string(text, device->name);
		add_string_member(text, "datapath", device->datapath);
		add_string_list(text, "reasons", device->reasons, device->reason_count);
		text_add(text, "}", 1);
	}
	text_print(text, "]}");
}

void encode_bgp_peer(struct text *text, const struct bgp_peer_view *peer)
{
	const struct bgp_peer_config *config = &peer->config;
	char address[ADDR_TEXT_SIZE], source[ADDR_TEXT_SIZE] = "";

	if (config->source.family != AF_UNSPEC)
		addr_format(&config->source, source);
	text_print(text,
		   "{\"address\":\"%s\",\"port\":%u,\"as\":%" PRIu32
		   ",\"source\":\"%s\",\"multihop\":%u,\"ttl_security\":%u,\"hold_s\":%u,"
		   "\"connect_retry_s\":%u,\"passive\":%s,\"has_password\":%s",
		   addr_format(&config->address, address), config->port, config->as, source,
		   config->multihop, config->ttl_security, config->hold_s, config->connect_retry_s,
		   config->passive ? "true" : "false", peer->has_password ? "true" : "false");
	add_string_member(text, "origin", peer->origin);
	add_string_member(text, "state", peer->state);
	text_print(text, ",\"uptime_s\":%" PRIu64, peer->uptime_s);
	add_string_member(text, "last_error", peer->last_error);
	add_string_member(text, "note", peer->note);
	text_print(text, ",\"announced\":%zu", peer->announced);
	add_string_list(text, "capabilities", peer->capabilities, peer->capability_count);
	text_add(text, "}", 1);
}

void encode_bgp_peers(struct text *text, const struct bgp_peer_view *peers, size_t count)
{
	text_add(text, "[", 1);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			text_add(text, ",", 1);
		encode_bgp_peer(text, &peers[i]);
	}
	text_add(text, "]", 1);
}
