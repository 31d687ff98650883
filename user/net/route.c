/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Routes: the kernel's FIB is asked about one destination (RTM_GETROUTE), never copied; a few of
 * our own are added and removed (RTM_NEWROUTE, RTM_DELROUTE).
 */
#include <errno.h>
#include <string.h>

#include "net/net_internal.h"

/* RTA_VIA of linux/rtnetlink.h (kernel 4.1), for headers without it: a gateway of the other family.
 */
#define ATTRIBUTE_VIA 18

struct route_answer {
	struct net_route route;
	bool found;
};

/* struct rtvia: family (2 bytes, host order) and the address. */
static struct addr via_addr(const struct nlattr *attribute)
{
	struct addr address = { 0 };
	uint16_t family;

	if (nla_len(attribute) < (int)sizeof(family))
		return address;
	memcpy(&family, nla_data(attribute), sizeof(family));
	address.family = family;
	if ((family != AF_INET && family != AF_INET6) ||
	    (size_t)nla_len(attribute) != sizeof(family) + addr_length_bytes(&address))
		return (struct addr){ .family = AF_UNSPEC };
	memcpy(address.bytes, (const char *)nla_data(attribute) + sizeof(family),
	       addr_length_bytes(&address));
	return address;
}

static uint32_t metrics_mtu(struct nlattr *attribute)
{
	struct nlattr *metrics[RTAX_MAX + 1];

	if (attribute == NULL || nla_parse_nested(metrics, RTAX_MAX, attribute, NULL) < 0 ||
	    metrics[RTAX_MTU] == NULL)
		return 0;
	return nla_get_u32(metrics[RTAX_MTU]);
}

static void on_route(void *arg, const struct nlmsghdr *message)
{
	struct route_answer *answer = arg;
	struct nlattr *attributes[RTA_MAX + 1];
	const struct rtmsg *header = nlmsg_data(message);
	struct net_route route = { 0 };

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    nlmsg_parse((struct nlmsghdr *)message, sizeof(*header), attributes, RTA_MAX, NULL) < 0)
		return;
	route.type = header->rtm_type;
	if (attributes[RTA_OIF] != NULL)
		route.oif = (int)nla_get_u32(attributes[RTA_OIF]);
	if (attributes[RTA_GATEWAY] != NULL)
		route.gateway = net_attribute_addr(header->rtm_family, attributes[RTA_GATEWAY]);
	else if (attributes[ATTRIBUTE_VIA] != NULL)
		route.gateway = via_addr(attributes[ATTRIBUTE_VIA]);
	if (attributes[RTA_PREFSRC] != NULL)
		route.prefsrc = net_attribute_addr(header->rtm_family, attributes[RTA_PREFSRC]);
	route.mtu_bytes = metrics_mtu(attributes[RTA_METRICS]);
	answer->route = route;
	answer->found = true;
}

static struct nl_msg *route_message(const struct addr *dst, const struct addr *src, int oif)
{
	uint8_t bits = (uint8_t)(addr_length_bytes(dst) * 8);
	struct rtmsg header = { .rtm_family = (uint8_t)dst->family,
				.rtm_dst_len = bits,
				.rtm_src_len = src != NULL ? bits : 0 };
	struct nl_msg *msg = net_message_new(RTM_GETROUTE, 0, &header, sizeof(header));

	if (msg != NULL && (!net_message_put_addr(msg, RTA_DST, dst) ||
			    (src != NULL && !net_message_put_addr(msg, RTA_SRC, src)) ||
			    (oif != 0 && nla_put_u32(msg, RTA_OIF, (uint32_t)oif) < 0))) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/* An IPv6 blackhole is an answer of that type, an IPv4 one an error: both are errors here. */
static int type_error(uint8_t type)
{
	switch (type) {
	case RTN_BLACKHOLE:
		return -EINVAL;
	case RTN_UNREACHABLE:
		return -EHOSTUNREACH;
	case RTN_PROHIBIT:
		return -EACCES;
	default:
		return 0;
	}
}

int net_route_get(struct net *net, const struct addr *dst, const struct addr *src, int oif,
		  struct net_route *ret, struct errbuf *err)
{
	struct route_answer answer = { 0 };
	char text[ADDR_TEXT_SIZE];
	int error = net_request(net, route_message(dst, src, oif), on_route, &answer);

	if (error == 0)
		error = answer.found ? type_error(answer.route.type) : -EPROTO;
	if (error < 0)
		return errbuf_set(err, error, "no route to %s: %s; see `ip route get %s`",
				  addr_format(dst, text), net_strerror(net, error), text);
	*ret = answer.route;
	return 0;
}

static struct nl_msg *own_route_message(int type, int flags, const struct addr *dst,
					uint8_t prefix_length)
{
	struct rtmsg header = { .rtm_family = (uint8_t)dst->family,
				.rtm_dst_len = prefix_length,
				.rtm_table = RT_TABLE_MAIN,
				.rtm_protocol = NET_PROTOCOL_SLB,
				.rtm_scope =
					type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE,
				.rtm_type = type == RTM_DELROUTE ? RTN_UNSPEC : RTN_UNICAST };
	struct nl_msg *msg = net_message_new(type, flags, &header, sizeof(header));

	if (msg != NULL && !net_message_put_addr(msg, RTA_DST, dst)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

int net_route_add(struct net *net, const struct addr *dst, uint8_t prefix_length,
		  const struct addr *gateway, struct errbuf *err)
{
	struct nl_msg *msg =
		own_route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, dst, prefix_length);
	char text[ADDR_TEXT_SIZE], via[ADDR_TEXT_SIZE];
	int error;

	if (msg != NULL && !net_message_put_addr(msg, RTA_GATEWAY, gateway)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	error = net_request(net, msg, NULL, NULL);
	if (error < 0)
		return errbuf_set(err, error, "cannot add a route to %s/%u via %s: %s",
				  addr_format(dst, text), prefix_length, addr_format(gateway, via),
				  net_strerror(net, error));
	return 0;
}

int net_route_del(struct net *net, const struct addr *dst, uint8_t prefix_length,
		  struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];
	/* The kernel takes only a route of the protocol given. */
	int error = net_request(net, own_route_message(RTM_DELROUTE, 0, dst, prefix_length), NULL,
				NULL);

	if (error < 0)
		return errbuf_set(err, error, "cannot remove the route to %s/%u: %s",
				  addr_format(dst, text), prefix_length, net_strerror(net, error));
	return 0;
}
