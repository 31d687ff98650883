/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bgp_wire: the numbers of BGP-4 as they stand on the wire, and nothing else. Names follow the RFC
 * that defines them; every other file of this folder takes its numbers from here.
 */
#ifndef SLB_ADVERTISE_BGP_WIRE_H
#define SLB_ADVERTISE_BGP_WIRE_H

#define BGP_PORT    179 /* rfc: 4271 §8.2 */
#define BGP_VERSION 4   /* rfc: 4271 §4.2 */

/* rfc: 4271 §4.1 message header: 16 bytes of ones, length, type. */
#define BGP_MARKER_SIZE      16
#define BGP_HEADER_SIZE      19
#define BGP_MESSAGE_SIZE_MAX 4096
#define BGP_OPEN_SIZE_MIN    29
#define BGP_UPDATE_SIZE_MIN  23
#define BGP_NOTIFY_SIZE_MIN  21
#define BGP_KEEPALIVE_SIZE   19
#define BGP_REFRESH_SIZE     23 /* rfc: 2918 §3 */

enum bgp_message_type {
	BGP_OPEN = 1, /* rfc: 4271 §4.1 */
	BGP_UPDATE = 2,
	BGP_NOTIFICATION = 3,
	BGP_KEEPALIVE = 4,
	BGP_ROUTE_REFRESH = 5, /* rfc: 2918 */
};

/* rfc: 4760 §3, IANA address family numbers */
#define BGP_AFI_IPV4     1
#define BGP_AFI_IPV6     2
#define BGP_SAFI_UNICAST 1

/* rfc: 6793 §9: stands for an AS number that does not fit in two bytes */
#define BGP_AS_TRANS 23456

/* rfc: 4271 §4.2: a hold time is zero or at least three seconds */
#define BGP_HOLD_MIN_S 3

/* rfc: 4271 §4.2, 5492 §4 */
#define BGP_OPEN_PARAMETER_CAPABILITIES 2
/* rfc: 9072 §2: the one-byte lengths are followed by two-byte ones */
#define BGP_OPEN_PARAMETER_EXTENDED 255

/* IANA "Capability Codes" */
enum bgp_capability_code {
	BGP_CAP_MULTIPROTOCOL = 1,     /* rfc: 4760 §8 */
	BGP_CAP_ROUTE_REFRESH = 2,     /* rfc: 2918 §2 */
	BGP_CAP_GRACEFUL_RESTART = 64, /* rfc: 4724 §3 */
	BGP_CAP_AS4 = 65,              /* rfc: 6793 §3 */
};

/* rfc: 4724 §3 */
#define BGP_RESTART_STATE_BIT    0x8000
#define BGP_RESTART_TIME_MASK    0x0fff
#define BGP_RESTART_TIME_MAX_S   4095
#define BGP_FORWARDING_STATE_BIT 0x80

/* rfc: 4271 §4.3 attribute flags */
#define BGP_FLAG_OPTIONAL   0x80
#define BGP_FLAG_TRANSITIVE 0x40
#define BGP_FLAG_PARTIAL    0x20
#define BGP_FLAG_EXTENDED   0x10

/* IANA "BGP Path Attributes" */
enum bgp_attribute_type {
	BGP_ATTR_ORIGIN = 1, /* rfc: 4271 §5.1 … */
	BGP_ATTR_AS_PATH = 2,
	BGP_ATTR_NEXT_HOP = 3,
	BGP_ATTR_MED = 4,
	BGP_ATTR_LOCAL_PREF = 5,
	BGP_ATTR_ATOMIC_AGGREGATE = 6,
	BGP_ATTR_AGGREGATOR = 7,
	BGP_ATTR_COMMUNITIES = 8,                /* rfc: 1997 */
	BGP_ATTR_ORIGINATOR_ID = 9,              /* rfc: 4456 */
	BGP_ATTR_CLUSTER_LIST = 10,              /* rfc: 4456 */
	BGP_ATTR_MP_REACH = 14,                  /* rfc: 4760 */
	BGP_ATTR_MP_UNREACH = 15,                /* rfc: 4760 */
	BGP_ATTR_EXTENDED_COMMUNITIES = 16,      /* rfc: 4360 */
	BGP_ATTR_AS4_PATH = 17,                  /* rfc: 6793 */
	BGP_ATTR_AS4_AGGREGATOR = 18,            /* rfc: 6793 */
	BGP_ATTR_IPV6_EXTENDED_COMMUNITIES = 25, /* rfc: 5701 */
	BGP_ATTR_LARGE_COMMUNITIES = 32,         /* rfc: 8092 */
};

/* rfc: 4271 §4.3 ORIGIN: the highest value defined is INCOMPLETE */
#define BGP_ORIGIN_IGP 0
#define BGP_ORIGIN_MAX 2

/* rfc: 4271 §4.3 AS_PATH segments, 5065 §3 the two of confederations */
#define BGP_SEGMENT_SET      1
#define BGP_SEGMENT_SEQUENCE 2
#define BGP_SEGMENT_MAX      4

/* Well-known communities (IANA): rfc: 1997, 3765 (NOPEER), 7999 (BLACKHOLE), 8326, 9494
 * (LLGR_STALE, NO_LLGR) */
#define BGP_COMMUNITY_GRACEFUL_SHUTDOWN   0xffff0000u
#define BGP_COMMUNITY_ACCEPT_OWN          0xffff0001u
#define BGP_COMMUNITY_LLGR_STALE          0xffff0006u
#define BGP_COMMUNITY_NO_LLGR             0xffff0007u
#define BGP_COMMUNITY_BLACKHOLE           0xffff029au
#define BGP_COMMUNITY_NO_EXPORT           0xffffff01u
#define BGP_COMMUNITY_NO_ADVERTISE        0xffffff02u
#define BGP_COMMUNITY_NO_EXPORT_SUBCONFED 0xffffff03u
#define BGP_COMMUNITY_NO_PEER             0xffffff04u

/* NOTIFICATION codes and subcodes; rfc: 4271 §4.5 where nothing else is said */
enum bgp_error_code {
	BGP_ERROR_HEADER = 1,
	BGP_ERROR_OPEN = 2,
	BGP_ERROR_UPDATE = 3,
	BGP_ERROR_HOLD_TIMER = 4,
	BGP_ERROR_FSM = 5,
	BGP_ERROR_CEASE = 6,
	BGP_ERROR_ROUTE_REFRESH = 7, /* rfc: 7313 §5 */
	BGP_ERROR_SEND_HOLD = 8,     /* rfc: 9687 */
};

#define BGP_HEADER_NOT_SYNCHRONIZED 1
#define BGP_HEADER_BAD_LENGTH       2
#define BGP_HEADER_BAD_TYPE         3

#define BGP_OPEN_UNSPECIFIC             0
#define BGP_OPEN_UNSUPPORTED_VERSION    1
#define BGP_OPEN_BAD_PEER_AS            2
#define BGP_OPEN_BAD_IDENTIFIER         3
#define BGP_OPEN_UNSUPPORTED_PARAMETER  4
#define BGP_OPEN_UNACCEPTABLE_HOLD      6
#define BGP_OPEN_UNSUPPORTED_CAPABILITY 7 /* rfc: 5492 §5 */

#define BGP_UPDATE_MALFORMED_LIST         1
#define BGP_UPDATE_UNRECOGNIZED_WELLKNOWN 2
#define BGP_UPDATE_MISSING_WELLKNOWN      3
#define BGP_UPDATE_FLAGS                  4
#define BGP_UPDATE_LENGTH                 5
#define BGP_UPDATE_ORIGIN                 6
#define BGP_UPDATE_NEXT_HOP               8
#define BGP_UPDATE_OPTIONAL               9
#define BGP_UPDATE_NETWORK                10
#define BGP_UPDATE_AS_PATH                11

/* rfc: 6608 §3 */
#define BGP_FSM_IN_OPENSENT    1
#define BGP_FSM_IN_OPENCONFIRM 2
#define BGP_FSM_IN_ESTABLISHED 3

/* rfc: 4486 §3 */
#define BGP_CEASE_MAX_PREFIXES     1
#define BGP_CEASE_ADMIN_SHUTDOWN   2
#define BGP_CEASE_DECONFIGURED     3
#define BGP_CEASE_ADMIN_RESET      4
#define BGP_CEASE_REJECTED         5
#define BGP_CEASE_CONFIG_CHANGE    6
#define BGP_CEASE_COLLISION        7
#define BGP_CEASE_OUT_OF_RESOURCES 8
#define BGP_CEASE_HARD_RESET       9 /* rfc: 8538 */

/* rfc: 9003 §2 (and 8203): UTF-8 text of a shutdown or reset, one byte of length before it */
#define BGP_SHUTDOWN_TEXT_MAX 255

#endif
