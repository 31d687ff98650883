/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipvs_netlink: the kernel's IPVS tables by generic netlink (family "IPVS", linux/ip_vs.h), as
 * every kernel since 2.6.28 speaks it.
 *
 * Requests are synchronous; the kernel answers by itself, at once. Called by ipvs.c only.
 */
#ifndef SLB_DATAPATH_IPVS_NETLINK_H
#define SLB_DATAPATH_IPVS_NETLINK_H

#include <linux/ip_vs.h>

#include "core/datapath_ops.h"

/* The flags that slb sets, or clears where others set them. */
#define IPVS_SERVICE_FLAGS \
	(IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2 | IP_VS_SVC_F_SCHED3)

struct ipvs_service {
	struct addr vip;
	uint16_t port; /* host order */
	enum protocol protocol;
	char scheduler[IP_VS_SCHEDNAME_MAXLEN];
	uint32_t flags;         /* of IPVS_SERVICE_FLAGS */
	uint32_t timeout_s;     /* of persistence */
	struct traffic traffic; /* read only */
};

struct ipvs_dest {
	struct addr ip;
	uint16_t port;   /* host order */
	uint32_t method; /* IP_VS_CONN_F_MASQ or IP_VS_CONN_F_LOCALNODE */
	uint32_t weight;
	struct traffic traffic; /* read only */
};

struct ipvs_netlink;

/* Loads the ip_vs module where it can. -ENOENT: this kernel has no IPVS. */
int ipvs_netlink_open(struct ipvs_netlink **ret, struct errbuf *err);
void ipvs_netlink_close(struct ipvs_netlink *netlink); /* accepts NULL */

/* A service is found by vip, port and protocol; a destination by ip and port. */

/* -ESRCH (no sentence): there is no such service. */
int ipvs_get_service(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		     struct ipvs_service *ret, struct errbuf *err);

/* *ret is the caller's, for free(). */
int ipvs_get_dests(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		   struct ipvs_dest **ret, size_t *ret_count, struct errbuf *err);

/* Adds, or changes when `replace`. -ENOENT: the kernel lacks the scheduler. */
int ipvs_put_service(struct ipvs_netlink *netlink, const struct ipvs_service *service, bool replace,
		     struct errbuf *err);
int ipvs_put_dest(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		  const struct ipvs_dest *dest, bool replace, struct errbuf *err);

/* 0 when it was not there. */
int ipvs_del_service(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		     struct errbuf *err);
int ipvs_del_dest(struct ipvs_netlink *netlink, const struct ipvs_service *key,
		  const struct ipvs_dest *dest, struct errbuf *err);

#endif
