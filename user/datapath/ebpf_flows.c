/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sweep; see ebpf_flows.h. Called by ebpf_services.c (backends that are gone) and ebpf.c.
 *
 * Only the members marked `worker` are touched by the pool's thread, and by the loop's only while
 * no work is queued. The other direction's entry is looked up when it can matter: for
 * candidates of expiry, and for one entry in ORPHAN_SAMPLE per pass to find entries whose pair is
 * lost.
 *
 * It also corrects backend_state.expired: half-open flows that the LRU evicts are seen by nobody,
 * so the difference between what the programs counted and what the pass found is written off, as
 * far as it exceeds what can have begun and ended during the pass.
 */
#include "datapath/ebpf_flows.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/flow_entry.h"

#define CHUNK          2048u
#define CHUNK_PAUSE_MS 20 /* 100,000 entries a second; shorter when passes are to be */
/* Passes are so many times rarer when there is nothing at all to do: even empty buckets cost a
 * look.
 */
#define EMPTY_FACTOR  4
#define ORPHAN_SAMPLE 64u
#define ORPHAN_IDLE_S 2u

struct ebpf_flows {
	const struct ebpf_maps *maps;
	const struct ebpf_programs *programs;
	struct flow_timeouts timeouts;
	unsigned int sweep_ms;
	ebpf_flows_pass_cb *pass_done;
	void *pass_arg;
	uv_timer_t pacer;
	uv_work_t work;
	bool working, closing, timer_closed;
	void (*closed)(void *arg);
	void *closed_arg;

	uint64_t passes;
	uint64_t pass_began_ms;
	uint32_t entries_last[FLOW_TABLES];
	uint32_t refuse;
	uint32_t backend_limit;
	uint8_t *condemned; /* by backend id; read by the worker: atomic */
	uint32_t condemned_count;

	/* worker: */
	unsigned int table;
	bool table_done;
	bool no_batch; /* the kernel has no batches for hashes: one by one */
	bool begun;    /* cursor is valid */
	uint8_t cursor[FLOW_KEY_BYTES_MAX];
	uint8_t *keys, *values;
	uint32_t now_s;
	uint32_t visited[FLOW_TABLES];
	uint32_t *open_flows;             /* by backend id, this pass */
	struct slb_backend_state *before; /* backend_state at the pass's beginning */
};

/* ---- the worker's decisions ------------------------------------------------------------------ */

static struct flow_view view_of(const struct flow_entry *entry)
{
	return (struct flow_view){
		.protocol = flow_entry_protocol(entry),
		.half_open = entry->table->half_open,
		.tcp = entry->common.tcp,
		.seen_s = entry->common.seen_s,
		.begun_s = entry->common.begun_s,
	};
}

static struct flow_view view_joined(const struct flow_entry *entry, const struct flow_entry *pair)
{
	struct flow_view view = view_of(entry);

	view.tcp_other = pair->common.tcp;
	if ((int32_t)(pair->common.seen_s - view.seen_s) > 0)
		view.seen_s = pair->common.seen_s;
	return view;
}

static void count_expired(const struct ebpf_flows *flows, uint32_t backend_id)
{
	if (backend_id < flows->backend_limit)
		__atomic_fetch_add(&flows->maps->backend_state[backend_id].expired, 1,
				   __ATOMIC_RELAXED);
}

/* Could the flow be over, for all that this entry alone tells? Its pair can only say "sooner" when
 * it carries RST or FIN itself, and then is a candidate of its own. */
static bool is_candidate(const struct ebpf_flows *flows, const struct flow_view *view)
{
	struct flow_view both_closed = *view;
	uint32_t idle_s = flow_idle_s(view, flows->now_s);

	both_closed.tcp_other = view->tcp & SLB_TCP_FIN;
	return idle_s > flow_timeout_s(&flows->timeouts, view) ||
	       idle_s > flow_timeout_s(&flows->timeouts, &both_closed);
}

static bool is_in_orphan_sample(const struct ebpf_flows *flows, const struct flow_entry *entry)
{
	size_t n = entry->table->addr_bytes;
	uint32_t mixed = entry->key[2 * n] ^ entry->key[2 * n + 1] ^ entry->key[2 * n + 2] ^
			 entry->key[2 * n + 3] ^ entry->key[n - 1] ^ entry->key[2 * n - 1];

	return mixed % ORPHAN_SAMPLE == flows->passes % ORPHAN_SAMPLE;
}

static void end_flow(const struct ebpf_flows *flows, const struct flow_entry *entry,
		     const struct flow_view *view)
{
	flow_entry_remove_flow(flows->maps, entry);
	if (!flow_has_ended(view))
		count_expired(flows, entry->common.backend_id);
}

/* Ends the flow when it is over; else says whether it counts as open. */
static bool judge(const struct ebpf_flows *flows, struct flow_entry *entry)
{
	struct flow_view view = view_of(entry);
	uint32_t idle_s = flow_idle_s(&view, flows->now_s);
	bool sampled = is_in_orphan_sample(flows, entry) && idle_s >= ORPHAN_IDLE_S;
	struct flow_entry pair;

	if (!is_candidate(flows, &view) && !sampled && !(view.tcp & SLB_TCP_FIN))
		return !flow_has_ended(&view);
	/* What the batch saw may be old: the same tuple may have begun anew. */
	if (!flow_entry_fetch(flows->maps, entry))
		return false;
	view = view_of(entry);
	if (!(entry->common.flags & SLB_FLOW_LOCAL)) {
		if (flow_entry_fetch_pair(flows->maps, entry, &pair)) {
			view = view_joined(entry, &pair);
		} else if (flow_idle_s(&view, flows->now_s) >= ORPHAN_IDLE_S) {
			end_flow(flows, entry, &view);
			return false;
		}
	}
	if (flow_idle_s(&view, flows->now_s) <= flow_timeout_s(&flows->timeouts, &view))
		return !flow_has_ended(&view);
	end_flow(flows, entry, &view);
	return false;
}

static void visit(struct ebpf_flows *flows, struct flow_entry *entry)
{
	uint32_t backend_id = entry->common.backend_id;
	bool known = backend_id < flows->backend_limit;

	if (known && __atomic_load_n(&flows->condemned[backend_id], __ATOMIC_RELAXED)) {
		flow_entry_remove_flow(flows->maps, entry);
		return;
	}
	if (judge(flows, entry) && known && !(entry->common.flags & SLB_FLOW_REPLY))
		flows->open_flows[backend_id]++;
}

/* ---- the worker's way through a table -------------------------------------------------------- */

static uint32_t next_by_batch(struct ebpf_flows *flows, const struct flow_table *table)
{
	uint8_t out[FLOW_KEY_BYTES_MAX];
	uint32_t count = CHUNK;
	int r = bpf_map_lookup_batch(flows->maps->fd[table->map],
				     flows->begun ? flows->cursor : NULL, out, flows->keys,
				     flows->values, &count, NULL);

	if (r < 0 && errno != ENOENT) {
		/* No batches here, or a bucket larger than a chunk: go by keys from now on. */
		flows->no_batch = true;
		flows->begun = false;
		return 0;
	}
	flows->table_done = r < 0;
	memcpy(flows->cursor, out, sizeof(out));
	flows->begun = true;
	return count;
}

static uint32_t next_by_key(struct ebpf_flows *flows, const struct flow_table *table)
{
	uint32_t count = 0;

	while (count < CHUNK) {
		uint8_t *key = flows->keys + count * table->key_bytes;

		if (bpf_map_get_next_key(flows->maps->fd[table->map],
					 flows->begun ? flows->cursor : NULL, key) < 0) {
			flows->table_done = true;
			break;
		}
		memcpy(flows->cursor, key, table->key_bytes);
		flows->begun = true;
		if (bpf_map_lookup_elem(flows->maps->fd[table->map], key,
					flows->values + count * table->value_bytes) == 0)
			count++;
	}
	return count;
}

static void sweep_chunk(uv_work_t *work)
{
	struct ebpf_flows *flows = work->data;
	const struct flow_table *table = &flow_tables[flows->table];
	uint32_t count = 0;

	if (ebpf_programs_now_s(flows->programs, &flows->now_s) < 0) {
		flows->table_done = true; /* without a clock nothing may expire */
		return;
	}
	if (!flows->no_batch)
		count = next_by_batch(flows, table);
	if (flows->no_batch)
		count = next_by_key(flows, table);
	for (uint32_t i = 0; i < count; i++) {
		struct flow_entry entry = { .table = table };

		memcpy(entry.key, flows->keys + i * table->key_bytes, table->key_bytes);
		memcpy(entry.value, flows->values + i * table->value_bytes, table->value_bytes);
		visit(flows, &entry);
	}
	flows->visited[flows->table] += count;
	/* Going by keys starts over when the cursor's entry has gone: that must end some time. */
	if (flows->visited[flows->table] / 2 > flows->maps->capacity[table->map])
		flows->table_done = true;
}

/* ---- passes (the loop's thread) -------------------------------------------------------------- */

static void correct_expired(struct ebpf_flows *flows)
{
	for (uint32_t id = 1; id < flows->backend_limit; id++) {
		struct slb_backend_state *now = &flows->maps->backend_state[id];
		const struct slb_backend_state *then = &flows->before[id];
		int32_t claimed = (int32_t)(then->opened - then->closed - then->expired);
		int32_t found = (int32_t)flows->open_flows[id];
		int32_t begun = (int32_t)(now->opened - then->opened);
		int32_t ended =
			(int32_t)(now->closed - then->closed + now->expired - then->expired);
		int32_t error = 0;

		if (claimed > found + ended)
			error = claimed - found - ended;
		else if (claimed < found - begun)
			error = claimed - found + begun;
		if (error)
			__atomic_fetch_add(&now->expired, (uint32_t)error, __ATOMIC_RELAXED);
	}
}

static bool is_nearly_full(const struct ebpf_flows *flows, unsigned int table, uint32_t flag)
{
	uint32_t capacity = flows->maps->capacity[flow_tables[table].map];
	uint32_t headroom = (flows->refuse & flag) ? capacity / 16 : capacity / 32;

	return flows->entries_last[table] > capacity - headroom;
}

static void begin_pass(struct ebpf_flows *flows)
{
	flows->pass_began_ms = uv_now(flows->pacer.loop);
	flows->table = 0;
	memset(flows->visited, 0, sizeof(flows->visited));
	memset(flows->open_flows, 0, flows->backend_limit * sizeof(*flows->open_flows));
	memcpy(flows->before, flows->maps->backend_state,
	       flows->backend_limit * sizeof(*flows->before));
}

static uint64_t chunk_pause_ms(const struct ebpf_flows *flows)
{
	return flows->sweep_ms < CHUNK_PAUSE_MS ? flows->sweep_ms : CHUNK_PAUSE_MS;
}

/* Returns the pause before the next. */
static uint64_t end_pass(struct ebpf_flows *flows)
{
	uint64_t took_ms = uv_now(flows->pacer.loop) - flows->pass_began_ms;
	uint64_t least_ms = flows->sweep_ms * (flows->condemned_count ? 1ull : EMPTY_FACTOR);
	bool full4, full6;

	correct_expired(flows);
	memcpy(flows->entries_last, flows->visited, sizeof(flows->entries_last));
	full4 = is_nearly_full(flows, 2, SLB_CONFIG_REFUSE_NEW4);
	full6 = is_nearly_full(flows, 3, SLB_CONFIG_REFUSE_NEW6);
	flows->refuse = (full4 ? SLB_CONFIG_REFUSE_NEW4 : 0) | (full6 ? SLB_CONFIG_REFUSE_NEW6 : 0);
	for (unsigned int i = 0; i < FLOW_TABLES; i++)
		if (flows->entries_last[i])
			least_ms = flows->sweep_ms;
	flows->passes++;
	flows->table = 0;
	flows->pass_done(flows->pass_arg);
	return took_ms < least_ms ? least_ms - took_ms : chunk_pause_ms(flows);
}

static void free_flows(struct ebpf_flows *flows)
{
	free(flows->keys);
	free(flows->values);
	free(flows->condemned);
	free(flows->open_flows);
	free(flows->before);
	free(flows);
}

static void finish_close(struct ebpf_flows *flows)
{
	if (flows->working || !flows->timer_closed)
		return;
	flows->closed(flows->closed_arg);
	free_flows(flows);
}

static void queue_chunk(uv_timer_t *timer);

static void chunk_done(uv_work_t *work, int status)
{
	struct ebpf_flows *flows = work->data;
	uint64_t pause_ms = chunk_pause_ms(flows);

	(void)status; /* only a cancelled one differs, and nothing cancels it */
	flows->working = false;
	if (flows->closing) {
		finish_close(flows);
		return;
	}
	if (flows->table_done) {
		flows->table_done = false;
		flows->begun = false;
		if (++flows->table == FLOW_TABLES) {
			uv_update_time(flows->pacer.loop);
			pause_ms = end_pass(flows);
		}
	}
	uv_timer_start(&flows->pacer, queue_chunk, pause_ms, 0);
}

static void queue_chunk(uv_timer_t *timer)
{
	struct ebpf_flows *flows = timer->data;

	if (!flows->table && !flows->begun)
		begin_pass(flows);
	flows->work.data = flows;
	if (uv_queue_work(timer->loop, &flows->work, sweep_chunk, chunk_done) < 0)
		uv_timer_start(timer, queue_chunk, flows->sweep_ms, 0);
	else
		flows->working = true;
}

int ebpf_flows_open(const struct ebpf_flows_config *config, struct ebpf_flows **ret,
		    struct errbuf *err)
{
	struct ebpf_flows *flows = calloc(1, sizeof(*flows));

	if (!flows)
		return errbuf_set(err, -ENOMEM, "out of memory");
	flows->maps = config->maps;
	flows->programs = config->programs;
	flows->timeouts = *config->timeouts;
	flows->sweep_ms = config->sweep_ms;
	flows->pass_done = config->pass_done;
	flows->pass_arg = config->pass_arg;
	flows->backend_limit = config->maps->capacity[EBPF_MAP_BACKEND_STATE];
	flows->keys = malloc(CHUNK * FLOW_KEY_BYTES_MAX);
	flows->values = malloc(CHUNK * FLOW_VALUE_BYTES_MAX);
	flows->condemned = calloc(flows->backend_limit, sizeof(*flows->condemned));
	flows->open_flows = calloc(flows->backend_limit, sizeof(*flows->open_flows));
	flows->before = calloc(flows->backend_limit, sizeof(*flows->before));
	if (!flows->keys || !flows->values || !flows->condemned || !flows->open_flows ||
	    !flows->before) {
		free_flows(flows);
		return errbuf_set(err, -ENOMEM, "out of memory");
	}
	uv_timer_init(config->loop, &flows->pacer);
	flows->pacer.data = flows;
	uv_timer_start(&flows->pacer, queue_chunk, flows->sweep_ms, 0);
	*ret = flows;
	return 0;
}

static void timer_closed(uv_handle_t *handle)
{
	struct ebpf_flows *flows = handle->data;

	flows->timer_closed = true;
	finish_close(flows);
}

void ebpf_flows_close(struct ebpf_flows *flows, void (*done)(void *arg), void *arg)
{
	if (!flows) {
		done(arg);
		return;
	}
	flows->closing = true;
	flows->closed = done;
	flows->closed_arg = arg;
	uv_close((uv_handle_t *)&flows->pacer, timer_closed);
}

/* ---- what others ask ------------------------------------------------------------------------- */

void ebpf_flows_condemn(struct ebpf_flows *flows, uint32_t backend_id)
{
	flows->condemned_count += !flows->condemned[backend_id];
	__atomic_store_n(&flows->condemned[backend_id], 1, __ATOMIC_RELAXED);
}

void ebpf_flows_pardon(struct ebpf_flows *flows, uint32_t backend_id)
{
	flows->condemned_count -= flows->condemned[backend_id];
	__atomic_store_n(&flows->condemned[backend_id], 0, __ATOMIC_RELAXED);
}

uint64_t ebpf_flows_clean_after(const struct ebpf_flows *flows)
{
	return flows->passes + 3;
}

uint64_t ebpf_flows_passes(const struct ebpf_flows *flows)
{
	return flows->passes;
}

uint32_t ebpf_flows_entries(const struct ebpf_flows *flows, enum ebpf_map map)
{
	for (unsigned int i = 0; i < FLOW_TABLES; i++)
		if (flow_tables[i].map == map)
			return flows->entries_last[i];
	return 0;
}

uint32_t ebpf_flows_refuse(const struct ebpf_flows *flows)
{
	return flows->refuse;
}
