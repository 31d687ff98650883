/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Neighbours: the kernel's table of next hops and their MACs. slb never writes a MAC there; it asks
 * the kernel to find one and reads the answer.
 */
#include <errno.h>
#include <string.h>

#include "net/net_internal.h"

/* States in which an entry's MAC may be used (net/neighbour.h, NUD_VALID). */
#define STATES_VALID (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)

struct neigh_query {
	int ifindex;
	const struct addr *address;
	struct net_neigh neigh;
	bool found;
};

/* Bridges tell of their forwarding entries (AF_BRIDGE) by the same messages. */
bool net_neigh_parse(const struct nlmsghdr *message, struct net_neigh *ret)
{
	struct nlattr *attributes[NDA_MAX + 1];
	const struct ndmsg *header = nlmsg_data(message);
	struct net_neigh neigh = { 0 };

	if (message->nlmsg_type != RTM_NEWNEIGH && message->nlmsg_type != RTM_DELNEIGH)
		return false;
	if (nlmsg_parse((struct nlmsghdr *)message, sizeof(*header), attributes, NDA_MAX, NULL) < 0)
		return false;
	neigh.address = net_attribute_addr(header->ndm_family, attributes[NDA_DST]);
	if (neigh.address.family == AF_UNSPEC)
		return false;
	neigh.ifindex = header->ndm_ifindex;
	neigh.state = header->ndm_state;
	if (attributes[NDA_LLADDR] != NULL && nla_len(attributes[NDA_LLADDR]) == NET_MAC_SIZE) {
		neigh.mac_length = NET_MAC_SIZE;
		memcpy(neigh.mac, nla_data(attributes[NDA_LLADDR]), NET_MAC_SIZE);
	}
	*ret = neigh;
	return true;
}

bool net_neigh_is_usable(const struct net_neigh *neigh)
{
	return (neigh->state & STATES_VALID) != 0 && neigh->mac_length == NET_MAC_SIZE;
}

static struct nl_msg *neigh_message(int type, int flags, int ifindex, const struct addr *address,
				    uint8_t neigh_flags, uint16_t state)
{
	struct ndmsg header = { .ndm_family = (uint8_t)address->family,
				.ndm_ifindex = ifindex,
				.ndm_state = state,
				.ndm_flags = neigh_flags };
	struct nl_msg *msg = net_message_new(type, flags, &header, sizeof(header));

	if (msg != NULL && !net_message_put_addr(msg, NDA_DST, address)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

static void on_neigh(void *arg, const struct nlmsghdr *message)
{
	struct neigh_query *query = arg;
	struct net_neigh neigh;

	if (net_neigh_parse(message, &neigh) && neigh.ifindex == query->ifindex &&
	    addr_equal(&neigh.address, query->address)) {
		query->neigh = neigh;
		query->found = true;
	}
}

/* Kernels before 5.0 answer about one neighbour only by listing all of its family. */
static int neigh_search(struct net *net, struct neigh_query *query)
{
	int error = -EINTR;

	for (int i = 0; i < NET_DUMP_ATTEMPTS && error == -EINTR; i++) {
		struct ndmsg header = { .ndm_family = (uint8_t)query->address->family };

		query->found = false;
		error = net_request(
			net, net_message_new(RTM_GETNEIGH, NLM_F_DUMP, &header, sizeof(header)),
			on_neigh, query);
	}
	return error;
}

int net_neigh_get(struct net *net, int ifindex, const struct addr *address, struct net_neigh *ret,
		  struct errbuf *err)
{
	struct neigh_query query = { .ifindex = ifindex, .address = address };
	char text[ADDR_TEXT_SIZE];
	int error = net_request(net, neigh_message(RTM_GETNEIGH, 0, ifindex, address, 0, NUD_NONE),
				on_neigh, &query);

	if (error == -EOPNOTSUPP)
		error = neigh_search(net, &query);
	if (error == 0 && !query.found)
		error = -ENOENT;
	if (error == -ENOENT)
		return errbuf_set(err, error, "the kernel has no neighbour %s on device %d",
				  addr_format(address, text), ifindex);
	if (error < 0)
		return errbuf_set(err, error, "cannot look at neighbour %s: %s",
				  addr_format(address, text), net_strerror(net, error));
	*ret = query.neigh;
	return 0;
}

/* The state goes with the question: from 5.16 on the kernel makes it the entry's, and a MAC that is
 * known, a permanent one even, would be forgotten until its machine answers. */
int net_neigh_resolve(struct net *net, int ifindex, const struct addr *address, struct errbuf *err)
{
	struct net_neigh neigh = { .state = NUD_NONE };
	char text[ADDR_TEXT_SIZE];
	struct errbuf ignored;
	uint16_t state = NUD_NONE;
	int error;

	if (net_neigh_get(net, ifindex, address, &neigh, &ignored) == 0 &&
	    net_neigh_is_usable(&neigh)) {
		if (neigh.state != NUD_STALE)
			return 0; /* confirmed, being confirmed, or in no need of it */
		state = NUD_STALE;
	}
	error = net_request(
		net, neigh_message(RTM_NEWNEIGH, NLM_F_CREATE, ifindex, address, NTF_USE, state),
		NULL, NULL);
	if (error < 0)
		return errbuf_set(err, error, "cannot ask the kernel for the MAC of %s: %s",
				  addr_format(address, text), net_strerror(net, error));
	return 0;
}
