/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * equinix_internal: the parts of an equinix_metal, for the files equinix_*.c of this folder alone.
 *
 *   equinix_metal.c      opening, closing, reports
 *   equinix_node.c       which device the node is, and its BGP neighbours
 *   equinix_peers.c      the peers that follow from these, and the routes to them
 *   equinix_addresses.c  every reservation and its state: address_source_ops
 *   equinix_survey.c     compares the reservations with the API's list, and gives back strays
 */
#ifndef SLB_CLOUD_EQUINIX_INTERNAL_H
#define SLB_CLOUD_EQUINIX_INTERNAL_H

#include <uthash.h>
#include <utlist.h>

#include "cloud/equinix_api.h"
#include "cloud/equinix_metal.h"

#define EQUINIX_PEERS_MAX 32

enum reservation_state {
	RESERVATION_WAITING,     /* for the node to be found */
	RESERVATION_ASKED,       /* POST under way */
	RESERVATION_PENDING,     /* the API has not decided yet */
	RESERVATION_ADOPTED,     /* a load balancer has it, its id is not known yet */
	RESERVATION_HELD,        /* a load balancer has it */
	RESERVATION_UNFOUND,     /* to be given back, its id is not known yet */
	RESERVATION_RELEASING,   /* DELETE under way */
	RESERVATION_RELEASE_DUE, /* DELETE failed; the timer runs */
	RESERVATION_GONE,        /* given back; the survey under way may have seen it before */
};

struct reservation {
	struct equinix_metal *metal;
	enum reservation_state state;
	uuid_t owner;
	char id[EQUINIX_ID_SIZE];  /* empty while it is not known */
	struct addr address;       /* AF_UNSPEC while it is not known */
	address_acquired_cb *done; /* NULL: nobody waits for an answer (any more) */
	void *arg;
	uv_timer_t timer; /* the acquire's end, or the next DELETE; frees the struct when closed */
	uint64_t retry_ms;
	uint64_t seen;  /* number of the last survey that saw it */
	uint64_t since; /* ADOPTED, UNFOUND: surveys begun by then */
	bool told;      /* its trouble has been reported */
	struct reservation *prev, *next;
	UT_hash_handle hh; /* by id, while it is known */
};

struct survey {
	bool under_way;
	uint64_t number; /* surveys begun */
	uv_timer_t timer;
	uint64_t due_ms;    /* uv_now(); UINT64_MAX: none is wanted */
	unsigned int doubt; /* how often it is looked again after an uncertain answer: steps done */
	uint64_t retry_ms;
	bool complained;
	struct equinix_reservation *strays;
	size_t stray_count, stray_room;
};

struct node {
	enum { NODE_IDLE, NODE_FINDING_DEVICE, NODE_FINDING_PEERS } state;
	bool device_known, peers_known;
	struct equinix_device device;
	struct equinix_device found; /* the best match of the list under way */
	unsigned int found_rank, found_count;
	char others[ERRBUF_SIZE / 4]; /* hostnames of the list under way, for the error */
	struct equinix_neighbour neighbours[EQUINIX_PEERS_MAX]; /* of the list under way */
	size_t neighbour_count;
	uv_timer_t timer;
	uint64_t retry_ms;
	int error; /* of the last try, with: */
	struct errbuf err;
};

struct peer {
	struct equinix_metal_peer peer;
	struct addr gateway; /* AF_UNSPEC: none known */
	bool route_told;
};

struct peers {
	struct peer list[EQUINIX_PEERS_MAX];
	size_t count;
	void (*added)(void *arg, const struct equinix_metal_peer *peer); /* NULL: not watched */
	void (*removed)(void *arg, const struct addr *address);
	void *arg;
	struct net_subscription *subscription;
	uv_timer_t timer; /* gathers events of the network */
};

struct equinix_metal {
	struct address_source source; /* first */
	struct equinix_metal_config config;
	char *facility, *device_name;
	struct equinix_api *api;
	struct node node;
	struct peers peers;
	struct survey survey;
	struct reservation *reservations; /* all */
	struct reservation *by_id;
	bool adopted; /* strays may be given back */
	struct errbuf last_error;

	bool closing;
	bool keep_routes;
	uv_timer_t patience;
	unsigned int handles; /* that uv has not closed yet */
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- equinix_metal.c ------------------------------------------------------------------------- */

void metal_report(const struct equinix_metal *metal, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Reports a sentence and keeps it as the last error. */
void metal_trouble(struct equinix_metal *metal, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Something has ended: while closing, that may have been the last. */
void metal_settled(struct equinix_metal *metal);
uint64_t metal_double(uint64_t retry_ms);

/* ---- equinix_node.c -------------------------------------------------------------------------- */

/* Begins a try unless one is under way. */
void node_find(struct equinix_metal *metal);

/* ---- equinix_peers.c ------------------------------------------------------------------------- */

int peers_open(struct equinix_metal *metal, struct errbuf *err);
void peers_close(struct equinix_metal *metal);
/* Takes over what the API says of the node's neighbours now. */
void peers_update(struct equinix_metal *metal);

/* ---- equinix_addresses.c --------------------------------------------------------------------- */

extern const struct address_source_ops equinix_metal_ops;

struct reservation *reservation_by_id(const struct equinix_metal *metal, const char *id);
/* An adopted one, or one to be given back, whose id is still unknown. */
struct reservation *reservation_unidentified(const struct equinix_metal *metal,
					     const struct addr *address);
bool reservation_is_asked(const struct equinix_metal *metal, const uuid_t owner);
bool reservation_is_unsettled(const struct reservation *reservation);

/* The device is known: waiting acquires go on. The other: they fail. */
void reservations_go_on(struct equinix_metal *metal);
void reservations_fail_waiting(struct equinix_metal *metal, int error, const struct errbuf *err);
/* The API's list has it. */
void reservation_seen(struct reservation *reservation, const struct equinix_reservation *item);
/* The API's list has one that nobody here knows. */
void reservation_give_back(struct equinix_metal *metal, const struct equinix_reservation *item);
void reservation_remove(struct reservation *reservation);
void reservations_cancel(struct equinix_metal *metal);

/* ---- equinix_survey.c ------------------------------------------------------------------------ */

/* A survey begins in so many milliseconds, or earlier. */
void survey_within(struct equinix_metal *metal, uint64_t delay_ms);
/* An address may have been reserved, or may yet be: look now and a few times more. */
void survey_doubt(struct equinix_metal *metal);

#endif
