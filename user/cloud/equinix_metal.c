/* SPDX-License-Identifier: GPL-2.0-only */
#include "cloud/equinix_metal.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cloud/equinix_internal.h"

#define RETRY_MAX_MS 300000

/* ---- reports --------------------------------------------------------------------------------- */

void metal_report(const struct equinix_metal *metal, const char *format, ...)
{
	char sentence[ERRBUF_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	if (metal->config.report != NULL)
		metal->config.report(metal->config.report_arg, false, sentence);
}

void metal_trouble(struct equinix_metal *metal, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(metal->last_error.text, sizeof(metal->last_error.text), format, args);
	va_end(args);
	if (metal->config.report != NULL)
		metal->config.report(metal->config.report_arg, true, metal->last_error.text);
}

uint64_t metal_double(uint64_t retry_ms)
{
	return retry_ms * 2 < RETRY_MAX_MS ? retry_ms * 2 : RETRY_MAX_MS;
}

/* ---- opening --------------------------------------------------------------------------------- */

const char *equinix_metal_token(void)
{
	static const char *const names[] = { "PACKET_AUTH_TOKEN", "METAL_AUTH_TOKEN" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *token = getenv(names[i]);

		if (token != NULL && token[0] != '\0')
			return token;
	}
	return NULL;
}

static void set_default(uint64_t *value, uint64_t standard)
{
	if (*value == 0)
		*value = standard;
}

static void set_defaults(struct equinix_metal_config *config)
{
	set_default(&config->acquire_timeout_ms, 60000);
	set_default(&config->request_timeout_ms, 30000);
	set_default(&config->poll_ms, 1000);
	set_default(&config->retry_ms, 5000);
	set_default(&config->refresh_ms, 600000);
	set_default(&config->patience_ms, 3000);
	if (config->url == NULL)
		config->url = EQUINIX_METAL_URL;
	if (config->token == NULL)
		config->token = equinix_metal_token();
}

/* The device's name is the node's own unless it was given. */
static int set_names(struct equinix_metal *metal, struct errbuf *err)
{
	const struct equinix_metal_config *config = &metal->config;
	char hostname[HOST_NAME_MAX + 1] = "";

	if (config->project == NULL || config->facility == NULL || config->facility[0] == '\0')
		return errbuf_set(err, -EINVAL,
				  "--equinixMetal needs --project (its id) and --facility (its "
				  "code, such as am6)");
	if (config->token == NULL)
		return errbuf_set(err, -EINVAL,
				  "--equinixMetal needs a token of the API in the environment: set "
				  "PACKET_AUTH_TOKEN or METAL_AUTH_TOKEN");
	if (config->device == NULL && gethostname(hostname, sizeof(hostname)) < 0)
		return errbuf_set(err, -errno, "cannot read the host name: %s", strerror(errno));
	metal->facility = strdup(config->facility);
	metal->device_name = strdup(config->device != NULL ? config->device : hostname);
	if (metal->facility == NULL || metal->device_name == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open Equinix Metal: out of memory");
	return 0;
}

static int open_api(struct equinix_metal *metal, struct errbuf *err)
{
	const struct equinix_metal_config *config = &metal->config;
	const struct equinix_api_config api = {
		.loop = config->loop,
		.url = config->url,
		.token = config->token,
		.project = config->project,
		.ca_file = config->ca_file,
		.deadline_ms = config->request_timeout_ms,
		.connect_timeout_ms = config->connect_timeout_ms,
		.attempt_timeout_ms = config->attempt_timeout_ms,
		.backoff_ms = config->backoff_ms,
	};

	return equinix_api_open(&api, &metal->api, err);
}

static void free_metal(struct equinix_metal *metal)
{
	free(metal->survey.strays);
	free(metal->facility);
	free(metal->device_name);
	free(metal);
}

static void init_timer(struct equinix_metal *metal, uv_timer_t *timer)
{
	uv_timer_init(metal->config.loop, timer);
	timer->data = metal;
	metal->handles++;
}

int equinix_metal_open(const struct equinix_metal_config *config, struct equinix_metal **ret,
		       struct errbuf *err)
{
	struct equinix_metal *metal = calloc(1, sizeof(*metal));
	int error;

	if (metal == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open Equinix Metal: out of memory");
	metal->source.ops = &equinix_metal_ops;
	metal->config = *config;
	set_defaults(&metal->config);
	metal->survey.due_ms = UINT64_MAX;
	metal->survey.retry_ms = metal->node.retry_ms = metal->config.retry_ms;
	error = set_names(metal, err);
	if (error == 0)
		error = peers_open(metal, err);
	if (error == 0)
		error = open_api(metal, err);
	/* They are the caller's. */
	metal->config.url = metal->config.token = metal->config.project = NULL;
	metal->config.facility = metal->config.device = metal->config.ca_file = NULL;
	if (error < 0) {
		net_unsubscribe(metal->peers.subscription);
		free_metal(metal);
		return error;
	}
	init_timer(metal, &metal->node.timer);
	init_timer(metal, &metal->survey.timer);
	init_timer(metal, &metal->peers.timer);
	init_timer(metal, &metal->patience);
	*ret = metal;
	node_find(metal);
	return 0;
}

int equinix_metal_wait(struct equinix_metal *metal, struct errbuf *err)
{
	while (!metal->node.peers_known && metal->node.error == 0)
		uv_run(metal->config.loop, UV_RUN_ONCE);
	if (metal->node.error == 0)
		return 0;
	*err = metal->node.err;
	return metal->node.error;
}

struct address_source *equinix_metal_addresses(struct equinix_metal *metal)
{
	return &metal->source;
}

void equinix_metal_adopted(struct equinix_metal *metal)
{
	metal->adopted = true;
	survey_within(metal, 0);
}

/* ---- closing --------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct equinix_metal *metal = handle->data;
	void (*closed)(void *arg) = metal->closed;
	void *arg = metal->closed_arg;

	if (--metal->handles > 0)
		return;
	free_metal(metal);
	if (closed != NULL)
		closed(arg);
}

static void finish(uv_timer_t *timer)
{
	struct equinix_metal *metal = timer->data;
	struct equinix_api *api = metal->api;

	metal->api = NULL; /* settled, whatever the callbacks of the calls cut off say */
	equinix_api_close(api);
	while (metal->reservations != NULL)
		reservation_remove(metal->reservations);
	uv_close((uv_handle_t *)&metal->node.timer, on_closed);
	uv_close((uv_handle_t *)&metal->survey.timer, on_closed);
	uv_close((uv_handle_t *)&metal->peers.timer, on_closed);
	uv_close((uv_handle_t *)&metal->patience, on_closed);
}

void metal_settled(struct equinix_metal *metal)
{
	const struct reservation *reservation;

	if (!metal->closing || metal->api == NULL)
		return;
	DL_FOREACH (metal->reservations, reservation) {
		if (reservation_is_unsettled(reservation))
			return;
	}
	/* By the timer: the caller may be inside of the API's callback. */
	uv_timer_start(&metal->patience, finish, 0, 0);
}

void equinix_metal_close(struct equinix_metal *metal, bool keep_routes, void (*done)(void *arg),
			 void *arg)
{
	if (metal == NULL) {
		if (done != NULL)
			done(arg);
		return;
	}
	metal->closed = done;
	metal->closed_arg = arg;
	metal->keep_routes = keep_routes;
	metal->closing = true;
	uv_timer_stop(&metal->node.timer);
	uv_timer_stop(&metal->survey.timer);
	uv_timer_stop(&metal->peers.timer);
	peers_close(metal);
	uv_timer_start(&metal->patience, finish, metal->config.patience_ms, 0);
	reservations_cancel(metal);
	metal_settled(metal);
}

/* ---- state ----------------------------------------------------------------------------------- */

void equinix_metal_status(const struct equinix_metal *metal, struct equinix_metal_status *ret)
{
	const struct reservation *reservation;

	memset(ret, 0, sizeof(*ret));
	ret->device_id = metal->node.device.id;
	ret->hostname = metal->node.device.hostname;
	if (metal->node.error != 0 || metal->survey.complained)
		memcpy(ret->last_error, metal->last_error.text, sizeof(ret->last_error));
	DL_FOREACH (metal->reservations, reservation) {
		switch (reservation->state) {
		case RESERVATION_ADOPTED:
		case RESERVATION_HELD:
			ret->held++;
			break;
		case RESERVATION_WAITING:
		case RESERVATION_ASKED:
		case RESERVATION_PENDING:
			ret->asking++;
			break;
		case RESERVATION_GONE:
			break;
		default:
			ret->releasing++;
			break;
		}
	}
}
