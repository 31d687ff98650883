/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/errors.h"

#include <errno.h>

struct api_error {
	int error;
	unsigned int status; /* RFC 9110, 15; 507 is from RFC 4918 */
	const char *code;
};

static const struct api_error api_errors[] = {
	{ EBADMSG, 400, "bad_request" },     { API_EFORBIDDEN, 403, "forbidden" },
	{ ENOENT, 404, "not_found" },        { API_EMETHOD, 405, "method_not_allowed" },
	{ EADDRINUSE, 409, "conflict" },     { EEXIST, 409, "conflict" },
	{ API_ETOOLARGE, 413, "too_large" }, { API_EURILENGTH, 414, "uri_too_long" },
	{ EINVAL, 422, "invalid" },          { ENOTSUP, 422, "unsupported" },
	{ EROFS, 503, "unavailable" },       { EBUSY, 503, "unavailable" },
	{ EIO, 503, "unavailable" },         { ETIMEDOUT, 503, "unavailable" },
	{ ECANCELED, 503, "unavailable" },   { ENOMEM, 503, "unavailable" },
	{ ENOSPC, 507, "exhausted" },
};

static const struct api_error unknown_error = { 0, 500, "internal" };

static const struct api_error *find(int error)
{
	for (size_t i = 0; i < sizeof(api_errors) / sizeof(*api_errors); i++) {
		if (api_errors[i].error == -error)
			return &api_errors[i];
	}
	return &unknown_error;
}

unsigned int api_error_status(int error)
{
	return find(error)->status;
}

void api_error_write(struct text *text, int error, const struct errbuf *err)
{
	text_print(text, "{\"error\":{\"code\":\"%s\",\"message\":", find(error)->code);
	text_json_string(text, err->text);
	text_print(text, ",\"field\":");
	if (err->field != NULL)
		text_json_string(text, err->field);
	else
		text_print(text, "null");
	text_print(text, "}}\n");
}
