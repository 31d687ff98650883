/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `slb server`: builds the parts of a node in order, runs the loop, takes the parts down in
 * reverse.
 *
 * The order is the point: what only looks comes first, so that a wrong adapter or range ends it
 * before anything was changed; the store's lock keeps a second daemon out before the kernel is
 * touched; the API comes last, when there is something to answer. user/README.md has the table.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "advertise/adapter.h"
#include "advertise/arp.h"
#include "advertise/prober.h"
#include "advertise/segment.h"
#include "api/server.h"
#include "cloud/equinix_metal.h"
#include "cli/command.h"
#include "cli/layer3.h"
#include "cli/privilege.h"
#include "cli/server_options.h"
#include "core/core.h"
#include "core/ipam.h"
#include "core/ipam_pool.h"
#include "datapath/ladder.h"
#include "lib/log.h"
#include "net/net.h"
#include "net/sysctl.h"
#include "store/store.h"

/* How often desired and actual are compared when no event says that they differ. */
#define RECONCILE_INTERVAL_MS 2000
#define DRAIN_LOOK_MS         250

struct node {
	const struct server_options *options;
	uv_loop_t loop;
	uv_signal_t signals[3];
	uv_timer_t reconcile;

	struct net *net;
	struct adapter *adapter;
	struct segment *segment; /* with --arp only, as is prober */
	struct address_prober *prober;
	struct equinix_metal *metal;   /* with --equinixMetal only */
	struct address_source *ranges; /* unless VIPs come from elsewhere */
	struct store *store;
	struct sysctl *sysctl;
	struct advertiser *arp; /* one of these two */
	struct layer3 *layer3;
	struct ladder *ladder;
	struct core *core;
	struct api_server *api;

	/* What stop functions do to the kernel: leave it working for a successor, or take it away.
	 */
	bool keep;
	bool was_working; /* a former run left a datapath that forwards packets */
	uint64_t drain_until_ms;
};

/* ---- what only looks */

static int start_privilege(struct node *node, struct errbuf *err)
{
	(void)node;
	return privilege_check(err);
}

static int start_net(struct node *node, struct errbuf *err)
{
	return net_open(&node->loop, &node->net, err);
}

static void stop_net(struct node *node)
{
	net_close(node->net);
}

static int start_adapter(struct node *node, struct errbuf *err)
{
	return adapter_open(node->net, node->options->adapter, &node->adapter, err);
}

static void stop_adapter(struct node *node)
{
	adapter_close(node->adapter);
}

static int start_segment(struct node *node, struct errbuf *err)
{
	if (!node->options->arp)
		return 0;
	return segment_open(&node->loop, node->adapter, &node->segment, err);
}

static void stop_segment(struct node *node)
{
	segment_close(node->segment);
}

static int start_prober(struct node *node, struct errbuf *err)
{
	const struct prober_config config = {
		.loop = &node->loop,
		.net = node->net,
		.adapter = node->adapter,
		.segment = node->segment,
		.spacing_ms = node->options->arp_probe_ms,
	};

	if (node->segment == NULL || node->options->arp_probe_ms == 0 ||
	    segment_is_silent(node->segment))
		return 0;
	return prober_open(&config, &node->prober, err);
}

static void stop_prober(struct node *node)
{
	prober_close(node->prober);
}

/* What a part tells that no call reports. */
static void report(void *arg, bool trouble, const char *sentence)
{
	(void)arg;
	if (trouble)
		log_warn("%s", sentence);
	else
		log_info("%s", sentence);
}

static int start_metal(struct node *node, struct errbuf *err)
{
	const struct equinix_metal_config config = {
		.loop = &node->loop,
		.net = node->net,
		.url = node->options->equinix_api,
		.project = node->options->project,
		.facility = node->options->facility,
		.device = node->options->device,
		.report = report,
	};
	struct errbuf reported; /* by the above; it is tried again */
	int r;

	if (!node->options->equinix_metal)
		return 0;
	r = equinix_metal_open(&config, &node->metal, err);
	if (r == 0)
		(void)equinix_metal_wait(node->metal, &reported);
	return r;
}

static void on_metal_closed(void *arg)
{
	struct node *node = arg;

	node->metal = NULL;
}

static void stop_metal(struct node *node)
{
	equinix_metal_close(node->metal, node->keep, on_metal_closed, node);
	while (node->metal != NULL)
		uv_run(&node->loop, UV_RUN_ONCE);
}

static bool has_ranges(const struct server_options *options)
{
	return options->address_source == ADDRESSES_OF_RANGE;
}

static struct address_source *addresses_of(const struct node *node)
{
	return has_ranges(node->options) ? node->ranges : equinix_metal_addresses(node->metal);
}

static int start_ranges(struct node *node, struct errbuf *err)
{
	const struct ipam_config config = {
		.loop = &node->loop,
		.ranges = node->options->ipam_range,
		.prober_ipv4 = node->prober,
		.prober_ipv6 = node->prober,
	};

	return has_ranges(node->options) ? ipam_open(&config, &node->ranges, err) : 0;
}

static void stop_ranges(struct node *node)
{
	ipam_close(node->ranges);
}

/* ---- what changes the node */

static int start_store(struct node *node, struct errbuf *err)
{
	const char *directory = node->options->state_dir;
	char aside[PATH_MAX];
	int r = store_open(&node->loop, directory, &node->store, err);

	if (r != -EUCLEAN || !node->options->store_reset)
		return r;
	log_error("%s", err->text);
	r = store_set_aside(directory, aside, sizeof(aside), err);
	if (r < 0)
		return r;
	log_error("The damaged store is now %s; starting with no load balancers, as --store-reset "
		  "says",
		  aside);
	return store_open(&node->loop, directory, &node->store, err);
}

static void stop_store(struct node *node)
{
	store_close(node->store);
}

static void log_sysctl(void *arg, const char *name, const char *former, const char *given)
{
	(void)arg;
	log_info("Set the kernel setting %s to %s (it was %s)", name, given, former);
}

/* Is there anything for slb to do with this family? */
static bool has_range_of(const struct server_options *options, int family)
{
	struct ipam_pool pool;
	struct errbuf ignored;
	bool has;

	if (!has_ranges(options))
		return family == AF_INET; /* --equinixMetal */
	if (ipam_pool_parse(options->ipam_range, &pool, &ignored) < 0)
		return false;
	has = ipam_pool_size(&pool, family) > 0;
	ipam_pool_free(&pool);
	return has;
}

static int start_sysctl(struct node *node, struct errbuf *err)
{
	int r = sysctl_open(node->options->state_dir, &node->sysctl, err);

	if (r == 0 && has_range_of(node->options, AF_INET)) {
		r = sysctl_enable_forwarding(node->sysctl, AF_INET, NULL, err);
		if (r == 0)
			log_info("Enabled IPv4 Forwarding in the kernel");
	}
	if (r == 0 && has_range_of(node->options, AF_INET6)) {
		r = sysctl_enable_forwarding(node->sysctl, AF_INET6, NULL, err);
		if (r == 0)
			log_info("Enabled IPv6 Forwarding in the kernel");
	}
	if (r == 0)
		sysctl_each(node->sysctl, log_sysctl, NULL);
	return r;
}

static void note_sysctl(void *arg, const char *reason)
{
	(void)arg;
	log_warn("%s", reason);
}

static void stop_sysctl(struct node *node)
{
	struct errbuf err;

	/* The datapath that stays behind needs them. */
	if (!node->keep && node->sysctl != NULL) {
		if (sysctl_restore_all(node->sysctl, note_sysctl, NULL, &err) == 0)
			log_info("Restored the kernel settings that were changed");
	}
	sysctl_close(node->sysctl);
}

static int start_layer3(struct node *node, struct errbuf *err)
{
	const struct layer3_config config = {
		.loop = &node->loop,
		.net = node->net,
		.adapter = node->adapter,
		.store = node->store,
		.datapath = ladder_datapath(node->ladder),
		.metal = node->metal,
		.options = node->options,
		.restarted = node->was_working,
	};

	return layer3_open(&config, &node->layer3, err);
}

static int start_arp(struct node *node, struct errbuf *err)
{
	const struct arp_config config = {
		.loop = &node->loop,
		.net = node->net,
		.adapter = node->adapter,
		.segment = node->segment,
		.state_dir = node->options->state_dir,
		.repeat_interval_s = node->options->arp_interval_s,
	};

	return arp_advertiser_open(&config, &node->arp, err);
}

static int start_advertiser(struct node *node, struct errbuf *err)
{
	return node->options->bgp ? start_layer3(node, err) : start_arp(node, err);
}

static void stop_advertiser(struct node *node)
{
	arp_advertiser_close(node->arp);
	layer3_close(node->layer3, node->keep);
}

static int start_datapath(struct node *node, struct errbuf *err)
{
	const struct server_options *options = node->options;
	struct flow_timeouts timeouts = flow_timeouts_default;
	struct ladder_config config = {
		.choice = options->datapath,
		.ebpf = {
			.loop = &node->loop,
			.net = node->net,
			.adapter = options->adapter,
			.pin_path = options->pin_path,
			.timeouts = &timeouts,
			.snat_addresses = options->snat_addresses,
			.snat_address_count = options->snat_address_count,
			.report = report,
		},
		.sysctl = node->sysctl,
		.state_dir = options->state_dir,
	};

	if (options->timeout_established_s != 0)
		timeouts.tcp_established_s = options->timeout_established_s;
	if (options->timeout_udp_s != 0)
		timeouts.udp_stream_s = options->timeout_udp_s;
	config.ebpf.sizes.flows4 = options->flow_entries;
	config.ebpf.sizes.flows6 = options->flow_entries;
	return ladder_open(&config, &node->ladder, err);
}

static void stop_datapath(struct node *node)
{
	ladder_close(node->ladder, node->keep);
}

static int start_core(struct node *node, struct errbuf *err)
{
	const struct core_config config = {
		.loop = &node->loop,
		.store = node->store,
		.datapath = ladder_datapath(node->ladder),
		.advertiser = node->layer3 != NULL ? layer3_advertiser(node->layer3) : node->arp,
		.addresses = addresses_of(node),
	};
	int r = core_start(&config, &node->core, err);

	if (r == 0 && !has_ranges(node->options))
		equinix_metal_adopted(node->metal);
	return r;
}

static void stop_core(struct node *node)
{
	if (!node->keep && node->core != NULL) {
		layer3_quit_gracefully(node->layer3);
		core_withdraw_all(node->core);
	}
	core_stop(node->core);
}

static const struct capabilities *provide_capabilities(void *arg)
{
	struct node *node = arg;

	return ladder_capabilities(node->ladder);
}

static const struct bgp_peer_view *provide_bgp_peers(void *arg, size_t *ret_count)
{
	struct node *node = arg;

	return bgp_peer_book_views(layer3_peers(node->layer3), ret_count);
}

static void create_bgp_peer(void *arg, const struct bgp_peer_config *config, bgp_peer_done_cb *done,
			    void *done_arg)
{
	struct node *node = arg;

	bgp_peer_book_create(layer3_peers(node->layer3), config, done, done_arg);
}

static void remove_bgp_peer(void *arg, const struct addr *address, bgp_peer_done_cb *done,
			    void *done_arg)
{
	struct node *node = arg;

	bgp_peer_book_remove(layer3_peers(node->layer3), address, done, done_arg);
}

static int start_api(struct node *node, struct errbuf *err)
{
	bool has_bgp = node->layer3 != NULL;
	const struct api_config config = {
		.loop = &node->loop,
		.core = node->core,
		.listen = node->options->api_listen,
		.listen_count = node->options->api_listen_count,
		.port = node->options->port,
		.providers = { .capabilities = provide_capabilities,
			       .bgp_peers = has_bgp ? provide_bgp_peers : NULL,
			       .bgp_peer_create = has_bgp ? create_bgp_peer : NULL,
			       .bgp_peer_remove = has_bgp ? remove_bgp_peer : NULL,
			       .arg = node },
	};
	int r = api_server_start(&config, &node->api, err);

	if (r == 0)
		log_info("API Server will be exposed on [%s]", api_server_listening(node->api));
	return r;
}

static void stop_api(struct node *node)
{
	api_server_stop(node->api);
	node->api = NULL;
}

/* ---- the whole */

/* Every stop function accepts a part that was never started. */
static const struct part {
	int (*start)(struct node *node, struct errbuf *err);
	void (*stop)(struct node *node);
} parts[] = {
	{ start_privilege, NULL },
	{ start_net, stop_net },
	{ start_adapter, stop_adapter },
	{ start_segment, stop_segment },
	{ start_prober, stop_prober },
	{ start_metal, stop_metal },
	{ start_ranges, stop_ranges },
	{ start_store, stop_store },
	{ start_sysctl, stop_sysctl },
	{ start_datapath, stop_datapath },
	{ start_advertiser, stop_advertiser },
	{ start_core, stop_core },
	{ start_api, stop_api },
};
#define PART_COUNT (sizeof(parts) / sizeof(*parts))

static void on_signal(uv_signal_t *handle, int signal_number)
{
	log_info("Stopping on %s", signal_number == SIGINT ? "SIGINT" : "SIGTERM");
	uv_stop(handle->loop);
}

static void on_reconcile(uv_timer_t *timer)
{
	struct node *node = timer->data;

	core_reconcile(node->core);
}

/* ---- --on-exit drain: new clients go elsewhere, those there are may finish */

static void on_drain_look(uv_timer_t *timer)
{
	struct node *node = timer->data;
	uint64_t open = ladder_open_connections(node->ladder);

	if (open > 0 && uv_now(&node->loop) < node->drain_until_ms)
		return;
	if (open == UINT64_MAX)
		log_info("Waited %u s for connections to end", node->options->drain_timeout_s);
	else if (open > 0)
		log_warn("%llu connections have not ended in %u s: they are cut",
			 (unsigned long long)open, node->options->drain_timeout_s);
	else
		log_info("All connections have ended");
	uv_stop(&node->loop);
}

/* A second signal ends the wait. */
static void drain(struct node *node)
{
	uv_timer_t look;

	stop_api(node);
	layer3_quit_gracefully(node->layer3); /* first: new clients are served until they do */
	core_drain(node->core);
	log_info("Draining: nothing new is balanced, connections may end in %u s",
		 node->options->drain_timeout_s);
	uv_update_time(&node->loop);
	node->drain_until_ms = uv_now(&node->loop) + node->options->drain_timeout_s * 1000ull;
	uv_timer_init(&node->loop, &look);
	look.data = node;
	uv_timer_start(&look, on_drain_look, 0, DRAIN_LOOK_MS);
	uv_run(&node->loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&look, NULL);
	uv_run(&node->loop, UV_RUN_NOWAIT); /* lets go of it */
}

static void run(struct node *node)
{
	uv_timer_init(&node->loop, &node->reconcile);
	node->reconcile.data = node;
	uv_timer_start(&node->reconcile, on_reconcile, RECONCILE_INTERVAL_MS,
		       RECONCILE_INTERVAL_MS);
	uv_run(&node->loop, UV_RUN_DEFAULT);
	if (node->options->on_exit == ON_EXIT_DRAIN)
		drain(node);
	uv_close((uv_handle_t *)&node->reconcile, NULL);
}

static void close_walked(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static int build_run_tear_down(struct node *node, struct errbuf *err)
{
	static const int stopping[] = { SIGTERM, SIGINT, SIGHUP };
	size_t started = 0;
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	node->was_working = ladder_is_left(node->options->pin_path, node->options->state_dir);
	for (size_t i = 0; i < 3; i++) {
		uv_signal_init(&node->loop, &node->signals[i]);
		uv_signal_start(&node->signals[i], on_signal, stopping[i]);
	}
	while (r == 0 && started < PART_COUNT) {
		r = parts[started].start(node, err);
		started++;
	}
	if (r == 0)
		run(node);
	else
		node->keep = node->was_working; /* it must survive a start that fails */
	while (started > 0) {
		started--;
		if (parts[started].stop != NULL)
			parts[started].stop(node);
	}
	uv_walk(&node->loop, close_walked, NULL);
	uv_run(&node->loop, UV_RUN_DEFAULT);
	return r;
}

int command_server(int argc, char **argv)
{
	struct server_options options;
	struct node node = { .options = &options };
	struct errbuf err;
	int r;

	r = server_options_parse(argc, argv, &options, &err);
	if (r < 0)
		return command_usage_error(err.text, "slb help server");
	if (options.help) {
		server_options_print_help(stdout);
		return 0;
	}
	log_setup(options.log_level, options.log_format);
	log_info("Starting the Steel Load-Balancer");
	node.keep = options.on_exit == ON_EXIT_KEEP;
	if (uv_loop_init(&node.loop) < 0) {
		log_error("Cannot make an event loop: out of memory or descriptors");
		return EXIT_FAILURE;
	}
	r = build_run_tear_down(&node, &err);
	uv_loop_close(&node.loop);
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_FAILURE;
	}
	return 0;
}
