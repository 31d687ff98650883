/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http_loop: libcurl's multi interface on a libuv loop. Sockets and the one timer that libcurl asks
 * for become uv handles; a transfer that has ended is told of by a callback, never from inside
 * libcurl, so that the callback may begin and remove transfers.
 *
 * libcurl: CURLMOPT_SOCKETFUNCTION, CURLMOPT_TIMERFUNCTION, curl_multi_socket_action(3).
 */
#ifndef SLB_CLOUD_HTTP_LOOP_H
#define SLB_CLOUD_HTTP_LOOP_H

#include <curl/curl.h>
#include <uv.h>

#include "lib/errbuf.h"

struct http_loop;

/* The transfer has ended and is not libcurl's any more; `arg` is what http_loop_add() was given. */
typedef void http_ended_cb(void *arg, CURLcode result);

/* The loop is borrowed. -ENOMEM. */
int http_loop_open(uv_loop_t *loop, struct http_loop **ret, struct errbuf *err);

/* No transfer may be left. The loop must turn once more. Accepts NULL. */
void http_loop_close(struct http_loop *http_loop);

/* Begins a transfer; `easy` is borrowed. */
int http_loop_add(struct http_loop *http_loop, CURL *easy, http_ended_cb *ended, void *arg,
		  struct errbuf *err);

/* Ends a transfer without a callback. */
void http_loop_remove(struct http_loop *http_loop, CURL *easy);

#endif
