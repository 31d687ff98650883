/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Uplinks; see ebpf_uplinks.h. Called by ebpf_routes.c (devices of routes) and ebpf.c (timer,
 * events).
 *
 * invariant: the adapter is the first of the list and always there, if only as a name waiting for
 * its device.
 */
#include "datapath/ebpf_uplinks.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A device that no route uses any more keeps its programs for so long: replies of old flows may
 * still come in by it. */
#define LINGER_S 30

struct uplink {
	struct ebpf_uplink_info info;
	unsigned int users;
	unsigned int idle_s; /* since there are no users; counted by verify() */
	uint32_t hook_id;    /* what was on the XDP hook after our last attempt, taken or refused */
	uint32_t mtu;        /* at our last attempt: a smaller one may make XDP possible */
	struct uplink *next, *prev;
};

struct ebpf_uplinks {
	struct net *net;
	struct ebpf_programs *programs;
	enum ebpf_hook hook;
	ebpf_report_cb *report;
	void *report_arg;
	struct uplink *list;
	uint64_t verified_ms; /* when verify() last counted idle seconds */
	uv_loop_t *loop;
};

__attribute__((format(printf, 3, 4))) static void report(const struct ebpf_uplinks *uplinks,
							 bool trouble, const char *format, ...)
{
	char sentence[ERRBUF_SIZE + 128];
	va_list args;

	if (!uplinks->report)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	uplinks->report(uplinks->report_arg, trouble, sentence);
}

/* ---- one device ------------------------------------------------------------------------------ */

static void keep_reason(char *ret, size_t size, const struct errbuf *err)
{
	snprintf(ret, size, "%.*s", (int)size - 1, err->text);
}

static bool wants_xdp(const struct ebpf_uplinks *uplinks)
{
	return uplinks->hook != EBPF_HOOK_TC;
}

static void attach_xdp(struct ebpf_uplinks *uplinks, struct uplink *uplink,
		       const struct net_link *link)
{
	enum ebpf_xdp_mode mode =
		uplinks->hook == EBPF_HOOK_XDP_GENERIC ? EBPF_XDP_GENERIC : EBPF_XDP_NATIVE;
	struct errbuf err = { 0 };
	int r;

	uplink->mtu = link->mtu;
	if (!wants_xdp(uplinks)) {
		ebpf_xdp_detach(link->ifindex, uplinks->programs->maps->config_id);
		uplink->info.xdp = false;
		uplink->hook_id = ebpf_xdp_hook_id(link->ifindex);
		return;
	}
	if (!net_link_is_ethernet(link))
		r = errbuf_set(&err, -EOPNOTSUPP, "the device has no Ethernet header");
	else
		r = ebpf_xdp_attach(uplinks->programs, link->ifindex, mode, &uplink->hook_id, &err);
	uplink->info.xdp = r == 0;
	uplink->info.xdp_generic = r == 0 && mode == EBPF_XDP_GENERIC;
	uplink->info.xdp_refused[0] = '\0';
	if (r < 0) {
		uplink->hook_id = ebpf_xdp_hook_id(link->ifindex);
		keep_reason(uplink->info.xdp_refused, sizeof(uplink->info.xdp_refused), &err);
	}
}

/* tc goes on every uplink: beside XDP it takes what XDP hands up for want of a neighbour. */
static void attach_tc(struct ebpf_uplinks *uplinks, struct uplink *uplink)
{
	struct errbuf err = { 0 };
	int r = ebpf_tc_attach(uplinks->programs, uplink->info.ifindex, &err);

	uplink->info.tc = r == 0;
	uplink->info.tc_refused[0] = '\0';
	if (r < 0)
		keep_reason(uplink->info.tc_refused, sizeof(uplink->info.tc_refused), &err);
}

/* Does the device have a hook that may carry packets? */
static bool is_served(const struct ebpf_uplinks *uplinks, const struct uplink *uplink)
{
	switch (uplinks->hook) {
	case EBPF_HOOK_AUTO:
		return uplink->info.xdp || uplink->info.tc;
	case EBPF_HOOK_TC:
		return uplink->info.tc;
	case EBPF_HOOK_XDP:
	case EBPF_HOOK_XDP_GENERIC:
		break;
	}
	return uplink->info.xdp;
}

/* As after an attempt that was refused, so that nobody tries again. */
static void pass_over_loopback(struct uplink *uplink, const struct net_link *link)
{
	static const char why[] = "packets to VIPs on the loopback device come by other devices";

	uplink->info.is_loopback = true;
	uplink->mtu = link->mtu;
	uplink->hook_id = ebpf_xdp_hook_id(link->ifindex);
	snprintf(uplink->info.xdp_refused, sizeof(uplink->info.xdp_refused), "%s", why);
	snprintf(uplink->info.tc_refused, sizeof(uplink->info.tc_refused), "%s", why);
}

static void attach(struct ebpf_uplinks *uplinks, struct uplink *uplink, const struct net_link *link)
{
	snprintf(uplink->info.name, sizeof(uplink->info.name), "%s", link->name);
	uplink->info.ifindex = link->ifindex;
	uplink->info.present = true;
	if (link->arphrd == ARPHRD_LOOPBACK) {
		pass_over_loopback(uplink, link);
		return;
	}
	attach_xdp(uplinks, uplink, link);
	attach_tc(uplinks, uplink);
}

static void report_outcome(const struct ebpf_uplinks *uplinks, const struct uplink *uplink)
{
	const struct ebpf_uplink_info *info = &uplink->info;
	const char *alone = uplinks->programs->no_dispatcher;

	if (info->is_loopback)
		return;
	if (!is_served(uplinks, uplink))
		report(uplinks, true, "uplink %s forwards nothing: XDP: %s; tc: %s", info->name,
		       info->xdp_refused[0] ? info->xdp_refused : "not asked for",
		       info->tc_refused[0] ? info->tc_refused : "is there, but was not asked for");
	else if (info->xdp_refused[0])
		report(uplinks, false, "uplink %s steps down from XDP to tc: %s", info->name,
		       info->xdp_refused);
	else if (info->tc_refused[0])
		report(uplinks, true, "uplink %s has XDP but not tc beside it: %s", info->name,
		       info->tc_refused);
	else
		report(uplinks, false, "uplink %s: %s%s%s", info->name,
		       info->xdp_generic ? "generic XDP and tc"
		       : info->xdp       ? "native XDP and tc"
					 : "tc",
		       info->xdp && alone[0] ? ", without room for other XDP programs: " : "",
		       info->xdp ? alone : "");
}

static void detach(struct ebpf_uplinks *uplinks, struct uplink *uplink)
{
	ebpf_xdp_detach(uplink->info.ifindex, uplinks->programs->maps->config_id);
	ebpf_tc_detach(uplink->info.ifindex, uplinks->programs->maps->config_id);
	report(uplinks, false, "uplink %s is not needed any more: detached", uplink->info.name);
}

/* ---- the list -------------------------------------------------------------------------------- */

static struct uplink *find(const struct ebpf_uplinks *uplinks, int ifindex)
{
	struct uplink *uplink;

	DL_FOREACH (uplinks->list, uplink)
		if (uplink->info.ifindex == ifindex)
			return uplink;
	return NULL;
}

int ebpf_uplinks_open(const struct ebpf_config *config, struct ebpf_programs *programs,
		      struct ebpf_uplinks **ret, struct errbuf *err)
{
	struct ebpf_uplinks *uplinks;
	struct uplink *adapter;
	struct net_link link;
	int r = net_link_by_name(config->net, config->adapter, &link, err);

	if (r < 0)
		return r;
	uplinks = calloc(1, sizeof(*uplinks));
	adapter = calloc(1, sizeof(*adapter));
	if (!uplinks || !adapter) {
		free(uplinks);
		free(adapter);
		return errbuf_set(err, -ENOMEM, "out of memory");
	}
	uplinks->net = config->net;
	uplinks->programs = programs;
	uplinks->hook = config->hook;
	uplinks->report = config->report;
	uplinks->report_arg = config->report_arg;
	uplinks->loop = config->loop;
	uplinks->verified_ms = uv_now(config->loop);
	adapter->users = 1;
	DL_APPEND(uplinks->list, adapter);

	attach(uplinks, adapter, &link);
	if (!adapter->info.is_loopback && !is_served(uplinks, adapter)) {
		r = errbuf_set(
			err, -EOPNOTSUPP, "%s: no eBPF on this device: XDP: %s; tc: %s", link.name,
			adapter->info.xdp_refused[0] ? adapter->info.xdp_refused : "not asked for",
			adapter->info.tc_refused[0] ? adapter->info.tc_refused
						    : "works, but was not asked for");
		ebpf_tc_detach(link.ifindex, programs->maps->config_id);
		ebpf_uplinks_close(uplinks);
		return r;
	}
	report_outcome(uplinks, adapter);
	*ret = uplinks;
	return 0;
}

void ebpf_uplinks_close(struct ebpf_uplinks *uplinks)
{
	struct uplink *uplink, *next;

	if (!uplinks)
		return;
	DL_FOREACH_SAFE (uplinks->list, uplink, next)
		free(uplink);
	free(uplinks);
}

void ebpf_uplinks_acquire(struct ebpf_uplinks *uplinks, int ifindex)
{
	struct uplink *uplink = find(uplinks, ifindex);
	struct net_link link;
	struct errbuf ignored;

	if (uplink) {
		uplink->users++;
		return;
	}
	if (net_link_by_index(uplinks->net, ifindex, &link, &ignored) < 0 ||
	    link.arphrd == ARPHRD_LOOPBACK)
		return;
	uplink = calloc(1, sizeof(*uplink));
	if (!uplink)
		return;
	uplink->users = 1;
	DL_APPEND(uplinks->list, uplink);
	attach(uplinks, uplink, &link);
	report_outcome(uplinks, uplink);
}

void ebpf_uplinks_release(struct ebpf_uplinks *uplinks, int ifindex)
{
	struct uplink *uplink = find(uplinks, ifindex);

	if (uplink && uplink->users && !--uplink->users)
		uplink->idle_s = 0;
}

/* ---- repair ---------------------------------------------------------------------------------- */

/* The device's present self: by name for the adapter (it may have been made anew), by index else.
 */
static bool look_up(const struct ebpf_uplinks *uplinks, const struct uplink *uplink,
		    struct net_link *ret)
{
	struct errbuf ignored;

	if (uplink == uplinks->list &&
	    net_link_by_index(uplinks->net, uplink->info.ifindex, ret, &ignored) < 0)
		return net_link_by_name(uplinks->net, uplink->info.name, ret, &ignored) == 0;
	return net_link_by_index(uplinks->net, uplink->info.ifindex, ret, &ignored) == 0;
}

static void verify_one(struct ebpf_uplinks *uplinks, struct uplink *uplink)
{
	const char *lost = NULL;
	struct net_link link;

	if (!look_up(uplinks, uplink, &link)) {
		if (uplink->info.present)
			report(uplinks, true, "uplink %s has gone", uplink->info.name);
		uplink->info.present = uplink->info.xdp = uplink->info.tc = false;
		return;
	}
	if (!uplink->info.present || link.ifindex != uplink->info.ifindex)
		lost = "has come back";
	else if (ebpf_xdp_hook_id(link.ifindex) != uplink->hook_id)
		lost = "had its XDP program changed by somebody";
	else if (uplink->info.xdp_refused[0] && link.mtu != uplink->mtu)
		lost = "has another MTU now";
	else if (!ebpf_tc_is_attached(uplinks->programs, link.ifindex) &&
		 (uplink->info.tc || !uplink->info.tc_refused[0]))
		lost = "had its tc program removed by somebody";
	snprintf(uplink->info.name, sizeof(uplink->info.name), "%s", link.name);
	if (!lost)
		return;
	if (link.arphrd != ARPHRD_LOOPBACK)
		report(uplinks, false, "uplink %s %s: attaching again", link.name, lost);
	attach(uplinks, uplink, &link);
	report_outcome(uplinks, uplink);
}

void ebpf_uplinks_verify(struct ebpf_uplinks *uplinks)
{
	uint64_t now_ms = uv_now(uplinks->loop);
	unsigned int passed_s = (unsigned int)((now_ms - uplinks->verified_ms) / 1000);
	struct uplink *uplink, *next;

	uplinks->verified_ms += passed_s * 1000ull;
	DL_FOREACH_SAFE (uplinks->list, uplink, next) {
		verify_one(uplinks, uplink);
		if (uplink->users)
			continue;
		uplink->idle_s += passed_s;
		if (uplink->info.present && uplink->idle_s < LINGER_S)
			continue;
		if (uplink->info.present)
			detach(uplinks, uplink);
		DL_DELETE(uplinks->list, uplink);
		free(uplink);
	}
}

void ebpf_uplinks_detach_strays(struct ebpf_uplinks *uplinks)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *one = all; one && one->if_index; one++) {
		if (find(uplinks, (int)one->if_index))
			continue;
		ebpf_xdp_detach((int)one->if_index, uplinks->programs->maps->config_id);
		ebpf_tc_detach((int)one->if_index, uplinks->programs->maps->config_id);
	}
	if_freenameindex(all);
}

void ebpf_uplinks_detach_everywhere(uint32_t config_id)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *one = all; one && one->if_index; one++) {
		ebpf_xdp_detach((int)one->if_index, config_id);
		ebpf_tc_detach((int)one->if_index, config_id);
	}
	if_freenameindex(all);
}

size_t ebpf_uplinks_list(const struct ebpf_uplinks *uplinks, struct ebpf_uplink_info *ret,
			 size_t max)
{
	const struct uplink *uplink;
	size_t count = 0;

	DL_FOREACH (uplinks->list, uplink) {
		if (count < max)
			ret[count] = uplink->info;
		count++;
	}
	return count;
}
