/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/placer.h"

#include <errno.h>
#include <stdlib.h>

struct placer {
	struct advertiser advertiser; /* first */
	struct placement *placement;
};

static struct placement *placement_of(struct advertiser *adv)
{
	return ((struct placer *)adv)->placement;
}

static int prepare(struct advertiser *adv, const struct addr *vip, struct errbuf *err)
{
	return placement_put(placement_of(adv), vip, err);
}

static void announce(struct advertiser *adv, const struct addr *vip)
{
	(void)adv;
	(void)vip;
}

static int withdraw(struct advertiser *adv, const struct addr *vip, struct errbuf *err)
{
	return placement_remove(placement_of(adv), vip, err);
}

static int retain(struct advertiser *adv, bool (*is_desired)(void *arg, const struct addr *vip),
		  void *arg, struct errbuf *err)
{
	return placement_retain(placement_of(adv), is_desired, arg, err);
}

static const struct advertiser_ops ops = {
	.name = "placer",
	.prepare = prepare,
	.announce = announce,
	.withdraw = withdraw,
	.retain = retain,
};

int placer_open(const struct placement_config *config, struct advertiser **ret, struct errbuf *err)
{
	struct placement_config own = *config;
	struct placer *placer = calloc(1, sizeof(*placer));
	int r;

	if (placer == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	own.restored = NULL;
	r = placement_open(&own, &placer->placement, err);
	if (r < 0) {
		free(placer);
		return r;
	}
	placer->advertiser.ops = &ops;
	*ret = &placer->advertiser;
	return 0;
}

void placer_close(struct advertiser *adv)
{
	if (adv == NULL)
		return;
	placement_close(placement_of(adv));
	free(adv);
}
