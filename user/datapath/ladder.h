/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ladder: picks the datapath of this node: eBPF, by XDP or tc as each device can (ebpf.h), or else
 * IPVS for the whole node. What was passed over is kept with its reason.
 *
 * One step that does not work leads to the next one only when the choice is `auto`; a datapath that
 * was asked for by name works or ends with the reason. Whatever a former run left of the datapath
 * that was not taken is removed, so that packets never meet both.
 *
 * Called by cli/server.c.
 */
#ifndef SLB_DATAPATH_LADDER_H
#define SLB_DATAPATH_LADDER_H

#include "core/capabilities.h"
#include "core/datapath_ops.h"
#include "datapath/ebpf.h"
#include "net/sysctl.h"

enum datapath_choice {
	DATAPATH_AUTO,
	DATAPATH_XDP,
	DATAPATH_XDP_GENERIC,
	DATAPATH_TC,
	DATAPATH_IPVS,
};

struct ladder_config {
	enum datapath_choice choice;
	struct ebpf_config ebpf; /* its hook is the ladder's to set; report tells of every datapath
				  */
	struct sysctl *sysctl;   /* borrowed until ladder_close(): IPVS's settings */
	const char *state_dir;   /* borrowed for the call */
};

struct ladder; /* opaque */

/* -ENOTSUP: no step works, the sentence has the reason of each; others (-EBUSY another slb, -EPROTO
 * maps of another version) end it at once. What forwarded packets before goes on doing so then. */
int ladder_open(const struct ladder_config *config, struct ladder **ret, struct errbuf *err);

/* As ebpf_close(): the loop must turn once more. Accepts NULL. */
void ladder_close(struct ladder *ladder, bool keep);

/* The ladder's; never NULL. */
struct datapath *ladder_datapath(const struct ladder *ladder);

/* TCP connections that have not ended; UINT64_MAX: this datapath (IPVS) does not tell. */
uint64_t ladder_open_connections(const struct ladder *ladder);

/* What each device has now and why, and what the probes say. Borrowed until the next call. */
const struct capabilities *ladder_capabilities(struct ladder *ladder);

/* Did a former run leave a datapath at this pin path or state directory that may forward packets
 * now? */
bool ladder_is_left(const char *pin_path, const char *state_dir);

#endif
