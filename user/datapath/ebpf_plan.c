/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_services_apply(): making one load balancer true; see ebpf_services.h.
 *
 * It goes in two steps. plan_*: ids, sources, routes, values and the schedule are got ready in
 * places that no packet is led to yet; giving up frees them. commit: backends, then the service,
 * which names the schedule, are written; what fails is undone in reverse. Last, backends that are
 * wanted no more are retired: no schedule names them any longer.
 */
#include "datapath/ebpf_services_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
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
	struct slot_region region; /* what the schedule will be in */
	bool region_is_new;
	bool look_again; /* flows must look at their backends again */
};

/* ---- planning -------------------------------------------------------------------------------- */

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
	const struct addr *addresses = services_wanted_sources(
		plan->services, plan->lb->source_nat, record->route, plan->lb->vip.family, &count);

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

static uint8_t backend_flags(const struct backend *backend)
{
	if (backend->state == BACKEND_DISABLED)
		return SLB_BACKEND_DISABLED;
	return backend->state == BACKEND_UP && backend->weight ? 0 : SLB_BACKEND_NO_NEW;
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
		.flags = backend_flags(backend),
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
	struct ebpf_slots *slots = plan->services->config.slots;
	uint32_t *ids, count;
	int r;

	plan->region = plan->service->region;
	if (!same_entries(plan)) {
		r = schedule_build(plan->lb->scheduler, plan->entries, plan->entry_count, &ids,
				   &count);
		if (r < 0)
			return errbuf_set(err, r, "out of memory");
		if (!ebpf_slots_hold(slots, plan->region, ids, count)) {
			r = ebpf_slots_put(slots, ids, count, &plan->region, err);
			plan->region_is_new = r == 0;
		}
		free(ids);
		if (r < 0)
			return r;
	}
	plan->service_value.first_slot = plan->region.count ? plan->region.first : 0;
	plan->service_value.slot_count = plan->region.count;
	return 0;
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
	r = commit_service(plan, err);
	if (r < 0)
		undo_backends(plan);
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
	if (plan->region_is_new) {
		ebpf_slots_retire(plan->services->config.slots, service->region);
		service->region = plan->region;
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
	if (plan->region_is_new)
		ebpf_slots_drop(plan->services->config.slots, plan->region);
	if (plan->service_is_new)
		record_discard_service(plan->services, plan->service);
}

int ebpf_services_apply(struct ebpf_services *services, const struct load_balancer *lb,
			struct errbuf *err)
{
	struct plan plan = { .services = services, .lb = lb };
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
	free(plan.entries);
	free(plan.backends);
	return r;
}
