/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * GET /metrics: counters in Prometheus' text format
 * (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4).
 *
 * All samples of one metric must stand together, so the load balancers are gone through once per
 * metric; their traffic is read from the datapath only once, during the first pass, and kept. What
 * is created or deleted meanwhile is left out of the rest.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/request.h"

struct metric {
	const char *name, *help;
	size_t offset; /* of a uint64_t in struct traffic */
};

static const struct metric metrics[] = {
	{ "connections", "New flows", offsetof(struct traffic, connections) },
	{ "packets_in", "Packets towards backends", offsetof(struct traffic, packets_in) },
	{ "bytes_in", "Bytes towards backends", offsetof(struct traffic, bytes_in) },
	{ "packets_out", "Packets towards clients", offsetof(struct traffic, packets_out) },
	{ "bytes_out", "Bytes towards clients", offsetof(struct traffic, bytes_out) },
};
#define METRICS (sizeof(metrics) / sizeof(*metrics))
#define DROPS   (2 * METRICS) /* what comes after those of load balancers and of backends */

struct backend_sample {
	uuid_t uuid;
	struct addr ip;
	uint16_t port;
	struct traffic traffic;
};

struct load_balancer_sample {
	uuid_t uuid;
	size_t backend_count; /* as many of the backend samples follow those before */
	struct traffic traffic;
};

/* Where the answer has got to: a metric of load balancers or of backends, and a place in it. */
struct scrape {
	struct core *core;
	const struct api_providers *providers;
	struct text load_balancers; /* bytes of struct load_balancer_sample */
	struct text backends;       /* bytes of struct backend_sample */
	uint64_t after;             /* created_order of the last one sampled */
	size_t metric; /* below METRICS: of load balancers, from there on: of backends; DROPS */
	size_t next;   /* load balancer sample */
	size_t next_backend; /* backend sample */
};

static uint64_t value_of(const struct traffic *traffic, const struct metric *metric)
{
	uint64_t value;

	memcpy(&value, (const char *)traffic + metric->offset, sizeof(value));
	return value;
}

static void add_head(struct text *text, const char *object, const struct metric *metric)
{
	text_print(text, "# HELP slb_%s_%s_total %s, since it was created.\n", object, metric->name,
		   metric->help);
	text_print(text, "# TYPE slb_%s_%s_total counter\n", object, metric->name);
}

static void add_build_info(struct text *text, struct core *core)
{
	text_print(text,
		   "# HELP slb_build_info Constant 1, with the version.\n"
		   "# TYPE slb_build_info gauge\n"
		   "slb_build_info{version=\"%s\",commit=\"%s\"} 1\n",
		   SLB_VERSION, SLB_GIT_ID);
	text_print(text,
		   "# HELP slb_load_balancers Load balancers on this node.\n"
		   "# TYPE slb_load_balancers gauge\n"
		   "slb_load_balancers %zu\n",
		   core_count(core));
}

static void add_bgp_gauge(struct text *text, const char *name, const char *help)
{
	text_print(text, "# HELP slb_bgp_peer_%s %s\n# TYPE slb_bgp_peer_%s gauge\n", name, help,
		   name);
}

static void add_bgp_sample(struct text *text, const char *name, const struct bgp_peer_view *peer,
			   uint64_t value)
{
	char address[ADDR_TEXT_SIZE];

	text_print(text, "slb_bgp_peer_%s{address=\"%s\",as=\"%" PRIu32 "\"} %" PRIu64 "\n", name,
		   addr_format(&peer->config.address, address), peer->config.as, value);
}

static void add_bgp_peers(struct text *text, const struct bgp_peer_view *peers, size_t count)
{
	char address[ADDR_TEXT_SIZE];

	add_bgp_gauge(text, "state", "Constant 1, with the state of the session.");
	for (size_t i = 0; i < count; i++)
		text_print(text,
			   "slb_bgp_peer_state{address=\"%s\",as=\"%" PRIu32 "\",state=\"%s\"} 1\n",
			   addr_format(&peers[i].config.address, address), peers[i].config.as,
			   peers[i].state);
	add_bgp_gauge(text, "established", "1 while the session is up.");
	for (size_t i = 0; i < count; i++)
		add_bgp_sample(text, "established", &peers[i],
			       strcmp(peers[i].state, "Established") == 0);
	add_bgp_gauge(text, "uptime_seconds", "How long the session has been up.");
	for (size_t i = 0; i < count; i++)
		add_bgp_sample(text, "uptime_seconds", &peers[i], peers[i].uptime_s);
	add_bgp_gauge(text, "announced_routes", "Routes the peer has been told.");
	for (size_t i = 0; i < count; i++)
		add_bgp_sample(text, "announced_routes", &peers[i], peers[i].announced);
}

static void add_load_balancer(struct text *text, const struct load_balancer *lb,
			      const struct load_balancer_sample *sample,
			      const struct metric *metric)
{
	char uuid[UUID_STR_LEN], eip[ADDR_TEXT_SIZE];

	uuid_unparse_lower(lb->uuid, uuid);
	text_print(text, "slb_load_balancer_%s_total{load_balancer=\"%s\",name=", metric->name,
		   uuid);
	text_label_value(text, lb->name);
	text_print(text, ",eip=\"%s\",port=\"%u\",protocol=\"%s\"} %" PRIu64 "\n",
		   addr_format(&lb->vip, eip), lb->port, protocol_name(lb->protocol),
		   value_of(&sample->traffic, metric));
}

static void add_backend(struct text *text, const struct load_balancer_sample *lb,
			const struct backend_sample *backend, const struct metric *metric)
{
	char lb_uuid[UUID_STR_LEN], uuid[UUID_STR_LEN], ip[ADDR_TEXT_SIZE];

	uuid_unparse_lower(lb->uuid, lb_uuid);
	uuid_unparse_lower(backend->uuid, uuid);
	text_print(text,
		   "slb_backend_%s_total{load_balancer=\"%s\",backend=\"%s\",ip=\"%s\","
		   "port=\"%u\"} %" PRIu64 "\n",
		   metric->name, lb_uuid, uuid, addr_format(&backend->ip, ip), backend->port,
		   value_of(&backend->traffic, metric));
}

/* Reads the next load balancer's traffic and adds its first metric; false after the last. */
static bool sample_next(struct scrape *scrape, struct text *text)
{
	const struct load_balancer *lb = core_next(scrape->core, scrape->after);
	struct load_balancer_sample sample = { 0 };
	struct traffic *per_backend;
	struct errbuf err;

	if (lb == NULL)
		return false;
	scrape->after = lb->created_order;
	per_backend = calloc(lb->backend_count + 1, sizeof(*per_backend));
	if (per_backend == NULL) {
		text->failed = true;
		return true;
	}
	if (core_traffic(scrape->core, lb, &sample.traffic, per_backend, &err) == 0) {
		uuid_copy(sample.uuid, lb->uuid);
		sample.backend_count = lb->backend_count;
		text_add(&scrape->load_balancers, (const char *)&sample, sizeof(sample));
		for (size_t i = 0; i < lb->backend_count; i++) {
			struct backend_sample backend = { .ip = lb->backends[i].ip,
							  .port = lb->backends[i].port,
							  .traffic = per_backend[i] };

			uuid_copy(backend.uuid, lb->backends[i].uuid);
			text_add(&scrape->backends, (const char *)&backend, sizeof(backend));
		}
		add_load_balancer(text, lb, &sample, &metrics[0]);
	}
	free(per_backend);
	text->failed |= scrape->load_balancers.failed || scrape->backends.failed;
	return true;
}

/* Adds one metric of the next sampled load balancer, or of its backends; false after the last. */
static bool add_next(struct scrape *scrape, struct text *text)
{
	const struct metric *metric = &metrics[scrape->metric % METRICS];
	const struct load_balancer_sample *sample;
	const struct backend_sample *backends;
	const struct load_balancer *lb;

	if (scrape->next * sizeof(*sample) >= scrape->load_balancers.length)
		return false;
	sample = (const struct load_balancer_sample *)scrape->load_balancers.data + scrape->next++;
	backends = (const struct backend_sample *)scrape->backends.data + scrape->next_backend;
	lb = core_find(scrape->core, sample->uuid);
	if (lb != NULL && scrape->metric < METRICS) {
		add_load_balancer(text, lb, sample, metric);
	} else if (lb != NULL) {
		for (size_t i = 0; i < sample->backend_count; i++)
			add_backend(text, sample, &backends[i], metric);
	}
	scrape->next_backend += sample->backend_count;
	return true;
}

/* Drops of one load balancer (or, lb NULL, of none), read now. */
static void add_drops(struct text *text, struct core *core, const struct load_balancer *lb)
{
	struct drop_count drops[DROP_REASONS_MAX];
	char uuid[UUID_STR_LEN] = "";
	struct errbuf err;
	size_t count;

	if (core_drops(core, lb, drops, &count, &err) < 0)
		return;
	if (lb != NULL)
		uuid_unparse_lower(lb->uuid, uuid);
	for (size_t i = 0; i < count; i++)
		text_print(text,
			   "slb_drops_total{load_balancer=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
			   uuid, drops[i].reason, drops[i].packets);
}

static void add_tables(struct text *text, struct core *core)
{
	struct table_use tables[TABLES_MAX];
	size_t count = core_tables(core, tables);

	if (count == 0)
		return;
	text_print(text, "# HELP slb_table_entries Entries in use, of flow tables at the last "
			 "sweep.\n# TYPE slb_table_entries gauge\n");
	for (size_t i = 0; i < count; i++)
		text_print(text, "slb_table_entries{table=\"%s\"} %" PRIu64 "\n", tables[i].name,
			   tables[i].entries);
	text_print(text, "# HELP slb_table_capacity Entries that there is room for.\n"
			 "# TYPE slb_table_capacity gauge\n");
	for (size_t i = 0; i < count; i++)
		text_print(text, "slb_table_capacity{table=\"%s\"} %" PRIu64 "\n", tables[i].name,
			   tables[i].capacity);
}

/* The drops of the next sampled load balancer; false after the last. */
static bool drops_next(struct scrape *scrape, struct text *text)
{
	const struct load_balancer_sample *sample;
	const struct load_balancer *lb;

	if (scrape->next * sizeof(*sample) >= scrape->load_balancers.length)
		return false;
	sample = (const struct load_balancer_sample *)scrape->load_balancers.data + scrape->next++;
	lb = core_find(scrape->core, sample->uuid);
	if (lb != NULL)
		add_drops(text, scrape->core, lb);
	return true;
}

static void begin_drops(struct scrape *scrape, struct text *text)
{
	text_print(text, "# HELP slb_drops_total Packets that were not forwarded; load_balancer is "
			 "empty for those of none.\n# TYPE slb_drops_total counter\n");
	add_drops(text, scrape->core, NULL);
}

static bool scrape_fill(void *stream, struct text *text)
{
	struct scrape *scrape = stream;
	bool more;

	if (scrape->metric == 0 && scrape->after == 0) {
		add_build_info(text, scrape->core);
		add_tables(text, scrape->core);
		if (scrape->providers->bgp_peers != NULL) {
			size_t count;
			const struct bgp_peer_view *peers =
				scrape->providers->bgp_peers(scrape->providers->arg, &count);

			add_bgp_peers(text, peers, count);
		}
		add_head(text, "load_balancer", &metrics[0]);
	}
	if (scrape->metric == DROPS)
		return drops_next(scrape, text);
	more = scrape->metric == 0 ? sample_next(scrape, text) : add_next(scrape, text);
	if (more)
		return true;

	scrape->metric++;
	scrape->next = 0;
	scrape->next_backend = 0;
	if (scrape->metric == DROPS) {
		begin_drops(scrape, text);
		return true;
	}
	add_head(text, scrape->metric < METRICS ? "load_balancer" : "backend",
		 &metrics[scrape->metric % METRICS]);
	return true;
}

static void scrape_release(void *stream)
{
	struct scrape *scrape = stream;

	text_free(&scrape->load_balancers);
	text_free(&scrape->backends);
	free(scrape);
}

static const struct stream_ops scrape_ops = { "text/plain; version=0.0.4; charset=utf-8",
					      scrape_fill, scrape_release };

void handle_metrics(struct request *request)
{
	struct scrape *scrape = calloc(1, sizeof(*scrape));
	struct errbuf err;

	if (scrape == NULL) {
		errbuf_set(&err, -ENOMEM, "memory is short; try again later");
		request_fail(request, -ENOMEM, &err);
		return;
	}
	scrape->core = request_core(request);
	scrape->providers = &request_config(request)->providers;
	request_answer_stream(request, &scrape_ops, scrape);
}
