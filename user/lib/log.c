/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_LINE_SIZE 1024

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char *const level_labels[] = { "ERRO", "WARN", "INFO", "DEBU" };
static const char *const format_names[] = { "text", "logfmt", "json" };

/* The log's own state: process-wide, set once by log_setup(). */
static struct {
	enum log_level level;
	enum log_format format;
	time_t start_s;
} state = { .level = LOG_LEVEL_INFO, .format = LOG_FORMAT_TEXT, .start_s = 0 };

static int name_index(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	}
	return -1;
}

bool log_level_parse(const char *name, enum log_level *ret)
{
	int i = name_index(name, level_names, sizeof(level_names) / sizeof(*level_names));

	if (i < 0)
		return false;
	*ret = (enum log_level)i;
	return true;
}

bool log_format_parse(const char *name, enum log_format *ret)
{
	int i = name_index(name, format_names, sizeof(format_names) / sizeof(*format_names));

	if (i < 0)
		return false;
	*ret = (enum log_format)i;
	return true;
}

static time_t monotonic_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

void log_setup(enum log_level level, enum log_format format)
{
	state.level = level;
	state.format = format;
	state.start_s = monotonic_s();
}

/* Writes `in` with control characters (and, for the quoted formats, '"' and '\') escaped the way
 * JSON does (RFC 8259, 7). A text that does not fit is cut. */
static void escape(char *out, size_t size, const char *in, bool quoted)
{
	size_t used = 0;

	for (; *in != '\0' && used + 7 < size; in++) {
		unsigned char c = (unsigned char)*in;

		if (c < 0x20 || c == 0x7f)
			used += (size_t)snprintf(out + used, size - used, "\\u%04x", c);
		else if (quoted && (c == '"' || c == '\\'))
			used += (size_t)snprintf(out + used, size - used, "\\%c", c);
		else
			out[used++] = (char)c;
	}
	out[used] = '\0';
}

void log_write(enum log_level level, const char *format, ...)
{
	char raw[LOG_LINE_SIZE], message[LOG_LINE_SIZE * 2], when[32];
	time_t now = time(NULL);
	struct tm utc;
	va_list args;

	if (level > state.level)
		return;

	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	escape(message, sizeof(message), raw, state.format != LOG_FORMAT_TEXT);

	gmtime_r(&now, &utc);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
	switch (state.format) {
	case LOG_FORMAT_TEXT:
		if (state.start_s == 0)
			state.start_s = monotonic_s();
		fprintf(stderr, "%s[%04lld] %s\n", level_labels[level],
			(long long)(monotonic_s() - state.start_s), message);
		break;
	case LOG_FORMAT_LOGFMT:
		fprintf(stderr, "time=%s level=%s msg=\"%s\"\n", when, level_names[level], message);
		break;
	case LOG_FORMAT_JSON:
		fprintf(stderr, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":\"%s\"}\n", when,
			level_names[level], message);
		break;
	}
}
