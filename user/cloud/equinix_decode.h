/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * equinix_decode: the API's JSON to values. What is missing or of another type than it should be is
 * an error when slb cannot do without it, and is passed over otherwise. Called by equinix_api.c.
 *
 * Every function: 0, or -EPROTO with a sentence, and *ret is then undefined.
 */
#ifndef SLB_CLOUD_EQUINIX_DECODE_H
#define SLB_CLOUD_EQUINIX_DECODE_H

#include <jansson.h>

#include "cloud/equinix_api.h"

#define EQUINIX_TAG_SIZE (EQUINIX_ID_SIZE + 16)

/* "slb:<uuid>" and "slb-node:<device>". */
void equinix_tag_owner(const uuid_t owner, char tag[static EQUINIX_TAG_SIZE]);
void equinix_tag_node(const char *device_id, char tag[static EQUINIX_TAG_SIZE]);

int equinix_decode_device(const json_t *json, struct equinix_device *ret, struct errbuf *err);
int equinix_decode_neighbour(const json_t *json, struct equinix_neighbour *ret, struct errbuf *err);
int equinix_decode_reservation(const json_t *json, const char *device_id,
			       struct equinix_reservation *ret, struct errbuf *err);

#endif
