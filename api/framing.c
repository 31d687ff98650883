/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/framing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct framing_headers {
	unsigned int content_lengths, hosts, transfer_encodings;
	const char *content_length, *transfer_encoding, *expect;
	bool bad_name;
};

/* RFC 9110, 5.6.2: what a header's name is made of. */
static bool is_token(const char *name)
{
	if (*name == '\0')
		return false;
	for (const char *s = name; *s != '\0'; s++) {
		bool alphanumeric = (*s >= '0' && *s <= '9') || (*s >= 'A' && *s <= 'Z') ||
				    (*s >= 'a' && *s <= 'z');

		if (!alphanumeric && strchr("!#$%&'*+-.^_`|~", *s) == NULL)
			return false;
	}
	return true;
}

/* MHD_KeyValueIterator */
static enum MHD_Result look_at(void *cls, enum MHD_ValueKind kind, const char *name,
			       const char *value)
{
	struct framing_headers *headers = cls;

	(void)kind;
	if (!is_token(name))
		headers->bad_name = true;
	if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
		headers->content_lengths++;
		headers->content_length = value;
	} else if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
		headers->hosts++;
	} else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		headers->transfer_encodings++;
		headers->transfer_encoding = value;
	} else if (strcasecmp(name, MHD_HTTP_HEADER_EXPECT) == 0) {
		headers->expect = value;
	}
	return MHD_YES;
}

static int check_host(const struct framing_headers *headers, const char *version,
		      struct errbuf *err)
{
	if (headers->hosts > 1)
		return errbuf_set(err, -EBADMSG, "the Host header is repeated");
	if (headers->hosts == 0 && strcmp(version, MHD_HTTP_VERSION_1_1) == 0)
		return errbuf_set(err, -EBADMSG, "the Host header is missing (RFC 9112, 3.2)");
	return 0;
}

static int check_transfer_encoding(const struct framing_headers *headers, const char *version,
				   struct errbuf *err)
{
	if (headers->transfer_encodings == 0)
		return 0;
	if (headers->content_lengths > 0)
		return errbuf_set(err, -EBADMSG,
				  "Transfer-Encoding and Content-Length contradict each other");
	if (headers->transfer_encodings > 1 ||
	    strcasecmp(headers->transfer_encoding, "chunked") != 0)
		return errbuf_set(err, -EBADMSG,
				  "the only Transfer-Encoding understood is chunked, once");
	if (strcmp(version, MHD_HTTP_VERSION_1_1) != 0)
		return errbuf_set(err, -EBADMSG, "Transfer-Encoding needs HTTP/1.1");
	return 0;
}

static int check_content_length(const struct framing_headers *headers, uint64_t *ret,
				struct errbuf *err)
{
	const char *text = headers->content_length;

	if (headers->content_lengths > 1)
		return errbuf_set(err, -EBADMSG, "the Content-Length header is repeated");
	if (headers->content_lengths == 0) {
		*ret = 0;
		return 0;
	}
	if (text == NULL || *text == '\0' || strspn(text, "0123456789") != strlen(text))
		return errbuf_set(err, -EBADMSG, "Content-Length is not a number");
	*ret = strtoull(text, NULL, 10); /* ULLONG_MAX when out of range: too large anyway */
	return 0;
}

int framing_check(struct MHD_Connection *connection, const char *version, struct framing *ret,
		  struct errbuf *err)
{
	struct framing_headers headers = { 0 };
	struct framing framing = { 0 };
	int rc;

	MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at, &headers);
	if (headers.bad_name)
		return errbuf_set(err, -EBADMSG,
				  "a header's name contains white space or another character that "
				  "is not allowed there");
	rc = check_host(&headers, version, err);
	if (rc == 0)
		rc = check_transfer_encoding(&headers, version, err);
	if (rc == 0)
		rc = check_content_length(&headers, &framing.body_bytes, err);
	if (rc < 0)
		return rc;
	framing.expects_continue = headers.expect != NULL;
	*ret = framing;
	return 0;
}
