/* SPDX-License-Identifier: GPL-2.0-only */
#include "ebpf_lab.h"

#include <bpf/bpf.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int ebpf_lab_run(const char *format, ...)
{
	char command[512], quiet[600];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(quiet, sizeof(quiet), "{ %s; } >/dev/null 2>&1", command);
	return system(quiet);
}

bool ebpf_lab_enter(struct ebpf_lab *lab)
{
	memset(lab, 0, sizeof(*lab));
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		return false;
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	snprintf(lab->pin_path, sizeof(lab->pin_path), "/tmp/slb-ebpf-XXXXXX");
	return mkdtemp(lab->pin_path) &&
	       ebpf_lab_run(
		       "ip link set lo up && ip link add dp0 type veth peer name dp0p && "
		       "ip link add dp1 type veth peer name dp1p && "
		       "for d in dp0 dp0p dp1 dp1p; do ip link set $d up; done; "
		       "ip addr add 10.91.0.1/24 dev dp0 && ip addr add 10.92.0.1/24 dev dp1 && "
		       "ip addr add fd91::1/64 dev dp0 nodad") == 0;
}

void ebpf_lab_leave(struct ebpf_lab *lab)
{
	umount2(lab->pin_path, MNT_DETACH);
	rmdir(lab->pin_path);
}

static void keep_report(void *arg, bool trouble, const char *sentence)
{
	struct ebpf_lab *lab = arg;
	size_t length = strlen(lab->reports);

	snprintf(lab->reports + length, sizeof(lab->reports) - length, "%s%s\n",
		 trouble ? "trouble: " : "", sentence);
}

int ebpf_lab_open(struct ebpf_lab *lab, enum ebpf_hook hook, struct errbuf *err)
{
	static const struct flow_timeouts timeouts = {
		.tcp_established_s = 100,
		.tcp_syn_s = 2,
		.tcp_fin_s = 3,
		.tcp_time_wait_s = 2,
		.tcp_close_s = 1,
		.udp_s = 2,
		.udp_stream_s = 5,
	};
	struct ebpf_config config = {
		.loop = &lab->loop,
		.adapter = "dp0",
		.pin_path = lab->pin_path,
		.sizes = { .load_balancers = 8,
			   .backends = 32,
			   .sources = 16,
			   .slots = 256 << 10,
			   .flows4 = 4096,
			   .flows6 = 4096,
			   .half_open = 1024 },
		.timeouts = &timeouts,
		.hook = hook,
		.sweep_ms = lab->sweep_ms,
		.report = keep_report,
		.report_arg = lab,
	};
	int r;

	lab->dp = NULL;
	lab->reports[0] = '\0';
	uv_loop_init(&lab->loop);
	r = net_open(&lab->loop, &lab->net, err);
	if (r == 0) {
		config.net = lab->net;
		r = ebpf_open(&config, &lab->dp, err);
	}
	if (r < 0)
		ebpf_lab_close(lab, true);
	return r;
}

void ebpf_lab_close(struct ebpf_lab *lab, bool keep)
{
	ebpf_close(lab->dp, keep);
	net_close(lab->net);
	lab->dp = NULL;
	lab->net = NULL;
	uv_run(&lab->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&lab->loop) != 0)
		abort(); /* a handle was left */
}

static void stop_waiting(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

void ebpf_lab_wait_ms(struct ebpf_lab *lab, unsigned int ms)
{
	uv_timer_t timer;

	uv_timer_init(&lab->loop, &timer);
	uv_update_time(&lab->loop);
	uv_timer_start(&timer, stop_waiting, ms, 0);
	uv_run(&lab->loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&lab->loop, UV_RUN_NOWAIT);
}

int ebpf_lab_map(const struct ebpf_lab *lab, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", lab->pin_path, name);
	return bpf_obj_get(path);
}

struct load_balancer *ebpf_lab_balancer(int family, uint8_t number, size_t backend_count)
{
	struct load_balancer *lb = calloc(1, sizeof(*lb));

	memset(lb->uuid, number, sizeof(lb->uuid));
	addr_parse(family == AF_INET6 ? "fd91::100" : "10.91.0.100", &lb->vip);
	lb->port = (uint16_t)(79 + number);
	lb->protocol = PROTOCOL_TCP;
	lb->source_nat = true;
	lb->backends = calloc(backend_count + 1, sizeof(*lb->backends));
	lb->backend_count = backend_count;
	for (size_t i = 0; i < backend_count; i++) {
		struct backend *backend = &lb->backends[i];

		memset(backend->uuid, number, sizeof(backend->uuid));
		backend->uuid[0] = (uint8_t)(i + 1);
		addr_parse(family == AF_INET6 ? "fd91::10" : "10.91.0.10", &backend->ip);
		for (size_t n = 0; n <= i; n++)
			addr_next(&backend->ip);
		backend->port = 8000;
		backend->weight = 1;
	}
	return lb;
}

void ebpf_lab_free(struct load_balancer *lb)
{
	free(lb->backends);
	free(lb);
}
