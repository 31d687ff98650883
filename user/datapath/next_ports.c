/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/next_ports.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct destination {
	__u8 ip[SLB_ADDR_BYTES];
	__be16 port;
};

struct next_port {
	struct destination destination;
	__u32 next_port;
	UT_hash_handle hh; /* in the order of being kept */
};

static struct destination destination_of(const struct slb_backend *backend)
{
	struct destination destination;

	memset(&destination, 0, sizeof(destination));
	memcpy(destination.ip, backend->ip, sizeof(destination.ip));
	destination.port = backend->port;
	return destination;
}

static struct next_port *find(struct next_port *table, const struct slb_backend *backend)
{
	struct destination destination = destination_of(backend);
	struct next_port *found;

	HASH_FIND(hh, table, &destination, sizeof(destination), found);
	return found;
}

void next_ports_keep(struct next_port **table, const struct slb_backend *backend, __u32 next_port)
{
	struct next_port *kept = find(*table, backend);

	if (kept != NULL)
		HASH_DEL(*table, kept);
	else
		kept = calloc(1, sizeof(*kept));
	if (kept == NULL)
		return;
	kept->destination = destination_of(backend);
	kept->next_port = next_port;
	HASH_ADD(hh, *table, destination, sizeof(kept->destination), kept);
	if (HASH_COUNT(*table) > NEXT_PORTS_MAX) {
		struct next_port *oldest = *table;

		HASH_DEL(*table, oldest);
		free(oldest);
	}
}

__u32 next_ports_find(struct next_port *const *table, const struct slb_backend *backend)
{
	const struct next_port *kept = find(*table, backend);

	/* Programs take a number beyond the last port for the first. */
	return kept != NULL ? kept->next_port : arc4random_uniform(1U << 15);
}

void next_ports_free(struct next_port **table)
{
	struct next_port *kept, *next;

	HASH_ITER (hh, *table, kept, next) {
		HASH_DEL(*table, kept);
		free(kept);
	}
}
