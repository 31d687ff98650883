/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/origin.h"

#include <stdbool.h>
#include <string.h>

#include "api/errors.h"

/* RFC 9110, 9.2.1: safe methods. */
static bool changes_nothing(const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ||
	       strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0;
}

int origin_check(struct MHD_Connection *connection, const char *method, struct errbuf *err)
{
	if (changes_nothing(method) || MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
								   MHD_HTTP_HEADER_ORIGIN) == NULL)
		return 0;
	return errbuf_set(err, -API_EFORBIDDEN,
			  "web pages may not change load balancers; send the request without an "
			  "Origin header, as curl does");
}
