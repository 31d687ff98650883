/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/json_object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A request is one flat object; the rest is room for later members. */
#define DEPTH_MAX 8

/* jansson parses recursively, so depth is known before it sees the text. Only brackets outside of
 * strings count; whether they match is jansson's business. */
static int check_depth(const char *body, size_t length, struct errbuf *err)
{
	bool in_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < length; i++) {
		if (in_string) {
			if (body[i] == '\\')
				i++;
			else if (body[i] == '"')
				in_string = false;
		} else if (body[i] == '"') {
			in_string = true;
		} else if (body[i] == '{' || body[i] == '[') {
			if (++depth > DEPTH_MAX)
				return errbuf_set(err, -EBADMSG,
						  "the body is nested deeper than %d levels; a "
						  "request is one flat JSON object",
						  DEPTH_MAX);
		} else if ((body[i] == '}' || body[i] == ']') && depth > 0) {
			depth--;
		}
	}
	return 0;
}

static int parse_failed(const json_error_t *error, struct errbuf *err)
{
	switch (json_error_code(error)) {
	case json_error_out_of_memory:
		return errbuf_set(err, -ENOMEM, "memory is short; try again later");
	case json_error_numeric_overflow:
		return errbuf_set(err, -EINVAL, "the number at line %d, column %d is too big",
				  error->line, error->column);
	default:
		return errbuf_set(err, -EBADMSG,
				  "the body is not valid JSON at line %d, column %d: %s",
				  error->line, error->column, error->text);
	}
}

static const char *type_text(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	default:
		return "null";
	}
}

/* The body's one object, to be freed by the caller. */
static int parse_object(const char *body, size_t length, json_t **ret, struct errbuf *err)
{
	json_error_t error;
	json_t *root;
	int rc;

	if (length == 0)
		return errbuf_set(err, -EBADMSG,
				  "the body is empty; a JSON object is expected, such as "
				  "{\"port\":80}");
	rc = check_depth(body, length, err);
	if (rc < 0)
		return rc;

	/* ANY and NUL, so that what is no object, or has a NUL in it, gets a sentence of ours. */
	root = json_loadb(body, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
			  &error);
	if (root == NULL)
		return parse_failed(&error, err);
	if (!json_is_object(root)) {
		rc = errbuf_set(err, -EBADMSG, "the body is %s; a JSON object is expected",
				type_text(root));
		json_decref(root);
		return rc;
	}
	*ret = root;
	return 0;
}

static int unknown_member(const char *name, const struct member *members,
			  struct json_object_error *error)
{
	char known[256] = "";
	size_t used = 0;

	for (const struct member *m = members; m->name != NULL && used < sizeof(known); m++) {
		if (m->given != 0)
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
						 used > 0 ? ", " : "", m->name);
	}
	snprintf(error->unknown, sizeof(error->unknown), "%s", name);
	errbuf_set(&error->err, -EINVAL, "there is no member \"%s\"; there are %s", error->unknown,
		   known);
	error->err.field = error->unknown;
	return -EINVAL;
}

static const struct member *find_member(const struct member *members, const char *name)
{
	for (const struct member *m = members; m->name != NULL; m++) {
		if (strcmp(m->name, name) == 0)
			return m;
	}
	return NULL;
}

static int read_members(json_t *object, const struct member *members, bool require, void *request,
			unsigned int *ret_given, struct json_object_error *error)
{
	unsigned int given = 0;
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		const struct member *member = find_member(members, name);
		int rc;

		if (member == NULL)
			return unknown_member(name, members, error);
		rc = member->read(member, value, request, &error->err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			given |= member->given;
	}
	for (const struct member *m = members; m->name != NULL && require; m++) {
		if (m->required && !(given & m->given))
			return errbuf_set_field(&error->err, -EINVAL, m->name, "%s is missing",
						m->name);
	}
	*ret_given = given;
	return 0;
}

int json_object_read(const char *body, size_t length, const struct member *members, bool require,
		     void *request, unsigned int *ret_given, struct json_object_error *error)
{
	json_t *object;
	int rc;

	rc = parse_object(body, length, &object, &error->err);
	if (rc < 0)
		return rc;
	rc = read_members(object, members, require, request, ret_given, error);
	json_decref(object);
	return rc;
}

/* ---- values ------------------------------------------------------------------------------------
 */

static int wrong_type(const struct member *member, const char *expected, const json_t *value,
		      struct errbuf *err)
{
	errbuf_set_field(err, -EINVAL, member->name, "%s must be %s, not %s", member->name,
			 expected, type_text(value));
	return -EINVAL;
}

/* C0 (NUL among them), DEL and C1 (as UTF-8: 0xc2 0x80..0x9f). */
static bool has_control(const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text;

	for (size_t i = 0; i < length; i++) {
		/* jansson lets only whole UTF-8 characters pass, so there is a byte after 0xc2. */
		if (s[i] < 0x20 || s[i] == 0x7f || (s[i] == 0xc2 && s[i + 1] <= 0x9f))
			return true;
	}
	return false;
}

int member_string(const struct member *member, const json_t *value, const char **ret,
		  struct errbuf *err)
{
	if (!json_is_string(value))
		return wrong_type(member, "a string", value, err);
	if (has_control(json_string_value(value), json_string_length(value))) {
		errbuf_set_field(err, -EINVAL, member->name,
				 "%s must not contain control characters", member->name);
		return -EINVAL;
	}
	*ret = json_string_value(value);
	return 0;
}

int member_boolean(const struct member *member, const json_t *value, bool *ret, struct errbuf *err)
{
	if (!json_is_boolean(value))
		return wrong_type(member, "true or false", value, err);
	*ret = json_is_true(value);
	return 0;
}

int member_address(const struct member *member, const json_t *value, struct addr *ret,
		   struct errbuf *err)
{
	const char *text;
	int rc = member_string(member, value, &text, err);

	if (rc < 0)
		return rc;
	if (addr_parse(text, ret) < 0)
		return errbuf_set_field(err, -EINVAL, member->name,
					"%s \"%.64s\" is not an IP address; write it like "
					"192.0.2.7 or 2001:db8::7, without prefix or port",
					member->name, text);
	return 0;
}

int member_integer(const struct member *member, const json_t *value, uint32_t min, uint32_t max,
		   uint32_t *ret, struct errbuf *err)
{
	json_int_t number;

	if (!json_is_integer(value))
		return wrong_type(member, "a whole number", value, err);
	number = json_integer_value(value);
	if (number < min || number > max)
		return errbuf_set_field(err, -EINVAL, member->name,
					"%s must be between %u and %u, not %lld", member->name, min,
					max, (long long)number);
	*ret = (uint32_t)number;
	return 0;
}

int member_unknown_word(const struct member *member, const char *text, const char *expected,
			struct errbuf *err)
{
	return errbuf_set_field(err, -EINVAL, member->name, "%s must be %s, not \"%.64s\"",
				member->name, expected, text);
}

bool json_is_empty_string(const json_t *value)
{
	return json_is_string(value) && json_string_length(value) == 0;
}
