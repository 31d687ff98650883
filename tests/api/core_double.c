/* SPDX-License-Identifier: GPL-2.0-only */
#include "core_double.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

struct change {
	struct core *core;
	core_done_cb *done;
	void *arg;
	int status;
	bool has_lb, has_backend;
	uuid_t lb, backend;
	struct errbuf err;
	uv_timer_t timer;
	bool held;
	struct change *prev, *next;
};

struct core {
	uv_loop_t *loop;
	bool late;
	struct load_balancer *by_uuid;
	struct load_balancer **in_order;
	size_t count, size;
	uint64_t last_order;
	struct change *changes;
};

struct core *core_double_new(uv_loop_t *loop, bool late)
{
	struct core *core = calloc(1, sizeof(*core));

	core->loop = loop;
	core->late = late;
	return core;
}

static void change_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void change_finish(struct change *change)
{
	struct core *core = change->core;
	const struct load_balancer *lb = change->has_lb ? core_find(core, change->lb) : NULL;
	const struct backend *backend = NULL;

	DL_DELETE(core->changes, change);
	if (lb != NULL && change->has_backend)
		backend = load_balancer_backend(lb, change->backend);
	if (change->status == 0 &&
	    ((change->has_lb && lb == NULL) || (change->has_backend && backend == NULL)))
		change->status = errbuf_set(&change->err, -ENOENT, "it was deleted meanwhile");
	change->done(change->arg, change->status, change->status < 0 ? NULL : lb,
		     change->status < 0 ? NULL : backend, &change->err);
	uv_close((uv_handle_t *)&change->timer, change_closed);
}

static void change_timer(uv_timer_t *timer)
{
	change_finish(timer->data);
}

/* Takes what is known of the change; `name` says when. */
static void change_start(struct core *core, const struct change *what, const char *name)
{
	struct change *change = calloc(1, sizeof(*change));
	unsigned int late_ms = 0;

	*change = *what;
	change->core = core;
	DL_APPEND(core->changes, change);
	uv_timer_init(core->loop, &change->timer);
	change->timer.data = change;
	if (strncmp(name, "hold", 4) == 0)
		change->held = true;
	else if (sscanf(name, "late %u", &late_ms) == 1 || core->late)
		uv_timer_start(&change->timer, change_timer, late_ms, 0);
	else
		change_finish(change);
}

static int failure_asked_for(const char *name, struct errbuf *err)
{
	static const struct {
		const char *name;
		int error;
	} errors[] = {
		{ "EBADMSG", EBADMSG }, { "ENOENT", ENOENT },       { "EADDRINUSE", EADDRINUSE },
		{ "EEXIST", EEXIST },   { "EINVAL", EINVAL },       { "ENOTSUP", ENOTSUP },
		{ "ENOSPC", ENOSPC },   { "EROFS", EROFS },         { "EBUSY", EBUSY },
		{ "EIO", EIO },         { "ETIMEDOUT", ETIMEDOUT }, { "ECANCELED", ECANCELED },
		{ "ENOMEM", ENOMEM },   { "EPERM", EPERM },         { "E2BIG", E2BIG }
	};
	char word[16];
	int used = 0;

	if (sscanf(name, "fail %15s %n", word, &used) != 1)
		return 0;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		if (strcmp(errors[i].name, word) == 0)
			return errbuf_set_field(err, -errors[i].error, "name", "%s", name + used);
	}
	return 0;
}

void core_double_free(struct core *core)
{
	struct change *change, *next;

	DL_FOREACH_SAFE (core->changes, change, next) {
		change->status = errbuf_set(&change->err, -ECANCELED, "core was stopped");
		uv_timer_stop(&change->timer);
		change_finish(change);
	}
	HASH_CLEAR(hh, core->by_uuid);
	for (size_t i = 0; i < core->count; i++)
		load_balancer_free(core->in_order[i]);
	free(core->in_order);
	free(core);
}

/* ---- load balancers ----------------------------------------------------------------------------
 */

static struct load_balancer *find(struct core *core, const uuid_t uuid)
{
	struct load_balancer *lb;

	HASH_FIND(hh, core->by_uuid, uuid, sizeof(uuid_t), lb);
	return lb;
}

static void insert(struct core *core, struct load_balancer *lb)
{
	if (core->count == core->size) {
		core->size = core->size * 2 + 16;
		core->in_order = realloc(core->in_order, core->size * sizeof(*core->in_order));
	}
	lb->created_order = ++core->last_order;
	core->in_order[core->count++] = lb;
	HASH_ADD(hh, core->by_uuid, uuid, sizeof(uuid_t), lb);
}

static int unknown(struct errbuf *err, const char *what, const uuid_t uuid)
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(uuid, text);
	return errbuf_set(err, -ENOENT, "there is no %s %s", what, text);
}

static void release_held(struct core *core)
{
	struct change *change, *next;

	DL_FOREACH_SAFE (core->changes, change, next) {
		if (change->held)
			change_finish(change);
	}
}

static struct addr numbered_address(int family, uint64_t number)
{
	struct addr addr = { .family = (uint16_t)family };
	uint32_t low = htonl((uint32_t)number);

	if (family == AF_INET6) {
		memcpy(addr.bytes, "\x20\x01\x0d\xb8", 4);
		memcpy(addr.bytes + 12, &low, 4);
	} else {
		low = htonl((10u << 24) + (uint32_t)number);
		memcpy(addr.bytes, &low, 4);
	}
	return addr;
}

static int create(struct core *core, const struct load_balancer_request *request,
		  struct load_balancer **ret, struct errbuf *err)
{
	struct load_balancer *lb;
	int family = request->given & LB_FAMILY ? request->family : AF_INET;
	int rc = failure_asked_for(request->name, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < core->count && request->given & LB_EIP; i++) {
		if (addr_equal(&core->in_order[i]->vip, &request->eip) &&
		    core->in_order[i]->port == request->port)
			return errbuf_set_field(err, -EADDRINUSE, "eip",
						"address and port are taken");
	}
	lb = calloc(1, sizeof(*lb));
	uuid_generate(lb->uuid);
	snprintf(lb->name, sizeof(lb->name), "%s", request->name);
	lb->port = request->port;
	lb->vip = request->given & LB_EIP ? request->eip
					  : numbered_address(family, core->last_order + 1);
	lb->protocol = request->given & LB_PROTOCOL ? request->protocol : PROTOCOL_TCP;
	lb->scheduler = request->given & LB_SCHEDULER ? request->scheduler : SCHEDULER_RR;
	lb->source_nat = request->given & LB_SOURCE_NAT ? request->source_nat : true;
	lb->affinity_s = request->affinity_s;
	insert(core, lb);
	*ret = lb;
	return 0;
}

void core_create_load_balancer(struct core *core, const struct load_balancer_request *request,
			       core_done_cb *done, void *arg)
{
	struct change change = { .done = done, .arg = arg };
	struct load_balancer *lb;

	change.status = create(core, request, &lb, &change.err);
	if (change.status == 0) {
		change.has_lb = true;
		uuid_copy(change.lb, lb->uuid);
	}
	change_start(core, &change, request->name);
	if (strcmp(request->name, "release") == 0)
		release_held(core);
}

static int update(struct core *core, const uuid_t uuid, const struct load_balancer_request *request,
		  struct errbuf *err)
{
	struct load_balancer *lb = find(core, uuid);
	int rc;

	if (lb == NULL)
		return unknown(err, "load balancer", uuid);
	if (request->given & LB_PORT && request->port != lb->port)
		return errbuf_set_field(err, -EINVAL, "port", "the port cannot change");
	rc = failure_asked_for(request->name, err);
	if (rc < 0)
		return rc;
	if (request->given & LB_NAME)
		snprintf(lb->name, sizeof(lb->name), "%s", request->name);
	if (request->given & LB_SCHEDULER)
		lb->scheduler = request->scheduler;
	if (request->given & LB_SOURCE_NAT)
		lb->source_nat = request->source_nat;
	if (request->given & LB_AFFINITY)
		lb->affinity_s = request->affinity_s;
	return 0;
}

void core_update_load_balancer(struct core *core, const uuid_t lb,
			       const struct load_balancer_request *request, core_done_cb *done,
			       void *arg)
{
	struct change change = { .done = done, .arg = arg, .has_lb = true };

	uuid_copy(change.lb, lb);
	change.status = update(core, lb, request, &change.err);
	change_start(core, &change, "");
}

void core_delete_load_balancer(struct core *core, const uuid_t uuid, core_done_cb *done, void *arg)
{
	struct change change = { .done = done, .arg = arg };
	struct load_balancer *lb = find(core, uuid);
	size_t i = 0;

	if (lb == NULL) {
		change.status = unknown(&change.err, "load balancer", uuid);
	} else {
		while (core->in_order[i] != lb)
			i++;
		memmove(&core->in_order[i], &core->in_order[i + 1],
			(core->count - i - 1) * sizeof(*core->in_order));
		core->count--;
		HASH_DEL(core->by_uuid, lb);
		load_balancer_free(lb);
	}
	change_start(core, &change, "");
}

/* ---- backends ----------------------------------------------------------------------------------
 */

static struct backend *append(struct load_balancer *lb, const struct backend_request *request)
{
	struct backend *backend;

	lb->backends = realloc(lb->backends, (lb->backend_count + 1) * sizeof(*backend));
	backend = &lb->backends[lb->backend_count++];
	*backend =
		(struct backend){ .ip = request->ip,
				  .port = request->port,
				  .type = request->type,
				  .weight = request->given & BACKEND_WEIGHT_GIVEN ? request->weight
										  : 1,
				  .state = request->state };
	uuid_generate(backend->uuid);
	return backend;
}

static int create_backend(struct core *core, const uuid_t uuid,
			  const struct backend_request *request, uuid_t ret, struct errbuf *err)
{
	struct load_balancer *lb = find(core, uuid);
	int rc;

	if (lb == NULL)
		return unknown(err, "load balancer", uuid);
	rc = failure_asked_for(lb->name, err);
	if (rc < 0)
		return rc;
	if (request->ip.family != lb->vip.family)
		return errbuf_set_field(err, -EINVAL, "ip", "the families differ");
	for (size_t i = 0; i < lb->backend_count; i++) {
		if (addr_equal(&lb->backends[i].ip, &request->ip) &&
		    lb->backends[i].port == request->port)
			return errbuf_set_field(err, -EEXIST, "ip",
						"this backend is there already");
	}
	uuid_copy(ret, append(lb, request)->uuid);
	return 0;
}

static const char *name_of(struct core *core, const uuid_t uuid)
{
	const struct load_balancer *lb = find(core, uuid);

	return lb != NULL ? lb->name : "";
}

void core_create_backend(struct core *core, const uuid_t lb, const struct backend_request *request,
			 core_done_cb *done, void *arg)
{
	struct change change = { .done = done, .arg = arg, .has_lb = true, .has_backend = true };

	uuid_copy(change.lb, lb);
	change.status = create_backend(core, lb, request, change.backend, &change.err);
	change_start(core, &change, name_of(core, lb));
}

static int find_backend(struct core *core, const uuid_t lb_uuid, const uuid_t uuid,
			struct load_balancer **ret_lb, struct backend **ret, struct errbuf *err)
{
	struct load_balancer *lb = find(core, lb_uuid);
	struct backend *backend;

	if (lb == NULL)
		return unknown(err, "load balancer", lb_uuid);
	backend = load_balancer_backend(lb, uuid);
	if (backend == NULL)
		return unknown(err, "backend", uuid);
	*ret_lb = lb;
	*ret = backend;
	return 0;
}

void core_update_backend(struct core *core, const uuid_t lb_uuid, const uuid_t uuid,
			 const struct backend_request *request, core_done_cb *done, void *arg)
{
	struct change change = { .done = done, .arg = arg, .has_lb = true, .has_backend = true };
	struct load_balancer *lb;
	struct backend *backend;

	uuid_copy(change.lb, lb_uuid);
	uuid_copy(change.backend, uuid);
	change.status = find_backend(core, lb_uuid, uuid, &lb, &backend, &change.err);
	if (change.status == 0 && request->given & BACKEND_WEIGHT_GIVEN)
		backend->weight = request->weight;
	if (change.status == 0 && request->given & BACKEND_STATE_GIVEN)
		backend->state = request->state;
	change_start(core, &change, name_of(core, lb_uuid));
}

void core_delete_backend(struct core *core, const uuid_t lb_uuid, const uuid_t uuid,
			 core_done_cb *done, void *arg)
{
	struct change change = { .done = done, .arg = arg };
	struct load_balancer *lb;
	struct backend *backend;

	change.status = find_backend(core, lb_uuid, uuid, &lb, &backend, &change.err);
	if (change.status == 0) {
		size_t i = (size_t)(backend - lb->backends);

		memmove(backend, backend + 1, (lb->backend_count - i - 1) * sizeof(*backend));
		lb->backend_count--;
	}
	change_start(core, &change, name_of(core, lb_uuid));
}

void core_double_populate(struct core *core, size_t load_balancers, size_t backends)
{
	struct load_balancer_request lb_request = { .port = 80 };
	struct backend_request request = { .port = 8080 };
	struct load_balancer *lb;
	struct errbuf err;

	for (size_t i = 0; i < load_balancers; i++) {
		snprintf(lb_request.name, sizeof(lb_request.name), "populated %zu", i);
		create(core, &lb_request, &lb, &err);
		for (size_t j = 0; j < backends; j++) {
			request.ip = numbered_address(AF_INET, j + 1);
			append(lb, &request);
		}
	}
}

/* ---- reading -----------------------------------------------------------------------------------
 */

const struct load_balancer *core_find(const struct core *core, const uuid_t lb)
{
	return find((struct core *)core, lb);
}

const struct load_balancer *core_next(const struct core *core, uint64_t after)
{
	size_t low = 0, high = core->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (core->in_order[middle]->created_order <= after)
			low = middle + 1;
		else
			high = middle;
	}
	return low < core->count ? core->in_order[low] : NULL;
}

size_t core_count(const struct core *core)
{
	return core->count;
}

/* Numbers that can be told apart; a load balancer named "no traffic" has none. */
int core_drops(struct core *core, const struct load_balancer *lb,
	       struct drop_count ret[static DROP_REASONS_MAX], size_t *ret_count,
	       struct errbuf *err)
{
	(void)core;
	(void)err;
	ret[0] = (struct drop_count){ "not_syn", lb != NULL ? lb->port : 7 };
	ret[1] = (struct drop_count){ "too_big", UINT64_MAX / 4 };
	*ret_count = 2;
	return 0;
}

size_t core_tables(struct core *core, struct table_use ret[static TABLES_MAX])
{
	(void)core;
	ret[0] = (struct table_use){ "flows4", 3, 1 << 20 };
	ret[1] = (struct table_use){ "flows6", 0, 1 << 18 };
	return 2;
}

int core_traffic(struct core *core, const struct load_balancer *lb, struct traffic *ret_total,
		 struct traffic *ret_per_backend, struct errbuf *err)
{
	(void)core;
	if (strcmp(lb->name, "no traffic") == 0)
		return errbuf_set(err, -ENOENT, "never applied");
	*ret_total = (struct traffic){ lb->created_order, 2, 3, 4, UINT64_MAX };
	for (size_t i = 0; ret_per_backend != NULL && i < lb->backend_count; i++)
		ret_per_backend[i] = (struct traffic){ i, 20, 30, 40, 50 };
	return 0;
}
