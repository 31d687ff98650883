/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VIPs: asked of the address source, shared by load balancers, put on the adapter for the first,
 * and taken off and given back with the last.
 *
 * invariant: a VIP with users is held. One without users is being asked for (waiters), or could not
 * be withdrawn yet (placed) and is tried again by core_reconcile(); a create that wants it may
 * revive it.
 */
#include "core/core_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/log.h"

static struct vip *vip_find(const struct core *core, const struct addr *addr)
{
	struct vip *vip;

	HASH_FIND(hh, core->vips, addr, sizeof(*addr), vip);
	return vip;
}

static struct vip *vip_add(struct core *core, const struct addr *addr)
{
	struct vip *vip = calloc(1, sizeof(*vip));

	if (vip == NULL)
		return NULL;
	vip->addr = *addr;
	TAILQ_INIT(&vip->waiters);
	HASH_ADD(hh, core->vips, addr, sizeof(vip->addr), vip);
	if (vip->hh.tbl == NULL) { /* HASH_NONFATAL_OOM */
		free(vip);
		return NULL;
	}
	return vip;
}

static void vip_free(struct core *core, struct vip *vip)
{
	HASH_DEL(core->vips, vip);
	free(vip);
}

static void source_release(struct core *core, const struct addr *addr)
{
	core->config.addresses->ops->release(core->config.addresses, addr);
}

int vip_prepare(struct core *core, struct vip *vip, struct errbuf *err)
{
	struct advertiser *adv = core->config.advertiser;
	int error = adv->ops->prepare(adv, &vip->addr, err);

	if (error < 0) {
		vip->prepared = false;
		core->outstanding = true;
		return error;
	}
	vip->prepared = vip->placed = true;
	return 0;
}

void vip_announce(struct core *core, struct vip *vip)
{
	core->config.advertiser->ops->announce(core->config.advertiser, &vip->addr);
	vip->announced = true;
}

bool vip_withdraw(struct core *core, struct vip *vip)
{
	struct advertiser *adv = core->config.advertiser;
	char text[ADDR_TEXT_SIZE];
	struct errbuf err;

	vip->announced = false;
	if (adv->ops->withdraw(adv, &vip->addr, &err) == 0) {
		vip->prepared = vip->placed = false;
		return true;
	}
	core->outstanding = true;
	if (!vip->complained)
		log_warn("cannot withdraw VIP %s: %s; trying again", addr_format(&vip->addr, text),
			 err.text);
	vip->complained = true;
	return false;
}

void vip_release(struct core *core, struct vip *vip)
{
	if (--vip->users > 0)
		return;
	if (vip->placed && !vip_withdraw(core, vip))
		return; /* core_reconcile() comes back to it */
	source_release(core, &vip->addr);
	vip_free(core, vip);
}

/* ---- asking for an address ---------------------------------------------------------------- */

/* An answer for the waiters of `wanted`. */
static void acquired_wanted(struct core *core, const struct addr *wanted, int status,
			    const struct errbuf *err)
{
	struct change_list refused = TAILQ_HEAD_INITIALIZER(refused);
	struct vip *vip = vip_find(core, wanted);
	struct change *change;

	if (vip == NULL && status == 0)
		source_release(core, wanted); /* all who waited have gone */
	/* Held already: a create that takes any address got it meanwhile, and woke the waiters. */
	if (vip == NULL || vip->held)
		return;
	if (status == 0) {
		vip->held = true;
		vip->users++; /* our own, until the waiters have theirs */
		TAILQ_CONCAT(&core->ready, &vip->waiters, link);
		core_run_ready(core);
		vip_release(core, vip);
		return;
	}
	TAILQ_CONCAT(&refused, &vip->waiters, link);
	vip_free(core, vip);
	while ((change = TAILQ_FIRST(&refused)) != NULL) {
		TAILQ_REMOVE(&refused, change, link);
		change->status = status;
		change->err = *err;
		change_conclude(change);
	}
}

/* An answer for the create that takes any address. */
static void acquired_any(struct core *core, struct change *change, int status,
			 const struct addr *addr, const struct errbuf *err)
{
	struct vip *vip;

	TAILQ_REMOVE(&core->acquiring, change, link);
	if (status < 0) {
		change->status = status;
		change->err = *err;
		change_conclude(change);
		return;
	}
	vip = vip_find(core, addr);
	if (vip == NULL)
		vip = vip_add(core, addr);
	if (vip == NULL) {
		source_release(core, addr);
		change_fail(change, -ENOMEM, NULL, "out of memory");
		change_conclude(change);
		return;
	}
	vip->held = true;
	vip->users++;
	change->vip = vip;
	TAILQ_INSERT_TAIL(&core->ready, change, link);
	TAILQ_CONCAT(&core->ready, &vip->waiters, link);
	core_run_ready(core);
}

static void acquired(void *arg, int status, const struct addr *addr, const struct errbuf *err)
{
	struct acquisition *acquisition = arg, was = *acquisition;

	if (was.core != NULL)
		LIST_REMOVE(acquisition, link);
	free(acquisition);
	if (was.core == NULL) {
		if (status == 0)
			was.source->ops->release(was.source, addr);
	} else if (was.change != NULL) {
		acquired_any(was.core, was.change, status, addr, err);
	} else {
		acquired_wanted(was.core, &was.wanted, status, err);
	}
}

/* The answer may come before this returns, and end the change. */
static void ask(struct core *core, struct acquisition *acquisition, int family, const uuid_t owner)
{
	struct address_source *source = core->config.addresses;

	acquisition->core = core;
	acquisition->source = source;
	LIST_INSERT_HEAD(&core->acquisitions, acquisition, link);
	source->ops->acquire(source, family, &acquisition->wanted, owner, acquired, acquisition);
}

static bool fail_memory(struct change *change)
{
	change_fail(change, -ENOMEM, NULL, "out of memory");
	change_conclude(change);
	return false;
}

static bool obtain_any(struct change *change)
{
	const struct load_balancer_request *request = &change->request.lb;
	struct acquisition *acquisition = calloc(1, sizeof(*acquisition));
	int family = (request->given & LB_FAMILY) ? request->family : AF_INET;

	if (acquisition == NULL)
		return fail_memory(change);
	acquisition->change = change;
	TAILQ_INSERT_TAIL(&change->core->acquiring, change, link);
	ask(change->core, acquisition, family, change->lb_uuid);
	return false;
}

static bool obtain_wanted(struct change *change)
{
	const struct addr *wanted = &change->request.lb.eip;
	struct core *core = change->core;
	struct vip *vip = vip_find(core, wanted);
	struct acquisition *acquisition;

	if (vip != NULL && vip->held) {
		vip->users++;
		change->vip = vip;
		return true;
	}
	if (vip != NULL) {
		change_wait(change, &vip->waiters);
		return false;
	}
	acquisition = calloc(1, sizeof(*acquisition));
	if (acquisition != NULL)
		vip = vip_add(core, wanted);
	if (vip == NULL) {
		free(acquisition);
		return fail_memory(change);
	}
	acquisition->wanted = *wanted;
	change_wait(change, &vip->waiters);
	ask(core, acquisition, wanted->family, change->lb_uuid);
	return false;
}

bool vip_obtain(struct change *change)
{
	return (change->request.lb.given & LB_EIP) ? obtain_wanted(change) : obtain_any(change);
}

struct vip *vip_adopt(struct core *core, const struct load_balancer *lb)
{
	struct address_source *source = core->config.addresses;
	struct vip *vip = vip_find(core, &lb->vip);
	struct errbuf err;

	if (vip == NULL)
		vip = vip_add(core, &lb->vip);
	if (vip == NULL)
		return NULL;
	if (!vip->held)
		vip->placed = true; /* by an earlier slb, maybe */
	if (!vip->held && source->ops->adopt(source, &lb->vip, lb->uuid, &err) < 0)
		log_warn("%s; the load balancer keeps its VIP all the same", err.text);
	vip->held = true;
	vip->users++;
	return vip;
}
