/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * invariant: libcurl is entered only from uv callbacks, http_loop_add() and http_loop_remove();
 * transfers that have ended are collected after curl_multi_socket_action() has returned.
 */
#include "cloud/http_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

struct transfer {
	CURL *easy;
	http_ended_cb *ended;
	void *arg;
	struct transfer *prev, *next;
};

struct http_loop {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	struct transfer *transfers;
};

/* A socket of libcurl's; it lives until uv has closed the handle. */
struct watched_socket {
	uv_poll_t poll; /* first */
	struct http_loop *http_loop;
	curl_socket_t fd;
};

static struct transfer *transfer_find(struct http_loop *http_loop, const CURL *easy)
{
	struct transfer *transfer;

	DL_FOREACH (http_loop->transfers, transfer) {
		if (transfer->easy == easy)
			break;
	}
	return transfer;
}

static void collect_ended(struct http_loop *http_loop)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http_loop->multi, &left)) != NULL) {
		struct transfer *transfer = transfer_find(http_loop, message->easy_handle);
		CURLcode result = message->data.result;

		if (message->msg != CURLMSG_DONE || transfer == NULL)
			continue;
		curl_multi_remove_handle(http_loop->multi, transfer->easy);
		DL_DELETE(http_loop->transfers, transfer);
		transfer->ended(transfer->arg, result);
		free(transfer);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct http_loop *http_loop = timer->data;
	int running;

	curl_multi_socket_action(http_loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect_ended(http_loop);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
	struct http_loop *http_loop = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&http_loop->timer);
	else
		uv_timer_start(&http_loop->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct watched_socket *socket = (struct watched_socket *)poll;
	struct http_loop *http_loop = socket->http_loop;
	int running, flags = 0;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(http_loop->multi, socket->fd, flags, &running);
	collect_ended(http_loop);
}

static void socket_closed(uv_handle_t *handle)
{
	free(handle);
}

static struct watched_socket *watch(struct http_loop *http_loop, curl_socket_t fd)
{
	struct watched_socket *socket = calloc(1, sizeof(*socket));

	if (socket == NULL)
		return NULL;
	socket->http_loop = http_loop;
	socket->fd = fd;
	if (uv_poll_init_socket(http_loop->loop, &socket->poll, fd) < 0) {
		free(socket);
		return NULL;
	}
	curl_multi_assign(http_loop->multi, fd, socket);
	return socket;
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
	struct http_loop *http_loop = arg;
	struct watched_socket *socket = assigned;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		/* Stopped at once: libcurl may close the socket as soon as this returns. */
		if (socket != NULL)
			uv_close((uv_handle_t *)&socket->poll, socket_closed);
		curl_multi_assign(http_loop->multi, fd, NULL);
		return 0;
	}
	if (socket == NULL)
		socket = watch(http_loop, fd);
	if (socket == NULL)
		return -1; /* libcurl ends all its transfers with an error */
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	return uv_poll_start(&socket->poll, events, on_socket) < 0 ? -1 : 0;
}

int http_loop_open(uv_loop_t *loop, struct http_loop **ret, struct errbuf *err)
{
	struct http_loop *http_loop = calloc(1, sizeof(*http_loop));

	if (http_loop == NULL)
		return errbuf_set(err, -ENOMEM, "cannot make an HTTP client: out of memory");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(http_loop);
		return errbuf_set(err, -ENOMEM,
				  "cannot make an HTTP client: libcurl does not start");
	}
	http_loop->multi = curl_multi_init();
	if (http_loop->multi == NULL) {
		curl_global_cleanup();
		free(http_loop);
		return errbuf_set(err, -ENOMEM, "cannot make an HTTP client: out of memory");
	}
	http_loop->loop = loop;
	uv_timer_init(loop, &http_loop->timer);
	http_loop->timer.data = http_loop;
	curl_multi_setopt(http_loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	curl_multi_setopt(http_loop->multi, CURLMOPT_SOCKETDATA, http_loop);
	curl_multi_setopt(http_loop->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(http_loop->multi, CURLMOPT_TIMERDATA, http_loop);
	*ret = http_loop;
	return 0;
}

static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void http_loop_close(struct http_loop *http_loop)
{
	if (http_loop == NULL)
		return;
	/* Closes kept connections, and with them their handles. */
	curl_multi_cleanup(http_loop->multi);
	curl_global_cleanup();
	uv_close((uv_handle_t *)&http_loop->timer, timer_closed);
}

int http_loop_add(struct http_loop *http_loop, CURL *easy, http_ended_cb *ended, void *arg,
		  struct errbuf *err)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));

	if (transfer == NULL || curl_multi_add_handle(http_loop->multi, easy) != CURLM_OK) {
		free(transfer);
		return errbuf_set(err, -ENOMEM, "cannot begin an HTTP request: out of memory");
	}
	transfer->easy = easy;
	transfer->ended = ended;
	transfer->arg = arg;
	DL_APPEND(http_loop->transfers, transfer);
	return 0;
}

void http_loop_remove(struct http_loop *http_loop, CURL *easy)
{
	struct transfer *transfer = transfer_find(http_loop, easy);

	if (transfer == NULL)
		return;
	curl_multi_remove_handle(http_loop->multi, easy);
	DL_DELETE(http_loop->transfers, transfer);
	free(transfer);
}
