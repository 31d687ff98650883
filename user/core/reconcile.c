/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reconcile: makes the desired state true again wherever it is not. Called at start, after a failed
 * commit, on netlink events and by a timer.
 *
 * All it does is to repeat idempotent calls, so a second run changes nothing. When datapath and
 * advertiser both say that nothing was touched (is_intact) and nothing is outstanding, it costs two
 * calls however many load balancers there are. A failure is logged when it begins and when it ends,
 * not at every try.
 */
#include "core/core_internal.h"

#include "lib/log.h"

static bool datapath_is_intact(const struct core *core)
{
	struct datapath *dp = core->config.datapath;

	return dp->ops->is_intact != NULL && dp->ops->is_intact(dp);
}

static bool advertiser_is_intact(const struct core *core)
{
	struct advertiser *adv = core->config.advertiser;

	return adv->ops->is_intact != NULL && adv->ops->is_intact(adv);
}

bool core_retry_leaving(struct core *core, const struct service_key *service)
{
	struct datapath *dp = core->config.datapath;
	struct lb_entry *entry, *next;
	struct errbuf err;
	bool clear = true;

	for (entry = LIST_FIRST(&core->leaving); entry != NULL; entry = next) {
		next = LIST_NEXT(entry, link);
		if (dp->ops->remove(dp, entry->durable, &err) == 0) {
			log_info("load balancer %s is removed from the datapath now",
				 entry->durable->name);
			LIST_REMOVE(entry, link);
			entry_free(entry);
			continue;
		}
		core->outstanding = true;
		if (service != NULL && memcmp(&entry->service, service, sizeof(*service)) == 0)
			clear = false;
	}
	return clear;
}

/* VIPs that could not be withdrawn when their last load balancer went. */
static void retry_withdrawing(struct core *core)
{
	struct vip *vip, *next;

	HASH_ITER (hh, core->vips, vip, next) {
		if (vip->users == 0 && vip->held) {
			vip->users++;
			vip_release(core, vip);
		}
	}
}

static void make_vip_true(struct core *core, struct vip *vip)
{
	char text[ADDR_TEXT_SIZE];
	struct errbuf err;

	addr_format(&vip->addr, text);
	if (vip_prepare(core, vip, &err) < 0) {
		if (!vip->complained)
			log_warn("cannot put VIP %s in place: %s; trying again", text, err.text);
		vip->complained = true;
		return;
	}
	if (vip->complained)
		log_info("VIP %s is in place now", text);
	vip->complained = false;
	vip_announce(core, vip);
}

static bool is_desired_service(void *arg, const uuid_t uuid)
{
	return entry_find(arg, uuid) != NULL;
}

static bool is_desired_vip(void *arg, const struct addr *addr)
{
	const struct core *core = arg;
	struct vip *vip;

	HASH_FIND(hh, core->vips, addr, sizeof(*addr), vip);
	return vip != NULL && vip->users > 0;
}

/* Removes what an earlier slb left behind; once, when everything desired has been tried. */
static void retain(struct core *core)
{
	struct datapath *dp = core->config.datapath;
	struct advertiser *adv = core->config.advertiser;
	struct errbuf err;

	if (adv->ops->retain(adv, is_desired_vip, core, &err) == 0 &&
	    dp->ops->retain(dp, is_desired_service, core, &err) == 0) {
		core->retained = true;
		return;
	}
	core->outstanding = true;
	if (!core->retain_complained)
		log_warn("cannot remove everything an earlier slb left behind: %s; trying again",
			 err.text);
	core->retain_complained = true;
}

static size_t count_untrue(const struct core *core)
{
	size_t count = 0;

	for (size_t i = 0; i < core->order_count; i++) {
		if (!core->order[i]->applied || !core->order[i]->vip->prepared)
			count++;
	}
	return count;
}

size_t core_reconcile(struct core *core)
{
	bool datapath_intact, advertiser_intact;
	struct lb_entry *entry;
	struct vip *vip;

	if (core->stopping)
		return 0;
	datapath_intact = datapath_is_intact(core);
	advertiser_intact = advertiser_is_intact(core);
	if (datapath_intact && advertiser_intact && !core->outstanding)
		return 0;

	core->outstanding = false; /* whatever fails below says so again */
	core_retry_leaving(core, NULL);
	retry_withdrawing(core);
	for (vip = core->vips; vip != NULL; vip = vip->hh.next)
		vip->ready = vip->announced;
	for (entry = core->entries; entry != NULL; entry = entry->hh.next) {
		if (!entry->applied || !datapath_intact)
			entry_apply(core, entry);
		if (entry->applied && entry->durable != NULL)
			entry->vip->ready = true;
	}
	for (vip = core->vips; vip != NULL; vip = vip->hh.next) {
		if (vip->ready && vip->users > 0 &&
		    !(advertiser_intact && vip->prepared && vip->announced))
			make_vip_true(core, vip);
	}
	if (!core->retained)
		retain(core);
	return count_untrue(core);
}
