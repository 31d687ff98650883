/* SPDX-License-Identifier: GPL-2.0-only */
#include "cloud/equinix_decode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TAG_OWNER "slb:"
#define TAG_NODE  "slb-node:"

/* The highest AS number that may be a speaker's (RFC 7300: the last is reserved). */
#define AS_MAX 4294967294LL

bool equinix_id_is_valid(const char *id)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return id[0] != '\0' && strlen(id) < EQUINIX_ID_SIZE && id[strspn(id, allowed)] == '\0';
}

void equinix_tag_owner(const uuid_t owner, char tag[static EQUINIX_TAG_SIZE])
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(owner, text);
	snprintf(tag, EQUINIX_TAG_SIZE, TAG_OWNER "%s", text);
}

void equinix_tag_node(const char *device_id, char tag[static EQUINIX_TAG_SIZE])
{
	snprintf(tag, EQUINIX_TAG_SIZE, TAG_NODE "%s", device_id);
}

static int decode_id(const json_t *json, const char *what, char id[static EQUINIX_ID_SIZE],
		     struct errbuf *err)
{
	const char *text = json_string_value(json_object_get(json, "id"));

	if (text == NULL || !equinix_id_is_valid(text))
		return errbuf_set(err, -EPROTO, "the API told of %s without a usable id", what);
	snprintf(id, EQUINIX_ID_SIZE, "%s", text);
	return 0;
}

static struct addr decode_addr(const json_t *json, const char *member)
{
	const char *text = json_string_value(json_object_get(json, member));
	struct addr address = { .family = AF_UNSPEC };

	if (text != NULL)
		(void)addr_parse(text, &address);
	return address;
}

int equinix_decode_device(const json_t *json, struct equinix_device *ret, struct errbuf *err)
{
	const json_t *facility = json_object_get(json, "facility"), *item;
	const char *hostname = json_string_value(json_object_get(json, "hostname"));
	const char *code = json_string_value(json_object_get(facility, "code"));
	size_t i;

	memset(ret, 0, sizeof(*ret));
	if (decode_id(json, "a device", ret->id, err) < 0)
		return -EPROTO;
	if (hostname != NULL)
		snprintf(ret->hostname, sizeof(ret->hostname), "%s", hostname);
	if (code == NULL)
		code = json_string_value(facility);
	if (code != NULL)
		snprintf(ret->facility, sizeof(ret->facility), "%s", code);
	json_array_foreach(json_object_get(json, "ip_addresses"), i, item)
	{
		struct equinix_gateway *gateway = &ret->gateways[ret->gateway_count];

		if (ret->gateway_count == EQUINIX_GATEWAYS_MAX)
			break;
		gateway->address = decode_addr(item, "address");
		gateway->gateway = decode_addr(item, "gateway");
		if (gateway->address.family != AF_UNSPEC &&
		    gateway->address.family == gateway->gateway.family)
			ret->gateway_count++;
	}
	return 0;
}

static int decode_as(const json_t *json, const char *member, uint32_t *ret, struct errbuf *err)
{
	const json_t *number = json_object_get(json, member);
	json_int_t value = json_integer_value(number);

	if (!json_is_integer(number) || value < 1 || value > AS_MAX)
		return errbuf_set(err, -EPROTO,
				  "the API told of a BGP neighbour without a usable %s", member);
	*ret = (uint32_t)value;
	return 0;
}

static int decode_password(const json_t *json, char password[static EQUINIX_PASSWORD_SIZE],
			   struct errbuf *err)
{
	const char *text = json_string_value(json_object_get(json, "md5_password"));

	if (!json_is_true(json_object_get(json, "md5_enabled")))
		return 0;
	if (text == NULL || text[0] == '\0')
		return errbuf_set(err, -EPROTO,
				  "the API told of a BGP neighbour with MD5, and not its password");
	if (strlen(text) >= EQUINIX_PASSWORD_SIZE)
		return errbuf_set(err, -EPROTO,
				  "the API told of a BGP neighbour whose MD5 password is longer "
				  "than the kernel takes (%d bytes)",
				  EQUINIX_PASSWORD_SIZE - 1);
	snprintf(password, EQUINIX_PASSWORD_SIZE, "%s", text);
	return 0;
}

int equinix_decode_neighbour(const json_t *json, struct equinix_neighbour *ret, struct errbuf *err)
{
	json_int_t version = json_integer_value(json_object_get(json, "address_family"));
	const json_t *item;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	if (decode_as(json, "customer_as", &ret->customer_as, err) < 0 ||
	    decode_as(json, "peer_as", &ret->peer_as, err) < 0 ||
	    decode_password(json, ret->password, err) < 0)
		return -EPROTO;
	ret->customer_ip = decode_addr(json, "customer_ip");
	ret->multihop = json_is_true(json_object_get(json, "multihop"));
	json_array_foreach(json_object_get(json, "peer_ips"), i, item)
	{
		const char *text = json_string_value(item);
		struct addr *peer = &ret->peer_ips[ret->peer_ip_count];

		if (ret->peer_ip_count == EQUINIX_PEER_IPS_MAX)
			break;
		if (text == NULL || addr_parse(text, peer) < 0 ||
		    (version != 0 && version != (peer->family == AF_INET ? 4 : 6)))
			return errbuf_set(err, -EPROTO,
					  "the API told of a BGP neighbour with an address that is "
					  "none of its family");
		ret->peer_ip_count++;
	}
	if (ret->peer_ip_count == 0)
		return errbuf_set(err, -EPROTO,
				  "the API told of a BGP neighbour without addresses (peer_ips)");
	if (ret->customer_ip.family != ret->peer_ips[0].family)
		ret->customer_ip = (struct addr){ .family = AF_UNSPEC };
	return 0;
}

static enum equinix_reservation_state decode_state(const json_t *json)
{
	const char *state = json_string_value(json_object_get(json, "state"));

	if (state == NULL)
		return EQUINIX_READY;
	if (strcmp(state, "pending") == 0)
		return EQUINIX_PENDING;
	return strcmp(state, "denied") == 0 ? EQUINIX_DENIED : EQUINIX_READY;
}

int equinix_decode_reservation(const json_t *json, const char *device_id,
			       struct equinix_reservation *ret, struct errbuf *err)
{
	char node[EQUINIX_TAG_SIZE];
	bool has_node = false, has_owner = false;
	const json_t *item;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	if (decode_id(json, "a reserved address", ret->id, err) < 0)
		return -EPROTO;
	ret->address = decode_addr(json, "address");
	ret->state = decode_state(json);
	equinix_tag_node(device_id, node);
	json_array_foreach(json_object_get(json, "tags"), i, item)
	{
		const char *tag = json_string_value(item);

		if (tag == NULL)
			continue;
		if (strcmp(tag, node) == 0)
			has_node = true;
		else if (strncmp(tag, TAG_OWNER, strlen(TAG_OWNER)) == 0 &&
			 uuid_parse(tag + strlen(TAG_OWNER), ret->owner) == 0)
			has_owner = true;
	}
	ret->is_owned = has_node && has_owner;
	return 0;
}
