/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What bpf(2) gives: program types, map types and helpers by libbpf's probes, which load each of
 * them; atomic instructions, tcx and clsact by trying. Called by probe.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/magic.h>

#include "datapath/bpf_messages.h"
#include "datapath/probe_internal.h"

/* enum bpf_attach_type since Linux 6.6; older headers lack it. */
#define ATTACH_TCX_INGRESS 46
#define LOOPBACK_IFINDEX   1 /* in every network namespace */

int probe_bpf(struct errbuf *err)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, sizeof(int), sizeof(int), 1, NULL);
	int error = errno;

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (error == ENOSYS)
		return errbuf_set(err, -ENOSYS, "this kernel has no eBPF (bpf(2): %s)",
				  strerror(error));
	return errbuf_set(err, -error, "eBPF is forbidden here (bpf(2): %s)", strerror(error));
}

/* ---- types and helpers */

static const struct {
	const char *name;
	enum bpf_prog_type type;
	const char *consequence;
} program_types[] = {
	{ "program type xdp", BPF_PROG_TYPE_XDP, "no device gets xdp" },
	{ "program type sched_cls", BPF_PROG_TYPE_SCHED_CLS, "no device gets tc" },
};

static const struct {
	const char *name;
	enum bpf_map_type type;
} map_types[] = {
	{ "map type hash", BPF_MAP_TYPE_HASH },
	{ "map type lru_hash", BPF_MAP_TYPE_LRU_HASH },
	{ "map type percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY },
	{ "map type array_of_maps", BPF_MAP_TYPE_ARRAY_OF_MAPS },
};

/* The helpers that came last into the kernel, of those slb cannot do without. */
static const struct {
	const char *name;
	enum bpf_prog_type type;
	enum bpf_func_id helper;
} helpers[] = {
	{ "helper fib_lookup", BPF_PROG_TYPE_XDP, BPF_FUNC_fib_lookup },
	{ "helper spin_lock", BPF_PROG_TYPE_XDP, BPF_FUNC_spin_lock },
	{ "helper jiffies64", BPF_PROG_TYPE_XDP, BPF_FUNC_jiffies64 },
	{ "helper l4_csum_replace", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_l4_csum_replace },
};

#define NEWER_KERNEL "a kernel of 5.10 or newer has it"

/* libbpf's answer (1, 0 or a negative errno) as a finding; the first lack is kept in *lack. */
static bool add_answer(struct probe *probe, const char *name, int answer, const char *consequence,
		       char lack[static ERRBUF_SIZE])
{
	int error = answer > 0 ? 0 : answer == 0 ? -EOPNOTSUPP : answer;
	char reason[ERRBUF_SIZE];

	snprintf(reason, sizeof(reason), "%s",
		 error == 0    ? "loaded"
		 : answer == 0 ? "the kernel does not take it"
			       : strerror(-error));
	probe_add_result(probe, name, error, reason, consequence, NEWER_KERNEL);
	if (error != 0 && lack[0] == '\0')
		snprintf(lack, ERRBUF_SIZE, "%s: %s", name, reason);
	return error == 0;
}

static void ask_types(struct probe *probe)
{
	char *lacks[] = { probe->xdp_refused, probe->tc_refused };
	char common[ERRBUF_SIZE] = "";

	for (size_t i = 0; i < 2; i++)
		add_answer(probe, program_types[i].name,
			   libbpf_probe_bpf_prog_type(program_types[i].type, NULL),
			   program_types[i].consequence, lacks[i]);
	for (size_t i = 0; i < sizeof(map_types) / sizeof(*map_types); i++)
		add_answer(probe, map_types[i].name,
			   libbpf_probe_bpf_map_type(map_types[i].type, NULL),
			   "neither xdp nor tc works", common);
	for (size_t i = 0; i < sizeof(helpers) / sizeof(*helpers); i++)
		add_answer(probe, helpers[i].name,
			   libbpf_probe_bpf_helper(helpers[i].type, helpers[i].helper, NULL),
			   "neither xdp nor tc works", common);
	for (size_t i = 0; i < 2; i++) {
		if (lacks[i][0] == '\0')
			memcpy(lacks[i], common, sizeof(common));
	}
}

/* ---- what makes a difference, but is not needed */

static void ask_dispatcher(struct probe *probe)
{
	int answer = libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_EXT, NULL);
	int error = answer > 0 ? 0 : answer == 0 ? -EPERM : answer;

	probe_add_result(probe, "XDP dispatcher", error,
			 error == 0 ? "programs of type ext are taken: libxdp's dispatcher works"
				    : "programs of type ext are not taken",
			 "slb's XDP program is the only one on its device",
			 "matters only beside XDP programs of others");
}

/* r0 = 1; stack = 0; fetch-and-add of r0; exit */
static void ask_atomic_fetch(struct probe *probe)
{
	const struct bpf_insn program[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10, .off = -8, .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW,
		  .dst_reg = BPF_REG_10,
		  .src_reg = BPF_REG_0,
		  .off = -8,
		  .imm = BPF_ADD | BPF_FETCH },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "slb_probe", "GPL", program,
			       sizeof(program) / sizeof(*program), NULL);
	int error = fd < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	probe_add_result(probe, "atomic fetch", error, error == 0 ? "loaded" : strerror(-error),
			 "none: slb's programs take a lock instead", "Linux 5.12 or newer has it");
}

static void ask_tcx(struct probe *probe)
{
	__u32 ids[64], count = 64;
	int r = bpf_prog_query(LOOPBACK_IFINDEX, ATTACH_TCX_INGRESS, 0, NULL, ids, &count);

	probe_add_result(probe, "tcx", r, r == 0 ? "the kernel lists its programs" : strerror(-r),
			 "none: tc is attached as a clsact filter", "Linux 6.6 or newer has it");
}

static void ask_clsact(struct probe *probe)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = LOOPBACK_IFINDEX,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int r;

	bpf_messages_clear();
	r = bpf_tc_hook_create(&hook);
	probe_add_result(probe, "clsact", r,
			 r == 0 ? "created in a network namespace" : bpf_messages_or(r),
			 "no device gets tc",
			 "module sch_ingress (CONFIG_NET_SCH_INGRESS) must be there");
	if (r < 0 && probe->tc_refused[0] == '\0')
		snprintf(probe->tc_refused, ERRBUF_SIZE, "clsact: %s", strerror(-r));
}

static void ask_btf(struct probe *probe)
{
	int error = access("/sys/kernel/btf/vmlinux", R_OK) < 0 ? -errno : 0;

	probe_add_result(probe, "BTF of the kernel", error,
			 error == 0 ? "/sys/kernel/btf/vmlinux" : strerror(-error),
			 "none: slb's programs do not need it",
			 "CONFIG_DEBUG_INFO_BTF; libxdp's dispatcher may need it");
}

static void ask_bpffs(struct probe *probe)
{
	struct statfs info;
	bool there =
		statfs("/sys/fs/bpf", &info) == 0 && (unsigned long)info.f_type == BPF_FS_MAGIC;

	probe_add_result(probe, "bpf file system", there ? 0 : -ENOENT,
			 there ? "mounted on /sys/fs/bpf" : "not mounted on /sys/fs/bpf",
			 "`slb server` mounts one there", "mount -t bpf bpf /sys/fs/bpf");
}

/* Maps count against it up to Linux 5.10. libbpf raises it when it must and may. */
static void ask_memlock(struct probe *probe)
{
	const struct rlimit wanted = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit now = { 0 };
	char reason[96];
	int error = 0;

	getrlimit(RLIMIT_MEMLOCK, &now);
	if (now.rlim_cur != RLIM_INFINITY && setrlimit(RLIMIT_MEMLOCK, &wanted) < 0)
		error = -errno;
	else
		setrlimit(RLIMIT_MEMLOCK, &now);
	if (now.rlim_cur == RLIM_INFINITY)
		snprintf(reason, sizeof(reason), "unlimited");
	else
		snprintf(reason, sizeof(reason), "%llu KiB%s",
			 (unsigned long long)now.rlim_cur / 1024,
			 error == 0 ? ", may be raised" : ", may not be raised");
	probe_add_result(probe, "RLIMIT_MEMLOCK", error, reason,
			 "up to Linux 5.10 slb makes its tables as small as the limit wants",
			 "LimitMEMLOCK=infinity in the systemd unit, or CAP_SYS_RESOURCE");
}

void probe_ask_bpf(struct probe *probe)
{
	struct errbuf err;
	int r = probe_bpf(&err);

	probe_add_result(probe, "bpf(2)", r, r == 0 ? "makes a map" : err.text,
			 "no eBPF: IPVS is what is left",
			 r == -ENOSYS
				 ? "a kernel with CONFIG_BPF_SYSCALL"
				 : "start slb as root; look for seccomp, LSM or container policy");
	if (r < 0) {
		memcpy(probe->xdp_refused, err.text, ERRBUF_SIZE);
		memcpy(probe->tc_refused, err.text, ERRBUF_SIZE);
	} else {
		ask_memlock(probe);
		ask_types(probe);
		ask_dispatcher(probe);
		ask_atomic_fetch(probe);
		ask_tcx(probe);
		probe_in_new_namespace(ask_clsact, probe);
		ask_btf(probe);
		ask_bpffs(probe);
	}
	probe->xdp_works = probe->xdp_refused[0] == '\0';
	probe->tc_works = probe->tc_refused[0] == '\0';
}
