/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * text: a growing buffer in which answers are written. JSON goes out through it directly (jansson
 * only reads): a list of 10,000 load balancers would otherwise be two million small allocations.
 *
 * Running out of memory is remembered, not reported: every later call does nothing, and whoever
 * sends the text looks at `failed` once.
 */
#ifndef SLB_API_TEXT_H
#define SLB_API_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All zero is an empty text. */
struct text {
	char *data; /* owned; not terminated by a NUL */
	size_t length;
	size_t size;
	bool failed; /* memory was short: the text is incomplete */
};

void text_free(struct text *text);  /* leaves an empty one */
void text_clear(struct text *text); /* empties it, keeping the memory */

void text_add(struct text *text, const char *bytes, size_t length);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A JSON string with its quotes (RFC 8259, 7). Bytes that are no UTF-8 become U+FFFD, so that the
 * whole stays valid whatever a sentence was cut from. NULL is written as "". */
void text_json_string(struct text *text, const char *value);

/* The value of a Prometheus label with its quotes (exposition format 0.0.4: \\, \" and \n). */
void text_label_value(struct text *text, const char *value);

#endif
