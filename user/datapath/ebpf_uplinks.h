/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_uplinks: which devices carry slb's programs: the adapter, and those that routes to backends
 * leave by. Attaches when a device is first needed, repairs what others removed, detaches a while
 * after it was last needed.
 */
#ifndef SLB_DATAPATH_EBPF_UPLINKS_H
#define SLB_DATAPATH_EBPF_UPLINKS_H

#include "datapath/ebpf.h"
#include "datapath/ebpf_attach.h"

struct ebpf_uplinks; /* opaque */

/* Attaches to the adapter; fails when no hook of it can be had. programs and config->net are
 * borrowed. */
int ebpf_uplinks_open(const struct ebpf_config *config, struct ebpf_programs *programs,
		      struct ebpf_uplinks **ret, struct errbuf *err);
/* What is attached stays. Accepts NULL. */
void ebpf_uplinks_close(struct ebpf_uplinks *uplinks);

/* A device is needed, or not any more. What cannot be attached is reported and tried again. */
void ebpf_uplinks_acquire(struct ebpf_uplinks *uplinks, int ifindex);
void ebpf_uplinks_release(struct ebpf_uplinks *uplinks, int ifindex);

/* Compares what is attached with what should be and repairs it. Called about every second and on
 * link events. */
void ebpf_uplinks_verify(struct ebpf_uplinks *uplinks);

/* Detaches our programs from every device that is not an uplink (routes that changed while no
 * daemon ran). */
void ebpf_uplinks_detach_strays(struct ebpf_uplinks *uplinks);

/* Detaches programs using the map of this id (0: called as ours) from all devices. */
void ebpf_uplinks_detach_everywhere(uint32_t config_id);

size_t ebpf_uplinks_list(const struct ebpf_uplinks *uplinks, struct ebpf_uplink_info *ret,
			 size_t max);

#endif
