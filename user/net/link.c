/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Links (devices): RTM_GETLINK and its messages, which are those of NET_LINK events too.
 */
#include <errno.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include "net/net_internal.h"

struct link_list {
	struct net_link *links;
	size_t count, room;
	int error;
};

/* Bridges send RTM_NEWLINK of family AF_BRIDGE about their ports: those are not links. */
bool net_link_parse(const struct nlmsghdr *message, struct net_link *ret)
{
	struct nlattr *attributes[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *header = nlmsg_data(message);
	struct net_link link = { 0 };

	if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK)
		return false;
	if (nlmsg_parse((struct nlmsghdr *)message, sizeof(*header), attributes, IFLA_MAX, NULL) <
		    0 ||
	    header->ifi_family != AF_UNSPEC || attributes[IFLA_IFNAME] == NULL)
		return false;

	link.ifindex = header->ifi_index;
	link.arphrd = header->ifi_type;
	link.up = (header->ifi_flags & IFF_UP) != 0;
	link.running = (header->ifi_flags & IFF_RUNNING) != 0;
	nla_strlcpy(link.name, attributes[IFLA_IFNAME], sizeof(link.name));
	if (attributes[IFLA_MTU] != NULL)
		link.mtu = nla_get_u32(attributes[IFLA_MTU]);
	if (attributes[IFLA_MASTER] != NULL)
		link.master_ifindex = (int)nla_get_u32(attributes[IFLA_MASTER]);
	if (attributes[IFLA_ADDRESS] != NULL && nla_len(attributes[IFLA_ADDRESS]) == NET_MAC_SIZE) {
		link.mac_length = NET_MAC_SIZE;
		memcpy(link.mac, nla_data(attributes[IFLA_ADDRESS]), NET_MAC_SIZE);
	}
	if (attributes[IFLA_LINKINFO] != NULL &&
	    nla_parse_nested(info, IFLA_INFO_MAX, attributes[IFLA_LINKINFO], NULL) == 0 &&
	    info[IFLA_INFO_KIND] != NULL)
		nla_strlcpy(link.kind, info[IFLA_INFO_KIND], sizeof(link.kind));
	*ret = link;
	return true;
}

bool net_link_is_ethernet(const struct net_link *link)
{
	return link->arphrd == ARPHRD_ETHER && link->mac_length == NET_MAC_SIZE;
}

static void on_link(void *arg, const struct nlmsghdr *message)
{
	struct net_link *link = arg;

	net_link_parse(message, link);
}

static int link_get(struct net *net, struct nl_msg *msg, struct net_link *ret)
{
	struct net_link link = { 0 };
	int error = net_request(net, msg, on_link, &link);

	if (error < 0)
		return error;
	if (link.ifindex == 0)
		return -EPROTO;
	*ret = link;
	return 0;
}

int net_link_by_name(struct net *net, const char *name, struct net_link *ret, struct errbuf *err)
{
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC };
	struct nl_msg *msg;
	int error;

	if (strlen(name) == 0 || strlen(name) >= IF_NAMESIZE)
		return errbuf_set(err, -ENODEV,
				  "adapter \"%.64s\" cannot exist: a device's name has 1 to %d "
				  "characters; see `ip link`",
				  name, IF_NAMESIZE - 1);
	msg = net_message_new(RTM_GETLINK, 0, &header, sizeof(header));
	if (msg != NULL && nla_put_string(msg, IFLA_IFNAME, name) < 0) {
		nlmsg_free(msg);
		msg = NULL;
	}
	error = link_get(net, msg, ret);
	if (error == -ENODEV)
		return errbuf_set(err, error, "adapter %s does not exist; see `ip link`", name);
	if (error < 0)
		return errbuf_set(err, error, "cannot look at adapter %s: %s", name,
				  net_strerror(net, error));
	return 0;
}

int net_link_by_index(struct net *net, int ifindex, struct net_link *ret, struct errbuf *err)
{
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC, .ifi_index = ifindex };
	int error = link_get(net, net_message_new(RTM_GETLINK, 0, &header, sizeof(header)), ret);

	if (error == -ENODEV)
		return errbuf_set(err, error, "there is no device with index %d; see `ip link`",
				  ifindex);
	if (error < 0)
		return errbuf_set(err, error, "cannot look at the device with index %d: %s",
				  ifindex, net_strerror(net, error));
	return 0;
}

static void on_listed(void *arg, const struct nlmsghdr *message)
{
	struct link_list *list = arg;
	struct net_link link;

	if (list->error < 0 || !net_link_parse(message, &link))
		return;
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 16 : list->room * 2;
		struct net_link *links = reallocarray(list->links, room, sizeof(*links));

		if (links == NULL) {
			list->error = -ENOMEM;
			return;
		}
		list->links = links;
		list->room = room;
	}
	list->links[list->count++] = link;
}

int net_link_list(struct net *net, struct net_link **ret, size_t *ret_count, struct errbuf *err)
{
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC };
	struct link_list list = { 0 };
	int error = -EINTR;

	for (int i = 0; i < NET_DUMP_ATTEMPTS && error == -EINTR; i++) {
		list.count = 0;
		error = net_request(
			net, net_message_new(RTM_GETLINK, NLM_F_DUMP, &header, sizeof(header)),
			on_listed, &list);
	}
	if (error == 0)
		error = list.error;
	if (error < 0) {
		free(list.links);
		return errbuf_set(err, error, "cannot list the node's devices: %s",
				  net_strerror(net, error));
	}
	*ret = list.links;
	*ret_count = list.count;
	return 0;
}
