/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/netfilter_mark.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

/* ---- nftables */

static int keep_generation(struct nl_msg *msg, void *arg)
{
	struct nlmsghdr *header = nlmsg_hdr(msg);
	struct nlattr *a[NFTA_GEN_MAX + 1];

	if (nlmsg_parse(header, sizeof(struct nfgenmsg), a, NFTA_GEN_MAX, NULL) >= 0 &&
	    a[NFTA_GEN_ID] != NULL)
		*(uint32_t *)arg = ntohl(nla_get_u32(a[NFTA_GEN_ID]));
	return NL_OK;
}

static uint32_t read_generation(void)
{
	struct nfgenmsg body = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
	int type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
	struct nl_sock *socket = nl_socket_alloc();
	uint32_t generation = 0;

	if (socket == NULL)
		return 0;
	nl_socket_disable_seq_check(socket);
	nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, keep_generation, &generation);
	/* Refused by kernels without nftables: the answer is an error then, and ends the reading.
	 */
	if (nl_connect(socket, NETLINK_NETFILTER) == 0 &&
	    nl_send_simple(socket, type, 0, &body, sizeof(body)) >= 0)
		nl_recvmsgs_default(socket);
	nl_socket_free(socket);
	return generation;
}

/* ---- the older tables */

/* Asking the kernel for a table makes it; so only one that is there is asked for. */
static bool has_nat(const char *names_path)
{
	FILE *file = fopen(names_path, "re");
	char name[XT_TABLE_MAXNAMELEN + 1];
	bool found = false;

	while (file != NULL && !found && fscanf(file, "%32s", name) == 1)
		found = strcmp(name, "nat") == 0;
	if (file != NULL)
		fclose(file);
	return found;
}

/* ipt_getinfo and ip6t_getinfo have one layout. */
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo), "one body for both");

static void read_info(int family, uint32_t *ret_entries, uint32_t *ret_size)
{
	bool is_ipv4 = family == AF_INET;
	struct ipt_getinfo info = { .name = "nat" };
	socklen_t length = sizeof(info);
	int fd;

	*ret_entries = *ret_size = 0;
	if (!has_nat(is_ipv4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names"))
		return;
	fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0)
		return;
	if (getsockopt(fd, is_ipv4 ? IPPROTO_IP : IPPROTO_IPV6,
		       is_ipv4 ? IPT_SO_GET_INFO : IP6T_SO_GET_INFO, &info, &length) == 0) {
		*ret_entries = info.num_entries;
		*ret_size = info.size;
	}
	close(fd);
}

/* ---- both */

struct netfilter_mark netfilter_mark_read(void)
{
	struct netfilter_mark mark = { .nft_generation = read_generation() };

	read_info(AF_INET, &mark.entries[0], &mark.size_bytes[0]);
	read_info(AF_INET6, &mark.entries[1], &mark.size_bytes[1]);
	return mark;
}

bool netfilter_mark_equal(const struct netfilter_mark *a, const struct netfilter_mark *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
