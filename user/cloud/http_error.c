/* SPDX-License-Identifier: GPL-2.0-only */
#include "cloud/http_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REASON_SIZE 256 /* as much of a server's own words as is passed on */

/* Adds `text` as far as there is room, without its control characters, ending it between characters
 * (UTF-8: RFC 3629). */
static void append_text(char *to, size_t size, const char *text)
{
	size_t used = strlen(to);

	while (*text != '\0' && used + 1 < size) {
		unsigned char byte = (unsigned char)*text++;

		to[used++] = byte < 0x20 || byte == 0x7f ? ' ' : (char)byte;
	}
	if (*text != '\0') {
		while (used > 0 && ((unsigned char)to[used - 1] & 0xc0) == 0x80)
			used--;
		if (used > 0 && ((unsigned char)to[used - 1] & 0x80) != 0)
			used--;
	}
	to[used] = '\0';
}

/* {"error":"…"}, {"errors":["…", …]}; empty when it is neither. */
static void reason_of(const char *body, size_t body_bytes, char reason[static REASON_SIZE])
{
	json_t *json = json_loadb(body, body_bytes, 0, NULL);
	const json_t *errors = json_object_get(json, "errors"), *item;
	const char *text = json_string_value(json_object_get(json, "error"));
	size_t i;

	reason[0] = '\0';
	if (text != NULL)
		append_text(reason, REASON_SIZE, text);
	json_array_foreach(errors, i, item)
	{
		text = json_string_value(item);
		if (text == NULL)
			continue;
		if (reason[0] != '\0')
			append_text(reason, REASON_SIZE, "; ");
		append_text(reason, REASON_SIZE, text);
	}
	json_decref(json);
}

static const char *advice(unsigned int code)
{
	switch (code) {
	case 401:
	case 403:
		return "; is the API token right, and allowed to do this?";
	case 404:
		return "; are the API's URL and the project right?";
	default:
		return "";
	}
}

static struct http_failure failure_of_code(unsigned int code)
{
	switch (code) {
	case 401:
	case 403:
		return (struct http_failure){ .error = -EACCES, .refused = true };
	case 404:
	case 410:
		return (struct http_failure){ .error = -ENOENT, .refused = true };
	case 429:
		return (struct http_failure){ .error = -EBUSY, .refused = true, .passing = true };
	case 408:
		return (struct http_failure){ .error = -ETIMEDOUT, .passing = true };
	default:
		break;
	}
	if (code >= 500)
		return (struct http_failure){ .error = -EIO, .passing = true };
	if (code >= 400)
		return (struct http_failure){ .error = -EINVAL, .refused = true };
	return (struct http_failure){ .error = -EIO }; /* a redirect: who knows what it means */
}

struct http_failure http_error_code(unsigned int code, const char *location, const char *body,
				    size_t body_bytes, struct errbuf *err)
{
	struct http_failure failure = failure_of_code(code);
	char reason[REASON_SIZE] = "";

	if (code >= 300 && code < 400) {
		append_text(reason, sizeof(reason), location != NULL ? location : "nowhere");
		errbuf_set(err, failure.error,
			   "the server answered %u, a redirect to %s, which is not followed: give "
			   "the URL of the API itself",
			   code, reason);
		return failure;
	}
	reason_of(body, body_bytes, reason);
	if (reason[0] != '\0')
		errbuf_set(err, failure.error, "the server answered %u: %s", code, reason);
	else
		errbuf_set(err, failure.error, "the server answered %u%s", code, advice(code));
	return failure;
}

struct http_failure http_error_json(unsigned int code, const char *content_type,
				    const json_error_t *reason, struct errbuf *err)
{
	char type[64] = "", text[REASON_SIZE] = "";

	append_text(type, sizeof(type), content_type != NULL ? content_type : "no type given");
	append_text(text, sizeof(text), reason->text);
	errbuf_set(err, -EPROTO,
		   "the server answered %u with something that is not JSON (%s): %s; is the API's "
		   "URL right?",
		   code, type, text);
	return (struct http_failure){ .error = -EPROTO, .passing = true };
}

struct http_failure http_error_transport(CURLcode result, bool sent, const char *detail,
					 struct errbuf *err)
{
	const char *words = detail[0] != '\0' ? detail : curl_easy_strerror(result);
	struct http_failure failure = { .error = -EIO, .refused = !sent, .passing = true };
	char text[REASON_SIZE] = "";

	append_text(text, sizeof(text), words);
	switch (result) {
	case CURLE_OPERATION_TIMEDOUT:
		failure.error = -ETIMEDOUT;
		errbuf_set(err, -ETIMEDOUT, "no answer in time: %s", text);
		break;
	case CURLE_SSL_CONNECT_ERROR: /* cut off while it was made, maybe */
		failure.error = -EPROTO;
		errbuf_set(err, -EPROTO, "no TLS connection: %s", text);
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
		failure.error = -EPROTO;
		failure.passing = false;
		errbuf_set(err, -EPROTO,
			   "no trusted TLS connection: %s; does the system trust the authority of "
			   "the server's certificate?",
			   text);
		break;
	case CURLE_FILESIZE_EXCEEDED:
	case CURLE_WRITE_ERROR:
		failure.error = -EPROTO;
		failure.passing = false;
		errbuf_set(err, -EPROTO, "the answer is larger than is accepted");
		break;
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
		failure.error = -EPROTO;
		failure.passing = result != CURLE_UNSUPPORTED_PROTOCOL;
		errbuf_set(err, -EPROTO, "the answer ended early or is not HTTP: %s", text);
		break;
	case CURLE_OUT_OF_MEMORY:
		failure.error = -ENOMEM;
		failure.passing = false;
		errbuf_set(err, -ENOMEM, "out of memory");
		break;
	default:
		errbuf_set(err, -EIO, "the server cannot be reached: %s", text);
		break;
	}
	return failure;
}

void http_error_redact(struct errbuf *err, const char *secret)
{
	size_t length = secret != NULL ? strlen(secret) : 0, end;
	char *found;

	if (length == 0)
		return;
	while ((found = strstr(err->text, secret)) != NULL)
		memset(found, '*', length);
	/* What a limit has cut: its beginning, from four characters on. */
	end = strlen(err->text);
	for (size_t part = length - 1; part >= 4 && part < length; part--) {
		if (part <= end && memcmp(err->text + end - part, secret, part) == 0) {
			memset(err->text + end - part, '*', part);
			break;
		}
	}
}
