/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life of a change: start, wait, submit, commit or fail, answer. The rules are in
 * core_internal.h.
 *
 * invariant: `queue` is in the order of submission, so its first submitted change is the one whose
 * store callback comes next.
 * invariant: a change is in exactly one list while it is not running.
 * A done callback may call any core_*() but core_stop(); so nothing is held over an answer.
 */
#include "core/core_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"

struct change *change_new(struct core *core, const struct change_ops *ops, core_done_cb *done,
			  void *arg)
{
	struct change *change;
	struct errbuf err;

	if (core->stopping) {
		errbuf_set(&err, -ECANCELED, "slb is stopping");
		done(arg, -ECANCELED, NULL, NULL, &err);
		return NULL;
	}
	change = calloc(1, sizeof(*change));
	if (change == NULL) {
		errbuf_set(&err, -ENOMEM, "out of memory");
		done(arg, -ENOMEM, NULL, NULL, &err);
		return NULL;
	}
	change->core = core;
	change->ops = ops;
	change->done = done;
	change->arg = arg;
	return change;
}

void change_refuse(core_done_cb *done, void *arg, int status, const struct errbuf *err)
{
	done(arg, status, NULL, NULL, err);
}

/* Answers and frees. */
static void answer(struct change *change)
{
	const struct load_balancer *lb = NULL;
	const struct backend *backend = NULL;

	if (change->status == 0 && !change->ops->deletes) {
		lb = core_find(change->core, change->lb_uuid);
		if (change->ops->about_backend && lb != NULL)
			backend = load_balancer_backend(lb, change->backend_uuid);
	}
	change->done(change->arg, change->status, lb, backend,
		     change->status < 0 ? &change->err : NULL);
	free(change);
}

/* Answers whatever is at the head of the queue and waits for no commit. */
static void answer_concluded(struct core *core)
{
	struct change *change;

	while ((change = TAILQ_FIRST(&core->queue)) != NULL && change->stage == CHANGE_CONCLUDED) {
		TAILQ_REMOVE(&core->queue, change, link);
		answer(change);
	}
}

void change_conclude(struct change *change)
{
	struct core *core = change->core;

	if (change->vip != NULL) {
		vip_release(core, change->vip);
		change->vip = NULL;
	}
	change->stage = CHANGE_CONCLUDED;
	if (TAILQ_EMPTY(&core->queue))
		answer(change);
	else
		TAILQ_INSERT_TAIL(&core->queue, change, link);
}

int change_fail(struct change *change, int status, const char *field, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(change->err.text, sizeof(change->err.text), format, args);
	va_end(args);
	change->err.field = field;
	change->status = status;
	return status;
}

static void change_start(struct change *change)
{
	change->status = 0;
	if (change->core->stopping) {
		change_fail(change, -ECANCELED, NULL, "slb is stopping");
		change_conclude(change);
		return;
	}
	change->ops->start(change);
}

void core_run_ready(struct core *core)
{
	struct change *change;

	while ((change = TAILQ_FIRST(&core->ready)) != NULL) {
		TAILQ_REMOVE(&core->ready, change, link);
		change_start(change);
	}
}

void change_run(struct change *change)
{
	struct core *core = change->core;

	change_start(change);
	core_run_ready(core);
}

void change_wait(struct change *change, struct change_list *waiters)
{
	TAILQ_INSERT_TAIL(waiters, change, link);
}

bool change_find_entry(struct change *change)
{
	struct lb_entry *entry = entry_find(change->core, change->lb_uuid);
	char uuid[37];

	if (entry != NULL && entry->closing != NULL) {
		change_wait(change, &entry->waiters);
		return false;
	}
	if (entry == NULL) {
		uuid_unparse_lower(change->lb_uuid, uuid);
		change_fail(change, -ENOENT, NULL, "there is no load balancer %s", uuid);
		change_conclude(change);
		return false;
	}
	change->entry = entry;
	return true;
}

void change_give_up(struct change *change)
{
	load_balancer_free(change->version);
	change->version = NULL;
	change_conclude(change);
}

int change_apply_version(struct change *change)
{
	struct datapath *dp = change->core->config.datapath;
	struct lb_entry *entry = change->entry;

	change->err.field = NULL;
	change->status = dp->ops->check(dp, change->version, &change->err);
	if (change->status == 0)
		change->status = dp->ops->apply(dp, change->version, &change->err);
	if (change->status < 0)
		return change->status;
	change->previous = entry->newest;
	entry->newest = change->version;
	entry->in_force = change->version;
	entry->applied = true;
	return 0;
}

void change_version_committed(struct change *change)
{
	struct lb_entry *entry = change->entry;

	load_balancer_free(entry->durable);
	entry->durable = change->version;
	change->version = NULL;
}

void change_version_undo(struct change *change)
{
	struct lb_entry *entry = change->entry;

	entry->newest = change->previous;
	entry->in_force = change->previous;
	entry->applied = false;
	load_balancer_free(change->version);
	change->version = NULL;
}

int change_submitted(struct change *change, int status)
{
	if (status < 0)
		return change_fail(change, status, NULL, "out of memory");
	change->stage = CHANGE_SUBMITTED;
	TAILQ_INSERT_TAIL(&change->core->queue, change, link);
	return 0;
}

/* Rule 4: nothing that was submitted will be. */
static void fail_all(struct core *core, int status, const struct errbuf *reason)
{
	struct change *change;
	struct errbuf err;

	TAILQ_FOREACH_REVERSE(change, &core->queue, change_list, link)
	{
		if (change->undone)
			continue;
		if (change->stage == CHANGE_SUBMITTED)
			change->ops->undo(change);
		change->undone = true;
		change->status = status;
		change->err = *reason;
	}

	log_error("%s; what was asked for meanwhile is refused and undone", reason->text);
	if (core_load(core, &err) < 0)
		log_error("%s; going on with what was last known to be stored", err.text);
	for (struct lb_entry *entry = core->entries; entry != NULL; entry = entry->hh.next) {
		if (!entry->applied)
			entry_apply(core, entry);
	}
	if (core->outstanding)
		core_reconcile(core);
}

void change_stored(void *arg, int status, const struct errbuf *err)
{
	struct change *change = arg;
	struct core *core = change->core;

	if (!change->undone) {
		if (status < 0)
			fail_all(core, status, err);
		else
			change->ops->committed(change);
	}
	TAILQ_REMOVE(&core->queue, change, link);
	answer(change);
	answer_concluded(core);
	core_run_ready(core);
}

static void cancel_list(struct change_list *list)
{
	struct change *change;

	while ((change = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, change, link);
		change_fail(change, -ECANCELED, NULL, "slb is stopping");
		change_conclude(change);
	}
}

void change_cancel_all(struct core *core)
{
	struct acquisition *acquisition;

	/* Answers that come later find no core, and give the address back themselves. */
	while ((acquisition = LIST_FIRST(&core->acquisitions)) != NULL) {
		LIST_REMOVE(acquisition, link);
		acquisition->core = NULL;
	}
	cancel_list(&core->acquiring);
	for (struct vip *vip = core->vips; vip != NULL; vip = vip->hh.next)
		cancel_list(&vip->waiters);
	core_run_ready(core);
}
