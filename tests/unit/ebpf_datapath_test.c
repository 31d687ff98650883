/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The eBPF datapath against the kernel: what is in the pinned maps after every operation, what is
 * attached, what the sweep ends. In a network namespace of its own; root.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ebpf_lab.h"
#include "slb_abi.h"

static struct ebpf_lab lab;
static struct errbuf err; /* of the call made last */

#define assert_ok(expression)                                      \
	do {                                                       \
		err.text[0] = '\0';                                \
		if ((expression) < 0)                              \
			fail_msg("%s: %s", #expression, err.text); \
	} while (0)

static int open_lab(void **state)
{

	(void)state;
	if (ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err) == 0)
		return 0;
	print_error("%s\n", err.text);
	return -1;
}

static int close_lab(void **state)
{
	(void)state;
	ebpf_lab_close(&lab, false);
	return 0;
}

static int apply(const struct load_balancer *lb)
{
	return lab.dp->ops->apply(lab.dp, lb, &err);
}

/* ---- reading the maps ------------------------------------------------------------------------ */

static bool get_service(const struct load_balancer *lb, struct slb_service *ret)
{
	struct slb_service_key4 key = { .port = htons(lb->port), .protocol = (__u8)lb->protocol };
	int fd = ebpf_lab_map(&lab, "services4");
	bool found;

	memcpy(&key.vip, lb->vip.bytes, sizeof(key.vip));
	found = bpf_map_lookup_elem(fd, &key, ret) == 0;
	close(fd);
	return found;
}

static struct slb_backend get_backend(uint32_t id)
{
	struct slb_backend backend;
	int fd = ebpf_lab_map(&lab, "backends");

	assert_int_equal(bpf_map_lookup_elem(fd, &id, &backend), 0);
	close(fd);
	return backend;
}

static uint32_t id_of(const struct backend *backend)
{
	for (uint32_t id = 1; id <= 32; id++) {
		struct slb_backend value = get_backend(id);

		if (value.type != SLB_BACKEND_NONE && uuid_compare(value.uuid, backend->uuid) == 0)
			return id;
	}
	return 0;
}

static struct slb_config get_config(void)
{
	struct slb_config config;
	uint32_t key = 0;
	int fd = ebpf_lab_map(&lab, "config");

	assert_int_equal(bpf_map_lookup_elem(fd, &key, &config), 0);
	close(fd);
	return config;
}

/* The service's slots: their number, then backend ids. */
static const char *schedule_of(const struct load_balancer *lb)
{
	static char text[256];
	struct slb_service service;
	struct slb_slots line = { 0 };
	size_t length;
	int fd = ebpf_lab_map(&lab, "slots");

	assert_true(get_service(lb, &service));
	length = (size_t)snprintf(text, sizeof(text), "%u ", service.slot_count);
	for (uint32_t i = 0; i < service.slot_count && length < sizeof(text); i++) {
		uint32_t slot = service.first_slot + i, key = slot / SLB_SLOTS_PER_LINE;

		assert_int_equal(bpf_map_lookup_elem(fd, &key, &line), 0);
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%u ",
					   line.backend_id[slot % SLB_SLOTS_PER_LINE]);
	}
	close(fd);
	return text;
}

static uint32_t first_slot_of(const struct load_balancer *lb)
{
	struct slb_service service;

	assert_true(get_service(lb, &service));
	return service.first_slot;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void open_attaches_to_the_adapter(void **state)
{
	struct ebpf_uplink_info uplinks[4];
	struct slb_config config = get_config();

	(void)state;
	assert_int_equal(ebpf_uplinks_info(lab.dp, uplinks, 4), 1);
	assert_string_equal(uplinks[0].name, "dp0");
	assert_string_equal(uplinks[0].xdp_refused, "");
	assert_string_equal(uplinks[0].tc_refused, "");
	assert_true(uplinks[0].xdp && uplinks[0].tc && !uplinks[0].xdp_generic);
	assert_string_equal(lab.dp->ops->name, "xdp");
	assert_int_equal(config.abi_version, SLB_ABI_VERSION);
	assert_true(config.generation > 0);
	assert_true(config.ports[0].count > 0);
	assert_int_equal(ebpf_lab_run("ip link show dp0 | grep -q 'prog/xdp'"), 0);
	assert_int_equal(ebpf_lab_run("tc filter show dev dp0 ingress | grep -q slb_tc"), 0);
}

static void a_second_daemon_is_refused(void **state)
{
	struct ebpf_lab other = { 0 };

	(void)state;
	memcpy(other.pin_path, lab.pin_path, sizeof(other.pin_path));
	assert_int_equal(ebpf_lab_open(&other, EBPF_HOOK_AUTO, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another slb"));
	assert_int_equal(ebpf_purge(lab.pin_path, &err), -EBUSY);
}

/* ---- services -------------------------------------------------------------------------------- */

static void apply_writes_all_of_it(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 3);
	struct slb_service service;
	struct slb_backend backend;

	(void)state;
	assert_ok(apply(lb));
	assert_true(get_service(lb, &service));
	assert_int_not_equal(service.service_id, 0);
	assert_int_equal(service.scheduler, SLB_SCHEDULER_NEXT);
	assert_int_equal(service.flags, SLB_SERVICE_SOURCE_NAT);
	assert_int_equal(uuid_compare(service.uuid, lb->uuid), 0);
	assert_string_equal(schedule_of(lb), "3 1 2 3 ");
	backend = get_backend(2);
	assert_memory_equal(backend.ip, lb->backends[1].ip.bytes, 16);
	assert_int_equal(backend.port, htons(8000));
	assert_int_equal(backend.type, SLB_BACKEND_MASQ);
	assert_int_equal(backend.service_id, service.service_id);
	assert_int_equal(backend.source_count, 1); /* the address of dp0 */
	ebpf_lab_free(lb);
}

static void apply_again_writes_nothing(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 3);
	struct slb_config before, after;
	uint32_t first_slot;

	(void)state;
	assert_ok(apply(lb));
	before = get_config();
	first_slot = first_slot_of(lb);
	assert_ok(apply(lb));
	after = get_config();
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(first_slot_of(lb), first_slot);
	ebpf_lab_free(lb);
}

static void apply_repairs_a_removed_service(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 2);
	struct slb_service service;

	(void)state;
	assert_ok(apply(lb));
	assert_int_equal(
		ebpf_lab_run("bpftool map delete pinned %s/services4 key 10 91 0 100 0 80 6 0",
			     lab.pin_path),
		0);
	assert_false(get_service(lb, &service));
	assert_ok(apply(lb));
	assert_true(get_service(lb, &service));
	ebpf_lab_free(lb);
}

static void states_decide_who_is_scheduled(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 4);
	uint32_t generation;

	(void)state;
	assert_ok(apply(lb));
	generation = get_config().generation;
	lb->backends[1].state = BACKEND_DRAIN;
	lb->backends[3].weight = 0;
	assert_ok(apply(lb));
	assert_string_equal(schedule_of(lb), "2 1 3 ");
	assert_int_equal(get_config().generation, generation); /* nobody is cut */
	lb->backends[2].state = BACKEND_DISABLED;
	assert_ok(apply(lb));
	assert_string_equal(schedule_of(lb), "1 1 ");
	assert_int_equal(get_backend(3).flags, SLB_BACKEND_DISABLED);
	assert_true(get_config().generation > generation);
	ebpf_lab_free(lb);
}

static void schedulers_have_their_slots(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 2);
	struct slb_service service;

	(void)state;
	lb->scheduler = SCHEDULER_WRR;
	lb->backends[0].weight = 3;
	assert_ok(apply(lb));
	assert_string_equal(schedule_of(lb), "4 1 1 2 1 ");
	lb->scheduler = SCHEDULER_LC;
	assert_ok(apply(lb));
	assert_string_equal(schedule_of(lb), "2 1 2 ");
	assert_int_equal(get_backend(1).weight, 3);
	lb->scheduler = SCHEDULER_MAGLEV;
	assert_ok(apply(lb));
	assert_memory_equal(schedule_of(lb), "65537 ", 6);
	assert_true(get_service(lb, &service));
	assert_int_equal(service.scheduler, SLB_SCHEDULER_HASH);
	ebpf_lab_free(lb);
}

static void ids_return_only_after_the_sweep(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 3), *other;
	struct slb_backend gone;

	(void)state;
	assert_ok(apply(lb));
	lb->backend_count = 2;
	assert_ok(apply(lb));
	assert_string_equal(schedule_of(lb), "2 1 2 ");
	gone = get_backend(3);
	assert_int_equal(gone.type, SLB_BACKEND_NONE);
	assert_false(uuid_is_null(gone.uuid));

	other = ebpf_lab_balancer(AF_INET, 2, 1);
	assert_ok(apply(other));
	assert_int_equal(id_of(&other->backends[0]), 4);
	ebpf_lab_wait_ms(&lab, 5000); /* three passes */
	gone = get_backend(3);
	assert_true(uuid_is_null(gone.uuid));
	lb->backend_count = 3;
	assert_ok(apply(lb));
	assert_int_equal(id_of(&lb->backends[2]), 3);
	ebpf_lab_free(lb);
	ebpf_lab_free(other);
}

static void full_tables_are_said_and_change_nothing(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 30);
	struct load_balancer *other = ebpf_lab_balancer(AF_INET, 2, 3);
	struct slb_service service;

	(void)state;
	assert_ok(apply(lb));
	assert_int_equal(lab.dp->ops->check(lab.dp, other, &err), -ENOSPC);
	assert_int_equal(apply(other), -ENOSPC);
	assert_non_null(strstr(err.text, "32"));
	assert_false(get_service(other, &service));
	assert_int_equal(id_of(&other->backends[0]), 0);
	other->backend_count = 2; /* what was begun was given back */
	assert_ok(apply(other));
	ebpf_lab_free(lb);
	ebpf_lab_free(other);
}

static void remove_and_retain(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 2);
	struct slb_service service;
	struct traffic traffic;

	(void)state;
	assert_ok(lab.dp->ops->remove(lab.dp, lb, &err)); /* not there: fine */
	assert_int_equal(lab.dp->ops->traffic(lab.dp, lb, &traffic, NULL, &err), -ENOENT);
	assert_ok(apply(lb));
	assert_ok(lab.dp->ops->traffic(lab.dp, lb, &traffic, NULL, &err));
	assert_int_equal(traffic.connections, 0);
	assert_ok(lab.dp->ops->remove(lab.dp, lb, &err));
	assert_false(get_service(lb, &service));
	assert_int_equal(id_of(&lb->backends[0]), 0);
	ebpf_lab_free(lb);
}

static void check_refuses_what_cannot_be(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 1);

	(void)state;
	addr_parse("10.92.0.1", &lb->backends[0].ip);
	assert_int_equal(lab.dp->ops->check(lab.dp, lb, &err), -EINVAL);
	assert_string_equal(err.field, "type");
	lb->backends[0].type = BACKEND_LOCAL;
	assert_int_equal(lab.dp->ops->check(lab.dp, lb, &err), 0);
	addr_parse("fd91::11", &lb->backends[0].ip);
	assert_int_equal(lab.dp->ops->check(lab.dp, lb, &err), -EINVAL);
	assert_string_equal(err.field, "ip");
	ebpf_lab_free(lb);
}

static void ipv6_and_client_sources(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET6, 1, 2);
	struct slb_backend backend;

	(void)state;
	lb->source_nat = false;
	assert_ok(apply(lb));
	backend = get_backend(id_of(&lb->backends[0]));
	assert_memory_equal(backend.ip, lb->backends[0].ip.bytes, 16);
	assert_int_equal(backend.source_count, 0);
	assert_true(get_config().flags & SLB_CONFIG_CLIENT_SOURCE);
	lb->source_nat = true;
	assert_ok(apply(lb));
	backend = get_backend(id_of(&lb->backends[0]));
	assert_int_equal(backend.source_count, 1);
	assert_true(get_config().flags & SLB_CONFIG_CLIENT_SOURCE); /* half-open ones may be left */
	ebpf_lab_wait_ms(&lab, 4500);
	assert_false(get_config().flags & SLB_CONFIG_CLIENT_SOURCE);
	ebpf_lab_free(lb);
}

static void bpftool_prints_names(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, 1);
	char command[128];
	json_t *dump, *value;
	FILE *output;

	(void)state;
	assert_ok(apply(lb));
	snprintf(command, sizeof(command), "bpftool map dump pinned %s/services4 -j", lab.pin_path);
	output = popen(command, "re");
	dump = json_loadf(output, 0, NULL);
	pclose(output);
	assert_int_equal(json_array_size(dump), 1);
	value = json_object_get(json_object_get(json_array_get(dump, 0), "formatted"), "value");
	assert_int_equal(json_integer_value(json_object_get(value, "service_id")), 1);
	assert_int_equal(json_integer_value(json_object_get(value, "flags")),
			 SLB_SERVICE_SOURCE_NAT);
	json_decref(dump);
	ebpf_lab_free(lb);
}

int main(void)
{
#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, open_lab, close_lab)
	const struct CMUnitTest tests[] = {
		LAB_TEST(open_attaches_to_the_adapter),
		LAB_TEST(a_second_daemon_is_refused),
		LAB_TEST(apply_writes_all_of_it),
		LAB_TEST(apply_again_writes_nothing),
		LAB_TEST(apply_repairs_a_removed_service),
		LAB_TEST(states_decide_who_is_scheduled),
		LAB_TEST(schedulers_have_their_slots),
		LAB_TEST(ids_return_only_after_the_sweep),
		LAB_TEST(full_tables_are_said_and_change_nothing),
		LAB_TEST(remove_and_retain),
		LAB_TEST(check_refuses_what_cannot_be),
		LAB_TEST(ipv6_and_client_sources),
		LAB_TEST(bpftool_prints_names),
	};
	int failed;

	if (!ebpf_lab_enter(&lab)) {
		print_message("skipped: needs root\n");
		return 0;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	ebpf_lab_leave(&lab);
	return failed;
}
