/* SPDX-License-Identifier: GPL-2.0-only */
#include "metal_lab.h"

#include <curl/curl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SCRIPT "tests/e2e/metal/standin.py"

/* The test programs are in build/tests/unit/. */
static void script_path(char *path, size_t size)
{
	char own[512];
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);

	assert_true(length > 0);
	own[length] = '\0';
	for (int i = 0; i < 4; i++)
		*strrchr(own, '/') = '\0';
	snprintf(path, size, "%s/%s", own, SCRIPT);
}

static void run_child(const int input[2], const int output[2], bool tls)
{
	char path[600];

	script_path(path, sizeof(path));
	dup2(input[0], STDIN_FILENO);
	dup2(output[1], STDOUT_FILENO);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	execl("/usr/bin/python3", "python3", "-B", path, tls ? "--tls" : (char *)NULL,
	      (char *)NULL);
	_exit(127);
}

void standin_start(struct standin *standin, bool tls)
{
	int input[2], output[2];
	char line[1024];
	const char *ca;
	json_t *json;
	FILE *stream;

	assert_int_equal(pipe(input), 0);
	assert_int_equal(pipe(output), 0);
	standin->pid = fork();
	if (standin->pid == 0)
		run_child(input, output, tls);
	assert_true(standin->pid > 0);
	close(input[0]);
	close(output[1]);
	standin->input = input[1];
	stream = fdopen(output[0], "r");
	assert_non_null(fgets(line, sizeof(line), stream));
	fclose(stream);
	json = json_loads(line, 0, NULL);
	assert_non_null(json);
	snprintf(standin->url, sizeof(standin->url), "%s",
		 json_string_value(json_object_get(json, "url")));
	snprintf(standin->control, sizeof(standin->control), "%s",
		 json_string_value(json_object_get(json, "control")));
	ca = json_string_value(json_object_get(json, "ca"));
	snprintf(standin->ca, sizeof(standin->ca), "%s", ca != NULL ? ca : "");
	json_decref(json);
}

void standin_stop(struct standin *standin)
{
	int status;

	close(standin->input);
	waitpid(standin->pid, &status, 0);
}

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
	FILE *stream = arg;

	return fwrite(data, size, count, stream);
}

static json_t *tell(const struct standin *standin, const char *text)
{
	CURL *easy = curl_easy_init();
	char *answer = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&answer, &length);
	json_t *json;

	curl_easy_setopt(easy, CURLOPT_URL, standin->control);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, text);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, stream);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, 10L);
	if (standin->ca[0] != '\0')
		curl_easy_setopt(easy, CURLOPT_CAINFO, standin->ca);
	assert_int_equal(curl_easy_perform(easy), CURLE_OK);
	curl_easy_cleanup(easy);
	fclose(stream);
	json = json_loadb(answer, length, 0, NULL);
	assert_non_null(json);
	free(answer);
	return json;
}

static json_t *tell_list(const struct standin *standin, const char *format, va_list args)
{
	char *raw = NULL, *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	json_t *json;

	assert_true(vasprintf(&raw, format, args) >= 0);
	for (const char *at = raw; *at != '\0'; at++) {
		if (*at == '#')
			fputc('\\', stream);
		fputc(*at == '\'' || *at == '#' ? '"' : *at, stream);
	}
	fclose(stream);
	free(raw);
	json = tell(standin, text);
	free(text);
	return json;
}

json_t *standin_tell(const struct standin *standin, const char *format, ...)
{
	va_list args;
	json_t *json;

	va_start(args, format);
	json = tell_list(standin, format, args);
	va_end(args);
	return json;
}

void standin_set(const struct standin *standin, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	json_decref(tell_list(standin, format, args));
	va_end(args);
}

size_t standin_reserved(const struct standin *standin)
{
	json_t *state = standin_tell(standin, "{}");
	size_t count = json_array_size(json_object_get(state, "reservations"));

	json_decref(state);
	return count;
}

size_t standin_requests(const struct standin *standin, const char *prefix)
{
	json_t *state = standin_tell(standin, "{}"), *item;
	size_t count = 0, i;

	json_array_foreach(json_object_get(state, "requests"), i, item) count +=
		strncmp(json_string_value(item), prefix, strlen(prefix)) == 0;
	json_decref(state);
	return count;
}

void standin_check(const struct standin *standin)
{
	json_t *state = standin_tell(standin, "{}"), *item;
	size_t i;

	json_array_foreach(json_object_get(state, "violations"), i, item)
		fail_msg("the stand-in was sent what it should not: %s", json_string_value(item));
	json_decref(state);
}

static void on_time(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

bool metal_turn_until(uv_loop_t *loop, uint64_t ms, bool (*condition)(void *arg), void *arg)
{
	uv_timer_t *timer = malloc(sizeof(*timer));
	bool over = false, met;

	uv_timer_init(loop, timer);
	timer->data = &over;
	uv_update_time(loop);
	uv_timer_start(timer, on_time, ms, 0);
	while (!(met = condition != NULL && condition(arg)) && !over)
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)timer, (uv_close_cb)free);
	return met;
}

void metal_turn(uv_loop_t *loop, uint64_t ms)
{
	metal_turn_until(loop, ms, NULL, NULL);
}
