/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipvs_settings: the kernel settings that make IPVS do what slb promises
 * (Documentation/networking/ipvs-sysctl.rst). They exist from when ip_vs is loaded. Called by
 * ipvs.c only.
 */
#ifndef SLB_DATAPATH_IPVS_SETTINGS_H
#define SLB_DATAPATH_IPVS_SETTINGS_H

#include "net/sysctl.h"

/* Told once for each setting that was changed, and for each that could not be (trouble). */
typedef void ipvs_settings_cb(void *arg, bool trouble, const char *sentence);

/* -ENOTSUP: IPVS was built without connection tracking, or it cannot be turned on; -EROFS, … */
int ipvs_settings_make(struct sysctl *sysctl, ipvs_settings_cb *told, void *arg,
		       struct errbuf *err);

/* Is what masquerading depends on still so? */
bool ipvs_settings_are_made(void);

#endif
