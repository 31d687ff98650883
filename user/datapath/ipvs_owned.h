/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipvs_owned: which IPVS services are slb's own, over crashes. A file of lines, in the state
 * directory:
 *
 *     UUID tcp|udp VIP PORT masquerade|plain
 *
 * A line is on disk before its service is made and goes after the service went, so that the file
 * may name one too many, never one too few; when it is empty there is none. Rewritten whole (a new
 * file renamed over the old one). Called by ipvs.c only.
 */
#ifndef SLB_DATAPATH_IPVS_OWNED_H
#define SLB_DATAPATH_IPVS_OWNED_H

#include "core/model.h"
#include "lib/errbuf.h"

#define IPVS_OWNED_FILE "ipvs-services" /* in the state directory */

struct ipvs_owned;

/* Reads the file; a missing one is an empty one. -EBADMSG: a line cannot be read. */
int ipvs_owned_open(const char *state_dir, struct ipvs_owned **ret, struct errbuf *err);
void ipvs_owned_close(struct ipvs_owned *owned); /* accepts NULL */

bool ipvs_owned_has(const struct ipvs_owned *owned, const uuid_t uuid);
bool ipvs_owned_source_nat(const struct ipvs_owned *owned, const uuid_t uuid);
size_t ipvs_owned_count(const struct ipvs_owned *owned);

/* Nothing is written when nothing changes. */
int ipvs_owned_put(struct ipvs_owned *owned, const struct load_balancer *lb, struct errbuf *err);
int ipvs_owned_remove(struct ipvs_owned *owned, const uuid_t uuid, struct errbuf *err);

/* Calls found for each, with uuid, vip, port, protocol and source_nat set in lb; found may remove
 * it. */
void ipvs_owned_each(struct ipvs_owned *owned,
		     void (*found)(void *arg, const struct load_balancer *lb), void *arg);

#endif
