/* SPDX-License-Identifier: GPL-2.0-only */
#include "api/decode.h"

#include <errno.h>
#include <string.h>

#include "api/json_object.h"

/* ---- members of both ---------------------------------------------------------------------------
 */

/* A member that is slb's to set. The predecessor's clients send it empty. */
static int read_chosen_by_slb(const struct member *member, const json_t *value, void *request,
			      struct errbuf *err)
{
	(void)request;
	if (json_is_empty_string(value))
		return 1;
	return errbuf_set_field(err, -EINVAL, member->name,
				"%s is set by slb and cannot be asked for; leave it out",
				member->name);
}

static int read_port(const struct member *member, const json_t *value, uint16_t *ret,
		     struct errbuf *err)
{
	uint32_t port;
	int rc = member_integer(member, value, 1, UINT16_MAX, &port, err);

	if (rc == 0)
		*ret = (uint16_t)port;
	return rc;
}

/* ---- load balancer -----------------------------------------------------------------------------
 */

static int read_name(const struct member *member, const json_t *value, void *request,
		     struct errbuf *err)
{
	struct load_balancer_request *lb = request;
	const char *text;
	size_t length;
	int rc = member_string(member, value, &text, err);

	if (rc < 0)
		return rc;
	length = strlen(text);
	if (length >= sizeof(lb->name))
		return errbuf_set_field(err, -EINVAL, member->name,
					"%s has %zu bytes; at most %zu are allowed", member->name,
					length, sizeof(lb->name) - 1);
	memcpy(lb->name, text, length + 1);
	return 0;
}

static int read_eip(const struct member *member, const json_t *value, void *request,
		    struct errbuf *err)
{
	struct load_balancer_request *lb = request;

	if (json_is_empty_string(value))
		return 1;
	return member_address(member, value, &lb->eip, err);
}

static int read_lb_port(const struct member *member, const json_t *value, void *request,
			struct errbuf *err)
{
	struct load_balancer_request *lb = request;

	return read_port(member, value, &lb->port, err);
}

static int read_protocol(const struct member *member, const json_t *value, void *request,
			 struct errbuf *err)
{
	struct load_balancer_request *lb = request;
	const char *text;
	int rc = member_string(member, value, &text, err);

	if (rc == 0 && !protocol_parse(text, &lb->protocol))
		rc = member_unknown_word(member, text, "\"tcp\" or \"udp\"", err);
	return rc;
}

static int read_family(const struct member *member, const json_t *value, void *request,
		       struct errbuf *err)
{
	struct load_balancer_request *lb = request;
	const char *text;
	int rc = member_string(member, value, &text, err);

	if (rc < 0)
		return rc;
	if (strcmp(text, "ipv4") == 0)
		lb->family = AF_INET;
	else if (strcmp(text, "ipv6") == 0)
		lb->family = AF_INET6;
	else
		return member_unknown_word(member, text, "\"ipv4\" or \"ipv6\"", err);
	return 0;
}

static int read_scheduler(const struct member *member, const json_t *value, void *request,
			  struct errbuf *err)
{
	struct load_balancer_request *lb = request;
	const char *text;
	int rc = member_string(member, value, &text, err);

	if (rc == 0 && !scheduler_parse(text, &lb->scheduler))
		rc = member_unknown_word(member, text,
					 "\"rr\", \"wrr\", \"sh\", \"maglev\" or \"lc\"", err);
	return rc;
}

static int read_source_nat(const struct member *member, const json_t *value, void *request,
			   struct errbuf *err)
{
	struct load_balancer_request *lb = request;

	return member_boolean(member, value, &lb->source_nat, err);
}

static int read_affinity(const struct member *member, const json_t *value, void *request,
			 struct errbuf *err)
{
	struct load_balancer_request *lb = request;

	return member_integer(member, value, 0, AFFINITY_MAX_S, &lb->affinity_s, err);
}

static int read_backends(const struct member *member, const json_t *value, void *request,
			 struct errbuf *err)
{
	(void)request;
	if (json_is_null(value))
		return 1;
	return errbuf_set_field(err, -EINVAL, member->name,
				"backends cannot be set here; add each with POST "
				"/loadbalancer/{uuid}/backend");
}

static const struct member load_balancer_members[] = {
	{ "name", LB_NAME, false, read_name },
	{ "eip", LB_EIP, false, read_eip },
	{ "port", LB_PORT, true, read_lb_port },
	{ "protocol", LB_PROTOCOL, false, read_protocol },
	{ "family", LB_FAMILY, false, read_family },
	{ "scheduler", LB_SCHEDULER, false, read_scheduler },
	{ "source_nat", LB_SOURCE_NAT, false, read_source_nat },
	{ "affinity_s", LB_AFFINITY, false, read_affinity },
	{ "uuid", 0, false, read_chosen_by_slb },
	{ "backends", 0, false, read_backends },
	{ "traffic", 0, false, read_chosen_by_slb },
	{ NULL, 0, false, NULL },
};

int decode_load_balancer(const char *body, size_t length, enum decode_purpose purpose,
			 struct load_balancer_request *ret, struct json_object_error *error)
{
	struct load_balancer_request request = { 0 };
	int rc = json_object_read(body, length, load_balancer_members, purpose == DECODE_CREATE,
				  &request, &request.given, error);

	if (rc == 0)
		*ret = request;
	return rc;
}

/* ---- backend -----------------------------------------------------------------------------------
 */

static int read_ip(const struct member *member, const json_t *value, void *request,
		   struct errbuf *err)
{
	struct backend_request *backend = request;

	return member_address(member, value, &backend->ip, err);
}

static int read_backend_port(const struct member *member, const json_t *value, void *request,
			     struct errbuf *err)
{
	struct backend_request *backend = request;

	return read_port(member, value, &backend->port, err);
}

static int read_type(const struct member *member, const json_t *value, void *request,
		     struct errbuf *err)
{
	struct backend_request *backend = request;
	const char *text;
	int rc = member_string(member, value, &text, err);

	if (rc < 0)
		return rc;
	if (*text == '\0')
		return 1;
	if (!backend_type_parse(text, &backend->type))
		return member_unknown_word(member, text, "\"MASQ\" or \"LOCAL\"", err);
	return 0;
}

static int read_weight(const struct member *member, const json_t *value, void *request,
		       struct errbuf *err)
{
	struct backend_request *backend = request;

	return member_integer(member, value, 0, WEIGHT_MAX, &backend->weight, err);
}

static int read_state(const struct member *member, const json_t *value, void *request,
		      struct errbuf *err)
{
	struct backend_request *backend = request;
	const char *text;
	int rc = member_string(member, value, &text, err);

	if (rc == 0 && !backend_state_parse(text, &backend->state))
		rc = member_unknown_word(member, text, "\"up\", \"drain\" or \"disabled\"", err);
	return rc;
}

static const struct member backend_members[] = {
	{ "ip", BACKEND_IP_GIVEN, true, read_ip },
	{ "port", BACKEND_PORT_GIVEN, true, read_backend_port },
	{ "type", BACKEND_TYPE_GIVEN, false, read_type },
	{ "weight", BACKEND_WEIGHT_GIVEN, false, read_weight },
	{ "state", BACKEND_STATE_GIVEN, false, read_state },
	{ "uuid", 0, false, read_chosen_by_slb },
	{ "traffic", 0, false, read_chosen_by_slb },
	{ NULL, 0, false, NULL },
};

int decode_backend(const char *body, size_t length, enum decode_purpose purpose,
		   struct backend_request *ret, struct json_object_error *error)
{
	struct backend_request request = { 0 };
	int rc = json_object_read(body, length, backend_members, purpose == DECODE_CREATE, &request,
				  &request.given, error);

	if (rc == 0)
		*ret = request;
	return rc;
}

/* ---- BGP peer ----------------------------------------------------------------------------------
 */

enum bgp_peer_member {
	PEER_ADDRESS = 1 << 0,
	PEER_AS = 1 << 1,
	PEER_OTHER = 1 << 2, /* has a default */
};

static int read_peer_address(const struct member *member, const json_t *value, void *request,
			     struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return member_address(member, value, &peer->address, err);
}

static int read_as(const struct member *member, const json_t *value, void *request,
		   struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return member_integer(member, value, 1, UINT32_MAX, &peer->as, err);
}

static int read_peer_port(const struct member *member, const json_t *value, void *request,
			  struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return read_port(member, value, &peer->port, err);
}

static int read_source(const struct member *member, const json_t *value, void *request,
		       struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	if (json_is_empty_string(value))
		return 1;
	return member_address(member, value, &peer->source, err);
}

static int read_hops(const struct member *member, const json_t *value, uint8_t *ret,
		     struct errbuf *err)
{
	uint32_t hops;
	int rc = member_integer(member, value, 0, BGP_HOPS_MAX, &hops, err);

	if (rc == 0)
		*ret = (uint8_t)hops;
	return rc;
}

static int read_multihop(const struct member *member, const json_t *value, void *request,
			 struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return read_hops(member, value, &peer->multihop, err);
}

static int read_ttl_security(const struct member *member, const json_t *value, void *request,
			     struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return read_hops(member, value, &peer->ttl_security, err);
}

static int read_seconds(const struct member *member, const json_t *value, uint32_t min,
			uint16_t *ret, struct errbuf *err)
{
	uint32_t seconds;
	int rc = member_integer(member, value, min, UINT16_MAX, &seconds, err);

	if (rc == 0)
		*ret = (uint16_t)seconds;
	return rc;
}

static int read_hold(const struct member *member, const json_t *value, void *request,
		     struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return read_seconds(member, value, 0, &peer->hold_s, err);
}

static int read_connect_retry(const struct member *member, const json_t *value, void *request,
			      struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return read_seconds(member, value, 1, &peer->connect_retry_s, err);
}

static int read_passive(const struct member *member, const json_t *value, void *request,
			struct errbuf *err)
{
	struct bgp_peer_config *peer = request;

	return member_boolean(member, value, &peer->passive, err);
}

static int read_password(const struct member *member, const json_t *value, void *request,
			 struct errbuf *err)
{
	struct bgp_peer_config *peer = request;
	const char *text;
	int rc = member_string(member, value, &text, err);

	if (rc < 0)
		return rc;
	if (strlen(text) > BGP_PASSWORD_MAX)
		return errbuf_set_field(err, -EINVAL, member->name,
					"%s has more than %d bytes, which TCP-MD5 cannot take",
					member->name, BGP_PASSWORD_MAX);
	memcpy(peer->password, text, strlen(text) + 1);
	return 0;
}

static const struct member bgp_peer_members[] = {
	{ "address", PEER_ADDRESS, true, read_peer_address },
	{ "as", PEER_AS, true, read_as },
	{ "port", PEER_OTHER, false, read_peer_port },
	{ "source", PEER_OTHER, false, read_source },
	{ "multihop", PEER_OTHER, false, read_multihop },
	{ "ttl_security", PEER_OTHER, false, read_ttl_security },
	{ "hold_s", PEER_OTHER, false, read_hold },
	{ "connect_retry_s", PEER_OTHER, false, read_connect_retry },
	{ "passive", PEER_OTHER, false, read_passive },
	{ "password", PEER_OTHER, false, read_password },
	{ NULL, 0, false, NULL },
};

int decode_bgp_peer(const char *body, size_t length, struct bgp_peer_config *ret,
		    struct json_object_error *error)
{
	struct bgp_peer_config peer = {
		.port = BGP_PEER_PORT_DEFAULT,
		.hold_s = BGP_HOLD_DEFAULT_S,
		.connect_retry_s = BGP_CONNECT_RETRY_DEFAULT_S,
	};
	unsigned int given;
	int rc = json_object_read(body, length, bgp_peer_members, true, &peer, &given, error);

	if (rc == 0)
		*ret = peer;
	explicit_bzero(&peer.password, sizeof(peer.password));
	return rc;
}
