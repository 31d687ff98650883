/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * store: the desired state on disk (SQLite, WAL, synchronous=FULL: https://sqlite.org/wal.html).
 *
 * Changes are submitted on the loop's thread and committed on libuv's thread pool, all that have
 * gathered in one transaction (group commit), strictly in the order of submission. A change's
 * callback comes on the loop's thread after its transaction is durable, or has failed. When one
 * fails, every change submitted after it and not yet committed fails too (-ECANCELED), so that what
 * is on disk is always a prefix of what was submitted.
 *
 * One daemon per state directory: a second store_open() ends with -EBUSY.
 */
#ifndef SLB_STORE_STORE_H
#define SLB_STORE_STORE_H

#include <uv.h>

#include "core/bgp_peers.h"
#include "core/model.h"
#include "lib/errbuf.h"

struct store;

/* Opens (creates) DIRECTORY/slb.db; makes the directory with mode 0700 when missing. Errors: -EBUSY
 * another daemon has it, -EUCLEAN corrupted, -EPROTO schema of a newer slb, -EROFS, -ENOSPC,
 * -EACCES … */
int store_open(uv_loop_t *loop, const char *directory, struct store **ret, struct errbuf *err);

/* Moves a damaged store (its three files) to names that end in ".damaged-" and the second, so that
 * store_open() begins with an empty one. ret_name: the new name of slb.db. */
int store_set_aside(const char *directory, char *ret_name, size_t size, struct errbuf *err);

/* Waits until everything submitted is durable or has failed, and calls the callbacks. Blocking: for
 * the end of the program. Not to be called from a store_done_cb. */
void store_flush(struct store *store);

/* store_flush(), then closes. Accepts NULL. Not to be called from a store_done_cb. The loop must be
 * run once more before uv_loop_close(): libuv keeps a finished work request until then. */
void store_close(struct store *store);

/* Reads everything, in created_order; `found` takes each load balancer (with its backends). Used at
 * start, and after a failed commit to return to what is on disk. Blocking; may be called from a
 * store_done_cb. -EUCLEAN: a row that cannot be (named in err). On failure `found` may have been
 * called for some already. */
int store_load(struct store *store, void (*found)(void *arg, struct load_balancer *lb), void *arg,
	       struct errbuf *err);

/* 0: durable. -ENOSPC disk full, -EROFS, -EBUSY locked, -EIO, -ECANCELED an earlier one failed. */
typedef void store_done_cb(void *arg, int status, const struct errbuf *err);

/* What is given is copied before the call returns. put = insert or replace; a load balancer's
 * backends are rows of their own: store_put_load_balancer() does not touch them,
 * store_delete_load_balancer() removes them. -ENOMEM is returned at once (the callback is not
 * called); anything later comes by callback. */
int store_put_load_balancer(struct store *store, const struct load_balancer *lb,
			    store_done_cb *done, void *arg);
int store_delete_load_balancer(struct store *store, const uuid_t lb, store_done_cb *done,
			       void *arg);
int store_put_backend(struct store *store, const uuid_t lb, const struct backend *backend,
		      store_done_cb *done, void *arg);
int store_delete_backend(struct store *store, const uuid_t lb, const uuid_t backend,
			 store_done_cb *done, void *arg);

/* BGP peers asked for by the API, password and all; told apart by their address. */
int store_put_bgp_peer(struct store *store, const struct bgp_peer_config *peer, store_done_cb *done,
		       void *arg);
int store_delete_bgp_peer(struct store *store, const struct addr *peer, store_done_cb *done,
			  void *arg);
/* As store_load(); `found` borrows. */
int store_load_bgp_peers(struct store *store,
			 void (*found)(void *arg, const struct bgp_peer_config *peer), void *arg,
			 struct errbuf *err);

#endif
