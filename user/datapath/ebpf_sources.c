/* SPDX-License-Identifier: GPL-2.0-only */
/* Source addresses; see ebpf_sources.h. Called by ebpf_services.c. There are few runs (one per
 * device or one for all), so they are kept in a plain list. */
#include "datapath/ebpf_sources.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "slb_abi.h"

struct shared_run {
	struct source_run place;
	unsigned int shares;
	struct shared_run *next, *prev; /* ordered by place.first */
	struct addr addresses[];
};

struct ebpf_sources {
	int fd;
	uint32_t capacity;
	struct shared_run *runs;
};

int ebpf_sources_open(int fd, uint32_t capacity, struct ebpf_sources **ret, struct errbuf *err)
{
	struct ebpf_sources *sources = calloc(1, sizeof(*sources));

	if (!sources)
		return errbuf_set(err, -ENOMEM, "out of memory");
	sources->fd = fd;
	sources->capacity = capacity;
	*ret = sources;
	return 0;
}

void ebpf_sources_close(struct ebpf_sources *sources)
{
	struct shared_run *run, *next;

	if (!sources)
		return;
	DL_FOREACH_SAFE (sources->runs, run, next)
		free(run);
	free(sources);
}

static bool has_addresses(const struct shared_run *run, const struct addr *addresses, size_t count)
{
	if (run->place.count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!addr_equal(&run->addresses[i], &addresses[i]))
			return false;
	return true;
}

static struct shared_run *find_at(const struct ebpf_sources *sources, struct source_run place)
{
	struct shared_run *run;

	DL_FOREACH (sources->runs, run)
		if (run->place.first == place.first && run->place.count == place.count)
			return run;
	return NULL;
}

static int compare_places(struct shared_run *a, struct shared_run *b)
{
	return (a->place.first > b->place.first) - (a->place.first < b->place.first);
}

/* The first gap that is large enough. */
static bool find_gap(const struct ebpf_sources *sources, uint32_t count, uint32_t *ret_first)
{
	uint32_t first = 0;
	struct shared_run *run;

	DL_FOREACH (sources->runs, run) {
		if (run->place.first - first >= count)
			break;
		first = run->place.first + run->place.count;
	}
	if (count > sources->capacity || first > sources->capacity - count)
		return false;
	*ret_first = first;
	return true;
}

static struct shared_run *new_run(struct source_run place)
{
	struct shared_run *run = calloc(1, sizeof(*run) + place.count * sizeof(struct addr));

	if (run) {
		run->place = place;
		run->shares = 1;
	}
	return run;
}

static int write_run(const struct ebpf_sources *sources, const struct shared_run *run)
{
	for (uint32_t i = 0; i < run->place.count; i++) {
		struct slb_source value;
		uint32_t key = run->place.first + i;

		memcpy(value.ip, run->addresses[i].bytes, sizeof(value.ip));
		if (bpf_map_update_elem(sources->fd, &key, &value, BPF_ANY) < 0)
			return -errno;
	}
	return 0;
}

int ebpf_sources_acquire(struct ebpf_sources *sources, const struct addr *addresses, size_t count,
			 struct source_run *ret, struct errbuf *err)
{
	struct source_run place = { .count = (uint32_t)count };
	struct shared_run *run;
	int r;

	DL_FOREACH (sources->runs, run)
		if (has_addresses(run, addresses, count)) {
			run->shares++;
			*ret = run->place;
			return 0;
		}
	if (!find_gap(sources, place.count, &place.first))
		return errbuf_set(err, -ENOSPC, "the table of source addresses (%u) is full",
				  sources->capacity);
	run = new_run(place);
	if (!run)
		return errbuf_set(err, -ENOMEM, "out of memory");
	memcpy(run->addresses, addresses, count * sizeof(*addresses));
	r = write_run(sources, run);
	if (r < 0) {
		free(run);
		return errbuf_set(err, r, "cannot write the map `sources`: %s", strerror(-r));
	}
	DL_INSERT_INORDER(sources->runs, run, compare_places);
	*ret = place;
	return 0;
}

bool ebpf_sources_adopt(struct ebpf_sources *sources, int family, struct source_run place)
{
	struct shared_run *run = find_at(sources, place);

	if (run) {
		run->shares++;
		return true;
	}
	if (place.count > sources->capacity || place.first > sources->capacity - place.count)
		return false;
	DL_FOREACH (sources->runs, run)
		if (run->place.first < place.first + place.count &&
		    place.first < run->place.first + run->place.count)
			return false;
	run = new_run(place);
	if (!run)
		return false;
	for (uint32_t i = 0; i < place.count; i++) {
		struct slb_source value;
		uint32_t key = place.first + i;

		if (bpf_map_lookup_elem(sources->fd, &key, &value) < 0) {
			free(run);
			return false;
		}
		run->addresses[i].family = (uint16_t)family;
		memcpy(run->addresses[i].bytes, value.ip, sizeof(value.ip));
	}
	DL_INSERT_INORDER(sources->runs, run, compare_places);
	return true;
}

void ebpf_sources_release(struct ebpf_sources *sources, struct source_run place)
{
	struct shared_run *run = place.count ? find_at(sources, place) : NULL;

	if (!run || --run->shares)
		return;
	DL_DELETE(sources->runs, run);
	free(run);
}

bool ebpf_sources_match(const struct ebpf_sources *sources, struct source_run place,
			const struct addr *addresses, size_t count)
{
	const struct shared_run *run = place.count ? find_at(sources, place) : NULL;

	return run ? has_addresses(run, addresses, count) : !count;
}
