/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_services: load balancers as entries of the maps services4/6, slots, backends, and the
 * ids that join them.
 *
 * A backend keeps its id as long as it lives, over restarts too (found again by UUID in the pinned
 * map), so that its flows are never moved. The id of a deleted one is free again when the sweep has
 * ended its flows; until then its entry has type NONE and keeps its UUID, so that a crash does not
 * forget it.
 *
 * invariant: what is in `written` of a service or backend is what is in the map. Nothing is written
 * that is there already.
 */
#ifndef SLB_DATAPATH_EBPF_SERVICES_H
#define SLB_DATAPATH_EBPF_SERVICES_H

#include "core/datapath_ops.h"
#include "datapath/ebpf_flows.h"
#include "datapath/ebpf_maps.h"
#include "datapath/ebpf_routes.h"
#include "datapath/ebpf_slots.h"
#include "datapath/ebpf_sources.h"

struct ebpf_services; /* opaque */

struct ebpf_services_config { /* all borrowed; snat_addresses is copied */
	const struct ebpf_maps *maps;
	struct ebpf_flows *flows;
	struct ebpf_sources *sources;
	struct ebpf_slots *slots;
	struct ebpf_routes *routes;
	struct net *net;
	const struct addr *snat_addresses;
	size_t snat_address_count;
	/* Called after a change that the programs must be told of: backends went or were cut
	 * (look_again: flows must look at them), or ebpf_services_any_client_source() may have
	 * changed. */
	void (*notify)(void *arg, bool look_again);
	void *notify_arg;
};

/* Adopts what the maps hold. */
int ebpf_services_open(const struct ebpf_services_config *config, struct ebpf_services **ret,
		       struct errbuf *err);
void ebpf_services_close(struct ebpf_services *services); /* accepts NULL; the maps stay */

/* As in datapath_ops. */
int ebpf_services_check(struct ebpf_services *services, const struct load_balancer *lb,
			struct errbuf *err);
int ebpf_services_apply(struct ebpf_services *services, const struct load_balancer *lb,
			struct errbuf *err);
int ebpf_services_remove(struct ebpf_services *services, const struct load_balancer *lb,
			 struct errbuf *err);
int ebpf_services_retain(struct ebpf_services *services,
			 bool (*is_desired)(void *arg, const uuid_t uuid), void *arg,
			 struct errbuf *err);
int ebpf_services_traffic(struct ebpf_services *services, const struct load_balancer *lb,
			  struct traffic *ret_total, struct traffic *ret_per_backend,
			  struct errbuf *err);

/* As in datapath_ops. */
int ebpf_services_drops(const struct ebpf_services *services, const struct load_balancer *lb,
			struct drop_count ret[static DROP_REASONS_MAX], size_t *ret_count,
			struct errbuf *err);

/* False when a change could not be followed, or one of the next few services (all get their turn)
 * is not in its map as written. */
bool ebpf_services_is_intact(struct ebpf_services *services);

/* 0 when it was never applied. */
uint32_t ebpf_services_id(const struct ebpf_services *services, const uuid_t uuid);
/* Does any service keep clients' source addresses (SLB_CONFIG_CLIENT_SOURCE)? */
bool ebpf_services_any_client_source(const struct ebpf_services *services);
void ebpf_services_counts(const struct ebpf_services *services, uint32_t *ret_services,
			  uint32_t *ret_backends);

/* For ebpf_flows: after a pass, ids whose flows have all ended become free. */
void ebpf_services_pass_done(struct ebpf_services *services);
/* For ebpf_routes: the source address towards a backend has changed. */
void ebpf_services_route_changed(struct ebpf_services *services, struct ebpf_route *route);

/* TCP connections that have not ended, as the programs and the sweep count them. */
uint64_t ebpf_services_open_connections(const struct ebpf_services *services);

#endif
