/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * next_ports: where the search for a source port begins for a new backend.
 *
 * A backend machine remembers the ports it was reached from for a minute or two (TIME_WAIT,
 * half-closed connections), longer than the flow table does when a load balancer is deleted. One
 * that comes back, under another id or for another load balancer, must therefore go on behind the
 * ports it used last, and one that is new begins anywhere.
 *
 * Called by ebpf_records.c only.
 */
#ifndef SLB_DATAPATH_NEXT_PORTS_H
#define SLB_DATAPATH_NEXT_PORTS_H

#include "slb_abi.h"

/* Destinations remembered; beyond, the one kept first is forgotten. */
#define NEXT_PORTS_MAX 65536

struct next_port; /* opaque */

/* Remembers it for the backend's address and port. Without memory to do so, nothing is. */
void next_ports_keep(struct next_port **table, const struct slb_backend *backend, __u32 next_port);

/* What was kept, or anything. */
__u32 next_ports_find(struct next_port *const *table, const struct slb_backend *backend);

void next_ports_free(struct next_port **table);

#endif
