/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/bgp/bgp_next_hop.h"

#include <ifaddrs.h>
#include <string.h>

static struct addr address_of(const struct sockaddr *from)
{
	if (from != NULL && from->sa_family == AF_INET)
		return addr_from_in(((const struct sockaddr_in *)(const void *)from)->sin_addr);
	if (from != NULL && from->sa_family == AF_INET6)
		return addr_from_in6(&((const struct sockaddr_in6 *)(const void *)from)->sin6_addr);
	return (struct addr){ 0 };
}

static bool in_same_subnet(const struct addr *a, const struct addr *b, const struct addr *mask)
{
	for (size_t i = 0; i < sizeof(a->bytes); i++) {
		if ((a->bytes[i] ^ b->bytes[i]) & mask->bytes[i])
			return false;
	}
	return a->family == b->family && a->family == mask->family;
}

static bool is_host_mask(const struct addr *mask)
{
	for (size_t i = 0; i < addr_length_bytes(mask); i++) {
		if (mask->bytes[i] != 0xff)
			return false;
	}
	return true;
}

/* The entry that carries this address, or NULL. */
static const struct ifaddrs *find_entry(const struct ifaddrs *list, const struct addr *addr)
{
	for (; list != NULL; list = list->ifa_next) {
		struct addr found = address_of(list->ifa_addr);

		if (addr_equal(&found, addr))
			return list;
	}
	return NULL;
}

/* The first address of this family on the adapter that can be a next hop; one with a subnet is
 * better than a host address. */
static struct addr pick(const struct ifaddrs *list, const char *adapter, int family,
			const struct bgp_rib *rib)
{
	struct addr best = { 0 };

	for (; list != NULL; list = list->ifa_next) {
		struct addr addr = address_of(list->ifa_addr), mask = address_of(list->ifa_netmask);

		if (addr.family != family || strcmp(list->ifa_name, adapter) != 0 ||
		    !addr_is_usable_unicast(&addr) || bgp_rib_contains(rib, &addr))
			continue;
		if (!is_host_mask(&mask))
			return addr;
		if (best.family == AF_UNSPEC)
			best = addr;
	}
	return best;
}

static struct addr find_link_local(const struct ifaddrs *list, const char *adapter)
{
	for (; list != NULL; list = list->ifa_next) {
		struct addr addr = address_of(list->ifa_addr);
		struct in6_addr in6 = addr_to_in6(&addr);

		if (addr.family == AF_INET6 && strcmp(list->ifa_name, adapter) == 0 &&
		    IN6_IS_ADDR_LINKLOCAL(&in6))
			return addr;
	}
	return (struct addr){ 0 };
}

void bgp_next_hops_find(const struct bgp_config *config, const struct bgp_rib *rib,
			const struct addr *local, const struct addr *peer,
			struct bgp_next_hop ret[static BGP_FAMILY_COUNT])
{
	static const int families[BGP_FAMILY_COUNT] = { AF_INET, AF_INET6 };
	const struct ifaddrs *own = NULL;
	struct ifaddrs *list = NULL;
	struct addr mask = { 0 };

	if (getifaddrs(&list) == 0)
		own = find_entry(list, local);
	if (own != NULL)
		mask = address_of(own->ifa_netmask);
	for (int i = 0; i < BGP_FAMILY_COUNT; i++) {
		struct bgp_next_hop *hop = &ret[i];

		*hop = (struct bgp_next_hop){ .global = config->next_hop[i] };
		if (hop->global.family == AF_UNSPEC && local->family == families[i])
			hop->global = *local;
		else if (hop->global.family == AF_UNSPEC && own != NULL)
			hop->global = pick(list, own->ifa_name, families[i], rib);
		/* rfc: 2545 §3: the link-local one too, exactly when the peer shares the link with
		 * the global one. */
		if (i == BGP_IPV6 && own != NULL && addr_equal(&hop->global, local) &&
		    in_same_subnet(local, peer, &mask))
			hop->link_local = find_link_local(list, own->ifa_name);
	}
	if (list != NULL)
		freeifaddrs(list);
}
