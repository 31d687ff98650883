/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_sources: the map `sources`: runs of addresses that flows' sources are rewritten to. Backends
 * with the same list share a run; a run goes when its last user does.
 */
#ifndef SLB_DATAPATH_EBPF_SOURCES_H
#define SLB_DATAPATH_EBPF_SOURCES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/errbuf.h"

struct ebpf_sources; /* opaque */

struct source_run {
	uint32_t first;
	uint32_t count;
};

/* fd of `sources` is borrowed. */
int ebpf_sources_open(int fd, uint32_t capacity, struct ebpf_sources **ret, struct errbuf *err);
void ebpf_sources_close(struct ebpf_sources *sources); /* accepts NULL; the map stays as it is */

/* Takes a share of the run with these addresses (count > 0), writing it when it is new. -ENOSPC. */
int ebpf_sources_acquire(struct ebpf_sources *sources, const struct addr *addresses, size_t count,
			 struct source_run *ret, struct errbuf *err);

/* Takes a share of a run that a former run of the daemon wrote and a backend still names. False
 * when it cannot be (it overlaps another, or is out of range). */
bool ebpf_sources_adopt(struct ebpf_sources *sources, int family, struct source_run run);

/* Gives a share back; a run with count 0 is none. */
void ebpf_sources_release(struct ebpf_sources *sources, struct source_run run);

/* Is this run made of exactly these addresses? */
bool ebpf_sources_match(const struct ebpf_sources *sources, struct source_run run,
			const struct addr *addresses, size_t count);

#endif
