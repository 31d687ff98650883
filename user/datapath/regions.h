/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * regions: which lines of the map `slots` are given out. Pure: a bitmap, lowest fit first, so that
 * what is given back joins its neighbours by itself and nothing is kept per region.
 */
#ifndef SLB_DATAPATH_REGIONS_H
#define SLB_DATAPATH_REGIONS_H

#include <stdbool.h>
#include <stdint.h>

struct regions {
	uint64_t *used; /* a bit per line */
	uint32_t limit;
	uint32_t used_count;
	uint32_t lowest; /* no line below is free */
};

/* -ENOMEM. */
int regions_init(struct regions *regions, uint32_t limit);
void regions_free(struct regions *regions);

/* count > 0 lines in a row. False when there are none. */
bool regions_give(struct regions *regions, uint32_t count, uint32_t *ret_first);
/* These very lines: false when one of them is out of range or given out. */
bool regions_take(struct regions *regions, uint32_t first, uint32_t count);
void regions_return(struct regions *regions, uint32_t first, uint32_t count);

#endif
