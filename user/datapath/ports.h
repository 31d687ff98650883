/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ports: which source ports flows may take: 1024 .. 65535 without the kernel's own
 * ip_local_port_range, so that a connection of the node itself never meets a flow
 * (Documentation/networking/ip-sysctl.rst, ip_local_port_range). Pure, but for ports_read().
 */
#ifndef SLB_DATAPATH_PORTS_H
#define SLB_DATAPATH_PORTS_H

#include "lib/errbuf.h"
#include "slb_abi.h"

#define PORTS_FIRST 1024u /* below are the well-known ones (RFC 6335: system ports) */
#define PORTS_LAST  65535u

/* What is left below and above the kernel's range; the larger part first, unused parts {0, 0}. */
void ports_outside(unsigned int local_first, unsigned int local_last, struct slb_port_range ret[2]);

/* The same from /proc/sys/net/ipv4/ip_local_port_range (which holds for IPv6 too) of the network
 * namespace. -ENOSPC: the kernel's range leaves no port. */
int ports_read(struct slb_port_range ret[2], struct errbuf *err);

#endif
