/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * journal: which VIPs slb has put on a device, in a file that survives its death, for kernels that
 * do not mark an address with who added it (IFA_PROTO, before 5.18).
 *
 * Addresses live in the kernel, so the file has to outlive the process only, not the machine: it is
 * not synced, and one of another boot or another network namespace counts as empty. It is appended
 * to
 * ("+address", "-address"), written anew when it is opened and when most of it is history.
 *
 * invariant: an address is in the journal before it is on a device, and until it is off again.
 */
#ifndef SLB_ADVERTISE_JOURNAL_H
#define SLB_ADVERTISE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"
#include "lib/errbuf.h"

struct journal; /* opaque */

/* Reads <state_dir>/addresses. state_dir is borrowed for the call. A line that makes no sense is
 * skipped: the worst it can do is to leave an address for a person to remove. */
int journal_open(const char *state_dir, struct journal **ret, struct errbuf *err);
void journal_close(struct journal *journal); /* accepts NULL; the file stays */

/* Both are idempotent. */
int journal_add(struct journal *journal, const struct addr *address, struct errbuf *err);
void journal_remove(struct journal *journal, const struct addr *address);

bool journal_has(const struct journal *journal, const struct addr *address);

#endif
