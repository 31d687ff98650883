/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flow_timeouts: when an idle flow is over. Pure. As the kernel's connection tracking has it
 * (Documentation/networking/nf_conntrack-sysctl.rst), from what both directions' entries saw.
 */
#ifndef SLB_DATAPATH_FLOW_TIMEOUTS_H
#define SLB_DATAPATH_FLOW_TIMEOUTS_H

#include <stdbool.h>
#include <stdint.h>

struct flow_timeouts {
	uint32_t tcp_established_s;
	uint32_t tcp_syn_s;       /* the handshake is not finished */
	uint32_t tcp_fin_s;       /* one side has closed */
	uint32_t tcp_time_wait_s; /* both have */
	uint32_t tcp_close_s;     /* reset */
	uint32_t udp_s;
	uint32_t udp_stream_s; /* answered, and older than 2 s */
};

/* The defaults of the kernel's connection tracking. */
extern const struct flow_timeouts flow_timeouts_default;

/* What the decision needs of one entry, or of a flow's two entries joined. */
struct flow_view {
	uint8_t protocol;
	bool half_open; /* it is in half_open4/6 */
	uint8_t tcp;    /* SLB_TCP_* of the directions known, by direction: */
	uint8_t tcp_other;
	uint32_t seen_s; /* the later of both */
	uint32_t begun_s;
};

/* Seconds of silence after which the flow is over. */
uint32_t flow_timeout_s(const struct flow_timeouts *timeouts, const struct flow_view *view);

/* Have the endpoints ended it (a reset, or FIN from both)? The programs count such flows as closed.
 */
bool flow_has_ended(const struct flow_view *view);

/* Seconds since it was last seen; 0 when that lies ahead (the clock of the caller is a little old).
 */
uint32_t flow_idle_s(const struct flow_view *view, uint32_t now_s);

#endif
