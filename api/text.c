/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE_BYTES 1024

void text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}

void text_clear(struct text *text)
{
	text->length = 0;
}

/* Room for `more` bytes after the text; false (remembered) when memory is short. */
static bool reserve(struct text *text, size_t more)
{
	size_t size = text->size;
	char *data;

	if (text->failed)
		return false;
	if (text->size - text->length >= more)
		return true;

	if (size == 0)
		size = FIRST_SIZE_BYTES;
	while (size - text->length < more && size <= SIZE_MAX / 2)
		size *= 2;
	data = size - text->length < more ? NULL : realloc(text->data, size);
	if (data == NULL) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->size = size;
	return true;
}

void text_add(struct text *text, const char *bytes, size_t length)
{
	if (length == 0 || !reserve(text, length))
		return;
	memcpy(text->data + text->length, bytes, length);
	text->length += length;
}

void text_print(struct text *text, const char *format, ...)
{
	size_t room = text->size - text->length;
	va_list args;
	int length;

	if (text->failed)
		return;
	va_start(args, format);
	length = vsnprintf(room > 0 ? text->data + text->length : NULL, room, format, args);
	va_end(args);
	if (length < 0) {
		text->failed = true;
		return;
	}
	if ((size_t)length >= room) {
		if (!reserve(text, (size_t)length + 1))
			return;
		va_start(args, format);
		vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
		va_end(args);
	}
	text->length += (size_t)length;
}

/* Bytes of the UTF-8 character at `s`, or 0 when there is none (RFC 3629, 4: no overlong forms, no
 * surrogates, nothing above U+10FFFF). Does not read past a NUL. */
static size_t utf8_length(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		length = 2;
	} else if (s[0] >= 0xe0 && s[0] <= 0xef) {
		length = 3;
		if (s[0] == 0xe0)
			low = 0xa0;
		else if (s[0] == 0xed)
			high = 0x9f;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		length = 4;
		if (s[0] == 0xf0)
			low = 0x90;
		else if (s[0] == 0xf4)
			high = 0x8f;
	} else {
		return 0;
	}
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

/* Adds the longest run of characters at `s` that need no escape; returns what follows it. */
static const unsigned char *add_plain_run(struct text *text, const unsigned char *s)
{
	const unsigned char *end = s;
	size_t length;

	while (*end >= 0x20 && *end != '"' && *end != '\\' && *end != 0x7f &&
	       (length = utf8_length(end)) > 0)
		end += length;
	text_add(text, (const char *)s, (size_t)(end - s));
	return end;
}

void text_json_string(struct text *text, const char *value)
{
	const unsigned char *s = (const unsigned char *)(value != NULL ? value : "");

	text_add(text, "\"", 1);
	while (*(s = add_plain_run(text, s)) != '\0') {
		if (*s == '"' || *s == '\\')
			text_print(text, "\\%c", *s);
		else if (*s < 0x80)
			text_print(text, "\\u%04x", *s);
		else
			text_add(text, "\xef\xbf\xbd", 3);
		s++;
	}
	text_add(text, "\"", 1);
}

void text_label_value(struct text *text, const char *value)
{
	text_add(text, "\"", 1);
	for (const char *s = value; *s != '\0'; s++) {
		if (*s == '\n')
			text_add(text, "\\n", 2);
		else if (*s == '"' || *s == '\\')
			text_print(text, "\\%c", *s);
		else
			text_add(text, s, 1);
	}
	text_add(text, "\"", 1);
}
