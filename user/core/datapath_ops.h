/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * datapath_ops: what core asks of whatever forwards packets (eBPF or IPVS, or a test's double).
 *
 * The contract is "make it so": every call names a whole desired state and is idempotent. A call
 * that fails has changed nothing that packets can see (what it had begun is undone). Calls are
 * synchronous, made on the loop's thread, and cost what one load balancer costs, however many there
 * are. Established flows are never moved by any call but the ones that say so.
 */
#ifndef SLB_CORE_DATAPATH_OPS_H
#define SLB_CORE_DATAPATH_OPS_H

#include "core/model.h"
#include "lib/errbuf.h"

/* What passed, counted since the load balancer (or the backend) was created; both directions as the
 * client sees them: in = towards the backend. */
struct traffic {
	uint64_t connections; /* new flows */
	uint64_t packets_in, bytes_in;
	uint64_t packets_out, bytes_out;
};

/* Packets that were not forwarded, for one reason. */
struct drop_count {
	const char *reason; /* as in JSON and metrics; a literal */
	uint64_t packets;
};
#define DROP_REASONS_MAX 32

/* How full a table is. */
struct table_use {
	const char *name; /* likewise */
	uint64_t entries;
	uint64_t capacity;
};
#define TABLES_MAX 16

struct datapath;

struct datapath_ops {
	const char *name; /* "xdp", "tc", "ipvs", … as in logs and the API */

	/* Could apply() succeed with this desired state, as far as can be known beforehand? Changes
	 * nothing. -ENOTSUP for what this datapath or kernel cannot do, -EINVAL for what cannot be
	 * (a MASQ backend that is an address of the node), -ENOSPC for a full table. */
	int (*check)(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err);

	/* Makes packets to lb's service be balanced as lb says: creates the service or changes it.
	 * Borrows lb for the call. -ENOSPC: a table is full; others as the kernel gives them. */
	int (*apply)(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err);

	/* Forgets the load balancer: its service takes no new flows and its flows end. 0 when it
	 * was not there. lb is what apply() was given last, or has the same uuid, vip, port,
	 * protocol. */
	int (*remove)(struct datapath *dp, const struct load_balancer *lb, struct errbuf *err);

	/* Removes every service whose load balancer `is_desired` does not know (left by a crash).
	 * Called once after start, when all desired ones have been applied. */
	int (*retain)(struct datapath *dp, bool (*is_desired)(void *arg, const uuid_t uuid),
		      void *arg, struct errbuf *err);

	/* Traffic of one load balancer; per_backend (may be NULL) has lb->backend_count entries, in
	 * lb's order. -ENOENT when it was never applied. */
	int (*traffic)(struct datapath *dp, const struct load_balancer *lb,
		       struct traffic *ret_total, struct traffic *ret_per_backend,
		       struct errbuf *err);

	/* Optional (NULL: not known). True when nothing that apply() made has been changed by
	 * another hand since it was last applied. Cheap, O(1) where possible: it lets
	 * core_reconcile() pass over everything when nothing differs. When it is false or NULL,
	 * every apply() is repeated. */
	bool (*is_intact)(struct datapath *dp);

	/* Optional. Packets of lb (NULL: of no load balancer) that were not forwarded since it was
	 * created, by reason, where there were any: writes up to DROP_REASONS_MAX. -ENOENT as for
	 * traffic(). */
	int (*drops)(struct datapath *dp, const struct load_balancer *lb,
		     struct drop_count ret[static DROP_REASONS_MAX], size_t *ret_count,
		     struct errbuf *err);

	/* Optional. Writes up to TABLES_MAX; returns how many. */
	size_t (*tables)(struct datapath *dp, struct table_use ret[static TABLES_MAX]);

	/* Optional (NULL: packets are balanced whatever device they come by). Packets to VIPs come
	 * by the device that the route to this address (a BGP peer, a default router) leaves by,
	 * wherever that route moves: be ready for them there. Every follow() ends with an
	 * unfollow(). -ENOMEM; no route is no error, there may be one later. */
	int (*follow)(struct datapath *dp, const struct addr *address, struct errbuf *err);
	void (*unfollow)(struct datapath *dp, const struct addr *address);
};

/* The first member of every implementation. */
struct datapath {
	const struct datapath_ops *ops;
};

#endif
