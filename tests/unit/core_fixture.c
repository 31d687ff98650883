/* SPDX-License-Identifier: GPL-2.0-only */
#include "core_fixture.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
	(void)stat;
	(void)type;
	(void)walk;
	return remove(path);
}

void fixture_start(struct fixture *fixture)
{
	struct core_config config = {
		.loop = &fixture->loop,
		.datapath = &fixture->doubles.datapath,
		.advertiser = &fixture->doubles.advertiser,
		.addresses = &fixture->doubles.addresses,
	};
	struct errbuf err;

	if (store_open(&fixture->loop, fixture->directory, &fixture->store, &err) < 0)
		fail_msg("%s", err.text);
	config.store = fixture->store;
	if (core_start(&config, &fixture->core, &err) < 0)
		fail_msg("%s", err.text);
}

void fixture_stop(struct fixture *fixture)
{
	core_stop(fixture->core);
	store_close(fixture->store);
	fixture->core = NULL;
	fixture->store = NULL;
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
}

void fixture_restart(struct fixture *fixture)
{
	fixture_stop(fixture);
	fixture_start(fixture);
}

int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/slb-core-test-XXXXXX");
	if (mkdtemp(fixture->directory) == NULL)
		return -1;
	uv_loop_init(&fixture->loop);
	doubles_init(&fixture->doubles);
	fixture_start(fixture);
	doubles_reset(&fixture->doubles);
	*state = fixture;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	fixture_stop(fixture);
	doubles_free(&fixture->doubles);
	assert_int_equal(uv_loop_close(&fixture->loop), 0);
	nftw(fixture->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(fixture);
	return 0;
}

void fixture_wait(struct fixture *fixture, const struct answer *answer)
{
	while (answer->count == 0) {
		if (uv_run(&fixture->loop, UV_RUN_ONCE) == 0 && answer->count == 0)
			fail_msg("the loop has nothing left to do, and there is no answer");
	}
}

void answer_cb(void *arg, int status, const struct load_balancer *lb, const struct backend *backend,
	       const struct errbuf *err)
{
	struct answer *answer = arg;

	answer->count++;
	answer->status = status;
	answer->has_lb = lb != NULL;
	answer->has_backend = backend != NULL;
	if (lb != NULL) {
		answer->lb = *lb;
		answer->lb.backends = NULL;
		answer->backend_count = lb->backend_count;
	}
	if (backend != NULL)
		answer->backend = *backend;
	assert_true((status < 0) == (err != NULL));
	if (err != NULL) {
		assert_true(err->text[0] != '\0');
		snprintf(answer->text, sizeof(answer->text), "%s", err->text);
		answer->field = err->field;
	}
}

struct addr addr_of(const char *text)
{
	struct addr addr;

	if (addr_parse(text, &addr) < 0)
		fail_msg("not an address: %s", text);
	return addr;
}

struct load_balancer_request lb_request(const char *name, uint16_t port, const char *eip)
{
	struct load_balancer_request request = { .given = LB_NAME | LB_PORT, .port = port };

	snprintf(request.name, sizeof(request.name), "%s", name);
	if (eip != NULL) {
		request.given |= LB_EIP;
		request.eip = addr_of(eip);
	}
	return request;
}

struct backend_request backend_request(const char *ip, uint16_t port)
{
	return (struct backend_request){
		.given = BACKEND_IP_GIVEN | BACKEND_PORT_GIVEN,
		.ip = addr_of(ip),
		.port = port,
	};
}

void submit_lb(struct fixture *fixture, const char *name, uint16_t port, const char *eip,
	       struct answer *answer)
{
	struct load_balancer_request request = lb_request(name, port, eip);

	memset(answer, 0, sizeof(*answer));
	core_create_load_balancer(fixture->core, &request, answer_cb, answer);
}

void submit_backend(struct fixture *fixture, const uuid_t lb, const char *ip, struct answer *answer)
{
	struct backend_request request = backend_request(ip, 80);

	memset(answer, 0, sizeof(*answer));
	core_create_backend(fixture->core, lb, &request, answer_cb, answer);
}

struct answer make_lb(struct fixture *fixture, const char *name, uint16_t port, const char *eip)
{
	struct answer answer;

	submit_lb(fixture, name, port, eip, &answer);
	fixture_wait(fixture, &answer);
	return answer;
}

struct answer make_backend(struct fixture *fixture, const uuid_t lb, const char *ip)
{
	struct answer answer;

	submit_backend(fixture, lb, ip, &answer);
	fixture_wait(fixture, &answer);
	return answer;
}

struct answer delete_lb(struct fixture *fixture, const uuid_t lb)
{
	struct answer answer = { 0 };

	core_delete_load_balancer(fixture->core, lb, answer_cb, &answer);
	fixture_wait(fixture, &answer);
	return answer;
}

static void print_lb(FILE *out, const struct load_balancer *lb)
{
	char vip[ADDR_TEXT_SIZE], uuid[37];

	uuid_unparse_lower(lb->uuid, uuid);
	fprintf(out, "%s %s %s %u %s %s %d %u\n", uuid, lb->name, addr_format(&lb->vip, vip),
		lb->port, protocol_name(lb->protocol), scheduler_name(lb->scheduler),
		lb->source_nat, lb->affinity_s);
	for (size_t i = 0; i < lb->backend_count; i++) {
		const struct backend *backend = &lb->backends[i];

		uuid_unparse_lower(backend->uuid, uuid);
		fprintf(out, "  %s %s %u %s %u %s\n", uuid, addr_format(&backend->ip, vip),
			backend->port, backend_type_name(backend->type), backend->weight,
			backend_state_name(backend->state));
	}
}

char *core_state(const struct core *core)
{
	const struct load_balancer *lb = NULL;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	while ((lb = core_next(core, lb != NULL ? lb->created_order : 0)) != NULL)
		print_lb(out, lb);
	fclose(out);
	return text;
}

static void print_found(void *arg, struct load_balancer *lb)
{
	print_lb(arg, lb);
	load_balancer_free(lb);
}

void assert_agreement(struct fixture *fixture)
{
	struct doubles *doubles = &fixture->doubles;
	const struct load_balancer *lb = NULL;
	char *shown = core_state(fixture->core), *stored = NULL;
	char *a, *b;
	size_t size, count = 0;
	FILE *out = open_memstream(&stored, &size);
	struct errbuf err;
	struct addr vips[64];
	size_t vip_count = 0;

	assert_int_equal(store_load(fixture->store, print_found, out, &err), 0);
	fclose(out);
	assert_string_equal(shown, stored);
	free(shown);
	free(stored);

	while ((lb = core_next(fixture->core, lb != NULL ? lb->created_order : 0)) != NULL) {
		struct load_balancer *applied = doubles_applied(doubles, lb->uuid);
		struct vip_state *vip;
		size_t i, n;

		count++;
		assert_non_null(applied);
		out = open_memstream(&a, &n);
		print_lb(out, lb);
		fclose(out);
		out = open_memstream(&b, &n);
		print_lb(out, applied);
		fclose(out);
		assert_string_equal(a, b);
		free(a);
		free(b);
		HASH_FIND(hh, doubles->vips, &lb->vip, sizeof(lb->vip), vip);
		assert_non_null(vip);
		assert_true(vip->announced);
		for (i = 0; i < vip_count && !addr_equal(&vips[i], &lb->vip); i++)
			;
		if (i == vip_count && vip_count < 64)
			vips[vip_count++] = lb->vip;
	}
	assert_int_equal(count, core_count(fixture->core));
	assert_int_equal(HASH_COUNT(doubles->applied), count);
	assert_int_equal(HASH_COUNT(doubles->vips), vip_count);
	assert_int_equal(doubles_count_addresses(doubles), vip_count);
}
