/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_maps: the set of pinned maps (bpf/maps.h) as open descriptors.
 *
 * Created with the sizes wanted, or, when they are pinned already, adopted as they are: they hold
 * the flows of a former run. An adopted set has our ABI version and layouts or is refused as a
 * whole, untouched.
 *
 * invariant: pinning comes last, so a pin path never holds a map that was not fully set up, and
 * `config` carries the ABI version before it is pinned.
 */
#ifndef SLB_DATAPATH_EBPF_MAPS_H
#define SLB_DATAPATH_EBPF_MAPS_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>

#include "datapath/ebpf_sizes.h"
#include "lib/errbuf.h"
#include "slb_abi.h"

/* clang-format off */
#define EBPF_MAPS(X)                                                                               \
	X(SERVICES4, services4)                                                                    \
	X(SERVICES6, services6)                                                                    \
	X(SLOTS, slots)                                                                            \
	X(SCHEDULER_STATE, scheduler_state)                                                        \
	X(BACKENDS, backends)                                                                      \
	X(BACKEND_STATE, backend_state)                                                            \
	X(SOURCES, sources)                                                                        \
	X(CONFIG, config)                                                                          \
	X(FLOWS4, flows4)                                                                          \
	X(FLOWS6, flows6)                                                                          \
	X(HALF_OPEN4, half_open4)                                                                  \
	X(HALF_OPEN6, half_open6)                                                                  \
	X(AFFINITIES, affinities)                                                                  \
	X(BACKEND_COUNTERS, backend_counters)                                                      \
	X(DROPS, drops)
/* clang-format on */

enum ebpf_map {
#define EBPF_MAP_ENUM(name, symbol) EBPF_MAP_##name,
	EBPF_MAPS(EBPF_MAP_ENUM)
#undef EBPF_MAP_ENUM
		EBPF_MAP_COUNT
};

struct ebpf_maps {
	int fd[EBPF_MAP_COUNT];
	uint32_t capacity[EBPF_MAP_COUNT]; /* entries */
	bool adopted;                      /* from a former run */
	uint32_t config_id; /* the kernel's id of `config`: whose maps use it is ours */
	uint32_t cpus;      /* possible ones */
	/* backend_state, mapped into memory: `expired` can be written while programs count in the
	 * other members. */
	struct slb_backend_state *backend_state;
	struct slb_slots *slots; /* `slots`, mapped into memory */
	char note[ERRBUF_SIZE]; /* a sentence for the log where sizes are not as wanted, or empty */
};

/* pin_path is a directory on a bpf file system. -EPROTO: maps of another ABI or layout are pinned
 * there; -EPERM, -ENOMEM: the kernel grants no memory, even for the least sizes. */
int ebpf_maps_open(struct ebpf_maps *maps, const char *pin_path, const struct ebpf_sizes *wanted,
		   struct errbuf *err);

/* Closes the descriptors; the pins stay. Accepts a zeroed struct. */
void ebpf_maps_close(struct ebpf_maps *maps);

/* Makes a not yet loaded object use these maps. */
int ebpf_maps_lend(const struct ebpf_maps *maps, struct bpf_object *object, struct errbuf *err);

/* Pins again whatever somebody has unpinned. Returns how many those were, or a negative errno. */
int ebpf_maps_repin(const struct ebpf_maps *maps, const char *pin_path, struct errbuf *err);

/* Removes the pins. */
void ebpf_maps_unpin(const char *pin_path);

/* Values [0, count) of an array map, by batch where the kernel has it. Negative errno on failure.
 */
int ebpf_maps_read_array(int fd, uint32_t count, size_t value_bytes, void *values);

#endif
