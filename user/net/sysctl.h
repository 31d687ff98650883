/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sysctl: kernel settings that slb needs, changed with their former value remembered, and put back
 * on a clean stop.
 *
 * Former values are kept in a file (<state directory>/sysctl) from before the change until they are
 * restored, so that a kill -9, a restart and then a clean stop still put back what was there before
 * slb. invariant: the file names every setting whose value slb has changed; the former value of a
 * setting is the one from before the first change.
 *
 * Called by main and whatever needs a setting. Nothing is logged here. Kernel document:
 * Documentation/networking/ip-sysctl.rst.
 */
#ifndef SLB_NET_SYSCTL_H
#define SLB_NET_SYSCTL_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/errbuf.h"

struct sysctl; /* opaque */

/* Reads what an earlier run left to restore. state_dir exists and is borrowed for the call. A file
 * that cannot be understood is -EINVAL (it names the file). */
int sysctl_open(const char *state_dir, struct sysctl **ret, struct errbuf *err);

/* Frees; restores nothing. Accepts NULL. */
void sysctl_close(struct sysctl *sysctl);

/* Sets name ("net.ipv4.ip_forward", or with '/' where a device's name has dots:
 * "net/ipv4/conf/eth0.5/rp_filter") to value. *ret_changed (may be NULL): it was something else
 * before. A setting that has the value already is not touched, and not an error on a read-only
 * /proc/sys. -ENOENT: this kernel (or device) has no such setting; -EROFS, -EACCES, -EPERM,
 * -EINVAL. */
int sysctl_set(struct sysctl *sysctl, const char *name, const char *value, bool *ret_changed,
	       struct errbuf *err);

/* Reads a setting (without its newline) into text. -ENOENT, -ENOSPC when text is too short. */
int sysctl_get(const char *name, char *text, size_t size, struct errbuf *err);

/* Calls found for every setting that slb has changed, in this run or an earlier one, in order of
 * the change. Names are with '/' as below /proc/sys; all strings are borrowed for the call. */
void sysctl_each(const struct sysctl *sysctl,
		 void (*found)(void *arg, const char *name, const char *former, const char *given),
		 void *arg);

/* Told for every setting that was not restored. `reason` is a sentence, borrowed for the call. */
typedef void sysctl_note_cb(void *arg, const char *reason);

/* Puts former values back, last changed first, and empties the file. A setting that no longer has
 * the value slb gave it was changed by somebody else: it is left alone, with a note. One that
 * cannot be written is noted, kept in the file, and the first such error is returned. */
int sysctl_restore_all(struct sysctl *sysctl, sysctl_note_cb *note, void *arg, struct errbuf *err);

/* Lets the node pass packets between devices. With IPv6 forwarding the kernel ignores router
 * advertisements on devices that have accept_ra=1; those get 2 first, or they would lose their
 * default route. *ret_changed as above. IPv6: -ENOENT when the kernel has none. */
int sysctl_enable_forwarding(struct sysctl *sysctl, int family, bool *ret_changed,
			     struct errbuf *err);

#endif
