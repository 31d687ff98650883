/* SPDX-License-Identifier: GPL-2.0-only */
/* A bitmap of lines; see regions.h. Called by ebpf_slots.c. A full map of a quarter million lines
 * is 32 KiB to look through: some microseconds. */
#include "datapath/regions.h"

#include <errno.h>
#include <stdlib.h>

#define BITS 64u

static bool is_used(const struct regions *regions, uint32_t line)
{
	return regions->used[line / BITS] >> (line % BITS) & 1;
}

static void mark(struct regions *regions, uint32_t first, uint32_t count, bool used)
{
	for (uint32_t line = first; line < first + count; line++) {
		if (used)
			regions->used[line / BITS] |= 1ull << (line % BITS);
		else
			regions->used[line / BITS] &= ~(1ull << (line % BITS));
	}
	if (used) {
		regions->used_count += count;
		if (first == regions->lowest)
			regions->lowest = first + count;
	} else {
		regions->used_count -= count;
		if (first < regions->lowest)
			regions->lowest = first;
	}
}

int regions_init(struct regions *regions, uint32_t limit)
{
	*regions = (struct regions){ .limit = limit };
	regions->used = calloc(limit / BITS + 1, sizeof(*regions->used));
	return regions->used ? 0 : -ENOMEM;
}

void regions_free(struct regions *regions)
{
	free(regions->used);
	regions->used = NULL;
}

bool regions_give(struct regions *regions, uint32_t count, uint32_t *ret_first)
{
	uint32_t run = 0;

	if (!count || count > regions->limit - regions->used_count)
		return false;
	for (uint32_t line = regions->lowest; line < regions->limit; line++) {
		if (line % BITS == 0 && regions->used[line / BITS] == UINT64_MAX) {
			line += BITS - 1;
			run = 0;
			continue;
		}
		run = is_used(regions, line) ? 0 : run + 1;
		if (run < count)
			continue;
		*ret_first = line + 1 - count;
		mark(regions, *ret_first, count, true);
		return true;
	}
	return false;
}

bool regions_take(struct regions *regions, uint32_t first, uint32_t count)
{
	if (!count || count > regions->limit || first > regions->limit - count)
		return false;
	for (uint32_t line = first; line < first + count; line++)
		if (is_used(regions, line))
			return false;
	mark(regions, first, count, true);
	return true;
}

void regions_return(struct regions *regions, uint32_t first, uint32_t count)
{
	if (count)
		mark(regions, first, count, false);
}
