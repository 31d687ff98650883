/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * equinix_api: the calls of the Equinix Metal API that slb makes, as functions from values to
 * values. It remembers nothing but where the API is; what calls mean together is known by
 * equinix_addresses.c and equinix_node.c, which call it.
 *
 *   GET    /projects/{project}/devices         lists follow meta.next.href to their end, on the
 *   GET    /devices/{device}/bgp/neighbors     API's own host only
 *   GET    /projects/{project}/ips
 *   POST   /projects/{project}/ips
 *   DELETE /ips/{id}
 *
 * Every call is answered by its callback exactly once, with http.h's errors; it may come before the
 * call returns. err is borrowed for the callback, and NULL when status is 0.
 */
#ifndef SLB_CLOUD_EQUINIX_API_H
#define SLB_CLOUD_EQUINIX_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uuid/uuid.h>

#include "cloud/http.h"
#include "lib/addr.h"
#include "lib/errbuf.h"

#define EQUINIX_ID_SIZE       64 /* of the API's objects: letters, digits, '-' and '_' */
#define EQUINIX_NAME_SIZE     256
#define EQUINIX_FACILITY_SIZE 32
#define EQUINIX_PASSWORD_SIZE 81 /* TCP_MD5SIG_MAXKEYLEN and the final NUL */
#define EQUINIX_GATEWAYS_MAX  16
#define EQUINIX_PEER_IPS_MAX  8

struct equinix_api;

struct equinix_api_config {
	uv_loop_t *loop;      /* borrowed */
	const char *url;      /* http or https, without query */
	const char *token;    /* the secret; all strings are copied */
	const char *project;  /* id */
	const char *ca_file;  /* NULL: the system's authorities */
	uint64_t deadline_ms; /* of each request with its repetitions */
	/* As in http_config, 0 stands for the default. */
	uint64_t connect_timeout_ms, attempt_timeout_ms, backoff_ms;
};

/* -EINVAL with a sentence, -ENOMEM. */
int equinix_api_open(const struct equinix_api_config *config, struct equinix_api **ret,
		     struct errbuf *err);

/* As http_close(): calls under way are answered -ECANCELED. Accepts NULL. */
void equinix_api_close(struct equinix_api *api);

/* May stand in a path of the API. */
bool equinix_id_is_valid(const char *id);

typedef void equinix_done_cb(void *arg, int status, const struct errbuf *err);

/* ---- devices --------------------------------------------------------------------------------- */

struct equinix_gateway {
	struct addr address; /* the device's own */
	struct addr gateway; /* of its network */
};

struct equinix_device {
	char id[EQUINIX_ID_SIZE];
	char hostname[EQUINIX_NAME_SIZE];
	char facility[EQUINIX_FACILITY_SIZE]; /* its code, or empty */
	struct equinix_gateway gateways[EQUINIX_GATEWAYS_MAX];
	size_t gateway_count;
};

/* `each` borrows. A list that fails on the way has told of some of its items. */
void equinix_list_devices(struct equinix_api *api,
			  void (*each)(void *arg, const struct equinix_device *device),
			  equinix_done_cb *done, void *arg);

/* ---- BGP neighbours -------------------------------------------------------------------------- */

struct equinix_neighbour {
	struct addr customer_ip; /* ours; AF_UNSPEC when it is not said */
	uint32_t customer_as, peer_as;
	struct addr peer_ips[EQUINIX_PEER_IPS_MAX];
	size_t peer_ip_count;
	char password[EQUINIX_PASSWORD_SIZE]; /* TCP-MD5; empty: none */
	bool multihop;
};

void equinix_list_neighbours(struct equinix_api *api, const char *device_id,
			     void (*each)(void *arg, const struct equinix_neighbour *neighbour),
			     equinix_done_cb *done, void *arg);

/* ---- reserved addresses ---------------------------------------------------------------------- */

enum equinix_reservation_state {
	EQUINIX_READY,
	EQUINIX_PENDING, /* wait, it may become ready */
	EQUINIX_DENIED,  /* it will not */
};

struct equinix_reservation {
	char id[EQUINIX_ID_SIZE];
	struct addr address; /* AF_UNSPEC while there is none */
	enum equinix_reservation_state state;
	bool is_owned; /* tagged by slb on the node that was asked for, for a load balancer: */
	uuid_t owner;
};

/* A reservation is tagged with its node and its load balancer: so it is found again after a crash.
 */
void equinix_list_reservations(struct equinix_api *api, const char *device_id,
			       void (*each)(void *arg, const struct equinix_reservation *item),
			       equinix_done_cb *done, void *arg);

/* status 0: `made` is it (borrowed). Otherwise `uncertain` says that the API may have reserved an
 * address nevertheless; when its id is known all the same, `made` has it, else `made` is NULL. */
typedef void equinix_reserved_cb(void *arg, int status, const struct equinix_reservation *made,
				 bool uncertain, const struct errbuf *err);

/* One public IPv4 address of the facility. */
void equinix_reserve(struct equinix_api *api, const char *facility, const char *device_id,
		     const uuid_t owner, equinix_reserved_cb *done, void *arg);

/* status 0 also when there is no such reservation (any more). */
void equinix_release(struct equinix_api *api, const char *id, equinix_done_cb *done, void *arg);

#endif
