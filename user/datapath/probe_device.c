/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device takes: native XDP is tried with a program that passes everything on. Called by
 * cli/doctor.c only: `slb server` knows from its own programs.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "datapath/bpf_messages.h"
#include "datapath/probe_internal.h"

/* Programs that share a device with slb's, or are slb's own. */
#define DISPATCHER_NAME "xdp_dispatcher"
#define OWN_NAME        "slb_xdp"

static void program_name(uint32_t id, char ret[static BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		snprintf(info.name, sizeof(info.name), "?");
	memcpy(ret, info.name, BPF_OBJ_NAME_LEN);
	if (fd >= 0)
		close(fd);
}

/* What is on the hook already decides. */
static int judge_attached(uint32_t id, char reason[static ERRBUF_SIZE])
{
	char name[BPF_OBJ_NAME_LEN];

	program_name(id, name);
	if (strcmp(name, OWN_NAME) == 0) {
		snprintf(reason, ERRBUF_SIZE, "slb's own program (id %u) is on it", id);
		return 0;
	}
	if (strcmp(name, DISPATCHER_NAME) == 0) {
		snprintf(reason, ERRBUF_SIZE, "libxdp's dispatcher (id %u) is on it", id);
		return 0;
	}
	snprintf(reason, ERRBUF_SIZE,
		 "another XDP program (%s, id %u) is on it and shares it with none", name, id);
	return -EBUSY;
}

/* Attaches and detaches a program that passes everything on. */
static int try_native(int ifindex, char reason[static ERRBUF_SIZE])
{
	const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "slb_probe", "GPL", pass, 2, NULL);
	int r = fd < 0 ? -errno : 0;

	bpf_messages_clear();
	if (r == 0) {
		LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = fd);

		r = bpf_xdp_attach(ifindex, fd, XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST,
				   NULL);
		snprintf(reason, ERRBUF_SIZE, "%s", r == 0 ? "attached" : bpf_messages_or(r));
		if (r == 0)
			bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options);
	} else {
		snprintf(reason, ERRBUF_SIZE, "%s", strerror(-r));
	}
	if (fd >= 0)
		close(fd);
	return r;
}

static void add_reason(struct probed_device *device, const char *datapath, const char *reason)
{
	if (device->reason_count < PROBE_REASONS_MAX)
		snprintf(device->reasons[device->reason_count++], ERRBUF_SIZE, "%s: %.400s",
			 datapath, reason);
}

static void choose(const struct probe *probe, struct probed_device *device)
{
	if (probe->tc_works) {
		device->datapath = "tc";
		return;
	}
	add_reason(device, "tc", probe->tc_refused);
	device->datapath = probe->ipvs_works ? "ipvs" : "none";
	if (!probe->ipvs_works)
		add_reason(device, "ipvs", probe->ipvs_refused);
}

static void probe_one(struct probe *probe, const char *name, int ifindex, bool is_ethernet)
{
	struct probed_device *device = &probe->devices[probe->device_count];
	char finding[64], reason[ERRBUF_SIZE];
	uint32_t id = 0;
	int r;

	if (probe->device_count == PROBE_DEVICES_MAX)
		return;
	probe->device_count++;
	*device = (struct probed_device){ .datapath = "xdp" };
	snprintf(device->name, sizeof(device->name), "%s", name);
	if (!probe->xdp_works) {
		add_reason(device, "xdp", probe->xdp_refused);
		choose(probe, device);
		return;
	}
	if (!is_ethernet) {
		snprintf(reason, sizeof(reason), "the device has no Ethernet header");
		r = -EOPNOTSUPP;
	} else if (bpf_xdp_query_id(ifindex, 0, &id) == 0 && id != 0) {
		r = judge_attached(id, reason);
	} else {
		r = try_native(ifindex, reason);
	}
	snprintf(finding, sizeof(finding), "native XDP on %s", name);
	probe_add_result(probe, finding, r, reason, "the device gets the next step, tc",
			 r == -EBUSY
				 ? "remove that program, or attach it by libxdp"
				 : "a driver with XDP; a smaller MTU; `ethtool -K DEV lro off`");
	if (r == 0)
		return;
	add_reason(device, "xdp", reason);
	choose(probe, device);
}

int probe_devices(struct probe *probe, const char *name, struct errbuf *err)
{
	struct ifaddrs *all;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return errbuf_set(err, -errno, "cannot list devices: %s", strerror(errno));
	for (const struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
		const struct sockaddr_ll *link = (const struct sockaddr_ll *)one->ifa_addr;

		if (link == NULL || link->sll_family != AF_PACKET ||
		    link->sll_hatype == ARPHRD_LOOPBACK)
			continue;
		if (name != NULL ? strcmp(name, one->ifa_name) != 0
				 : link->sll_hatype != ARPHRD_ETHER || !(one->ifa_flags & IFF_UP))
			continue;
		found = true;
		probe_one(probe, one->ifa_name, link->sll_ifindex,
			  link->sll_hatype == ARPHRD_ETHER);
	}
	freeifaddrs(all);
	if (name != NULL && !found)
		return errbuf_set(err, -ENODEV, "there is no device %s (see `ip link`)", name);
	return 0;
}
