/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server_options: the flags of `slb server`, read from one table that the help text is made from
 * too.
 *
 * Parsing touches nothing but memory, and reads password files: what needs the machine (does the
 * adapter exist?) is found out by whoever uses the value.
 */
#ifndef SLB_CLI_SERVER_OPTIONS_H
#define SLB_CLI_SERVER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "advertise/bgp/bgp_config.h"
#include "datapath/ladder.h"
#include "lib/addr.h"
#include "lib/errbuf.h"
#include "lib/log.h"

#define API_PORT_DEFAULT  10001
#define STATE_DIR_DEFAULT "/var/lib/slb"
#define PIN_PATH_DEFAULT  "/sys/fs/bpf/slb"
#define LIST_MAX          64 /* --api-listen, --snat-addresses, --bgp-peer: how many there may be */

/* What SIGTERM does: leave all as it is for a successor, take the VIPs away, or take them away once
 * the flows have ended. */
enum on_exit { ON_EXIT_WITHDRAW, ON_EXIT_KEEP, ON_EXIT_DRAIN };

/* Where VIPs come from. Unsaid (parsing replaces it): from --equinixMetal when given, else the
 * range.
 */
enum address_source_choice { ADDRESSES_UNSAID, ADDRESSES_OF_RANGE, ADDRESSES_OF_EQUINIX_METAL };

struct server_options {
	bool help;
	bool arp, bgp;       /* exactly one of them */
	const char *adapter; /* all strings are borrowed from argv */
	enum address_source_choice address_source;
	const char *ipam_range; /* NULL when addresses come from elsewhere */
	uint16_t port;
	const char *api_listen[LIST_MAX];
	size_t api_listen_count;
	enum datapath_choice datapath;
	const char *state_dir;
	const char *pin_path;
	struct addr snat_addresses[LIST_MAX];
	size_t snat_address_count;
	uint32_t flow_entries; /* 0: by the machine's memory */
	uint32_t arp_interval_s;
	uint32_t arp_probe_ms;
	struct bgp_config bgp_config;
	struct bgp_peer_config bgp_peers[LIST_MAX];
	size_t bgp_peer_count;
	uint32_t bgp_graceful_shutdown_s;
	bool equinix_metal; /* then with project and facility; the others may be NULL */
	const char *project, *facility, *device, *equinix_api;
	uint32_t timeout_established_s, timeout_udp_s; /* 0: the default */
	enum log_format log_format;
	enum log_level log_level;
	enum on_exit on_exit;
	uint32_t drain_timeout_s;
	bool store_reset; /* a damaged store is moved aside */
};

/* argv[0] is "server". -EINVAL: err says which flag is wrong and what to write instead. */
int server_options_parse(int argc, char **argv, struct server_options *ret, struct errbuf *err);

void server_options_print_help(FILE *out);

#endif
