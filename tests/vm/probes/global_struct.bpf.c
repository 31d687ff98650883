/* SPDX-License-Identifier: GPL-2.0-only */
/* A global function with a pointer to a struct. */
#include "probe.h"

struct packet {
	__u32 words[4];
};

__noinline int hash(struct packet *packet)
{
	return packet ? (int)(packet->words[0] ^ packet->words[3]) : 0;
}

PROBE int probe_global_struct(probe_ctx *ctx)
{
	struct packet packet = { .words = { bpf_get_prandom_u32(), 1, 2, bpf_get_prandom_u32() } };

	return hash(&packet) == 77 ? DROP : PASS;
}

char _license[] SEC("license") = "GPL";
