/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_attach: puts slb's programs on one device's hooks and takes them off again.
 *
 * A program is slb's when it uses our `config` map (ours), whoever loaded it: the daemon before
 * this one. Such a program is replaced without a gap: behind libxdp's dispatcher the new one is
 * added before the old is removed; without a dispatcher the kernel exchanges them. Programs of
 * others are never touched.
 *
 * tc uses the clsact ingress hook with a fixed handle and priority, by which it is found again.
 */
#ifndef SLB_DATAPATH_EBPF_ATTACH_H
#define SLB_DATAPATH_EBPF_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/ebpf_maps.h"
#include "lib/errbuf.h"

#define EBPF_TC_HANDLE   0x51b
#define EBPF_TC_PRIORITY 0x51b

/* What all attachments share. */
struct ebpf_programs {
	const struct ebpf_maps *maps; /* borrowed */
	uint64_t second_multiplier;   /* of bpf/clock.h */
	struct slb_tc_bpf *tc;        /* loaded once for all devices, at first use */
	struct slb_xdp_bpf *xdp;      /* for the clock, and to be without a dispatcher */
	char no_dispatcher[256]; /* why libxdp failed where the program alone was taken; "" = it did
				    not */
};

/* Loads the XDP object. Errors are those of the verifier or of a kernel without eBPF. */
int ebpf_programs_open(struct ebpf_programs *programs, const struct ebpf_maps *maps,
		       struct errbuf *err);
void ebpf_programs_close(struct ebpf_programs *programs); /* what is attached stays */

/* The programs' clock, in seconds. */
int ebpf_programs_now_s(const struct ebpf_programs *programs, uint32_t *ret);

enum ebpf_xdp_mode { EBPF_XDP_NATIVE, EBPF_XDP_GENERIC };

/* Attaches or replaces. *ret_hook_id is the kernel's id of what is now on the device's XDP hook
 * (the dispatcher or our program): as long as that stays, so does our program. */
int ebpf_xdp_attach(struct ebpf_programs *programs, int ifindex, enum ebpf_xdp_mode mode,
		    uint32_t *ret_hook_id, struct errbuf *err);
/* What is on the XDP hook now; 0 = nothing. */
uint32_t ebpf_xdp_hook_id(int ifindex);
/* Removes ours, if there is one: uses the map of this id, or (config_id 0) is called as ours is. */
void ebpf_xdp_detach(int ifindex, uint32_t config_id);

int ebpf_tc_attach(struct ebpf_programs *programs, int ifindex, struct errbuf *err);
bool ebpf_tc_is_attached(const struct ebpf_programs *programs, int ifindex);
void ebpf_tc_detach(int ifindex, uint32_t config_id);

#endif
