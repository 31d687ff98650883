/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * errbuf: how a failure travels from where it happens to the person who reads about it.
 *
 * Every function that can fail for a reason a user should read takes a `struct errbuf *` and
 * returns a negative errno. The errbuf carries the sentence: what failed, on what, and what to do
 * about it. It is written only on failure, and is never NULL. A library function never logs; the
 * outermost caller logs or answers once.
 */
#ifndef SLB_LIB_ERRBUF_H
#define SLB_LIB_ERRBUF_H

#define ERRBUF_SIZE 512

struct errbuf {
	const char *field;      /* JSON field at fault, a string literal, or NULL */
	char text[ERRBUF_SIZE]; /* the sentence, without a final newline */
};

/* Writes the sentence and returns `error` (a negative errno), so that a failure is one line:
 *     return errbuf_set(err, -ENODEV, "adapter %s does not exist; see `ip link`", name); */
int errbuf_set(struct errbuf *err, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, naming the JSON field (a string literal) that was wrong. */
int errbuf_set_field(struct errbuf *err, int error, const char *field, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts a context in front of the sentence that is there already: "context: sentence". Returns
 * `error`. The field is kept. */
int errbuf_prefix(struct errbuf *err, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
