/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * net_internal: what the files of this folder share. Nobody else includes it.
 */
#ifndef SLB_NET_NET_INTERNAL_H
#define SLB_NET_NET_INTERNAL_H

#include <netlink/attr.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "net/net.h"

/* Enough for the kernel's own sentence in an acknowledgement (NLMSGERR_ATTR_MSG). */
#define NET_KERNEL_TEXT_SIZE 160

/* How often a dump is asked for again when the kernel says that it changed meanwhile. */
#define NET_DUMP_ATTEMPTS 8

struct net_subscription {
	struct net *net;
	unsigned int mask;
	net_event_cb *cb; /* NULL once unsubscribed; removed when nobody walks the list */
	void *arg;
	struct net_subscription *prev, *next;
};

struct net {
	uv_loop_t *loop;
	struct nl_sock *requests;
	char kernel_text[NET_KERNEL_TEXT_SIZE]; /* of the last failed request; may be empty */

	struct nl_sock *events;
	uv_poll_t poll;
	struct net_subscription *subscriptions;
	unsigned int joined; /* kinds whose multicast groups we are in */
	bool lost;           /* events were lost; told after what is still queued */
	bool delivering;
	bool closing;
};

/* Called for each message of an answer. */
typedef void net_answer_fn(void *arg, const struct nlmsghdr *message);

/* A request that is built by hand. NULL when memory is short. */
struct nl_msg *net_message_new(int type, int flags, const void *header, size_t header_size);

/* Adds an address attribute; false when memory is short. */
bool net_message_put_addr(struct nl_msg *msg, int attribute, const struct addr *address);

/* Sends msg (takes it; NULL is -ENOMEM) and waits for the answer's end. Negative errno, no
 * sentence: net_strerror() has the words. -EINTR: a dump that has to be asked for again. */
int net_request(struct net *net, struct nl_msg *msg, net_answer_fn *each, void *arg);

/* strerror, and what else the kernel said of the last failed request. Borrowed until the next. */
const char *net_strerror(struct net *net, int error);

/* Reads an address of `family` from an attribute; AF_UNSPEC when it is missing or of a wrong size.
 */
struct addr net_attribute_addr(int family, const struct nlattr *attribute);

/* Messages to values; false for what is not understood or not of interest. */
bool net_link_parse(const struct nlmsghdr *message, struct net_link *ret);
bool net_addr_parse(const struct nlmsghdr *message, struct net_addr *ret);
bool net_neigh_parse(const struct nlmsghdr *message, struct net_neigh *ret);

int net_events_open(struct net *net, struct errbuf *err);
void net_events_close(struct net *net, uv_close_cb closed);

#endif
