/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the probe share; see probe.h. */
#ifndef SLB_DATAPATH_PROBE_INTERNAL_H
#define SLB_DATAPATH_PROBE_INTERNAL_H

#include <net/if.h>

#include "datapath/probe.h"

#define PROBE_FINDINGS_MAX 64
#define PROBE_DEVICES_MAX  64
#define PROBE_REASONS_MAX  3

struct finding {
	char name[64];
	enum capability_status status;
	char reason[ERRBUF_SIZE];
	char consequence[160];
	char advice[160];
};

struct probed_device {
	char name[IF_NAMESIZE];
	const char *datapath; /* a literal */
	char reasons[PROBE_REASONS_MAX][ERRBUF_SIZE];
	size_t reason_count;
};

struct probe {
	struct finding findings[PROBE_FINDINGS_MAX];
	size_t finding_count;
	struct probed_device devices[PROBE_DEVICES_MAX];
	size_t device_count;

	/* What decides about datapaths; the reason where it is false. */
	bool xdp_works, tc_works, ipvs_works;
	char xdp_refused[ERRBUF_SIZE], tc_refused[ERRBUF_SIZE], ipvs_refused[ERRBUF_SIZE];

	/* What is handed out. */
	struct capability capabilities[PROBE_FINDINGS_MAX];
	struct device_capability device_capabilities[PROBE_DEVICES_MAX];
	const char *device_reasons[PROBE_DEVICES_MAX][PROBE_REASONS_MAX];
	struct capabilities all;
};

/* EPERM and its like are a refusal; the rest is a lack. */
enum capability_status probe_status(int error);

/* Adds a finding of which only `error` (0: ok, else a negative errno) and, then, the sentence are
 * known; consequence and advice are dropped when it is ok. */
void probe_add_result(struct probe *probe, const char *name, int error, const char *reason,
		      const char *consequence, const char *advice);

void probe_ask_bpf(struct probe *probe);    /* probe_bpf.c; before the others */
void probe_ask_system(struct probe *probe); /* probe_system.c */

/* In a network namespace of its own, if there is a way to one. */
void probe_in_new_namespace(void (*ask)(struct probe *probe), struct probe *probe);

#endif
