/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses of devices: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR and NET_ADDR events.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/net_internal.h"

/* Attributes of linux/if_addr.h that older headers lack. The kernel ignores what it does not know.
 */
#define ATTRIBUTE_FLAGS 8  /* IFA_FLAGS, of 3.14 */
#define ATTRIBUTE_PROTO 11 /* IFA_PROTO, of 5.18 */

#define LIFETIME_INFINITE 0xffffffffU /* linux/if_addr.h: ifa_cacheinfo, seconds */

struct addr_list {
	int ifindex;
	struct net_addr *addrs;
	size_t count, room;
	int error;
};

bool net_addr_parse(const struct nlmsghdr *message, struct net_addr *ret)
{
	struct nlattr *attributes[ATTRIBUTE_PROTO + 1];
	const struct ifaddrmsg *header = nlmsg_data(message);
	struct net_addr addr = { 0 };

	if (message->nlmsg_type != RTM_NEWADDR && message->nlmsg_type != RTM_DELADDR)
		return false;
	if (nlmsg_parse((struct nlmsghdr *)message, sizeof(*header), attributes, ATTRIBUTE_PROTO,
			NULL) < 0)
		return false;
	/* On a point-to-point device IFA_ADDRESS is the other end's; IPv6 has IFA_LOCAL there only.
	 */
	addr.address = net_attribute_addr(header->ifa_family, attributes[IFA_LOCAL] != NULL
								      ? attributes[IFA_LOCAL]
								      : attributes[IFA_ADDRESS]);
	if (addr.address.family == AF_UNSPEC)
		return false;
	addr.ifindex = (int)header->ifa_index;
	addr.prefix_length = header->ifa_prefixlen;
	addr.flags = attributes[ATTRIBUTE_FLAGS] != NULL ? nla_get_u32(attributes[ATTRIBUTE_FLAGS])
							 : header->ifa_flags;
	if (attributes[ATTRIBUTE_PROTO] != NULL)
		addr.protocol = nla_get_u8(attributes[ATTRIBUTE_PROTO]);
	*ret = addr;
	return true;
}

static struct nl_msg *addr_message(int type, int flags, int ifindex, const struct addr *address,
				   uint8_t prefix_length, uint8_t addr_flags)
{
	struct ifaddrmsg header = { .ifa_family = (uint8_t)address->family,
				    .ifa_prefixlen = prefix_length,
				    .ifa_flags = addr_flags,
				    .ifa_scope = RT_SCOPE_UNIVERSE,
				    .ifa_index = (uint32_t)ifindex };
	struct nl_msg *msg = net_message_new(type, flags, &header, sizeof(header));

	if (msg != NULL && (!net_message_put_addr(msg, IFA_LOCAL, address) ||
			    !net_message_put_addr(msg, IFA_ADDRESS, address))) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

int net_addr_add(struct net *net, int ifindex, const struct addr *address, uint8_t prefix_length,
		 unsigned int options, struct errbuf *err)
{
	bool v6 = address->family == AF_INET6;
	struct ifa_cacheinfo forever = { .ifa_prefered = (options & NET_ADDR_DEPRECATED) != 0
								 ? 0
								 : LIFETIME_INFINITE,
					 .ifa_valid = LIFETIME_INFINITE };
	uint8_t flags = v6 && (options & NET_ADDR_NODAD) != 0 ? IFA_F_NODAD : 0;
	struct nl_msg *msg = addr_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, address,
					  prefix_length, flags);
	char text[ADDR_TEXT_SIZE];
	int error;

	if (msg != NULL &&
	    (nla_put_u8(msg, ATTRIBUTE_PROTO, NET_PROTOCOL_SLB) < 0 ||
	     (v6 && nla_put(msg, IFA_CACHEINFO, (int)sizeof(forever), &forever) < 0))) {
		nlmsg_free(msg);
		msg = NULL;
	}
	error = net_request(net, msg, NULL, NULL);
	if (error == -EACCES && v6)
		return errbuf_set(err, error,
				  "cannot add address %s/%u: IPv6 is switched off on the device "
				  "(sysctl net.ipv6.conf.<device>.disable_ipv6)",
				  addr_format(address, text), prefix_length);
	if (error < 0)
		return errbuf_set(err, error, "cannot add address %s/%u: %s",
				  addr_format(address, text), prefix_length,
				  net_strerror(net, error));
	return 0;
}

int net_addr_del(struct net *net, int ifindex, const struct addr *address, uint8_t prefix_length,
		 struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];
	int error = net_request(
		net, addr_message(RTM_DELADDR, 0, ifindex, address, prefix_length, 0), NULL, NULL);

	/* IPv6 answers ENXIO for a device that is gone, IPv4 ENODEV. */
	if (error == -ENXIO)
		error = -ENODEV;
	if (error < 0)
		return errbuf_set(err, error, "cannot remove address %s/%u: %s",
				  addr_format(address, text), prefix_length,
				  net_strerror(net, error));
	return 0;
}

static void on_listed(void *arg, const struct nlmsghdr *message)
{
	struct addr_list *list = arg;
	struct net_addr addr;

	if (list->error < 0 || !net_addr_parse(message, &addr) ||
	    (list->ifindex != 0 && addr.ifindex != list->ifindex))
		return;
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 16 : list->room * 2;
		struct net_addr *addrs = reallocarray(list->addrs, room, sizeof(*addrs));

		if (addrs == NULL) {
			list->error = -ENOMEM;
			return;
		}
		list->addrs = addrs;
		list->room = room;
	}
	list->addrs[list->count++] = addr;
}

int net_addr_list(struct net *net, int ifindex, struct net_addr **ret, size_t *ret_count,
		  struct errbuf *err)
{
	/* The index is for kernels that filter; the others list all, and on_listed() filters. */
	struct ifaddrmsg header = { .ifa_family = AF_UNSPEC, .ifa_index = (uint32_t)ifindex };
	struct addr_list list = { .ifindex = ifindex };
	int error = -EINTR;

	for (int i = 0; i < NET_DUMP_ATTEMPTS && error == -EINTR; i++) {
		list.count = 0;
		error = net_request(
			net, net_message_new(RTM_GETADDR, NLM_F_DUMP, &header, sizeof(header)),
			on_listed, &list);
	}
	if (error == 0)
		error = list.error;
	if (error < 0) {
		free(list.addrs);
		return errbuf_set(err, error, "cannot list the node's addresses: %s",
				  net_strerror(net, error));
	}
	*ret = list.addrs;
	*ret_count = list.count;
	return 0;
}

int net_addr_is_local(struct net *net, const struct addr *address, bool *ret, struct errbuf *err)
{
	struct net_route route;
	int error = net_route_get(net, address, NULL, 0, &route, err);

	/* No route at all: not this node. Other failures say nothing about it. */
	if (error == -ENETUNREACH || error == -EHOSTUNREACH || error == -EACCES ||
	    error == -EINVAL) {
		*ret = false;
		return 0;
	}
	if (error < 0)
		return error;
	*ret = route.type == RTN_LOCAL;
	return 0;
}
