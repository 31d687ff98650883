/* SPDX-License-Identifier: GPL-2.0-only */
/* store: what it says it keeps, it keeps; what it cannot keep, it says. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "alloc_fault.h"
#include "fault_vfs.h"

struct fixture {
	char directory[64]; /* of the test */
	char state[80];     /* the store's, in it */
	uv_loop_t loop;
	struct store *store;
};

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
	(void)stat;
	(void)type;
	(void)walk;
	return remove(path);
}

static void open_store(struct fixture *f)
{
	struct errbuf err;

	if (store_open(&f->loop, f->state, &f->store, &err) < 0)
		fail_msg("%s", err.text);
}

static void close_store(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
	uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->directory, sizeof(f->directory), "/tmp/slb-store-test-XXXXXX");
	if (mkdtemp(f->directory) == NULL)
		return -1;
	snprintf(f->state, sizeof(f->state), "%s/state", f->directory);
	uv_loop_init(&f->loop);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fault_vfs_fail(0, 0);
	fault_vfs_shadow(NULL);
	close_store(f);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static struct load_balancer new_lb(uint64_t order)
{
	struct load_balancer lb = { .name = "name",
				    .port = 80,
				    .protocol = PROTOCOL_UDP,
				    .scheduler = SCHEDULER_MAGLEV,
				    .affinity_s = 5,
				    .created_order = order };
	char vip[32];

	uuid_generate_random(lb.uuid);
	snprintf(vip, sizeof(vip), "10.%u.%u.%u", (unsigned int)(order >> 16),
		 (unsigned int)(order >> 8 & 0xff), (unsigned int)(order & 0xff));
	addr_parse(vip, &lb.vip);
	return lb;
}

static struct backend new_backend(unsigned int n)
{
	struct backend backend = {
		.port = 8080, .type = BACKEND_LOCAL, .weight = 65535, .state = BACKEND_DRAIN
	};
	char ip[32];

	uuid_generate_random(backend.uuid);
	snprintf(ip, sizeof(ip), "10.200.0.%u", n);
	addr_parse(ip, &backend.ip);
	return backend;
}

/* Counts callbacks, and remembers in which order they came. */
struct done {
	struct log *log;
	int number;
	int status;
	char text[ERRBUF_SIZE];
};

struct log {
	int numbers[256];
	int count;
};

static void done_cb(void *arg, int status, const struct errbuf *err)
{
	struct done *done = arg;

	done->status = status;
	if (done->log != NULL)
		done->log->numbers[done->log->count++] = done->number;
	assert_true((status < 0) == (err != NULL));
	if (err != NULL)
		snprintf(done->text, sizeof(done->text), "%s", err->text);
}

#define WAITING 1

static int put(struct fixture *f, const struct load_balancer *lb)
{
	struct done done = { .status = WAITING };

	assert_int_equal(store_put_load_balancer(f->store, lb, done_cb, &done), 0);
	while (done.status == WAITING)
		uv_run(&f->loop, UV_RUN_ONCE);
	return done.status;
}

struct found {
	struct load_balancer *items[512];
	size_t count;
};

static void found_cb(void *arg, struct load_balancer *lb)
{
	struct found *found = arg;

	found->items[found->count++] = lb;
}

static struct found load(struct fixture *f)
{
	struct found found = { .count = 0 };
	struct errbuf err;

	if (store_load(f->store, found_cb, &found, &err) < 0)
		fail_msg("%s", err.text);
	return found;
}

static void free_found(struct found *found)
{
	for (size_t i = 0; i < found->count; i++)
		load_balancer_free(found->items[i]);
}

static bool has(const struct found *found, const uuid_t uuid)
{
	for (size_t i = 0; i < found->count; i++) {
		if (uuid_compare(found->items[i]->uuid, uuid) == 0)
			return true;
	}
	return false;
}

static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	struct load_balancer a = new_lb(7), b = new_lb(3);
	struct backend backends[3] = { new_backend(3), new_backend(2), new_backend(1) };
	struct done done = { .status = WAITING };
	struct found found;
	struct stat stat_buf;

	snprintf(a.name, sizeof(a.name), "%s",
		 "it's \"quoted\"; DROP TABLE load_balancer; \xc3\xb6");
	addr_parse("2001:db8::7", &b.vip);
	b.source_nat = true;
	open_store(f);
	assert_int_equal(stat(f->state, &stat_buf), 0);
	assert_int_equal(stat_buf.st_mode & 07777, 0700);
	assert_int_equal(put(f, &a), 0);
	assert_int_equal(put(f, &b), 0);
	for (size_t i = 0; i < 3; i++)
		store_put_backend(f->store, a.uuid, &backends[i], done_cb, &done);
	backends[1].weight = 0;
	store_put_backend(f->store, a.uuid, &backends[1], done_cb, &done);
	a.affinity_s = 6;
	assert_int_equal(put(f, &a), 0); /* and its backends stay */
	assert_int_equal(done.status, 0);

	for (int round = 0; round < 2; round++) {
		found = load(f);
		assert_int_equal(found.count, 2);
		assert_int_equal(uuid_compare(found.items[0]->uuid, b.uuid), 0);
		assert_true(addr_equal(&found.items[0]->vip, &b.vip));
		assert_true(found.items[0]->source_nat);
		assert_int_equal(found.items[0]->created_order, 3);
		assert_string_equal(found.items[1]->name, a.name);
		assert_int_equal(found.items[1]->affinity_s, 6);
		assert_int_equal(found.items[1]->protocol, PROTOCOL_UDP);
		assert_int_equal(found.items[1]->scheduler, SCHEDULER_MAGLEV);
		assert_false(found.items[1]->source_nat);
		assert_int_equal(found.items[1]->backend_count, 3);
		for (size_t i = 0; i < 3; i++) {
			struct backend *backend = &found.items[1]->backends[i];

			assert_int_equal(uuid_compare(backend->uuid, backends[i].uuid), 0);
			assert_true(addr_equal(&backend->ip, &backends[i].ip));
			assert_int_equal(backend->weight, backends[i].weight);
			assert_int_equal(backend->type, BACKEND_LOCAL);
			assert_int_equal(backend->state, BACKEND_DRAIN);
		}
		free_found(&found);
		close_store(f);
		open_store(f);
	}

	done.status = WAITING;
	store_delete_backend(f->store, a.uuid, backends[0].uuid, done_cb, &done);
	store_delete_load_balancer(f->store, b.uuid, done_cb, &done);
	store_flush(f->store);
	found = load(f);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.items[0]->backend_count, 2);
	free_found(&found);
	store_delete_load_balancer(f->store, a.uuid, done_cb, &done);
	store_flush(f->store);
	found = load(f);
	assert_int_equal(found.count, 0);
	assert_int_equal(put(f, &a), 0); /* without its old backends */
	found = load(f);
	assert_int_equal(found.items[0]->backend_count, 0);
	free_found(&found);
}

static void test_order_of_answers(void **state)
{
	struct fixture *f = *state;
	struct log log = { .count = 0 };
	struct done done[200];

	open_store(f);
	for (int i = 0; i < 200; i++) {
		struct load_balancer lb = new_lb((uint64_t)i + 1);

		done[i] = (struct done){ .log = &log, .number = i, .status = WAITING };
		assert_int_equal(store_put_load_balancer(f->store, &lb, done_cb, &done[i]), 0);
		if (i % 50 == 0)
			uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	close_store(f); /* calls what is outstanding */
	assert_int_equal(log.count, 200);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(log.numbers[i], i);
		assert_int_equal(done[i].status, 0);
	}
}

/* A failed commit fails what was submitted behind it; what is submitted in answer is tried anew. */
struct again {
	struct fixture *fixture;
	struct load_balancer lb;
	struct done done;
};

static void put_again(void *arg, int status, const struct errbuf *err)
{
	struct again *again = arg;

	(void)err;
	assert_int_equal(status, -ENOSPC);
	fault_vfs_fail(0, 0);
	store_put_load_balancer(again->fixture->store, &again->lb, done_cb, &again->done);
}

static void test_failure_is_a_prefix(void **state)
{
	struct fixture *f = *state;
	struct load_balancer before = new_lb(1), behind[5];
	struct again again = { .fixture = f, .lb = new_lb(20), .done = { .status = WAITING } };
	struct done done[5];
	struct found found;

	open_store(f);
	assert_int_equal(put(f, &before), 0);
	fault_vfs_fail(1, SQLITE_FULL);
	store_put_load_balancer(f->store, &again.lb, put_again, &again);
	for (int i = 0; i < 5; i++) {
		behind[i] = new_lb((uint64_t)i + 10);
		done[i] = (struct done){ .status = WAITING };
		store_put_load_balancer(f->store, &behind[i], done_cb, &done[i]);
	}
	while (again.done.status == WAITING)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(again.done.status, 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(done[i].status, -ECANCELED);
		assert_non_null(strstr(done[i].text, "disk is full"));
	}
	found = load(f);
	assert_int_equal(found.count, 2);
	assert_true(has(&found, before.uuid) && has(&found, again.lb.uuid));
	free_found(&found);
}

static void test_second_opener(void **state)
{
	struct fixture *f = *state;
	struct store *second;
	struct errbuf err;

	open_store(f);
	assert_int_equal(store_open(&f->loop, f->state, &second, &err), -EBUSY);
	assert_non_null(strstr(err.text, f->state));
	assert_non_null(strstr(err.text, "--state-dir"));
	close_store(f);
	open_store(f);
}

static void sql(struct fixture *f, const char *text)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/slb.db", f->state);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void expect_refused(struct fixture *f, int status, const char *text)
{
	struct errbuf err = { .text = "" };
	struct store *store = NULL;
	int error = store_open(&f->loop, f->state, &store, &err);

	if (error != status || strstr(err.text, text) == NULL)
		fail_msg("%d: %s", error, err.text);
	assert_null(store);
}

static void test_other_schemas(void **state)
{
	struct fixture *f = *state;

	open_store(f);
	close_store(f);
	sql(f, "PRAGMA user_version = 3");
	expect_refused(f, -EPROTO, "schema 3");
	sql(f, "PRAGMA user_version = 2; PRAGMA application_id = 0");
	expect_refused(f, -EPROTO, "not one of slb's");
}

struct found_peers {
	struct bgp_peer_config items[4];
	size_t count;
};

static void found_peer(void *arg, const struct bgp_peer_config *peer)
{
	struct found_peers *found = arg;

	found->items[found->count++] = *peer;
}

static struct found_peers load_peers(struct fixture *f)
{
	struct found_peers found = { 0 };
	struct errbuf err;

	assert_int_equal(store_load_bgp_peers(f->store, found_peer, &found, &err), 0);
	return found;
}

static int wait_done(struct fixture *f, const struct done *done)
{
	while (done->status == WAITING)
		uv_run(&f->loop, UV_RUN_ONCE);
	return done->status;
}

static void test_bgp_peers(void **state)
{
	struct fixture *f = *state;
	struct bgp_peer_config first = { .as = 4294967294,
					 .port = 1179,
					 .hold_s = 9,
					 .connect_retry_s = 65535,
					 .multihop = 255,
					 .passive = true,
					 .password = "it's; -- secret" };
	struct bgp_peer_config second = {
		.as = 1, .port = 179, .connect_retry_s = 5, .ttl_security = 254
	};
	struct done done = { .status = WAITING };
	struct errbuf err;
	struct found_peers found;
	struct stat file;
	char path[128];

	addr_parse("2001:db8::1", &first.address);
	addr_parse("2001:db8::9", &first.source);
	addr_parse("192.0.2.1", &second.address);
	open_store(f);
	assert_int_equal(store_put_bgp_peer(f->store, &first, done_cb, &done), 0);
	assert_int_equal(wait_done(f, &done), 0);
	done.status = WAITING;
	assert_int_equal(store_put_bgp_peer(f->store, &second, done_cb, &done), 0);
	assert_int_equal(wait_done(f, &done), 0);
	snprintf(path, sizeof(path), "%s/slb.db", f->state);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode & 0777, 0600);
	close_store(f);

	open_store(f);
	found = load_peers(f);
	assert_int_equal(found.count, 2);
	assert_memory_equal(&found.items[0], &first, sizeof(first));
	assert_memory_equal(&found.items[1], &second, sizeof(second));
	done.status = WAITING;
	assert_int_equal(store_delete_bgp_peer(f->store, &first.address, done_cb, &done), 0);
	assert_int_equal(wait_done(f, &done), 0);
	assert_int_equal(load_peers(f).count, 1);
	close_store(f);

	sql(f, "UPDATE bgp_peer SET hold_s = 70000");
	open_store(f);
	assert_int_equal(store_load_bgp_peers(f->store, found_peer, &found, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "192.0.2.1"));
}

/* What the first version of slb wrote is taken over. */
static void test_schema_of_version_1(void **state)
{
	struct fixture *f = *state;
	struct load_balancer lb = new_lb(1);

	open_store(f);
	assert_int_equal(put(f, &lb), 0);
	close_store(f);
	sql(f, "DROP TABLE bgp_peer; PRAGMA user_version = 1");
	open_store(f);
	assert_int_equal(load_peers(f).count, 0);
	close_store(f);
	open_store(f);
}

static void overwrite(struct fixture *f, long offset, size_t length)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/slb.db", f->state);
	file = fopen(path, "r+b");
	assert_non_null(file);
	fseek(file, offset, SEEK_SET);
	while (length-- > 0)
		fputc(0x5a, file);
	fclose(file);
}

static void test_corrupted(void **state)
{
	struct fixture *f = *state;

	open_store(f);
	for (uint64_t i = 1; i <= 100; i++) {
		struct load_balancer lb = new_lb(i);

		assert_int_equal(put(f, &lb), 0);
	}
	close_store(f);
	overwrite(f, 3 * 4096 + 10, 2000);
	expect_refused(f, -EUCLEAN, "--store-reset");
	overwrite(f, 0, 4096);
	expect_refused(f, -EUCLEAN, "slb.db is damaged");
}

/* What a person did to the file with sqlite3. */
static void test_impossible_rows(void **state)
{
	struct fixture *f = *state;
	static const char *const changes[] = {
		"UPDATE load_balancer SET vip = '10.0.0'",
		"UPDATE load_balancer SET protocol = 'sctp'",
		"UPDATE load_balancer SET affinity_s = 99999999",
		"UPDATE load_balancer SET uuid = 'x'",
		"UPDATE backend SET ip = '2001:db8::1'",
		"UPDATE backend SET state = 'tired'",
		"UPDATE backend SET weight = 65536",
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct load_balancer lb = new_lb(1);
		struct backend backend = new_backend(1);
		struct done done = { .status = WAITING };
		struct found found = { .count = 0 };
		struct errbuf err;

		open_store(f);
		assert_int_equal(put(f, &lb), 0);
		store_put_backend(f->store, lb.uuid, &backend, done_cb, &done);
		close_store(f);
		sql(f, changes[i]);
		open_store(f);
		assert_int_equal(store_load(f->store, found_cb, &found, &err), -EUCLEAN);
		assert_non_null(strstr(err.text, "slb.db"));
		free_found(&found);
		close_store(f);
		sql(f, "PRAGMA foreign_keys = ON; DELETE FROM load_balancer; DELETE FROM backend");
	}
}

/* A person may read the file while slb runs; one who locks it makes writes fail, for a while. */
static void test_read_and_locked_by_others(void **state)
{
	struct fixture *f = *state;
	struct load_balancer lb = new_lb(1), other = new_lb(2);
	char path[128];
	sqlite3 *db;

	open_store(f);
	assert_int_equal(put(f, &lb), 0);
	sql(f, "SELECT count(*) FROM load_balancer");
	snprintf(path, sizeof(path), "%s/slb.db", f->state);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(put(f, &other), -EBUSY);
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(put(f, &other), 0);
}

static void test_directory(void **state)
{
	struct fixture *f = *state;

	snprintf(f->state, sizeof(f->state), "%s/a/b", f->directory);
	expect_refused(f, -ENOENT, "--state-dir");
	snprintf(f->state, sizeof(f->state), "%s/file", f->directory);
	close(open(f->state, O_CREAT | O_WRONLY, 0600));
	expect_refused(f, -ENOTDIR, "--state-dir");
}

static void test_open_without_memory(void **state)
{
	struct fixture *f = *state;
	bool hit = true;

	for (size_t n = 1; hit; n++) {
		struct errbuf err;

		alloc_fault_set(n);
		if (store_open(&f->loop, f->state, &f->store, &err) < 0)
			assert_true(alloc_fault_hit());
		hit = alloc_fault_hit();
		alloc_fault_set(0);
		close_store(f);
	}
}

/* SQLite's own memory running out is one more failed commit. */
static int fail_sqlite_after = -1;
static sqlite3_mem_methods real_memory;

static void *sqlite_malloc(int size)
{
	if (fail_sqlite_after == 0)
		return NULL;
	if (fail_sqlite_after > 0)
		fail_sqlite_after--;
	return real_memory.xMalloc(size);
}

static void test_sqlite_without_memory(void **state)
{
	struct fixture *f = *state;
	size_t failures = 0;
	uint64_t order = 1;

	open_store(f);
	for (int n = 0; n < 40; n++) {
		struct load_balancer lb = new_lb(order++);
		int status;

		fail_sqlite_after = n;
		status = put(f, &lb);
		fail_sqlite_after = -1;
		assert_true(status == 0 || status == -ENOMEM);
		failures += status != 0;
		lb = new_lb(order++);
		assert_int_equal(put(f, &lb), 0);
	}
	assert_true(failures > 0);
}

/* ---- ends that come without warning ------------------------------------------------------- */

struct reporter {
	uuid_t uuid;
	int pipe;
	struct fixture *fixture;
	uint64_t *order;
};

static void submit_next(struct reporter *reporter);

static void report(void *arg, int status, const struct errbuf *err)
{
	struct reporter *reporter = arg;

	(void)err;
	if (status != 0 || write(reporter->pipe, reporter->uuid, sizeof(uuid_t)) < 0)
		_exit(1);
	submit_next(reporter);
}

static void submit_next(struct reporter *reporter)
{
	struct load_balancer lb = new_lb((*reporter->order)++);

	uuid_copy(reporter->uuid, lb.uuid);
	if (store_put_load_balancer(reporter->fixture->store, &lb, report, reporter) < 0)
		_exit(1);
}

/* Stores for ever, with sixteen under way, and says of each when it is durable. */
static void child(struct fixture *f, int pipe, uint64_t first)
{
	struct reporter reporters[16];
	uint64_t order = first;
	uv_loop_t loop; /* the parent's has no worker here */
	struct errbuf err;

	uv_loop_init(&loop);
	if (store_open(&loop, f->state, &f->store, &err) < 0)
		_exit(1);
	for (size_t i = 0; i < 16; i++) {
		reporters[i] = (struct reporter){ .pipe = pipe, .fixture = f, .order = &order };
		submit_next(&reporters[i]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(1);
}

static void test_kill_9(void **state)
{
	struct fixture *f = *state;
	static uuid_t reported[4096];
	size_t count = 0;

	for (int round = 0; round < 10; round++) {
		size_t before = count;
		struct found found;
		int ends[2];
		pid_t pid;

		assert_int_equal(pipe(ends), 0);
		pid = fork();
		if (pid == 0)
			child(f, ends[1], 1 + (uint64_t)round * 1000);
		close(ends[1]);
		while (count < before + 20 + (size_t)round &&
		       read(ends[0], reported[count], sizeof(uuid_t)) == sizeof(uuid_t))
			count++;
		kill(pid, SIGKILL);
		while (count < 4096 &&
		       read(ends[0], reported[count], sizeof(uuid_t)) == sizeof(uuid_t))
			count++;
		waitpid(pid, NULL, 0);
		close(ends[0]);
		assert_true(count > before);

		open_store(f);
		found = load(f);
		assert_true(found.count <= 512);
		for (size_t i = before; i < count; i++)
			assert_true(has(&found, reported[i]));
		free_found(&found);
		close_store(f);
		sql(f, "DELETE FROM load_balancer"); /* each round has its own */
	}
	print_message("             %zu reported durable, %zu found\n", count, count);
}

/* A power cut: of every file only what was synced is left. */
static void test_power_cut(void **state)
{
	struct fixture *f = *state;
	struct fixture after = *f;
	char shadow[80], command[256];
	uuid_t stored[40];

	snprintf(shadow, sizeof(shadow), "%s/shadow", f->directory);
	snprintf(after.state, sizeof(after.state), "%s/after", f->directory);
	assert_int_equal(mkdir(shadow, 0700), 0);
	fault_vfs_shadow(shadow);
	open_store(f);
	for (size_t i = 0; i < 40; i++) {
		struct load_balancer lb = new_lb(i + 1);
		struct found found;

		uuid_copy(stored[i], lb.uuid);
		assert_int_equal(put(f, &lb), 0);
		if (i % 5 != 4)
			continue;
		fault_vfs_shadow(NULL);
		snprintf(command, sizeof(command), "rm -rf %s; cp -r %s %s", after.state, shadow,
			 after.state);
		assert_int_equal(system(command), 0);
		uv_loop_init(&after.loop);
		open_store(&after);
		found = load(&after);
		assert_int_equal(found.count, i + 1);
		for (size_t n = 0; n <= i; n++)
			assert_true(has(&found, stored[n]));
		free_found(&found);
		close_store(&after);
		uv_loop_close(&after.loop);
		fault_vfs_shadow(shadow);
	}
}

/* Something else that takes space on the disk, to be removed when it is full. */
static void place_ballast(const char *path)
{
	FILE *file = fopen(path, "wb");

	for (size_t i = 0; file != NULL && i < 200 * 1024; i++)
		fputc('x', file);
	if (file == NULL || fclose(file) != 0)
		_exit(2);
}

/* A disk that is really full: a small tmpfs in a mount namespace of its own. */
static int fill_disk(struct fixture *f)
{
	char ballast[128];
	uint64_t order = 1;
	struct load_balancer lb;
	struct found found;
	int status;

	snprintf(ballast, sizeof(ballast), "%s/ballast", f->directory);
	place_ballast(ballast);
	uv_loop_init(&f->loop);
	open_store(f);
	do {
		lb = new_lb(order++);
		memset(lb.name, 'x', sizeof(lb.name) - 1);
		status = put(f, &lb);
	} while (status == 0 && order < 400);
	if (status != -ENOSPC)
		return 3;
	close_store(f);
	open_store(f); /* a full disk is no reason not to start */
	found = load(f);
	if (found.count != order - 2 || has(&found, lb.uuid))
		return 4;
	free_found(&found);
	if (put(f, &lb) != -ENOSPC)
		return 5;
	unlink(ballast);
	if (put(f, &lb) != 0)
		return 6;
	close_store(f);
	return 0;
}

static void test_disk_full(void **state)
{
	struct fixture *f = *state;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		/* No sanitizer's leak check here: the parent's objects are not ours to free. */
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("none", f->directory, "tmpfs", 0, "size=500k") < 0)
			_exit(77);
		_exit(fill_disk(f));
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("             needs root to mount a tmpfs\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- how fast ----------------------------------------------------------------------------- */

struct client {
	struct fixture *fixture;
	uint64_t *order;
	int *left;
};

static void client_next(void *arg, int status, const struct errbuf *err)
{
	struct client *client = arg;
	struct load_balancer lb;

	(void)err;
	assert_int_equal(status, 0);
	if (--*client->left < 16)
		return;
	lb = new_lb((*client->order)++);
	store_put_load_balancer(client->fixture->store, &lb, client_next, client);
}

static void test_throughput(void **state)
{
	struct fixture *f = *state;
	struct client clients[16];
	uint64_t order = 1, started, ended;
	int left = 4000 + 16;

	open_store(f);
	started = uv_hrtime();
	for (size_t i = 0; i < 16; i++) {
		clients[i] = (struct client){ .fixture = f, .order = &order, .left = &left };
		left++;
		client_next(&clients[i], 0, NULL);
	}
	while (left > 0 && uv_run(&f->loop, UV_RUN_ONCE) != 0)
		;
	ended = uv_hrtime();
	print_message("             %.0f durable creates/s, 16 under way (sanitizers on)\n",
		      (double)order * 1e9 / (double)(ended - started));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip),
		TEST(test_order_of_answers),
		TEST(test_failure_is_a_prefix),
		TEST(test_second_opener),
		TEST(test_other_schemas),
		TEST(test_bgp_peers),
		TEST(test_schema_of_version_1),
		TEST(test_corrupted),
		TEST(test_impossible_rows),
		TEST(test_read_and_locked_by_others),
		TEST(test_directory),
		TEST(test_open_without_memory),
		TEST(test_sqlite_without_memory),
		TEST(test_kill_9),
		TEST(test_power_cut),
		TEST(test_disk_full),
		TEST(test_throughput),
	};
	sqlite3_mem_methods memory;

	/* The allocator can be replaced before SQLite's first use only. */
	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
	memory = real_memory;
	memory.xMalloc = sqlite_malloc;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &memory);
	fault_vfs_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
