/* SPDX-License-Identifier: GPL-2.0-only */
/* Entries of the flow tables; see flow_entry.h. Called by ebpf_flows.c, from a thread of the pool.
 */
#include "datapath/flow_entry.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#define TABLE4(map_, other_, half_open_)                                   \
	{                                                                  \
		map_, other_, half_open_, 4, sizeof(struct slb_flow_key4), \
			sizeof(struct slb_flow4)                           \
	}
#define TABLE6(map_, other_, half_open_)                                    \
	{                                                                   \
		map_, other_, half_open_, 16, sizeof(struct slb_flow_key6), \
			sizeof(struct slb_flow6)                            \
	}

const struct flow_table flow_tables[FLOW_TABLES] = {
	TABLE4(EBPF_MAP_HALF_OPEN4, EBPF_MAP_FLOWS4, true),
	TABLE6(EBPF_MAP_HALF_OPEN6, EBPF_MAP_FLOWS6, true),
	TABLE4(EBPF_MAP_FLOWS4, EBPF_MAP_HALF_OPEN4, false),
	TABLE6(EBPF_MAP_FLOWS6, EBPF_MAP_HALF_OPEN6, false),
};

uint8_t flow_entry_protocol(const struct flow_entry *entry)
{
	return entry->key[2 * entry->table->addr_bytes + 4];
}

/* The key of the other direction: the rewritten tuple turned round. */
static void pair_key(const struct flow_entry *entry, uint8_t *ret)
{
	size_t n = entry->table->addr_bytes;
	const uint8_t *saddr = entry->value + sizeof(struct slb_flow);

	memset(ret, 0, FLOW_KEY_BYTES_MAX);
	memcpy(ret, saddr + n, n);
	memcpy(ret + n, saddr, n);
	memcpy(ret + 2 * n, &entry->common.dport, 2);
	memcpy(ret + 2 * n + 2, &entry->common.sport, 2);
	ret[2 * n + 4] = flow_entry_protocol(entry);
}

static bool fetch_from(const struct ebpf_maps *maps, enum ebpf_map map, struct flow_entry *entry)
{
	return bpf_map_lookup_elem(maps->fd[map], entry->key, entry->value) == 0;
}

bool flow_entry_fetch(const struct ebpf_maps *maps, struct flow_entry *entry)
{
	return fetch_from(maps, entry->table->map, entry);
}

/* Of two entries with the same key: do they belong to the same flow? All that is written once, when
 * a flow begins. */
static bool is_same_flow(const struct flow_entry *a, const struct flow_entry *b)
{
	const uint8_t kind = SLB_FLOW_REPLY | SLB_FLOW_LOCAL;

	return a->common.backend_id == b->common.backend_id &&
	       a->common.service_id == b->common.service_id &&
	       a->common.begun_s == b->common.begun_s && a->common.sport == b->common.sport &&
	       a->common.dport == b->common.dport &&
	       (a->common.flags & kind) == (b->common.flags & kind) &&
	       memcmp(a->value + sizeof(a->common), b->value + sizeof(b->common),
		      2 * a->table->addr_bytes) == 0;
}

static bool is_pair(const struct flow_entry *entry, const struct flow_entry *other)
{
	uint8_t key[FLOW_KEY_BYTES_MAX];

	pair_key(other, key);
	return memcmp(key, entry->key, entry->table->key_bytes) == 0 &&
	       entry->common.backend_id == other->common.backend_id &&
	       entry->common.service_id == other->common.service_id &&
	       entry->common.begun_s == other->common.begun_s;
}

bool flow_entry_fetch_pair(const struct ebpf_maps *maps, const struct flow_entry *entry,
			   struct flow_entry *ret)
{
	const struct flow_table *table = entry->table;
	/* The first once more: it may have moved there between the two looks. */
	const enum ebpf_map places[] = { table->map, table->other, table->map };

	if (entry->common.flags & SLB_FLOW_LOCAL)
		return false;
	ret->table = table;
	pair_key(entry, ret->key);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (fetch_from(maps, places[i], ret) && is_pair(entry, ret))
			return true;
	return false;
}

/* No call compares and deletes in one. Taking it out (5.14) tells what was there in that moment: if
 * a new flow came to the key after our look, it gets its entry back. */
static void remove_from(const struct ebpf_maps *maps, enum ebpf_map map,
			const struct flow_entry *entry)
{
	struct flow_entry found = *entry;
	int fd = maps->fd[map];

	if (!fetch_from(maps, map, &found) || !is_same_flow(entry, &found))
		return;
	if (bpf_map_lookup_and_delete_elem(fd, found.key, found.value) == 0) {
		if (!is_same_flow(entry, &found))
			bpf_map_update_elem(fd, found.key, found.value, BPF_NOEXIST);
	} else if (errno != ENOENT) {
		bpf_map_delete_elem(fd, found.key);
	}
}

static void remove_entry(const struct ebpf_maps *maps, const struct flow_entry *entry)
{
	remove_from(maps, entry->table->map, entry);
	remove_from(maps, entry->table->other, entry);
}

void flow_entry_remove_flow(const struct ebpf_maps *maps, const struct flow_entry *entry)
{
	struct flow_entry pair;
	bool has_pair = flow_entry_fetch_pair(maps, entry, &pair);

	remove_entry(maps, entry);
	if (has_pair)
		remove_entry(maps, &pair);
}
