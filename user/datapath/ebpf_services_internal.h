/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of ebpf_services share: records (ebpf_records.c: adopting, writing, retiring
 * single services and backends) under apply() (ebpf_plan.c) and the other operations
 * (ebpf_services.c).
 */
#ifndef SLB_DATAPATH_EBPF_SERVICES_INTERNAL_H
#define SLB_DATAPATH_EBPF_SERVICES_INTERNAL_H

#include "datapath/ebpf_services.h"
#include "datapath/ids.h"
#include "datapath/next_ports.h"
#include "datapath/schedule.h"

struct service_record {
	uuid_t uuid;
	uint32_t id;
	struct addr vip;
	uint16_t port;
	uint8_t protocol;
	struct slb_service written;
	struct slot_region region; /* held; as in written, or none when that could not be adopted */
	/* What the schedule in the region was built from; unknown after adoption. */
	bool schedule_known;
	enum scheduler scheduler;
	struct schedule_entry *entries;
	size_t entry_count;
	struct backend_record *backends; /* by service_next */
	struct traffic gone;             /* of backends deleted since the daemon started */
	UT_hash_handle hh;
};

struct backend_record {
	uuid_t uuid;
	uint32_t id;
	struct slb_backend written;
	struct source_run run;          /* the share held; as in written */
	struct ebpf_route *route;       /* NULL: LOCAL, or not applied yet since the start */
	struct service_record *service; /* NULL: adopted, and its service is not there */
	bool wanted;                    /* scratch of one apply() */
	struct backend_record *service_next, *service_prev;
	struct backend_record *route_next, *route_prev;
	UT_hash_handle hh;
};

/* An id on its way to being free. */
struct retired_id {
	uint32_t id;
	bool is_service;
	uint64_t after_pass;
	struct retired_id *next;
};

struct ebpf_services {
	struct ebpf_services_config config;
	struct addr *snat_addresses; /* IPv4 ones first */
	size_t snat4_count, snat6_count;
	struct service_record *services; /* by uuid */
	struct backend_record *backends; /* by uuid */
	uint32_t client_source_count;    /* services that keep clients' source addresses */
	bool is_untrue; /* something could not be followed: apply() must repair it */
	struct service_record *audited; /* the next one that is compared with its entry */
	struct ids service_ids, backend_ids;
	struct retired_id *retired;
	struct next_port *next_ports; /* of backends that were retired */
};

/* ---- records (ebpf_records.c) ---------------------------------------------------------------- */

int records_adopt(struct ebpf_services *services, struct errbuf *err);
void records_free(struct ebpf_services *services);

struct service_record *record_find_service(const struct ebpf_services *services, const uuid_t uuid);
struct backend_record *record_find_backend(const struct ebpf_services *services, const uuid_t uuid);

/* With a new id whose state, counters and drops are zero. NULL when there is no id or no memory
 * left. Nothing is visible to packets yet. */
struct service_record *record_new_service(struct ebpf_services *services, const uuid_t uuid);
struct backend_record *record_new_backend(struct ebpf_services *services, const uuid_t uuid);

/* Takes back a new record that was never written. */
void record_discard_service(struct ebpf_services *services, struct service_record *service);
void record_discard_backend(struct ebpf_services *services, struct backend_record *backend);

/* 0 or negative errno; `written` follows. */
int record_write_service(struct ebpf_services *services, struct service_record *service,
			 const struct slb_service *value);
int record_delete_service(struct ebpf_services *services, struct service_record *service);
int record_write_backend(struct ebpf_services *services, struct backend_record *backend,
			 const struct slb_backend *value);
/* Is the service's entry in the map as in `written`? */
bool record_service_is_present(const struct ebpf_services *services,
			       const struct service_record *service);

/* For good: takes no flow from now on, flows end, the id returns later, the record is freed. */
void record_retire_service(struct ebpf_services *services, struct service_record *service);
void record_retire_backend(struct ebpf_services *services, struct backend_record *backend);

void record_link(struct backend_record *backend, struct service_record *service);
void record_set_route(struct ebpf_services *services, struct backend_record *backend,
		      struct ebpf_route *route);

int record_read_traffic(const struct ebpf_services *services, uint32_t backend_id,
			struct traffic *ret);

/* The addresses that flows towards a backend leave with; *ret_count 0: the client's own, or none is
 * known (no route, ever). Borrowed. (ebpf_services.c) */
const struct addr *services_wanted_sources(const struct ebpf_services *services, bool source_nat,
					   const struct ebpf_route *route, int family,
					   size_t *ret_count);

/* The map that holds this service. */
int record_service_map(const struct ebpf_services *services, const struct addr *vip);
/* Writes the key of services4 or services6. */
void record_service_key(const struct addr *vip, uint16_t port, uint8_t protocol, void *ret);

#endif
