/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * masquerade: source NAT for services that IPVS balances, by whichever packet filter the node has.
 *
 * A connection is picked by the address, port and protocol the client used (the original tuple of
 * its conntrack entry; net.ipv4.vs.conntrack must be 1), so one rule serves a service, whatever
 * backends it has.
 *
 *   nftables  table slb of families ip and ip6, one set of services each (kernel 4.17, nft 0.9)
 *   iptables  chain SLB in table nat, one rule a service (kernel 3.x)
 *
 * Both are driven by their own programs: nft(8) reads a script, atomically; iptables(8) has no
 * other stable interface. Each call waits for the program, some milliseconds. Called by ipvs.c
 * only.
 */
#ifndef SLB_DATAPATH_MASQUERADE_H
#define SLB_DATAPATH_MASQUERADE_H

#include "core/model.h"
#include "lib/errbuf.h"

struct masquerade;

struct masqueraded {
	struct addr vip;
	uint16_t port; /* host order */
	enum protocol protocol;
};

/* Makes table or chain where they are missing, and leaves entries alone that are there. -ENOTSUP:
 * neither program can do it; the sentence has both reasons. */
int masquerade_open(struct masquerade **ret, struct errbuf *err);

/* keep = false takes table or chain away, with all entries. Accepts NULL. */
void masquerade_close(struct masquerade *masquerade, bool keep);

/* "nftables" or "iptables". */
const char *masquerade_name(const struct masquerade *masquerade);

/* Why it is not nftables: one line; "" when it is. */
const char *masquerade_nft_refused(const struct masquerade *masquerade);

/* Idempotent both. */
int masquerade_add(struct masquerade *masquerade, const struct masqueraded *service,
		   struct errbuf *err);
int masquerade_remove(struct masquerade *masquerade, const struct masqueraded *service,
		      struct errbuf *err);

/* Exactly these services from now on, without a moment in between where one is missing. */
int masquerade_replace(struct masquerade *masquerade, const struct masqueraded *services,
		       size_t count, struct errbuf *err);

/* True while nobody but slb changed table or chain. Costs a few system calls as long as nobody
 * changed any rule of the node. */
bool masquerade_is_intact(struct masquerade *masquerade);

/* Makes table or chain anew where somebody removed them, then as masquerade_replace(). */
int masquerade_repair(struct masquerade *masquerade, const struct masqueraded *services,
		      size_t count, struct errbuf *err);

#endif
