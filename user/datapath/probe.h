/* SPDX-License-Identifier: GPL-2.0-only */
/* probe: see below */
#ifndef SLB_DATAPATH_PROBE_H
#define SLB_DATAPATH_PROBE_H
#include "lib/errbuf.h"
struct probe;
int probe_bpf(struct errbuf *err);
void probe_free(struct probe *probe);
#endif
