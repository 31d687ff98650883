/* SPDX-License-Identifier: GPL-2.0-only */
/* What the system's policy says, and what IPVS would need. Called by probe.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "datapath/ipvs_netlink.h"
#include "datapath/masquerade.h"
#include "datapath/probe_internal.h"

/* The first line of a small file. */
static int read_line(const char *path, char *ret, int size)
{
	FILE *file = fopen(path, "re");
	int error = file == NULL ? -errno : 0;

	if (file != NULL && fgets(ret, size, file) == NULL)
		error = -EIO;
	if (file != NULL)
		fclose(file);
	if (error == 0)
		ret[strcspn(ret, "\n")] = '\0';
	return error;
}

/* Says only who may use bpf(2) without privilege; slb has it, or bpf(2) above is refused. */
static void ask_unprivileged(struct probe *probe)
{
	char value[8], reason[64];

	if (read_line("/proc/sys/kernel/unprivileged_bpf_disabled", value, sizeof(value)) < 0)
		return;
	snprintf(reason, sizeof(reason), "kernel.unprivileged_bpf_disabled is %s", value);
	probe_add(probe, "unprivileged eBPF", CAPABILITY_OK, reason,
		  "none: slb does not rely on it", "");
}

/* Documentation: kernel_lockdown(7). */
static void ask_lockdown(struct probe *probe)
{
	char line[96], reason[128];

	if (read_line("/sys/kernel/security/lockdown", line, sizeof(line)) < 0)
		return;
	snprintf(reason, sizeof(reason), "/sys/kernel/security/lockdown: %s", line);
	probe_add(probe, "lockdown", CAPABILITY_OK, reason,
		  "none: slb's programs read no memory of the kernel", "");
}

static void ask_proc_sys(struct probe *probe)
{
	int error = access("/proc/sys/net/ipv4/ip_forward", W_OK) < 0 ? -errno : 0;

	probe_add_result(probe, "kernel settings", error,
			 error == 0 ? "/proc/sys/net may be written" : strerror(-error),
			 "slb starts only where all settings are right already",
			 "mount /proc/sys writable, or set net.ipv4.ip_forward=1 on the host");
}

static void ask_masquerade(struct probe *probe)
{
	struct masquerade *masquerade;
	struct errbuf err;
	int r = masquerade_open(&masquerade, &err);

	if (r < 0) {
		probe_add_result(probe, "masquerading", r, err.text, "IPVS cannot be used",
				 "install nftables or iptables");
		snprintf(probe->ipvs_refused, ERRBUF_SIZE, "%s", err.text);
		return;
	}
	probe_add_result(probe, "nftables",
			 strcmp(masquerade_name(masquerade), "nftables") == 0 ? 0 : -ENOENT,
			 masquerade_nft_refused(masquerade)[0] != '\0'
				 ? masquerade_nft_refused(masquerade)
				 : "makes a table in a network namespace",
			 "IPVS masquerades by iptables", "install nftables");
	masquerade_close(masquerade, false);
}

static void ask_ipvs(struct probe *probe)
{
	struct ipvs_netlink *netlink = NULL;
	struct errbuf err;
	int r = ipvs_netlink_open(&netlink, &err);

	probe_add_result(probe, "IPVS", r, r == 0 ? "the kernel answers" : err.text,
			 "no datapath is left where eBPF does not work",
			 "a kernel with CONFIG_IP_VS, or its module");
	if (r < 0)
		snprintf(probe->ipvs_refused, ERRBUF_SIZE, "%s", err.text);
	ipvs_netlink_close(netlink);
}

void probe_ask_system(struct probe *probe)
{
	ask_unprivileged(probe);
	ask_lockdown(probe);
	ask_proc_sys(probe);
	ask_ipvs(probe);
	probe_in_new_namespace(ask_masquerade, probe);
	probe->ipvs_works = probe->ipvs_refused[0] == '\0';
}
