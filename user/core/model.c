/* SPDX-License-Identifier: GPL-2.0-only */
#include "core/model.h"

#include <stdlib.h>
#include <string.h>

struct name_entry {
	int value;
	const char *name;
};

static const struct name_entry protocols[] = {
	{ PROTOCOL_TCP, "tcp" },
	{ PROTOCOL_UDP, "udp" },
	{ 0, NULL },
};

static const struct name_entry schedulers[] = {
	{ SCHEDULER_RR, "rr" },         { SCHEDULER_WRR, "wrr" }, { SCHEDULER_SH, "sh" },
	{ SCHEDULER_MAGLEV, "maglev" }, { SCHEDULER_LC, "lc" },   { 0, NULL },
};

static const struct name_entry backend_types[] = {
	{ BACKEND_MASQ, "MASQ" }, /* IPVS' own words, kept from the predecessor */
	{ BACKEND_LOCAL, "LOCAL" },
	{ 0, NULL },
};

static const struct name_entry backend_states[] = {
	{ BACKEND_UP, "up" },
	{ BACKEND_DRAIN, "drain" },
	{ BACKEND_DISABLED, "disabled" },
	{ 0, NULL },
};

static const char *name_of(const struct name_entry *entries, int value)
{
	for (; entries->name != NULL; entries++) {
		if (entries->value == value)
			return entries->name;
	}
	return NULL;
}

static const struct name_entry *entry_of(const struct name_entry *entries, const char *name)
{
	for (; entries->name != NULL; entries++) {
		if (strcmp(entries->name, name) == 0)
			return entries;
	}
	return NULL;
}

#define DEFINE_NAMES(type, entries)                                       \
	const char *type##_name(enum type value)                          \
	{                                                                 \
		return name_of(entries, (int)value);                      \
	}                                                                 \
	bool type##_parse(const char *name, enum type *ret)               \
	{                                                                 \
		const struct name_entry *entry = entry_of(entries, name); \
                                                                          \
		if (entry == NULL)                                        \
			return false;                                     \
		*ret = (enum type)entry->value;                           \
		return true;                                              \
	}

DEFINE_NAMES(protocol, protocols)
DEFINE_NAMES(scheduler, schedulers)
DEFINE_NAMES(backend_type, backend_types)
DEFINE_NAMES(backend_state, backend_states)

struct load_balancer *load_balancer_copy(const struct load_balancer *lb)
{
	struct load_balancer *copy = malloc(sizeof(*copy));

	if (copy == NULL)
		return NULL;
	*copy = *lb;
	memset(&copy->hh, 0, sizeof(copy->hh));
	copy->backends = NULL;
	if (lb->backend_count == 0)
		return copy;
	copy->backends = calloc(lb->backend_count, sizeof(*copy->backends));
	if (copy->backends == NULL) {
		free(copy);
		return NULL;
	}
	memcpy(copy->backends, lb->backends, lb->backend_count * sizeof(*copy->backends));
	return copy;
}

void load_balancer_free(struct load_balancer *lb)
{
	if (lb == NULL)
		return;
	free(lb->backends);
	free(lb);
}

struct backend *load_balancer_backend(const struct load_balancer *lb, const uuid_t uuid)
{
	for (size_t i = 0; i < lb->backend_count; i++) {
		if (uuid_compare(lb->backends[i].uuid, uuid) == 0)
			return &lb->backends[i];
	}
	return NULL;
}
