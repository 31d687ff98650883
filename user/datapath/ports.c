/* SPDX-License-Identifier: GPL-2.0-only */
/* Source-port ranges; see ports.h. Called by ebpf.c, at start and by its timer. */
#include "datapath/ports.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RANGE_PATH "/proc/sys/net/ipv4/ip_local_port_range"

static struct slb_port_range range(unsigned int first, unsigned int end)
{
	if (first >= end)
		return (struct slb_port_range){ 0 };
	return (struct slb_port_range){ .first = (__u16)first, .count = (__u16)(end - first) };
}

void ports_outside(unsigned int local_first, unsigned int local_last, struct slb_port_range ret[2])
{
	struct slb_port_range below, above;

	if (local_first > local_last) {
		local_first = PORTS_LAST + 1;
		local_last = PORTS_LAST;
	}
	below = range(PORTS_FIRST, local_first > PORTS_LAST + 1 ? PORTS_LAST + 1 : local_first);
	above = range(local_last + 1 < PORTS_FIRST ? PORTS_FIRST : local_last + 1, PORTS_LAST + 1);
	ret[0] = below.count >= above.count ? below : above;
	ret[1] = below.count >= above.count ? above : below;
}

int ports_read(struct slb_port_range ret[2], struct errbuf *err)
{
	unsigned int first, last;
	struct slb_port_range ranges[2];
	FILE *file = fopen(RANGE_PATH, "re");
	int fields;

	if (!file)
		return errbuf_set(err, -errno, "cannot read %s: %s", RANGE_PATH, strerror(errno));
	fields = fscanf(file, "%u %u", &first, &last);
	fclose(file);
	if (fields != 2)
		return errbuf_set(err, -EPROTO, "cannot understand %s", RANGE_PATH);

	ports_outside(first, last, ranges);
	if (!ranges[0].count)
		return errbuf_set(
			err, -ENOSPC,
			"%s is %u-%u and leaves no source port for flows; make it smaller",
			RANGE_PATH, first, last);
	memcpy(ret, ranges, sizeof(ranges));
	return 0;
}
