/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The operations on services but for apply() (ebpf_plan.c); see ebpf_services.h. Called by ebpf.c
 * (the ops) and ebpf_routes (another source address).
 */
#include "datapath/ebpf_services_internal.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* Some 0.5 µs each. */
#define AUDITED_AT_ONCE 200

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
	    ids_init(&services->service_ids, maps->capacity[EBPF_MAP_SCHEDULER_STATE]) < 0 ||
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

/* ---- the operations -------------------------------------------------------------------- */

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

const struct addr *services_wanted_sources(const struct ebpf_services *services, bool source_nat,
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

int ebpf_services_drops(const struct ebpf_services *services, const struct load_balancer *lb,
			struct drop_count ret[static DROP_REASONS_MAX], size_t *ret_count,
			struct errbuf *err)
{
	static const char *const labels[SLB_DROP_COUNT] = {
#define DROP_LABEL(name, label) [SLB_DROP_##name] = label,
		SLB_DROP_REASONS(DROP_LABEL)
#undef DROP_LABEL
	};
	const struct ebpf_maps *maps = services->config.maps;
	uint32_t id = lb ? ebpf_services_id(services, lb->uuid) : 0;
	struct slb_drops *cpus;
	size_t count = 0;

	_Static_assert(SLB_DROP_COUNT <= DROP_REASONS_MAX, "room for every reason");
	if (lb && !id)
		return errbuf_set(err, -ENOENT, "the datapath does not have this load balancer");
	cpus = calloc(maps->cpus, sizeof(*cpus));
	if (!cpus)
		return errbuf_set(err, -ENOMEM, "out of memory");
	if (bpf_map_lookup_elem(maps->fd[EBPF_MAP_DROPS], &id, cpus) < 0) {
		int r = errbuf_set(err, -errno, "cannot read the map `drops`: %s", strerror(errno));

		free(cpus);
		return r;
	}
	for (unsigned int reason = 0; reason < SLB_DROP_COUNT; reason++) {
		uint64_t packets = 0;

		for (uint32_t cpu = 0; cpu < maps->cpus; cpu++)
			packets += cpus[cpu].packets[reason];
		if (packets)
			ret[count++] = (struct drop_count){ labels[reason], packets };
	}
	free(cpus);
	*ret_count = count;
	return 0;
}

bool ebpf_services_is_intact(struct ebpf_services *services)
{
	bool intact = !services->is_untrue;

	services->is_untrue = false;
	for (unsigned int n = 0; n < AUDITED_AT_ONCE && intact; n++) {
		struct service_record *service = services->audited;

		if (!service)
			service = services->services; /* round again */
		if (!service)
			break;
		services->audited = service->hh.next;
		intact = record_service_is_present(services, service);
	}
	return intact;
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
			services_wanted_sources(services,
						record->service && (record->service->written.flags &
								    SLB_SERVICE_SOURCE_NAT),
						route, route->address.family, &count);

		if (!record->service ||
		    ebpf_sources_match(services->config.sources, record->run, addresses, count))
			continue;
		if (count && ebpf_sources_acquire(services->config.sources, addresses, count, &run,
						  &ignored) < 0) {
			services->is_untrue = true; /* the old one stays; apply() says why */
			continue;
		}
		value.source_first = run.first;
		value.source_count = run.count;
		record_write_backend(services, record, &value);
		ebpf_sources_release(services->config.sources, record->run);
		record->run = run;
	}
}
