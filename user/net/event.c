/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events: rtnetlink's multicast groups, read in the loop.
 *
 * The groups of a kind are joined with its first subscription and then kept. When the kernel had to
 * drop messages (ENOBUFS, man 7 netlink), what is still queued is delivered and after it one
 * NET_RESYNC to everybody, since from the queue alone nobody can tell what is missing.
 *
 * invariant: a callback may unsubscribe anybody, subscribe, or close net.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <utlist.h>

#include "net/net_internal.h"

/* What one turn of the loop reads at most, so that a flood of events does not hold up the rest. */
#define READS_PER_TURN 64

/* Kernel memory for a burst (a device with thousands of addresses being flushed). */
#define RECEIVE_BUFFER_BYTES (4 << 20)
#define READ_BUFFER_BYTES    (32 << 10) /* what the kernel puts in one datagram at most */

/* RTNLGRP_NEXTHOP, of kernel 5.3 and newer; its messages are RTM_NEWNEXTHOP and RTM_DELNEXTHOP. */
#define GROUP_NEXTHOP      32
#define MESSAGE_NEWNEXTHOP 104
#define MESSAGE_DELNEXTHOP 105

/* IFLA_EVENT and two of its values. */
#define ATTRIBUTE_EVENT        44
#define EVENT_BONDING_FAILOVER 3
#define EVENT_NOTIFY_PEERS     4

static const struct {
	enum net_event_kind kind;
	int group;
	bool required;
} groups[] = {
	{ NET_LINK, RTNLGRP_LINK, true },        { NET_ADDR, RTNLGRP_IPV4_IFADDR, true },
	{ NET_ADDR, RTNLGRP_IPV6_IFADDR, true }, { NET_ROUTE, RTNLGRP_IPV4_ROUTE, true },
	{ NET_ROUTE, RTNLGRP_IPV6_ROUTE, true }, { NET_ROUTE, RTNLGRP_IPV4_RULE, false },
	{ NET_ROUTE, RTNLGRP_IPV6_RULE, false }, { NET_ROUTE, GROUP_NEXTHOP, false },
	{ NET_NEIGH, RTNLGRP_NEIGH, true },
};

/* Frees what was unsubscribed while the list was being walked. */
static void sweep(struct net *net)
{
	struct net_subscription *subscription, *next;

	DL_FOREACH_SAFE (net->subscriptions, subscription, next) {
		if (subscription->cb == NULL) {
			DL_DELETE(net->subscriptions, subscription);
			free(subscription);
		}
	}
}

static void deliver(struct net *net, const struct net_event *event)
{
	struct net_subscription *subscription;

	net->delivering = true;
	DL_FOREACH (net->subscriptions, subscription) {
		if (net->closing)
			break;
		if (subscription->cb != NULL &&
		    ((subscription->mask | NET_RESYNC) & event->kind) != 0)
			subscription->cb(subscription->arg, event);
	}
	net->delivering = false;
	if (!net->closing)
		sweep(net);
}

/* IFLA_EVENT of linux/if_link.h (kernel 4.13): why the kernel tells of the link. */
static bool is_notify_peers(const struct nlmsghdr *message)
{
	struct nlattr *attribute = nlmsg_find_attr((struct nlmsghdr *)message,
						   sizeof(struct ifinfomsg), ATTRIBUTE_EVENT);
	uint32_t event;

	if (attribute == NULL || nla_len(attribute) < (int)sizeof(event))
		return false;
	event = nla_get_u32(attribute);
	return event == EVENT_BONDING_FAILOVER || event == EVENT_NOTIFY_PEERS;
}

static bool link_event(const struct nlmsghdr *message, struct net_event *event)
{
	if (!net_link_parse(message, &event->link))
		return false;
	event->kind = NET_LINK;
	event->removed = message->nlmsg_type == RTM_DELLINK;
	event->ifindex = event->link.ifindex;
	event->notify_peers = is_notify_peers(message);
	return true;
}

static bool addr_event(const struct nlmsghdr *message, struct net_event *event)
{
	if (!net_addr_parse(message, &event->addr))
		return false;
	event->kind = NET_ADDR;
	event->removed = message->nlmsg_type == RTM_DELADDR;
	event->ifindex = event->addr.ifindex;
	event->address = event->addr.address;
	event->prefix_length = event->addr.prefix_length;
	return true;
}

static bool neigh_event(const struct nlmsghdr *message, struct net_event *event)
{
	if (!net_neigh_parse(message, &event->neigh))
		return false;
	event->kind = NET_NEIGH;
	event->removed = message->nlmsg_type == RTM_DELNEIGH;
	event->ifindex = event->neigh.ifindex;
	event->address = event->neigh.address;
	return true;
}

/* A route's prefix and device; the default route is the unspecified address with length 0. */
static bool route_event(const struct nlmsghdr *message, struct net_event *event)
{
	struct nlattr *attributes[RTA_MAX + 1];
	const struct rtmsg *header = nlmsg_data(message);

	if (nlmsg_parse((struct nlmsghdr *)message, sizeof(*header), attributes, RTA_MAX, NULL) < 0)
		return false;
	if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6)
		return false;
	/* rtm_flags RTM_F_CLONED: a cached path, not a route; IPv6 tells of each on old kernels. */
	if ((header->rtm_flags & RTM_F_CLONED) != 0)
		return false;
	event->kind = NET_ROUTE;
	event->removed = message->nlmsg_type == RTM_DELROUTE;
	event->prefix_length = header->rtm_dst_len;
	event->address = net_attribute_addr(header->rtm_family, attributes[RTA_DST]);
	event->address.family = header->rtm_family;
	if (attributes[RTA_OIF] != NULL)
		event->ifindex = (int)nla_get_u32(attributes[RTA_OIF]);
	return true;
}

static bool event_parse(const struct nlmsghdr *message, struct net_event *event)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return link_event(message, event);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return addr_event(message, event);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return neigh_event(message, event);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return route_event(message, event);
	case RTM_NEWRULE:
	case RTM_DELRULE:
	case MESSAGE_NEWNEXTHOP:
	case MESSAGE_DELNEXTHOP:
		event->kind = NET_ROUTE;
		event->removed = message->nlmsg_type == RTM_DELRULE ||
				 message->nlmsg_type == MESSAGE_DELNEXTHOP;
		return true;
	default:
		return false;
	}
}

static void read_messages(struct net *net, const void *buffer, size_t size)
{
	int rest = (int)size;

	for (const struct nlmsghdr *message = buffer; nlmsg_ok(message, rest) && !net->closing;
	     message = nlmsg_next((struct nlmsghdr *)message, &rest)) {
		struct net_event event = { 0 };

		if (event_parse(message, &event))
			deliver(net, &event);
	}
}

/* One datagram; false when the queue is empty. */
static bool read_datagram(struct net *net)
{
	_Alignas(struct nlmsghdr) char buffer[READ_BUFFER_BYTES];
	struct sockaddr_nl from = { 0 };
	struct iovec vector = { .iov_base = buffer, .iov_len = sizeof(buffer) };
	struct msghdr header = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &vector, .msg_iovlen = 1
	};
	ssize_t size = recvmsg(nl_socket_get_fd(net->events), &header, MSG_DONTWAIT);

	if (size < 0) {
		if (errno != ENOBUFS)
			return errno == EINTR;
		net->lost = true;
		return true;
	}
	/* Other processes may send to this socket too (man 7 netlink); only the kernel is believed.
	 */
	if (from.nl_pid != 0)
		return true;
	if ((header.msg_flags & MSG_TRUNC) != 0)
		net->lost = true;
	read_messages(net, buffer, (size_t)size);
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct net *net = poll->data;
	bool more = true;

	(void)events;
	for (int i = 0; more && i < READS_PER_TURN && !net->closing; i++)
		more = read_datagram(net);
	/* An overrun is an error of the socket, for which libuv stops watching; reading cleared it.
	 */
	if (status < 0 && !net->closing)
		uv_poll_start(poll, UV_READABLE, on_readable);
	/* Told when the queue is empty: else events older than the look would come after it. */
	if (!more && net->lost && !net->closing) {
		struct net_event event = { .kind = NET_RESYNC };

		net->lost = false;
		deliver(net, &event);
	}
}

int net_events_open(struct net *net, struct errbuf *err)
{
	struct nl_sock *sock = nl_socket_alloc();
	int size = RECEIVE_BUFFER_BYTES, fd, error;

	if (sock == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	errno = 0;
	if (nl_connect(sock, NETLINK_ROUTE) < 0) {
		error = errno != 0 ? -errno : -EIO;
		nl_socket_free(sock);
		return errbuf_set(err, error, "cannot open a netlink socket: %s", strerror(-error));
	}
	fd = nl_socket_get_fd(sock);
	nl_socket_set_nonblocking(sock);
	/* Beyond net.core.rmem_max only with privilege; less is no error, only more resyncs. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));

	error = uv_poll_init(net->loop, &net->poll, fd);
	if (error < 0) {
		nl_socket_free(sock);
		return errbuf_set(err, error, "cannot watch a netlink socket: %s",
				  uv_strerror(error));
	}
	net->poll.data = net;
	net->events = sock;
	uv_poll_start(&net->poll, UV_READABLE, on_readable);
	return 0;
}

void net_events_close(struct net *net, uv_close_cb closed)
{
	uv_close((uv_handle_t *)&net->poll, closed);
	nl_socket_free(net->events);
	net->events = NULL;
}

static int join(struct net *net, unsigned int kinds, struct errbuf *err)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if ((groups[i].kind & kinds & ~net->joined) == 0)
			continue;
		if (setsockopt(nl_socket_get_fd(net->events), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
			       &groups[i].group, sizeof(groups[i].group)) < 0 &&
		    groups[i].required)
			return errbuf_set(err, -errno, "cannot follow netlink events: %s",
					  strerror(errno));
	}
	net->joined |= kinds;
	return 0;
}

int net_subscribe(struct net *net, unsigned int mask, net_event_cb *cb, void *arg,
		  struct net_subscription **ret, struct errbuf *err)
{
	struct net_subscription *subscription = malloc(sizeof(*subscription));
	int error;

	if (subscription == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	error = join(net, mask, err);
	if (error < 0) {
		free(subscription);
		return error;
	}
	*subscription = (struct net_subscription){ .net = net, .mask = mask, .cb = cb, .arg = arg };
	DL_APPEND(net->subscriptions, subscription);
	*ret = subscription;
	return 0;
}

void net_unsubscribe(struct net_subscription *subscription)
{
	struct net *net;

	if (subscription == NULL)
		return;
	net = subscription->net;
	subscription->cb = NULL;
	if (!net->delivering && !net->closing)
		sweep(net);
}
