/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * slb_abi: what the daemon and the eBPF programs share: keys and values of the pinned maps.
 *
 * The only header that both sides include. Fixed-width types, explicit padding (always zero), sizes
 * asserted. A change of any layout or meaning raises SLB_ABI_VERSION, which every pinned set of
 * maps carries in `config`. Members named *addr, vip, ip, *port are in wire order, all else in the
 * host's.
 */
#ifndef SLB_ABI_H
#define SLB_ABI_H

#include <linux/bpf.h>
#include <linux/types.h>

#define SLB_ABI_VERSION 3

/* An address of either family: IPv4 in the first four bytes, the rest zero. */
#define SLB_ADDR_BYTES 16

/* ---- services4, services6: the VIPs and ports that are balanced (hash) ------------------------
 */

struct slb_service_key4 {
	__be32 vip;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
};

struct slb_service_key6 {
	__u8 vip[SLB_ADDR_BYTES];
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

enum slb_scheduler {
	SLB_SCHEDULER_NEXT = 0,  /* the slots in turn: rr and (slots laid out by weight) wrr */
	SLB_SCHEDULER_HASH = 1,  /* slot by hash of the client address: sh and maglev */
	SLB_SCHEDULER_LEAST = 2, /* the backend with the fewest active flows per weight: lc */
};

#define SLB_SERVICE_SOURCE_NAT (1 << 0)

/* Replaced as a whole: a program goes by the former entry or by the new one, never by a mixture. */
struct slb_service {
	__u32 service_id; /* index into scheduler_state, drops; never 0 */
	__u32 affinity_s; /* 0 = off */
	__u8 scheduler;   /* enum slb_scheduler */
	__u8 flags;       /* SLB_SERVICE_* */
	__u8 pad[2];
	__u32 first_slot; /* its schedule: slots first_slot .. first_slot+slot_count-1 */
	__u32 slot_count; /* 0 = no backend takes new flows */
	__u8 uuid[16];    /* of the load balancer: how a restarted daemon finds its own */
	__u8 pad2[4];
};

/* ---- slots: array of lines; slot n is slots[n / SLB_SLOTS_PER_LINE].backend_id[n % …] ----------
 */

/* An array's entries are at least 8 bytes long; so many slots fill a cache line. */
#define SLB_SLOTS_PER_LINE 16

/*
 * Schedules: backend ids, in regions that services name. A region is never changed while a service
 * names it, nor until every program that may have read that name is done: a new schedule is
 * written elsewhere, and the service's entry then replaced. Backends that take no new flows are
 * not in it. For SLB_SCHEDULER_LEAST every backend is there once.
 */
struct slb_slots {
	__u32 backend_id[SLB_SLOTS_PER_LINE];
};

/* ---- scheduler_state: array by service_id, the programs' own ----------------------------------
 */

struct slb_scheduler_state {
	struct bpf_spin_lock lock;
	__u32 next; /* the slot to use next, 0 .. n-1 */
};

/* ---- backends: array by backend_id -------------------------------------------------------------
 */

enum slb_backend_type {
	SLB_BACKEND_NONE = 0, /* the id is free */
	SLB_BACKEND_MASQ = 1,
	SLB_BACKEND_LOCAL = 2, /* handed up to the node itself, untouched */
};

/* Its flows are cut: packets are dropped and counted. */
#define SLB_BACKEND_DISABLED (1 << 0)
/* Drained, or of weight 0: not in the schedule, and clients do not stick to it. */
#define SLB_BACKEND_NO_NEW (1 << 1)

struct slb_backend {
	__u8 ip[SLB_ADDR_BYTES];
	__be16 port;
	__u8 type;  /* enum slb_backend_type */
	__u8 flags; /* SLB_BACKEND_* */
	__u32 service_id;
	__u32 source_first; /* addresses to rewrite the source to: sources[first .. first+count-1]
			     */
	__u32 source_count;
	__u32 weight; /* for SLB_SCHEDULER_LEAST */
	__u8 pad[12];
	__u8 uuid[16];
};

/* ---- backend_state: array by backend_id, the programs' own but for `expired` -------------------
 */

struct slb_backend_state {
	__u32 next_port; /* where the search for a free source port begins */
	__u32 opened;    /* flows begun; active = opened - closed - expired */
	__u32 closed;    /* flows whose end a program saw */
	__u32 expired;   /* flows that the daemon's sweep ended; written by the daemon alone */
};

/* ---- affinities: LRU hash, the programs' own --------------------------------------------------
 */

struct slb_affinity_key {
	__u32 service_id;
	__u8 family; /* AF_INET or AF_INET6 */
	__u8 pad[3];
	__u8 client[SLB_ADDR_BYTES];
};

struct slb_affinity {
	__u32 backend_id;
	__u32 seen_s; /* when the client's last flow began */
};

/* ---- sources: array of addresses --------------------------------------------------------------
 */

struct slb_source {
	__u8 ip[SLB_ADDR_BYTES];
};

/* ---- config: array with one entry, written by the daemon ---------------------------------------
 */

struct slb_port_range {
	__u16 first; /* host order */
	__u16 count; /* 0 = unused */
};

#define SLB_CONFIG_REFUSE_NEW4 (1 << 0) /* flows4 is full: begin no flow */
#define SLB_CONFIG_REFUSE_NEW6 (1 << 1)
/* Some service has source_nat off: a packet to any port may be a reply of its backends. */
#define SLB_CONFIG_CLIENT_SOURCE (1 << 2)

struct slb_config {
	__u32 abi_version;
	__u32 flags;      /* SLB_CONFIG_* */
	__u32 generation; /* raised when a route, neighbour or link changed: next hops are looked up
			     anew */
	struct slb_port_range ports[2]; /* source ports: outside ip_local_port_range */
	__u32 pad;
	__u64 pad2[4];
};

/* ---- flows4, flows6 (hash) and half_open4, half_open6 (LRU hash): one entry per direction ------
 */

/* The 5-tuple of the packet as it arrives. */
struct slb_flow_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 pad[3];
};

struct slb_flow_key6 {
	__u8 saddr[SLB_ADDR_BYTES];
	__u8 daddr[SLB_ADDR_BYTES];
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 pad[3];
};

#define SLB_FLOW_REPLY (1 << 0) /* from the backend to the client */
#define SLB_FLOW_LOCAL (1 << 1) /* handed up untouched; has no entry for replies */
#define SLB_FLOW_REPLIED \
	(1 << 2) /* a packet of the other direction was seen (kept in half_open*) */
#define SLB_FLOW_TAKEN_BACK \
	(1 << 3) /* its client reset it before the backend took it (kept in half_open*) */

/* TCP flags as in byte 13 of its header. A flow is closed when RST was seen in either direction (it
 * is then kept in both entries), or FIN in both. */
#define SLB_TCP_FIN 0x01
#define SLB_TCP_SYN 0x02
#define SLB_TCP_RST 0x04
#define SLB_TCP_ACK 0x10

/*
 * What the packet becomes, and where it goes. The entry of the other direction is found by the
 * rewritten tuple turned round:
 *     key {c, vip, cp, vp} → {s, b, sp, bp}     key {b, s, bp, sp} → {vip, c, vp, cp}
 *
 * addr_delta and port_delta are one's complement sums (RFC 1624) of new minus old addresses and
 * ports: the IPv4 header checksum takes the first, the TCP/UDP checksum both.
 *
 * The next hop is valid while generation equals config.generation; else it is looked up and written
 * anew (ifindex and MACs first, generation last). A flow that has none yet has generation 0;
 * config.generation is never 0.
 */
struct slb_flow {
	__be16 sport;
	__be16 dport;
	__u16 addr_delta;
	__u16 port_delta;
	__u8 dmac[6];
	__u8 smac[6];
	__u32 ifindex; /* of the device the packet leaves by */
	__u32 generation;
	__u32 seen_s; /* of the clock in clock.h */
	__u32 backend_id;
	__u8 flags; /* SLB_FLOW_* */
	__u8 tcp;   /* SLB_TCP_FIN, _SYN, _RST seen in this direction */
	__u16 mtu;  /* IP packets of up to so many bytes fit; a larger one asks the fib again */
	__u32 service_id;
	__u32 begun_s;
	__u32 expected_ack; /* half_open only: what the client acknowledges when the handshake is
			       done */
	__u32 pad;
};

struct slb_flow4 {
	struct slb_flow common;
	__be32 saddr;
	__be32 daddr;
};

struct slb_flow6 {
	struct slb_flow common;
	__u8 saddr[SLB_ADDR_BYTES];
	__u8 daddr[SLB_ADDR_BYTES];
};

/* ---- backend_counters: per-CPU array by backend_id ---------------------------------------------
 */

/* Bytes are those of IP packets (as IPVS counts them). in = towards the backend. */
struct slb_traffic {
	__u64 connections;
	__u64 packets_in;
	__u64 bytes_in;
	__u64 packets_out;
	__u64 bytes_out;
};

/* ---- drops: per-CPU array by service_id (0 = no service known) ---------------------------------
 */

/*
 * Why a packet was not forwarded: name in code, label in JSON and metrics, and what became of it:
 * the kernel gets it
 * ("up"), its sender is told ("answered"), or it ends ("drop"). Never reordered; new ones go to the
 * end (and raise SLB_ABI_VERSION).
 */
#define SLB_DROP_REASONS(X)                                                                        \
	X(NO_BACKEND, "no_backend")             /* answered: no backend takes new flows */         \
	X(BACKEND_DISABLED, "backend_disabled") /* drop: the flow's backend was cut */             \
	X(NOT_SYN, "not_syn")                   /* up: TCP without a flow and not its beginning */ \
	X(TABLE_FULL, "table_full")             /* drop: no room for a new flow */                 \
	X(PORTS_EXHAUSTED, "ports_exhausted")   /* drop: no free source port to that backend */    \
	X(NO_ROUTE, "no_route")                 /* drop: no route to the next hop */               \
	X(NO_NEIGHBOUR, "no_neighbour")         /* up: the kernel must resolve it first */         \
	X(TOO_BIG, "too_big")                   /* answered: the next hop's MTU is smaller */      \
	X(TTL_EXCEEDED, "ttl_exceeded")         /* answered (an ICMP error ends) */                \
	X(FRAGMENT, "fragment")                 /* cannot be assigned to a flow */                 \
	X(MALFORMED, "malformed")               /* up: the kernel judges */                        \
	X(FLOW_CLOSED, "flow_closed")           /* reserved */

enum slb_drop {
#define SLB_DROP_ENUM(name, label) SLB_DROP_##name,
	SLB_DROP_REASONS(SLB_DROP_ENUM)
#undef SLB_DROP_ENUM
		SLB_DROP_COUNT
};

#define SLB_DROPS_ROOM 24 /* counters per service, with room for reasons to come */

struct slb_drops {
	__u64 packets[SLB_DROPS_ROOM];
};

_Static_assert(sizeof(struct slb_service_key4) == 8, "ABI");
_Static_assert(sizeof(struct slb_service_key6) == 20, "ABI");
_Static_assert(sizeof(struct slb_service) == 40, "ABI");
_Static_assert(sizeof(struct slb_slots) == 64, "ABI");
_Static_assert(sizeof(struct slb_scheduler_state) == 8, "ABI");
_Static_assert(sizeof(struct slb_backend) == 64, "ABI");
_Static_assert(sizeof(struct slb_backend_state) == 16, "ABI");
_Static_assert(sizeof(struct slb_affinity_key) == 24, "ABI");
_Static_assert(sizeof(struct slb_affinity) == 8, "ABI");
_Static_assert(sizeof(struct slb_source) == 16, "ABI");
_Static_assert(sizeof(struct slb_config) == 56, "ABI");
_Static_assert(sizeof(struct slb_flow_key4) == 16, "ABI");
_Static_assert(sizeof(struct slb_flow_key6) == 40, "ABI");
_Static_assert(sizeof(struct slb_flow) == 56, "ABI");
_Static_assert(sizeof(struct slb_flow4) == 64, "ABI");
_Static_assert(sizeof(struct slb_flow6) == 88, "ABI");
_Static_assert(sizeof(struct slb_traffic) == 40, "ABI");
_Static_assert(SLB_DROP_COUNT <= SLB_DROPS_ROOM, "ABI");

#endif
