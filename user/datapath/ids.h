/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ids: which indices of the arrays (services, backends) are given out. Lowest free first; ids that
 * a former run gave out are taken with ids_take().
 */
#ifndef SLB_DATAPATH_IDS_H
#define SLB_DATAPATH_IDS_H

#include <stdbool.h>
#include <stdint.h>

struct ids {
	uint64_t *used;  /* a bit per id */
	uint32_t limit;  /* ids are 1 .. limit-1; 0 is never given out */
	uint32_t lowest; /* no id below is free */
	uint32_t free_count;
};

/* -ENOMEM. */
int ids_init(struct ids *ids, uint32_t limit);
void ids_free(struct ids *ids);

/* 0 when none is free. */
uint32_t ids_give(struct ids *ids);
/* False when it is out of range or given out already. */
bool ids_take(struct ids *ids, uint32_t id);
void ids_return(struct ids *ids, uint32_t id);

#endif
