/* SPDX-License-Identifier: GPL-2.0-only */
#include "core_doubles.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fault.h"

#define DOUBLES_OF(pointer, member) \
	((struct doubles *)((char *)(pointer)-offsetof(struct doubles, member)))

static void trace(struct doubles *doubles, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void trace(struct doubles *doubles, const char *format, ...)
{
	va_list args;

	if (doubles->trace_count == DOUBLES_TRACE)
		return;
	va_start(args, format);
	vsnprintf(doubles->trace[doubles->trace_count++], sizeof(doubles->trace[0]), format, args);
	va_end(args);
}

/* Counts a call; negative when it is its turn to fail. */
static int call(struct doubles *doubles, const char *name, struct errbuf *err)
{
	size_t width = doubles->fail_count == 0 ? 1 : doubles->fail_count;

	if (doubles->fail_only != NULL && strcmp(doubles->fail_only, name) != 0)
		return 0;
	doubles->calls++;
	if (doubles->fail_at == 0 || doubles->calls < doubles->fail_at ||
	    doubles->calls >= doubles->fail_at + width)
		return 0;
	return errbuf_set(err, doubles->fail_status, "%s fails as the test wants", name);
}

/* ---- datapath ----------------------------------------------------------------------------- */

static struct applied *find_applied(const struct doubles *doubles, const uuid_t uuid)
{
	struct applied *applied;

	HASH_FIND(hh, doubles->applied, uuid, sizeof(uuid_t), applied);
	return applied;
}

static int dp_check(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err)
{
	(void)lb;
	return call(DOUBLES_OF(dp, datapath), "check", err);
}

static bool same(const struct load_balancer *a, const struct load_balancer *b)
{
	if (strcmp(a->name, b->name) != 0 || a->scheduler != b->scheduler ||
	    a->source_nat != b->source_nat || a->affinity_s != b->affinity_s ||
	    a->backend_count != b->backend_count)
		return false;
	for (size_t i = 0; i < a->backend_count; i++) {
		const struct backend *x = &a->backends[i], *y = &b->backends[i];

		if (uuid_compare(x->uuid, y->uuid) != 0 || x->weight != y->weight ||
		    x->state != y->state)
			return false;
	}
	return true;
}

static void keep(struct doubles *doubles, struct applied *applied, const struct load_balancer *lb)
{
	alloc_fault_pause(doubles->spares_allocation_faults);
	if (applied == NULL) {
		applied = calloc(1, sizeof(*applied));
	} else {
		HASH_DEL(doubles->applied, applied);
		load_balancer_free(applied->lb);
	}
	applied->lb = load_balancer_copy(lb);
	HASH_ADD_KEYPTR(hh, doubles->applied, applied->lb->uuid, sizeof(uuid_t), applied);
	alloc_fault_pause(false);
}

static int dp_apply(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(dp, datapath);
	struct applied *applied = find_applied(doubles, lb->uuid);
	int error = call(doubles, "apply", err);

	trace(doubles, "apply %s %zu%s", lb->name, lb->backend_count, error < 0 ? " !" : "");
	if (error < 0)
		return error;
	if (applied != NULL && same(applied->lb, lb))
		return 0;
	doubles->writes++;
	keep(doubles, applied, lb);
	return 0;
}

static void drop(struct doubles *doubles, struct applied *applied)
{
	HASH_DEL(doubles->applied, applied);
	load_balancer_free(applied->lb);
	free(applied);
	doubles->writes++;
}

static int dp_remove(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(dp, datapath);
	struct applied *applied = find_applied(doubles, lb->uuid);
	int error = call(doubles, "remove", err);

	trace(doubles, "remove %s%s", lb->name, error < 0 ? " !" : "");
	if (error < 0)
		return error;
	if (applied != NULL)
		drop(doubles, applied);
	return 0;
}

static int dp_retain(struct datapath *dp, bool (*is_desired)(void *arg, const uuid_t uuid),
		     void *arg, struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(dp, datapath);
	struct applied *applied, *next;
	int error = call(doubles, "dp-retain", err);

	trace(doubles, "dp-retain%s", error < 0 ? " !" : "");
	if (error < 0)
		return error;
	HASH_ITER (hh, doubles->applied, applied, next) {
		if (!is_desired(arg, applied->lb->uuid))
			drop(doubles, applied);
	}
	return 0;
}

static int dp_traffic(struct datapath *dp, const struct load_balancer *lb,
		      struct traffic *ret_total, struct traffic *ret_per_backend,
		      struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(dp, datapath);

	if (find_applied(doubles, lb->uuid) == NULL)
		return errbuf_set(err, -ENOENT, "never applied");
	*ret_total = (struct traffic){ .connections = lb->backend_count };
	for (size_t i = 0; ret_per_backend != NULL && i < lb->backend_count; i++)
		ret_per_backend[i] = (struct traffic){ .connections = 1 };
	return 0;
}

static bool dp_is_intact(struct datapath *dp)
{
	return DOUBLES_OF(dp, datapath)->answers_intact;
}

static const struct datapath_ops datapath_ops = {
	.name = "double",
	.check = dp_check,
	.apply = dp_apply,
	.remove = dp_remove,
	.retain = dp_retain,
	.traffic = dp_traffic,
	.is_intact = dp_is_intact,
};

/* ---- advertiser --------------------------------------------------------------------------- */

static struct vip_state *find_vip(const struct doubles *doubles, const struct addr *vip)
{
	struct vip_state *state;

	HASH_FIND(hh, doubles->vips, vip, sizeof(*vip), state);
	return state;
}

static int adv_prepare(struct advertiser *adv, const struct addr *vip, struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(adv, advertiser);
	char text[ADDR_TEXT_SIZE];
	struct vip_state *state;
	int error = call(doubles, "prepare", err);

	trace(doubles, "prepare %s%s", addr_format(vip, text), error < 0 ? " !" : "");
	if (error < 0)
		return error;
	if (find_vip(doubles, vip) != NULL)
		return 0;
	doubles->writes++;
	alloc_fault_pause(doubles->spares_allocation_faults);
	state = calloc(1, sizeof(*state));
	state->addr = *vip;
	HASH_ADD(hh, doubles->vips, addr, sizeof(state->addr), state);
	alloc_fault_pause(false);
	return 0;
}

static void adv_announce(struct advertiser *adv, const struct addr *vip)
{
	struct doubles *doubles = DOUBLES_OF(adv, advertiser);
	struct vip_state *state = find_vip(doubles, vip);
	char text[ADDR_TEXT_SIZE];

	trace(doubles, "announce %s", addr_format(vip, text));
	if (state == NULL)
		abort(); /* announced without having been prepared */
	if (!state->announced)
		doubles->writes++;
	state->announced = true;
}

static void drop_vip(struct doubles *doubles, struct vip_state *state)
{
	HASH_DEL(doubles->vips, state);
	free(state);
	doubles->writes++;
}

static int adv_withdraw(struct advertiser *adv, const struct addr *vip, struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(adv, advertiser);
	struct vip_state *state = find_vip(doubles, vip);
	char text[ADDR_TEXT_SIZE];
	int error = call(doubles, "withdraw", err);

	trace(doubles, "withdraw %s%s", addr_format(vip, text), error < 0 ? " !" : "");
	if (error < 0)
		return error;
	if (state != NULL)
		drop_vip(doubles, state);
	return 0;
}

static int adv_retain(struct advertiser *adv, bool (*is_desired)(void *arg, const struct addr *vip),
		      void *arg, struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(adv, advertiser);
	struct vip_state *state, *next;
	int error = call(doubles, "adv-retain", err);

	trace(doubles, "adv-retain%s", error < 0 ? " !" : "");
	if (error < 0)
		return error;
	HASH_ITER (hh, doubles->vips, state, next) {
		if (!is_desired(arg, &state->addr))
			drop_vip(doubles, state);
	}
	return 0;
}

static bool adv_is_intact(struct advertiser *adv)
{
	return DOUBLES_OF(adv, advertiser)->answers_intact;
}

static const struct advertiser_ops advertiser_ops = {
	.name = "double",
	.prepare = adv_prepare,
	.announce = adv_announce,
	.withdraw = adv_withdraw,
	.retain = adv_retain,
	.is_intact = adv_is_intact,
};

/* ---- address source ----------------------------------------------------------------------- */

static size_t index_of(const struct addr *addr)
{
	return ((size_t)addr->bytes[2] << 8 | addr->bytes[3]) % DOUBLES_ADDRESSES;
}

static void source_decide(struct doubles *doubles, const struct asked *asked)
{
	struct addr addr = { .family = AF_INET, .bytes = { 10, 0, 0, 1 } };
	struct errbuf err;
	int error = call(doubles, "acquire", &err);

	if (asked->wanted.family != AF_UNSPEC)
		addr = asked->wanted;
	else
		while (doubles->out[index_of(&addr)])
			addr_next(&addr);
	if (error == 0 && doubles->out[index_of(&addr)])
		error = errbuf_set_field(&err, -EADDRINUSE, "eip", "given out already");
	trace(doubles, "acquire %u%s", addr.bytes[3], error < 0 ? " !" : "");
	if (error == 0) {
		doubles->out[index_of(&addr)] = true;
		doubles->writes++;
	}
	asked->done(asked->arg, error, error == 0 ? &addr : NULL, error == 0 ? NULL : &err);
}

static void source_acquire(struct address_source *source, int family, const struct addr *wanted,
			   const uuid_t owner, address_acquired_cb *done, void *arg)
{
	struct doubles *doubles = DOUBLES_OF(source, addresses);
	struct asked asked = { .wanted = *wanted, .family = family, .done = done, .arg = arg };

	(void)owner;
	if (!doubles->asynchronous) {
		source_decide(doubles, &asked);
		return;
	}
	if (doubles->asked_count == sizeof(doubles->asked) / sizeof(*doubles->asked))
		abort();
	doubles->asked[doubles->asked_count++] = asked;
}

bool doubles_answer(struct doubles *doubles)
{
	struct asked asked = doubles->asked[0];

	if (doubles->asked_count == 0)
		return false;
	doubles->asked_count--;
	memmove(doubles->asked, doubles->asked + 1, doubles->asked_count * sizeof(asked));
	source_decide(doubles, &asked);
	return true;
}

static void source_release(struct address_source *source, const struct addr *address)
{
	struct doubles *doubles = DOUBLES_OF(source, addresses);

	trace(doubles, "release %u", address->bytes[3]);
	if (doubles->out[index_of(address)])
		doubles->writes++;
	doubles->out[index_of(address)] = false;
}

static int source_adopt(struct address_source *source, const struct addr *address,
			const uuid_t owner, struct errbuf *err)
{
	struct doubles *doubles = DOUBLES_OF(source, addresses);
	int error = call(doubles, "adopt", err);

	(void)owner;
	trace(doubles, "adopt %u%s", address->bytes[3], error < 0 ? " !" : "");
	if (error == 0)
		doubles->out[index_of(address)] = true;
	return error;
}

static const struct address_source_ops source_ops = {
	.name = "double",
	.acquire = source_acquire,
	.release = source_release,
	.adopt = source_adopt,
};

/* ---- all of them -------------------------------------------------------------------------- */

void doubles_init(struct doubles *doubles)
{
	memset(doubles, 0, sizeof(*doubles));
	doubles->datapath.ops = &datapath_ops;
	doubles->advertiser.ops = &advertiser_ops;
	doubles->addresses.ops = &source_ops;
	doubles->fail_status = -EIO;
}

void doubles_free(struct doubles *doubles)
{
	struct applied *applied, *next;
	struct vip_state *vip, *next_vip;

	HASH_ITER (hh, doubles->applied, applied, next) {
		drop(doubles, applied);
	}
	HASH_ITER (hh, doubles->vips, vip, next_vip) {
		drop_vip(doubles, vip);
	}
}

void doubles_reset(struct doubles *doubles)
{
	doubles->calls = doubles->writes = doubles->trace_count = 0;
	doubles->fail_at = doubles->fail_count = 0;
	doubles->fail_only = NULL;
	doubles->fail_status = -EIO;
}

static int by_service(struct applied *a, struct applied *b)
{
	int order = addr_compare(&a->lb->vip, &b->lb->vip);

	if (order == 0)
		order = (int)a->lb->port - b->lb->port;
	return order != 0 ? order : (int)a->lb->protocol - (int)b->lb->protocol;
}

static int by_addr(struct vip_state *a, struct vip_state *b)
{
	return addr_compare(&a->addr, &b->addr);
}

char *doubles_state(const struct doubles *doubles)
{
	struct doubles *sorted = (struct doubles *)doubles;
	char *text = NULL, vip[ADDR_TEXT_SIZE], uuid[37];
	size_t size;
	FILE *out = open_memstream(&text, &size);

	HASH_SORT(sorted->applied, by_service);
	HASH_SORT(sorted->vips, by_addr);
	for (struct applied *a = doubles->applied; a != NULL; a = a->hh.next) {
		uuid_unparse_lower(a->lb->uuid, uuid);
		fprintf(out, "service %s %u %s %s %s %s %d %u\n", addr_format(&a->lb->vip, vip),
			a->lb->port, protocol_name(a->lb->protocol), uuid, a->lb->name,
			scheduler_name(a->lb->scheduler), a->lb->source_nat, a->lb->affinity_s);
		for (size_t i = 0; i < a->lb->backend_count; i++) {
			const struct backend *backend = &a->lb->backends[i];

			uuid_unparse_lower(backend->uuid, uuid);
			fprintf(out, "  backend %s %s %u %s %u %s\n", uuid,
				addr_format(&backend->ip, vip), backend->port,
				backend_type_name(backend->type), backend->weight,
				backend_state_name(backend->state));
		}
	}
	for (struct vip_state *state = doubles->vips; state != NULL; state = state->hh.next)
		fprintf(out, "vip %s%s\n", addr_format(&state->addr, vip),
			state->announced ? " announced" : "");
	for (size_t i = 0; i < DOUBLES_ADDRESSES; i++) {
		if (doubles->out[i])
			fprintf(out, "out %zu\n", i);
	}
	fclose(out);
	return text;
}

size_t doubles_count_addresses(const struct doubles *doubles)
{
	size_t count = 0;

	for (size_t i = 0; i < DOUBLES_ADDRESSES; i++)
		count += doubles->out[i];
	return count;
}

bool doubles_has_call(const struct doubles *doubles, const char *prefix)
{
	for (size_t i = 0; i < doubles->trace_count; i++) {
		if (strncmp(doubles->trace[i], prefix, strlen(prefix)) == 0)
			return true;
	}
	return false;
}

struct load_balancer *doubles_applied(const struct doubles *doubles, const uuid_t uuid)
{
	struct applied *applied = find_applied(doubles, uuid);

	return applied != NULL ? applied->lb : NULL;
}
