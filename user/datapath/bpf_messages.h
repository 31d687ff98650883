/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bpf_messages: what libbpf and libxdp would print, kept for the sentence of an error instead (one
 * line, the first warning since bpf_messages_clear()). Both libraries know only process-wide print
 * functions; hence the static buffer. Not for other threads than the loop's.
 */
#ifndef SLB_DATAPATH_BPF_MESSAGES_H
#define SLB_DATAPATH_BPF_MESSAGES_H

/* Takes over both libraries' printing. May be called often. */
void bpf_messages_setup(void);
void bpf_messages_clear(void);

/* The message, or the text of `error` (a negative errno) when there was none. */
const char *bpf_messages_or(int error);

#endif
