/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_flows: the flow tables as the daemon sees them: ends idle flows, ends the flows of backends
 * that are gone, counts. Nothing else in user/ looks into flows4/6 and half_open4/6.
 *
 * The sweep goes round all four tables in chunks, each in a thread of the loop's pool, so that
 * neither packets nor the loop wait for it. Programs may insert, move and delete at the same time.
 */
#ifndef SLB_DATAPATH_EBPF_FLOWS_H
#define SLB_DATAPATH_EBPF_FLOWS_H

#include <uv.h>

#include "datapath/ebpf_attach.h"
#include "datapath/ebpf_maps.h"
#include "datapath/flow_timeouts.h"

struct ebpf_flows; /* opaque */

/* Called on the loop's thread after every full pass over all tables. */
typedef void ebpf_flows_pass_cb(void *arg);

struct ebpf_flows_config {
	uv_loop_t *loop;
	const struct ebpf_maps *maps; /* borrowed until the done callback of ebpf_flows_close() */
	const struct ebpf_programs *programs; /* likewise */
	const struct flow_timeouts *timeouts; /* copied */
	unsigned int sweep_ms;                /* least time from one pass to the next */
	ebpf_flows_pass_cb *pass_done;
	void *pass_arg;
};

int ebpf_flows_open(const struct ebpf_flows_config *config, struct ebpf_flows **ret,
		    struct errbuf *err);

/* Ends the sweep and calls done(arg) from the loop when no thread is in it any more. With NULL,
 * done is called at once. */
void ebpf_flows_close(struct ebpf_flows *flows, void (*done)(void *arg), void *arg);

/* Every flow of this backend ends, from now on until pardoned. */
void ebpf_flows_condemn(struct ebpf_flows *flows, uint32_t backend_id);
void ebpf_flows_pardon(struct ebpf_flows *flows, uint32_t backend_id);

/* The value of ebpf_flows_passes() from which on no flow condemned now is left: two passes that
 * begin after this one (a flow that moves from a half-open table during the first is met by the
 * second). */
uint64_t ebpf_flows_clean_after(const struct ebpf_flows *flows);
uint64_t ebpf_flows_passes(const struct ebpf_flows *flows);

/* Entries at the last pass. map: EBPF_MAP_FLOWS4 … EBPF_MAP_HALF_OPEN6. */
uint32_t ebpf_flows_entries(const struct ebpf_flows *flows, enum ebpf_map map);

/* SLB_CONFIG_REFUSE_NEW4/6 as they should be after the last pass. */
uint32_t ebpf_flows_refuse(const struct ebpf_flows *flows);

#endif
