/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Creating, changing and deleting a load balancer. How changes run is in core_internal.h.
 */
#include "core/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The members that a request may give at any time. */
static void take_members(struct load_balancer *lb, const struct load_balancer_request *request)
{
	if (request->given & LB_NAME)
		memcpy(lb->name, request->name, sizeof(lb->name));
	if (request->given & LB_SCHEDULER)
		lb->scheduler = request->scheduler;
	if (request->given & LB_SOURCE_NAT)
		lb->source_nat = request->source_nat;
	if (request->given & LB_AFFINITY)
		lb->affinity_s = request->affinity_s;
}

static enum protocol protocol_of(const struct load_balancer_request *request)
{
	return (request->given & LB_PROTOCOL) ? request->protocol : PROTOCOL_TCP;
}

/* ---- create ------------------------------------------------------------------------------- */

/* All that is needed in memory; the use of the VIP goes over to the entry. */
static int create_build(struct change *change)
{
	const struct load_balancer_request *request = &change->request.lb;
	struct core *core = change->core;
	struct load_balancer *lb = calloc(1, sizeof(*lb));

	if (lb == NULL)
		return change_fail(change, -ENOMEM, NULL, "out of memory");
	uuid_copy(lb->uuid, change->lb_uuid);
	lb->vip = change->vip->addr;
	lb->port = request->port;
	lb->protocol = protocol_of(request);
	lb->scheduler = SCHEDULER_RR;
	lb->source_nat = true;
	lb->created_order = core->last_order + 1;
	take_members(lb, request);

	change->entry = entry_add(core, lb, change->vip);
	if (change->entry == NULL) {
		load_balancer_free(lb);
		return change_fail(change, -ENOMEM, NULL, "out of memory");
	}
	core->last_order++;
	change->version = lb;
	change->vip = NULL;
	return 0;
}

static void create_undo(struct change *change)
{
	entry_remove(change->core, change->entry, change->version);
	change->entry = NULL;
	change->version = NULL;
}

/* The steps of a create, in their order; whoever calls undoes them. */
static int create_steps(struct change *change)
{
	struct core *core = change->core;
	struct lb_entry *entry = change->entry;

	if (!core_retry_leaving(core, &entry->service))
		return change_fail(change, -EBUSY, NULL,
				   "a deleted load balancer of the same address and port cannot be "
				   "taken out of the datapath yet; see the log, try again later");
	if (change_apply_version(change) < 0)
		return change->status;
	if (!entry->vip->prepared) {
		change->status = vip_prepare(core, entry->vip, &change->err);
		if (change->status < 0)
			return change->status;
	}
	return change_submitted(change, store_put_load_balancer(core->config.store, change->version,
								change_stored, change));
}

static void create_start(struct change *change)
{
	struct core *core = change->core;
	struct service_key service;
	struct lb_entry *other;
	char text[ADDR_TEXT_SIZE];

	if (change->vip == NULL && !vip_obtain(change))
		return;
	service = (struct service_key){
		.vip = change->vip->addr,
		.port = change->request.lb.port,
		.protocol = (uint16_t)protocol_of(&change->request.lb),
	};
	other = entry_find_service(core, &service);
	if (other != NULL && other->newest == NULL) {
		change_wait(change, &other->waiters); /* its delete is being committed */
		return;
	}
	if (other != NULL)
		change_fail(change, -EADDRINUSE, "port",
			    "port %u/%s of %s is taken by the load balancer \"%s\"; give another "
			    "port, or leave eip out",
			    service.port, protocol_name(other->newest->protocol),
			    addr_format(&service.vip, text), other->newest->name);
	else if (create_build(change) == 0 && create_steps(change) < 0)
		create_undo(change);
	if (change->stage == CHANGE_STARTING)
		change_conclude(change);
}

static void create_committed(struct change *change)
{
	struct lb_entry *entry = change->entry;

	change_version_committed(change);
	entry_show(change->core, entry);
	if (!entry->vip->announced)
		vip_announce(change->core, entry->vip);
}

static const struct change_ops create_ops = {
	.start = create_start,
	.committed = create_committed,
	.undo = create_undo,
};

void core_create_load_balancer(struct core *core, const struct load_balancer_request *request,
			       core_done_cb *done, void *arg)
{
	struct change *change;
	struct errbuf err;
	int error = validate_create_load_balancer(request, &err);

	if (error < 0) {
		change_refuse(done, arg, error, &err);
		return;
	}
	change = change_new(core, &create_ops, done, arg);
	if (change == NULL)
		return;
	change->request.lb = *request;
	uuid_generate_random(change->lb_uuid);
	change_run(change);
}

/* ---- update ------------------------------------------------------------------------------- */

static int check_identity(struct change *change, const struct load_balancer *lb)
{
	const struct load_balancer_request *request = &change->request.lb;
	const char *field = NULL;

	if ((request->given & LB_EIP) && !addr_equal(&request->eip, &lb->vip))
		field = "eip";
	else if ((request->given & LB_PORT) && request->port != lb->port)
		field = "port";
	else if ((request->given & LB_PROTOCOL) && request->protocol != lb->protocol)
		field = "protocol";
	else if ((request->given & LB_FAMILY) && request->family != lb->vip.family)
		field = "family";
	if (field == NULL)
		return 0;
	return change_fail(change, -EINVAL, field,
			   "%s cannot be changed; create another load balancer and delete this one",
			   field);
}

static int update_steps(struct change *change)
{
	struct core *core = change->core;
	const struct load_balancer *newest = change->entry->newest;

	if (check_identity(change, newest) < 0)
		return change->status;
	change->version = load_balancer_copy(newest);
	if (change->version == NULL)
		return change_fail(change, -ENOMEM, NULL, "out of memory");
	take_members(change->version, &change->request.lb);
	if (load_balancer_equal(change->version, newest))
		return -EALREADY; /* nothing to store: change->status stays 0 */

	if (change_apply_version(change) < 0)
		return change->status;
	if (change_submitted(change, store_put_load_balancer(core->config.store, change->version,
							     change_stored, change)) == 0)
		return 0;
	change_version_undo(change);
	entry_apply(core, change->entry);
	return change->status;
}

static void update_start(struct change *change)
{
	if (change_find_entry(change) && update_steps(change) < 0)
		change_give_up(change);
}

static const struct change_ops update_ops = {
	.start = update_start,
	.committed = change_version_committed,
	.undo = change_version_undo,
};

void core_update_load_balancer(struct core *core, const uuid_t lb,
			       const struct load_balancer_request *request, core_done_cb *done,
			       void *arg)
{
	struct change *change;
	struct errbuf err;
	int error = validate_update_load_balancer(request, &err);

	if (error < 0) {
		change_refuse(done, arg, error, &err);
		return;
	}
	change = change_new(core, &update_ops, done, arg);
	if (change == NULL)
		return;
	change->request.lb = *request;
	uuid_copy(change->lb_uuid, lb);
	change_run(change);
}

/* ---- delete ------------------------------------------------------------------------------- */

static void delete_start(struct change *change)
{
	struct core *core = change->core;
	struct lb_entry *entry;

	if (!change_find_entry(change))
		return;
	entry = change->entry;
	if (change_submitted(change, store_delete_load_balancer(core->config.store, entry->uuid,
								change_stored, change)) < 0) {
		change_conclude(change);
		return;
	}
	change->previous = entry->newest;
	entry->newest = NULL;
	entry->closing = change;
}

static void delete_committed(struct change *change)
{
	struct lb_entry *entry = change->entry;

	entry_hide(change->core, entry);
	entry_remove(change->core, entry, entry->durable);
}

static void delete_undo(struct change *change)
{
	struct lb_entry *entry = change->entry;

	entry->newest = change->previous;
	entry->closing = NULL;
	TAILQ_CONCAT(&change->core->ready, &entry->waiters, link);
}

static const struct change_ops delete_ops = {
	.deletes = true,
	.start = delete_start,
	.committed = delete_committed,
	.undo = delete_undo,
};

void core_delete_load_balancer(struct core *core, const uuid_t lb, core_done_cb *done, void *arg)
{
	struct change *change = change_new(core, &delete_ops, done, arg);

	if (change == NULL)
		return;
	uuid_copy(change->lb_uuid, lb);
	change_run(change);
}
