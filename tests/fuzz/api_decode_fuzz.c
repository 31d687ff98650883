/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libFuzzer: the bodies of requests. The first byte says which object and for what; the rest is the
 * body. Beside what the sanitizers see: what is accepted keeps the model's limits, and what is
 * refused has a sentence.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_load_balancer(const struct load_balancer_request *lb, enum decode_purpose purpose)
{
	require(memchr(lb->name, '\0', sizeof(lb->name)) != NULL);
	for (const char *s = lb->name; *s != '\0'; s++)
		require((unsigned char)*s >= 0x20 && *s != 0x7f);
	require(purpose == DECODE_UPDATE || lb->given & LB_PORT);
	require(!(lb->given & LB_PORT) || lb->port > 0);
	require(!(lb->given & LB_EIP) || lb->eip.family == AF_INET || lb->eip.family == AF_INET6);
	require(!(lb->given & LB_PROTOCOL) || protocol_name(lb->protocol) != NULL);
	require(!(lb->given & LB_SCHEDULER) || scheduler_name(lb->scheduler) != NULL);
	require(lb->affinity_s <= AFFINITY_MAX_S);
}

static void check_backend(const struct backend_request *backend, enum decode_purpose purpose)
{
	require(purpose == DECODE_UPDATE ||
		(backend->given & BACKEND_IP_GIVEN && backend->given & BACKEND_PORT_GIVEN));
	require(!(backend->given & BACKEND_PORT_GIVEN) || backend->port > 0);
	require(backend->weight <= WEIGHT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_object_error error = { 0 };
	struct load_balancer_request lb;
	struct backend_request backend;
	enum decode_purpose purpose;
	bool is_backend;
	char *body;
	int rc;

	if (size == 0)
		return 0;
	is_backend = data[0] & 1;
	purpose = data[0] & 2 ? DECODE_UPDATE : DECODE_CREATE;
	/* On the heap and without a NUL behind it, as bodies arrive. */
	body = malloc(size - 1 > 0 ? size - 1 : 1);
	if (body == NULL)
		return 0;
	memcpy(body, data + 1, size - 1);
	if (is_backend)
		rc = decode_backend(body, size - 1, purpose, &backend, &error);
	else
		rc = decode_load_balancer(body, size - 1, purpose, &lb, &error);
	free(body);

	if (rc < 0)
		require((rc == -EBADMSG || rc == -EINVAL) && error.err.text[0] != '\0');
	else if (is_backend)
		check_backend(&backend, purpose);
	else
		check_load_balancer(&lb, purpose);
	return 0;
}
