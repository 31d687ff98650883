/* SPDX-License-Identifier: GPL-2.0-only */
/* http: every way in which a request can end, against the stand-in. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cloud/http.h"
#include "metal_lab.h"

struct fixture {
	uv_loop_t loop;
	struct standin standin;
	struct http *http;
	struct errbuf err;
};

struct outcome {
	unsigned int calls;
	int status;
	unsigned int code;
	bool uncertain;
	json_t *json;
	char text[ERRBUF_SIZE];
	uint64_t at_ms;
	uv_loop_t *loop;
};

static void start_http(struct fixture *f, size_t answer_max_bytes)
{
	const struct http_config config = {
		.loop = &f->loop,
		.connect_timeout_ms = 1000,
		.attempt_timeout_ms = 600,
		.backoff_ms = 20,
		.backoff_max_ms = 200,
		.answer_max_bytes = answer_max_bytes,
		.ca_file = f->standin.ca[0] != '\0' ? f->standin.ca : NULL,
	};

	assert_int_equal(http_open(&config, &f->http, &f->err), 0);
}

static void set_up(void **state, bool tls)
{
	struct fixture *f = calloc(1, sizeof(*f));

	uv_loop_init(&f->loop);
	standin_start(&f->standin, tls);
	*state = f;
}

static int open_plain(void **state)
{
	set_up(state, false);
	start_http(*state, 0);
	return 0;
}

static int open_tls(void **state)
{
	set_up(state, true);
	return 0;
}

static int close_all(void **state)
{
	struct fixture *f = *state;

	http_close(f->http);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	standin_stop(&f->standin);
	free(f);
	return 0;
}

static void on_done(void *arg, const struct http_answer *answer)
{
	struct outcome *outcome = arg;

	outcome->calls++;
	outcome->status = answer->status;
	outcome->code = answer->code;
	outcome->uncertain = answer->uncertain;
	outcome->json = json_incref((json_t *)answer->json);
	outcome->at_ms = uv_now(outcome->loop);
	if (answer->status < 0)
		snprintf(outcome->text, sizeof(outcome->text), "%s", answer->err->text);
	else
		assert_null(answer->err);
}

static bool has_ended(void *arg)
{
	return ((struct outcome *)arg)->calls > 0;
}

static void begin(struct fixture *f, const char *method, const char *url, uint64_t deadline_ms,
		  struct outcome *outcome)
{
	json_t *body = strcmp(method, "POST") == 0 ? json_pack("{s:i}", "quantity", 1) : NULL;
	const struct http_request request = {
		.method = method,
		.url = url,
		.secret_header = "X-Auth-Token",
		.secret = STANDIN_TOKEN,
		.body = body,
		.deadline_ms = deadline_ms,
		.repeat = strcmp(method, "POST") == 0 ? HTTP_REPEAT_REFUSED : HTTP_REPEAT_ANY,
	};

	memset(outcome, 0, sizeof(*outcome));
	outcome->loop = &f->loop;
	http_begin(f->http, &request, on_done, outcome);
	json_decref(body);
}

static void ask(struct fixture *f, const char *method, const char *path, uint64_t deadline_ms,
		struct outcome *outcome)
{
	char url[256];

	snprintf(url, sizeof(url), "%s%s", f->standin.url, path);
	begin(f, method, url, deadline_ms, outcome);
	assert_true(metal_turn_until(&f->loop, 10000, has_ended, outcome));
	assert_int_equal(outcome->calls, 1);
	json_decref(outcome->json);
	assert_null(strstr(outcome->text, STANDIN_TOKEN));
}

#define DEVICES "/projects/" STANDIN_PROJECT "/devices"
#define IPS     "/projects/" STANDIN_PROJECT "/ips"

static void test_good(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;

	ask(f, "GET", DEVICES, 5000, &outcome);
	assert_int_equal(outcome.status, 0);
	assert_int_equal(outcome.code, 200);
	assert_non_null(outcome.json);
	standin_check(&f->standin);
}

/* Each: what the server does, what comes of it. */
static const struct {
	const char *fault;
	const char *method;
	int status;
	const char *words;
	bool uncertain;
	size_t requests; /* 0: several */
} failures[] = {
	{ "'status':422,'body':'{\\'errors\\':[\\'none left\\',\\'go away\\']}'", "POST", -EINVAL,
	  "answered 422: none left; go away", false, 1 },
	{ "'status':422,'body':'{\\'error\\':\\'no \\\\u0007 bell\\'}'", "GET", -EINVAL,
	  "answered 422: no   bell", false, 1 },
	{ "'status':401,'body':'{\\'error\\':\\'bad token " STANDIN_TOKEN "\\'}'", "GET", -EACCES,
	  "bad token *****", false, 1 },
	{ "'status':403,'body':''", "GET", -EACCES, "is the API token right", false, 1 },
	{ "'status':404,'body':'x'", "GET", -ENOENT, "are the API's URL", false, 1 },
	{ "'status':302,'headers':{'Location':'http://192.0.2.1/'}", "GET", -EIO,
	  "a redirect to http://192.0.2.1/, which is not followed", true, 1 },
	{ "'status':500,'body':'{}'", "POST", -EIO, "answered 500", true, 1 },
	{ "'status':500", "GET", -EIO, "answered 500: told to fail", true, 0 },
	{ "'status':503", "POST", -EIO, "answered 503", true, 1 },
	{ "'status':503", "GET", -EIO, "answered 503", true, 0 },
	{ "'status':429", "POST", -EBUSY, "answered 429", false, 0 },
	{ "'status':429,'headers':{'Retry-After':'60'}", "GET", -EBUSY,
	  "it asks to be left alone for 60 s", false, 1 },
	{ "'kind':'text','status':200,'body':'<html>'", "GET", -EPROTO,
	  "something that is not JSON (text/html)", true, 0 },
	{ "'kind':'text','status':200,'body':'<html>'", "POST", -EPROTO, "is not JSON", true, 1 },
	{ "'kind':'half'", "POST", -EPROTO, "ended early", true, 1 },
	{ "'kind':'half'", "GET", -EPROTO, "ended early", true, 0 },
	{ "'kind':'drop'", "POST", -EPROTO, "ended early", true, 1 },
	{ "'kind':'hang','seconds':2", "POST", -ETIMEDOUT, "no answer in time", true, 1 },
	{ "'kind':'hang','seconds':2", "GET", -ETIMEDOUT, "no answer in time", true, 0 },
};

static void test_failures(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;

	for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
		size_t requests;

		standin_set(&f->standin, "{'reset':true,'fault':{'times':-1,%s}}",
			    failures[i].fault);
		ask(f, failures[i].method, IPS, 1500, &outcome);
		if (outcome.status != failures[i].status ||
		    strstr(outcome.text, failures[i].words) == NULL ||
		    outcome.uncertain != failures[i].uncertain)
			fail_msg("%s %s: %d, %s, \"%s\"", failures[i].method, failures[i].fault,
				 outcome.status, outcome.uncertain ? "uncertain" : "certain",
				 outcome.text);
		requests = standin_requests(&f->standin, failures[i].method);
		if (failures[i].requests == 0 ? requests < 2 : requests != failures[i].requests)
			fail_msg("%s %s: %zu requests", failures[i].method, failures[i].fault,
				 requests);
	}
}

static void test_recovers(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;
	uint64_t began_ms;

	standin_set(&f->standin, "{'fault':{'times':2,'status':502}}");
	ask(f, "GET", DEVICES, 5000, &outcome);
	assert_int_equal(outcome.status, 0);
	assert_int_equal(standin_requests(&f->standin, "GET"), 3);

	standin_set(&f->standin, "{'reset':true,'fault':{'times':1,'status':429,"
				 "'headers':{'Retry-After':'1'}}}");
	uv_update_time(&f->loop);
	began_ms = uv_now(&f->loop);
	ask(f, "GET", DEVICES, 5000, &outcome);
	assert_int_equal(outcome.status, 0);
	assert_true(outcome.at_ms - began_ms >= 1000);

	/* An earlier attempt stays in doubt when a later one is refused. */
	standin_set(&f->standin, "{'reset':true,'fault':{'times':1,'status':500}}");
	standin_set(&f->standin, "{'fault':{'times':-1,'status':422}}");
	ask(f, "GET", DEVICES, 5000, &outcome);
	assert_int_equal(outcome.status, -EINVAL);
	assert_true(outcome.uncertain);
}

static void test_too_large(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;

	http_close(f->http);
	start_http(f, 64);
	ask(f, "GET", DEVICES, 2000, &outcome);
	assert_int_equal(outcome.status, -EPROTO);
	assert_non_null(strstr(outcome.text, "larger than is accepted"));
}

static void test_no_server(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int closed = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t size = sizeof(address);
	struct fixture *f = *state;
	struct outcome outcome;
	char url[64];

	/* A port that is bound and not listened on refuses. */
	assert_int_equal(bind(closed, (void *)&address, size), 0);
	assert_int_equal(getsockname(closed, (void *)&address, &size), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(address.sin_port));
	begin(f, "POST", url, 400, &outcome);
	assert_true(metal_turn_until(&f->loop, 5000, has_ended, &outcome));
	assert_int_equal(outcome.status, -EIO);
	assert_false(outcome.uncertain);
	assert_non_null(strstr(outcome.text, "cannot be reached"));

	/* One that listens and never answers a handshake of TLS. */
	assert_int_equal(listen(closed, 1), 0);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", ntohs(address.sin_port));
	begin(f, "POST", url, 500, &outcome);
	assert_true(metal_turn_until(&f->loop, 5000, has_ended, &outcome));
	assert_int_equal(outcome.status, -ETIMEDOUT);
	assert_false(outcome.uncertain);

	begin(f, "GET", "ftp://127.0.0.1/", 400, &outcome);
	assert_true(metal_turn_until(&f->loop, 5000, has_ended, &outcome));
	assert_true(outcome.status < 0);
	close(closed);
}

static void test_tls(void **state)
{
	struct fixture *f = *state;
	struct outcome outcome;
	char ca[sizeof(f->standin.ca)];

	start_http(f, 0);
	ask(f, "GET", DEVICES, 3000, &outcome);
	assert_int_equal(outcome.status, 0);
	http_close(f->http);

	/* The same server for somebody who does not know its authority. */
	memcpy(ca, f->standin.ca, sizeof(ca));
	f->standin.ca[0] = '\0';
	start_http(f, 0);
	memcpy(f->standin.ca, ca, sizeof(ca));
	ask(f, "POST", IPS, 3000, &outcome);
	assert_int_equal(outcome.status, -EPROTO);
	assert_false(outcome.uncertain);
	assert_non_null(strstr(outcome.text, "no trusted TLS connection"));
	assert_int_equal(standin_requests(&f->standin, "POST"), 0);
}

static void test_close_under_way(void **state)
{
	struct fixture *f = *state;
	struct outcome waiting, pausing;
	char url[256];

	standin_set(&f->standin, "{'fault':{'kind':'hang','seconds':3,'path':'ips'}}");
	standin_set(&f->standin, "{'fault':{'times':-1,'status':429,'path':'devices',"
				 "'headers':{'Retry-After':'2'}}}");
	snprintf(url, sizeof(url), "%s" IPS, f->standin.url);
	begin(f, "POST", url, 5000, &waiting);
	snprintf(url, sizeof(url), "%s" DEVICES, f->standin.url);
	begin(f, "GET", url, 5000, &pausing);
	metal_turn(&f->loop, 200);
	http_close(f->http);
	f->http = NULL;
	assert_int_equal(waiting.calls, 1);
	assert_int_equal(waiting.status, -ECANCELED);
	assert_true(waiting.uncertain);
	assert_int_equal(pausing.calls, 1);
	assert_int_equal(pausing.status, -ECANCELED);
}

static void test_many_at_once(void **state)
{
	struct fixture *f = *state;
	struct outcome *outcomes = calloc(200, sizeof(*outcomes));
	char url[256];

	snprintf(url, sizeof(url), "%s" DEVICES, f->standin.url);
	for (int i = 0; i < 200; i++)
		begin(f, "GET", url, 20000, &outcomes[i]);
	for (int i = 0; i < 200; i++) {
		assert_true(metal_turn_until(&f->loop, 20000, has_ended, &outcomes[i]));
		assert_int_equal(outcomes[i].status, 0);
		json_decref(outcomes[i].json);
	}
	free(outcomes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, open_plain, close_all),
		cmocka_unit_test_setup_teardown(test_failures, open_plain, close_all),
		cmocka_unit_test_setup_teardown(test_recovers, open_plain, close_all),
		cmocka_unit_test_setup_teardown(test_too_large, open_plain, close_all),
		cmocka_unit_test_setup_teardown(test_no_server, open_plain, close_all),
		cmocka_unit_test_setup_teardown(test_tls, open_tls, close_all),
		cmocka_unit_test_setup_teardown(test_close_under_way, open_plain, close_all),
		cmocka_unit_test_setup_teardown(test_many_at_once, open_plain, close_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
