/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of load balancers: start, stop, reading, and returning to what the store has.
 *
 * invariant: core->order holds exactly the entries with a durable version, sorted by created_order.
 * invariant: entry->in_force is never NULL; it is the durable version or one a submitted change
 * owns.
 */
#include "core/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

/* ---- entries ------------------------------------------------------------------------------ */

struct lb_entry *entry_find(const struct core *core, const uuid_t uuid)
{
	struct lb_entry *entry;

	HASH_FIND(hh, core->entries, uuid, sizeof(uuid_t), entry);
	return entry;
}

struct lb_entry *entry_find_service(const struct core *core, const struct service_key *service)
{
	struct lb_entry *entry;

	HASH_FIND(hh_service, core->services, service, sizeof(*service), entry);
	return entry;
}

struct service_key service_key_of(const struct load_balancer *lb)
{
	return (struct service_key){
		.vip = lb->vip,
		.port = lb->port,
		.protocol = (uint16_t)lb->protocol,
	};
}

static int reserve_order(struct core *core, size_t count)
{
	size_t capacity = core->order_capacity;
	struct lb_entry **grown;

	if (count <= capacity)
		return 0;
	capacity = capacity == 0 ? 16 : capacity * 2;
	grown = reallocarray(core->order, capacity, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	core->order = grown;
	core->order_capacity = capacity;
	return 0;
}

struct lb_entry *entry_add(struct core *core, const struct load_balancer *lb, struct vip *vip)
{
	struct lb_entry *entry;

	if (reserve_order(core, HASH_COUNT(core->entries) + 1) < 0)
		return NULL;
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return NULL;
	uuid_copy(entry->uuid, lb->uuid);
	entry->service = service_key_of(lb);
	entry->newest = entry->in_force = lb;
	entry->vip = vip;
	TAILQ_INIT(&entry->waiters);

	HASH_ADD(hh, core->entries, uuid, sizeof(entry->uuid), entry);
	if (entry->hh.tbl != NULL)
		HASH_ADD(hh_service, core->services, service, sizeof(entry->service), entry);
	if (entry->hh.tbl == NULL || entry->hh_service.tbl == NULL) {
		if (entry->hh.tbl != NULL)
			HASH_DEL(core->entries, entry);
		free(entry);
		return NULL;
	}
	return entry;
}

/* The index of the first whose created_order is greater than `after`. */
static size_t order_after(const struct core *core, uint64_t after)
{
	size_t low = 0, high = core->order_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (core->order[middle]->durable->created_order > after)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void entry_show(struct core *core, struct lb_entry *entry)
{
	size_t at = order_after(core, entry->durable->created_order);

	memmove(&core->order[at + 1], &core->order[at],
		(core->order_count - at) * sizeof(*core->order));
	core->order[at] = entry;
	core->order_count++;
}

void entry_hide(struct core *core, struct lb_entry *entry)
{
	size_t at = order_after(core, entry->durable->created_order) - 1;

	core->order_count--;
	memmove(&core->order[at], &core->order[at + 1],
		(core->order_count - at) * sizeof(*core->order));
}

void entry_free(struct lb_entry *entry)
{
	load_balancer_free(entry->durable);
	free(entry);
}

void entry_remove(struct core *core, struct lb_entry *entry, struct load_balancer *last)
{
	struct datapath *dp = core->config.datapath;
	struct errbuf err;
	bool removed;

	if (entry->vip->users == 1 && entry->vip->placed)
		vip_withdraw(core, entry->vip);
	removed = dp->ops->remove(dp, last, &err) == 0;
	vip_release(core, entry->vip);
	entry->vip = NULL;
	entry->durable = last;
	HASH_DEL(core->entries, entry);
	HASH_DELETE(hh_service, core->services, entry);
	TAILQ_CONCAT(&core->ready, &entry->waiters, link);
	if (removed) {
		entry_free(entry);
		return;
	}
	log_warn("cannot remove load balancer %s from the datapath: %s; trying again", last->name,
		 err.text);
	core->outstanding = true;
	LIST_INSERT_HEAD(&core->leaving, entry, link);
}

/* The same load balancer with no backend that takes new flows. */
static int apply_drained(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err)
{
	struct load_balancer *drained = load_balancer_copy(lb);
	int error;

	if (drained == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < drained->backend_count; i++) {
		if (drained->backends[i].state == BACKEND_UP)
			drained->backends[i].state = BACKEND_DRAIN;
	}
	error = dp->ops->apply(dp, drained, err);
	load_balancer_free(drained);
	return error;
}

void entry_apply(struct core *core, struct lb_entry *entry)
{
	struct datapath *dp = core->config.datapath;
	struct errbuf err;

	if (core->draining)
		entry->applied = apply_drained(dp, entry->in_force, &err) == 0;
	else
		entry->applied = dp->ops->apply(dp, entry->in_force, &err) == 0;
	if (!entry->applied) {
		core->outstanding = true;
		if (!entry->complained)
			log_warn("cannot apply load balancer %s: %s; trying again",
				 entry->in_force->name, err.text);
	} else if (entry->complained) {
		log_info("load balancer %s is applied now", entry->in_force->name);
	}
	entry->complained = !entry->applied;
}

/* ---- returning to what the store has ------------------------------------------------------ */

static bool backend_equal(const struct backend *a, const struct backend *b)
{
	return uuid_compare(a->uuid, b->uuid) == 0 && addr_equal(&a->ip, &b->ip) &&
	       a->port == b->port && a->type == b->type && a->weight == b->weight &&
	       a->state == b->state;
}

bool load_balancer_equal(const struct load_balancer *a, const struct load_balancer *b)
{
	if (strcmp(a->name, b->name) != 0 || a->scheduler != b->scheduler ||
	    a->source_nat != b->source_nat || a->affinity_s != b->affinity_s ||
	    a->backend_count != b->backend_count)
		return false;
	for (size_t i = 0; i < a->backend_count; i++) {
		if (!backend_equal(&a->backends[i], &b->backends[i]))
			return false;
	}
	return true;
}

/* What store_load() found. */
struct loaded {
	struct load_balancer **items;
	size_t count, capacity;
	bool short_of_memory;
};

static void loaded_add(void *arg, struct load_balancer *lb)
{
	struct loaded *loaded = arg;

	if (loaded->count == loaded->capacity) {
		size_t capacity = loaded->capacity == 0 ? 64 : loaded->capacity * 2;
		struct load_balancer **grown =
			reallocarray(loaded->items, capacity, sizeof(*grown));

		if (grown == NULL) {
			loaded->short_of_memory = true;
			load_balancer_free(lb);
			return;
		}
		loaded->items = grown;
		loaded->capacity = capacity;
	}
	loaded->items[loaded->count++] = lb;
}

static void forget_entry(struct core *core, struct lb_entry *entry)
{
	entry_hide(core, entry);
	entry_remove(core, entry, entry->durable);
}

static int add_loaded(struct core *core, struct load_balancer *lb)
{
	struct vip *vip = vip_adopt(core, lb);
	struct lb_entry *entry = vip != NULL ? entry_add(core, lb, vip) : NULL;

	if (entry == NULL) {
		if (vip != NULL)
			vip_release(core, vip);
		load_balancer_free(lb);
		return -ENOMEM;
	}
	entry->durable = lb;
	entry_show(core, entry);
	core->outstanding = true; /* it is yet to be applied and announced */
	return 0;
}

static void adopt_version(struct lb_entry *entry, struct load_balancer *lb)
{
	if (load_balancer_equal(entry->durable, lb)) {
		load_balancer_free(lb);
		return;
	}
	load_balancer_free(entry->durable);
	entry->durable = lb;
	entry->newest = entry->in_force = lb;
	entry->applied = false;
}

static bool is_same(const struct lb_entry *entry, const struct load_balancer *lb)
{
	struct service_key service = service_key_of(lb);

	return uuid_compare(entry->uuid, lb->uuid) == 0 &&
	       memcmp(&entry->service, &service, sizeof(service)) == 0;
}

/* Merges the two lists, both sorted by created_order. Takes every item. */
static int merge(struct core *core, struct loaded *loaded)
{
	int error = 0;
	size_t i = 0;

	for (size_t j = 0; j < loaded->count; j++) {
		struct load_balancer *lb = loaded->items[j];

		if (lb->created_order > core->last_order)
			core->last_order = lb->created_order;
		while (i < core->order_count &&
		       core->order[i]->durable->created_order <= lb->created_order &&
		       !is_same(core->order[i], lb))
			forget_entry(core, core->order[i]);
		if (i < core->order_count && is_same(core->order[i], lb))
			adopt_version(core->order[i++], lb);
		else if (add_loaded(core, lb) < 0)
			error = -ENOMEM;
		else
			i++;
	}
	while (i < core->order_count)
		forget_entry(core, core->order[i]);
	return error;
}

int core_load(struct core *core, struct errbuf *err)
{
	struct loaded loaded = { 0 };
	int error = store_load(core->config.store, loaded_add, &loaded, err);

	if (error == 0 && loaded.short_of_memory)
		error = errbuf_set(err, -ENOMEM, "cannot load the store: out of memory");
	if (error < 0) {
		for (size_t i = 0; i < loaded.count; i++)
			load_balancer_free(loaded.items[i]);
	} else if (merge(core, &loaded) < 0) {
		error = errbuf_set(err, -ENOMEM, "cannot load all of the store: out of memory");
	}
	free(loaded.items);
	return error;
}

/* ---- start and stop ----------------------------------------------------------------------- */

int core_start(const struct core_config *config, struct core **ret, struct errbuf *err)
{
	struct core *core = calloc(1, sizeof(*core));
	int error;

	if (core == NULL)
		return errbuf_set(err, -ENOMEM, "cannot start: out of memory");
	core->config = *config;
	core->outstanding = true;
	TAILQ_INIT(&core->queue);
	TAILQ_INIT(&core->ready);
	TAILQ_INIT(&core->acquiring);
	LIST_INIT(&core->acquisitions);
	LIST_INIT(&core->leaving);

	error = core_load(core, err);
	if (error < 0) {
		core_stop(core);
		return error;
	}
	core_reconcile(core);
	*ret = core;
	return 0;
}

/* No change is under way afterwards, and none can begin. */
static void finish_changes(struct core *core)
{
	core->stopping = true;
	store_flush(core->config.store); /* what was submitted is answered as it turns out */
	change_cancel_all(core);
}

void core_stop(struct core *core)
{
	struct lb_entry *entry, *next;
	struct vip *vip, *next_vip;

	if (core == NULL)
		return;
	finish_changes(core);
	HASH_CLEAR(hh_service, core->services);
	HASH_ITER (hh, core->entries, entry, next) {
		HASH_DEL(core->entries, entry);
		entry_free(entry);
	}
	while ((entry = LIST_FIRST(&core->leaving)) != NULL) {
		LIST_REMOVE(entry, link);
		entry_free(entry);
	}
	HASH_ITER (hh, core->vips, vip, next_vip) {
		HASH_DEL(core->vips, vip);
		free(vip);
	}
	free(core->order);
	free(core);
}

size_t core_drain(struct core *core)
{
	size_t failed = 0;

	store_flush(core->config.store);
	core->draining = true;
	for (struct lb_entry *entry = core->entries; entry != NULL; entry = entry->hh.next) {
		entry_apply(core, entry);
		failed += !entry->applied;
	}
	return failed;
}

void core_withdraw_all(struct core *core)
{
	struct datapath *dp = core->config.datapath;
	struct errbuf err;

	finish_changes(core);
	for (struct vip *vip = core->vips; vip != NULL; vip = vip->hh.next) {
		if (vip->placed)
			vip_withdraw(core, vip);
	}
	for (struct lb_entry *entry = core->entries; entry != NULL; entry = entry->hh.next) {
		if (dp->ops->remove(dp, entry->in_force, &err) < 0)
			log_warn("cannot remove load balancer %s from the datapath: %s",
				 entry->in_force->name, err.text);
		entry->applied = false;
	}
}

/* ---- reading ------------------------------------------------------------------------------ */

const struct load_balancer *core_find(const struct core *core, const uuid_t lb)
{
	const struct lb_entry *entry = entry_find(core, lb);

	return entry != NULL ? entry->durable : NULL;
}

const struct load_balancer *core_next(const struct core *core, uint64_t after)
{
	size_t at = order_after(core, after);

	return at < core->order_count ? core->order[at]->durable : NULL;
}

size_t core_count(const struct core *core)
{
	return core->order_count;
}

int core_traffic(struct core *core, const struct load_balancer *lb, struct traffic *ret_total,
		 struct traffic *ret_per_backend, struct errbuf *err)
{
	struct datapath *dp = core->config.datapath;
	char uuid[37];
	int error;

	if (core_find(core, lb->uuid) == NULL) {
		uuid_unparse_lower(lb->uuid, uuid);
		return errbuf_set(err, -ENOENT, "there is no load balancer %s", uuid);
	}
	error = dp->ops->traffic(dp, lb, ret_total, ret_per_backend, err);
	if (error != -ENOENT)
		return error;
	/* Wanted, but the datapath could not take it yet: nothing has passed. */
	memset(ret_total, 0, sizeof(*ret_total));
	if (ret_per_backend != NULL)
		memset(ret_per_backend, 0, lb->backend_count * sizeof(*ret_per_backend));
	return 0;
}

int core_drops(struct core *core, const struct load_balancer *lb,
	       struct drop_count ret[static DROP_REASONS_MAX], size_t *ret_count,
	       struct errbuf *err)
{
	struct datapath *dp = core->config.datapath;
	int error;

	if (dp->ops->drops == NULL)
		return errbuf_set(err, -ENOTSUP, "the datapath %s counts no drops", dp->ops->name);
	error = dp->ops->drops(dp, lb, ret, ret_count, err);
	if (error != -ENOENT)
		return error;
	*ret_count = 0; /* wanted, but the datapath could not take it yet */
	return 0;
}

size_t core_tables(struct core *core, struct table_use ret[static TABLES_MAX])
{
	struct datapath *dp = core->config.datapath;

	return dp->ops->tables != NULL ? dp->ops->tables(dp, ret) : 0;
}
