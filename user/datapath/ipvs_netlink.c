/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/ipvs_netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "datapath/spawn.h"

struct ipvs_netlink {
	struct nl_sock *socket;
	int family;
};

/* What a request's replies are gathered into, and whether one could not be (out of memory). */
struct reply {
	int (*parse)(struct reply *reply, struct nlattr **attrs);
	struct ipvs_service *service; /* for GET_SERVICE */
	int family;                   /* of the service asked for */
	struct ipvs_dest *dests;      /* for GET_DEST; owned until handed out */
	size_t dest_count;
	bool found;
	int error;
};

/* libnl's errors are its own numbers; the kernel's errno comes through the error callback. */
static int keep_errno(struct sockaddr_nl *peer, struct nlmsgerr *message, void *arg)
{
	(void)peer;
	*(int *)arg = message->error;
	return NL_STOP;
}

static int parse_reply(struct nl_msg *msg, void *arg)
{
	struct reply *reply = arg;
	struct nlattr *attrs[IPVS_CMD_ATTR_MAX + 1];

	if (genlmsg_parse(nlmsg_hdr(msg), 0, attrs, IPVS_CMD_ATTR_MAX, NULL) < 0) {
		reply->error = -EPROTO;
		return NL_SKIP;
	}
	if (reply->error == 0)
		reply->error = reply->parse(reply, attrs);
	return NL_OK;
}

static int stop_at_end(struct nl_msg *msg, void *arg)
{
	(void)msg;
	*(int *)arg = 1;
	return NL_STOP;
}

/* Sends msg (takes it) and reads until the kernel is done. Returns the kernel's errno. */
static int transact(struct ipvs_netlink *netlink, struct nl_msg *msg, struct reply *reply)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int error = 0, done = 0, r;

	if (cb == NULL) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	nl_cb_err(cb, NL_CB_CUSTOM, keep_errno, &error);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, stop_at_end, &done);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, stop_at_end, &done);
	if (reply != NULL)
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, parse_reply, reply);

	r = nl_send_auto(netlink->socket, msg);
	while (r >= 0 && error == 0 && done == 0)
		r = nl_recvmsgs(netlink->socket, cb);
	nl_cb_put(cb);
	nlmsg_free(msg);
	if (error != 0)
		return error;
	if (r < 0)
		return -EIO;
	return reply != NULL ? reply->error : 0;
}

/* ---- writing */

/* struct nf_inet_addr: 16 bytes whatever the family. */
static int put_addr(struct nl_msg *msg, int type, const struct addr *addr)
{
	return nla_put(msg, type, sizeof(addr->bytes), addr->bytes);
}

/* The members that name a service; with `whole`, all of it. The nest is closed. */
static int put_service_nest(struct nl_msg *msg, const struct ipvs_service *service, bool whole)
{
	/* Persistence by single client: mask of IPv4 in wire order, length of the prefix for IPv6.
	 */
	uint32_t netmask = service->vip.family == AF_INET ? UINT32_MAX : 128;
	struct ip_vs_flags flags = { .flags = service->flags, .mask = IPVS_SERVICE_FLAGS };
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_SERVICE);
	int r;

	if (nest == NULL)
		return -ENOMEM;
	r = nla_put_u16(msg, IPVS_SVC_ATTR_AF, service->vip.family) < 0 ||
	    nla_put_u16(msg, IPVS_SVC_ATTR_PROTOCOL, (uint16_t)service->protocol) < 0 ||
	    put_addr(msg, IPVS_SVC_ATTR_ADDR, &service->vip) < 0 ||
	    nla_put_u16(msg, IPVS_SVC_ATTR_PORT, htons(service->port)) < 0;
	if (whole)
		r = r || nla_put_string(msg, IPVS_SVC_ATTR_SCHED_NAME, service->scheduler) < 0 ||
		    nla_put(msg, IPVS_SVC_ATTR_FLAGS, sizeof(flags), &flags) < 0 ||
		    nla_put_u32(msg, IPVS_SVC_ATTR_TIMEOUT, service->timeout_s) < 0 ||
		    nla_put_u32(msg, IPVS_SVC_ATTR_NETMASK, netmask) < 0;
	nla_nest_end(msg, nest);
	return r ? -ENOMEM : 0;
}

static int put_dest_nest(struct nl_msg *msg, const struct ipvs_dest *dest)
{
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_DEST);
	int r;

	if (nest == NULL)
		return -ENOMEM;
	r = nla_put_u16(msg, IPVS_DEST_ATTR_ADDR_FAMILY, dest->ip.family) < 0 ||
	    put_addr(msg, IPVS_DEST_ATTR_ADDR, &dest->ip) < 0 ||
	    nla_put_u16(msg, IPVS_DEST_ATTR_PORT, htons(dest->port)) < 0 ||
	    nla_put_u32(msg, IPVS_DEST_ATTR_FWD_METHOD, dest->method) < 0 ||
	    nla_put_u32(msg, IPVS_DEST_ATTR_WEIGHT, dest->weight) < 0 ||
	    nla_put_u32(msg, IPVS_DEST_ATTR_U_THRESH, 0) < 0 ||
	    nla_put_u32(msg, IPVS_DEST_ATTR_L_THRESH, 0) < 0;
	nla_nest_end(msg, nest);
	return r ? -ENOMEM : 0;
}

/* A request about `service` (whole, or its key alone) and, when not NULL, `dest`. NULL: no memory.
 */
static struct nl_msg *request(struct ipvs_netlink *netlink, uint8_t command, int flags,
			      const struct ipvs_service *service, bool whole,
			      const struct ipvs_dest *dest)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg == NULL)
		return NULL;
	if (genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, netlink->family, 0, flags, command,
			IPVS_GENL_VERSION) == NULL ||
	    put_service_nest(msg, service, whole) < 0 ||
	    (dest != NULL && put_dest_nest(msg, dest) < 0)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/* ---- reading */

/* STATS64 where the kernel has it (4.1), else STATS, whose packets and connections are of 32 bits.
 */
static void parse_traffic(struct nlattr *stats64, struct nlattr *stats, struct traffic *ret)
{
	struct nlattr *a[IPVS_STATS_ATTR_MAX + 1];

	*ret = (struct traffic){ 0 };
	if (nla_parse_nested(a, IPVS_STATS_ATTR_MAX, stats64 != NULL ? stats64 : stats, NULL) < 0)
		return;
	for (int i = IPVS_STATS_ATTR_CONNS; i <= IPVS_STATS_ATTR_OUTBYTES; i++) {
		if (a[i] == NULL)
			return;
	}
	ret->connections = stats64 != NULL ? nla_get_u64(a[IPVS_STATS_ATTR_CONNS])
					   : nla_get_u32(a[IPVS_STATS_ATTR_CONNS]);
	ret->packets_in = stats64 != NULL ? nla_get_u64(a[IPVS_STATS_ATTR_INPKTS])
					  : nla_get_u32(a[IPVS_STATS_ATTR_INPKTS]);
	ret->packets_out = stats64 != NULL ? nla_get_u64(a[IPVS_STATS_ATTR_OUTPKTS])
					   : nla_get_u32(a[IPVS_STATS_ATTR_OUTPKTS]);
	ret->bytes_in = nla_get_u64(a[IPVS_STATS_ATTR_INBYTES]);
	ret->bytes_out = nla_get_u64(a[IPVS_STATS_ATTR_OUTBYTES]);
}

static void parse_addr(const struct nlattr *attr, int family, struct addr *ret)
{
	*ret = (struct addr){ .family = (uint16_t)family };
	memcpy(ret->bytes, nla_data(attr), addr_length_bytes(ret));
}

static int parse_service(struct reply *reply, struct nlattr **attrs)
{
	struct nlattr *a[IPVS_SVC_ATTR_MAX + 1];
	struct ipvs_service *service = reply->service;

	if (attrs[IPVS_CMD_ATTR_SERVICE] == NULL ||
	    nla_parse_nested(a, IPVS_SVC_ATTR_MAX, attrs[IPVS_CMD_ATTR_SERVICE], NULL) < 0 ||
	    a[IPVS_SVC_ATTR_SCHED_NAME] == NULL || a[IPVS_SVC_ATTR_FLAGS] == NULL ||
	    nla_len(a[IPVS_SVC_ATTR_FLAGS]) < (int)sizeof(struct ip_vs_flags) ||
	    a[IPVS_SVC_ATTR_TIMEOUT] == NULL || a[IPVS_SVC_ATTR_STATS] == NULL)
		return -EPROTO;
	nla_strlcpy(service->scheduler, a[IPVS_SVC_ATTR_SCHED_NAME], sizeof(service->scheduler));
	service->flags = ((struct ip_vs_flags *)nla_data(a[IPVS_SVC_ATTR_FLAGS]))->flags &
			 IPVS_SERVICE_FLAGS;
	service->timeout_s = nla_get_u32(a[IPVS_SVC_ATTR_TIMEOUT]);
	parse_traffic(a[IPVS_SVC_ATTR_STATS64], a[IPVS_SVC_ATTR_STATS], &service->traffic);
	reply->found = true;
	return 0;
}

static int parse_dest(struct reply *reply, struct nlattr **attrs)
{
	struct nlattr *a[IPVS_DEST_ATTR_MAX + 1];
	struct ipvs_dest *grown, *dest;

	if (attrs[IPVS_CMD_ATTR_DEST] == NULL ||
	    nla_parse_nested(a, IPVS_DEST_ATTR_MAX, attrs[IPVS_CMD_ATTR_DEST], NULL) < 0 ||
	    a[IPVS_DEST_ATTR_ADDR] == NULL ||
	    nla_len(a[IPVS_DEST_ATTR_ADDR]) < (int)sizeof(dest->ip.bytes) ||
	    a[IPVS_DEST_ATTR_PORT] == NULL || a[IPVS_DEST_ATTR_FWD_METHOD] == NULL ||
	    a[IPVS_DEST_ATTR_WEIGHT] == NULL || a[IPVS_DEST_ATTR_STATS] == NULL)
		return -EPROTO;
	grown = reallocarray(reply->dests, reply->dest_count + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	reply->dests = grown;
	dest = &grown[reply->dest_count++];
	*dest = (struct ipvs_dest){
		.port = ntohs(nla_get_u16(a[IPVS_DEST_ATTR_PORT])),
		.method = nla_get_u32(a[IPVS_DEST_ATTR_FWD_METHOD]) & IP_VS_CONN_F_FWD_MASK,
		.weight = nla_get_u32(a[IPVS_DEST_ATTR_WEIGHT]),
	};
	parse_addr(a[IPVS_DEST_ATTR_ADDR], reply->family, &dest->ip);
	parse_traffic(a[IPVS_DEST_ATTR_STATS64], a[IPVS_DEST_ATTR_STATS], &dest->traffic);
	return 0;
}

/* ---- requests */

static const char *service_text(const struct ipvs_service *service, char *buf, size_t size)
{
	char vip[ADDR_TEXT_SIZE];

	snprintf(buf, size, "IPVS service %s %s port %u", protocol_name(service->protocol),
		 addr_format(&service->vip, vip), service->port);
	return buf;
}

static int fail(struct errbuf *err, int error, const char *what, const struct ipvs_service *service)
{
	char text[ADDR_TEXT_SIZE + 64];

	return errbuf_set(err, error, "cannot %s %s: %s", what,
			  service_text(service, text, sizeof(text)), strerror(-error));
}

/* The kernel does not load ip_vs for who asks for its family. */
static int resolve(struct ipvs_netlink *netlink)
{
	char *argv[] = { (char *)"modprobe", (char *)"-q", (char *)"ip_vs", NULL };
	char ignored[SPAWN_WORDS_SIZE];

	netlink->family = genl_ctrl_resolve(netlink->socket, IPVS_GENL_NAME);
	if (netlink->family < 0 && spawn_run(argv, "", ignored, NULL) == 0)
		netlink->family = genl_ctrl_resolve(netlink->socket, IPVS_GENL_NAME);
	return netlink->family;
}

int ipvs_netlink_open(struct ipvs_netlink **ret, struct errbuf *err)
{
	struct ipvs_netlink *netlink = calloc(1, sizeof(*netlink));

	if (netlink == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open IPVS: out of memory");
	netlink->socket = nl_socket_alloc();
	if (netlink->socket == NULL || genl_connect(netlink->socket) < 0) {
		ipvs_netlink_close(netlink);
		return errbuf_set(err, -EIO,
				  "cannot open IPVS: the kernel gives no generic netlink socket");
	}
	if (resolve(netlink) < 0) {
		ipvs_netlink_close(netlink);
		return errbuf_set(
			err, -ENOENT,
			"this kernel has no IPVS: `modprobe ip_vs` must work, or CONFIG_IP_VS be "
			"built in");
	}
	*ret = netlink;
	return 0;
}

void ipvs_netlink_close(struct ipvs_netlink *netlink)
{
	if (netlink == NULL)
		return;
	nl_socket_free(netlink->socket);
	free(netlink);
}

int ipvs_get_service(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		     struct ipvs_service *ret, struct errbuf *err)
{
	struct ipvs_service service = *key;
	struct reply reply = { .parse = parse_service, .service = &service };
	struct nl_msg *msg = request(netlink, IPVS_CMD_GET_SERVICE, NLM_F_ACK, key, false, NULL);
	int r = msg != NULL ? transact(netlink, msg, &reply) : -ENOMEM;

	if (r == -ESRCH || (r == 0 && !reply.found))
		return -ESRCH;
	if (r < 0)
		return fail(err, r, "read", key);
	*ret = service;
	return 0;
}

int ipvs_get_dests(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		   struct ipvs_dest **ret, size_t *ret_count, struct errbuf *err)
{
	struct reply reply = { .parse = parse_dest, .family = key->vip.family };
	struct nl_msg *msg = request(netlink, IPVS_CMD_GET_DEST, NLM_F_DUMP, key, false, NULL);
	int r = msg != NULL ? transact(netlink, msg, &reply) : -ENOMEM;

	if (r < 0) {
		free(reply.dests);
		return fail(err, r, "read the destinations of", key);
	}
	*ret = reply.dests;
	*ret_count = reply.dest_count;
	return 0;
}

int ipvs_put_service(struct ipvs_netlink *netlink, const struct ipvs_service *service, bool replace,
		     struct errbuf *err)
{
	uint8_t command = replace ? IPVS_CMD_SET_SERVICE : IPVS_CMD_NEW_SERVICE;
	struct nl_msg *msg = request(netlink, command, NLM_F_ACK, service, true, NULL);
	int r = msg != NULL ? transact(netlink, msg, NULL) : -ENOMEM;

	if (r == -ENOENT)
		return errbuf_set_field(
			err, -ENOTSUP, "scheduler",
			"this kernel's IPVS has no scheduler '%s' (module ip_vs_%s)",
			service->scheduler, service->scheduler);
	return r < 0 ? fail(err, r, replace ? "change" : "add", service) : 0;
}

int ipvs_put_dest(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		  const struct ipvs_dest *dest, bool replace, struct errbuf *err)
{
	uint8_t command = replace ? IPVS_CMD_SET_DEST : IPVS_CMD_NEW_DEST;
	struct nl_msg *msg = request(netlink, command, NLM_F_ACK, key, false, dest);
	int r = msg != NULL ? transact(netlink, msg, NULL) : -ENOMEM;

	return r < 0 ? fail(err, r, "put a destination into", key) : 0;
}

int ipvs_del_service(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		     struct errbuf *err)
{
	struct nl_msg *msg = request(netlink, IPVS_CMD_DEL_SERVICE, NLM_F_ACK, key, false, NULL);
	int r = msg != NULL ? transact(netlink, msg, NULL) : -ENOMEM;

	return r < 0 && r != -ESRCH ? fail(err, r, "delete", key) : 0;
}

int ipvs_del_dest(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		  const struct ipvs_dest *dest, struct errbuf *err)
{
	struct nl_msg *msg = request(netlink, IPVS_CMD_DEL_DEST, NLM_F_ACK, key, false, dest);
	int r = msg != NULL ? transact(netlink, msg, NULL) : -ENOMEM;

	return r < 0 && r != -ESRCH && r != -ENOENT ? fail(err, r, "delete a destination of", key)
						    : 0;
}
