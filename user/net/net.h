/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * net: the kernel's links, addresses, routes and neighbours, by rtnetlink (man 7 rtnetlink).
 *
 * One struct net serves the whole process, in the network namespace it was opened in. Requests are
 * synchronous (they are answered by the kernel itself, in microseconds; a limit of 5 s guards
 * against the unforeseen). Events come on a socket of their own, read in the loop; callbacks run on
 * the loop's thread and may call anything here, net_unsubscribe() included.
 *
 * Nothing here needs a kernel newer than 3.10. Failed requests change nothing; ret-parameters are
 * then untouched, and the error is the kernel's errno with a sentence (-ETIMEDOUT when it did not
 * answer). Nothing is logged.
 *
 * Files: net.c (sockets, requests), event.c, link.c, address.c, route.c, neigh.c.
 */
#ifndef SLB_NET_NET_H
#define SLB_NET_NET_H

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/addr.h"
#include "lib/errbuf.h"

#define NET_MAC_SIZE  6
#define NET_KIND_SIZE 16

struct net; /* opaque */

/* Opens both sockets; nothing is received before the first subscription. The loop is borrowed and
 * outlives net. */
int net_open(uv_loop_t *loop, struct net **ret, struct errbuf *err);

/* Ends all subscriptions without a further callback. The loop must turn once more after this, to
 * let libuv finish. Accepts NULL. */
void net_close(struct net *net);

/* ---- links ----------------------------------------------------------------------------------- */

struct net_link {
	int ifindex;
	char name[IF_NAMESIZE];
	char kind[NET_KIND_SIZE]; /* "veth", "vlan", "bond", "bridge", …; empty for hardware */
	uint16_t arphrd;          /* ARPHRD_ETHER, ARPHRD_LOOPBACK, … (net/if_arp.h) */
	uint8_t mac_length;       /* 0 when the device has none, or one that is not of 6 bytes */
	uint8_t mac[NET_MAC_SIZE];
	uint32_t mtu;       /* bytes */
	bool up;            /* IFF_UP: a person wants it up */
	bool running;       /* IFF_RUNNING: and it has a carrier */
	int master_ifindex; /* bridge, bond or VRF it belongs to, or 0 */
};

/* -ENODEV when there is none; the sentence names it. */
int net_link_by_name(struct net *net, const char *name, struct net_link *ret, struct errbuf *err);
int net_link_by_index(struct net *net, int ifindex, struct net_link *ret, struct errbuf *err);

/* All links. *ret is the caller's, for free(). */
int net_link_list(struct net *net, struct net_link **ret, size_t *ret_count, struct errbuf *err);

/* Is a device that ARP and NDP mean something on (Ethernet, VLAN, bond, bridge, veth …)? */
bool net_link_is_ethernet(const struct net_link *link);

/* ---- addresses ------------------------------------------------------------------------------- */

/* IFA_PROTO of every address slb adds (kernel 5.18 and newer keep and show it), and rtm_protocol of
 * every route. */
#define NET_PROTOCOL_SLB 0x5b

struct net_addr {
	int ifindex;
	struct addr address;
	uint8_t prefix_length;
	uint8_t protocol; /* IFA_PROTO; 0 where the kernel has none */
	uint32_t flags;   /* IFA_F_* */
};

enum net_addr_option {
	NET_ADDR_NODAD = 1 << 0,      /* IPv6: usable at once, no duplicate address detection */
	NET_ADDR_DEPRECATED = 1 << 1, /* IPv6: never chosen as source (RFC 6724 5, rule 3) */
};

/* Adds address/prefix_length, marked with NET_PROTOCOL_SLB. -EEXIST when the device has it already;
 * -ENODEV, -EPERM, and -EACCES (IPv6 is off on the device). */
int net_addr_add(struct net *net, int ifindex, const struct addr *address, uint8_t prefix_length,
		 unsigned int options, struct errbuf *err);

/* -EADDRNOTAVAIL when the device does not have it, -ENODEV when there is no such device. */
int net_addr_del(struct net *net, int ifindex, const struct addr *address, uint8_t prefix_length,
		 struct errbuf *err);

/* Addresses of one device (all devices: ifindex 0). *ret is the caller's, for free(). */
int net_addr_list(struct net *net, int ifindex, struct net_addr **ret, size_t *ret_count,
		  struct errbuf *err);

/* Does this node answer for the address (on whatever device)? A FIB lookup: its cost does not grow
 * with the number of addresses. */
int net_addr_is_local(struct net *net, const struct addr *address, bool *ret, struct errbuf *err);

/* ---- routes ---------------------------------------------------------------------------------- */

/* Where a packet to an address goes now: what the kernel's FIB says, policy rules included. */
struct net_route {
	int oif;             /* device it leaves by (lo for RTN_LOCAL) */
	uint8_t type;        /* RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST … (blackholes are errors) */
	struct addr gateway; /* next hop; AF_UNSPEC: dst itself is on the link. An IPv4 route may
			      * have an IPv6 gateway (RFC 8950) */
	struct addr prefsrc; /* source address the kernel takes, or AF_UNSPEC */
	uint32_t mtu_bytes;  /* of the route or its path; 0: the device's */
};

/* src (may be NULL) and oif (may be 0) narrow the question as in `ip route get`. -ENETUNREACH,
 * -EHOSTUNREACH, -EACCES (prohibit), -EINVAL (blackhole) as the FIB answers. */
int net_route_get(struct net *net, const struct addr *dst, const struct addr *src, int oif,
		  struct net_route *ret, struct errbuf *err);

/* Routes of our own (rtm_protocol NET_PROTOCOL_SLB), in the main table, for dst/prefix_length by
 * way of a gateway that is on a link. -EEXIST when there is such a route, whoever made it;
 * -ENETUNREACH or -EHOSTUNREACH when the gateway is on no link. */
int net_route_add(struct net *net, const struct addr *dst, uint8_t prefix_length,
		  const struct addr *gateway, struct errbuf *err);

/* Removes a route of our own, by whatever gateway. -ESRCH when there is none. */
int net_route_del(struct net *net, const struct addr *dst, uint8_t prefix_length,
		  struct errbuf *err);

/* ---- neighbours ------------------------------------------------------------------------------ */

struct net_neigh {
	int ifindex;
	struct addr address;
	uint16_t state;     /* NUD_* */
	uint8_t mac_length; /* 0: none known */
	uint8_t mac[NET_MAC_SIZE];
};

/* The MAC may be used to send now (NUD_VALID and a MAC of 6 bytes). */
bool net_neigh_is_usable(const struct net_neigh *neigh);

/* Asks the kernel to find (or confirm) the neighbour, as a packet sent to it would. The answer
 * comes as a NET_NEIGH event. A MAC that is known stays usable meanwhile. */
int net_neigh_resolve(struct net *net, int ifindex, const struct addr *address, struct errbuf *err);

/* -ENOENT when the kernel has no entry. */
int net_neigh_get(struct net *net, int ifindex, const struct addr *address, struct net_neigh *ret,
		  struct errbuf *err);

/* ---- events ---------------------------------------------------------------------------------- */

enum net_event_kind {
	NET_LINK = 1 << 0,
	NET_ADDR = 1 << 1,
	NET_ROUTE = 1 << 2, /* routes, policy rules and next-hop objects: look routes up again */
	NET_NEIGH = 1 << 3,
	NET_RESYNC = 1 << 4, /* events were lost: look at everything again. Always delivered */
};

struct net_event {
	enum net_event_kind kind;
	bool removed;      /* RTM_DEL*: the thing is gone */
	bool notify_peers; /* LINK: the kernel says that switches must learn the device anew (bond
			    * failover, VM migration; kernel 4.13 and newer) */
	int ifindex;       /* 0 where there is none (a route without device, RESYNC) */
	uint8_t prefix_length; /* ADDR, ROUTE */
	struct addr address;   /* ADDR, NEIGH: the address; ROUTE: its prefix (AF_UNSPEC: a rule or
				* next-hop object) */
	union {
		struct net_link link;   /* NET_LINK */
		struct net_addr addr;   /* NET_ADDR */
		struct net_neigh neigh; /* NET_NEIGH: MAC and state */
	};
};

typedef void net_event_cb(void *arg, const struct net_event *event);

struct net_subscription; /* opaque, owned by net */

/* Calls cb for every event of the kinds in mask (NET_LINK | …), from now on; what is there already
 * is asked for by the functions above, after subscribing. The event is borrowed for the call. */
int net_subscribe(struct net *net, unsigned int mask, net_event_cb *cb, void *arg,
		  struct net_subscription **ret, struct errbuf *err);

/* No callback comes after this. Accepts NULL; must not be called after net_close(). */
void net_unsubscribe(struct net_subscription *subscription);

#endif
