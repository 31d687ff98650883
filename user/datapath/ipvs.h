/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipvs: the datapath for kernels without eBPF: classic IPVS (linux/ip_vs.h), as far back as 3.x.
 *
 * The kernel does the balancing; this makes its tables what core desires. Only the difference is
 * written, so a change made behind slb's back is repaired by the next apply(), and a run that finds
 * nothing to do writes nothing. Connections survive every change but the removal of their backend.
 *
 * Services that slb did not make are left alone: what is its own stands in the file
 * STATE_DIR/ipvs-services, written before the kernel is asked.
 */
#ifndef SLB_DATAPATH_IPVS_H
#define SLB_DATAPATH_IPVS_H

#include "core/datapath_ops.h"
#include "net/net.h"
#include "net/sysctl.h"

/* What no call reports: settings that were made, changes of others that are being undone. */
typedef void ipvs_report_cb(void *arg, bool trouble, const char *sentence);

struct ipvs_config {
	struct net *net;       /* borrowed until ipvs_close(), as is sysctl */
	struct sysctl *sysctl; /* net.ipv4.vs.* are set through it */
	const char *state_dir; /* borrowed for the call */
	ipvs_report_cb *report;
	void *report_arg;
};

/* -ENOENT no IPVS in this kernel, -ENOTSUP no masquerading, -EPERM … */
int ipvs_open(const struct ipvs_config *config, struct datapath **ret, struct errbuf *err);

/* keep = false takes away every service of slb and the masquerading. Accepts NULL. */
void ipvs_close(struct datapath *datapath, bool keep);

/* Did a former run leave services, by what the state directory says? */
bool ipvs_is_left(const char *state_dir);

/* Removes them and the masquerading, without a datapath open. Where the kernel has no IPVS (any
 * more) there is nothing but the note of them to remove. */
int ipvs_purge(const char *state_dir, struct errbuf *err);

#endif
