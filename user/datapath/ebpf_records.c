/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single services and backends in memory and in the maps; see ebpf_services_internal.h. Called by
 * ebpf_services.c alone.
 */
#include "datapath/ebpf_services_internal.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* ---- keys and lookups ------------------------------------------------------------------------ */

int record_service_map(const struct ebpf_services *services, const struct addr *vip)
{
	return services->config.maps
		->fd[vip->family == AF_INET6 ? EBPF_MAP_SERVICES6 : EBPF_MAP_SERVICES4];
}

void record_service_key(const struct addr *vip, uint16_t port, uint8_t protocol, void *ret)
{
	if (vip->family == AF_INET6) {
		struct slb_service_key6 key = { .port = htons(port), .protocol = protocol };

		memcpy(key.vip, vip->bytes, sizeof(key.vip));
		memcpy(ret, &key, sizeof(key));
	} else {
		struct slb_service_key4 key = { .port = htons(port), .protocol = protocol };

		memcpy(&key.vip, vip->bytes, sizeof(key.vip));
		memcpy(ret, &key, sizeof(key));
	}
}

struct service_record *record_find_service(const struct ebpf_services *services, const uuid_t uuid)
{
	struct service_record *service;

	HASH_FIND(hh, services->services, uuid, sizeof(uuid_t), service);
	return service;
}

struct backend_record *record_find_backend(const struct ebpf_services *services, const uuid_t uuid)
{
	struct backend_record *backend;

	HASH_FIND(hh, services->backends, uuid, sizeof(uuid_t), backend);
	return backend;
}

static bool keeps_client_source(const struct slb_service *value)
{
	return value->service_id && !(value->flags & SLB_SERVICE_SOURCE_NAT);
}

static void set_written(struct ebpf_services *services, struct service_record *service,
			const struct slb_service *value)
{
	services->client_source_count -= keeps_client_source(&service->written);
	services->client_source_count += keeps_client_source(value);
	service->written = *value;
}

/* ---- new ones -------------------------------------------------------------------------------- */

/* An entry of a per-CPU array becomes zero on every CPU. */
static int zero_percpu(const struct ebpf_services *services, enum ebpf_map map, uint32_t id,
		       size_t value_bytes)
{
	void *zeros = calloc(services->config.maps->cpus, (value_bytes + 7) / 8 * 8);
	int r;

	if (!zeros)
		return -ENOMEM;
	r = bpf_map_update_elem(services->config.maps->fd[map], &id, zeros, BPF_ANY);
	free(zeros);
	return r < 0 ? -errno : 0;
}

struct service_record *record_new_service(struct ebpf_services *services, const uuid_t uuid)
{
	struct service_record *service = calloc(1, sizeof(*service));
	struct slb_scheduler_state state = { 0 };

	if (!service)
		return NULL;
	service->id = ids_give(&services->service_ids);
	if (!service->id ||
	    zero_percpu(services, EBPF_MAP_DROPS, service->id, sizeof(struct slb_drops)) < 0) {
		ids_return(&services->service_ids, service->id);
		free(service);
		return NULL;
	}
	bpf_map_update_elem(services->config.maps->fd[EBPF_MAP_SCHEDULER_STATE], &service->id,
			    &state, BPF_ANY);
	uuid_copy(service->uuid, uuid);
	HASH_ADD(hh, services->services, uuid, sizeof(uuid_t), service);
	return service;
}

struct backend_record *record_new_backend(struct ebpf_services *services, const uuid_t uuid)
{
	struct backend_record *backend = calloc(1, sizeof(*backend));

	if (!backend)
		return NULL;
	backend->id = ids_give(&services->backend_ids);
	if (!backend->id || zero_percpu(services, EBPF_MAP_BACKEND_COUNTERS, backend->id,
					sizeof(struct slb_traffic)) < 0) {
		ids_return(&services->backend_ids, backend->id);
		free(backend);
		return NULL;
	}
	memset(&services->config.maps->backend_state[backend->id], 0,
	       sizeof(struct slb_backend_state));
	uuid_copy(backend->uuid, uuid);
	HASH_ADD(hh, services->backends, uuid, sizeof(uuid_t), backend);
	return backend;
}

static void free_service(struct ebpf_services *services, struct service_record *service)
{
	if (services->audited == service)
		services->audited = service->hh.next;
	HASH_DEL(services->services, service);
	free(service->entries);
	free(service);
}

static void free_backend(struct ebpf_services *services, struct backend_record *backend)
{
	record_set_route(services, backend, NULL);
	record_link(backend, NULL);
	ebpf_sources_release(services->config.sources, backend->run);
	HASH_DEL(services->backends, backend);
	free(backend);
}

void record_discard_service(struct ebpf_services *services, struct service_record *service)
{
	ids_return(&services->service_ids, service->id);
	free_service(services, service);
}

void record_discard_backend(struct ebpf_services *services, struct backend_record *backend)
{
	ids_return(&services->backend_ids, backend->id);
	free_backend(services, backend);
}

/* ---- ties ------------------------------------------------------------------------------------ */

void record_link(struct backend_record *backend, struct service_record *service)
{
	if (backend->service == service)
		return;
	if (backend->service)
		DL_DELETE2(backend->service->backends, backend, service_prev, service_next);
	if (service)
		DL_APPEND2(service->backends, backend, service_prev, service_next);
	backend->service = service;
}

void record_set_route(struct ebpf_services *services, struct backend_record *backend,
		      struct ebpf_route *route)
{
	if (backend->route) {
		DL_DELETE2(backend->route->users, backend, route_prev, route_next);
		ebpf_routes_release(services->config.routes, backend->route);
	}
	if (route)
		DL_APPEND2(route->users, backend, route_prev, route_next);
	backend->route = route;
}

/* ---- writing --------------------------------------------------------------------------------- */

int record_write_service(struct ebpf_services *services, struct service_record *service,
			 const struct slb_service *value)
{
	struct slb_service_key6 key;

	record_service_key(&service->vip, service->port, service->protocol, &key);
	if (bpf_map_update_elem(record_service_map(services, &service->vip), &key, value, BPF_ANY) <
	    0)
		return -errno;
	set_written(services, service, value);
	return 0;
}

int record_delete_service(struct ebpf_services *services, struct service_record *service)
{
	int fd = record_service_map(services, &service->vip);
	struct slb_service_key6 key;
	struct slb_service value, none = { 0 };

	record_service_key(&service->vip, service->port, service->protocol, &key);
	/* Another load balancer may have come to this VIP and port since (after a crash). */
	if (bpf_map_lookup_elem(fd, &key, &value) == 0 &&
	    uuid_compare(value.uuid, service->uuid) == 0 && bpf_map_delete_elem(fd, &key) < 0 &&
	    errno != ENOENT)
		return -errno;
	set_written(services, service, &none);
	return 0;
}

bool record_service_is_present(const struct ebpf_services *services,
			       const struct service_record *service)
{
	struct slb_service_key6 key;
	struct slb_service value;

	record_service_key(&service->vip, service->port, service->protocol, &key);
	return bpf_map_lookup_elem(record_service_map(services, &service->vip), &key, &value) ==
		       0 &&
	       memcmp(&value, &service->written, sizeof(value)) == 0;
}

int record_write_backend(struct ebpf_services *services, struct backend_record *backend,
			 const struct slb_backend *value)
{
	struct slb_backend_state *state = &services->config.maps->backend_state[backend->id];

	if (backend->written.type == SLB_BACKEND_NONE)
		state->next_port = next_ports_find(&services->next_ports, value);
	if (bpf_map_update_elem(services->config.maps->fd[EBPF_MAP_BACKENDS], &backend->id, value,
				BPF_ANY) < 0)
		return -errno;
	backend->written = *value;
	return 0;
}

/* ---- retiring -------------------------------------------------------------------------------- */

static void retire_id(struct ebpf_services *services, uint32_t id, bool is_service)
{
	struct retired_id *retired = calloc(1, sizeof(*retired));

	if (!is_service)
		ebpf_flows_condemn(services->config.flows, id);
	if (!retired)
		return; /* the id is lost until the next start: better than given out too early */
	retired->id = id;
	retired->is_service = is_service;
	retired->after_pass = ebpf_flows_clean_after(services->config.flows);
	LL_PREPEND(services->retired, retired);
}

void record_retire_backend(struct ebpf_services *services, struct backend_record *backend)
{
	struct slb_backend value = backend->written;
	struct traffic traffic;

	if (backend->service && record_read_traffic(services, backend->id, &traffic) == 0) {
		struct traffic *gone = &backend->service->gone;

		gone->connections += traffic.connections;
		gone->packets_in += traffic.packets_in;
		gone->bytes_in += traffic.bytes_in;
		gone->packets_out += traffic.packets_out;
		gone->bytes_out += traffic.bytes_out;
	}
	next_ports_keep(&services->next_ports, &value,
			services->config.maps->backend_state[backend->id].next_port);
	value.type = SLB_BACKEND_NONE;
	record_write_backend(services, backend, &value); /* cannot fail for an index in range */
	retire_id(services, backend->id, false);
	free_backend(services, backend);
}

void record_retire_service(struct ebpf_services *services, struct service_record *service)
{
	while (service->backends)
		record_retire_backend(services, service->backends);
	ebpf_slots_retire(services->config.slots, service->region);
	retire_id(services, service->id, true);
	free_service(services, service);
}

void ebpf_services_pass_done(struct ebpf_services *services)
{
	uint64_t passes = ebpf_flows_passes(services->config.flows);
	struct slb_backend none = { 0 };
	struct retired_id *retired, *next;

	LL_FOREACH_SAFE(services->retired, retired, next)
	{
		if (passes < retired->after_pass)
			continue;
		if (retired->is_service) {
			ids_return(&services->service_ids, retired->id);
		} else {
			bpf_map_update_elem(services->config.maps->fd[EBPF_MAP_BACKENDS],
					    &retired->id, &none, BPF_ANY);
			ebpf_flows_pardon(services->config.flows, retired->id);
			ids_return(&services->backend_ids, retired->id);
		}
		LL_DELETE(services->retired, retired);
		free(retired);
	}
}

/* ---- counters -------------------------------------------------------------------------------- */

int record_read_traffic(const struct ebpf_services *services, uint32_t backend_id,
			struct traffic *ret)
{
	const struct ebpf_maps *maps = services->config.maps;
	struct slb_traffic *cpus = calloc(maps->cpus, sizeof(*cpus));
	struct traffic sum = { 0 };

	_Static_assert(sizeof(struct slb_traffic) % 8 == 0, "per-CPU values are 8-byte aligned");
	if (!cpus)
		return -ENOMEM;
	if (bpf_map_lookup_elem(maps->fd[EBPF_MAP_BACKEND_COUNTERS], &backend_id, cpus) < 0) {
		free(cpus);
		return -errno;
	}
	for (uint32_t cpu = 0; cpu < maps->cpus; cpu++) {
		sum.connections += cpus[cpu].connections;
		sum.packets_in += cpus[cpu].packets_in;
		sum.bytes_in += cpus[cpu].bytes_in;
		sum.packets_out += cpus[cpu].packets_out;
		sum.bytes_out += cpus[cpu].bytes_out;
	}
	free(cpus);
	*ret = sum;
	return 0;
}

uint64_t ebpf_services_open_connections(const struct ebpf_services *services)
{
	const struct backend_record *backend, *next;
	uint64_t sum = 0;

	HASH_ITER (hh, services->backends, backend, next) {
		const struct slb_backend_state *state =
			&services->config.maps->backend_state[backend->id];
		int32_t open = (int32_t)(state->opened - state->closed - state->expired);

		/* Below 0: read while the programs count. */
		if (backend->service && backend->service->protocol == IPPROTO_TCP && open > 0)
			sum += (uint64_t)open;
	}
	return sum;
}

/* ---- adopting -------------------------------------------------------------------------------- */

/* A service that a former run wrote. Entries that cannot be used are deleted. */
static void adopt_service(struct ebpf_services *services, int map_fd, const void *key, int family)
{
	struct service_record *service;
	struct slb_service value;

	if (bpf_map_lookup_elem(map_fd, key, &value) < 0)
		return;
	service = calloc(1, sizeof(*service));
	if (!service || record_find_service(services, value.uuid) ||
	    !ids_take(&services->service_ids, value.service_id)) {
		free(service);
		bpf_map_delete_elem(map_fd, key);
		return;
	}
	uuid_copy(service->uuid, value.uuid);
	service->id = value.service_id;
	set_written(services, service, &value);
	service->region = (struct slot_region){ value.first_slot, value.slot_count };
	if (service->region.count && !ebpf_slots_adopt(services->config.slots, service->region))
		service->region.count = 0; /* apply() writes it anew */
	service->vip.family = (uint16_t)family;
	if (family == AF_INET6) {
		const struct slb_service_key6 *key6 = key;

		memcpy(service->vip.bytes, key6->vip, sizeof(key6->vip));
		service->port = ntohs(key6->port);
		service->protocol = key6->protocol;
	} else {
		const struct slb_service_key4 *key4 = key;

		memcpy(service->vip.bytes, &key4->vip, sizeof(key4->vip));
		service->port = ntohs(key4->port);
		service->protocol = key4->protocol;
	}
	HASH_ADD(hh, services->services, uuid, sizeof(uuid_t), service);
}

static void adopt_services(struct ebpf_services *services, enum ebpf_map map, int family)
{
	int fd = services->config.maps->fd[map];
	struct slb_service_key6 key, next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (more) {
		key = next; /* step on first: adopting may delete */
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		adopt_service(services, fd, &key, family);
	}
}

/* A deleted backend whose flows had not all ended. */
static void adopt_retired(struct ebpf_services *services, uint32_t id,
			  const struct slb_backend *value)
{
	if (ids_take(&services->service_ids, value->service_id))
		retire_id(services, value->service_id, true);
	retire_id(services, id, false);
}

/* by_id: the services, by their ids. */
static int adopt_backend(struct ebpf_services *services, uint32_t id,
			 const struct slb_backend *value, struct service_record *const *by_id)
{
	struct backend_record *backend;
	int family;

	ids_take(&services->backend_ids, id);
	if (value->type == SLB_BACKEND_NONE) {
		adopt_retired(services, id, value);
		return 0;
	}
	backend = calloc(1, sizeof(*backend));
	if (!backend)
		return -ENOMEM;
	uuid_copy(backend->uuid, value->uuid);
	backend->id = id;
	backend->written = *value;
	HASH_ADD(hh, services->backends, uuid, sizeof(uuid_t), backend);
	if (value->service_id < services->service_ids.limit)
		record_link(backend, by_id[value->service_id]);

	family = backend->service ? backend->service->vip.family : AF_INET;
	backend->run = (struct source_run){ value->source_first, value->source_count };
	if (backend->run.count &&
	    !ebpf_sources_adopt(services->config.sources, family, backend->run))
		backend->run.count = 0; /* apply() gives it a new one */
	return 0;
}

static int adopt_backends(struct ebpf_services *services)
{
	uint32_t limit = services->config.maps->capacity[EBPF_MAP_BACKENDS];
	struct slb_backend *values = calloc(limit, sizeof(*values));
	struct service_record **by_id =
		calloc(services->service_ids.limit, sizeof(struct service_record *));
	struct service_record *service, *next;
	int r = -ENOMEM;

	if (!values || !by_id)
		goto out;
	HASH_ITER (hh, services->services, service, next)
		by_id[service->id] = service;
	r = ebpf_maps_read_array(services->config.maps->fd[EBPF_MAP_BACKENDS], limit,
				 sizeof(*values), values);
	for (uint32_t id = 1; id < limit && r == 0; id++)
		if (!uuid_is_null(values[id].uuid))
			r = adopt_backend(services, id, &values[id], by_id);
out:
	free(values);
	free(by_id);
	return r;
}

int records_adopt(struct ebpf_services *services, struct errbuf *err)
{
	int r;

	adopt_services(services, EBPF_MAP_SERVICES4, AF_INET);
	adopt_services(services, EBPF_MAP_SERVICES6, AF_INET6);
	r = adopt_backends(services);
	if (r < 0)
		return errbuf_set(err, r, "cannot read the pinned map `backends`: %s",
				  strerror(-r));
	return 0;
}

void records_free(struct ebpf_services *services)
{
	struct service_record *service, *next_service;
	struct backend_record *backend, *next_backend;
	struct retired_id *retired, *next_retired;

	HASH_ITER (hh, services->backends, backend, next_backend)
		free_backend(services, backend);
	HASH_ITER (hh, services->services, service, next_service)
		free_service(services, service);
	LL_FOREACH_SAFE(services->retired, retired, next_retired)
	free(retired);
	next_ports_free(&services->next_ports);
}
