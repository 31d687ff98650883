/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pace: at most so many frames a second, so that thousands of VIPs are no broadcast storm. A token
 * bucket that holds a tenth of a second's worth (two frames at least), full at the start: the first
 * frames go at once.
 */
#ifndef SLB_ADVERTISE_PACE_H
#define SLB_ADVERTISE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint32_t frames_per_s;
	uint64_t tokens; /* thousandths of a frame */
	uint64_t last_ms;
};

void pace_start(struct pace *pace, uint32_t frames_per_s, uint64_t now_ms);

/* May `frames` (1 or 2) be sent now? True: they are taken. */
bool pace_take(struct pace *pace, unsigned int frames, uint64_t now_ms);

#endif
