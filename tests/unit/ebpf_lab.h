/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ebpf_lab: a network and a bpf file system of the test process's own, with veth devices, and the
 * eBPF datapath opened in it. All of it goes with the process.
 *
 *   dp0 10.91.0.1/24, fd91::1/64   the adapter
 *   dp1 10.92.0.1/24               another device, for backends of its own
 */
#ifndef SLB_TESTS_EBPF_LAB_H
#define SLB_TESTS_EBPF_LAB_H

#include "datapath/ebpf.h"

struct ebpf_lab {
	char pin_path[64];
	uv_loop_t loop;
	struct net *net;
	struct datapath *dp;
	unsigned int sweep_ms; /* for ebpf_lab_open(); 0: the default */
	char reports[4096];    /* what was reported, a line each */
};

/* False when the process may not make namespaces (not root): the tests are to be skipped. */
bool ebpf_lab_enter(struct ebpf_lab *lab);
void ebpf_lab_leave(struct ebpf_lab *lab);

/* Runs a shell command, quietly; its exit status. */
int ebpf_lab_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens with small tables and quick timeouts. 0 or what ebpf_open() says. */
int ebpf_lab_open(struct ebpf_lab *lab, enum ebpf_hook hook, struct errbuf *err);
/* Closes datapath and net and lets the loop run dry. */
void ebpf_lab_close(struct ebpf_lab *lab, bool keep);
/* Turns the loop for so long. */
void ebpf_lab_wait_ms(struct ebpf_lab *lab, unsigned int ms);

/* Descriptor of a pinned map, for close(). */
int ebpf_lab_map(const struct ebpf_lab *lab, const char *name);

/* A load balancer 10.91.0.100:80/tcp (or fd91::100) with n backends 10.91.0.11:8000 …; uuids follow
 * from `number`. For ebpf_lab_free(). */
struct load_balancer *ebpf_lab_balancer(int family, uint8_t number, size_t backend_count);
void ebpf_lab_free(struct load_balancer *lb);

#endif
