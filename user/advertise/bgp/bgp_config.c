/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/bgp/bgp_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEER_TEXT_SIZE 1024

struct bgp_config bgp_config_default(void)
{
	return (struct bgp_config){
		.listen_port = BGP_PORT,
		.restart_time_s = BGP_RESTART_DEFAULT_S,
		.attributes = { .local_pref = BGP_LOCAL_PREF_DEFAULT },
	};
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* Decimal digits and nothing else, up to max. */
static bool parse_digits(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (uint64_t)(*text - '0');
		if (value > max)
			return false;
	}
	*ret = value;
	return true;
}

int bgp_number_parse(const char *flag, const char *text, uint32_t *ret, struct errbuf *err)
{
	uint64_t value;

	if (!parse_digits(text, UINT32_MAX, &value))
		return errbuf_set(err, -EINVAL, "%s %s: give a number from 0 to 4294967295", flag,
				  text);
	*ret = (uint32_t)value;
	return 0;
}

/* rfc: 5396 "asdot+": high and low sixteen bits with a dot between. */
static bool parse_asdot(const char *text, uint64_t *ret)
{
	const char *dot = strchr(text, '.');
	char high_text[8];
	uint64_t high, low;

	if (dot == NULL || (size_t)(dot - text) >= sizeof(high_text))
		return false;
	memcpy(high_text, text, (size_t)(dot - text));
	high_text[dot - text] = '\0';
	if (!parse_digits(high_text, UINT16_MAX, &high) || !parse_digits(dot + 1, UINT16_MAX, &low))
		return false;
	*ret = high << 16 | low;
	return true;
}

static int check_as(uint64_t as, struct errbuf *err)
{
	/* rfc: 7607 (0), 7300 (65535 and 4294967295), 6793 (AS_TRANS) */
	if (as == 0 || as == UINT16_MAX || as == UINT32_MAX || as == BGP_AS_TRANS)
		return errbuf_set(err, -EINVAL,
				  "AS %llu is reserved; take the number of your network, or a "
				  "private one from 64512 to 65534",
				  (unsigned long long)as);
	return 0;
}

int bgp_as_parse(const char *text, uint32_t *ret, struct errbuf *err)
{
	uint64_t as;

	if (!parse_digits(text, UINT32_MAX, &as) && !parse_asdot(text, &as))
		return errbuf_set(err, -EINVAL,
				  "\"%s\" is not an AS number; give one from 1 to 4294967294, such "
				  "as 65000 or 1.10",
				  text);
	if (check_as(as, err) < 0)
		return -EINVAL;
	*ret = (uint32_t)as;
	return 0;
}

int bgp_router_id_parse(const char *text, uint32_t *ret, struct errbuf *err)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1 || in.s_addr == 0)
		return errbuf_set(err, -EINVAL,
				  "--bgp-router-id %s: give an IPv4 address of this node, such as "
				  "192.0.2.1",
				  text);
	*ret = ntohl(in.s_addr);
	return 0;
}

int bgp_next_hop_parse(const char *text, struct bgp_config *config, struct errbuf *err)
{
	struct addr addr;

	if (addr_parse(text, &addr) < 0 || !addr_is_usable_unicast(&addr))
		return errbuf_set(err, -EINVAL,
				  "--bgp-next-hop %s: give an address of this node that the "
				  "routers can reach",
				  text);
	config->next_hop[bgp_family_of(&addr)] = addr;
	return 0;
}

/* ---- communities ---------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t value;
} well_known_communities[] = {
	{ "graceful-shutdown", BGP_COMMUNITY_GRACEFUL_SHUTDOWN },
	{ "accept-own", BGP_COMMUNITY_ACCEPT_OWN },
	{ "llgr-stale", BGP_COMMUNITY_LLGR_STALE },
	{ "no-llgr", BGP_COMMUNITY_NO_LLGR },
	{ "blackhole", BGP_COMMUNITY_BLACKHOLE },
	{ "no-export", BGP_COMMUNITY_NO_EXPORT },
	{ "no-advertise", BGP_COMMUNITY_NO_ADVERTISE },
	{ "no-export-subconfed", BGP_COMMUNITY_NO_EXPORT_SUBCONFED },
	{ "local-as", BGP_COMMUNITY_NO_EXPORT_SUBCONFED },
	{ "no-peer", BGP_COMMUNITY_NO_PEER },
};

/* Splits "a:b:c" in place; returns how many numbers there are (up to 3), or 0. */
static size_t split_community(char *text, uint64_t max, uint64_t numbers[3])
{
	size_t count = 0;

	for (char *part; (part = strsep(&text, ":")) != NULL; count++) {
		if (count == 3 || !parse_digits(part, max, &numbers[count]))
			return 0;
	}
	return count;
}

static int add_community(struct bgp_attributes *attributes, uint32_t value, struct errbuf *err)
{
	for (size_t i = 0; i < attributes->community_count; i++) {
		if (attributes->communities[i] == value)
			return 0;
	}
	if (attributes->community_count == BGP_COMMUNITIES_MAX)
		return errbuf_set(err, -ENOSPC, "there are more than %d communities",
				  BGP_COMMUNITIES_MAX);
	attributes->communities[attributes->community_count++] = value;
	return 0;
}

static int add_large_community(struct bgp_attributes *attributes, const uint64_t numbers[3],
			       struct errbuf *err)
{
	struct bgp_large_community value = { (uint32_t)numbers[0], (uint32_t)numbers[1],
					     (uint32_t)numbers[2] };

	for (size_t i = 0; i < attributes->large_community_count; i++) {
		if (memcmp(&attributes->large_communities[i], &value, sizeof(value)) == 0)
			return 0;
	}
	if (attributes->large_community_count == BGP_COMMUNITIES_MAX)
		return errbuf_set(err, -ENOSPC, "there are more than %d large communities",
				  BGP_COMMUNITIES_MAX);
	attributes->large_communities[attributes->large_community_count++] = value;
	return 0;
}

static int parse_community(const char *text, struct bgp_attributes *attributes, struct errbuf *err)
{
	char small[64], large[64];
	uint64_t numbers[3];

	for (size_t i = 0; i < sizeof(well_known_communities) / sizeof(well_known_communities[0]);
	     i++) {
		if (strcasecmp(well_known_communities[i].name, text) == 0)
			return add_community(attributes, well_known_communities[i].value, err);
	}
	if (strlen(text) < sizeof(small)) {
		memcpy(small, text, strlen(text) + 1);
		memcpy(large, text, strlen(text) + 1);
		if (split_community(small, UINT16_MAX, numbers) == 2)
			return add_community(attributes, (uint32_t)(numbers[0] << 16 | numbers[1]),
					     err);
		if (split_community(large, UINT32_MAX, numbers) == 3)
			return add_large_community(attributes, numbers, err);
	}
	return errbuf_set(err, -EINVAL,
			  "\"%s\" is not a community; write 65000:1, 65000:1:2 (large) or a name "
			  "such as no-export",
			  text);
}

int bgp_communities_parse(const char *text, struct bgp_attributes *attributes, struct errbuf *err)
{
	struct bgp_attributes changed = *attributes;
	char *copy = strdup(text), *rest = copy;
	int result = 0;

	if (copy == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	for (char *part; result == 0 && (part = strsep(&rest, ",")) != NULL;)
		result = parse_community(part, &changed, err);
	free(copy);
	if (result == 0)
		*attributes = changed;
	return result;
}

/* ---- peers ---------------------------------------------------------------------------------- */

static int read_password(const char *path, struct bgp_peer_config *peer, struct errbuf *err)
{
	char data[BGP_PASSWORD_MAX + 2]; /* one more, and a newline */
	struct stat status;
	ssize_t length;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return errbuf_set(err, -errno, "password file %s cannot be opened: %s", path,
				  strerror(errno));
	if (fstat(fd, &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH))) {
		close(fd);
		return errbuf_set(err, -EINVAL,
				  "password file %s is open to everybody; run: chmod 600 %s", path,
				  path);
	}
	length = read(fd, data, sizeof(data));
	if (length < 0)
		length = -errno;
	close(fd);
	if (length < 0)
		return errbuf_set(err, (int)length, "password file %s cannot be read: %s", path,
				  strerror((int)-length));
	if (length > 0 && data[length - 1] == '\n')
		length--;
	if (length == 0 || length > BGP_PASSWORD_MAX ||
	    memchr(data, '\n', (size_t)length) != NULL ||
	    memchr(data, '\0', (size_t)length) != NULL)
		return errbuf_set(err, -EINVAL,
				  "password file %s must hold one line of 1 to %d bytes", path,
				  BGP_PASSWORD_MAX);
	memcpy(peer->password, data, (size_t)length);
	peer->password[length] = '\0';
	explicit_bzero(data, sizeof(data));
	return 0;
}

static int parse_ranged(const char *key, const char *value, uint64_t least, uint64_t most,
			uint64_t *ret, struct errbuf *err)
{
	if (value == NULL || !parse_digits(value, most, ret) || *ret < least)
		return errbuf_set(err, -EINVAL, "%s=%s: give a number from %llu to %llu", key,
				  value == NULL ? "" : value, (unsigned long long)least,
				  (unsigned long long)most);
	return 0;
}

static int parse_port(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	uint64_t number = 0;

	if (parse_ranged("port", value, 1, UINT16_MAX, &number, err) < 0)
		return -EINVAL;
	peer->port = (uint16_t)number;
	return 0;
}

static int parse_password_file(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	if (value == NULL || *value == '\0')
		return errbuf_set(err, -EINVAL, "password-file= needs the path of a file");
	return read_password(value, peer, err);
}

static int parse_multihop(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	uint64_t number = 0;

	if (parse_ranged("multihop", value, 1, BGP_HOPS_MAX, &number, err) < 0)
		return -EINVAL;
	peer->multihop = (uint8_t)number;
	return 0;
}

static int parse_ttl_security(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	uint64_t number = 1;

	if (value != NULL &&
	    parse_ranged("ttl-security", value, 1, BGP_HOPS_MAX - 1, &number, err) < 0)
		return -EINVAL;
	peer->ttl_security = (uint8_t)number;
	return 0;
}

static int parse_source(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	if (value == NULL || addr_parse(value, &peer->source) < 0)
		return errbuf_set(err, -EINVAL, "source=%s: give an address of this node",
				  value == NULL ? "" : value);
	return 0;
}

static int parse_hold(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	uint64_t number = 0;

	if (parse_ranged("hold", value, 0, UINT16_MAX, &number, err) < 0)
		return -EINVAL;
	peer->hold_s = (uint16_t)number;
	return 0;
}

static int parse_connect_retry(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	uint64_t number = 0;

	if (parse_ranged("connect-retry", value, 1, UINT16_MAX, &number, err) < 0)
		return -EINVAL;
	peer->connect_retry_s = (uint16_t)number;
	return 0;
}

static int parse_passive(const char *value, struct bgp_peer_config *peer, struct errbuf *err)
{
	if (value != NULL)
		return errbuf_set(err, -EINVAL, "passive takes no value");
	peer->passive = true;
	return 0;
}

static const struct {
	const char *key;
	int (*parse)(const char *value, struct bgp_peer_config *peer, struct errbuf *err);
} peer_options[] = {
	{ "port", parse_port },
	{ "password-file", parse_password_file },
	{ "multihop", parse_multihop },
	{ "ttl-security", parse_ttl_security },
	{ "source", parse_source },
	{ "hold", parse_hold },
	{ "connect-retry", parse_connect_retry },
	{ "passive", parse_passive },
};

#define PEER_OPTION_COUNT (sizeof(peer_options) / sizeof(peer_options[0]))

static int parse_option(char *text, struct bgp_peer_config *peer, unsigned *seen,
			struct errbuf *err)
{
	char *value = text, *key = strsep(&value, "=");

	for (size_t i = 0; i < PEER_OPTION_COUNT; i++) {
		if (strcmp(peer_options[i].key, key) != 0)
			continue;
		if (*seen & 1u << i)
			return errbuf_set(err, -EINVAL, "%s is given twice", key);
		*seen |= 1u << i;
		return peer_options[i].parse(value, peer, err);
	}
	return errbuf_set(err, -EINVAL,
			  "\"%s\" is not known; there are port=, password-file=, multihop=, "
			  "ttl-security, source=, hold=, connect-retry= and passive",
			  key);
}

static int parse_peer(char *text, struct bgp_peer_config *peer, struct errbuf *err)
{
	char *address = strsep(&text, ","), *as = strsep(&text, ",");
	unsigned seen = 0;
	int result;

	if (addr_parse(address, &peer->address) < 0)
		return errbuf_set(err, -EINVAL, "\"%s\" is not an IPv4 or IPv6 address", address);
	if (as == NULL)
		return errbuf_set(err, -EINVAL, "the peer's AS is missing; write %s,AS", address);
	result = bgp_as_parse(as, &peer->as, err);
	for (char *part; result == 0 && (part = strsep(&text, ",")) != NULL;)
		result = parse_option(part, peer, &seen, err);
	return result;
}

int bgp_peer_parse(const char *text, struct bgp_peer_config *ret, struct errbuf *err)
{
	struct bgp_peer_config peer = {
		.port = BGP_PORT,
		.hold_s = BGP_HOLD_DEFAULT_S,
		.connect_retry_s = BGP_CONNECT_RETRY_DEFAULT_S,
	};
	char copy[PEER_TEXT_SIZE];
	int result;

	if (strlen(text) >= sizeof(copy))
		return errbuf_set(err, -EINVAL, "--bgp-peer: longer than %d bytes",
				  PEER_TEXT_SIZE - 1);
	memcpy(copy, text, strlen(text) + 1);
	result = parse_peer(copy, &peer, err);
	if (result == 0)
		result = bgp_peer_check(&peer, 0, err);
	if (result < 0)
		return errbuf_prefix(err, result, "--bgp-peer %s", text);
	*ret = peer;
	return 0;
}

int bgp_peer_check(const struct bgp_peer_config *peer, uint32_t local_as, struct errbuf *err)
{
	struct in6_addr in6 = addr_to_in6(&peer->address);

	if (peer->address.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in6))
		return errbuf_set(err, -EINVAL,
				  "a link-local address cannot be a peer; give its global address");
	/* Loopback is for a router on this very node. */
	if (!addr_is_usable_unicast(&peer->address) && peer->address.bytes[0] != 127 &&
	    !(peer->address.family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6)))
		return errbuf_set(err, -EINVAL, "this address cannot be a peer's");
	if (check_as(peer->as, err) < 0)
		return -EINVAL;
	if (peer->hold_s != 0 && peer->hold_s < BGP_HOLD_MIN_S)
		return errbuf_set(err, -EINVAL, "hold=%u: give 0, or 3 and more seconds",
				  peer->hold_s);
	if (peer->source.family != AF_UNSPEC && peer->source.family != peer->address.family)
		return errbuf_set(err, -EINVAL, "source= must be of the peer's address family");
	if (peer->multihop != 0 && peer->ttl_security != 0)
		return errbuf_set(err, -EINVAL,
				  "multihop= and ttl-security exclude each other; ttl-security=%u "
				  "allows the same hops",
				  peer->multihop);
	if (peer->multihop != 0 && local_as != 0 && local_as == peer->as)
		return errbuf_set(err, -EINVAL,
				  "multihop= is for peers in another AS; within an AS any distance "
				  "is allowed");
	if (peer->port == 0 || peer->connect_retry_s == 0)
		return errbuf_set(err, -EINVAL, "port and connect-retry cannot be 0");
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* The lowest global IPv4 address of an interface that is no host route, in host order; 0: none. */
static uint32_t pick_router_id(void)
{
	struct ifaddrs *list, *entry;
	uint32_t best = 0;

	if (getifaddrs(&list) < 0)
		return 0;
	for (entry = list; entry != NULL; entry = entry->ifa_next) {
		const struct sockaddr_in *in = (const void *)entry->ifa_addr;
		const struct sockaddr_in *mask = (const void *)entry->ifa_netmask;
		struct addr addr;

		if (in == NULL || in->sin_family != AF_INET || mask == NULL ||
		    mask->sin_addr.s_addr == INADDR_BROADCAST)
			continue;
		addr = addr_from_in(in->sin_addr);
		if (addr_is_usable_unicast(&addr) &&
		    (best == 0 || ntohl(in->sin_addr.s_addr) < best))
			best = ntohl(in->sin_addr.s_addr);
	}
	freeifaddrs(list);
	return best;
}

int bgp_config_complete(struct bgp_config *config, struct errbuf *err)
{
	uint32_t router_id = config->router_id;

	if (config->as == 0)
		return errbuf_set(err, -EINVAL,
				  "--bgp needs the AS of this node; give --bgp-as, such as 65000");
	if (config->restart_time_s > BGP_RESTART_TIME_MAX_S)
		return errbuf_set(err, -EINVAL, "the restart time is at most %d s",
				  BGP_RESTART_TIME_MAX_S);
	if (router_id == 0)
		router_id = pick_router_id();
	if (router_id == 0)
		return errbuf_set(err, -EINVAL,
				  "this node has no IPv4 address to be its BGP identifier; give "
				  "--bgp-router-id, any unique one in the form of an IPv4 address");
	config->router_id = router_id;
	return 0;
}
