/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making one load balancer true; see ebpf_services.h. Called by ebpf.c (the ops), ebpf_flows (end
 * of a pass), ebpf_routes (another source address).
 *
 * apply() goes in two steps. plan_*: ids, sources, routes, values and the new inner schedule are
 * got ready; nothing that packets see has changed, and giving up frees them. commit: backends, then
 * the schedule, then the service are written; what fails is undone in reverse. Last, backends that
 * are wanted no more are retired: no schedule names them any longer.
 */
#include "datapath/ebpf_services_internal.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

struct backend_plan {
	struct backend_record *record;
	bool is_new;
	bool is_written;
	struct slb_backend value, before;
	struct source_run run; /* the share held by the plan when it differs from the record's */
	bool run_is_new;
};

struct plan {
	struct ebpf_services *services;
	const struct load_balancer *lb;
	struct service_record *service;
	bool service_is_new;
	struct slb_service service_value;
	struct backend_plan *backends; /* lb->backend_count */
	struct schedule_entry *entries;
	size_t entry_count;
	int schedule_fd;        /* -1: the one in the map is right */
	int schedule_before_fd; /* for undoing; -1: not needed, or there was none */
	size_t staying;         /* backends that the service has already */
	bool look_again;        /* flows must look at their backends again */
};

int ebpf_services_open(const struct ebpf_services_config *config, struct ebpf_services **ret,
		       struct errbuf *err)
{
	struct ebpf_services *services = calloc(1, sizeof(*services));
	const struct ebpf_maps *maps = config->maps;
	int r = -ENOMEM;

	if (!services)
		return errbuf_set(err, -ENOMEM, "out of memory");
	services->config = *config;
	services->snat_addresses = calloc(config->snat_address_count + 1, sizeof(struct addr));
	if (!services->snat_addresses ||
	    ids_init(&services->service_ids, maps->capacity[EBPF_MAP_SCHEDULES]) < 0 ||
	    ids_init(&services->backend_ids, maps->capacity[EBPF_MAP_BACKENDS]) < 0) {
		errbuf_set(err, r, "out of memory");
		goto fail;
	}
	for (size_t i = 0; i < config->snat_address_count; i++)
		if (config->snat_addresses[i].family == AF_INET)
			services->snat_addresses[services->snat4_count++] =
				config->snat_addresses[i];
	for (size_t i = 0; i < config->snat_address_count; i++)
		if (config->snat_addresses[i].family == AF_INET6)
			services->snat_addresses[services->snat4_count + services->snat6_count++] =
				config->snat_addresses[i];
	r = records_adopt(services, err);
	if (r < 0)
		goto fail;
	*ret = services;
	return 0;
fail:
	ebpf_services_close(services);
	return r;
}

void ebpf_services_close(struct ebpf_services *services)
{
	if (!services)
		return;
	records_free(services);
	ids_free(&services->service_ids);
	ids_free(&services->backend_ids);
	free(services->snat_addresses);
	free(services);
}

/* ---- planning -------------------------------------------------------------------------------- */

/* The addresses that flows towards this backend leave with; *ret_count 0: the client's own, or none
 * is known (no route, ever). Borrowed. */
static const struct addr *wanted_sources(const struct ebpf_services *services, bool source_nat,
					 const struct ebpf_route *route, int family,
					 size_t *ret_count)
{
	const struct addr *given = services->snat_addresses;
	size_t count = services->snat4_count;

	if (family == AF_INET6) {
		given += services->snat4_count;
		count = services->snat6_count;
	}
	*ret_count = 0;
	if (!source_nat || !route)
		return NULL;
	if (count) {
		*ret_count = count;
		return given;
	}
	*ret_count = route->source.family != AF_UNSPEC;
	return &route->source;
}

static int plan_service(struct plan *plan, struct errbuf *err)
{
	const struct load_balancer *lb = plan->lb;
	struct service_record *service = record_find_service(plan->services, lb->uuid);
	static const uint8_t schedulers[] = {
		[SCHEDULER_RR] = SLB_SCHEDULER_NEXT,  [SCHEDULER_WRR] = SLB_SCHEDULER_NEXT,
		[SCHEDULER_SH] = SLB_SCHEDULER_HASH,  [SCHEDULER_MAGLEV] = SLB_SCHEDULER_HASH,
		[SCHEDULER_LC] = SLB_SCHEDULER_LEAST,
	};

	if (service && (!addr_equal(&service->vip, &lb->vip) || service->port != lb->port ||
			service->protocol != lb->protocol)) {
		/* Only a store that went back in time brings this. */
		int r = record_delete_service(plan->services, service);

		if (r < 0)
			return errbuf_set(err, r, "cannot remove the former service: %s",
					  strerror(-r));
		record_retire_service(plan->services, service);
		plan->look_again = true;
		service = NULL;
	}
	if (!service) {
		service = record_new_service(plan->services, lb->uuid);
		if (!service)
			return errbuf_set(err, -ENOSPC, "the table of load balancers (%u) is full",
					  plan->services->service_ids.limit - 1);
		service->vip = lb->vip;
		service->port = lb->port;
		service->protocol = (uint8_t)lb->protocol;
		plan->service_is_new = true;
	}
	plan->service = service;
	plan->service_value = (struct slb_service){
		.service_id = service->id,
		.affinity_s = lb->affinity_s,
		.scheduler = schedulers[lb->scheduler],
		.flags = lb->source_nat ? SLB_SERVICE_SOURCE_NAT : 0,
	};
	uuid_copy(plan->service_value.uuid, lb->uuid);
	return 0;
}

static int plan_sources(struct plan *plan, struct backend_plan *planned, struct errbuf *err)
{
	struct backend_record *record = planned->record;
	size_t count;
	const struct addr *addresses = wanted_sources(plan->services, plan->lb->source_nat,
						      record->route, plan->lb->vip.family, &count);

	planned->run = record->run;
	if (!ebpf_sources_match(plan->services->config.sources, record->run, addresses, count)) {
		planned->run = (struct source_run){ 0 };
		planned->run_is_new = true;
		if (count) {
			int r = ebpf_sources_acquire(plan->services->config.sources, addresses,
						     count, &planned->run, err);
			if (r < 0) {
				planned->run_is_new = false;
				return r;
			}
		}
	}
	planned->value.source_first = planned->run.count ? planned->run.first : 0;
	planned->value.source_count = planned->run.count;
	return 0;
}

static int plan_backend(struct plan *plan, size_t index, struct errbuf *err)
{
	struct ebpf_services *services = plan->services;
	const struct backend *backend = &plan->lb->backends[index];
	struct backend_plan *planned = &plan->backends[index];
	struct backend_record *record = record_find_backend(services, backend->uuid);

	if (!record) {
		record = record_new_backend(services, backend->uuid);
		if (!record)
			return errbuf_set(err, -ENOSPC, "the table of backends (%u) is full",
					  services->backend_ids.limit - 1);
		planned->is_new = true;
	}
	planned->record = record;
	if (backend->type == BACKEND_MASQ && !record->route) {
		struct ebpf_route *route =
			ebpf_routes_acquire(services->config.routes, &backend->ip);

		if (!route)
			return errbuf_set(err, -ENOMEM, "out of memory");
		record_set_route(services, record, route);
	}
	planned->before = record->written;
	planned->value = (struct slb_backend){
		.port = htons(backend->port),
		.type = backend->type == BACKEND_LOCAL ? SLB_BACKEND_LOCAL : SLB_BACKEND_MASQ,
		.flags = backend->state == BACKEND_DISABLED ? SLB_BACKEND_DISABLED : 0,
		.service_id = plan->service->id,
		.weight = backend->weight,
	};
	memcpy(planned->value.ip, backend->ip.bytes, sizeof(planned->value.ip));
	uuid_copy(planned->value.uuid, backend->uuid);
	if (backend->state == BACKEND_UP && backend->weight)
		plan->entries[plan->entry_count++] = (struct schedule_entry){
			.id = record->id,
			.weight = backend->weight,
			.ip = backend->ip,
			.port = backend->port,
		};
	return plan_sources(plan, planned, err);
}

/* ---- schedules ------------------------------------------------------------------------------- */

/* The inner map in place, or -1. The caller's, for close(). */
static int open_schedule(const struct ebpf_services *services, uint32_t service_id)
{
	uint32_t map_id;

	if (bpf_map_lookup_elem(services->config.maps->fd[EBPF_MAP_SCHEDULES], &service_id,
				&map_id) < 0)
		return -1;
	return bpf_map_get_fd_by_id(map_id);
}

/* Does the inner map hold exactly these values (the count and the slots)? */
static bool schedule_holds(int fd, const uint32_t *values, uint32_t count)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	uint32_t *found;
	bool same;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || info.max_entries != count)
		return false;
	found = malloc(count * sizeof(*found));
	same = found && ebpf_maps_read_array(fd, count, sizeof(*found), found) == 0 &&
	       memcmp(found, values, count * sizeof(*found)) == 0;
	free(found);
	return same;
}

static int create_schedule(const uint32_t *values, uint32_t count, struct errbuf *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP);
	int r, fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "slb_schedule", sizeof(__u32), sizeof(__u32),
				   count, &options);

	if (fd < 0)
		return errbuf_set(err, -errno, "cannot create a schedule of %u slots: %s", count,
				  strerror(errno));
	r = ebpf_maps_write_array(fd, count, sizeof(*values), values);
	if (r < 0) {
		close(fd);
		return errbuf_set(err, r, "cannot fill a schedule: %s", strerror(-r));
	}
	return fd;
}

static bool same_entries(const struct plan *plan)
{
	const struct service_record *service = plan->service;

	if (!service->schedule_known || service->scheduler != plan->lb->scheduler ||
	    service->entry_count != plan->entry_count)
		return false;
	for (size_t i = 0; i < plan->entry_count; i++) /* ip and port follow from the id */
		if (service->entries[i].id != plan->entries[i].id ||
		    service->entries[i].weight != plan->entries[i].weight)
			return false;
	return true;
}

static bool service_changes(const struct plan *plan)
{
	return memcmp(&plan->service_value, &plan->service->written, sizeof(plan->service_value)) !=
	       0;
}

static int plan_schedule(struct plan *plan, struct errbuf *err)
{
	uint32_t *slots, *values, count;
	int r;

	if (same_entries(plan))
		return 0;
	/* Looking is not free: up to 6.7 it waits as an update does. */
	if (!plan->service_is_new && (!plan->service->schedule_known || service_changes(plan)))
		plan->schedule_before_fd = open_schedule(plan->services, plan->service->id);
	r = schedule_build(plan->lb->scheduler, plan->entries, plan->entry_count, &slots, &count);
	if (r < 0)
		return errbuf_set(err, r, "out of memory");
	values = malloc((count + SLB_SCHEDULE_FIRST) * sizeof(*values));
	if (!values) {
		free(slots);
		return errbuf_set(err, -ENOMEM, "out of memory");
	}
	values[SLB_SCHEDULE_COUNT] = count;
	if (count)
		memcpy(values + SLB_SCHEDULE_FIRST, slots, count * sizeof(*slots));
	free(slots);
	count += SLB_SCHEDULE_FIRST;
	if (plan->schedule_before_fd < 0 ||
	    !schedule_holds(plan->schedule_before_fd, values, count)) {
		plan->schedule_fd = create_schedule(values, count, err);
		if (plan->schedule_fd < 0)
			r = plan->schedule_fd;
	}
	free(values);
	return r;
}

/* ---- committing ------------------------------------------------------------------------------ */

static void undo_backends(struct plan *plan)
{
	for (size_t i = plan->lb->backend_count; i-- > 0;) {
		struct backend_plan *planned = &plan->backends[i];

		if (planned->is_written)
			record_write_backend(plan->services, planned->record, &planned->before);
		planned->is_written = false;
	}
}

/* The kernel waits here until no program uses the former inner map: a grace period of RCU, some 15
 * ms. */
static int put_schedule(const struct plan *plan, int fd)
{
	int outer = plan->services->config.maps->fd[EBPF_MAP_SCHEDULES];

	if (fd < 0)
		return bpf_map_delete_elem(outer, &plan->service->id) < 0 ? -errno : 0;
	return bpf_map_update_elem(outer, &plan->service->id, &fd, BPF_ANY) < 0 ? -errno : 0;
}

static void undo_schedule(const struct plan *plan)
{
	if (plan->schedule_fd < 0)
		return;
	if (plan->service_is_new || plan->schedule_before_fd >= 0)
		put_schedule(plan, plan->schedule_before_fd);
	else /* the service was not there at all, so nobody goes by it */
		plan->service->schedule_known = false;
}

static int commit_backends(struct plan *plan, struct errbuf *err)
{
	for (size_t i = 0; i < plan->lb->backend_count; i++) {
		struct backend_plan *planned = &plan->backends[i];
		int r;

		if (memcmp(&planned->value, &planned->record->written, sizeof(planned->value)) == 0)
			continue;
		r = record_write_backend(plan->services, planned->record, &planned->value);
		if (r < 0) {
			undo_backends(plan);
			return errbuf_set(err, r, "cannot write the map `backends`: %s",
					  strerror(-r));
		}
		planned->is_written = true;
		if ((planned->value.flags ^ planned->before.flags) & SLB_BACKEND_DISABLED)
			plan->look_again |= !planned->is_new;
	}
	return 0;
}

static int commit_service(struct plan *plan, struct errbuf *err)
{
	struct service_record *service = plan->service;
	int r;

	if (!service_changes(plan) && record_service_is_present(plan->services, service))
		return 0;
	r = record_write_service(plan->services, service, &plan->service_value);
	if (r == -E2BIG)
		return errbuf_set(err, -ENOSPC, "the table of load balancers is full");
	if (r < 0)
		return errbuf_set(err, r, "cannot write the map `services`: %s", strerror(-r));
	return 0;
}

static int commit(struct plan *plan, struct errbuf *err)
{
	int r = commit_backends(plan, err);

	if (r < 0)
		return r;
	if (plan->schedule_fd >= 0) {
		r = put_schedule(plan, plan->schedule_fd);
		if (r < 0) {
			undo_backends(plan);
			return errbuf_set(err, r, "cannot write the map `schedules`: %s",
					  strerror(-r));
		}
	}
	r = commit_service(plan, err);
	if (r < 0) {
		undo_schedule(plan);
		undo_backends(plan);
	}
	return r;
}

/* After commit: nothing here can fail. */
static void settle(struct plan *plan)
{
	struct service_record *service = plan->service;
	struct backend_record *record, *next;

	for (size_t i = 0; i < plan->lb->backend_count; i++) {
		struct backend_plan *planned = &plan->backends[i];

		record = planned->record;
		if (planned->run_is_new) {
			ebpf_sources_release(plan->services->config.sources, record->run);
			record->run = planned->run;
		}
		record_link(record, service);
		record->wanted = true;
	}
	DL_FOREACH_SAFE2(service->backends, record, next, service_next)
	{
		if (!record->wanted) {
			record_retire_backend(plan->services, record);
			plan->look_again = true;
		} else {
			record->wanted = false;
		}
	}
	free(service->entries);
	service->entries = plan->entries;
	service->entry_count = plan->entry_count;
	service->scheduler = plan->lb->scheduler;
	service->schedule_known = true;
	plan->entries = NULL;
}

static void cancel(struct plan *plan)
{
	for (size_t i = plan->lb->backend_count; i-- > 0;) {
		struct backend_plan *planned = &plan->backends[i];

		if (!planned->record)
			continue;
		if (planned->run_is_new)
			ebpf_sources_release(plan->services->config.sources, planned->run);
		if (planned->is_new)
			record_discard_backend(plan->services, planned->record);
	}
	if (plan->service_is_new)
		record_discard_service(plan->services, plan->service);
}

int ebpf_services_apply(struct ebpf_services *services, const struct load_balancer *lb,
			struct errbuf *err)
{
	struct plan plan = {
		.services = services, .lb = lb, .schedule_fd = -1, .schedule_before_fd = -1
	};
	int r;

	plan.backends = calloc(lb->backend_count + 1, sizeof(*plan.backends));
	plan.entries = calloc(lb->backend_count + 1, sizeof(*plan.entries));
	if (!plan.backends || !plan.entries) {
		r = errbuf_set(err, -ENOMEM, "out of memory");
		goto out;
	}
	r = plan_service(&plan, err);
	for (size_t i = 0; i < lb->backend_count && r == 0; i++)
		r = plan_backend(&plan, i, err);
	if (r == 0)
		r = plan_schedule(&plan, err);
	if (r == 0)
		r = commit(&plan, err);
	if (r < 0)
		cancel(&plan);
	else
		settle(&plan);
	services->config.notify(services->config.notify_arg, plan.look_again);
out:
	if (plan.schedule_fd >= 0)
		close(plan.schedule_fd);
	if (plan.schedule_before_fd >= 0)
		close(plan.schedule_before_fd);
	free(plan.entries);
	free(plan.backends);
	return r;
}

/* ---- the other operations -------------------------------------------------------------------- */

static int check_backend(const struct ebpf_services *services, const struct load_balancer *lb,
			 const struct backend *backend, struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];
	bool is_local = false;
	int r;

	if (backend->ip.family != lb->vip.family)
		return errbuf_set_field(err, -EINVAL, "ip",
					"the backend %s is not of the family of the VIP",
					addr_format(&backend->ip, text));
	if (backend->type != BACKEND_MASQ || record_find_backend(services, backend->uuid))
		return 0;
	if (addr_equal(&backend->ip, &lb->vip))
		return errbuf_set_field(err, -EINVAL, "ip",
					"%s is the VIP of this load balancer itself",
					addr_format(&backend->ip, text));
	r = net_addr_is_local(services->config.net, &backend->ip, &is_local, err);
	if (r == 0 && is_local)
		return errbuf_set_field(err, -EINVAL, "type",
					"%s is an address of this node, which packets from the "
					"network cannot be sent on to; use type LOCAL",
					addr_format(&backend->ip, text));
	return r;
}

int ebpf_services_check(struct ebpf_services *services, const struct load_balancer *lb,
			struct errbuf *err)
{
	size_t new_backends = 0;

	if (!record_find_service(services, lb->uuid) && !services->service_ids.free_count)
		return errbuf_set(err, -ENOSPC, "the table of load balancers (%u) is full",
				  services->service_ids.limit - 1);
	for (size_t i = 0; i < lb->backend_count; i++) {
		int r = check_backend(services, lb, &lb->backends[i], err);

		if (r < 0)
			return r;
		new_backends += !record_find_backend(services, lb->backends[i].uuid);
	}
	if (new_backends > services->backend_ids.free_count)
		return errbuf_set(err, -ENOSPC, "the table of backends (%u) is full",
				  services->backend_ids.limit - 1);
	return 0;
}

static int remove_record(struct ebpf_services *services, struct service_record *service,
			 struct errbuf *err)
{
	int r = record_delete_service(services, service);

	if (r < 0)
		return errbuf_set(err, r, "cannot remove the service from its map: %s",
				  strerror(-r));
	record_retire_service(services, service);
	services->config.notify(services->config.notify_arg, true);
	return 0;
}

int ebpf_services_remove(struct ebpf_services *services, const struct load_balancer *lb,
			 struct errbuf *err)
{
	struct service_record *service = record_find_service(services, lb->uuid);

	return service ? remove_record(services, service, err) : 0;
}

int ebpf_services_retain(struct ebpf_services *services,
			 bool (*is_desired)(void *arg, const uuid_t uuid), void *arg,
			 struct errbuf *err)
{
	struct service_record *service, *next_service;
	struct backend_record *backend, *next_backend;
	bool changed = false;

	HASH_ITER (hh, services->services, service, next_service) {
		int r;

		if (is_desired(arg, service->uuid))
			continue;
		r = remove_record(services, service, err);
		if (r < 0)
			return r;
	}
	HASH_ITER (hh, services->backends, backend, next_backend) {
		if (backend->service)
			continue;
		record_retire_backend(services, backend);
		changed = true;
	}
	if (changed)
		services->config.notify(services->config.notify_arg, true);
	return 0;
}

static void add_traffic(struct traffic *sum, const struct traffic *more)
{
	sum->connections += more->connections;
	sum->packets_in += more->packets_in;
	sum->bytes_in += more->bytes_in;
	sum->packets_out += more->packets_out;
	sum->bytes_out += more->bytes_out;
}

int ebpf_services_traffic(struct ebpf_services *services, const struct load_balancer *lb,
			  struct traffic *ret_total, struct traffic *ret_per_backend,
			  struct errbuf *err)
{
	struct service_record *service = record_find_service(services, lb->uuid);
	struct traffic total;

	if (!service)
		return errbuf_set(err, -ENOENT, "the datapath does not have this load balancer");
	total = service->gone;
	for (size_t i = 0; i < lb->backend_count; i++) {
		struct backend_record *record = record_find_backend(services, lb->backends[i].uuid);
		struct traffic traffic = { 0 };
		int r = record ? record_read_traffic(services, record->id, &traffic) : 0;

		if (r < 0)
			return errbuf_set(err, r, "cannot read the map `backend_counters`: %s",
					  strerror(-r));
		if (ret_per_backend)
			ret_per_backend[i] = traffic;
		add_traffic(&total, &traffic);
	}
	*ret_total = total;
	return 0;
}

uint32_t ebpf_services_id(const struct ebpf_services *services, const uuid_t uuid)
{
	const struct service_record *service = record_find_service(services, uuid);

	return service ? service->id : 0;
}

bool ebpf_services_any_client_source(const struct ebpf_services *services)
{
	return services->client_source_count;
}

void ebpf_services_counts(const struct ebpf_services *services, uint32_t *ret_services,
			  uint32_t *ret_backends)
{
	*ret_services = HASH_COUNT(services->services);
	*ret_backends = services->backend_ids.limit - 1 - services->backend_ids.free_count;
}

void ebpf_services_route_changed(struct ebpf_services *services, struct ebpf_route *route)
{
	struct backend_record *record;

	DL_FOREACH2(route->users, record, route_next)
	{
		struct slb_backend value = record->written;
		struct source_run run = { 0 };
		struct errbuf ignored;
		size_t count;
		const struct addr *addresses =
			wanted_sources(services,
				       record->service && (record->service->written.flags &
							   SLB_SERVICE_SOURCE_NAT),
				       route, route->address.family, &count);

		if (!record->service ||
		    ebpf_sources_match(services->config.sources, record->run, addresses, count))
			continue;
		if (count && ebpf_sources_acquire(services->config.sources, addresses, count, &run,
						  &ignored) < 0)
			continue; /* the table is full: the old one stays; the next apply() says so
				   */
		value.source_first = run.first;
		value.source_count = run.count;
		record_write_backend(services, record, &value);
		ebpf_sources_release(services->config.sources, record->run);
		record->run = run;
	}
}
