/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * origin: is a change asked for by a web page? A page that an operator happens to look at can make
 * the browser send a POST to a node the browser reaches (and the API reads a form as JSON), so
 * whoever wrote the page would change load balancers (cross-site request forgery). Browsers name
 * the page's origin in every such request (Fetch standard, "Origin header"); curl and other
 * programs do not.
 */
#ifndef SLB_API_ORIGIN_H
#define SLB_API_ORIGIN_H

#include <microhttpd.h>

#include "lib/errbuf.h"

/* 0, or -API_EFORBIDDEN for a method that changes something in a request with an Origin. */
int origin_check(struct MHD_Connection *connection, const char *method, struct errbuf *err);

#endif
