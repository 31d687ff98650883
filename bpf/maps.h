/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * maps: every map, who writes it, who reads it, how long it lives. Keys and values: slb_abi.h.
 *
 * All are pinned under the pin path by their names and outlive the daemon; the xdp and tc objects
 * share them. max_entries given as 1 here are set by the daemon before loading (flags and memory
 * decide).
 */
#ifndef SLB_MAPS_H
#define SLB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "slb_abi.h"

/* daemon writes; programs read, once per new flow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct slb_service_key4);
	__type(value, struct slb_service);
} services4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct slb_service_key6);
	__type(value, struct slb_service);
} services6 SEC(".maps");

/* daemon writes (regions that no service names yet); programs read, once per new flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* the daemon writes it by mmap */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_slots);
} slots SEC(".maps");

/* programs write and read, once per new flow; the daemon zeroes an entry when it gives out its id.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_scheduler_state);
} scheduler_state SEC(".maps");

/* daemon writes; programs read, once per new flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_backend);
} backends SEC(".maps");

/* programs write, once per new flow and per end; the daemon writes `expired` and zeroes an entry
 * when it gives out its id. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* the daemon writes one member by mmap */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_backend_state);
} backend_state SEC(".maps");

/* daemon writes; programs read, once per new flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_source);
} sources SEC(".maps");

/* daemon writes; programs read, on every packet of a flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_config);
} config SEC(".maps");

/* programs write, on every packet; the daemon reads and sweeps (deletes what has been idle). When
 * full, new flows are refused: nothing in here is ever evicted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow4);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow6);
} flows6 SEC(".maps");

/* programs write: TCP flows until the handshake's last packet, UDP flows until the first reply. The
 * least recently used go when it is full: a flood evicts itself and half-open flows, never an
 * established one. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow4);
} half_open4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow6);
} half_open6 SEC(".maps");

/* programs write and read, once per new flow of a service with affinity; the daemon leaves it
 * alone. The least recently used go when it is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct slb_affinity_key);
	__type(value, struct slb_affinity);
} affinities SEC(".maps");

/* programs add, on every packet; the daemon reads, and zeroes an entry when it gives out its id. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_traffic);
} backend_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_drops);
} drops SEC(".maps");

/* programs' own, for the time of one call: a flow that begins (begin.h) or is copied (follow.h).
 * Two IPv6 keys and a value are more than the stack has room for under its callers. The hooks of
 * one CPU never interrupt each other. The daemon leaves it alone; not pinned. */
struct beginning {
	union flow_key key;   /* of the packet */
	union flow_key reply; /* of the backend's packets */
	union flow_key other;
	union flow_value value;
	__u32 service_id;
	__u32 backend_id;
	__u32 ports;      /* usable per source address */
	__u32 candidates; /* source addresses times ports */
	__u32 closed;     /* a candidate whose flow is over, or NO_CANDIDATE */
	__u32 answers;    /* given in second answers_s (answer.h) */
	__u32 answers_s;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct beginning);
} beginnings SEC(".maps");

static __always_inline const struct slb_config *config_find(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&config, &key);
}

static __always_inline struct beginning *beginning_find(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&beginnings, &key);
}

#endif
