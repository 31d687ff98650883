/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flow_entry: single entries of the flow tables, of both families alike: reading, pairing, removing
 * while programs insert, move and remove at the same time.
 *
 * A key says nothing about whose it is: a client uses its port again, a source port is claimed by
 * the next flow as soon as it is free. So nothing is removed by key alone, and a pair is one only
 * when both say so.
 */
#ifndef SLB_DATAPATH_FLOW_ENTRY_H
#define SLB_DATAPATH_FLOW_ENTRY_H

#include "datapath/ebpf_maps.h"

#define FLOW_KEY_BYTES_MAX   sizeof(struct slb_flow_key6)
#define FLOW_VALUE_BYTES_MAX sizeof(struct slb_flow6)

#define FLOW_TABLES 4

/* What differs between the tables. */
struct flow_table {
	enum ebpf_map map;
	enum ebpf_map other; /* where half-open flows move over to, or came from */
	bool half_open;
	uint32_t addr_bytes;
	uint32_t key_bytes;
	uint32_t value_bytes;
};

/* Half-open first: flows move from there to the others, and are seen late rather than never. */
extern const struct flow_table flow_tables[FLOW_TABLES];

/* One entry as the kernel gave it. */
struct flow_entry {
	const struct flow_table *table;
	uint8_t key[FLOW_KEY_BYTES_MAX];
	union {
		struct slb_flow common; /* the first member of both */
		uint8_t value[FLOW_VALUE_BYTES_MAX];
	};
};

uint8_t flow_entry_protocol(const struct flow_entry *entry);

/* Reads the entry with this table and key anew. False when there is none. */
bool flow_entry_fetch(const struct ebpf_maps *maps, struct flow_entry *entry);

/* The entry of the other direction, wherever it is: it may have moved over. False when there is
 * none of this flow. */
bool flow_entry_fetch_pair(const struct ebpf_maps *maps, const struct flow_entry *entry,
			   struct flow_entry *ret);

/* Removes the flow's entries of both directions, wherever they are, and no other flow's. */
void flow_entry_remove_flow(const struct ebpf_maps *maps, const struct flow_entry *entry);

#endif
