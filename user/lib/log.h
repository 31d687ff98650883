/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * log: the lines an operator reads on standard error.
 *
 *   text    INFO[0000] Starting the Steel Load-Balancer          (the default; seconds since start)
 *   logfmt  time=2026-01-02T03:04:05Z level=info msg="Starting the Steel Load-Balancer"
 *   json    {"time":"2026-01-02T03:04:05Z","level":"info","msg":"Starting the Steel Load-Balancer"}
 *
 * Level and format are process-wide (one of the few globals: a log line has no other context).
 * Control characters in a message are escaped in every format, so that nothing that came from the
 * network can forge a line. A message names who is at fault when it is not slb: the peer, the
 * kernel, the configuration.
 */
#ifndef SLB_LIB_LOG_H
#define SLB_LIB_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Names as in --log-level and --log-format; false leaves *ret untouched. */
bool log_level_parse(const char *name, enum log_level *ret);
bool log_format_parse(const char *name, enum log_format *ret);

/* Starts the clock of the text format and sets what is printed. */
void log_setup(enum log_level level, enum log_format format);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
