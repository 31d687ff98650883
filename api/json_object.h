/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * json_object: a body's one JSON object read by a table of its members. What the members mean is
 * decode's business; here is what holds for every request: size and depth before parsing, no
 * repeated and no unknown member, exact types, and the sentences about them.
 */
#ifndef SLB_API_JSON_OBJECT_H
#define SLB_API_JSON_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/addr.h"
#include "lib/errbuf.h"

/* How one member of an object is read. A table ends with a NULL name. */
struct member {
	const char *name;
	unsigned int given; /* the bit that says it was there; 0 for members that cannot be set */
	bool required;      /* when `require` is asked for */
	/* Stores the value in `request`. 0 stored, 1 counts as not given, or negative errno. */
	int (*read)(const struct member *member, const json_t *value, void *request,
		    struct errbuf *err);
};

#define MEMBER_NAME_SIZE 64

/* What was wrong with a body. err.field may point to `unknown`, so the two go together. */
struct json_object_error {
	struct errbuf err;
	char unknown[MEMBER_NAME_SIZE]; /* the beginning of the name of an unknown member */
};

/* Reads every member of the body's object into `request`; *ret_given says which were there. Errors
 * as in decode.h; `request` may be written in part on failure. */
int json_object_read(const char *body, size_t length, const struct member *members, bool require,
		     void *request, unsigned int *ret_given, struct json_object_error *error);

/* Values of a type; -EINVAL names the member, what was expected and what was found. Strings are the
 * value's own: UTF-8 without control characters. */
int member_string(const struct member *member, const json_t *value, const char **ret,
		  struct errbuf *err);
int member_boolean(const struct member *member, const json_t *value, bool *ret, struct errbuf *err);
int member_address(const struct member *member, const json_t *value, struct addr *ret,
		   struct errbuf *err);
/* Written without fraction and exponent: 1.0 and 1e3 are refused. */
int member_integer(const struct member *member, const json_t *value, uint32_t min, uint32_t max,
		   uint32_t *ret, struct errbuf *err);

/* -EINVAL: the member must be one of `expected`, not `text`. */
int member_unknown_word(const struct member *member, const char *text, const char *expected,
			struct errbuf *err);

bool json_is_empty_string(const json_t *value);

#endif
