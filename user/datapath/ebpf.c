/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The eBPF datapath as a whole; see ebpf.h. Opens its parts in the order they need each other, ties
 * them together (events, timers, the config map), and closes them in reverse.
 *
 * invariant: config.generation only grows and is never 0; a flow compares it with its own.
 */
#include "datapath/ebpf.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath/bpf_messages.h"
#include "datapath/bpffs.h"
#include "datapath/ebpf_attach.h"
#include "datapath/ebpf_flows.h"
#include "datapath/ebpf_maps.h"
#include "datapath/ebpf_neighbours.h"
#include "datapath/ebpf_routes.h"
#include "datapath/ebpf_services.h"
#include "datapath/ebpf_slots.h"
#include "datapath/ebpf_sources.h"
#include "datapath/ebpf_uplinks.h"
#include "datapath/ports.h"

#define UPKEEP_MS   1000
#define PORTS_EVERY 10 /* upkeeps */

struct ebpf {
	struct datapath base; /* first */
	struct datapath_ops ops;
	char *pin_path;
	int lock_fd; /* -1: none */
	struct net *net;
	struct net_subscription *subscription;
	ebpf_report_cb *report;
	void *report_arg;

	struct ebpf_maps maps;
	struct slb_config shared; /* what the config map holds */
	uint32_t syn_s;           /* how long half-open flows may live */
	struct ebpf_programs programs;
	struct ebpf_flows *flows;
	struct ebpf_slots *slots;
	struct ebpf_sources *sources;
	struct ebpf_neighbours *neighbours;
	struct ebpf_uplinks *uplinks;
	struct ebpf_routes *routes;
	struct ebpf_services *services;

	uv_timer_t look_again; /* events of one turn of the loop make one new generation */
	uv_timer_t upkeep;
	unsigned int upkeeps;
	uint32_t client_source_s;       /* SLB_CONFIG_CLIENT_SOURCE stays for so many upkeeps yet */
	unsigned int closing;           /* parts that libuv has not let go yet */
	char last_trouble[ERRBUF_SIZE]; /* reported once, not every second */
};

/* ---- the config map -------------------------------------------------------------------------- */

static int write_shared(struct ebpf *ebpf)
{
	uint32_t key = 0;

	return bpf_map_update_elem(ebpf->maps.fd[EBPF_MAP_CONFIG], &key, &ebpf->shared, BPF_ANY) < 0
		       ? -errno
		       : 0;
}

static void raise_generation(struct ebpf *ebpf)
{
	if (++ebpf->shared.generation == 0)
		ebpf->shared.generation = 1;
}

/* Half-open flows of a service that kept its clients' addresses may outlive it, and with them the
 * flag. */
static bool update_flags(struct ebpf *ebpf)
{
	uint32_t flags = ebpf_flows_refuse(ebpf->flows);

	if (ebpf_services_any_client_source(ebpf->services))
		ebpf->client_source_s = ebpf->syn_s + 1;
	if (ebpf->client_source_s)
		flags |= SLB_CONFIG_CLIENT_SOURCE;
	if (flags == ebpf->shared.flags)
		return false;
	ebpf->shared.flags = flags;
	return true;
}

/* Adopts the generation of a former run, so that its flows see that ours is another one. */
static int first_shared(struct ebpf *ebpf, struct errbuf *err)
{
	uint32_t key = 0;
	int r;

	if (bpf_map_lookup_elem(ebpf->maps.fd[EBPF_MAP_CONFIG], &key, &ebpf->shared) < 0)
		return errbuf_set(err, -errno, "cannot read the map `config`: %s", strerror(errno));
	ebpf->shared.abi_version = SLB_ABI_VERSION;
	raise_generation(ebpf);
	r = ports_read(ebpf->shared.ports, err);
	if (r < 0)
		return r;
	r = write_shared(ebpf);
	if (r < 0)
		return errbuf_set(err, r, "cannot write the map `config`: %s", strerror(-r));
	return 0;
}

/* ---- callbacks of the parts ------------------------------------------------------------------ */

static void on_services_changed(void *arg, bool look_again)
{
	struct ebpf *ebpf = arg;
	bool changed = update_flags(ebpf);

	if (look_again)
		raise_generation(ebpf);
	if (changed || look_again)
		write_shared(ebpf);
}

static void on_pass_done(void *arg)
{
	struct ebpf *ebpf = arg;

	ebpf_services_pass_done(ebpf->services);
	if (update_flags(ebpf))
		write_shared(ebpf);
}

static void on_route_changed(void *arg, struct ebpf_route *route)
{
	struct ebpf *ebpf = arg;

	ebpf_services_route_changed(ebpf->services, route);
}

static void on_look_again(uv_timer_t *timer)
{
	struct ebpf *ebpf = timer->data;

	raise_generation(ebpf);
	write_shared(ebpf);
}

/* What the log and the API call this datapath: what the adapter has, or, where that is lo, the
 * first of the other uplinks. */
static void name_hook(struct ebpf *ebpf)
{
	struct ebpf_uplink_info uplinks[2] = { 0 };
	const struct ebpf_uplink_info *first = &uplinks[0];

	ebpf_uplinks_list(ebpf->uplinks, uplinks, 2);
	if (first->is_loopback)
		first = &uplinks[1];
	ebpf->ops.name = first->xdp_generic ? "xdp-generic" : first->xdp ? "xdp" : "tc";
}

static void verify_uplinks(struct ebpf *ebpf)
{
	ebpf_uplinks_verify(ebpf->uplinks);
	name_hook(ebpf);
}

static void on_net_event(void *arg, const struct net_event *event)
{
	struct ebpf *ebpf = arg;

	if (event->kind == NET_NEIGH) {
		if (!ebpf_neighbours_note(ebpf->neighbours, event))
			return;
	} else {
		ebpf_routes_note(ebpf->routes, event);
		if (event->kind == NET_LINK || event->kind == NET_RESYNC)
			verify_uplinks(ebpf);
	}
	if (!uv_is_active((uv_handle_t *)&ebpf->look_again))
		uv_timer_start(&ebpf->look_again, on_look_again, 0, 0);
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

/* Once per trouble: the same sentence is not repeated while it lasts. */
static void report_trouble(struct ebpf *ebpf, const char *sentence)
{
	if (strcmp(sentence, ebpf->last_trouble) == 0)
		return;
	snprintf(ebpf->last_trouble, sizeof(ebpf->last_trouble), "%s", sentence);
	if (*sentence && ebpf->report)
		ebpf->report(ebpf->report_arg, true, sentence);
}

static int keep_pins(struct ebpf *ebpf, struct errbuf *err)
{
	int pinned = ebpf_maps_repin(&ebpf->maps, ebpf->pin_path, err);

	if (pinned > 0 && ebpf->report) {
		char sentence[PATH_MAX + 64];

		snprintf(sentence, sizeof(sentence),
			 "%d maps were unpinned by somebody from %s: pinned again", pinned,
			 ebpf->pin_path);
		ebpf->report(ebpf->report_arg, false, sentence);
	}
	return pinned;
}

static int keep_ports(struct ebpf *ebpf, struct errbuf *err)
{
	struct slb_port_range ports[2];
	int r = ports_read(ports, err);

	if (r < 0 || memcmp(ports, ebpf->shared.ports, sizeof(ports)) == 0)
		return r;
	memcpy(ebpf->shared.ports, ports, sizeof(ports));
	return write_shared(ebpf);
}

static void on_upkeep(uv_timer_t *timer)
{
	struct ebpf *ebpf = timer->data;
	struct errbuf err = { 0 };

	verify_uplinks(ebpf);
	ebpf_neighbours_tick(ebpf->neighbours);
	if (ebpf->client_source_s)
		ebpf->client_source_s--;
	if (update_flags(ebpf))
		write_shared(ebpf);
	keep_pins(ebpf, &err);
	if (++ebpf->upkeeps % PORTS_EVERY == 0)
		keep_ports(ebpf, &err);
	report_trouble(ebpf, err.text);
}

/* ---- datapath_ops ---------------------------------------------------------------------------- */

static struct ebpf *ebpf_of(struct datapath *dp)
{
	return (struct ebpf *)dp;
}

static const struct ebpf *ebpf_of_const(const struct datapath *dp)
{
	return (const struct ebpf *)dp;
}

static int op_check(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err)
{
	return ebpf_services_check(ebpf_of(dp)->services, lb, err);
}

static int op_apply(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err)
{
	return ebpf_services_apply(ebpf_of(dp)->services, lb, err);
}

static int op_remove(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err)
{
	return ebpf_services_remove(ebpf_of(dp)->services, lb, err);
}

static int op_retain(struct datapath *dp, bool (*is_desired)(void *arg, const uuid_t uuid),
		     void *arg, struct errbuf *err)
{
	int r = ebpf_services_retain(ebpf_of(dp)->services, is_desired, arg, err);

	if (r == 0)
		ebpf_uplinks_detach_strays(ebpf_of(dp)->uplinks);
	return r;
}

static int op_drops(struct datapath *dp, const struct load_balancer *lb,
		    struct drop_count ret[static DROP_REASONS_MAX], size_t *ret_count,
		    struct errbuf *err)
{
	return ebpf_services_drops(ebpf_of(dp)->services, lb, ret, ret_count, err);
}

static size_t op_tables(struct datapath *dp, struct table_use ret[static TABLES_MAX])
{
	const struct ebpf *ebpf = ebpf_of(dp);
	static const struct {
		const char *name;
		enum ebpf_map map;
	} flow_tables[] = {
		{ "flows4", EBPF_MAP_FLOWS4 },
		{ "flows6", EBPF_MAP_FLOWS6 },
		{ "half_open4", EBPF_MAP_HALF_OPEN4 },
		{ "half_open6", EBPF_MAP_HALF_OPEN6 },
	};
	uint32_t service_count, backend_count;
	size_t n = 0;

	for (; n < sizeof(flow_tables) / sizeof(flow_tables[0]); n++)
		ret[n] = (struct table_use){
			.name = flow_tables[n].name,
			.entries = ebpf_flows_entries(ebpf->flows, flow_tables[n].map),
			.capacity = ebpf->maps.capacity[flow_tables[n].map],
		};
	ebpf_services_counts(ebpf->services, &service_count, &backend_count);
	ret[n++] = (struct table_use){ "backends", backend_count,
				       ebpf->maps.capacity[EBPF_MAP_BACKENDS] - 1 };
	ret[n++] = (struct table_use){ "services", service_count,
				       ebpf->maps.capacity[EBPF_MAP_SCHEDULER_STATE] - 1 };
	ret[n++] = (struct table_use){ "slots", ebpf_slots_used(ebpf->slots),
				       ebpf->maps.capacity[EBPF_MAP_SLOTS] * SLB_SLOTS_PER_LINE };
	return n;
}

static bool op_is_intact(struct datapath *dp)
{
	return ebpf_services_is_intact(ebpf_of(dp)->services);
}

static int op_traffic(struct datapath *dp, const struct load_balancer *lb,
		      struct traffic *ret_total, struct traffic *ret_per_backend,
		      struct errbuf *err)
{
	return ebpf_services_traffic(ebpf_of(dp)->services, lb, ret_total, ret_per_backend, err);
}

static int op_follow(struct datapath *dp, const struct addr *address, struct errbuf *err)
{
	if (!ebpf_routes_acquire(ebpf_of(dp)->routes, address))
		return errbuf_set(err, -ENOMEM, "out of memory");
	name_hook(ebpf_of(dp));
	return 0;
}

static void op_unfollow(struct datapath *dp, const struct addr *address)
{
	struct ebpf_routes *routes = ebpf_of(dp)->routes;
	struct ebpf_route *route = ebpf_routes_acquire(routes, address);

	/* The share just taken to find it, and the one that op_follow() took. */
	ebpf_routes_release(routes, route);
	ebpf_routes_release(routes, route);
}

/* ---- open ------------------------------------------------------------------------------------ */

static int open_maps(struct ebpf *ebpf, const struct ebpf_config *config, struct errbuf *err)
{
	struct ebpf_machine machine = ebpf_sizes_machine();
	struct ebpf_sizes sizes = config->sizes;
	int r = bpffs_open(ebpf->pin_path, &ebpf->lock_fd, err);

	if (r < 0)
		return r;
	ebpf_sizes_default(&sizes, &machine);
	return ebpf_maps_open(&ebpf->maps, ebpf->pin_path, &sizes, err);
}

static int open_parts(struct ebpf *ebpf, const struct ebpf_config *config, struct errbuf *err)
{
	const struct flow_timeouts *timeouts =
		config->timeouts ? config->timeouts : &flow_timeouts_default;
	struct ebpf_services_config services = {
		.maps = &ebpf->maps,
		.net = config->net,
		.snat_addresses = config->snat_addresses,
		.snat_address_count = config->snat_address_count,
		.notify = on_services_changed,
		.notify_arg = ebpf,
	};
	const struct ebpf_flows_config flows = {
		.loop = config->loop,
		.maps = &ebpf->maps,
		.programs = &ebpf->programs,
		.timeouts = timeouts,
		.sweep_ms = config->sweep_ms ? config->sweep_ms : EBPF_SWEEP_MS_DEFAULT,
		.pass_done = on_pass_done,
		.pass_arg = ebpf,
	};
	int r = ebpf_flows_open(&flows, &ebpf->flows, err);

	ebpf->syn_s = timeouts->tcp_syn_s;
	if (r == 0)
		r = ebpf_sources_open(ebpf->maps.fd[EBPF_MAP_SOURCES],
				      ebpf->maps.capacity[EBPF_MAP_SOURCES], &ebpf->sources, err);
	if (r == 0)
		r = ebpf_slots_open(config->loop, &ebpf->maps, &ebpf->slots, err);
	if (r == 0) {
		ebpf->neighbours = ebpf_neighbours_open(config->net);
		if (!ebpf->neighbours)
			r = errbuf_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0)
		r = ebpf_uplinks_open(config, &ebpf->programs, &ebpf->uplinks, err);
	if (r == 0)
		r = ebpf_routes_open(config->loop, config->net, ebpf->uplinks, ebpf->neighbours,
				     on_route_changed, ebpf, &ebpf->routes, err);
	if (r < 0)
		return r;
	services.flows = ebpf->flows;
	services.sources = ebpf->sources;
	services.slots = ebpf->slots;
	services.routes = ebpf->routes;
	return ebpf_services_open(&services, &ebpf->services, err);
}

static int open_all(struct ebpf *ebpf, const struct ebpf_config *config, struct errbuf *err)
{
	struct net_link adapter;
	/* First of all, so that a mistyped name changes nothing. */
	int r = net_link_by_name(config->net, config->adapter, &adapter, err);

	if (r == 0)
		r = open_maps(ebpf, config, err);
	if (r == 0)
		r = ebpf_programs_open(&ebpf->programs, &ebpf->maps, err);
	if (r == 0)
		r = first_shared(ebpf, err);
	if (r == 0)
		r = open_parts(ebpf, config, err);
	if (r == 0)
		r = net_subscribe(config->net, NET_LINK | NET_ADDR | NET_ROUTE | NET_NEIGH,
				  on_net_event, ebpf, &ebpf->subscription, err);
	return r;
}

int ebpf_open(const struct ebpf_config *config, struct datapath **ret, struct errbuf *err)
{
	struct ebpf *ebpf = calloc(1, sizeof(*ebpf));
	int r;

	if (!ebpf)
		return errbuf_set(err, -ENOMEM, "out of memory");
	bpf_messages_setup();
	ebpf->ops = (struct datapath_ops){ .check = op_check,
					   .apply = op_apply,
					   .remove = op_remove,
					   .retain = op_retain,
					   .traffic = op_traffic,
					   .is_intact = op_is_intact,
					   .drops = op_drops,
					   .tables = op_tables,
					   .follow = op_follow,
					   .unfollow = op_unfollow };
	ebpf->base.ops = &ebpf->ops;
	ebpf->lock_fd = -1;
	ebpf->net = config->net;
	ebpf->report = config->report;
	ebpf->report_arg = config->report_arg;
	uv_timer_init(config->loop, &ebpf->look_again);
	uv_timer_init(config->loop, &ebpf->upkeep);
	ebpf->look_again.data = ebpf->upkeep.data = ebpf;
	ebpf->pin_path = strdup(config->pin_path ? config->pin_path : EBPF_PIN_PATH_DEFAULT);
	r = ebpf->pin_path ? open_all(ebpf, config, err)
			   : errbuf_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		/* Maps that were there before are somebody's connections. */
		ebpf_close(&ebpf->base, ebpf->maps.adopted || !ebpf->maps.config_id);
		return r;
	}
	name_hook(ebpf);
	uv_timer_start(&ebpf->upkeep, on_upkeep, UPKEEP_MS, UPKEEP_MS);
	*ret = &ebpf->base;
	return 0;
}

/* ---- close ----------------------------------------------------------------------------------- */

static void part_closed(struct ebpf *ebpf)
{
	if (--ebpf->closing)
		return;
	ebpf_programs_close(&ebpf->programs);
	ebpf_maps_close(&ebpf->maps);
	free(ebpf->pin_path);
	free(ebpf);
}

static void handle_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void arg_closed(void *arg)
{
	part_closed(arg);
}

void ebpf_close(struct datapath *dp, bool keep)
{
	struct ebpf *ebpf = dp ? ebpf_of(dp) : NULL;

	if (!ebpf)
		return;
	net_unsubscribe(ebpf->subscription);
	ebpf_services_close(ebpf->services);
	ebpf_routes_close(ebpf->routes);
	ebpf_uplinks_close(ebpf->uplinks);
	ebpf_neighbours_close(ebpf->neighbours);
	ebpf_sources_close(ebpf->sources);
	if (!keep) {
		ebpf_uplinks_detach_everywhere(ebpf->maps.config_id);
		ebpf_maps_unpin(ebpf->pin_path);
		bpffs_remove(ebpf->pin_path);
	}
	if (ebpf->lock_fd >= 0)
		close(ebpf->lock_fd); /* the next one may start */
	ebpf->closing = 4;
	uv_close((uv_handle_t *)&ebpf->look_again, handle_closed);
	uv_close((uv_handle_t *)&ebpf->upkeep, handle_closed);
	ebpf_slots_close(ebpf->slots, arg_closed, ebpf);
	ebpf_flows_close(ebpf->flows, arg_closed, ebpf);
}

/* The kernel's id of the pinned `config`; 0 when there is none. */
static uint32_t pinned_config_id(const char *pin_path)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/config", pin_path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		info.id = 0;
	close(fd);
	return info.id;
}

int ebpf_purge(const char *pin_path, struct errbuf *err)
{
	int lock = -1;

	if (!pin_path)
		pin_path = EBPF_PIN_PATH_DEFAULT;
	bpf_messages_setup();
	if (access(pin_path, F_OK) == 0) {
		int r = bpffs_open(pin_path, &lock, err);

		if (r < 0)
			return r;
	}
	/* Without pins (their file system went with a mount namespace) programs are known by name.
	 */
	ebpf_uplinks_detach_everywhere(pinned_config_id(pin_path));
	ebpf_maps_unpin(pin_path);
	bpffs_remove(pin_path);
	if (lock >= 0)
		close(lock);
	return 0;
}

/* ---- what others ask ------------------------------------------------------------------------- */

size_t ebpf_uplinks_info(const struct datapath *dp, struct ebpf_uplink_info *ret, size_t max)
{
	return ebpf_uplinks_list(ebpf_of_const(dp)->uplinks, ret, max);
}

uint64_t ebpf_open_connections(const struct datapath *dp)
{
	return ebpf_services_open_connections(ebpf_of_const(dp)->services);
}

const char *ebpf_note(const struct datapath *dp)
{
	return ebpf_of_const(dp)->maps.note;
}
