/* SPDX-License-Identifier: GPL-2.0-only */
/* The flags of `slb server`: what is accepted, and the sentence for what is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/server_options.h"

#define ARGS_MAX 40
#define BASE     "--arp --adapter eth0 --ipamRange 10.0.0.1-10.0.0.9"
#define METAL    "--bgp --equinixMetal --project p --facility am6 --adapter lo"
#define BGP      "--bgp --bgp-as 65010 --adapter lo --ipamRange 10.0.0.1-10.0.0.9"

/* Parses a command line written as one string, words separated by single spaces. */
static int parse(const char *line, struct server_options *options, struct errbuf *err)
{
	static char copy[1024]; /* options borrow from it */
	char *argv[ARGS_MAX + 1] = { (char *)"server" }, *rest = copy, *word;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	while ((word = strsep(&rest, " ")) != NULL && argc < ARGS_MAX) {
		if (*word != '\0')
			argv[argc++] = word;
	}
	return server_options_parse(argc, argv, options, err);
}

static void defaults(void **state)
{
	struct server_options options;
	struct errbuf err;

	(void)state;
	assert_int_equal(parse(BASE, &options, &err), 0);
	assert_string_equal(options.adapter, "eth0");
	assert_string_equal(options.ipam_range, "10.0.0.1-10.0.0.9");
	assert_true(options.arp);
	assert_int_equal(options.port, 10001);
	assert_int_equal(options.datapath, DATAPATH_AUTO);
	assert_string_equal(options.state_dir, "/var/lib/slb");
	assert_string_equal(options.pin_path, "/sys/fs/bpf/slb");
	assert_int_equal(options.on_exit, ON_EXIT_WITHDRAW);
}

static void all_values(void **state)
{
	struct server_options options;
	struct errbuf err;

	(void)state;
	assert_int_equal(
		parse(BASE " --port=10002 --api-listen 127.0.0.1 --api-listen=[::1]:99 "
			   "--datapath tc --state-dir /s --pin-path /p --on-exit keep "
			   "--snat-addresses 10.0.0.2,fd00::2 --log-format json --log-level debug",
		      &options, &err),
		0);
	assert_int_equal(options.port, 10002);
	assert_int_equal(options.api_listen_count, 2);
	assert_string_equal(options.api_listen[1], "[::1]:99");
	assert_int_equal(options.datapath, DATAPATH_TC);
	assert_string_equal(options.pin_path, "/p");
	assert_int_equal(options.on_exit, ON_EXIT_KEEP);
	assert_int_equal(options.snat_address_count, 2);
	assert_int_equal(options.snat_addresses[1].family, AF_INET6);
	assert_int_equal(options.log_format, LOG_FORMAT_JSON);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
}

static void bgp(void **state)
{
	struct server_options options;
	struct errbuf err;

	(void)state;
	assert_int_equal(parse(BGP, &options, &err), 0);
	assert_true(options.bgp);
	assert_false(options.arp);
	assert_int_equal(options.bgp_peer_count, 0); /* the API may bring them */
	assert_int_equal(options.bgp_config.listen_port, 179);
	assert_int_equal(options.bgp_config.restart_time_s, 120);
	assert_int_equal(options.bgp_graceful_shutdown_s, 3);

	assert_int_equal(
		parse(BGP " --bgp-peer 192.0.2.1,65001 --bgp-peer=2001:db8::1,65001,passive,hold=9 "
			  "--bgp-router-id 192.0.2.9 --bgp-communities 65000:1,no-export "
			  "--bgp-local-pref 200 --bgp-med 10 --bgp-next-hop 192.0.2.10 "
			  "--bgp-next-hop 2001:db8::10 --bgp-listen-port 1179 "
			  "--bgp-restart-time 0 --bgp-graceful-shutdown 0",
		      &options, &err),
		0);
	assert_int_equal(options.bgp_peer_count, 2);
	assert_int_equal(options.bgp_peers[0].as, 65001);
	assert_true(options.bgp_peers[1].passive);
	assert_int_equal(options.bgp_peers[1].hold_s, 9);
	assert_int_equal(options.bgp_config.as, 65010);
	assert_int_equal(options.bgp_config.router_id, 0xc0000209);
	assert_int_equal(options.bgp_config.attributes.community_count, 2);
	assert_int_equal(options.bgp_config.attributes.local_pref, 200);
	assert_true(options.bgp_config.attributes.med_given);
	assert_int_equal(options.bgp_config.next_hop[BGP_IPV4].family, AF_INET);
	assert_int_equal(options.bgp_config.next_hop[BGP_IPV6].family, AF_INET6);
	assert_int_equal(options.bgp_config.listen_port, 1179);
	assert_int_equal(options.bgp_config.restart_time_s, 0);
	assert_int_equal(options.bgp_graceful_shutdown_s, 0);
}

static void equinix_metal(void **state)
{
	struct server_options options;
	struct errbuf err;

	(void)state;
	assert_int_equal(parse(METAL, &options, &err), 0);
	assert_int_equal(options.address_source, ADDRESSES_OF_EQUINIX_METAL);
	assert_int_equal(options.bgp_config.as, 0); /* the API tells */
	assert_null(options.device);
	assert_int_equal(parse(METAL " --device node-a --equinix-api http://192.0.2.1/metal/v1 "
				     "--address-source range --ipamRange 10.0.0.1 --bgp-as 65000",
			       &options, &err),
			 0);
	assert_int_equal(options.address_source, ADDRESSES_OF_RANGE);
	assert_string_equal(options.device, "node-a");
	assert_string_equal(options.equinix_api, "http://192.0.2.1/metal/v1");
	assert_int_equal(parse(BASE, &options, &err), 0);
	assert_int_equal(options.address_source, ADDRESSES_OF_RANGE);
}

/* A wrong line, and what its sentence must hold. */
static const char *const wrong[][2] = {
	{ "", "--adapter" },
	{ "--adapter eth0 --ipamRange 10.0.0.1", "--arp" },
	{ "--arp --adapter eth0", "--ipamRange" },
	{ BASE " --ipamrange 10.0.0.1", "did you mean --ipamRange?" },
	{ BASE " --adap eth1", "did you mean --adapter?" },
	{ BASE " --nonsense", "there is no flag '--nonsense'" },
	{ BASE " -x", "there is no flag '-x'" },
	{ BASE " extra", "'extra' is no flag" },
	{ BASE " --port", "--port needs a value" },
	{ BASE " --port 0", "1 to 65535, not '0'" },
	{ BASE " --port 65536", "not '65536'" },
	{ BASE " --port 80x", "not '80x'" },
	{ BASE " --port -1", "not '-1'" },
	{ BASE " --port 080", "not '080'" },
	{ BASE " --adapter eth1", "given twice" },
	{ "--arp --adapter eth0 --ipamRange 10.0.0.9-10.0.0.1", "--ipamRange" },
	{ BASE " --api-listen nowhere", "--api-listen" },
	{ BASE " --datapath fast", "auto, xdp, xdp-generic, tc or ipvs" },
	{ BASE " --state-dir relative", "absolute path" },
	{ BASE " --snat-addresses 10.0.0.2,x", "'x'" },
	{ BASE " --snat-addresses 127.0.0.1", "'127.0.0.1'" },
	{ BASE " --log-format xml", "text, logfmt or json" },
	{ BASE " --log-level loud", "error, warn, info or debug" },
	{ BASE " --on-exit maybe", "withdraw, keep or drain" },
	{ "--arp --ipamRange 10.0.0.1 --adapter a/b", "name of a network device" },
	{ "--arp --ipamRange 10.0.0.1 --adapter nameofadevicethatistoolong",
	  "name of a network device" },
	{ BASE " --arp=yes", "--arp" },
	{ "--adapter eth0 --ipamRange 10.0.0.1", "--bgp for routers" },
	{ BASE " --bgp --bgp-as 65010", "--arp and --bgp exclude each other: a VIP" },
	{ BASE " --bgp-as 65010", "--bgp-as has no meaning without --bgp" },
	{ BASE " --bgp-peer 192.0.2.1,65001", "--bgp-peer has no meaning without --bgp" },
	{ BASE " --bgp-graceful-shutdown 1", "no meaning without --bgp" },
	{ BGP " --arp-probe 0", "--arp-probe has no meaning without --arp" },
	{ "--bgp --adapter lo --ipamRange 10.0.0.1", "--bgp-as 65000" },
	{ "--bgp --bgp-as 65010 --adapter lo", "--ipamRange" },
	{ "--bgp --bgp-as 0 --adapter lo --ipamRange 10.0.0.1", "AS 0 is reserved" },
	{ BGP " --bgp-peer 192.0.2.1", "write 192.0.2.1,AS" },
	{ BGP " --bgp-peer 192.0.2.1,65001,colour=red", "there are port=, password-file=" },
	{ BGP " --bgp-peer 192.0.2.1,65001,password-file=/nowhere", "/nowhere" },
	{ BGP " --bgp-peer 192.0.2.1,65001 --bgp-peer 192.0.2.1,65002",
	  "192.0.2.1 is given twice" },
	{ BGP " --bgp-peer 192.0.2.1,65010,multihop=2", "another AS" },
	{ BGP " --bgp-router-id x", "--bgp-router-id x" },
	{ BGP " --bgp-next-hop 0.0.0.0", "--bgp-next-hop" },
	{ BGP " --bgp-communities red", "\"red\" is not a community" },
	{ BGP " --bgp-local-pref -1", "--bgp-local-pref" },
	{ BGP " --bgp-med x", "--bgp-med" },
	{ BGP " --bgp-listen-port 0", "1 to 65535, not '0'" },
	{ BGP " --bgp-restart-time 4096", "0 to 4095, not '4096'" },
	{ BGP " --bgp-graceful-shutdown 601", "not '601'" },
	{ BGP " --bgp-as 65011", "--bgp-as is given twice" },
	{ BGP " --project p", "--project has no meaning without --equinixMetal" },
	{ BASE " --equinixMetal --project p --facility f", "no meaning without --bgp" },
	{ "--bgp --equinixMetal --adapter lo --facility am6", "--project with the project's id" },
	{ METAL " --ipamRange 10.0.0.1", "not from both" },
	{ METAL " --address-source range", "--ipamRange with a range" },
	{ METAL " --address-source dhcp", "range or equinix-metal, not 'dhcp'" },
	{ METAL " --project=", "--project" },
	{ BGP " --address-source equinix-metal", "without --equinixMetal" },
	{ BGP " --bgp-pee 192.0.2.1,65001", "did you mean --bgp-peer?" },
};

static void wrong_lines_are_explained(void **state)
{
	struct server_options options, before;
	struct errbuf err;

	(void)state;
	memset(&options, 0x5a, sizeof(options));
	memcpy(&before, &options, sizeof(options));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(parse(wrong[i][0], &options, &err), -EINVAL);
		if (strstr(err.text, wrong[i][1]) == NULL)
			fail_msg("'%s' gave: %s", wrong[i][0], err.text);
		assert_memory_equal(&options, &before, sizeof(options));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(all_values),
		cmocka_unit_test(bgp),
		cmocka_unit_test(equinix_metal),
		cmocka_unit_test(wrong_lines_are_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
