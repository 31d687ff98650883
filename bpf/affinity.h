/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * affinity: a client's new flows go where its last one went, while that is less than the service's
 * affinity_s ago.
 *
 * Only a backend that takes new flows is stuck to; from any other the client moves, once, to what
 * the schedule says. Two first flows of a client at the same moment may get two backends; the
 * later one is remembered.
 */
#ifndef SLB_AFFINITY_H
#define SLB_AFFINITY_H

#include "maps.h"
#include "packet.h"
#include "work.h"

static __always_inline void affinity_key(const int family, const struct work *work,
					 struct slb_affinity_key *key)
{
	*key = (struct slb_affinity_key){ .service_id = work->service->service_id,
					  .family = (__u8)family };
	addr_copy(family, key->client, key_saddr(&work->key));
}

/* The backend of the client's last flow, or 0. work->service is set. */
static __always_inline int affinity_find(ctx_t *ctx, const int family, struct work *work)
{
	const struct slb_service *service = work->service;
	const struct slb_affinity *affinity;
	const struct slb_backend *backend;
	struct slb_affinity_key key;
	__u32 id;

	(void)ctx;
	affinity_key(family, work, &key);
	affinity = bpf_map_lookup_elem(&affinities, &key);
	/* Signed: another CPU may have written a second later than this packet came. */
	if (!affinity || (__s32)(work->now_s - affinity->seen_s) >= (__s32)service->affinity_s)
		return 0;
	id = affinity->backend_id;
	backend = bpf_map_lookup_elem(&backends, &id);
	if (!backend || backend->type == SLB_BACKEND_NONE ||
	    backend->service_id != service->service_id ||
	    backend->flags & (SLB_BACKEND_DISABLED | SLB_BACKEND_NO_NEW))
		return 0;
	return (int)id;
}

STAGE(affinity_find)

/* work->flow has just begun. */
static __always_inline int affinity_keep(ctx_t *ctx, const int family, struct work *work)
{
	struct slb_affinity affinity = { .backend_id = work->flow->backend_id,
					 .seen_s = work->now_s };
	struct slb_affinity_key key;

	(void)ctx;
	affinity_key(family, work, &key);
	bpf_map_update_elem(&affinities, &key, &affinity, BPF_ANY);
	return 0;
}

STAGE(affinity_keep)

#endif
