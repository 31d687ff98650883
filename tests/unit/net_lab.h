/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * net_lab: two network namespaces of the test's own, joined by a veth pair: this process is in the
 * first (device "eth0", 10.9.0.1/24, fd09::1/64), a child holds the second ("eth1", 10.9.0.2/24,
 * fd09::2/64). Both vanish with the test. For tests of what speaks to the kernel; they need root.
 */
#ifndef SLB_TESTS_NET_LAB_H
#define SLB_TESTS_NET_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "lib/addr.h"

/* For cmocka's group setup and teardown. Without root the tests of the group are skipped. */
int net_lab_open(void **state);
int net_lab_close(void **state);

/* Runs a shell command here, or in the other namespace; fails the test when it fails. */
void lab_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
void lab_peer(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Its exit status. */
int lab_try(const char *format, ...) __attribute__((format(printf, 1, 2)));
int lab_peer_try(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* (Re-)creates the pair, with addresses, up. */
void lab_wire(void);

/* The address of a device here ("eth0") or there ("eth1"). */
void lab_mac(const char *device, uint8_t mac[static 6]);

/* Does a host with this address refuse a connection from the other namespace? (Nothing listens.) */
bool lab_reaches(const char *text);

/* A packet socket on eth1, for everything; for close(). */
int lab_capture(void);
/* The next frame within the time; 0 when there is none. */
size_t lab_frame(int capture, uint8_t *frame, size_t size, int timeout_ms);
/* Sends a frame out of eth1. */
void lab_send(int capture, const uint8_t *frame, size_t size);

/* Turns the loop for so long. */
void lab_turn(uv_loop_t *loop, uint64_t ms);
/* Turns it until the condition holds; false after the time. */
bool lab_turn_until(uv_loop_t *loop, uint64_t ms, bool (*condition)(void *arg), void *arg);

struct addr lab_addr(const char *text);

#endif
