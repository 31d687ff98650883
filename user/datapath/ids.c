/* SPDX-License-Identifier: GPL-2.0-only */
/* A bitmap of ids; see ids.h. Called by ebpf_services.c. */
#include "datapath/ids.h"

#include <errno.h>
#include <stdlib.h>

#define BITS 64u

static bool is_used(const struct ids *ids, uint32_t id)
{
	return ids->used[id / BITS] >> (id % BITS) & 1;
}

int ids_init(struct ids *ids, uint32_t limit)
{
	ids->used = calloc(limit / BITS + 1, sizeof(*ids->used));
	if (!ids->used)
		return -ENOMEM;
	ids->limit = limit;
	ids->lowest = 1;
	ids->free_count = limit ? limit - 1 : 0;
	return 0;
}

void ids_free(struct ids *ids)
{
	free(ids->used);
	ids->used = NULL;
}

uint32_t ids_give(struct ids *ids)
{
	for (uint32_t id = ids->lowest; id < ids->limit; id++) {
		if (ids->used[id / BITS] == UINT64_MAX) {
			id |= BITS - 1; /* a full word: on to the next */
			continue;
		}
		if (is_used(ids, id))
			continue;
		ids_take(ids, id);
		ids->lowest = id + 1;
		return id;
	}
	return 0;
}

bool ids_take(struct ids *ids, uint32_t id)
{
	if (!id || id >= ids->limit || is_used(ids, id))
		return false;
	ids->used[id / BITS] |= 1ull << (id % BITS);
	ids->free_count--;
	return true;
}

void ids_return(struct ids *ids, uint32_t id)
{
	if (!id || id >= ids->limit || !is_used(ids, id))
		return;
	ids->used[id / BITS] &= ~(1ull << (id % BITS));
	ids->free_count++;
	if (id < ids->lowest)
		ids->lowest = id;
}
