/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The store's queue: changes gather on the loop's thread while a transaction is being committed on
 * libuv's thread pool; when it is done, all that have gathered become the next one (group commit).
 *
 *   store_put_*() ─► gathering ─► running (worker: BEGIN … COMMIT) ─► callbacks, in order ─► next
 * batch
 *
 * invariant: at most one batch runs, so what is on disk is a prefix of what was submitted. When a
 * batch fails, what has gathered behind it fails with it, before any new change can be submitted.
 * invariant: while a batch runs, the worker alone uses `sql` and the batch; `running->finished`
 * (under `mutex`) hands both back. Everything else belongs to the loop's thread.
 *
 * One daemon per state directory is kept by flock(2) on DIRECTORY/slb.lock; the kernel gives the
 * lock up when the process ends, however it ends.
 */
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* One transaction. It outlives the store when store_flush() has settled it before libuv has. */
struct batch {
	uv_work_t work;
	struct store *store;
	struct store_change_list changes;
	int status;
	struct errbuf err; /* when status < 0 */
	bool finished;     /* the worker is through; under store->mutex */
	bool settled;      /* the callbacks have been called; loop's thread */
};

struct store {
	uv_loop_t *loop;
	struct store_sql sql;
	int lock_fd;
	uv_mutex_t mutex;
	uv_cond_t finished;
	struct store_change_list gathering;
	struct batch *running; /* NULL: none */
	struct batch *spare;   /* for the next start, so that starting cannot fail */
	bool settling;         /* callbacks are being called: nothing may start */
};

/* ---- commit ------------------------------------------------------------------------------- */

static void batch_commit(struct batch *batch)
{
	batch->status = store_sql_commit(&batch->store->sql, &batch->changes, &batch->err);
}

static void worker(uv_work_t *work)
{
	struct batch *batch = work->data;
	struct store *store = batch->store;

	batch_commit(batch);
	uv_mutex_lock(&store->mutex);
	batch->finished = true;
	uv_cond_signal(&store->finished);
	uv_mutex_unlock(&store->mutex);
}

static void wait_finished(struct store *store)
{
	uv_mutex_lock(&store->mutex);
	while (store->running != NULL && !store->running->finished)
		uv_cond_wait(&store->finished, &store->mutex);
	uv_mutex_unlock(&store->mutex);
}

static void answer_all(struct store_change_list *changes, int status, const struct errbuf *err)
{
	struct store_change *change;

	while ((change = STAILQ_FIRST(changes)) != NULL) {
		STAILQ_REMOVE_HEAD(changes, link);
		change->done(change->arg, status, err);
		explicit_bzero(change->peer.password, sizeof(change->peer.password));
		free(change);
	}
}

/* Calls the callbacks of a finished batch, and of everything behind it when it has failed. */
static void settle(struct store *store, struct batch *batch)
{
	struct store_change_list canceled = STAILQ_HEAD_INITIALIZER(canceled);
	struct errbuf reason;

	batch->settled = true;
	store->running = NULL;
	store->settling = true;
	if (batch->status < 0) {
		STAILQ_CONCAT(&canceled, &store->gathering);
		reason = batch->err;
		errbuf_prefix(&reason, batch->status, "an earlier change could not be stored");
	}
	answer_all(&batch->changes, batch->status, batch->status < 0 ? &batch->err : NULL);
	answer_all(&canceled, -ECANCELED, &reason);
	store->settling = false;
}

static void start_next(struct store *store);

static void worker_done(uv_work_t *work, int status)
{
	struct batch *batch = work->data;

	(void)status; /* never UV_ECANCELED: nobody calls uv_cancel() */
	if (!batch->settled) {
		struct store *store = batch->store;

		settle(store, batch);
		start_next(store);
	}
	free(batch);
}

/* Makes a batch of what has gathered. */
static struct batch *take_batch(struct store *store)
{
	struct batch *batch = store->spare;

	store->spare = NULL;
	batch->store = store;
	STAILQ_INIT(&batch->changes);
	STAILQ_CONCAT(&batch->changes, &store->gathering);
	return batch;
}

static void start_next(struct store *store)
{
	if (store->running != NULL || store->settling || STAILQ_EMPTY(&store->gathering))
		return;
	store->running = take_batch(store);
	store->running->work.data = store->running;
	uv_queue_work(store->loop, &store->running->work, worker, worker_done);
}

void store_flush(struct store *store)
{
	if (store->running != NULL) {
		wait_finished(store);
		settle(store, store->running); /* worker_done() frees it */
	}
	while (!STAILQ_EMPTY(&store->gathering)) {
		struct batch *batch = take_batch(store);

		batch_commit(batch);
		settle(store, batch);
		free(batch);
	}
}

/* ---- submitting --------------------------------------------------------------------------- */

static struct store_change *new_change(struct store *store, enum store_change_kind kind,
				       const uuid_t lb, store_done_cb *done, void *arg)
{
	struct store_change *change;

	if (store->spare == NULL)
		store->spare = calloc(1, sizeof(*store->spare));
	if (store->spare == NULL)
		return NULL;
	change = calloc(1, sizeof(*change));
	if (change == NULL)
		return NULL;
	change->kind = kind;
	uuid_copy(change->lb_uuid, lb);
	change->done = done;
	change->arg = arg;
	return change;
}

static int submit(struct store *store, struct store_change *change)
{
	STAILQ_INSERT_TAIL(&store->gathering, change, link);
	start_next(store);
	return 0;
}

int store_put_load_balancer(struct store *store, const struct load_balancer *lb,
			    store_done_cb *done, void *arg)
{
	struct store_change *change = new_change(store, PUT_LOAD_BALANCER, lb->uuid, done, arg);

	if (change == NULL)
		return -ENOMEM;
	change->lb = *lb;
	change->lb.backends = NULL;
	change->lb.backend_count = 0;
	return submit(store, change);
}

int store_delete_load_balancer(struct store *store, const uuid_t lb, store_done_cb *done, void *arg)
{
	struct store_change *change = new_change(store, DELETE_LOAD_BALANCER, lb, done, arg);

	if (change == NULL)
		return -ENOMEM;
	return submit(store, change);
}

int store_put_backend(struct store *store, const uuid_t lb, const struct backend *backend,
		      store_done_cb *done, void *arg)
{
	struct store_change *change = new_change(store, PUT_BACKEND, lb, done, arg);

	if (change == NULL)
		return -ENOMEM;
	uuid_copy(change->backend_uuid, backend->uuid);
	change->backend = *backend;
	return submit(store, change);
}

int store_delete_backend(struct store *store, const uuid_t lb, const uuid_t backend,
			 store_done_cb *done, void *arg)
{
	struct store_change *change = new_change(store, DELETE_BACKEND, lb, done, arg);

	if (change == NULL)
		return -ENOMEM;
	uuid_copy(change->backend_uuid, backend);
	return submit(store, change);
}

int store_put_bgp_peer(struct store *store, const struct bgp_peer_config *peer, store_done_cb *done,
		       void *arg)
{
	static const uuid_t none;
	struct store_change *change = new_change(store, PUT_BGP_PEER, none, done, arg);

	if (change == NULL)
		return -ENOMEM;
	change->peer = *peer;
	return submit(store, change);
}

int store_delete_bgp_peer(struct store *store, const struct addr *peer, store_done_cb *done,
			  void *arg)
{
	static const uuid_t none;
	struct store_change *change = new_change(store, DELETE_BGP_PEER, none, done, arg);

	if (change == NULL)
		return -ENOMEM;
	change->peer.address = *peer;
	return submit(store, change);
}

int store_load_bgp_peers(struct store *store,
			 void (*found)(void *arg, const struct bgp_peer_config *peer), void *arg,
			 struct errbuf *err)
{
	wait_finished(store);
	return store_sql_load_bgp_peers(&store->sql, found, arg, err);
}

int store_load(struct store *store, void (*found)(void *arg, struct load_balancer *lb), void *arg,
	       struct errbuf *err)
{
	wait_finished(store);
	return store_sql_load(&store->sql, found, arg, err);
}

/* ---- opening and closing ------------------------------------------------------------------ */

/* fsync(2) of the directory `path` is in, so that its name survives a power cut. */
static int sync_parent(const char *path)
{
	char copy[PATH_MAX];
	int fd, error;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return error;
}

static int make_directory(const char *directory, struct errbuf *err)
{
	int error = 0;

	if (mkdir(directory, 0700) == 0)
		error = sync_parent(directory);
	else if (errno != EEXIST)
		error = -errno;
	if (error < 0)
		return errbuf_set(
			err, error,
			"cannot make the state directory %s: %s; make it, or give another "
			"--state-dir",
			directory, strerror(-error));
	return 0;
}

static int take_lock(struct store *store, const char *directory, struct errbuf *err)
{
	char path[PATH_MAX];
	int error;

	if (snprintf(path, sizeof(path), "%s/slb.lock", directory) >= (int)sizeof(path))
		return errbuf_set(err, -ENAMETOOLONG, "the state directory's name is too long");
	store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock_fd < 0) {
		error = -errno;
		return errbuf_set(err, error,
				  "cannot open %s: %s; give a --state-dir slb can write to", path,
				  strerror(-error));
	}
	if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	error = -errno;
	if (error == -EWOULDBLOCK)
		return errbuf_set(
			err, -EBUSY,
			"another slb server uses the state directory %s; stop it, or give "
			"this one a --state-dir of its own",
			directory);
	return errbuf_set(err, error, "cannot lock %s: %s", path, strerror(-error));
}

int store_open(uv_loop_t *loop, const char *directory, struct store **ret, struct errbuf *err)
{
	struct store *store = calloc(1, sizeof(*store));
	char path[PATH_MAX];
	int error;

	if (store == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open the store in %s: out of memory",
				  directory);
	store->loop = loop;
	store->lock_fd = -1;
	STAILQ_INIT(&store->gathering);
	if (uv_mutex_init(&store->mutex) < 0) {
		free(store);
		return errbuf_set(err, -ENOMEM, "cannot make a mutex: out of memory");
	}
	if (uv_cond_init(&store->finished) < 0) {
		uv_mutex_destroy(&store->mutex);
		free(store);
		return errbuf_set(err, -ENOMEM, "cannot make a condition variable: out of memory");
	}

	error = make_directory(directory, err);
	if (error == 0)
		error = take_lock(store, directory, err);
	if (error == 0 && snprintf(path, sizeof(path), "%s/slb.db", directory) >= (int)sizeof(path))
		error = errbuf_set(err, -ENAMETOOLONG, "the state directory's name is too long");
	if (error == 0)
		error = store_sql_open(&store->sql, path, err);
	if (error < 0) {
		store_close(store);
		return error;
	}
	*ret = store;
	return 0;
}

/* The log goes first: without it a torn move leaves the damaged file where it was. */
int store_set_aside(const char *directory, char *ret_name, size_t size, struct errbuf *err)
{
	static const char *const suffixes[] = { "-shm", "-wal", "" };
	char from[PATH_MAX], to[PATH_MAX];
	long long now_s = (long long)time(NULL);

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		snprintf(from, sizeof(from), "%s/slb.db%s", directory, suffixes[i]);
		snprintf(to, sizeof(to), "%s/slb.db.damaged-%lld%s", directory, now_s, suffixes[i]);
		if (rename(from, to) < 0 && errno != ENOENT)
			return errbuf_set(err, -errno, "cannot move %s to %s: %s", from, to,
					  strerror(errno));
	}
	if (sync_parent(to) < 0)
		return errbuf_set(err, -EIO, "cannot sync the state directory %s", directory);
	snprintf(ret_name, size, "%s", to);
	return 0;
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	store_flush(store);
	store_sql_close(&store->sql);
	if (store->lock_fd >= 0)
		close(store->lock_fd); /* gives the lock up; the file stays */
	uv_cond_destroy(&store->finished);
	uv_mutex_destroy(&store->mutex);
	free(store->spare);
	free(store);
}
