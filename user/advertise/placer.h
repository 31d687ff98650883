/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * placer: an advertiser that only puts VIPs on the adapter (placement.h) and tells nobody: what
 * the BGP speaker has beneath it, since routers are told by it and no segment has to know.
 */
#ifndef SLB_ADVERTISE_PLACER_H
#define SLB_ADVERTISE_PLACER_H

#include "advertise/placement.h"
#include "core/advertiser_ops.h"

/* As placement_open(); `restored` and `arg` are the placer's own and ignored. */
int placer_open(const struct placement_config *config, struct advertiser **ret, struct errbuf *err);

/* The VIPs stay on the adapter. The loop must turn once more. Accepts NULL. */
void placer_close(struct advertiser *adv);

#endif
