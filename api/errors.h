/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * errors: one table from what went wrong to what HTTP says about it, and the body of such an
 * answer:
 * {"error":{"code","message","field"}}.
 */
#ifndef SLB_API_ERRORS_H
#define SLB_API_ERRORS_H

#include "api/text.h"
#include "lib/errbuf.h"

/* Errors of HTTP itself, beside errno: beyond the largest errno a kernel returns, so that nothing
 * below the API can be taken for one of them. */
enum {
	API_EMETHOD = 5001, /* 405: the route has other methods */
	API_ETOOLARGE,      /* 413: the body */
	API_EURILENGTH,     /* 414: the path */
	API_EFORBIDDEN,     /* 403: asked for by a web page */
};

/* The HTTP status for a negative errno or API_E…; unknown ones are 500. */
unsigned int api_error_status(int error);

/* Adds the body of the answer, with a final newline. */
void api_error_write(struct text *text, int error, const struct errbuf *err);

#endif
