/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli/server_options.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "api/listen.h"
#include "core/ipam_pool.h"

typedef int option_set(struct server_options *options, const char *value, struct errbuf *err);

struct option_spec {
	const char *name;
	const char *value_name; /* NULL: a switch */
	option_set *set;
	const char *help;
};

/* ---- one setter per flag */

/* A decimal number from min to max, nothing else ("010", "+1" and "1 " are refused). */
static int parse_number(const char *flag, const char *value, uint32_t min, uint32_t max,
			uint32_t *ret, struct errbuf *err)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || (value[0] == '0' && value[1] != '\0') ||
	    *end != '\0' || errno != 0 || number < min || number > max)
		return errbuf_set(err, -EINVAL, "--%s takes a number from %u to %u, not '%s'", flag,
				  min, max, value);
	*ret = (uint32_t)number;
	return 0;
}

static int set_arp(struct server_options *options, const char *value, struct errbuf *err)
{
	(void)value;
	(void)err;
	options->arp = true;
	return 0;
}

static int set_help(struct server_options *options, const char *value, struct errbuf *err)
{
	(void)value;
	(void)err;
	options->help = true;
	return 0;
}

static int set_adapter(struct server_options *options, const char *value, struct errbuf *err)
{
	if (value[0] == '\0' || strlen(value) >= IFNAMSIZ || strchr(value, '/') != NULL)
		return errbuf_set(
			err, -EINVAL,
			"--adapter takes the name of a network device, such as eth0, not '%s'",
			value);
	options->adapter = value;
	return 0;
}

static int set_ipam_range(struct server_options *options, const char *value, struct errbuf *err)
{
	struct ipam_pool pool;
	int r = ipam_pool_parse(value, &pool, err);

	if (r < 0)
		return errbuf_prefix(err, r, "--ipamRange");
	ipam_pool_free(&pool);
	options->ipam_range = value;
	return 0;
}

static int set_port(struct server_options *options, const char *value, struct errbuf *err)
{
	uint32_t port;
	int r = parse_number("port", value, 1, UINT16_MAX, &port, err);

	if (r == 0)
		options->port = (uint16_t)port;
	return r;
}

static int set_api_listen(struct server_options *options, const char *value, struct errbuf *err)
{
	struct sockaddr_storage ignored;
	int r = listen_parse(value, API_PORT_DEFAULT, &ignored, err);

	if (r < 0)
		return errbuf_prefix(err, r, "--api-listen");
	if (options->api_listen_count == LIST_MAX)
		return errbuf_set(err, -EINVAL, "--api-listen can be given %d times at the most",
				  LIST_MAX);
	options->api_listen[options->api_listen_count++] = value;
	return 0;
}

static int set_datapath(struct server_options *options, const char *value, struct errbuf *err)
{
	static const char *const names[] = {
		[DATAPATH_AUTO] = "auto",
		[DATAPATH_XDP] = "xdp",
		[DATAPATH_XDP_GENERIC] = "xdp-generic",
		[DATAPATH_TC] = "tc",
		[DATAPATH_IPVS] = "ipvs",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(names[i], value) == 0) {
			options->datapath = (enum datapath_choice)i;
			return 0;
		}
	}
	return errbuf_set(err, -EINVAL,
			  "--datapath takes auto, xdp, xdp-generic, tc or ipvs, not '%s'", value);
}

static int set_path(const char *flag, const char *value, const char **ret, struct errbuf *err)
{
	if (value[0] != '/')
		return errbuf_set(err, -EINVAL, "--%s takes an absolute path, not '%s'", flag,
				  value);
	*ret = value;
	return 0;
}

static int set_state_dir(struct server_options *options, const char *value, struct errbuf *err)
{
	return set_path("state-dir", value, &options->state_dir, err);
}

static int set_pin_path(struct server_options *options, const char *value, struct errbuf *err)
{
	return set_path("pin-path", value, &options->pin_path, err);
}

static int set_snat_addresses(struct server_options *options, const char *value, struct errbuf *err)
{
	char list[LIST_MAX * ADDR_TEXT_SIZE], *rest = list, *item;

	if (strlen(value) >= sizeof(list))
		return errbuf_set(err, -EINVAL, "--snat-addresses takes %d addresses at the most",
				  LIST_MAX);
	memcpy(list, value, strlen(value) + 1);
	while ((item = strsep(&rest, ",")) != NULL) {
		struct addr addr;

		if (addr_parse(item, &addr) < 0 || !addr_is_usable_unicast(&addr))
			return errbuf_set(
				err, -EINVAL,
				"--snat-addresses takes addresses of this node, with commas "
				"between them; '%s' is none",
				item);
		if (options->snat_address_count == LIST_MAX)
			return errbuf_set(err, -EINVAL,
					  "--snat-addresses takes %d addresses at the most",
					  LIST_MAX);
		options->snat_addresses[options->snat_address_count++] = addr;
	}
	return 0;
}

static int set_flow_entries(struct server_options *options, const char *value, struct errbuf *err)
{
	return parse_number("flow-entries", value, 1024, 1U << 28, &options->flow_entries, err);
}

static int set_arp_interval(struct server_options *options, const char *value, struct errbuf *err)
{
	return parse_number("arp-interval", value, 1, 86400, &options->arp_interval_s, err);
}

static int set_arp_probe(struct server_options *options, const char *value, struct errbuf *err)
{
	return parse_number("arp-probe", value, 0, 10000, &options->arp_probe_ms, err);
}

static int set_timeout_established(struct server_options *options, const char *value,
				   struct errbuf *err)
{
	return parse_number("timeout-established", value, 1, 1U << 30,
			    &options->timeout_established_s, err);
}

static int set_timeout_udp(struct server_options *options, const char *value, struct errbuf *err)
{
	return parse_number("timeout-udp", value, 1, 1U << 30, &options->timeout_udp_s, err);
}

static int set_log_format(struct server_options *options, const char *value, struct errbuf *err)
{
	if (!log_format_parse(value, &options->log_format))
		return errbuf_set(err, -EINVAL, "--log-format takes text, logfmt or json, not '%s'",
				  value);
	return 0;
}

static int set_log_level(struct server_options *options, const char *value, struct errbuf *err)
{
	if (!log_level_parse(value, &options->log_level))
		return errbuf_set(err, -EINVAL,
				  "--log-level takes error, warn, info or debug, not '%s'", value);
	return 0;
}

static int set_on_exit(struct server_options *options, const char *value, struct errbuf *err)
{
	if (strcmp(value, "withdraw") == 0)
		options->on_exit = ON_EXIT_WITHDRAW;
	else if (strcmp(value, "keep") == 0)
		options->on_exit = ON_EXIT_KEEP;
	else if (strcmp(value, "drain") == 0)
		options->on_exit = ON_EXIT_DRAIN;
	else
		return errbuf_set(err, -EINVAL, "--on-exit takes withdraw, keep or drain, not '%s'",
				  value);
	return 0;
}

static int set_drain_timeout(struct server_options *options, const char *value, struct errbuf *err)
{
	return parse_number("drain-timeout", value, 1, 86400, &options->drain_timeout_s, err);
}

static int set_store_reset(struct server_options *options, const char *value, struct errbuf *err)
{
	(void)value;
	(void)err;
	options->store_reset = true;
	return 0;
}

/* ---- the table */

static const struct option_spec specs[] = {
	{ "adapter", "NAME", set_adapter,
	  "network device that VIPs are put on, such as eth0 (needed)" },
	{ "arp", NULL, set_arp, "announce VIPs on layer 2, by gratuitous ARP and unsolicited NA" },
	{ "ipamRange", "LIST", set_ipam_range,
	  "VIPs to give out: A-B, CIDR or address, with commas between them" },
	{ "port", "PORT", set_port, "port of the API (10001)" },
	{ "api-listen", "ADDR[:PORT]", set_api_listen,
	  "address the API listens on; repeatable (0.0.0.0 and [::])" },
	{ "datapath", "NAME", set_datapath,
	  "auto, xdp, xdp-generic, tc or ipvs (auto: the best that works, per device)" },
	{ "snat-addresses", "LIST", set_snat_addresses,
	  "source addresses towards backends (the address of the route to the backend)" },
	{ "flow-entries", "N", set_flow_entries, "flows that can be tracked (by memory)" },
	{ "timeout-established", "S", set_timeout_established,
	  "seconds an established TCP connection may be idle (432000)" },
	{ "timeout-udp", "S", set_timeout_udp,
	  "seconds a UDP flow with replies may be idle (120)" },
	{ "arp-interval", "S", set_arp_interval, "seconds between repeated announcements (60)" },
	{ "arp-probe", "MS", set_arp_probe,
	  "milliseconds between the three probes for a VIP in use elsewhere; 0: no probes (100)" },
	{ "state-dir", "DIR", set_state_dir,
	  "where the desired state is kept (" STATE_DIR_DEFAULT ")" },
	{ "pin-path", "DIR", set_pin_path, "where maps are pinned (" PIN_PATH_DEFAULT ")" },
	{ "on-exit", "WHAT", set_on_exit,
	  "on SIGTERM: withdraw (default) takes everything off the node; keep leaves it working; "
	  "drain withdraws when flows have ended" },
	{ "drain-timeout", "S", set_drain_timeout,
	  "seconds that --on-exit drain waits for flows to end (60)" },
	{ "store-reset", NULL, set_store_reset,
	  "when the store is damaged, move it aside and start with no load balancers" },
	{ "log-format", "FORMAT", set_log_format, "text, logfmt or json (text)" },
	{ "log-level", "LEVEL", set_log_level, "error, warn, info or debug (info)" },
	{ "help", NULL, set_help, "print this" },
};
#define SPEC_COUNT (sizeof(specs) / sizeof(*specs))

void server_options_print_help(FILE *out)
{
	fprintf(out, "Usage: slb server --arp --adapter NAME --ipamRange LIST [FLAGS]\n\nFlags:\n");
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", specs[i].name,
			 specs[i].value_name != NULL ? " " : "",
			 specs[i].value_name != NULL ? specs[i].value_name : "");
		fprintf(out, "  %-28s %s\n", left, specs[i].help);
	}
}

/* The flag whose name differs from `name` only in case, or begins like it: what was probably meant.
 */
static const char *closest_flag(const char *name, size_t length)
{
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if (length >= 3 && strncasecmp(specs[i].name, name, length) == 0)
			return specs[i].name;
	}
	return NULL;
}

static int unknown_flag(const char *given, struct errbuf *err)
{
	const char *name = given + strspn(given, "-");
	size_t length = strcspn(name, "=");
	const char *meant = closest_flag(name, length);

	if (meant != NULL)
		return errbuf_set(err, -EINVAL, "there is no flag '%s'; did you mean --%s?", given,
				  meant);
	return errbuf_set(err, -EINVAL, "there is no flag '%s'", given);
}

/* What must hold between flags. */
static int check_together(const struct server_options *options, struct errbuf *err)
{
	if (options->adapter == NULL)
		return errbuf_set(
			err, -EINVAL,
			"no adapter given: write --adapter NAME with the device that VIPs are "
			"put on, such as --adapter eth0");
	if (!options->arp)
		return errbuf_set(err, -EINVAL,
				  "nothing announces the VIPs: write --arp for layer 2");
	if (options->ipam_range == NULL)
		return errbuf_set(
			err, -EINVAL,
			"there are no addresses to give out: write --ipamRange with a range, such "
			"as --ipamRange 192.168.0.85-192.168.0.90");
	return 0;
}

/* getopt_long() accepts any unique beginning of a name; a flag that is added later must not change
 * what a script's abbreviation means, so only whole names count. */
static bool is_whole_name(const char *given, const char *name)
{
	return strncmp(given, "--", 2) == 0 && strncmp(given + 2, name, strlen(name)) == 0 &&
	       (given[2 + strlen(name)] == '\0' || given[2 + strlen(name)] == '=');
}

int server_options_parse(int argc, char **argv, struct server_options *ret, struct errbuf *err)
{
	struct server_options options = {
		.port = API_PORT_DEFAULT,
		.state_dir = STATE_DIR_DEFAULT,
		.pin_path = PIN_PATH_DEFAULT,
		.arp_interval_s = 60,
		.drain_timeout_s = 60,
		.arp_probe_ms = 100,
		.log_level = LOG_LEVEL_INFO,
	};
	struct option names[SPEC_COUNT + 1] = { 0 };
	bool seen[SPEC_COUNT] = { false };

	for (size_t i = 0; i < SPEC_COUNT; i++) {
		names[i].name = specs[i].name;
		names[i].has_arg = specs[i].value_name != NULL ? required_argument : no_argument;
	}
	opterr = 0;
	optind = 0; /* glibc: forget what an earlier call left */
	for (;;) {
		int at = optind > 0 ? optind : 1, index = -1;
		int c = getopt_long(argc, argv, "+:", names, &index);
		int r;

		if (c == -1)
			break;
		if (c == ':')
			return errbuf_set(err, -EINVAL, "%s needs a value", argv[at]);
		if (c != 0 || !is_whole_name(argv[at], specs[index].name))
			return unknown_flag(argv[at], err);
		if (seen[index] && specs[index].set != set_api_listen)
			return errbuf_set(err, -EINVAL, "--%s is given twice; give it once",
					  specs[index].name);
		seen[index] = true;
		r = specs[index].set(&options, optarg, err);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return errbuf_set(err, -EINVAL, "'%s' is no flag; flags begin with --",
				  argv[optind]);
	if (!options.help) {
		int r = check_together(&options, err);

		if (r < 0)
			return r;
	}
	*ret = options;
	return 0;
}
