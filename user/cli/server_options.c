/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli/server_options.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "api/listen.h"
#include "cloud/equinix_metal.h"
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

static int set_bgp(struct server_options *options, const char *value, struct errbuf *err)
{
	(void)value;
	(void)err;
	options->bgp = true;
	return 0;
}

static int set_equinix_metal(struct server_options *options, const char *value, struct errbuf *err)
{
	(void)value;
	(void)err;
	options->equinix_metal = true;
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

static int set_address_source(struct server_options *options, const char *value, struct errbuf *err)
{
	if (strcmp(value, "range") == 0)
		options->address_source = ADDRESSES_OF_RANGE;
	else if (strcmp(value, "equinix-metal") == 0)
		options->address_source = ADDRESSES_OF_EQUINIX_METAL;
	else
		return errbuf_set(err, -EINVAL,
				  "--address-source takes range or equinix-metal, not '%s'", value);
	return 0;
}

/* What a value means is the API's to say. */
static int set_text(const char *flag, const char *value, const char **ret, struct errbuf *err)
{
	if (value[0] == '\0')
		return errbuf_set(err, -EINVAL, "--%s needs a value", flag);
	*ret = value;
	return 0;
}

static int set_project(struct server_options *options, const char *value, struct errbuf *err)
{
	return set_text("project", value, &options->project, err);
}

static int set_facility(struct server_options *options, const char *value, struct errbuf *err)
{
	return set_text("facility", value, &options->facility, err);
}

static int set_device(struct server_options *options, const char *value, struct errbuf *err)
{
	return set_text("device", value, &options->device, err);
}

static int set_equinix_api(struct server_options *options, const char *value, struct errbuf *err)
{
	return set_text("equinix-api", value, &options->equinix_api, err);
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

static int set_bgp_as(struct server_options *options, const char *value, struct errbuf *err)
{
	int r = bgp_as_parse(value, &options->bgp_config.as, err);

	return r < 0 ? errbuf_prefix(err, r, "--bgp-as") : 0;
}

static int set_bgp_router_id(struct server_options *options, const char *value, struct errbuf *err)
{
	return bgp_router_id_parse(value, &options->bgp_config.router_id, err);
}

static int set_bgp_peer(struct server_options *options, const char *value, struct errbuf *err)
{
	struct bgp_peer_config peer;
	char text[ADDR_TEXT_SIZE];

	if (bgp_peer_parse(value, &peer, err) < 0)
		return -EINVAL;
	for (size_t i = 0; i < options->bgp_peer_count; i++) {
		if (addr_equal(&options->bgp_peers[i].address, &peer.address))
			return errbuf_set(err, -EINVAL, "--bgp-peer %s is given twice",
					  addr_format(&peer.address, text));
	}
	if (options->bgp_peer_count == LIST_MAX)
		return errbuf_set(err, -EINVAL, "--bgp-peer can be given %d times at the most",
				  LIST_MAX);
	options->bgp_peers[options->bgp_peer_count++] = peer;
	return 0;
}

static int set_bgp_communities(struct server_options *options, const char *value,
			       struct errbuf *err)
{
	int r = bgp_communities_parse(value, &options->bgp_config.attributes, err);

	return r < 0 ? errbuf_prefix(err, r, "--bgp-communities") : 0;
}

static int set_bgp_local_pref(struct server_options *options, const char *value, struct errbuf *err)
{
	return bgp_number_parse("--bgp-local-pref", value,
				&options->bgp_config.attributes.local_pref, err);
}

static int set_bgp_med(struct server_options *options, const char *value, struct errbuf *err)
{
	options->bgp_config.attributes.med_given = true;
	return bgp_number_parse("--bgp-med", value, &options->bgp_config.attributes.med, err);
}

static int set_bgp_next_hop(struct server_options *options, const char *value, struct errbuf *err)
{
	return bgp_next_hop_parse(value, &options->bgp_config, err);
}

static int set_bgp_listen_port(struct server_options *options, const char *value,
			       struct errbuf *err)
{
	uint32_t port;
	int r = parse_number("bgp-listen-port", value, 1, UINT16_MAX, &port, err);

	if (r == 0)
		options->bgp_config.listen_port = (uint16_t)port;
	return r;
}

static int set_bgp_restart_time(struct server_options *options, const char *value,
				struct errbuf *err)
{
	uint32_t restart_s;
	int r = parse_number("bgp-restart-time", value, 0, BGP_RESTART_TIME_MAX_S, &restart_s, err);

	if (r == 0)
		options->bgp_config.restart_time_s = (uint16_t)restart_s;
	return r;
}

static int set_bgp_graceful_shutdown(struct server_options *options, const char *value,
				     struct errbuf *err)
{
	return parse_number("bgp-graceful-shutdown", value, 0, 600,
			    &options->bgp_graceful_shutdown_s, err);
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
	{ "bgp", NULL, set_bgp, "announce VIPs to routers, by BGP" },
	{ "ipamRange", "LIST", set_ipam_range,
	  "VIPs to give out: A-B, CIDR or address, with commas between them" },
	{ "address-source", "NAME", set_address_source,
	  "where VIPs come from: range, or equinix-metal (with --equinixMetal that, else range)" },
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
	{ "bgp-as", "AS", set_bgp_as, "AS of this node (needed with --bgp)" },
	{ "bgp-peer", "ADDRESS,AS[,…]", set_bgp_peer,
	  "router to announce to; repeatable; then port=, password-file=, multihop=, "
	  "ttl-security[=], source=, hold=, connect-retry=, passive" },
	{ "bgp-router-id", "ID", set_bgp_router_id,
	  "BGP identifier, like an IPv4 address (the node's lowest)" },
	{ "bgp-next-hop", "ADDRESS", set_bgp_next_hop,
	  "next hop told to peers; one per family (the node's own address of the session)" },
	{ "bgp-communities", "LIST", set_bgp_communities,
	  "sent with every route: 65000:1, 65000:1:2 (large) or a name such as no-export" },
	{ "bgp-local-pref", "N", set_bgp_local_pref, "sent to peers of the same AS (100)" },
	{ "bgp-med", "N", set_bgp_med, "metric sent with every route (none)" },
	{ "bgp-listen-port", "PORT", set_bgp_listen_port, "port that peers connect to (179)" },
	{ "bgp-restart-time", "S", set_bgp_restart_time,
	  "seconds that peers keep routes while slb restarts; 0: not asked for (120)" },
	{ "bgp-graceful-shutdown", "S", set_bgp_graceful_shutdown,
	  "seconds that peers get to take other ways before a stop (3)" },
	{ "equinixMetal", NULL, set_equinix_metal,
	  "VIPs and BGP peers from the Equinix Metal API, or one like it; the token is in "
	  "PACKET_AUTH_TOKEN or METAL_AUTH_TOKEN" },
	{ "project", "ID", set_project, "project of this node there (needed with --equinixMetal)" },
	{ "facility", "CODE", set_facility,
	  "where VIPs are reserved (needed with --equinixMetal)" },
	{ "device", "NAME", set_device, "hostname or id of this node there (its host name)" },
	{ "equinix-api", "URL", set_equinix_api, "where that API is (" EQUINIX_METAL_URL ")" },
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
	fprintf(out, "Usage: slb server --arp --adapter NAME --ipamRange LIST [FLAGS]\n"
		     "       slb server --bgp --bgp-as AS --bgp-peer ADDRESS,AS --adapter lo "
		     "--ipamRange LIST [FLAGS]\n\nFlags:\n");
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

static bool is_about(const struct option_spec *spec, const char *prefix)
{
	return strncmp(spec->name, prefix, strlen(prefix)) == 0;
}

/* The name of a flag says what it has no meaning without. */
static int check_needs(const struct server_options *options, const bool *seen, struct errbuf *err)
{
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if (seen[i] && is_about(&specs[i], "arp-") && !options->arp)
			return errbuf_set(err, -EINVAL, "--%s has no meaning without --arp",
					  specs[i].name);
		if (seen[i] && is_about(&specs[i], "bgp-") && !options->bgp)
			return errbuf_set(err, -EINVAL, "--%s has no meaning without --bgp",
					  specs[i].name);
	}
	return 0;
}

static int check_equinix_metal(const struct server_options *options, struct errbuf *err)
{
	const struct {
		const char *flag, *value;
	} about[] = {
		{ "project", options->project },
		{ "facility", options->facility },
		{ "device", options->device },
		{ "equinix-api", options->equinix_api },
	};

	if (options->equinix_metal && !options->bgp)
		return errbuf_set(err, -EINVAL, "--equinixMetal has no meaning without --bgp");
	for (size_t i = 0; !options->equinix_metal && i < sizeof(about) / sizeof(*about); i++) {
		if (about[i].value != NULL)
			return errbuf_set(err, -EINVAL,
					  "--%s has no meaning without --equinixMetal",
					  about[i].flag);
	}
	if (options->equinix_metal && (options->project == NULL || options->facility == NULL))
		return errbuf_set(err, -EINVAL,
				  "--equinixMetal needs --project with the project's id and "
				  "--facility with a code such as am6");
	return 0;
}

static int check_addresses(const struct server_options *options, struct errbuf *err)
{
	if (options->address_source == ADDRESSES_OF_RANGE && options->ipam_range == NULL)
		return errbuf_set(
			err, -EINVAL,
			"there are no addresses to give out: write --ipamRange with a range, such "
			"as --ipamRange 192.168.0.85-192.168.0.90");
	if (options->address_source == ADDRESSES_OF_EQUINIX_METAL && !options->equinix_metal)
		return errbuf_set(err, -EINVAL,
				  "--address-source equinix-metal has no meaning without "
				  "--equinixMetal");
	if (options->address_source == ADDRESSES_OF_EQUINIX_METAL && options->ipam_range != NULL)
		return errbuf_set(
			err, -EINVAL,
			"VIPs come from --ipamRange or from --equinixMetal, not from both; "
			"write --address-source range for the range");
	return 0;
}

static int check_bgp(const struct server_options *options, struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];

	if (options->bgp_config.as == 0 && !options->equinix_metal)
		return errbuf_set(err, -EINVAL,
				  "--bgp needs the AS of this node: write --bgp-as, such as "
				  "--bgp-as 65000");
	for (size_t i = 0; i < options->bgp_peer_count; i++) {
		const struct bgp_peer_config *peer = &options->bgp_peers[i];
		int r = bgp_peer_check(peer, options->bgp_config.as, err);

		if (r < 0)
			return errbuf_prefix(err, r, "--bgp-peer %s",
					     addr_format(&peer->address, text));
	}
	return 0;
}

/* What must hold between flags. */
static int check_together(const struct server_options *options, const bool *seen,
			  struct errbuf *err)
{
	int r;

	if (options->adapter == NULL)
		return errbuf_set(
			err, -EINVAL,
			"no adapter given: write --adapter NAME with the device that VIPs are "
			"put on, such as --adapter eth0");
	if (!options->arp && !options->bgp)
		return errbuf_set(
			err, -EINVAL,
			"nothing announces the VIPs: write --arp for layer 2, or --bgp for "
			"routers");
	if (options->arp && options->bgp)
		return errbuf_set(
			err, -EINVAL,
			"--arp and --bgp exclude each other: a VIP would be claimed on its segment "
			"by one node while routers send to all that announce it, and stopping one "
			"of the two would not stop traffic; run a second slb on another range "
			"where both are wanted");
	r = check_needs(options, seen, err);
	if (r == 0)
		r = check_equinix_metal(options, err);
	if (r == 0)
		r = check_addresses(options, err);
	if (r == 0 && options->bgp)
		r = check_bgp(options, err);
	return r;
}

static bool is_repeatable(const struct option_spec *spec)
{
	return spec->set == set_api_listen || spec->set == set_bgp_peer ||
	       spec->set == set_bgp_next_hop;
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
		.bgp_config = bgp_config_default(),
		.bgp_graceful_shutdown_s = 3,
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
		if (seen[index] && !is_repeatable(&specs[index]))
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
	if (options.address_source == ADDRESSES_UNSAID)
		options.address_source =
			options.equinix_metal ? ADDRESSES_OF_EQUINIX_METAL : ADDRESSES_OF_RANGE;
	if (!options.help) {
		int r = check_together(&options, seen, err);

		if (r < 0)
			return r;
	}
	*ret = options;
	return 0;
}
