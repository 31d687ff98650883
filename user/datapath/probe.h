/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * probe: finds out what the kernel, its policy and the devices allow, by doing it: loading
 * programs, making maps, attaching, asking. Each finding keeps how it is known, what slb does
 * because of it and what a person could change.
 *
 * What needs a network namespace is tried in a new one, so that nothing of the node's changes; only
 * native XDP must be tried on the device itself, for a moment, and only where nothing is attached.
 * Synchronous; takes some tenths of a second, most of it for nft(8) and iptables(8).
 *
 * Called by ladder.c (GET /capabilities) and cli/doctor.c. Files: probe.c, probe_bpf.c (bpf(2)),
 * probe_system.c (settings, IPVS, packet filters), probe_device.c.
 */
#ifndef SLB_DATAPATH_PROBE_H
#define SLB_DATAPATH_PROBE_H

#include <stdbool.h>

#include "core/capabilities.h"
#include "lib/errbuf.h"

struct probe; /* opaque */

/* May this process use bpf(2) at all? -ENOSYS, -EPERM, …; the sentence names it. */
int probe_bpf(struct errbuf *err);

/* Asks everything that does not depend on a device. -ENOMEM. */
int probe_open(struct probe **ret, struct errbuf *err);
void probe_free(struct probe *probe); /* accepts NULL */

/* Tries one device, or (NULL) every Ethernet device that is up, and says which datapath `auto`
 * would take for it. A driver may hold its device's traffic for a moment meanwhile. -ENODEV. */
int probe_devices(struct probe *probe, const char *name, struct errbuf *err);

/* One more finding, by somebody else. Strings are copied. */
void probe_add(struct probe *probe, const char *name, enum capability_status status,
	       const char *reason, const char *consequence, const char *advice);

/* Borrowed until the next call of probe_*. */
const struct capabilities *probe_capabilities(struct probe *probe);

#endif
