/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Creates, adopts and pins the maps; see ebpf_maps.h. Called by ebpf.c.
 *
 * libbpf creates the maps from the XDP object's definitions (with their BTF, so that bpftool prints
 * field names), none of its programs being loaded. `config` is pinned first: a crash in between
 * leaves a set that is merely incomplete, and the next start completes it.
 */
#include "datapath/ebpf_maps.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bpf/xdp.skel.h"
#include "datapath/bpf_messages.h"

static const char *const map_names[EBPF_MAP_COUNT] = {
#define EBPF_MAP_NAME(name, symbol) [EBPF_MAP_##name] = #symbol,
	EBPF_MAPS(EBPF_MAP_NAME)
#undef EBPF_MAP_NAME
};

static void pin_file(char path[static PATH_MAX], const char *pin_path, enum ebpf_map map)
{
	snprintf(path, PATH_MAX, "%s/%s", pin_path, map_names[map]);
}

static uint32_t wanted_entries(const struct ebpf_sizes *sizes, enum ebpf_map map)
{
	switch (map) {
	case EBPF_MAP_SERVICES4:
	case EBPF_MAP_SERVICES6:
		return sizes->load_balancers;
	case EBPF_MAP_SCHEDULER_STATE:
	case EBPF_MAP_DROPS:
		return sizes->load_balancers + 1; /* service id 0 is none */
	case EBPF_MAP_BACKENDS:
	case EBPF_MAP_BACKEND_STATE:
	case EBPF_MAP_BACKEND_COUNTERS:
		return sizes->backends + 1;
	case EBPF_MAP_SOURCES:
		return sizes->sources;
	case EBPF_MAP_SLOTS:
		return sizes->slots / SLB_SLOTS_PER_LINE;
	case EBPF_MAP_FLOWS4:
		return sizes->flows4;
	case EBPF_MAP_FLOWS6:
		return sizes->flows6;
	case EBPF_MAP_HALF_OPEN4:
	case EBPF_MAP_HALF_OPEN6:
		return sizes->half_open;
	case EBPF_MAP_AFFINITIES:
		return sizes->affinities;
	case EBPF_MAP_CONFIG:
	case EBPF_MAP_COUNT:
		break;
	}
	return 1;
}

static int map_info(int fd, struct bpf_map_info *ret)
{
	__u32 size = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return bpf_obj_get_info_by_fd(fd, ret, &size) < 0 ? -errno : 0;
}

/* ---- adopting -------------------------------------------------------------------------------- */

static int open_pins(struct ebpf_maps *maps, const char *pin_path, struct errbuf *err)
{
	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT; map++) {
		char path[PATH_MAX];

		pin_file(path, pin_path, map);
		maps->fd[map] = bpf_obj_get(path);
		if (maps->fd[map] >= 0)
			maps->adopted = true;
		else if (errno != ENOENT)
			return errbuf_set(err, -errno, "cannot open the pinned map %s: %s", path,
					  strerror(errno));
	}
	return 0;
}

static int check_abi(const struct ebpf_maps *maps, const char *pin_path, struct errbuf *err)
{
	struct bpf_map_info info;
	uint32_t key = 0, version;
	uint32_t *value;
	int r;

	if (maps->fd[EBPF_MAP_CONFIG] < 0)
		return errbuf_set(
			err, -EPROTO,
			"%s holds maps but no `config` that says of which version; remove "
			"them by `slb purge`, which ends the connections through them",
			pin_path);
	r = map_info(maps->fd[EBPF_MAP_CONFIG], &info);
	if (r < 0)
		return errbuf_set(err, r, "cannot ask the kernel about %s/config: %s", pin_path,
				  strerror(-r));
	value = calloc(1, info.value_size + sizeof(*value));
	if (!value)
		return errbuf_set(err, -ENOMEM, "out of memory");
	if (info.key_size != sizeof(key) ||
	    bpf_map_lookup_elem(maps->fd[EBPF_MAP_CONFIG], &key, value) < 0)
		version = 0;
	else
		version = value[0]; /* abi_version comes first in every version */
	free(value);
	if (version != SLB_ABI_VERSION)
		return errbuf_set(
			err, -EPROTO,
			"the maps in %s are of ABI version %u, this slb needs %u; run the "
			"slb that made them, or remove them by `slb purge`, which ends the "
			"connections through them",
			pin_path, version, SLB_ABI_VERSION);
	return 0;
}

static int check_layout(const struct ebpf_maps *maps, enum ebpf_map map,
			const struct bpf_map *definition, const char *pin_path, struct errbuf *err)
{
	struct bpf_map_info info;
	int r = map_info(maps->fd[map], &info);

	if (r < 0)
		return errbuf_set(err, r, "cannot ask the kernel about %s/%s: %s", pin_path,
				  map_names[map], strerror(-r));
	if (info.type != bpf_map__type(definition) ||
	    info.key_size != bpf_map__key_size(definition) ||
	    info.value_size != bpf_map__value_size(definition) ||
	    info.map_flags != bpf_map__map_flags(definition))
		return errbuf_set(err, -EPROTO,
				  "the pinned map %s/%s is not of the layout of ABI version %u; "
				  "remove it by `slb purge`, which ends the connections through it",
				  pin_path, map_names[map], SLB_ABI_VERSION);
	return 0;
}

/* ---- creating -------------------------------------------------------------------------------- */

/* Asks for what is missing in the sizes given; takes descriptors of its own for it. */
static int create_missing(struct ebpf_maps *maps, const char *pin_path,
			  const struct ebpf_sizes *sizes, struct errbuf *err)
{
	struct slb_xdp_bpf *object = slb_xdp_bpf__open();
	struct bpf_program *program;
	int r = 0;

	if (!object)
		return errbuf_set(err, -errno, "cannot open the eBPF object: %s",
				  bpf_messages_or(-errno));
	bpf_object__for_each_program(program, object->obj)
		bpf_program__set_autoload(program, false);

	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT && r == 0; map++) {
		struct bpf_map *definition =
			bpf_object__find_map_by_name(object->obj, map_names[map]);

		if (maps->fd[map] < 0) {
			r = bpf_map__set_max_entries(definition, wanted_entries(sizes, map));
			continue;
		}
		r = check_layout(maps, map, definition, pin_path, err);
		if (r < 0)
			goto out;
		r = bpf_map__reuse_fd(definition, maps->fd[map]);
	}
	bpf_messages_clear();
	if (r == 0)
		r = slb_xdp_bpf__load(object);
	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT && r == 0; map++) {
		if (maps->fd[map] >= 0)
			continue;
		maps->fd[map] =
			dup(bpf_map__fd(bpf_object__find_map_by_name(object->obj, map_names[map])));
		if (maps->fd[map] < 0)
			r = -errno;
	}
	if (r < 0)
		errbuf_set(err, r, "the kernel does not create the eBPF maps: %s",
			   bpf_messages_or(r));
out:
	slb_xdp_bpf__destroy(object);
	return r;
}

static bool is_shortage(int r)
{
	return r == -EPERM || r == -ENOMEM || r == -E2BIG;
}

static int create_within_memory(struct ebpf_maps *maps, const char *pin_path,
				const struct ebpf_sizes *wanted, struct errbuf *err)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct ebpf_sizes sizes = *wanted;
	int r;

	/* Kernels before 5.11 count maps against it. It cannot always be raised; then smaller maps
	 * must do. */
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	do {
		r = create_missing(maps, pin_path, &sizes, err);
	} while (is_shortage(r) && ebpf_sizes_halve(&sizes));
	if (is_shortage(r))
		return errbuf_prefix(
			err, r,
			"even the smallest tables are refused (is bpf(2) forbidden here, or "
			"RLIMIT_MEMLOCK too small? see `ulimit -l`)");
	if (r == 0 && memcmp(&sizes, wanted, sizeof(sizes)) != 0)
		snprintf(maps->note, sizeof(maps->note),
			 "the kernel grants little memory for eBPF maps (RLIMIT_MEMLOCK): room for "
			 "%u "
			 "flow entries instead of %u, %u backends instead of %u",
			 sizes.flows4, wanted->flows4, sizes.backends, wanted->backends);
	return r;
}

/* ---- pinning --------------------------------------------------------------------------------- */

static int write_first_config(const struct ebpf_maps *maps, struct errbuf *err)
{
	struct slb_config config = { .abi_version = SLB_ABI_VERSION, .generation = 1 };
	uint32_t key = 0;

	if (bpf_map_update_elem(maps->fd[EBPF_MAP_CONFIG], &key, &config, BPF_ANY) < 0)
		return errbuf_set(err, -errno, "cannot write the map `config`: %s",
				  strerror(errno));
	return 0;
}

int ebpf_maps_repin(const struct ebpf_maps *maps, const char *pin_path, struct errbuf *err)
{
	/* `config` first: see above. */
	enum ebpf_map order[EBPF_MAP_COUNT] = { EBPF_MAP_CONFIG };
	int n = 1, pinned = 0;

	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT; map++)
		if (map != EBPF_MAP_CONFIG)
			order[n++] = map;

	for (n = 0; n < EBPF_MAP_COUNT; n++) {
		char path[PATH_MAX];

		pin_file(path, pin_path, order[n]);
		if (access(path, F_OK) == 0)
			continue;
		if (bpf_obj_pin(maps->fd[order[n]], path) < 0)
			return errbuf_set(err, -errno, "cannot pin the map %s: %s", path,
					  strerror(errno));
		pinned++;
	}
	return pinned;
}

void ebpf_maps_unpin(const char *pin_path)
{
	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT; map++) {
		char path[PATH_MAX];

		if (map == EBPF_MAP_CONFIG)
			continue;
		pin_file(path, pin_path, map);
		unlink(path);
	}
	/* Last, so that what a crash leaves is still known by its version. */
	char path[PATH_MAX];

	pin_file(path, pin_path, EBPF_MAP_CONFIG);
	unlink(path);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static size_t mapped_bytes(const struct ebpf_maps *maps, enum ebpf_map map, size_t value_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (maps->capacity[map] * value_bytes + page - 1) / page * page;
}

static int map_into_memory(const struct ebpf_maps *maps, enum ebpf_map map, size_t value_bytes,
			   void **ret, struct errbuf *err)
{
	void *memory = mmap(NULL, mapped_bytes(maps, map, value_bytes), PROT_READ | PROT_WRITE,
			    MAP_SHARED, maps->fd[map], 0);

	if (memory == MAP_FAILED)
		return errbuf_set(err, -errno, "cannot map `%s` into memory: %s", map_names[map],
				  strerror(errno));
	*ret = memory;
	return 0;
}

static void unmap(const struct ebpf_maps *maps, enum ebpf_map map, size_t value_bytes, void *memory)
{
	if (memory)
		munmap(memory, mapped_bytes(maps, map, value_bytes));
}

static int learn_capacities(struct ebpf_maps *maps, const struct ebpf_sizes *wanted,
			    struct errbuf *err)
{
	struct bpf_map_info info;

	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT; map++) {
		int r = map_info(maps->fd[map], &info);

		if (r < 0)
			return errbuf_set(err, r, "cannot ask the kernel about the map %s: %s",
					  map_names[map], strerror(-r));
		maps->capacity[map] = info.max_entries;
		if (map == EBPF_MAP_CONFIG)
			maps->config_id = info.id;
		if (!maps->adopted || maps->note[0] ||
		    info.max_entries == wanted_entries(wanted, map))
			continue;
		snprintf(maps->note, sizeof(maps->note),
			 "the pinned maps of the former run are kept with their sizes (%s: %u "
			 "entries "
			 "instead of %u); `slb purge` would make new ones, and end all connections",
			 map_names[map], info.max_entries, wanted_entries(wanted, map));
	}
	return 0;
}

int ebpf_maps_open(struct ebpf_maps *ret, const char *pin_path, const struct ebpf_sizes *wanted,
		   struct errbuf *err)
{
	struct ebpf_maps maps = { 0 };
	bool first;
	int r, cpus = libbpf_num_possible_cpus();

	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT; map++)
		maps.fd[map] = -1;
	maps.cpus = cpus > 0 ? (uint32_t)cpus : 1;

	r = open_pins(&maps, pin_path, err);
	if (r == 0 && maps.adopted)
		r = check_abi(&maps, pin_path, err);
	first = maps.fd[EBPF_MAP_CONFIG] < 0;
	if (r == 0)
		r = create_within_memory(&maps, pin_path, wanted, err);
	if (r == 0 && first)
		r = write_first_config(&maps, err);
	if (r == 0)
		r = learn_capacities(&maps, wanted, err);
	if (r == 0)
		r = map_into_memory(&maps, EBPF_MAP_BACKEND_STATE, sizeof(*maps.backend_state),
				    (void **)&maps.backend_state, err);
	if (r == 0)
		r = map_into_memory(&maps, EBPF_MAP_SLOTS, sizeof(*maps.slots),
				    (void **)&maps.slots, err);
	if (r == 0) {
		r = ebpf_maps_repin(&maps, pin_path, err);
		if (r < 0 && first)
			ebpf_maps_unpin(pin_path);
	}
	if (r < 0) {
		ebpf_maps_close(&maps);
		return r;
	}
	*ret = maps;
	return 0;
}

void ebpf_maps_close(struct ebpf_maps *maps)
{
	unmap(maps, EBPF_MAP_BACKEND_STATE, sizeof(*maps->backend_state), maps->backend_state);
	unmap(maps, EBPF_MAP_SLOTS, sizeof(*maps->slots), maps->slots);
	maps->backend_state = NULL;
	maps->slots = NULL;
	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT; map++) {
		if (maps->fd[map] > 0)
			close(maps->fd[map]);
		maps->fd[map] = -1;
	}
}

int ebpf_maps_lend(const struct ebpf_maps *maps, struct bpf_object *object, struct errbuf *err)
{
	for (enum ebpf_map map = 0; map < EBPF_MAP_COUNT; map++) {
		struct bpf_map *definition = bpf_object__find_map_by_name(object, map_names[map]);
		int r;

		if (!definition)
			continue;
		r = bpf_map__reuse_fd(definition, maps->fd[map]);
		if (r < 0)
			return errbuf_set(err, r, "cannot use the map %s: %s", map_names[map],
					  bpf_messages_or(r));
	}
	return 0;
}

/* ---- whole arrays ---------------------------------------------------------------------------- */

int ebpf_maps_read_array(int fd, uint32_t count, size_t value_bytes, void *values)
{
	uint32_t *keys = calloc(count + 1, sizeof(*keys));
	uint32_t token = 0, n = count;
	int r = 0;

	if (!keys)
		return -ENOMEM;
	/* -ENOENT: the end was reached with it. */
	if (bpf_map_lookup_batch(fd, NULL, &token, keys, values, &n, NULL) < 0 && errno != ENOENT)
		n = 0;
	for (; n < count && r == 0; n++)
		if (bpf_map_lookup_elem(fd, &n, (char *)values + n * value_bytes) < 0)
			r = -errno;
	free(keys);
	return r;
}
