/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The eBPF datapath over the daemon's life: killed and started again, maps of another ABI, programs
 * and pins removed by others, devices that come and go, idle flows, purge. In a network namespace
 * of its own; root.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ebpf_lab.h"
#include "slb_abi.h"

static struct ebpf_lab lab;
static struct errbuf err;

#define assert_ok(expression)                                      \
	do {                                                       \
		err.text[0] = '\0';                                \
		if ((expression) < 0)                              \
			fail_msg("%s: %s", #expression, err.text); \
	} while (0)

static int apply(const struct load_balancer *lb)
{
	return lab.dp->ops->apply(lab.dp, lb, &err);
}

/* A daemon that applies lb and is killed: another process, which ends without any clean-up. */
static void live_and_die(const struct load_balancer *lb)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err) < 0 || apply(lb) < 0) {
			print_error("%s\n", err.text);
			_exit(1);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int purge(void **state)
{
	(void)state;
	if (lab.dp)
		ebpf_lab_close(&lab, false);
	return ebpf_purge(lab.pin_path, &err);
}

static void read_array(const char *name, uint32_t key, void *value)
{
	int fd = ebpf_lab_map(&lab, name);

	assert_int_equal(bpf_map_lookup_elem(fd, &key, value), 0);
	close(fd);
}

/* The entry of 10.91.0.100 port 80. */
static struct slb_service get_service(void)
{
	struct slb_service_key4 key = { .port = htons(80), .protocol = IPPROTO_TCP };
	struct slb_service service;
	struct addr vip;
	int fd = ebpf_lab_map(&lab, "services4");

	addr_parse("10.91.0.100", &vip);
	memcpy(&key.vip, vip.bytes, sizeof(key.vip));
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &service), 0);
	close(fd);
	return service;
}

static uint32_t xdp_id(const char *device)
{
	__u32 id = 0;

	bpf_xdp_query_id((int)if_nametoindex(device), 0, &id);
	return id;
}

/* ---- restart --------------------------------------------------------------------------------- */

static void a_killed_daemon_is_followed_without_change(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 3);
	struct slb_backend before[4], after;
	struct slb_config config_before, config_after;
	struct slb_service service_before, service_after;
	uint32_t program;

	(void)state;
	live_and_die(lb);
	program = xdp_id("dp0");
	assert_int_not_equal(program, 0); /* packets flow on */
	service_before = get_service();
	for (uint32_t id = 1; id < 4; id++)
		read_array("backends", id, &before[id]);
	read_array("config", 0, &config_before);

	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	assert_string_equal(ebpf_note(lab.dp), "");
	assert_int_not_equal(xdp_id("dp0"), program); /* exchanged */
	assert_int_not_equal(xdp_id("dp0"), 0);
	assert_ok(apply(lb));
	service_after = get_service(); /* its slots are where they were */
	assert_memory_equal(&service_before, &service_after, sizeof(service_before));
	for (uint32_t id = 1; id < 4; id++) {
		read_array("backends", id, &after);
		assert_memory_equal(&before[id], &after, sizeof(after));
	}
	read_array("config", 0, &config_after);
	assert_true(config_after.generation > config_before.generation);
	ebpf_lab_free(lb);
}

static void ids_stay_when_backends_changed_meanwhile(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 3);
	struct slb_backend backend;

	(void)state;
	live_and_die(lb);
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	/* The first backend is gone from the store, a fourth has come. */
	lb->backends[0] = lb->backends[2];
	lb->backend_count = 2;
	assert_ok(apply(lb));
	for (uint32_t id = 2; id < 4; id++) {
		read_array("backends", id, &backend);
		assert_int_equal(backend.type, SLB_BACKEND_MASQ);
		assert_int_equal(backend.uuid[0], id);
	}
	read_array("backends", 1, &backend);
	assert_int_equal(backend.type, SLB_BACKEND_NONE);
	assert_int_equal(backend.uuid[0], 1); /* remembered until its flows have gone */

	/* Killed again: the id of the deleted backend is still not given out. */
	ebpf_lab_close(&lab, true);
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	lb->backends[1].uuid[0] = 9;
	assert_ok(apply(lb));
	read_array("backends", 4, &backend);
	assert_int_equal(backend.uuid[0], 9);
	ebpf_lab_free(lb);
}

static bool is_even(void *arg, const uuid_t uuid)
{
	(void)arg;
	return uuid[0] % 2 == 0;
}

static void retain_removes_what_a_crash_left(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 2);
	struct load_balancer *kept = ebpf_lab_balancer(AF_INET, 2, 1);
	struct table_use tables[TABLES_MAX];

	(void)state;
	live_and_die(lb);
	live_and_die(kept);
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	lab.dp->ops->tables(lab.dp, tables);
	assert_int_equal(tables[5].entries, 2);
	assert_ok(apply(kept));
	assert_ok(lab.dp->ops->retain(lab.dp, is_even, NULL, &err));
	lab.dp->ops->tables(lab.dp, tables);
	assert_int_equal(tables[5].entries, 1);
	assert_int_equal(ebpf_lab_run("test $(bpftool map dump pinned %s/services4 -j | "
				      "grep -o '\"service_id\"' | wc -l) = 1",
				      lab.pin_path),
			 0);
	ebpf_lab_free(lb);
	ebpf_lab_free(kept);
}

static void another_abi_is_refused_untouched(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 1);
	struct slb_config config;
	uint32_t key = 0, program;
	int fd;

	(void)state;
	live_and_die(lb);
	program = xdp_id("dp0");
	read_array("config", 0, &config);
	config.abi_version += 7;
	fd = ebpf_lab_map(&lab, "config");
	assert_int_equal(bpf_map_update_elem(fd, &key, &config, BPF_ANY), 0);
	close(fd);
	assert_int_equal(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err), -EPROTO);
	assert_non_null(strstr(err.text, "slb purge"));
	assert_int_equal(xdp_id("dp0"), program);
	read_array("config", 0, &config);
	assert_int_equal(config.abi_version, SLB_ABI_VERSION + 7);
	ebpf_lab_free(lb);
}

static void purge_leaves_nothing(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 1);

	(void)state;
	live_and_die(lb);
	assert_int_equal(purge(NULL), 0);
	assert_int_equal(xdp_id("dp0"), 0);
	assert_int_not_equal(ebpf_lab_run("tc filter show dev dp0 ingress | grep slb_tc"), 0);
	assert_int_not_equal(ebpf_lab_run("ls %s | grep -v debug", lab.pin_path), 0);
	assert_int_equal(purge(NULL), 0); /* again: nothing to do */
	ebpf_lab_free(lb);
}

/* ---- repair ---------------------------------------------------------------------------------- */

static void what_others_remove_is_repaired(void **state)
{
	(void)state;
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	assert_int_equal(
		ebpf_lab_run("ip link set dev dp0 xdp off && tc qdisc del dev dp0 clsact && "
			     "rm %s/flows4",
			     lab.pin_path),
		0);
	assert_int_equal(xdp_id("dp0"), 0);
	ebpf_lab_wait_ms(&lab, 1500);
	assert_int_not_equal(xdp_id("dp0"), 0);
	assert_int_equal(ebpf_lab_run("tc filter show dev dp0 ingress | grep slb_tc"), 0);
	assert_int_equal(ebpf_lab_run("test -e %s/flows4", lab.pin_path), 0);
	assert_non_null(strstr(lab.reports, "attaching again"));
	assert_non_null(strstr(lab.reports, "pinned again"));
}

static int load_foreign_program(void)
{
	struct bpf_insn instructions[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K,
		  .dst_reg = BPF_REG_0,
		  .imm = 2 /* XDP_PASS */ },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign", "GPL", instructions, 2, NULL);
}

static void a_foreign_program_means_tc(void **state)
{
	struct ebpf_uplink_info uplink;
	int fd = load_foreign_program();
	uint32_t foreign;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(bpf_xdp_attach((int)if_nametoindex("dp0"), fd, XDP_FLAGS_DRV_MODE, NULL),
			 0);
	close(fd);
	foreign = xdp_id("dp0");
	assert_int_equal(ebpf_lab_open(&lab, EBPF_HOOK_XDP, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "foreign"));
	assert_int_not_equal(ebpf_lab_run("ls %s | grep -v debug", lab.pin_path), 0);

	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	assert_int_equal(xdp_id("dp0"), foreign);
	assert_int_equal(ebpf_uplinks_info(lab.dp, &uplink, 1), 1);
	assert_true(!uplink.xdp && uplink.tc);
	assert_non_null(strstr(uplink.xdp_refused, "foreign"));
	assert_string_equal(lab.dp->ops->name, "tc");

	/* When it goes, XDP is taken. */
	assert_int_equal(ebpf_lab_run("ip link set dev dp0 xdp off"), 0);
	ebpf_lab_wait_ms(&lab, 1500);
	ebpf_uplinks_info(lab.dp, &uplink, 1);
	assert_true(uplink.xdp);
	assert_string_equal(lab.dp->ops->name, "xdp");
}

/* True when the device's XDP programs (libxdp's own view) are so many of these names. */
static bool has_programs(int ours, int others)
{
	return ebpf_lab_run("s=$(xdp-loader status dp0); "
			    "test $(echo \"$s\" | grep -c slb_xdp) = %d && "
			    "test $(echo \"$s\" | grep -c xdpfilt) = %d",
			    ours, others) == 0;
}

/* Where the kernel has extension programs, slb lives beside others behind libxdp's dispatcher. */
static void a_dispatcher_is_shared(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 1);

	(void)state;
	ebpf_lab_run("mount -t bpf bpf /sys/fs/bpf"); /* libxdp pins there */
	ebpf_lab_run("xdp-loader load -m native dp0 /usr/lib/*/bpf/xdpfilt_alw_all.o");
	if (ebpf_lab_run("xdp-loader status dp0 | grep -q xdp_dispatcher") != 0) {
		ebpf_lab_run("ip link set dev dp0 xdp off");
		ebpf_lab_run("umount /sys/fs/bpf");
		ebpf_lab_free(lb);
		print_message("no extension programs on this kernel: no dispatcher\n");
		skip();
	}
	live_and_die(lb);
	assert_true(has_programs(1, 1));
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	assert_true(has_programs(1, 1)); /* ours replaced, the other left alone */
	ebpf_lab_close(&lab, false);
	assert_true(has_programs(0, 1));
	ebpf_lab_run("xdp-loader unload dp0 --all; umount /sys/fs/bpf");
	ebpf_lab_free(lb);
}

static void forced_hooks_are_kept_to(void **state)
{
	struct ebpf_uplink_info uplink;

	(void)state;
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_XDP_GENERIC, &err));
	ebpf_uplinks_info(lab.dp, &uplink, 1);
	assert_true(uplink.xdp && uplink.xdp_generic);
	assert_int_equal(ebpf_lab_run("ip link show dp0 | grep -q xdpgeneric"), 0);
	ebpf_lab_close(&lab, true);

	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_XDP, &err)); /* changes over */
	assert_int_not_equal(ebpf_lab_run("ip link show dp0 | grep -q xdpgeneric"), 0);
	assert_int_not_equal(xdp_id("dp0"), 0);
	ebpf_lab_close(&lab, true);

	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_TC, &err));
	assert_int_equal(xdp_id("dp0"), 0);
	assert_string_equal(lab.dp->ops->name, "tc");
}

/* ---- the network ----------------------------------------------------------------------------- */

static void uplinks_follow_routes(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 2);
	struct ebpf_uplink_info uplinks[3];
	struct slb_backend backend;
	struct slb_source source;
	struct addr dp1;

	(void)state;
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	addr_parse("10.92.0.9", &lb->backends[0].ip);
	addr_parse("10.93.0.9", &lb->backends[1].ip); /* no route yet */
	assert_ok(apply(lb));
	assert_int_equal(ebpf_uplinks_info(lab.dp, uplinks, 3), 2);
	assert_string_equal(uplinks[1].name, "dp1");
	assert_int_not_equal(xdp_id("dp1"), 0);
	read_array("backends", 2, &backend);
	assert_int_equal(backend.source_count, 0);

	assert_int_equal(ebpf_lab_run("ip route add 10.93.0.0/24 via 10.92.0.2 src 10.92.0.1"), 0);
	ebpf_lab_wait_ms(&lab, 200);
	read_array("backends", 2, &backend);
	assert_int_equal(backend.source_count, 1);
	read_array("sources", backend.source_first, &source);
	addr_parse("10.92.0.1", &dp1);
	assert_memory_equal(source.ip, dp1.bytes, sizeof(source.ip));

	/* The device is made anew. */
	assert_int_equal(ebpf_lab_run("ip link del dp1"), 0);
	ebpf_lab_wait_ms(&lab, 200);
	assert_int_equal(ebpf_lab_run("ip link add dp1 type veth peer name dp1p && "
				      "ip link set dp1 up && ip link set dp1p up && "
				      "ip addr add 10.92.0.1/24 dev dp1"),
			 0);
	ebpf_lab_wait_ms(&lab, 1500);
	assert_int_not_equal(xdp_id("dp1"), 0);
	ebpf_lab_free(lb);
}

static uint32_t generation(void)
{
	struct slb_config config;

	read_array("config", 0, &config);
	return config.generation;
}

static void a_neighbours_new_mac_makes_a_new_generation(void **state)
{
	uint32_t before;

	(void)state;
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	ebpf_lab_run("ip neigh replace 10.91.0.77 lladdr 02:00:00:00:00:01 dev dp0");
	ebpf_lab_wait_ms(&lab, 300);
	before = generation();
	ebpf_lab_run("ip neigh replace 10.91.0.77 lladdr 02:00:00:00:00:02 dev dp0");
	ebpf_lab_wait_ms(&lab, 200);
	assert_true(generation() > before);
	before = generation();
	ebpf_lab_run("ip neigh change 10.91.0.77 lladdr 02:00:00:00:00:02 nud stale dev dp0");
	ebpf_lab_wait_ms(&lab, 200);
	assert_int_equal(generation(), before); /* nothing that flows keep has changed */
	ebpf_lab_run("ip neigh del 10.91.0.77 dev dp0");
	ebpf_lab_wait_ms(&lab, 200);
	assert_true(generation() > before);
}

/* ---- flows ----------------------------------------------------------------------------------- */

/* Writes both directions of client port → backend 1, seen `idle_s` ago by the programs' clock. */
static void put_flow(uint16_t client_port, uint32_t now_s, uint32_t idle_s, uint8_t tcp,
		     uint8_t tcp_other, bool with_pair)
{
	struct slb_flow_key4 forward = {
		.saddr = 1, .daddr = 2, .sport = client_port, .dport = 80, .protocol = IPPROTO_TCP
	};
	struct slb_flow_key4 reply = {
		.saddr = 4, .daddr = 3, .sport = 8000, .dport = client_port, .protocol = IPPROTO_TCP
	};
	struct slb_flow4 to = { .saddr = 3, .daddr = 4 }, back = { .saddr = 2, .daddr = 1 };
	int fd = ebpf_lab_map(&lab, "flows4");

	to.common.sport = client_port;
	to.common.dport = 8000;
	back.common.sport = 80;
	back.common.dport = client_port;
	to.common.backend_id = back.common.backend_id = 1;
	to.common.seen_s = back.common.seen_s = now_s - idle_s;
	to.common.begun_s = back.common.begun_s = now_s - idle_s;
	to.common.tcp = tcp;
	back.common.tcp = tcp_other;
	back.common.flags = SLB_FLOW_REPLY;
	assert_int_equal(bpf_map_update_elem(fd, &forward, &to, BPF_ANY), 0);
	if (with_pair)
		assert_int_equal(bpf_map_update_elem(fd, &reply, &back, BPF_ANY), 0);
	close(fd);
}

/* How many of the two entries are there? */
static int has_flow(uint16_t client_port)
{
	struct slb_flow_key4 forward = {
		.saddr = 1, .daddr = 2, .sport = client_port, .dport = 80, .protocol = IPPROTO_TCP
	};
	struct slb_flow_key4 reply = {
		.saddr = 4, .daddr = 3, .sport = 8000, .dport = client_port, .protocol = IPPROTO_TCP
	};
	struct slb_flow4 value;
	int fd = ebpf_lab_map(&lab, "flows4");
	int found = (bpf_map_lookup_elem(fd, &forward, &value) == 0) +
		    (bpf_map_lookup_elem(fd, &reply, &value) == 0);

	close(fd);
	return found;
}

/* The programs' clock. */
static uint32_t programs_now_s(void)
{
	char frame[64] = { 0 };
	__u32 id = 0;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);

	while (bpf_prog_get_next_id(id, &id) == 0) {
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);
		int program = bpf_prog_get_fd_by_id(id);

		if (bpf_obj_get_info_by_fd(program, &info, &size) == 0 &&
		    strcmp(info.name, "slb_clock") == 0) {
			assert_int_equal(bpf_prog_test_run_opts(program, &options), 0);
			close(program);
			return options.retval;
		}
		close(program);
	}
	fail_msg("slb_clock is not loaded");
	return 0;
}

static void the_sweep_ends_idle_flows(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 1);
	struct slb_backend_state counted;
	struct table_use tables[TABLES_MAX];
	uint32_t now_s, key = 1;
	int fd;

	(void)state;
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	assert_ok(apply(lb));
	now_s = programs_now_s();
	fd = ebpf_lab_map(&lab, "backend_state");
	counted = (struct slb_backend_state){ .opened = 5 };
	assert_int_equal(bpf_map_update_elem(fd, &key, &counted, BPF_ANY), 0);
	close(fd);
	put_flow(1, now_s, 50, 0, 0, true);                     /* established: 100 s */
	put_flow(2, now_s, 150, 0, 0, true);                    /* too long */
	put_flow(3, now_s, 50, SLB_TCP_FIN, SLB_TCP_FIN, true); /* closed */
	put_flow(4, now_s, 50, 0, SLB_TCP_RST, true);           /* reset */
	put_flow(5, now_s, 50, SLB_TCP_FIN, 0, true);           /* half closed, 3 s */
	ebpf_lab_wait_ms(&lab, 7000);
	assert_int_equal(has_flow(1), 2);
	for (uint16_t port = 2; port <= 5; port++)
		assert_int_equal(has_flow(port), 0);
	lab.dp->ops->tables(lab.dp, tables);
	assert_string_equal(tables[0].name, "flows4");
	assert_int_equal(tables[0].entries, 2);
	read_array("backend_state", 1, &counted);
	assert_int_equal(counted.opened - counted.closed - counted.expired, 1);

	/* A deleted backend's flows end, however alive. */
	lb->backend_count = 0;
	assert_ok(apply(lb));
	ebpf_lab_wait_ms(&lab, 3000);
	assert_int_equal(has_flow(1), 0);
	ebpf_lab_free(lb);
}

static void a_full_table_refuses_new_flows(void **state)
{
	struct slb_config config;
	uint32_t now_s;

	(void)state;
	assert_ok(ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err));
	now_s = programs_now_s();
	for (uint16_t port = 1; port <= 2000; port++) /* 4000 entries of 4096 */
		put_flow(port, now_s, 0, SLB_TCP_FIN, SLB_TCP_FIN, true);
	ebpf_lab_wait_ms(&lab, 1500);
	read_array("config", 0, &config);
	assert_int_equal(config.flags & SLB_CONFIG_REFUSE_NEW4, SLB_CONFIG_REFUSE_NEW4);
	ebpf_lab_wait_ms(&lab, 5000); /* they are over after 2 s */
	read_array("config", 0, &config);
	assert_int_equal(config.flags & SLB_CONFIG_REFUSE_NEW4, 0);
}

int main(void)
{
#define LAB_TEST(name) cmocka_unit_test_teardown(name, purge)
	const struct CMUnitTest tests[] = {
		LAB_TEST(a_killed_daemon_is_followed_without_change),
		LAB_TEST(ids_stay_when_backends_changed_meanwhile),
		LAB_TEST(retain_removes_what_a_crash_left),
		LAB_TEST(another_abi_is_refused_untouched),
		LAB_TEST(purge_leaves_nothing),
		LAB_TEST(what_others_remove_is_repaired),
		LAB_TEST(a_foreign_program_means_tc),
		LAB_TEST(a_dispatcher_is_shared),
		LAB_TEST(forced_hooks_are_kept_to),
		LAB_TEST(uplinks_follow_routes),
		LAB_TEST(a_neighbours_new_mac_makes_a_new_generation),
		LAB_TEST(the_sweep_ends_idle_flows),
		LAB_TEST(a_full_table_refuses_new_flows),
	};
	int failed;

	if (!ebpf_lab_enter(&lab)) {
		print_message("skipped: needs root\n");
		return 0;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	ebpf_lab_leave(&lab);
	return failed;
}
