/* SPDX-License-Identifier: GPL-2.0-only */
/* Sizes of the maps; see ebpf_sizes.h. Called by ebpf.c and ebpf_maps.c. */
#include "datapath/ebpf_sizes.h"

#include <bpf/libbpf.h>
#include <sys/sysinfo.h>

#include "slb_abi.h"

/* flows4 costs about this much an entry (key, value, hash element, bucket); it may take 1/64 of
 * memory. */
#define FLOW4_BYTES   200u
#define MEMORY_SHARE  64u
#define FLOWS_LEAST   (32u << 10)
#define FLOWS_MOST    (1u << 20)
#define HALF_OPEN     (64u << 10)
#define AFFINITIES    (64u << 10)
#define SOURCES       4096u
#define LB_MOST       16384u
#define BACKENDS_MOST 131072u
#define SLOTS_MOST    (4u << 20) /* 16 MiB: 60 schedules of scheduler maglev, or very many others */
#define SMALL_MACHINE (2ull << 30) /* bytes */

/* Below these slb is of no use. */
#define FLOWS_FLOOR     4096u
#define HALF_OPEN_FLOOR 1024u
#define AFFINITY_FLOOR  1024u
#define SOURCES_FLOOR   256u
#define LB_FLOOR        256u
#define BACKENDS_FLOOR  1024u
#define SLOTS_FLOOR     (160u << 10) /* one of scheduler maglev, and the one that replaces it */

struct ebpf_machine ebpf_sizes_machine(void)
{
	struct ebpf_machine machine = { .memory_bytes = SMALL_MACHINE, .cpus = 1 };
	struct sysinfo info;
	int cpus = libbpf_num_possible_cpus();

	if (sysinfo(&info) == 0)
		machine.memory_bytes = (uint64_t)info.totalram * info.mem_unit;
	if (cpus > 0)
		machine.cpus = (uint32_t)cpus;
	return machine;
}

static uint32_t clamp(uint64_t value, uint32_t least, uint32_t most)
{
	if (value < least)
		return least;
	return value > most ? most : (uint32_t)value;
}

void ebpf_sizes_default(struct ebpf_sizes *sizes, const struct ebpf_machine *machine)
{
	uint64_t share = machine->memory_bytes / MEMORY_SHARE;
	uint32_t load_balancers = LB_MOST, backends = BACKENDS_MOST, slots = SLOTS_MOST;

	if (machine->memory_bytes < SMALL_MACHINE) {
		load_balancers = LB_MOST / 16;
		backends = BACKENDS_MOST / 16;
		slots = SLOTS_MOST / 16;
	}
	/* Per-CPU counters are the larger part on machines with many CPUs. */
	while (backends > BACKENDS_FLOOR &&
	       (uint64_t)backends * machine->cpus * sizeof(struct slb_traffic) > share)
		backends /= 2;
	while (load_balancers > LB_FLOOR &&
	       (uint64_t)load_balancers * machine->cpus * sizeof(struct slb_drops) > share)
		load_balancers /= 2;

	if (!sizes->load_balancers)
		sizes->load_balancers = load_balancers;
	if (!sizes->backends)
		sizes->backends = backends;
	if (!sizes->sources)
		sizes->sources = SOURCES;
	if (!sizes->slots)
		sizes->slots = slots;
	if (!sizes->flows4)
		sizes->flows4 = clamp(share / FLOW4_BYTES, FLOWS_LEAST, FLOWS_MOST);
	if (!sizes->flows6)
		sizes->flows6 = clamp(share / FLOW4_BYTES / 4, FLOWS_LEAST, FLOWS_MOST);
	if (!sizes->affinities)
		sizes->affinities = sizes->flows4 < AFFINITIES ? sizes->flows4 : AFFINITIES;
	if (!sizes->half_open)
		sizes->half_open = sizes->flows4 < HALF_OPEN ? sizes->flows4 : HALF_OPEN;
}

static bool halve(uint32_t *value, uint32_t floor)
{
	if (*value <= floor)
		return false;
	*value = *value / 2 < floor ? floor : *value / 2;
	return true;
}

bool ebpf_sizes_halve(struct ebpf_sizes *sizes)
{
	bool changed = false;

	changed |= halve(&sizes->flows4, FLOWS_FLOOR);
	changed |= halve(&sizes->flows6, FLOWS_FLOOR);
	changed |= halve(&sizes->half_open, HALF_OPEN_FLOOR);
	changed |= halve(&sizes->affinities, AFFINITY_FLOOR);
	changed |= halve(&sizes->backends, BACKENDS_FLOOR);
	changed |= halve(&sizes->load_balancers, LB_FLOOR);
	changed |= halve(&sizes->sources, SOURCES_FLOOR);
	changed |= halve(&sizes->slots, SLOTS_FLOOR);
	return changed;
}
