/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/pace.h"

#define FRAME     1000U /* tokens of one frame; tokens come in at frames_per_s every millisecond */
#define BUCKET_MS 100U

static uint64_t bucket(const struct pace *pace)
{
	uint64_t size = (uint64_t)pace->frames_per_s * BUCKET_MS;

	return size < 2 * FRAME ? 2 * FRAME : size;
}

void pace_start(struct pace *pace, uint32_t frames_per_s, uint64_t now_ms)
{
	pace->frames_per_s = frames_per_s;
	pace->last_ms = now_ms;
	pace->tokens = bucket(pace);
}

bool pace_take(struct pace *pace, unsigned int frames, uint64_t now_ms)
{
	uint64_t elapsed_ms = now_ms - pace->last_ms;
	uint64_t most = bucket(pace);

	pace->last_ms = now_ms;
	/* After a long time the bucket is full, whatever the product would be. */
	if (elapsed_ms > most)
		elapsed_ms = most;
	pace->tokens += elapsed_ms * pace->frames_per_s;
	if (pace->tokens > most)
		pace->tokens = most;
	if (pace->tokens < (uint64_t)frames * FRAME)
		return false;
	pace->tokens -= (uint64_t)frames * FRAME;
	return true;
}
