/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * capabilities: what this node can do, as probed: the neutral form in which whoever probes (the
 * datapath ladder) tells whoever shows it (GET /capabilities, `slb doctor`). Pure data: strings are
 * borrowed from the one who probed and NULL or "" where there is nothing to say.
 */
#ifndef SLB_CORE_CAPABILITIES_H
#define SLB_CORE_CAPABILITIES_H

#include <stddef.h>

/* CAPABILITY_STATUS(constant, name in JSON) */
#define CAPABILITY_STATUSES(CAPABILITY_STATUS)                                                 \
	CAPABILITY_STATUS(CAPABILITY_OK, "ok")           /* there and usable */                \
	CAPABILITY_STATUS(CAPABILITY_MISSING, "missing") /* the kernel or device has it not */ \
	CAPABILITY_STATUS(CAPABILITY_REFUSED, "refused") /* it has it, but would not let us */

enum capability_status {
#define CAPABILITY_STATUS(constant, name) constant,
	CAPABILITY_STATUSES(CAPABILITY_STATUS)
#undef CAPABILITY_STATUS
};

struct capability {
	const char *name; /* "native XDP", "BPF ring buffer", … */
	enum capability_status status;
	const char *reason;      /* how that is known: the error the probe met */
	const char *consequence; /* what slb does because of it */
	const char *advice;      /* what a person could change */
};

/* What one device got, and why not something better. */
struct device_capability {
	const char *name;           /* "eth0" */
	const char *datapath;       /* "xdp", "tc", "ipvs", or "none" */
	const char *const *reasons; /* one sentence for every datapath that was passed over */
	size_t reason_count;
};

struct capabilities {
	const struct capability *capabilities;
	size_t capability_count;
	const struct device_capability *devices;
	size_t device_count;
};

#endif
