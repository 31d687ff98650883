/* SPDX-License-Identifier: GPL-2.0-only */
/* The decision table of flow timeouts; see flow_timeouts.h. Called by ebpf_flows.c. */
#include "datapath/flow_timeouts.h"

#include <netinet/in.h>

#include "slb_abi.h"

/* An answered UDP flow counts as a stream from this age on, as in nf_conntrack_proto_udp. */
#define UDP_STREAM_AGE_S 2

const struct flow_timeouts flow_timeouts_default = {
	.tcp_established_s = 432000,
	.tcp_syn_s = 120,
	.tcp_fin_s = 120,
	.tcp_time_wait_s = 120,
	.tcp_close_s = 10,
	.udp_s = 30,
	.udp_stream_s = 120,
};

bool flow_has_ended(const struct flow_view *view)
{
	return ((view->tcp | view->tcp_other) & SLB_TCP_RST) ||
	       (view->tcp & view->tcp_other & SLB_TCP_FIN);
}

static uint32_t udp_timeout_s(const struct flow_timeouts *timeouts, const struct flow_view *view)
{
	if (view->half_open || view->seen_s - view->begun_s <= UDP_STREAM_AGE_S)
		return timeouts->udp_s;
	return timeouts->udp_stream_s;
}

uint32_t flow_timeout_s(const struct flow_timeouts *timeouts, const struct flow_view *view)
{
	uint8_t any = view->tcp | view->tcp_other;

	if (view->protocol != IPPROTO_TCP)
		return udp_timeout_s(timeouts, view);
	if (any & SLB_TCP_RST)
		return timeouts->tcp_close_s;
	if (view->half_open)
		return timeouts->tcp_syn_s;
	if (view->tcp & view->tcp_other & SLB_TCP_FIN)
		return timeouts->tcp_time_wait_s;
	if (any & SLB_TCP_FIN)
		return timeouts->tcp_fin_s;
	return timeouts->tcp_established_s;
}

uint32_t flow_idle_s(const struct flow_view *view, uint32_t now_s)
{
	int32_t idle_s = (int32_t)(now_s - view->seen_s);

	return idle_s > 0 ? (uint32_t)idle_s : 0;
}
