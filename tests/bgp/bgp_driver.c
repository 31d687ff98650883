/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A BGP speaker that is driven by lines on standard input, for the tests beside it: what slb's core
 * and API will call, without them. Answers are one line of JSON each on standard output.
 *
 *   announce ADDRESS [COUNT]    withdraw ADDRESS [COUNT]    complete
 *   peer add SPEC               peer remove ADDRESS         status
 *   shutdown-community on|off   addresses                   stop TEXT | return
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "advertise/bgp/bgp_speaker.h"
#include "lib/log.h"

struct driver {
	uv_loop_t loop;
	uv_pipe_t input;
	struct bgp_speaker *speaker;
	char line[4096];
	size_t filled;
};

static void answer(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	puts(text);
	fflush(stdout);
	free(text);
	json_decref(object);
}

static void answer_result(int result, const struct errbuf *err)
{
	answer(result == 0 ? json_pack("{sb}", "ok", 1)
			   : json_pack("{sbsssi}", "ok", 0, "error", err->text, "errno", -result));
}

static json_t *text_of(const struct addr *addr)
{
	char text[ADDR_TEXT_SIZE];

	return json_string(addr_format(addr, text));
}

static json_t *describe_peer(const struct bgp_peer_status *status)
{
	json_t *object = json_object();
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "as", status->config.as },
		{ "uptime_ms", status->uptime_ms },
		{ "announced4", status->announced[BGP_IPV4] },
		{ "announced6", status->announced[BGP_IPV6] },
		{ "updates_sent", status->updates_sent },
		{ "updates_received", status->updates_received },
		{ "updates_malformed", status->updates_malformed },
		{ "routes_received", status->routes_received },
		{ "routes_withdrawn", status->routes_withdrawn_by_peer },
		{ "established_count", status->established_count },
		{ "hold_s", status->negotiated.hold_s },
		{ "families", status->negotiated.families },
		{ "incoming", status->incoming },
		{ "as4", status->negotiated.as4 },
		{ "route_refresh", status->negotiated.route_refresh },
		{ "graceful_restart", status->negotiated.graceful_restart },
		{ "peer_restart_time_s", status->capabilities.restart_time_s },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(object, numbers[i].name,
				    json_integer((json_int_t)numbers[i].value));
	json_object_set_new(object, "address", text_of(&status->config.address));
	json_object_set_new(object, "local", text_of(&status->local));
	json_object_set_new(object, "state", json_string(bgp_state_name(status->state)));
	json_object_set_new(object, "last_error", json_string(status->last_error));
	json_object_set_new(object, "connect_error", json_string(status->connect_error));
	json_object_set_new(object, "note", json_string(status->note));
	json_object_set_new(object, "next_hop4", text_of(&status->next_hop[BGP_IPV4].global));
	json_object_set_new(object, "next_hop6", text_of(&status->next_hop[BGP_IPV6].global));
	json_object_set_new(object, "next_hop6_link_local",
			    text_of(&status->next_hop[BGP_IPV6].link_local));
	return object;
}

static void answer_status(const struct bgp_speaker *speaker)
{
	struct bgp_speaker_status whole;
	struct bgp_peer_status status;
	json_t *peers = json_array();

	bgp_speaker_status(speaker, &whole);
	for (size_t i = 0; bgp_speaker_peer_status(speaker, i, &status); i++)
		json_array_append_new(peers, describe_peer(&status));
	answer(json_pack("{sbsIsbsssIso}", "ok", 1, "vips", (json_int_t)whole.vips, "listening",
			 whole.listening, "listen_error", whole.listen_error, "established",
			 (json_int_t)whole.established, "peers", peers));
}

/* COUNT addresses from the first on, announced or withdrawn within one turn of the loop. */
static void change_vips(struct bgp_speaker *speaker, char *arguments, bool announce)
{
	struct advertiser *advertiser = bgp_speaker_advertiser(speaker);
	const char *first = strsep(&arguments, " "), *count = strsep(&arguments, " ");
	struct errbuf err = { .text = "give an address, and maybe a count" };
	struct addr vip;
	uint32_t left = 1;
	int result = first == NULL ? -EINVAL : addr_parse(first, &vip);

	if (result == 0 && count != NULL)
		result = bgp_number_parse("COUNT", count, &left, &err);
	for (; result == 0 && left > 0; left--) {
		if (announce)
			advertiser->ops->announce(advertiser, &vip);
		else
			result = advertiser->ops->withdraw(advertiser, &vip, &err);
		addr_next(&vip);
	}
	answer_result(result, &err);
}

static void change_peer(struct bgp_speaker *speaker, char *arguments)
{
	const char *verb = strsep(&arguments, " ");
	struct bgp_peer_config config;
	struct errbuf err = { 0 };
	struct addr address;
	int result = -EINVAL;

	if (arguments != NULL && strcmp(verb, "add") == 0) {
		result = bgp_peer_parse(arguments, &config, &err);
		if (result == 0)
			result = bgp_speaker_add_peer(speaker, &config, &err);
	} else if (arguments != NULL && addr_parse(arguments, &address) == 0) {
		result = bgp_speaker_remove_peer(speaker, &address, &err);
	}
	answer_result(result, &err);
}

static bool desires_everything(void *arg, const struct addr *vip)
{
	(void)arg;
	(void)vip;
	return true;
}

static void on_stopped(void *arg)
{
	struct driver *driver = arg;
	struct errbuf none = { 0 };

	driver->speaker = NULL;
	answer_result(0, &none);
	uv_close((uv_handle_t *)&driver->input, NULL);
}

static void run_line(struct driver *driver, char *line)
{
	struct bgp_speaker *speaker = driver->speaker;
	const char *verb = strsep(&line, " ");
	struct errbuf err = { .text = "unknown command" };
	int result = 0;

	if (speaker == NULL)
		return;
	if (strcmp(verb, "announce") == 0 || strcmp(verb, "withdraw") == 0) {
		change_vips(speaker, line, strcmp(verb, "announce") == 0);
		return;
	}
	if (strcmp(verb, "peer") == 0) {
		change_peer(speaker, line);
		return;
	}
	if (strcmp(verb, "status") == 0) {
		answer_status(speaker);
		return;
	}
	if (strcmp(verb, "stop") == 0 || strcmp(verb, "return") == 0) {
		bgp_speaker_stop(speaker,
				 strcmp(verb, "stop") == 0 ? BGP_STOP_FOR_GOOD : BGP_STOP_TO_RETURN,
				 line, on_stopped, driver);
		return;
	}
	if (strcmp(verb, "complete") == 0)
		result = bgp_speaker_advertiser(speaker)->ops->retain(
			bgp_speaker_advertiser(speaker), desires_everything, NULL, &err);
	else if (strcmp(verb, "shutdown-community") == 0 && line != NULL)
		bgp_speaker_graceful_shutdown(speaker, strcmp(line, "on") == 0);
	else if (strcmp(verb, "addresses") == 0)
		bgp_speaker_addresses_changed(speaker);
	else
		result = -EINVAL;
	answer_result(result, &err);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct driver *driver = handle->data;

	(void)suggested;
	*ret = uv_buf_init(driver->line + driver->filled,
			   (unsigned)(sizeof(driver->line) - driver->filled));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
	struct driver *driver = stream->data;
	char *end;

	(void)buf;
	if (length < 0)
		exit(1); /* the test is gone */
	driver->filled += (size_t)length;
	while ((end = memchr(driver->line, '\n', driver->filled)) != NULL) {
		size_t used = (size_t)(end - driver->line) + 1;

		*end = '\0';
		run_line(driver, driver->line);
		memmove(driver->line, driver->line + used, driver->filled - used);
		driver->filled -= used;
	}
}

static int parse_flag(int flag, const char *value, struct bgp_config *config, struct errbuf *err)
{
	uint32_t number = 0;
	int result = 0;

	switch (flag) {
	case 'a':
		return bgp_as_parse(value, &config->as, err);
	case 'i':
		return bgp_router_id_parse(value, &config->router_id, err);
	case 'c':
		return bgp_communities_parse(value, &config->attributes, err);
	case 'n':
		return bgp_next_hop_parse(value, config, err);
	case 'm':
		config->attributes.med_given = true;
		return bgp_number_parse("--bgp-med", value, &config->attributes.med, err);
	case 'l':
		return bgp_number_parse("--bgp-local-pref", value, &config->attributes.local_pref,
					err);
	case 'p':
		result = bgp_number_parse("--bgp-listen-port", value, &number, err);
		config->listen_port = (uint16_t)number;
		return result;
	case 'g':
		result = bgp_number_parse("--restart-time", value, &number, err);
		config->restart_time_s = (uint16_t)number;
		return result;
	case 'r':
		config->restarted = true;
		return 0;
	default:
		return errbuf_set(err, -EINVAL, "unknown flag");
	}
}

int main(int argc, char **argv)
{
	static struct driver driver;
	struct bgp_config config = bgp_config_default();
	struct errbuf err;
	int flag, result = 0;

	log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	while (result == 0 && (flag = getopt(argc, argv, "a:i:c:n:m:l:p:g:r")) != -1)
		result = parse_flag(flag, optarg, &config, &err);
	uv_loop_init(&driver.loop);
	if (result == 0)
		result = bgp_speaker_new(&driver.loop, &config, NULL, &driver.speaker, &err);
	if (result < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	uv_pipe_init(&driver.loop, &driver.input, 0);
	driver.input.data = &driver;
	uv_pipe_open(&driver.input, 0);
	uv_read_start((uv_stream_t *)&driver.input, on_alloc, on_read);
	uv_run(&driver.loop, UV_RUN_DEFAULT);
	return uv_loop_close(&driver.loop) == 0 ? 0 : 1;
}
