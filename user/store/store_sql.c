/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The store's SQL: the schema, the statements, and how SQLite's failures read to a user.
 *
 * UUIDs, addresses and enumerations are text, so that `sqlite3 slb.db .dump` reads like the API.
 * The version of the schema is PRAGMA user_version; APPLICATION_ID tells slb's files from other
 * SQLite files. Journal mode WAL with synchronous=FULL makes every COMMIT durable when it returns
 * (https://sqlite.org/pragma.html#pragma_synchronous); a person may read the file meanwhile.
 *
 * invariant: backends are read in the order of `number` (the rowid: greater than every other in the
 * table when a row is made), and an update does not change it, so a backend keeps its place.
 */
#include "store/store_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/addr.h"

#define SCHEMA_VERSION  2
#define APPLICATION_ID  0x736c6264 /* "slbd" */
#define BUSY_TIMEOUT_MS 2000
#define UUID_TEXT_SIZE  37

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

/* What version 2 has and version 1 had not. */
#define SCHEMA_OF_VERSION_2                                           \
	"CREATE TABLE bgp_peer ("                                     \
	" address TEXT PRIMARY KEY NOT NULL,"                         \
	" asn INTEGER NOT NULL CHECK (asn BETWEEN 1 AND 4294967295)," \
	" port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"    \
	" hold_s INTEGER NOT NULL,"                                   \
	" connect_retry_s INTEGER NOT NULL,"                          \
	" multihop INTEGER NOT NULL,"                                 \
	" ttl_security INTEGER NOT NULL,"                             \
	" passive INTEGER NOT NULL CHECK (passive IN (0, 1)),"        \
	" source TEXT NOT NULL,"                                      \
	" password TEXT NOT NULL);"                                   \
	"PRAGMA user_version = " STRINGIFY(SCHEMA_VERSION) ";"

static const char upgrade_from_1[] = "BEGIN IMMEDIATE;" SCHEMA_OF_VERSION_2 "COMMIT";

static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE load_balancer ("
	" uuid TEXT PRIMARY KEY NOT NULL,"
	" name TEXT NOT NULL,"
	" vip TEXT NOT NULL,"
	" port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
	" protocol TEXT NOT NULL,"
	" scheduler TEXT NOT NULL,"
	" source_nat INTEGER NOT NULL CHECK (source_nat IN (0, 1)),"
	" affinity_s INTEGER NOT NULL CHECK (affinity_s >= 0),"
	" created_order INTEGER NOT NULL UNIQUE,"
	" UNIQUE (vip, port, protocol));"
	"CREATE TABLE backend ("
	" number INTEGER PRIMARY KEY,"
	" uuid TEXT NOT NULL UNIQUE,"
	" load_balancer TEXT NOT NULL REFERENCES load_balancer (uuid) ON DELETE CASCADE,"
	" ip TEXT NOT NULL,"
	" port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),"
	" type TEXT NOT NULL,"
	" weight INTEGER NOT NULL CHECK (weight >= 0),"
	" state TEXT NOT NULL,"
	" UNIQUE (load_balancer, ip, port));"
	"PRAGMA application_id = " STRINGIFY(APPLICATION_ID) ";" SCHEMA_OF_VERSION_2 "COMMIT";

static const char *const change_texts[STORE_CHANGE_KINDS] = {
	[PUT_LOAD_BALANCER] =
		"INSERT INTO load_balancer (uuid, name, vip, port, protocol, scheduler, source_nat,"
		" affinity_s, created_order) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
		" ON CONFLICT (uuid) DO UPDATE SET name = ?2, vip = ?3, port = ?4, protocol = ?5,"
		" scheduler = ?6, source_nat = ?7, affinity_s = ?8, created_order = ?9",
	[DELETE_LOAD_BALANCER] = "DELETE FROM load_balancer WHERE uuid = ?1",
	[PUT_BACKEND] = "INSERT INTO backend (load_balancer, uuid, ip, port, type, weight, state)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
			" ON CONFLICT (uuid) DO UPDATE SET load_balancer = ?1, ip = ?3, port = ?4, "
			"type = ?5,"
			" weight = ?6, state = ?7",
	[DELETE_BACKEND] = "DELETE FROM backend WHERE load_balancer = ?1 AND uuid = ?2",
	[PUT_BGP_PEER] =
		"INSERT OR REPLACE INTO bgp_peer (address, asn, port, hold_s, connect_retry_s,"
		" multihop, ttl_security, passive, source, password)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[DELETE_BGP_PEER] = "DELETE FROM bgp_peer WHERE address = ?1",
};

static const char select_load_balancers[] =
	"SELECT uuid, name, vip, port, protocol, scheduler, source_nat, affinity_s, created_order"
	" FROM load_balancer ORDER BY created_order";
static const char select_backends[] = "SELECT uuid, ip, port, type, weight, state FROM backend"
				      " WHERE load_balancer = ?1 ORDER BY number";

static const char select_bgp_peers[] =
	"SELECT address, asn, port, hold_s, connect_retry_s, multihop, ttl_security, passive,"
	" source, password FROM bgp_peer ORDER BY rowid";

/* ---- failures ----------------------------------------------------------------------------- */

/* The errno of an I/O failure, where the operating system's own says more than SQLite's code. */
static int io_errno(sqlite3 *db)
{
	int system = db != NULL ? sqlite3_system_errno(db) : 0;

	switch (system) {
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case EROFS:
	case EACCES:
	case ENOMEM:
		return -system;
	default:
		return -EIO;
	}
}

/* https://sqlite.org/rescode.html */
static int errno_of(sqlite3 *db, int rc)
{
	if (rc == SQLITE_IOERR_NOMEM)
		return -ENOMEM;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	default:
		return io_errno(db);
	}
}

static int fail_corrupted(const struct store_sql *sql, const char *detail, struct errbuf *err)
{
	return errbuf_set(err, -EUCLEAN,
			  "the store %s is damaged (%s); restore it from a backup, or give "
			  "--store-reset, which moves it aside and starts with no load balancers",
			  sql->path, detail);
}

/* The sentence for what SQLite last answered on this database. */
static int fail(const struct store_sql *sql, int rc, const char *doing, struct errbuf *err)
{
	int error = errno_of(sql->db, rc);
	const char *reason = sql->db != NULL ? sqlite3_errmsg(sql->db) : sqlite3_errstr(rc);

	switch (error) {
	case -ENOSPC:
		return errbuf_set(err, error,
				  "%s the store %s: the disk is full (%s); free some space", doing,
				  sql->path, reason);
	case -EROFS:
		return errbuf_set(
			err, error,
			"%s the store %s: it is read-only (%s); remount or check the disk", doing,
			sql->path, reason);
	case -EBUSY:
		return errbuf_set(err, error,
				  "%s the store %s: another process has locked it (%s); end that "
				  "process, `fuser` names it",
				  doing, sql->path, reason);
	case -EUCLEAN:
		return fail_corrupted(sql, reason, err);
	case -ENOMEM:
		return errbuf_set(err, error, "%s the store %s: out of memory", doing, sql->path);
	case -EACCES:
		return errbuf_set(
			err, error,
			"%s the store %s: permission denied (%s); check its owner and mode", doing,
			sql->path, reason);
	default:
		return errbuf_set(err, error, "%s the store %s: %s (%s); check the disk", doing,
				  sql->path, reason, sqlite3_errstr(rc));
	}
}

/* ---- opening ------------------------------------------------------------------------------ */

static int execute(struct store_sql *sql, const char *text, struct errbuf *err)
{
	int rc = sqlite3_exec(sql->db, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(sql, rc, "cannot open", err);
}

/* The single number a statement answers. */
static int query_number(struct store_sql *sql, const char *text, int64_t *ret, struct errbuf *err)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(sql->db, text, -1, &stmt, NULL);

	if (rc == SQLITE_OK) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW)
			*ret = sqlite3_column_int64(stmt, 0);
		sqlite3_finalize(stmt);
	}
	return rc == SQLITE_ROW ? 0 : fail(sql, rc, "cannot open", err);
}

static int check_integrity(struct store_sql *sql, struct errbuf *err)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(sql->db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
	int error = 0;

	if (rc == SQLITE_OK) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW) {
			const char *answer = (const char *)sqlite3_column_text(stmt, 0);

			if (answer == NULL)
				rc = SQLITE_NOMEM;
			else if (strcmp(answer, "ok") != 0)
				error = fail_corrupted(sql, answer, err);
		}
		sqlite3_finalize(stmt);
	}
	if (rc != SQLITE_ROW)
		return fail(sql, rc, "cannot open", err);
	return error;
}

static int bring_schema(struct store_sql *sql, struct errbuf *err)
{
	int64_t version = 0, application = 0, tables = 0;
	int error;

	error = query_number(sql, "PRAGMA user_version", &version, err);
	if (error == 0)
		error = query_number(sql, "PRAGMA application_id", &application, err);
	if (error == 0)
		error = query_number(sql, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (error < 0)
		return error;

	if (tables == 0 && version == 0)
		return execute(sql, schema, err);
	if (application != APPLICATION_ID)
		return errbuf_set(err, -EPROTO,
				  "%s is an SQLite database, but not one of slb's; give another "
				  "--state-dir or move the file away",
				  sql->path);
	if (version == 1)
		return execute(sql, upgrade_from_1, err);
	if (version != SCHEMA_VERSION)
		return errbuf_set(err, -EPROTO,
				  "the store %s has schema %" PRId64
				  ", this slb knows %d; run the slb that wrote it",
				  sql->path, version, SCHEMA_VERSION);
	return 0;
}

static int prepare_all(struct store_sql *sql, struct errbuf *err)
{
	const struct {
		const char *text;
		sqlite3_stmt **stmt;
	} others[] = {
		{ "BEGIN IMMEDIATE", &sql->begin },
		{ "COMMIT", &sql->commit },
		{ "ROLLBACK", &sql->rollback },
		{ select_load_balancers, &sql->select_load_balancers },
		{ select_backends, &sql->select_backends },
		{ select_bgp_peers, &sql->select_bgp_peers },
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; rc == SQLITE_OK && i < STORE_CHANGE_KINDS; i++)
		rc = sqlite3_prepare_v3(sql->db, change_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
					&sql->changes[i], NULL);
	for (size_t i = 0; rc == SQLITE_OK && i < sizeof(others) / sizeof(*others); i++)
		rc = sqlite3_prepare_v3(sql->db, others[i].text, -1, SQLITE_PREPARE_PERSISTENT,
					others[i].stmt, NULL);
	return rc == SQLITE_OK ? 0 : fail(sql, rc, "cannot open", err);
}

int store_sql_open(struct store_sql *sql, const char *path, struct errbuf *err)
{
	int error, rc;

	sql->path = strdup(path);
	if (sql->path == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open the store %s: out of memory", path);

	/* One thread at a time uses the connection: SQLite's own mutex is not needed. */
	rc = sqlite3_open_v2(path, &sql->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			     NULL);
	if (rc != SQLITE_OK)
		return fail(sql, rc, "cannot open", err);
	if (sqlite3_db_readonly(sql->db, "main") == 1)
		return fail(sql, SQLITE_READONLY, "cannot open", err);
	/* Passwords of BGP peers are in it; -wal and -shm get the mode of the file. */
	if (chmod(path, 0600) < 0)
		return errbuf_set(err, -errno,
				  "cannot make %s readable by its owner alone: %s; check its owner",
				  path, strerror(errno));
	sqlite3_extended_result_codes(sql->db, 1);
	sqlite3_busy_timeout(sql->db, BUSY_TIMEOUT_MS);

	error = execute(sql,
			"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			"PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 4194304;",
			err);
	if (error == 0)
		error = check_integrity(sql, err);
	if (error == 0)
		error = bring_schema(sql, err);
	if (error == 0)
		error = prepare_all(sql, err);
	return error;
}

void store_sql_close(struct store_sql *sql)
{
	for (size_t i = 0; i < STORE_CHANGE_KINDS; i++)
		sqlite3_finalize(sql->changes[i]);
	sqlite3_finalize(sql->begin);
	sqlite3_finalize(sql->commit);
	sqlite3_finalize(sql->rollback);
	sqlite3_finalize(sql->select_load_balancers);
	sqlite3_finalize(sql->select_backends);
	sqlite3_finalize(sql->select_bgp_peers);
	sqlite3_close(sql->db);
	free(sql->path);
	memset(sql, 0, sizeof(*sql));
}

/* ---- writing ------------------------------------------------------------------------------ */

/* A UUID as the API writes it; the statement keeps a copy. */
static int bind_uuid(sqlite3_stmt *stmt, int index, const uuid_t uuid)
{
	char text[UUID_TEXT_SIZE];

	uuid_unparse_lower(uuid, text);
	return sqlite3_bind_text(stmt, index, text, -1, SQLITE_TRANSIENT);
}

static int bind_addr(sqlite3_stmt *stmt, int index, const struct addr *addr)
{
	char text[ADDR_TEXT_SIZE];

	return sqlite3_bind_text(stmt, index, addr_format(addr, text), -1, SQLITE_TRANSIENT);
}

/* First failure wins: binding goes on, so that the caller has one thing to check. */
static void keep_first(int *rc, int next)
{
	if (*rc == SQLITE_OK)
		*rc = next;
}

static int bind_load_balancer(sqlite3_stmt *stmt, const struct load_balancer *lb)
{
	int rc = SQLITE_OK;

	keep_first(&rc, sqlite3_bind_text(stmt, 2, lb->name, -1, SQLITE_STATIC));
	keep_first(&rc, bind_addr(stmt, 3, &lb->vip));
	keep_first(&rc, sqlite3_bind_int(stmt, 4, lb->port));
	keep_first(&rc, sqlite3_bind_text(stmt, 5, protocol_name(lb->protocol), -1, SQLITE_STATIC));
	keep_first(&rc,
		   sqlite3_bind_text(stmt, 6, scheduler_name(lb->scheduler), -1, SQLITE_STATIC));
	keep_first(&rc, sqlite3_bind_int(stmt, 7, lb->source_nat));
	keep_first(&rc, sqlite3_bind_int64(stmt, 8, lb->affinity_s));
	keep_first(&rc, sqlite3_bind_int64(stmt, 9, (sqlite3_int64)lb->created_order));
	return rc;
}

static int bind_backend(sqlite3_stmt *stmt, const struct backend *backend)
{
	int rc = SQLITE_OK;

	keep_first(&rc, bind_addr(stmt, 3, &backend->ip));
	keep_first(&rc, sqlite3_bind_int(stmt, 4, backend->port));
	keep_first(&rc,
		   sqlite3_bind_text(stmt, 5, backend_type_name(backend->type), -1, SQLITE_STATIC));
	keep_first(&rc, sqlite3_bind_int64(stmt, 6, backend->weight));
	keep_first(&rc, sqlite3_bind_text(stmt, 7, backend_state_name(backend->state), -1,
					  SQLITE_STATIC));
	return rc;
}

static int bind_bgp_peer(sqlite3_stmt *stmt, const struct bgp_peer_config *peer)
{
	int rc = sqlite3_bind_int64(stmt, 2, peer->as);

	keep_first(&rc, sqlite3_bind_int(stmt, 3, peer->port));
	keep_first(&rc, sqlite3_bind_int(stmt, 4, peer->hold_s));
	keep_first(&rc, sqlite3_bind_int(stmt, 5, peer->connect_retry_s));
	keep_first(&rc, sqlite3_bind_int(stmt, 6, peer->multihop));
	keep_first(&rc, sqlite3_bind_int(stmt, 7, peer->ttl_security));
	keep_first(&rc, sqlite3_bind_int(stmt, 8, peer->passive));
	if (peer->source.family == AF_UNSPEC)
		keep_first(&rc, sqlite3_bind_text(stmt, 9, "", -1, SQLITE_STATIC));
	else
		keep_first(&rc, bind_addr(stmt, 9, &peer->source));
	keep_first(&rc, sqlite3_bind_text(stmt, 10, peer->password, -1, SQLITE_STATIC));
	return rc;
}

static int step_once(sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	sqlite3_reset(stmt);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int apply_change(struct store_sql *sql, const struct store_change *change)
{
	sqlite3_stmt *stmt = sql->changes[change->kind];
	int rc = change->kind == PUT_BGP_PEER || change->kind == DELETE_BGP_PEER
			 ? bind_addr(stmt, 1, &change->peer.address)
			 : bind_uuid(stmt, 1, change->lb_uuid);

	switch (change->kind) {
	case PUT_BGP_PEER:
		keep_first(&rc, bind_bgp_peer(stmt, &change->peer));
		break;
	case PUT_LOAD_BALANCER:
		keep_first(&rc, bind_load_balancer(stmt, &change->lb));
		break;
	case PUT_BACKEND:
		keep_first(&rc, bind_uuid(stmt, 2, change->backend_uuid));
		keep_first(&rc, bind_backend(stmt, &change->backend));
		break;
	case DELETE_BACKEND:
		keep_first(&rc, bind_uuid(stmt, 2, change->backend_uuid));
		break;
	default:
		break;
	}
	if (rc == SQLITE_OK)
		rc = step_once(stmt);
	sqlite3_clear_bindings(stmt);
	return rc;
}

int store_sql_commit(struct store_sql *sql, const struct store_change_list *changes,
		     struct errbuf *err)
{
	const struct store_change *change;
	int rc = step_once(sql->begin), error;

	if (rc != SQLITE_OK)
		return fail(sql, rc, "cannot write to", err);
	STAILQ_FOREACH(change, changes, link)
	{
		rc = apply_change(sql, change);
		if (rc != SQLITE_OK)
			break;
	}
	if (rc == SQLITE_OK)
		rc = step_once(sql->commit);
	if (rc == SQLITE_OK)
		return 0;

	error = fail(sql, rc, "cannot write to", err);
	/* Some failures have rolled back already: https://sqlite.org/lang_transaction.html */
	if (!sqlite3_get_autocommit(sql->db))
		step_once(sql->rollback);
	return error;
}

/* ---- reading ------------------------------------------------------------------------------ */

static const char *column_text(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return text != NULL ? text : "";
}

/* Columns as in select_load_balancers. */
static bool read_load_balancer(sqlite3_stmt *stmt, struct load_balancer *lb)
{
	const char *name = column_text(stmt, 1);
	int64_t port = sqlite3_column_int64(stmt, 3);
	int64_t affinity_s = sqlite3_column_int64(stmt, 7);

	if (strlen(name) >= sizeof(lb->name) || port < 1 || port > UINT16_MAX || affinity_s < 0 ||
	    affinity_s > AFFINITY_MAX_S || uuid_parse(column_text(stmt, 0), lb->uuid) != 0 ||
	    addr_parse(column_text(stmt, 2), &lb->vip) < 0 ||
	    !protocol_parse(column_text(stmt, 4), &lb->protocol) ||
	    !scheduler_parse(column_text(stmt, 5), &lb->scheduler))
		return false;
	memcpy(lb->name, name, strlen(name) + 1);
	lb->port = (uint16_t)port;
	lb->source_nat = sqlite3_column_int(stmt, 6) != 0;
	lb->affinity_s = (uint32_t)affinity_s;
	lb->created_order = (uint64_t)sqlite3_column_int64(stmt, 8);
	return true;
}

/* Columns as in select_backends. */
static bool read_backend(sqlite3_stmt *stmt, const struct load_balancer *lb,
			 struct backend *backend)
{
	int64_t port = sqlite3_column_int64(stmt, 2);
	int64_t weight = sqlite3_column_int64(stmt, 4);

	if (port < 1 || port > UINT16_MAX || weight < 0 || weight > WEIGHT_MAX ||
	    uuid_parse(column_text(stmt, 0), backend->uuid) != 0 ||
	    addr_parse(column_text(stmt, 1), &backend->ip) < 0 ||
	    backend->ip.family != lb->vip.family ||
	    !backend_type_parse(column_text(stmt, 3), &backend->type) ||
	    !backend_state_parse(column_text(stmt, 5), &backend->state))
		return false;
	backend->port = (uint16_t)port;
	backend->weight = (uint32_t)weight;
	return true;
}

static int fail_row(const struct store_sql *sql, const char *table, const char *uuid,
		    struct errbuf *err)
{
	return errbuf_set(err, -EUCLEAN,
			  "the store %s: table %s has a row (uuid %.40s) that slb cannot have "
			  "written; correct or delete it with `sqlite3`, or restore a backup",
			  sql->path, table, uuid);
}

/* Room for one more; the capacity is the next power of two, so nothing has to remember it. */
static struct backend *append_backend(struct load_balancer *lb)
{
	size_t n = lb->backend_count;

	if ((n & (n - 1)) == 0) {
		struct backend *grown =
			reallocarray(lb->backends, n == 0 ? 1 : n * 2, sizeof(*grown));

		if (grown == NULL)
			return NULL;
		lb->backends = grown;
	}
	memset(&lb->backends[n], 0, sizeof(lb->backends[n]));
	return &lb->backends[n];
}

static int load_backends(struct store_sql *sql, struct load_balancer *lb, struct errbuf *err)
{
	sqlite3_stmt *stmt = sql->select_backends;
	int error = 0, rc = bind_uuid(stmt, 1, lb->uuid);

	while (error == 0 && rc == SQLITE_OK) {
		struct backend *backend;

		rc = sqlite3_step(stmt);
		if (rc != SQLITE_ROW)
			break;
		rc = SQLITE_OK;
		backend = append_backend(lb);
		if (backend == NULL)
			error = errbuf_set(err, -ENOMEM, "cannot read the store %s: out of memory",
					   sql->path);
		else if (!read_backend(stmt, lb, backend))
			error = fail_row(sql, "backend", column_text(stmt, 0), err);
		else
			lb->backend_count++;
	}
	if (error == 0 && rc != SQLITE_DONE)
		error = fail(sql, rc, "cannot read", err);
	sqlite3_reset(stmt);
	return error;
}

/* The load balancer of the current row, with its backends; `found` takes it. */
static int load_row(struct store_sql *sql, void (*found)(void *arg, struct load_balancer *lb),
		    void *arg, struct errbuf *err)
{
	sqlite3_stmt *stmt = sql->select_load_balancers;
	struct load_balancer *lb = calloc(1, sizeof(*lb));
	int error;

	if (lb == NULL)
		return errbuf_set(err, -ENOMEM, "cannot read the store %s: out of memory",
				  sql->path);
	if (read_load_balancer(stmt, lb))
		error = load_backends(sql, lb, err);
	else
		error = fail_row(sql, "load_balancer", column_text(stmt, 0), err);
	if (error < 0)
		load_balancer_free(lb);
	else
		found(arg, lb);
	return error;
}

int store_sql_load(struct store_sql *sql, void (*found)(void *arg, struct load_balancer *lb),
		   void *arg, struct errbuf *err)
{
	sqlite3_stmt *stmt = sql->select_load_balancers;
	int error = 0, rc;

	/* One open statement keeps one snapshot (https://sqlite.org/isolation.html). */
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		error = load_row(sql, found, arg, err);
		if (error < 0)
			break;
	}
	if (error == 0 && rc != SQLITE_DONE)
		error = fail(sql, rc, "cannot read", err);
	sqlite3_reset(stmt);
	return error;
}

/* A column that holds a number from 0 to max. */
static bool read_number(sqlite3_stmt *stmt, int column, int64_t max, int64_t *ret)
{
	*ret = sqlite3_column_int64(stmt, column);
	return *ret >= 0 && *ret <= max;
}

/* Columns as in select_bgp_peers. */
static bool read_bgp_peer(sqlite3_stmt *stmt, struct bgp_peer_config *peer)
{
	int64_t as, port, hold_s, connect_retry_s, multihop, ttl_security;
	const char *source = column_text(stmt, 8), *password = column_text(stmt, 9);

	if (addr_parse(column_text(stmt, 0), &peer->address) < 0 ||
	    !read_number(stmt, 1, UINT32_MAX, &as) || !read_number(stmt, 2, UINT16_MAX, &port) ||
	    !read_number(stmt, 3, UINT16_MAX, &hold_s) ||
	    !read_number(stmt, 4, UINT16_MAX, &connect_retry_s) ||
	    !read_number(stmt, 5, UINT8_MAX, &multihop) ||
	    !read_number(stmt, 6, UINT8_MAX, &ttl_security) ||
	    (*source != '\0' && addr_parse(source, &peer->source) < 0) ||
	    strlen(password) > BGP_PASSWORD_MAX)
		return false;
	peer->as = (uint32_t)as;
	peer->port = (uint16_t)port;
	peer->hold_s = (uint16_t)hold_s;
	peer->connect_retry_s = (uint16_t)connect_retry_s;
	peer->multihop = (uint8_t)multihop;
	peer->ttl_security = (uint8_t)ttl_security;
	peer->passive = sqlite3_column_int(stmt, 7) != 0;
	memcpy(peer->password, password, strlen(password) + 1);
	return true;
}

int store_sql_load_bgp_peers(struct store_sql *sql,
			     void (*found)(void *arg, const struct bgp_peer_config *peer),
			     void *arg, struct errbuf *err)
{
	sqlite3_stmt *stmt = sql->select_bgp_peers;
	int error = 0, rc;

	while (error == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct bgp_peer_config peer = { 0 };

		if (read_bgp_peer(stmt, &peer))
			found(arg, &peer);
		else
			error = errbuf_set(
				err, -EUCLEAN,
				"the store %s: table bgp_peer has a row (address %.60s) that slb "
				"cannot have written; correct or delete it with `sqlite3`, or "
				"restore a backup",
				sql->path, column_text(stmt, 0));
		explicit_bzero(peer.password, sizeof(peer.password));
	}
	if (error == 0 && rc != SQLITE_DONE)
		error = fail(sql, rc, "cannot read", err);
	sqlite3_reset(stmt);
	return error;
}
