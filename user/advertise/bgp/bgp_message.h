/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_message: the codec of BGP-4 messages. Bytes in, values out, and the reverse; no sockets, no
 * state, no allocation.
 *
 *   bgp_message.c       header, KEEPALIVE, NOTIFICATION, ROUTE-REFRESH, the words for errors
 *   bgp_open.c          OPEN and its capabilities (a table), checks and negotiation
 *   bgp_update_build.c  UPDATEs that announce and withdraw host routes
 *   bgp_update_parse.c  UPDATEs received: nothing is imported, but each is checked and counted
 *
 * Whatever a peer sends ends in a value or in a `struct bgp_error`, which is the NOTIFICATION to
 * answer with and the sentence for the operator, together.
 */
#ifndef SLB_ADVERTISE_BGP_MESSAGE_H
#define SLB_ADVERTISE_BGP_MESSAGE_H

#include "advertise/bgp/bgp_bytes.h"
#include "advertise/bgp/bgp_wire.h"
#include "lib/addr.h"
#include "lib/errbuf.h"

/* ---- address families ----------------------------------------------------------------------- */

enum bgp_family { BGP_IPV4, BGP_IPV6, BGP_FAMILY_COUNT };

#define BGP_FAMILY_BIT(family) (1u << (family))
#define BGP_FAMILIES_ALL       (BGP_FAMILY_BIT(BGP_IPV4) | BGP_FAMILY_BIT(BGP_IPV6))

static inline enum bgp_family bgp_family_of(const struct addr *addr)
{
	return addr->family == AF_INET6 ? BGP_IPV6 : BGP_IPV4;
}

const char *bgp_family_name(enum bgp_family family); /* "ipv4", "ipv6" */

/* The family of an AFI and SAFI that this speaker knows; false leaves *ret untouched. */
bool bgp_family_parse(uint16_t afi, uint8_t safi, enum bgp_family *ret);
uint16_t bgp_family_afi(enum bgp_family family);

/* ---- errors --------------------------------------------------------------------------------- */

#define BGP_ERROR_DATA_SIZE 256 /* a shutdown text with its length; longer data are cut */
#define BGP_ERROR_TEXT_SIZE 320

/* A NOTIFICATION, sent or received. */
struct bgp_error {
	uint8_t code; /* enum bgp_error_code; 0: there is nothing to notify */
	uint8_t subcode;
	uint16_t data_length;
	uint8_t data[BGP_ERROR_DATA_SIZE];
	char text[BGP_ERROR_TEXT_SIZE]; /* what was wrong, in words; valid UTF-8 */
};

/* Fills *error. `data` may be NULL. Returns -EPROTO, so that a refusal is one line. */
int bgp_error_set(struct bgp_error *error, uint8_t code, uint8_t subcode, const void *data,
		  size_t data_length, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

/* A Cease with a text for the peer's operator (may be NULL); rfc: 9003 §2, cut to 255 bytes at a
 * character. The text goes out with Administrative Shutdown and Reset only, as the RFC says. */
void bgp_error_cease(struct bgp_error *error, uint8_t subcode, const char *text);

/* "Cease, Administrative Shutdown". Returns buf. */
#define BGP_ERROR_NAME_SIZE 96
const char *bgp_error_name(uint8_t code, uint8_t subcode, char buf[static BGP_ERROR_NAME_SIZE]);

/* ---- header and the short messages ---------------------------------------------------------- */

struct bgp_message {
	uint8_t type;           /* enum bgp_message_type, and no other */
	struct bgp_reader body; /* borrows the buffer */
};

/* Splits the first message off a stream. Returns its size in bytes; 0 when more bytes are needed;
 * -EPROTO with *error when no message can be found any more (rfc: 4271 §6.1). */
int bgp_message_split(const uint8_t *data, size_t length, struct bgp_message *ret,
		      struct bgp_error *error);

/* Begin and end a message in an empty writer; the header's length is set by the end. */
void bgp_message_begin(struct bgp_writer *writer, enum bgp_message_type type);
void bgp_message_end(struct bgp_writer *writer);

void bgp_keepalive_build(struct bgp_writer *writer);
void bgp_notification_build(struct bgp_writer *writer, const struct bgp_error *error);
void bgp_refresh_build(struct bgp_writer *writer, enum bgp_family family);

/* Body of a NOTIFICATION into *ret, with its words. Never fails: an error in it cannot be notified
 * (rfc: 4271 §6.4), so what is odd is described. */
void bgp_notification_parse(struct bgp_reader body, struct bgp_error *ret);

/* Body of a ROUTE-REFRESH. 0 and *ret; -ENOTSUP for a family or subtype to be ignored. */
int bgp_refresh_parse(struct bgp_reader body, enum bgp_family *ret);

/* ---- OPEN ----------------------------------------------------------------------------------- */

struct bgp_capabilities {
	bool given;         /* any capability at all */
	bool multiprotocol; /* capability 1 for any family, known or not */
	bool route_refresh;
	bool as4;
	bool graceful_restart;
	bool restarting; /* restart state bit */
	uint16_t restart_time_s;
	unsigned families;         /* BGP_FAMILY_BIT(): those offered (IPv4 when none is named) */
	unsigned restart_families; /* those in the graceful restart capability … */
	unsigned forwarding;       /* … and those of them with the forwarding state bit */
	unsigned unknown;          /* how many capabilities were not known here */
};

struct bgp_open {
	uint32_t as; /* the four-byte one where there is one */
	uint16_t hold_s;
	uint32_t identifier; /* host order */
	struct bgp_capabilities capabilities;
};

/* Writes a whole OPEN. capabilities.given false: without optional parameters (rfc: 5492 §3). */
void bgp_open_build(struct bgp_writer *writer, const struct bgp_open *open);

/* 0, or -EPROTO with *error; rfc: 4271 §6.2, 5492, 6793, 9072. */
int bgp_open_parse(struct bgp_reader body, struct bgp_open *ret, struct bgp_error *error);

/* May this peer be talked to? `local` is what we sent. rfc: 4271 §6.2, 6286, 7607. */
int bgp_open_check(const struct bgp_open *open, const struct bgp_open *local, uint32_t peer_as,
		   struct bgp_error *error);

/* What both sides agreed on. */
struct bgp_negotiated {
	bool ibgp;
	bool as4;
	bool route_refresh;
	bool graceful_restart; /* the peer keeps our routes when we restart */
	uint16_t hold_s;       /* 0: neither hold timer nor keepalives */
	unsigned families;
	uint32_t peer_identifier;
	uint16_t peer_restart_time_s;
	bool peer_restarting;
};

void bgp_open_negotiate(const struct bgp_open *local, const struct bgp_open *peer,
			struct bgp_negotiated *ret);

/* ---- UPDATE: build -------------------------------------------------------------------------- */

#define BGP_COMMUNITIES_MAX 64

struct bgp_large_community {
	uint32_t global, local1, local2;
};

/* What every route of this speaker carries, as configured. */
struct bgp_attributes {
	uint32_t communities[BGP_COMMUNITIES_MAX];
	size_t community_count;
	struct bgp_large_community large_communities[BGP_COMMUNITIES_MAX];
	size_t large_community_count;
	uint32_t local_pref; /* sent to iBGP peers only */
	uint32_t med;
	bool med_given;
	bool graceful_shutdown; /* adds 65535:0; rfc: 8326 */
};

struct bgp_next_hop {
	struct addr global;     /* AF_UNSPEC: none, the family cannot be announced */
	struct addr link_local; /* IPv6 only, may be AF_UNSPEC; rfc: 2545 §3 */
};

/* What routes to one peer look like. */
struct bgp_path {
	uint32_t local_as;
	bool ibgp;
	bool as4;
	const struct bgp_attributes *attributes; /* borrowed */
	struct bgp_next_hop next_hop[BGP_FAMILY_COUNT];
};

enum bgp_update_kind { BGP_WITHDRAW, BGP_ANNOUNCE, BGP_UPDATE_KINDS };

/* One UPDATE under construction: begin, add until it says no or there is nothing more, end. */
struct bgp_update {
	struct bgp_writer writer; /* over `data` */
	enum bgp_family family;
	enum bgp_update_kind kind;
	size_t attributes_at; /* where the Total Path Attribute Length stands */
	size_t prefixes_at;   /* where the first prefix begins */
	size_t tail_length;
	uint8_t tail[1400]; /* the other attributes; checked against the most there can be */
	uint8_t data[BGP_MESSAGE_SIZE_MAX];
};

/* `path` is borrowed for the call, and NULL for a withdrawal. */
void bgp_update_begin(struct bgp_update *update, enum bgp_family family, enum bgp_update_kind kind,
		      const struct bgp_path *path);
/* Adds a host route; false when the message is full (and nothing was added). */
bool bgp_update_add(struct bgp_update *update, const struct addr *vip);
/* The finished message is update->data, of the returned length in bytes. */
size_t bgp_update_end(struct bgp_update *update);

/* rfc: 4724 §2 End-of-RIB: an UPDATE without routes. */
void bgp_end_of_rib_build(struct bgp_writer *writer, enum bgp_family family);

/* ---- UPDATE: parse -------------------------------------------------------------------------- */

/* rfc: 7606 §2, weakest first. AFI/SAFI disable is not used: it is a choice beside session reset.
 */
enum bgp_reaction {
	BGP_REACTION_NONE,
	BGP_REACTION_DISCARD_ATTRIBUTE,
	BGP_REACTION_WITHDRAW, /* treat-as-withdraw */
	BGP_REACTION_RESET,    /* session reset, with a NOTIFICATION */
};

const char *bgp_reaction_name(enum bgp_reaction reaction);

struct bgp_update_context {
	bool ibgp;
	bool as4;
	unsigned families;
};

struct bgp_update_summary {
	unsigned announced; /* prefixes */
	unsigned withdrawn;
	bool end_of_rib;
	enum bgp_family end_of_rib_family;
	enum bgp_reaction reaction; /* the strongest one any error asks for; §3 (h) */
	struct bgp_error error;     /* the first error of that strength */
};

/* Checks a whole UPDATE and says what is in it; *ret is always set. */
void bgp_update_parse(struct bgp_reader body, const struct bgp_update_context *context,
		      struct bgp_update_summary *ret);

#endif
