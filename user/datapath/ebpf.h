/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf: the datapath of XDP and tc programs fed by pinned maps, behind datapath_ops.
 *
 * Everything the programs need outlives the daemon: maps are pinned, programs stay attached. A new
 * daemon adopts the maps, exchanges the programs and goes on; backends keep their ids by UUID, so
 * no flow moves. One struct is the whole datapath; all calls and callbacks are on the loop's
 * thread.
 *
 * Called by main.c; user/datapath/README.md says what is in which file.
 */
#ifndef SLB_DATAPATH_EBPF_H
#define SLB_DATAPATH_EBPF_H

#include <net/if.h>
#include <uv.h>

#include "core/datapath_ops.h"
#include "datapath/ebpf_sizes.h"
#include "datapath/flow_timeouts.h"
#include "net/net.h"
#include "slb_abi.h"

#define EBPF_PIN_PATH_DEFAULT "/sys/fs/bpf/slb"

#define EBPF_SWEEP_MS_DEFAULT 1000

/* Which hook a device gets. AUTO: native XDP, else tc alone. The others are never stepped down
 * from. */
enum ebpf_hook { EBPF_HOOK_AUTO, EBPF_HOOK_XDP, EBPF_HOOK_XDP_GENERIC, EBPF_HOOK_TC };

/* What happened to a device or a map since, which no call reports: for the log. `trouble`:
 * something does not work now; else it was repaired or merely changed. */
typedef void ebpf_report_cb(void *arg, bool trouble, const char *sentence);

struct ebpf_config {
	uv_loop_t *loop; /* borrowed, as is net; both outlive the datapath */
	struct net *net;
	const char *adapter;  /* name of the device VIPs are on; lo: packets come by the devices of
			       * routes that follow() was told of */
	const char *pin_path; /* NULL: EBPF_PIN_PATH_DEFAULT */
	struct ebpf_sizes sizes;              /* members of 0: by the machine's memory */
	const struct flow_timeouts *timeouts; /* NULL: flow_timeouts_default */
	const struct addr *snat_addresses;    /* of either family; borrowed for the call */
	size_t snat_address_count; /* 0: the kernel's preferred source towards the backend */
	enum ebpf_hook hook;
	/* Least time from one sweep of the flow tables to the next; 0: EBPF_SWEEP_MS_DEFAULT. */
	unsigned int sweep_ms;
	ebpf_report_cb *report; /* may be NULL */
	void *report_arg;
};

/* Opens (creates or adopts) the maps, loads the programs and attaches them to the adapter. On
 * failure whatever was attached and pinned before is untouched. -EBUSY: another daemon has the pin
 * path. -EPROTO: pinned maps of another ABI version. -ENODEV: no such adapter. Others as the kernel
 * gives them, with the sentence. */
int ebpf_open(const struct ebpf_config *config, struct datapath **ret, struct errbuf *err);

/* Ends the datapath; the loop must turn once more after this to let libuv finish. keep: everything
 * stays attached and pinned, and packets flow on. Else all of it is removed. Accepts NULL. */
void ebpf_close(struct datapath *dp, bool keep);

/* Removes programs and maps that some former run left at this pin path (NULL: the default): for
 * `slb purge`, without a datapath open. -EBUSY: a daemon is running. Nothing there is no error. */
int ebpf_purge(const char *pin_path, struct errbuf *err);

/* ---- what was taken, and why ----------------------------------------------------------------- */

struct ebpf_uplink_info {
	int ifindex;
	char name[IF_NAMESIZE];
	bool present;
	bool is_loopback; /* an adapter that VIPs are on and no packet comes by: has neither */
	bool xdp;         /* native or generic XDP carries packets */
	bool xdp_generic;
	bool tc;
	char xdp_refused[256]; /* why there is no XDP; empty when there is, or was not asked for */
	char tc_refused[256];
};

/* Writes up to max entries, adapter first; returns how many uplinks there are. */
size_t ebpf_uplinks_info(const struct datapath *dp, struct ebpf_uplink_info *ret, size_t max);

/* TCP connections that have not ended. */
uint64_t ebpf_open_connections(const struct datapath *dp);

/* A sentence worth a line in the log about how the maps came to be (sizes not as wanted), or "". */
const char *ebpf_note(const struct datapath *dp);

#endif
