/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * UPDATEs received. Nothing is imported (rfc: 8212 has no default to get wrong here), but each is
 * checked as if it were, so that a broken peer is told so and a merely odd one is not cut off:
 * attributes are a table of type, flags, check and prescribed reaction.
 * rfc: 4271 §6.3 as revised by 7606; 4760 §7; 1997, 4360, 4456, 5701, 6793, 8092 for their
 * attributes.
 */
#include "advertise/bgp/bgp_message.h"

#include <stdio.h>

struct parse {
	const struct bgp_update_context *context;
	struct bgp_update_summary *summary;
	uint32_t seen[8];     /* bitmap of attribute types */
	bool mp_unreach_only; /* no attribute but MP_UNREACH_NLRI so far */
	bool reachable;       /* the message encodes NLRI that can be reached */
};

const char *bgp_reaction_name(enum bgp_reaction reaction)
{
	static const char *const names[] = {
		[BGP_REACTION_NONE] = "none",
		[BGP_REACTION_DISCARD_ATTRIBUTE] = "attribute discard",
		[BGP_REACTION_WITHDRAW] = "treat-as-withdraw",
		[BGP_REACTION_RESET] = "session reset",
	};

	return names[reaction];
}

/* Notes an error; rfc: 7606 §3 (h): of several the strongest reaction counts. */
static void note(struct parse *parse, enum bgp_reaction reaction, uint8_t subcode,
		 struct bgp_reader data, const char *what)
{
	struct bgp_update_summary *summary = parse->summary;

	if (reaction <= summary->reaction)
		return;
	summary->reaction = reaction;
	bgp_error_set(&summary->error, BGP_ERROR_UPDATE, subcode, data.data, data.length, "%s",
		      what);
}

static const struct bgp_reader no_data;

/* ---- prefixes ------------------------------------------------------------------------------- */

/* Counts prefixes; false when they cannot be followed to their end (rfc: 7606 §5.3). */
static bool count_prefixes(struct bgp_reader prefixes, enum bgp_family family, unsigned *count)
{
	unsigned found = 0;

	while (prefixes.length > 0) {
		const uint8_t *bytes;
		uint8_t bits;

		if (!bgp_take_u8(&prefixes, &bits) || bits > (family == BGP_IPV4 ? 32 : 128) ||
		    !bgp_take_bytes(&prefixes, (bits + 7u) / 8, &bytes))
			return false;
		found++;
	}
	*count += found;
	return true;
}

/* ---- the value of each attribute ------------------------------------------------------------ */

/* true: well-formed. Else *subcode may be changed from Attribute Length Error. */
typedef bool check_fn(const struct parse *parse, struct bgp_reader value, uint8_t *subcode);

static bool check_origin(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	if (value.length != 1)
		return false;
	*subcode = BGP_UPDATE_ORIGIN;
	return value.data[0] <= BGP_ORIGIN_MAX;
}

/* rfc: 7606 §7.2: unknown segment type, overrun, underrun, empty segment. */
static bool path_is_well_formed(struct bgp_reader value, size_t as_size)
{
	while (value.length > 0) {
		const uint8_t *numbers;
		uint8_t type, count;

		if (!bgp_take_u8(&value, &type) || !bgp_take_u8(&value, &count) || type == 0 ||
		    type > BGP_SEGMENT_MAX || count == 0 ||
		    !bgp_take_bytes(&value, count * as_size, &numbers))
			return false;
	}
	return true;
}

static bool check_as_path(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	*subcode = BGP_UPDATE_AS_PATH;
	return path_is_well_formed(value, parse->context->as4 ? 4 : 2);
}

static bool check_as4_path(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	*subcode = BGP_UPDATE_OPTIONAL;
	return path_is_well_formed(value, 4) && value.length > 0;
}

static bool check_4_bytes(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	(void)subcode;
	return value.length == 4;
}

static bool check_8_bytes(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	(void)subcode;
	return value.length == 8;
}

static bool check_empty(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	(void)subcode;
	return value.length == 0;
}

static bool check_aggregator(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)subcode;
	return value.length == (parse->context->as4 ? 8 : 6);
}

static bool check_multiple(struct bgp_reader value, size_t unit, uint8_t *subcode)
{
	*subcode = BGP_UPDATE_OPTIONAL;
	return value.length > 0 && value.length % unit == 0;
}

static bool check_list_of_4(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	return check_multiple(value, 4, subcode);
}

static bool check_list_of_8(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	return check_multiple(value, 8, subcode);
}

static bool check_list_of_12(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	return check_multiple(value, 12, subcode);
}

static bool check_list_of_20(const struct parse *parse, struct bgp_reader value, uint8_t *subcode)
{
	(void)parse;
	return check_multiple(value, 20, subcode);
}

/* ---- MP_REACH_NLRI and MP_UNREACH_NLRI ------------------------------------------------------ */

/* rfc: 4760 §3: a next hop is one address of the family; 2545 §3: or two for IPv6; 8950 §4: an
 * IPv4 prefix may have an IPv6 one. */
static bool next_hop_length_is_valid(enum bgp_family family, uint8_t length)
{
	return length == 16 || length == 32 || (family == BGP_IPV4 && length == 4);
}

static bool parse_mp_reach(struct parse *parse, struct bgp_reader value)
{
	struct bgp_reader next_hop;
	enum bgp_family family;
	uint16_t afi;
	uint8_t safi, length, reserved;

	if (!bgp_take_u16(&value, &afi) || !bgp_take_u8(&value, &safi) ||
	    !bgp_take_u8(&value, &length) || !bgp_take_part(&value, length, &next_hop) ||
	    !bgp_take_u8(&value, &reserved))
		return false;
	/* rfc: 4760 §7: what was not negotiated is ignored. */
	if (!bgp_family_parse(afi, safi, &family) ||
	    !(parse->context->families & BGP_FAMILY_BIT(family))) {
		parse->reachable = true;
		return true;
	}
	if (!next_hop_length_is_valid(family, length) ||
	    !count_prefixes(value, family, &parse->summary->announced))
		return false;
	parse->reachable |= value.length > 0;
	return true;
}

static bool parse_mp_unreach(struct parse *parse, struct bgp_reader value)
{
	enum bgp_family family;
	uint16_t afi;
	uint8_t safi;

	if (!bgp_take_u16(&value, &afi) || !bgp_take_u8(&value, &safi))
		return false;
	if (!bgp_family_parse(afi, safi, &family) ||
	    !(parse->context->families & BGP_FAMILY_BIT(family)))
		return true;
	if (value.length == 0) {
		parse->summary->end_of_rib = true; /* taken back when anything else is there */
		parse->summary->end_of_rib_family = family;
	}
	return count_prefixes(value, family, &parse->summary->withdrawn);
}

/* ---- the table ------------------------------------------------------------------------------ */

#define WELL_KNOWN          BGP_FLAG_TRANSITIVE
#define OPTIONAL            BGP_FLAG_OPTIONAL
#define OPTIONAL_TRANSITIVE (BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE)

enum scope {
	EVERYWHERE,
	IBGP_ONLY, /* rfc: 7606 §7.5, §7.9, §7.10: discarded unseen when it comes from eBGP */
	OLD_ONLY,  /* rfc: 6793 §3: discarded unseen when it comes from a NEW speaker */
};

static const struct attribute {
	enum bgp_attribute_type type;
	uint8_t flags; /* optional and transitive bits as they must be */
	enum scope scope;
	enum bgp_reaction reaction; /* to a malformed value */
	check_fn *check;
	const char *error;
} attributes[] = {
	/* rfc: 7606 §7.1 … §7.10, in this order */
	{ BGP_ATTR_ORIGIN, WELL_KNOWN, EVERYWHERE, BGP_REACTION_WITHDRAW, check_origin,
	  "ORIGIN is malformed" },
	{ BGP_ATTR_AS_PATH, WELL_KNOWN, EVERYWHERE, BGP_REACTION_WITHDRAW, check_as_path,
	  "AS_PATH is malformed" },
	{ BGP_ATTR_NEXT_HOP, WELL_KNOWN, EVERYWHERE, BGP_REACTION_WITHDRAW, check_4_bytes,
	  "NEXT_HOP is malformed" },
	{ BGP_ATTR_MED, OPTIONAL, EVERYWHERE, BGP_REACTION_WITHDRAW, check_4_bytes,
	  "MULTI_EXIT_DISC is malformed" },
	{ BGP_ATTR_LOCAL_PREF, WELL_KNOWN, IBGP_ONLY, BGP_REACTION_WITHDRAW, check_4_bytes,
	  "LOCAL_PREF is malformed" },
	{ BGP_ATTR_ATOMIC_AGGREGATE, WELL_KNOWN, EVERYWHERE, BGP_REACTION_DISCARD_ATTRIBUTE,
	  check_empty, "ATOMIC_AGGREGATE is malformed" },
	{ BGP_ATTR_AGGREGATOR, OPTIONAL_TRANSITIVE, EVERYWHERE, BGP_REACTION_DISCARD_ATTRIBUTE,
	  check_aggregator, "AGGREGATOR is malformed" },
	{ BGP_ATTR_COMMUNITIES, OPTIONAL_TRANSITIVE, EVERYWHERE, BGP_REACTION_WITHDRAW,
	  check_list_of_4, "COMMUNITIES is malformed" },
	{ BGP_ATTR_ORIGINATOR_ID, OPTIONAL, IBGP_ONLY, BGP_REACTION_WITHDRAW, check_4_bytes,
	  "ORIGINATOR_ID is malformed" },
	{ BGP_ATTR_CLUSTER_LIST, OPTIONAL, IBGP_ONLY, BGP_REACTION_WITHDRAW, check_list_of_4,
	  "CLUSTER_LIST is malformed" },
	/* §7.14, §7.15 */
	{ BGP_ATTR_EXTENDED_COMMUNITIES, OPTIONAL_TRANSITIVE, EVERYWHERE, BGP_REACTION_WITHDRAW,
	  check_list_of_8, "EXTENDED COMMUNITIES is malformed" },
	{ BGP_ATTR_IPV6_EXTENDED_COMMUNITIES, OPTIONAL_TRANSITIVE, EVERYWHERE,
	  BGP_REACTION_WITHDRAW, check_list_of_20, "IPv6 EXTENDED COMMUNITIES is malformed" },
	/* rfc: 6793 §6 */
	{ BGP_ATTR_AS4_PATH, OPTIONAL_TRANSITIVE, OLD_ONLY, BGP_REACTION_DISCARD_ATTRIBUTE,
	  check_as4_path, "AS4_PATH is malformed" },
	{ BGP_ATTR_AS4_AGGREGATOR, OPTIONAL_TRANSITIVE, OLD_ONLY, BGP_REACTION_DISCARD_ATTRIBUTE,
	  check_8_bytes, "AS4_AGGREGATOR is malformed" },
	/* rfc: 8092 §5 */
	{ BGP_ATTR_LARGE_COMMUNITIES, OPTIONAL_TRANSITIVE, EVERYWHERE, BGP_REACTION_WITHDRAW,
	  check_list_of_12, "LARGE_COMMUNITIES is malformed" },
	/* Parsed by functions of their own. rfc: 7606 §7.11, §7.12 */
	{ BGP_ATTR_MP_REACH, OPTIONAL, EVERYWHERE, BGP_REACTION_RESET, NULL,
	  "MP_REACH_NLRI is malformed" },
	{ BGP_ATTR_MP_UNREACH, OPTIONAL, EVERYWHERE, BGP_REACTION_RESET, NULL,
	  "MP_UNREACH_NLRI is malformed" },
};

static const struct attribute *find_attribute(uint8_t type)
{
	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		if (attributes[i].type == type)
			return &attributes[i];
	}
	return NULL;
}

static bool seen(const struct parse *parse, uint8_t type)
{
	return parse->seen[type / 32] & (1u << type % 32);
}

static bool is_mp(uint8_t type)
{
	return type == BGP_ATTR_MP_REACH || type == BGP_ATTR_MP_UNREACH;
}

static void check_unknown(struct parse *parse, uint8_t flags, struct bgp_reader whole)
{
	/* rfc: 4271 §6.3, which 7606 leaves as it is: a well-known attribute that is not known. */
	if (!(flags & BGP_FLAG_OPTIONAL))
		note(parse, BGP_REACTION_RESET, BGP_UPDATE_UNRECOGNIZED_WELLKNOWN, whole,
		     "a well-known attribute is not known");
}

static void check_mp(struct parse *parse, const struct attribute *attribute,
		     struct bgp_reader value, struct bgp_reader whole)
{
	bool ok = attribute->type == BGP_ATTR_MP_REACH ? parse_mp_reach(parse, value)
						       : parse_mp_unreach(parse, value);

	/* rfc: 4760 §7, 7606 §7.11: the routes cannot be found, so the session ends. */
	if (!ok)
		note(parse, BGP_REACTION_RESET, BGP_UPDATE_OPTIONAL, whole, attribute->error);
}

/* `whole` is the attribute with its head: what a NOTIFICATION carries back. */
static void check_attribute(struct parse *parse, uint8_t type, uint8_t flags,
			    struct bgp_reader value, struct bgp_reader whole)
{
	const struct attribute *attribute = find_attribute(type);
	uint8_t subcode = BGP_UPDATE_LENGTH;

	/* rfc: 7606 §3 (g): twice an MP attribute ends the session; of others the first counts. */
	if (seen(parse, type)) {
		note(parse, is_mp(type) ? BGP_REACTION_RESET : BGP_REACTION_DISCARD_ATTRIBUTE,
		     BGP_UPDATE_MALFORMED_LIST, no_data, "an attribute appears twice");
		return;
	}
	parse->seen[type / 32] |= 1u << type % 32;
	if (type != BGP_ATTR_MP_UNREACH)
		parse->mp_unreach_only = false;
	if (attribute == NULL) {
		check_unknown(parse, flags, whole);
		return;
	}
	if ((attribute->scope == IBGP_ONLY && !parse->context->ibgp) ||
	    (attribute->scope == OLD_ONLY && parse->context->as4)) {
		note(parse, BGP_REACTION_DISCARD_ATTRIBUTE, BGP_UPDATE_OPTIONAL, whole,
		     "an attribute came that does not belong on this session");
		return;
	}
	/* rfc: 7606 §3 (c) */
	if ((flags & (BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE)) != attribute->flags)
		note(parse, BGP_REACTION_WITHDRAW, BGP_UPDATE_FLAGS, whole,
		     "the flags of an attribute are wrong");
	if (attribute->check == NULL)
		check_mp(parse, attribute, value, whole);
	else if (!attribute->check(parse, value, &subcode))
		note(parse, attribute->reaction, subcode, whole, attribute->error);
}

static void parse_attributes(struct parse *parse, struct bgp_reader list)
{
	while (list.length > 0) {
		struct bgp_reader whole = list, value;
		uint8_t flags, type, short_length = 0;
		uint16_t length = 0;
		bool complete = bgp_take_u8(&list, &flags) && bgp_take_u8(&list, &type);

		if (complete && (flags & BGP_FLAG_EXTENDED)) {
			complete = bgp_take_u16(&list, &length);
		} else if (complete) {
			complete = bgp_take_u8(&list, &short_length);
			length = short_length;
		}
		/* rfc: 7606 §4: a list that ends within an attribute. */
		if (!complete || !bgp_take_part(&list, length, &value)) {
			parse->mp_unreach_only = false;
			note(parse, BGP_REACTION_WITHDRAW, BGP_UPDATE_MALFORMED_LIST, no_data,
			     "the attributes run over the end of their list");
			return;
		}
		whole.length -= list.length;
		check_attribute(parse, type, flags, value, whole);
	}
}

/* rfc: 4271 §5, 7606 §3 (d): what must be there when routes are announced. */
static void check_mandatory(struct parse *parse, bool nlri)
{
	const struct {
		uint8_t type;
		bool needed;
	} mandatory[] = {
		{ BGP_ATTR_ORIGIN, true },
		{ BGP_ATTR_AS_PATH, true },
		{ BGP_ATTR_NEXT_HOP, nlri },
		{ BGP_ATTR_LOCAL_PREF, parse->context->ibgp },
	};

	for (size_t i = 0; i < sizeof(mandatory) / sizeof(mandatory[0]); i++) {
		struct bgp_reader data = { .data = &mandatory[i].type, .length = 1 };

		if (mandatory[i].needed && !seen(parse, mandatory[i].type))
			note(parse, BGP_REACTION_WITHDRAW, BGP_UPDATE_MISSING_WELLKNOWN, data,
			     "a mandatory attribute is missing");
	}
}

/* The three parts of the message; rfc: 4271 §6.3: lengths that do not add up end the session. */
static bool split(struct bgp_reader body, struct bgp_reader *withdrawn, struct bgp_reader *list,
		  struct bgp_reader *nlri)
{
	uint16_t length;

	if (!bgp_take_u16(&body, &length) || !bgp_take_part(&body, length, withdrawn) ||
	    !bgp_take_u16(&body, &length) || !bgp_take_part(&body, length, list))
		return false;
	*nlri = body;
	return true;
}

void bgp_update_parse(struct bgp_reader body, const struct bgp_update_context *context,
		      struct bgp_update_summary *ret)
{
	struct parse parse = { .context = context, .summary = ret, .mp_unreach_only = true };
	struct bgp_reader withdrawn, list, nlri;

	*ret = (struct bgp_update_summary){ 0 };
	if (!split(body, &withdrawn, &list, &nlri)) {
		note(&parse, BGP_REACTION_RESET, BGP_UPDATE_MALFORMED_LIST, no_data,
		     "the lengths in an UPDATE do not add up");
		return;
	}
	/* rfc: 7606 §3 (i), (j): routes that cannot be told apart end the session. */
	if (!count_prefixes(withdrawn, BGP_IPV4, &ret->withdrawn) ||
	    !count_prefixes(nlri, BGP_IPV4, &ret->announced)) {
		note(&parse, BGP_REACTION_RESET, BGP_UPDATE_NETWORK, no_data,
		     "a prefix in an UPDATE is malformed");
		return;
	}
	parse.reachable = nlri.length > 0;
	parse_attributes(&parse, list);
	if (nlri.length > 0 || seen(&parse, BGP_ATTR_MP_REACH))
		check_mandatory(&parse, nlri.length > 0);

	/* rfc: 7606 §5.2: attributes, but no route they could belong to: then the routes may be
	 * what was lost, and only a reset is safe. */
	if (ret->reaction == BGP_REACTION_WITHDRAW && !parse.reachable && !parse.mp_unreach_only)
		ret->reaction = BGP_REACTION_RESET;

	/* rfc: 4724 §2 */
	if (withdrawn.length == 0 && list.length == 0 && nlri.length == 0) {
		ret->end_of_rib = true;
		ret->end_of_rib_family = BGP_IPV4;
	} else if (withdrawn.length > 0 || nlri.length > 0 || !parse.mp_unreach_only) {
		ret->end_of_rib = false;
	}
	/* rfc: 7606 §2: announcements become withdrawals. */
	if (ret->reaction == BGP_REACTION_WITHDRAW) {
		ret->withdrawn += ret->announced;
		ret->announced = 0;
	}
}
