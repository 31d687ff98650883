/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the store's two files share: store.c gathers changes and commits them in groups, store_sql.c
 * knows the schema and turns changes and rows into each other. Nobody else includes this.
 *
 * invariant: store_sql_* is used by one thread at a time: by the worker while a batch runs, by the
 * loop's thread otherwise.
 */
#ifndef SLB_STORE_STORE_INTERNAL_H
#define SLB_STORE_STORE_INTERNAL_H

#include <sqlite3.h>
#include <sys/queue.h>

#include "store/store.h"

enum store_change_kind {
	PUT_LOAD_BALANCER,
	DELETE_LOAD_BALANCER,
	PUT_BACKEND,
	DELETE_BACKEND,
	PUT_BGP_PEER,
	DELETE_BGP_PEER,
	STORE_CHANGE_KINDS
};

struct store_change {
	STAILQ_ENTRY(store_change) link;
	enum store_change_kind kind;
	uuid_t lb_uuid;              /* *_LOAD_BALANCER, *_BACKEND */
	uuid_t backend_uuid;         /* *_BACKEND */
	struct load_balancer lb;     /* PUT_LOAD_BALANCER; its backends are not looked at */
	struct backend backend;      /* PUT_BACKEND */
	struct bgp_peer_config peer; /* PUT_BGP_PEER; of DELETE_BGP_PEER the address */
	store_done_cb *done;
	void *arg;
};

STAILQ_HEAD(store_change_list, store_change);

/* One open database with its prepared statements. */
struct store_sql {
	sqlite3 *db;
	char *path;
	sqlite3_stmt *changes[STORE_CHANGE_KINDS];
	sqlite3_stmt *begin, *commit, *rollback;
	sqlite3_stmt *select_load_balancers, *select_backends, *select_bgp_peers;
};

/* Opens or creates the database file, checks it, brings the schema in place. sql is zeroed before
 * and is closed with store_sql_close() whatever the outcome. */
int store_sql_open(struct store_sql *sql, const char *path, struct errbuf *err);
void store_sql_close(struct store_sql *sql);

/* All of `changes` in one durable transaction, or none. */
int store_sql_commit(struct store_sql *sql, const struct store_change_list *changes,
		     struct errbuf *err);

/* As store_load(). */
int store_sql_load(struct store_sql *sql, void (*found)(void *arg, struct load_balancer *lb),
		   void *arg, struct errbuf *err);

/* As store_load_bgp_peers(). */
int store_sql_load_bgp_peers(struct store_sql *sql,
			     void (*found)(void *arg, const struct bgp_peer_config *peer),
			     void *arg, struct errbuf *err);

#endif
