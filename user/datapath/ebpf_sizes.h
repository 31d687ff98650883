/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_sizes: how many entries the maps get: by what was asked for, else by the machine's memory;
 * and how they shrink when the kernel has no memory for them. Pure, but for ebpf_sizes_machine().
 */
#ifndef SLB_DATAPATH_EBPF_SIZES_H
#define SLB_DATAPATH_EBPF_SIZES_H

#include <stdbool.h>
#include <stdint.h>

struct ebpf_sizes {
	uint32_t load_balancers;
	uint32_t backends;
	uint32_t sources;
	uint32_t slots;  /* of all schedules together */
	uint32_t flows4; /* entries; a flow has two, one per direction */
	uint32_t flows6;
	uint32_t half_open;  /* entries, per family */
	uint32_t affinities; /* clients, of both families */
};

struct ebpf_machine {
	uint64_t memory_bytes;
	uint32_t cpus; /* possible ones: each has counters */
};

struct ebpf_machine ebpf_sizes_machine(void);

/* Replaces what is 0 in *sizes by the default for this machine. */
void ebpf_sizes_default(struct ebpf_sizes *sizes, const struct ebpf_machine *machine);

/* Halves what is large. False when all are at their floors already. */
bool ebpf_sizes_halve(struct ebpf_sizes *sizes);

#endif
