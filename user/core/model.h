/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * model: the desired state. Pure data: what a person asked for by the API and what slb picked for
 * them (the VIP, the UUIDs). It knows nothing of JSON, SQLite, maps or netlink.
 *
 * invariant: VIP + port + protocol is unique over all load balancers.
 * invariant: every backend of a load balancer is of the VIP's family; ip + port is unique among the
 * backends of one load balancer.
 */
#ifndef SLB_CORE_MODEL_H
#define SLB_CORE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>
#include <uuid/uuid.h>

#include "lib/addr.h"

#define NAME_SIZE      256   /* 255 bytes of UTF-8 and a NUL */
#define WEIGHT_MAX     65535 /* as IPVS has it */
#define AFFINITY_MAX_S 86400

enum protocol { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 }; /* IANA protocol numbers */
enum scheduler { SCHEDULER_RR, SCHEDULER_WRR, SCHEDULER_SH, SCHEDULER_MAGLEV, SCHEDULER_LC };
enum backend_type { BACKEND_MASQ, BACKEND_LOCAL };
enum backend_state { BACKEND_UP, BACKEND_DRAIN, BACKEND_DISABLED };

struct backend {
	uuid_t uuid;
	struct addr ip;
	uint16_t port; /* host order */
	enum backend_type type;
	uint32_t weight; /* 0 .. WEIGHT_MAX; 0 takes no new flows */
	enum backend_state state;
};

struct load_balancer {
	uuid_t uuid;
	char name[NAME_SIZE];
	struct addr vip; /* "eip" in JSON */
	uint16_t port;   /* host order */
	enum protocol protocol;
	enum scheduler scheduler;
	bool source_nat;
	uint32_t affinity_s;      /* 0 = off */
	uint64_t created_order;   /* grows with every create; lists are in this order */
	struct backend *backends; /* owned, in order of creation */
	size_t backend_count;
	UT_hash_handle hh; /* in the core's table, by uuid */
};

/* The names used in JSON, metrics, logs and the store: one table each. */
const char *protocol_name(enum protocol value);
const char *scheduler_name(enum scheduler value);
const char *backend_type_name(enum backend_type value);
const char *backend_state_name(enum backend_state value);

/* The reverse; false leaves *ret untouched. */
bool protocol_parse(const char *name, enum protocol *ret);
bool scheduler_parse(const char *name, enum scheduler *ret);
bool backend_type_parse(const char *name, enum backend_type *ret);
bool backend_state_parse(const char *name, enum backend_state *ret);

/* Deep copy; NULL when memory is short. The copy is freed with load_balancer_free(). */
struct load_balancer *load_balancer_copy(const struct load_balancer *lb);
void load_balancer_free(struct load_balancer *lb); /* accepts NULL */

/* The backend of this uuid, or NULL. Borrowed from lb. */
struct backend *load_balancer_backend(const struct load_balancer *lb, const uuid_t uuid);

#endif
