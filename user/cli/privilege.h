/* SPDX-License-Identifier: GPL-2.0-only */
/* privilege: may this process do what slb does? Asked before anything is changed. */
#ifndef SLB_CLI_PRIVILEGE_H
#define SLB_CLI_PRIVILEGE_H

#include "lib/errbuf.h"

/* 0, or -EPERM with a sentence that names every capability missing (capabilities(7)). */
int privilege_check(struct errbuf *err);

#endif
