/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One struct exchange per request, over all of its attempts:
 *
 *   http_begin ─► attempt ─► answer ─► done
 *                    ▲          │ may pass, time is left
 *                    └── pause ◄┘
 *
 * invariant: an exchange is either with libcurl or in a pause (its timer runs), never both.
 */
#include "cloud/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "cloud/http_error.h"
#include "cloud/http_loop.h"

#define CONNECT_TIMEOUT_MS 5000
#define ATTEMPT_TIMEOUT_MS 15000
#define BACKOFF_MS         250
#define BACKOFF_MAX_MS     5000
#define ANSWER_MAX_BYTES   (16U << 20)

struct exchange {
	struct http *http;
	CURL *easy;
	struct curl_slist *headers;
	char *method, *url, *body, *secret;
	enum http_repeat repeat;
	http_done_cb *done;
	void *arg;

	uv_timer_t timer;     /* the pause; the exchange is freed when it is closed */
	uint64_t deadline_ms; /* uv_now() */
	uint64_t backoff_ms;
	bool uncertain; /* some attempt may have been acted upon */
	bool cut_short; /* the attempt under way has less time than it should */
	int last_error; /* of the attempt before, or 0; with its sentence: */
	struct errbuf last;

	char *answer;
	size_t answer_bytes, answer_room;
	char detail[CURL_ERROR_SIZE];
	struct exchange *prev, *next;
};

struct http {
	struct http_config config;
	char *ca_file;
	struct http_loop *http_loop;
	struct exchange *exchanges;
	bool closing;
};

/* ---- the end of an exchange ------------------------------------------------------------------ */

/* All but the struct itself, which the timer is part of. */
static void exchange_clear(struct exchange *exchange)
{
	curl_easy_cleanup(exchange->easy);
	curl_slist_free_all(exchange->headers);
	free(exchange->method);
	free(exchange->url);
	free(exchange->body);
	if (exchange->secret != NULL)
		explicit_bzero(exchange->secret, strlen(exchange->secret));
	free(exchange->secret);
	free(exchange->answer);
}

static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void conclude(struct exchange *exchange, const struct http_answer *answer)
{
	DL_DELETE(exchange->http->exchanges, exchange);
	exchange->done(exchange->arg, answer);
	exchange_clear(exchange);
	uv_close((uv_handle_t *)&exchange->timer, timer_closed);
}

static void fail(struct exchange *exchange, int error, unsigned int code, bool uncertain,
		 struct errbuf *err)
{
	const struct http_answer answer = {
		.status = error,
		.code = code,
		.uncertain = exchange->uncertain || uncertain,
		.err = err,
	};

	http_error_redact(err, exchange->secret);
	errbuf_prefix(err, error, "%s %s", exchange->method, exchange->url);
	conclude(exchange, &answer);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static void on_ended(void *arg, CURLcode result);

static void attempt(struct exchange *exchange)
{
	struct http *http = exchange->http;
	uint64_t now = uv_now(http->config.loop), left_ms = 1;
	struct errbuf err;
	int error;

	if (exchange->deadline_ms > now)
		left_ms = exchange->deadline_ms - now;
	exchange->cut_short = left_ms < http->config.attempt_timeout_ms;
	if (!exchange->cut_short)
		left_ms = http->config.attempt_timeout_ms;
	exchange->answer_bytes = 0;
	exchange->detail[0] = '\0';
	curl_easy_setopt(exchange->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
	error = http_loop_add(http->http_loop, exchange->easy, on_ended, exchange, &err);
	if (error < 0)
		fail(exchange, error, 0, false, &err);
}

static void on_pause_over(uv_timer_t *timer)
{
	attempt(timer->data);
}

/* Half of the pause is by chance, so that nodes that failed together do not come back together. */
static uint64_t next_pause_ms(struct exchange *exchange)
{
	uint64_t half = exchange->backoff_ms / 2, chance = 0;

	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != sizeof(chance))
		chance = 0;
	exchange->backoff_ms *= 2;
	if (exchange->backoff_ms > exchange->http->config.backoff_max_ms)
		exchange->backoff_ms = exchange->http->config.backoff_max_ms;
	return half + chance % (half + 1);
}

/* Pauses, or gives up: err has the sentence of the attempt that failed. */
static void failed_attempt(struct exchange *exchange, struct http_failure failure,
			   unsigned int code, struct errbuf *err)
{
	struct http *http = exchange->http;
	uint64_t now = uv_now(http->config.loop), pause_ms;
	curl_off_t asked_s = 0;

	exchange->uncertain = exchange->uncertain || !failure.refused;
	/* What went wrong before says more than that there was no time left. */
	if (failure.error == -ETIMEDOUT && exchange->cut_short && exchange->last_error != 0) {
		fail(exchange, exchange->last_error, 0, false, &exchange->last);
		return;
	}
	if (!failure.passing || (exchange->repeat == HTTP_REPEAT_REFUSED && !failure.refused)) {
		fail(exchange, failure.error, code, false, err);
		return;
	}
	pause_ms = next_pause_ms(exchange);
	if (code != 0)
		curl_easy_getinfo(exchange->easy, CURLINFO_RETRY_AFTER, &asked_s);
	if (asked_s > 0 && (uint64_t)asked_s > pause_ms / 1000)
		pause_ms = (uint64_t)asked_s * 1000;
	if (now + pause_ms < exchange->deadline_ms) {
		exchange->last_error = failure.error;
		exchange->last = *err;
		uv_timer_start(&exchange->timer, on_pause_over, pause_ms, 0);
		return;
	}
	if (asked_s > 0) {
		size_t used = strlen(err->text);

		snprintf(err->text + used, sizeof(err->text) - used,
			 " (it asks to be left alone for %lld s)", (long long)asked_s);
	}
	fail(exchange, failure.error, code, false, err);
}

static void whole_answer(struct exchange *exchange, unsigned int code)
{
	struct http_answer answer = { .code = code };
	const char *type = NULL, *location = NULL;
	struct http_failure failure;
	json_error_t reason;
	struct errbuf err;
	json_t *json;

	if (code < 200 || code > 299) {
		curl_easy_getinfo(exchange->easy, CURLINFO_REDIRECT_URL, &location);
		failure = http_error_code(code, location, exchange->answer, exchange->answer_bytes,
					  &err);
		failed_attempt(exchange, failure, code, &err);
		return;
	}
	if (exchange->answer_bytes == 0) {
		conclude(exchange, &answer);
		return;
	}
	json = json_loadb(exchange->answer, exchange->answer_bytes, 0, &reason);
	if (json == NULL) {
		curl_easy_getinfo(exchange->easy, CURLINFO_CONTENT_TYPE, &type);
		failure = http_error_json(code, type, &reason, &err);
		failed_attempt(exchange, failure, code, &err);
		return;
	}
	answer.json = json;
	conclude(exchange, &answer);
	json_decref(json);
}

static void on_ended(void *arg, CURLcode result)
{
	struct exchange *exchange = arg;
	struct http_failure failure;
	long code = 0, sent_bytes = 0;
	struct errbuf err;

	curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &code);
	if (result == CURLE_OK) {
		whole_answer(exchange, (unsigned int)code);
		return;
	}
	curl_easy_getinfo(exchange->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
	failure = http_error_transport(result, sent_bytes > 0, exchange->detail, &err);
	failed_attempt(exchange, failure, 0, &err);
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct exchange *exchange = arg;
	size_t bytes = size * count, wanted = exchange->answer_bytes + bytes;

	if (wanted > exchange->http->config.answer_max_bytes)
		return 0; /* CURLE_WRITE_ERROR */
	if (wanted > exchange->answer_room) {
		size_t room = wanted * 2;
		char *answer = realloc(exchange->answer, room);

		if (answer == NULL)
			return 0;
		exchange->answer = answer;
		exchange->answer_room = room;
	}
	memcpy(exchange->answer + exchange->answer_bytes, data, bytes);
	exchange->answer_bytes = wanted;
	return bytes;
}

/* ---- the beginning --------------------------------------------------------------------------- */

static bool add_header(struct exchange *exchange, const char *line)
{
	struct curl_slist *headers = curl_slist_append(exchange->headers, line);

	if (headers == NULL)
		return false;
	exchange->headers = headers;
	return true;
}

static bool add_secret(struct exchange *exchange, const struct http_request *request)
{
	char *line = NULL;
	bool added;
	int length;

	if (request->secret == NULL)
		return true;
	exchange->secret = strdup(request->secret);
	length = asprintf(&line, "%s: %s", request->secret_header, request->secret);
	if (length < 0)
		return false;
	added = exchange->secret != NULL && add_header(exchange, line);
	explicit_bzero(line, (size_t)length);
	free(line);
	return added;
}

static void set_options(struct exchange *exchange)
{
	const struct http *http = exchange->http;
	CURL *easy = exchange->easy;

	curl_easy_setopt(easy, CURLOPT_URL, exchange->url);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
	if (exchange->body != NULL)
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, exchange->body);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "slb/" SLB_VERSION);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (http->ca_file != NULL)
		curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)http->config.connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE,
			 (curl_off_t)http->config.answer_max_bytes);
	/* On a kept connection that turns out to be closed, libcurl sends again by itself. */
	if (exchange->repeat == HTTP_REPEAT_REFUSED)
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Otherwise libcurl waits in the loop for a resolver that does not answer. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->detail);
}

static struct exchange *exchange_new(struct http *http, const struct http_request *request)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	bool complete;

	if (exchange == NULL)
		return NULL;
	exchange->http = http;
	exchange->repeat = request->repeat;
	exchange->easy = curl_easy_init();
	exchange->method = strdup(request->method);
	exchange->url = strdup(request->url);
	if (request->body != NULL)
		exchange->body = json_dumps(request->body, JSON_COMPACT);
	complete = exchange->easy != NULL && exchange->method != NULL && exchange->url != NULL &&
		   (request->body == NULL ||
		    (exchange->body != NULL &&
		     add_header(exchange, "Content-Type: application/json"))) &&
		   add_header(exchange, "Accept: application/json") &&
		   add_secret(exchange, request);
	if (!complete) {
		exchange_clear(exchange);
		free(exchange);
		return NULL;
	}
	set_options(exchange);
	return exchange;
}

void http_begin(struct http *http, const struct http_request *request, http_done_cb *done,
		void *arg)
{
	struct exchange *exchange = http->closing ? NULL : exchange_new(http, request);
	struct http_answer refusal = { .status = http->closing ? -ECANCELED : -ENOMEM };
	struct errbuf err;

	if (exchange == NULL) {
		errbuf_set(&err, refusal.status, "%s %s: %s", request->method, request->url,
			   http->closing ? "slb is stopping" : "out of memory");
		refusal.err = &err;
		done(arg, &refusal);
		return;
	}
	uv_update_time(http->config.loop);
	exchange->done = done;
	exchange->arg = arg;
	exchange->deadline_ms = uv_now(http->config.loop) + request->deadline_ms;
	exchange->backoff_ms = http->config.backoff_ms;
	uv_timer_init(http->config.loop, &exchange->timer);
	exchange->timer.data = exchange;
	DL_APPEND(http->exchanges, exchange);
	attempt(exchange);
}

/* ---- opening, closing ------------------------------------------------------------------------ */

static void set_defaults(struct http_config *config)
{
	if (config->connect_timeout_ms == 0)
		config->connect_timeout_ms = CONNECT_TIMEOUT_MS;
	if (config->attempt_timeout_ms == 0)
		config->attempt_timeout_ms = ATTEMPT_TIMEOUT_MS;
	if (config->backoff_ms == 0)
		config->backoff_ms = BACKOFF_MS;
	if (config->backoff_max_ms == 0)
		config->backoff_max_ms = BACKOFF_MAX_MS;
	if (config->answer_max_bytes == 0)
		config->answer_max_bytes = ANSWER_MAX_BYTES;
}

int http_open(const struct http_config *config, struct http **ret, struct errbuf *err)
{
	struct http *http = calloc(1, sizeof(*http));
	int error;

	if (http == NULL)
		return errbuf_set(err, -ENOMEM, "cannot make an HTTP client: out of memory");
	http->config = *config;
	set_defaults(&http->config);
	if (config->ca_file != NULL) {
		http->ca_file = strdup(config->ca_file);
		if (http->ca_file == NULL) {
			free(http);
			return errbuf_set(err, -ENOMEM,
					  "cannot make an HTTP client: out of memory");
		}
	}
	http->config.ca_file = http->ca_file;
	error = http_loop_open(config->loop, &http->http_loop, err);
	if (error < 0) {
		free(http->ca_file);
		free(http);
		return error;
	}
	*ret = http;
	return 0;
}

void http_close(struct http *http)
{
	struct exchange *exchange;
	struct errbuf err;

	if (http == NULL)
		return;
	http->closing = true;
	while ((exchange = http->exchanges) != NULL) {
		http_loop_remove(http->http_loop, exchange->easy);
		uv_timer_stop(&exchange->timer);
		errbuf_set(&err, -ECANCELED, "slb is stopping");
		/* Whether the server got it is not known. */
		fail(exchange, -ECANCELED, 0, true, &err);
	}
	http_loop_close(http->http_loop);
	free(http->ca_file);
	free(http);
}
