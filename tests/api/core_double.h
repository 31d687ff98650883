/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core_double: core.h without store, datapath and network, for tests of the API alone. Everything
 * is kept in memory. What a request's name says is done, so that a test can have any outcome by
 * curl:
 *
 *   "late 200"          answered after 200 ms
 *   "hold …"            answered when a load balancer named "release" is created
 *   "fail ENOSPC text"  fails with this errno and text (created, and on update too)
 *
 * For backends the same by the name of their load balancer, once that has been updated to it.
 */
#ifndef SLB_TESTS_API_CORE_DOUBLE_H
#define SLB_TESTS_API_CORE_DOUBLE_H

#include "core/core.h"

/* late: everything is answered in a later turn of the loop, else before the call returns. */
struct core *core_double_new(uv_loop_t *loop, bool late);

/* Changes not answered yet are answered -ECANCELED. */
void core_double_free(struct core *core);

/* Adds load balancers with backends. */
void core_double_populate(struct core *core, size_t load_balancers, size_t backends);

#endif
