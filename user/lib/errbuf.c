/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/errbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int errbuf_set(struct errbuf *err, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	err->field = NULL;
	return error;
}

int errbuf_set_field(struct errbuf *err, int error, const char *field, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	err->field = field;
	return error;
}

int errbuf_prefix(struct errbuf *err, int error, const char *format, ...)
{
	char sentence[ERRBUF_SIZE];
	va_list args;
	int length;

	memcpy(sentence, err->text, sizeof(sentence));
	va_start(args, format);
	length = vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	if (length >= 0 && (size_t)length < sizeof(err->text) - 1)
		snprintf(err->text + length, sizeof(err->text) - (size_t)length, ": %s", sentence);
	return error;
}
