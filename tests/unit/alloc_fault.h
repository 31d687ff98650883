/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Makes allocations of slb's own code (and of the test) fail: the unit tests are linked with --wrap
 * for malloc and its kin. Libraries' own allocations are not touched.
 */
#ifndef SLB_TESTS_ALLOC_FAULT_H
#define SLB_TESTS_ALLOC_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the n-th allocation (1 = the next) of this thread fails, once. 0: none. */
void alloc_fault_set(size_t n);

/* True when it has come to that since alloc_fault_set(). */
bool alloc_fault_hit(void);

/* Suspends (true) and resumes (false) counting, for what is not under test. */
void alloc_fault_pause(bool paused);

#endif
