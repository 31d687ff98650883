/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What core's own files share. Nobody else includes this; core.h is the way in.
 *
 * How a change runs, and why (the pictures are in README.md):
 *
 * Every request is a `change`. It starts (change_start), waits where it must and is started afresh,
 * is submitted to the store, and is answered when its commit is durable. Several changes are under
 * way at once, so that they share commits. They come out as if made one after the other, in the
 * order of submission, by four rules:
 *
 *   1. Validation is against the newest state: all submitted changes included (entry->newest).
 *   2. What is answered, and what core_find() and core_next() show, is durable (entry->durable). An
 * answer that needs no commit but may rest on an uncommitted change (a refusal, a PATCH that
 * changes nothing) waits in the same queue for its turn.
 *   3. What takes something from running traffic (a delete) touches datapath and network only after
 *      its commit, so that a failed commit disturbs nobody. Until then (entry->closing) later
 * changes of the same load balancer wait, and are then started afresh.
 *   4. When a commit fails, all submitted changes are undone in reverse order, the durable state is
 * read from the store again, and what differs is made true. All of them carry the store's reason.
 *
 * A version of a load balancer is never altered once it is submitted. Its change owns it until the
 * commit, then the entry does (as `durable`); `newest`, `in_force` and `previous` borrow.
 */
#ifndef SLB_CORE_CORE_INTERNAL_H
#define SLB_CORE_CORE_INTERNAL_H

/* A HASH_ADD that finds no memory leaves hh.tbl NULL instead of ending the process. */
#define HASH_NONFATAL_OOM 1

#include <sys/queue.h>

#include "core/core.h"

struct change;
TAILQ_HEAD(change_list, change);

/* ---- VIPs --------------------------------------------------------------------------------- */

/* A VIP in use or being asked for; shared by all load balancers on it. */
struct vip {
	struct addr addr;
	size_t users;  /* load balancers and changes that keep it */
	bool held;     /* the address source has given it; else it is being asked for */
	bool prepared; /* on the adapter, as far as is known */
	bool placed;   /* maybe on the adapter: it must be withdrawn in the end */
	bool announced;
	bool ready;      /* core_reconcile()'s own: some durable load balancer on it is applied */
	bool complained; /* the log has said that it cannot be prepared or withdrawn */
	struct change_list waiters; /* creates that want it, while !held */
	UT_hash_handle hh;          /* core->vips, by addr */
};

/* One question to the address source. Outlives the core when the answer comes later than that. */
struct acquisition {
	struct core *core; /* NULL: the core has ended */
	struct address_source *source;
	struct change *change; /* the one that takes any address, or NULL: */
	struct addr wanted;    /* the waiters of this VIP */
	LIST_ENTRY(acquisition) link;
};

/* ---- load balancers ----------------------------------------------------------------------- */

/* What a packet is matched by. No padding: it is hashed as bytes. */
struct service_key {
	struct addr vip;
	uint16_t port;
	uint16_t protocol;
};

/* A load balancer and where it stands. */
struct lb_entry {
	uuid_t uuid;
	struct service_key service;
	struct vip *vip;                      /* a use of it is held */
	struct load_balancer *durable;        /* owned; NULL until the create is durable */
	const struct load_balancer *newest;   /* with all that is submitted; NULL: deleted */
	const struct load_balancer *in_force; /* what the datapath has or is to have */
	bool applied;                         /* the datapath has in_force, as far as is known */
	bool complained;                      /* the log has said that it cannot be applied */
	struct change *closing;     /* a submitted delete of it or of a backend, see rule 3 */
	struct change_list waiters; /* for that delete */
	UT_hash_handle hh;          /* core->entries, by uuid */
	UT_hash_handle hh_service;  /* core->services */
	LIST_ENTRY(lb_entry) link;  /* core->leaving */
};

struct core {
	struct core_config config;
	bool stopping;
	bool draining; /* what is applied takes no new flows */
	bool retained; /* what a crash left has been removed */
	bool retain_complained;
	bool outstanding; /* something is not true and must be tried again */
	struct lb_entry *entries;
	struct lb_entry *services;
	struct vip *vips;
	struct lb_entry **order; /* the durable ones, by created_order */
	size_t order_count, order_capacity;
	uint64_t last_order;          /* given out last */
	struct change_list queue;     /* submitted, and answers that wait for their turn (rule 2) */
	struct change_list ready;     /* to be started afresh */
	struct change_list acquiring; /* waiting for any address */
	LIST_HEAD(, acquisition) acquisitions;
	LIST_HEAD(, lb_entry) leaving; /* deleted, but the datapath could not forget them yet */
};

/* ---- changes (change.c) ------------------------------------------------------------------- */

struct change_ops {
	bool about_backend; /* it is answered with a backend, too */
	bool deletes;       /* it is answered with neither */

	/* Validates against the newest state, and submits, waits, or concludes. */
	void (*start)(struct change *change);

	/* The commit is durable: makes the version the durable one and does what comes after. */
	void (*committed)(struct change *change);

	/* Takes back a submitted change in memory (and, of a create, in the datapath and network).
	 * An older version that must be in force again is only marked (applied = false). */
	void (*undo)(struct change *change);
};

enum change_stage {
	CHANGE_STARTING,  /* or waiting to be */
	CHANGE_SUBMITTED, /* the store has it */
	CHANGE_CONCLUDED, /* only its answer is outstanding */
};

struct change {
	struct core *core;
	const struct change_ops *ops;
	enum change_stage stage;
	TAILQ_ENTRY(change) link;
	uuid_t lb_uuid, backend_uuid;
	union {
		struct load_balancer_request lb;
		struct backend_request backend;
	} request;
	struct vip *vip;               /* of a create, before it has an entry: a use is held */
	struct lb_entry *entry;        /* while submitted */
	struct load_balancer *version; /* owned; what the load balancer becomes */
	const struct load_balancer *previous; /* entry->newest before */
	bool undone;
	int status;
	struct errbuf err; /* when status < 0 */
	core_done_cb *done;
	void *arg;
};

/* NULL when memory is short or core is ending: `done` has been called then. */
struct change *change_new(struct core *core, const struct change_ops *ops, core_done_cb *done,
			  void *arg);

/* Answers without a change: for a request that can never be right. */
void change_refuse(core_done_cb *done, void *arg, int status, const struct errbuf *err);

/* Starts the change and whatever became ready by it. */
void change_run(struct change *change);
void core_run_ready(struct core *core);

/* Puts it aside; who moves the list to core->ready has it started afresh. */
void change_wait(struct change *change, struct change_list *waiters);

/* change->entry for a change of an existing load balancer. False: the change waits for a delete, or
 * has been concluded with -ENOENT. */
bool change_find_entry(struct change *change);

/* Ends a change that needs no commit, with change->status and change->err: at its turn. */
void change_conclude(struct change *change);
/* Sets change->status and change->err; returns status. */
int change_fail(struct change *change, int status, const char *field, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* For a change that packets may see before it is durable (all but deletes): has the datapath take
 * change->version, and makes it the newest. On failure nothing has changed; change->status says
 * why. */
int change_apply_version(struct change *change);

/* Ends a change that could not be submitted or need not be, with its version. */
void change_give_up(struct change *change);

/* The three parts of change_ops that such changes of an existing load balancer share. */
void change_version_committed(struct change *change);
void change_version_undo(struct change *change);

/* After a store_*() call: queues the change, or returns its -ENOMEM with change->err set. */
int change_submitted(struct change *change, int status);
void change_stored(void *arg, int status, const struct errbuf *err); /* the store_done_cb */

/* Answers everything that waits for an address or for another change: core is ending. */
void change_cancel_all(struct core *core);

/* ---- entries (core.c) --------------------------------------------------------------------- */

struct lb_entry *entry_find(const struct core *core, const uuid_t uuid);
struct lb_entry *entry_find_service(const struct core *core, const struct service_key *service);
struct service_key service_key_of(const struct load_balancer *lb);

/* True when nothing that a request can ask for differs. */
bool load_balancer_equal(const struct load_balancer *a, const struct load_balancer *b);

/* Adds an entry for `lb` (borrowed as newest and in_force) on `vip`, whose use it takes over; NULL
 * when memory is short (the use stays with the caller). */
struct lb_entry *entry_add(struct core *core, const struct load_balancer *lb, struct vip *vip);

/* Into and out of what core_next() shows. Room was reserved by entry_add(). */
void entry_show(struct core *core, struct lb_entry *entry);
void entry_hide(struct core *core, struct lb_entry *entry);

/* Withdraws its VIP when it is the last on it, takes it out of the datapath, gives up the VIP,
 * frees the entry (and takes `last`, its last version). Waiters become ready. What does not work is
 * tried again by core_reconcile(). */
void entry_remove(struct core *core, struct lb_entry *entry, struct load_balancer *last);
void entry_free(struct lb_entry *entry);

/* Has the datapath take in_force; says so in the log when that begins or ceases to fail. */
void entry_apply(struct core *core, struct lb_entry *entry);

/* Reads the store and makes the durable state what it says. No change may be submitted. */
int core_load(struct core *core, struct errbuf *err);

/* ---- VIPs (vip.c) ------------------------------------------------------------------------- */

/* Sees to change->vip for a create. False: the change waits for the address, or has been concluded.
 */
bool vip_obtain(struct change *change);

/* A use of the VIP of a load balancer from the store; NULL when memory is short. */
struct vip *vip_adopt(struct core *core, const struct load_balancer *lb);

/* Gives up a use; the last one withdraws it and gives the address back. */
void vip_release(struct core *core, struct vip *vip);

int vip_prepare(struct core *core, struct vip *vip, struct errbuf *err);
void vip_announce(struct core *core, struct vip *vip);
/* False (and logged once): it could not be taken off. */
bool vip_withdraw(struct core *core, struct vip *vip);

/* ---- reconcile.c -------------------------------------------------------------------------- */

/* Tries again to take deleted load balancers out of the datapath. True: no one with this service
 * is left there. */
bool core_retry_leaving(struct core *core, const struct service_key *service);

/* ---- validate.c: what can be said of a request without knowing any state ------------------ */

int validate_create_load_balancer(const struct load_balancer_request *request, struct errbuf *err);
int validate_update_load_balancer(const struct load_balancer_request *request, struct errbuf *err);
int validate_create_backend(const struct backend_request *request, struct errbuf *err);
int validate_update_backend(const struct backend_request *request, struct errbuf *err);

#endif
