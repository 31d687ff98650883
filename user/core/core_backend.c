/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Creating, changing and deleting a backend: a new version of its load balancer with one backend
 * more, altered or less. How changes run is in core_internal.h.
 */
#include "core/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The backend in a version; NULL with the change's error set. */
static struct backend *find_backend(struct change *change, const struct load_balancer *lb)
{
	struct backend *backend = load_balancer_backend(lb, change->backend_uuid);
	char uuid[37];

	if (backend == NULL) {
		uuid_unparse_lower(change->backend_uuid, uuid);
		change_fail(change, -ENOENT, NULL, "the load balancer has no backend %s", uuid);
	}
	return backend;
}

/* For create and update: datapath, then store. */
static int apply_and_store(struct change *change, const struct backend *backend)
{
	struct core *core = change->core;

	if (change_apply_version(change) < 0)
		return change->status;
	if (change_submitted(change, store_put_backend(core->config.store, change->lb_uuid, backend,
						       change_stored, change)) == 0)
		return 0;
	change_version_undo(change);
	entry_apply(core, change->entry);
	return change->status;
}

static int fail_memory(struct change *change)
{
	return change_fail(change, -ENOMEM, NULL, "out of memory");
}

/* ---- create ------------------------------------------------------------------------------- */

static int check_new(struct change *change, const struct load_balancer *lb)
{
	const struct backend_request *request = &change->request.backend;
	char ip[ADDR_TEXT_SIZE];

	addr_format(&request->ip, ip);
	if (request->ip.family != lb->vip.family)
		return change_fail(
			change, -EINVAL, "ip",
			"backend %s must be an %s address, as the load balancer's eip is", ip,
			lb->vip.family == AF_INET ? "IPv4" : "IPv6");
	if (addr_equal(&request->ip, &lb->vip) &&
	    (!(request->given & BACKEND_TYPE_GIVEN) || request->type == BACKEND_MASQ))
		return change_fail(change, -EINVAL, "ip",
				   "backend %s is the load balancer's own eip: packets would go in "
				   "circles",
				   ip);
	for (size_t i = 0; i < lb->backend_count; i++) {
		if (addr_equal(&lb->backends[i].ip, &request->ip) &&
		    lb->backends[i].port == request->port)
			return change_fail(change, -EEXIST, "ip",
					   "the load balancer has the backend %s port %u already",
					   ip, request->port);
	}
	return 0;
}

/* A copy of lb with room for one backend more. */
static struct load_balancer *copy_with_room(const struct load_balancer *lb)
{
	struct load_balancer *copy = load_balancer_copy(lb);
	struct backend *grown;

	if (copy == NULL)
		return NULL;
	grown = reallocarray(copy->backends, copy->backend_count + 1, sizeof(*grown));
	if (grown == NULL) {
		load_balancer_free(copy);
		return NULL;
	}
	memset(&grown[copy->backend_count], 0, sizeof(*grown));
	copy->backends = grown;
	return copy;
}

static void take_members(struct backend *backend, const struct backend_request *request)
{
	if (request->given & BACKEND_WEIGHT_GIVEN)
		backend->weight = request->weight;
	if (request->given & BACKEND_STATE_GIVEN)
		backend->state = request->state;
}

static int create_steps(struct change *change)
{
	const struct backend_request *request = &change->request.backend;
	struct load_balancer *lb;
	struct backend *backend;

	if (check_new(change, change->entry->newest) < 0)
		return change->status;
	lb = copy_with_room(change->entry->newest);
	if (lb == NULL)
		return fail_memory(change);
	change->version = lb;
	backend = &lb->backends[lb->backend_count++];
	uuid_copy(backend->uuid, change->backend_uuid);
	backend->ip = request->ip;
	backend->port = request->port;
	backend->type = (request->given & BACKEND_TYPE_GIVEN) ? request->type : BACKEND_MASQ;
	backend->weight = 1;
	backend->state = BACKEND_UP;
	take_members(backend, request);
	return apply_and_store(change, backend);
}

static void create_start(struct change *change)
{
	if (change_find_entry(change) && create_steps(change) < 0)
		change_give_up(change);
}

static const struct change_ops create_ops = {
	.about_backend = true,
	.start = create_start,
	.committed = change_version_committed,
	.undo = change_version_undo,
};

void core_create_backend(struct core *core, const uuid_t lb, const struct backend_request *request,
			 core_done_cb *done, void *arg)
{
	struct change *change;
	struct errbuf err;
	int error = validate_create_backend(request, &err);

	if (error < 0) {
		change_refuse(done, arg, error, &err);
		return;
	}
	change = change_new(core, &create_ops, done, arg);
	if (change == NULL)
		return;
	change->request.backend = *request;
	uuid_copy(change->lb_uuid, lb);
	uuid_generate_random(change->backend_uuid);
	change_run(change);
}

/* ---- update ------------------------------------------------------------------------------- */

static int check_identity(struct change *change, const struct backend *backend)
{
	const struct backend_request *request = &change->request.backend;
	const char *field = NULL;

	if ((request->given & BACKEND_IP_GIVEN) && !addr_equal(&request->ip, &backend->ip))
		field = "ip";
	else if ((request->given & BACKEND_PORT_GIVEN) && request->port != backend->port)
		field = "port";
	else if ((request->given & BACKEND_TYPE_GIVEN) && request->type != backend->type)
		field = "type";
	if (field == NULL)
		return 0;
	return change_fail(change, -EINVAL, field,
			   "%s cannot be changed; create another backend and delete this one",
			   field);
}

static int update_steps(struct change *change)
{
	struct load_balancer *lb;
	struct backend *backend = find_backend(change, change->entry->newest);

	if (backend == NULL || check_identity(change, backend) < 0)
		return change->status;
	lb = load_balancer_copy(change->entry->newest);
	if (lb == NULL)
		return fail_memory(change);
	change->version = lb;
	backend = find_backend(change, lb);
	take_members(backend, &change->request.backend);
	if (load_balancer_equal(lb, change->entry->newest))
		return -EALREADY; /* nothing to store: change->status stays 0 */
	return apply_and_store(change, backend);
}

static void update_start(struct change *change)
{
	if (change_find_entry(change) && update_steps(change) < 0)
		change_give_up(change);
}

static const struct change_ops update_ops = {
	.about_backend = true,
	.start = update_start,
	.committed = change_version_committed,
	.undo = change_version_undo,
};

void core_update_backend(struct core *core, const uuid_t lb, const uuid_t backend,
			 const struct backend_request *request, core_done_cb *done, void *arg)
{
	struct change *change;
	struct errbuf err;
	int error = validate_update_backend(request, &err);

	if (error < 0) {
		change_refuse(done, arg, error, &err);
		return;
	}
	change = change_new(core, &update_ops, done, arg);
	if (change == NULL)
		return;
	change->request.backend = *request;
	uuid_copy(change->lb_uuid, lb);
	uuid_copy(change->backend_uuid, backend);
	change_run(change);
}

/* ---- delete: the datapath hears of it after the commit ------------------------------------ */

static int delete_steps(struct change *change)
{
	struct core *core = change->core;
	struct lb_entry *entry = change->entry;
	struct load_balancer *lb;
	struct backend *backend;

	if (find_backend(change, entry->newest) == NULL)
		return change->status;
	lb = load_balancer_copy(entry->newest);
	if (lb == NULL)
		return fail_memory(change);
	change->version = lb;
	backend = find_backend(change, lb);
	lb->backend_count--;
	memmove(backend, backend + 1,
		(size_t)(&lb->backends[lb->backend_count] - backend) * sizeof(*backend));
	if (change_submitted(change,
			     store_delete_backend(core->config.store, change->lb_uuid,
						  change->backend_uuid, change_stored, change)) < 0)
		return change->status;
	change->previous = entry->newest;
	entry->newest = lb;
	entry->closing = change;
	return 0;
}

static void delete_start(struct change *change)
{
	if (change_find_entry(change) && delete_steps(change) < 0)
		change_give_up(change);
}

/* Later changes of this load balancer may go on. */
static void reopen(struct change *change)
{
	change->entry->closing = NULL;
	TAILQ_CONCAT(&change->core->ready, &change->entry->waiters, link);
}

static void delete_committed(struct change *change)
{
	struct lb_entry *entry = change->entry;

	change_version_committed(change);
	entry->in_force = entry->durable;
	reopen(change);
	entry_apply(change->core, entry);
}

static void delete_undo(struct change *change)
{
	change->entry->newest = change->previous;
	load_balancer_free(change->version);
	change->version = NULL;
	reopen(change);
}

static const struct change_ops delete_ops = {
	.about_backend = true,
	.deletes = true,
	.start = delete_start,
	.committed = delete_committed,
	.undo = delete_undo,
};

void core_delete_backend(struct core *core, const uuid_t lb, const uuid_t backend,
			 core_done_cb *done, void *arg)
{
	struct change *change = change_new(core, &delete_ops, done, arg);

	if (change == NULL)
		return;
	uuid_copy(change->lb_uuid, lb);
	uuid_copy(change->backend_uuid, backend);
	change_run(change);
}
