/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core: owns the desired state and makes it true. The API (and tests) call it; it calls the store
 * and the interfaces datapath_ops, advertiser_ops and address_source_ops, never an implementation.
 *
 * Every change is atomic and durable before it is answered: validated, VIP acquired, datapath
 * applied, VIP prepared, stored (fsync), announced, answered; a step that fails undoes the ones
 * before it. All on the loop's thread; `done` may come before the call returns.
 *
 * After a failed commit core reloads the desired state from the store and reconciles, so memory,
 * datapath and disk agree again.
 */
#ifndef SLB_CORE_CORE_H
#define SLB_CORE_CORE_H

#include <uv.h>

#include "core/address_source_ops.h"
#include "core/advertiser_ops.h"
#include "core/datapath_ops.h"
#include "core/model.h"
#include "store/store.h"

struct core;

struct core_config {
	uv_loop_t *loop; /* all of these are borrowed and outlive the core */
	struct store *store;
	struct datapath *datapath;
	struct advertiser *advertiser;
	struct address_source *addresses;
};

/* Loads the store, adopts addresses, applies everything, removes what a crash left. What cannot be
 * made true at start is logged and kept as desired (it is tried again by core_reconcile); only an
 * unreadable store is an error. */
int core_start(const struct core_config *config, struct core **ret, struct errbuf *err);

/* Ends core; the datapath and announcements stay as they are (stopping for good is
 * core_withdraw_all). Changes under way are answered -ECANCELED. Accepts NULL. */
void core_stop(struct core *core);

/* Withdraws every VIP and removes every service; the store is kept. */
void core_withdraw_all(struct core *core);

/* From now on no service takes new flows; those there are go on. For a node that stops: there is no
 * way back. Returns how many load balancers could not be told (logged; core_reconcile() tries
 * again). */
size_t core_drain(struct core *core);

/* Makes desired true again wherever it is not (called on netlink events and by a timer).
 * Idempotent. Returns how many load balancers could not be made true. */
size_t core_reconcile(struct core *core);

/* ---- what a request asks for ----------------------------------------------------------------- */

/* Which members of a request were given; the others keep their defaults (create) or stay (update).
 */
enum load_balancer_member {
	LB_NAME = 1 << 0,
	LB_EIP = 1 << 1,
	LB_PORT = 1 << 2,
	LB_PROTOCOL = 1 << 3,
	LB_FAMILY = 1 << 4,
	LB_SCHEDULER = 1 << 5,
	LB_SOURCE_NAT = 1 << 6,
	LB_AFFINITY = 1 << 7,
};

struct load_balancer_request {
	unsigned int given; /* LB_* */
	char name[NAME_SIZE];
	struct addr eip;
	uint16_t port;
	enum protocol protocol;
	int family; /* AF_INET or AF_INET6 */
	enum scheduler scheduler;
	bool source_nat;
	uint32_t affinity_s;
};

enum backend_member {
	BACKEND_IP_GIVEN = 1 << 0,
	BACKEND_PORT_GIVEN = 1 << 1,
	BACKEND_TYPE_GIVEN = 1 << 2,
	BACKEND_WEIGHT_GIVEN = 1 << 3,
	BACKEND_STATE_GIVEN = 1 << 4,
};

struct backend_request {
	unsigned int given; /* BACKEND_*_GIVEN */
	struct addr ip;
	uint16_t port;
	enum backend_type type;
	uint32_t weight;
	enum backend_state state;
};

/* ---- changes --------------------------------------------------------------------------------- */

/* status 0: lb (and backend where the call was about one) are as they are now, borrowed for the
 * call; both NULL after a delete. Negative errno: err (borrowed) says why and nothing has changed:
 *   -ENOENT       unknown uuid                        -EINVAL    a value that cannot be
 *   -EADDRINUSE   address or VIP+port taken           -EEXIST    backend already there
 *   -ENOSPC       pool, table or disk full            -ENOTSUP   this datapath or kernel cannot
 *   -EROFS -EBUSY -EIO the store cannot write now     others as the kernel gives them */
typedef void core_done_cb(void *arg, int status, const struct load_balancer *lb,
			  const struct backend *backend, const struct errbuf *err);

/* name may be empty; port is required; eip and family may be asked for (a given eip sets the
 * family; a contradiction is -EINVAL). An eip that another load balancer has is shared when it is
 * asked for by name and port+protocol differ. */
void core_create_load_balancer(struct core *core, const struct load_balancer_request *request,
			       core_done_cb *done, void *arg);

/* Changes name, scheduler, source_nat, affinity_s. Identity (eip, port, protocol, family) given
 * with the value it already has is accepted, another value is -EINVAL. */
void core_update_load_balancer(struct core *core, const uuid_t lb,
			       const struct load_balancer_request *request, core_done_cb *done,
			       void *arg);
void core_delete_load_balancer(struct core *core, const uuid_t lb, core_done_cb *done, void *arg);

void core_create_backend(struct core *core, const uuid_t lb, const struct backend_request *request,
			 core_done_cb *done, void *arg);
/* Changes weight and state; ip, port and type as for identity above. */
void core_update_backend(struct core *core, const uuid_t lb, const uuid_t backend,
			 const struct backend_request *request, core_done_cb *done, void *arg);
void core_delete_backend(struct core *core, const uuid_t lb, const uuid_t backend,
			 core_done_cb *done, void *arg);

/* ---- reading --------------------------------------------------------------------------------- */

/* Borrowed until the next change. NULL when unknown, or not yet durable. */
const struct load_balancer *core_find(const struct core *core, const uuid_t lb);

/* In order of creation: the first with created_order > after (0 = from the start), or NULL. Costs
 * O(log n) or less, so a list can be streamed while changes come in between. Load balancers not yet
 * durable are left out. */
const struct load_balancer *core_next(const struct core *core, uint64_t after);
size_t core_count(const struct core *core);

/* -ENOENT when the load balancer is unknown. per_backend as in datapath_ops. */
int core_traffic(struct core *core, const struct load_balancer *lb, struct traffic *ret_total,
		 struct traffic *ret_per_backend, struct errbuf *err);

/* As in datapath_ops, for lb or (NULL) for packets of no load balancer. -ENOTSUP: this datapath
 * does not count them. */
int core_drops(struct core *core, const struct load_balancer *lb,
	       struct drop_count ret[static DROP_REASONS_MAX], size_t *ret_count,
	       struct errbuf *err);
/* As in datapath_ops; 0 when this datapath has none. */
size_t core_tables(struct core *core, struct table_use ret[static TABLES_MAX]);

#endif
