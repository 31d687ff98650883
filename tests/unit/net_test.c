/* SPDX-License-Identifier: GPL-2.0-only */
/* net: links, addresses, routes, neighbours and events against the kernel, in a lab of namespaces.
 */
#include <errno.h>
#include <net/if_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net.h"
#include "net_lab.h"

struct fixture {
	uv_loop_t loop;
	struct net *net;
	struct errbuf err;
};

static int open_net(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	uv_loop_init(&f->loop);
	assert_int_equal(net_open(&f->loop, &f->net, &f->err), 0);
	*state = f;
	return 0;
}

static int close_net(void **state)
{
	struct fixture *f = *state;

	net_close(f->net);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	free(f);
	return 0;
}

static int eth0(struct fixture *f)
{
	struct net_link link;

	assert_int_equal(net_link_by_name(f->net, "eth0", &link, &f->err), 0);
	return link.ifindex;
}

static void test_links(void **state)
{
	struct fixture *f = *state;
	struct net_link link, again, *links;
	uint8_t mac[6];
	size_t count;

	assert_int_equal(net_link_by_name(f->net, "eth0", &link, &f->err), 0);
	lab_mac("eth0", mac);
	assert_memory_equal(link.mac, mac, 6);
	assert_string_equal(link.kind, "veth");
	assert_int_equal(link.mtu, 1500);
	assert_true(link.up && link.running && net_link_is_ethernet(&link));
	assert_int_equal(net_link_by_index(f->net, link.ifindex, &again, &f->err), 0);
	assert_string_equal(again.name, "eth0");
	assert_int_equal(net_link_list(f->net, &links, &count, &f->err), 0);
	assert_true(count >= 2);
	free(links);

	assert_int_equal(net_link_by_name(f->net, "lo", &link, &f->err), 0);
	assert_int_equal(link.arphrd, ARPHRD_LOOPBACK);
	assert_false(net_link_is_ethernet(&link));
}

static void test_missing_link(void **state)
{
	struct fixture *f = *state;
	struct net_link link;

	assert_int_equal(net_link_by_name(f->net, "nope", &link, &f->err), -ENODEV);
	assert_non_null(strstr(f->err.text, "adapter nope does not exist"));
	assert_int_equal(net_link_by_name(f->net, "", &link, &f->err), -ENODEV);
	assert_int_equal(net_link_by_name(f->net, "a-name-longer-than-any", &link, &f->err),
			 -ENODEV);
	assert_int_equal(net_link_by_index(f->net, 9999, &link, &f->err), -ENODEV);
}

static const struct net_addr *find(const struct net_addr *addrs, size_t count,
				   const struct addr *address)
{
	for (size_t i = 0; i < count; i++) {
		if (addr_equal(&addrs[i].address, address))
			return &addrs[i];
	}
	return NULL;
}

static void check_address(struct fixture *f, const char *text, uint8_t prefix)
{
	struct addr address = lab_addr(text);
	const struct net_addr *found;
	struct net_addr *addrs;
	int ifindex = eth0(f);
	size_t count;
	bool local;

	assert_int_equal(net_addr_is_local(f->net, &address, &local, &f->err), 0);
	assert_false(local);
	assert_int_equal(net_addr_add(f->net, ifindex, &address, prefix,
				      NET_ADDR_NODAD | NET_ADDR_DEPRECATED, &f->err),
			 0);
	assert_int_equal(net_addr_add(f->net, ifindex, &address, prefix, 0, &f->err), -EEXIST);
	/* The kernel makes IPv6's local route a little later, on a work queue. */
	for (int i = 0; i < 200 && !local; i++) {
		assert_int_equal(net_addr_is_local(f->net, &address, &local, &f->err), 0);
		usleep(local ? 0 : 10000);
	}
	assert_true(local);
	assert_int_equal(net_addr_list(f->net, ifindex, &addrs, &count, &f->err), 0);
	found = find(addrs, count, &address);
	assert_non_null(found);
	assert_int_equal(found->prefix_length, prefix);
	/* This kernel marks addresses: its own show it. */
	if (addrs[0].protocol != 0 || found->protocol != 0)
		assert_int_equal(found->protocol, NET_PROTOCOL_SLB);
	assert_int_equal(found->flags & IFA_F_TENTATIVE, 0);
	if (address.family == AF_INET6)
		assert_true((found->flags & IFA_F_DEPRECATED) != 0);
	free(addrs);
	assert_int_equal(net_addr_del(f->net, ifindex, &address, prefix, &f->err), 0);
	assert_int_equal(net_addr_del(f->net, ifindex, &address, prefix, &f->err), -EADDRNOTAVAIL);
	assert_int_equal(net_addr_del(f->net, 9999, &address, prefix, &f->err), -ENODEV);
	assert_int_equal(net_addr_add(f->net, 9999, &address, prefix, 0, &f->err), -ENODEV);
}

static void test_addresses(void **state)
{
	check_address(*state, "10.9.0.77", 32);
	check_address(*state, "fd09::77", 128);
}

static void test_ipv6_switched_off(void **state)
{
	struct fixture *f = *state;
	struct addr address = lab_addr("fd09::77");

	lab_run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
	assert_int_equal(net_addr_add(f->net, eth0(f), &address, 128, 0, &f->err), -EACCES);
	assert_non_null(strstr(f->err.text, "IPv6 is switched off"));
	lab_run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
	lab_wire();
}

static void test_routes(void **state)
{
	struct fixture *f = *state;
	struct addr dst = lab_addr("192.0.2.7"), peer = lab_addr("10.9.0.2"),
		    dst6 = lab_addr("2001:db8::7"), peer6 = lab_addr("fd09::2"),
		    self = lab_addr("10.9.0.1");
	struct net_route route;

	assert_int_equal(net_route_get(f->net, &dst, NULL, 0, &route, &f->err), -ENETUNREACH);
	assert_non_null(strstr(f->err.text, "no route to 192.0.2.7"));
	assert_int_equal(net_route_get(f->net, &dst6, NULL, 0, &route, &f->err), -ENETUNREACH);

	lab_run("ip route add 192.0.2.0/24 via 10.9.0.2 mtu 1400");
	lab_run("ip route add 2001:db8::/64 via fd09::2");
	assert_int_equal(net_route_get(f->net, &dst, NULL, 0, &route, &f->err), 0);
	assert_int_equal(route.oif, eth0(f));
	assert_int_equal(route.type, RTN_UNICAST);
	assert_int_equal(route.mtu_bytes, 1400);
	assert_true(addr_equal(&route.gateway, &peer));
	assert_true(addr_equal(&route.prefsrc, &self));
	assert_int_equal(net_route_get(f->net, &dst6, NULL, 0, &route, &f->err), 0);
	assert_true(addr_equal(&route.gateway, &peer6));

	assert_int_equal(net_route_get(f->net, &peer, NULL, 0, &route, &f->err), 0);
	assert_int_equal(route.gateway.family, AF_UNSPEC);
	assert_int_equal(net_route_get(f->net, &self, NULL, 0, &route, &f->err), 0);
	assert_int_equal(route.type, RTN_LOCAL);

	/* An IPv4 route with an IPv6 next hop. */
	lab_run("ip route replace 192.0.2.0/24 via inet6 fd09::2 dev eth0");
	assert_int_equal(net_route_get(f->net, &dst, NULL, 0, &route, &f->err), 0);
	assert_true(addr_equal(&route.gateway, &peer6));

	lab_run("ip route replace blackhole 192.0.2.0/24");
	assert_int_equal(net_route_get(f->net, &dst, NULL, 0, &route, &f->err), -EINVAL);
	lab_run("ip route replace prohibit 192.0.2.0/24");
	assert_int_equal(net_route_get(f->net, &dst, NULL, 0, &route, &f->err), -EACCES);
	lab_run("ip route del 192.0.2.0/24; ip route replace blackhole 2001:db8::/64");
	assert_int_equal(net_route_get(f->net, &dst6, NULL, 0, &route, &f->err), -EINVAL);
	lab_run("ip route del 2001:db8::/64");
}

/* ---- events ---------------------------------------------------------------------------------- */

struct seen {
	struct fixture *fixture;
	unsigned int wanted; /* kind */
	struct addr address;
	bool removed;
	int hits, resyncs, total;
	struct net_event last;
	struct net_subscription *subscription;
};

static void on_event(void *arg, const struct net_event *event)
{
	struct seen *seen = arg;

	seen->total++;
	if (event->kind == NET_RESYNC)
		seen->resyncs++;
	if (event->kind == seen->wanted && event->removed == seen->removed &&
	    (seen->address.family == AF_UNSPEC || addr_equal(&event->address, &seen->address))) {
		seen->hits++;
		seen->last = *event;
	}
}

static bool has_hit(void *arg)
{
	return ((struct seen *)arg)->hits > 0;
}

static bool has_usable_neigh(void *arg)
{
	struct seen *seen = arg;

	return seen->hits > 0 && net_neigh_is_usable(&seen->last.neigh);
}

static bool has_resync(void *arg)
{
	return ((struct seen *)arg)->resyncs > 0;
}

static void subscribe(struct fixture *f, struct seen *seen, unsigned int mask)
{
	seen->fixture = f;
	assert_int_equal(net_subscribe(f->net, mask, on_event, seen, &seen->subscription, &f->err),
			 0);
}

static void check_neigh(struct fixture *f, const char *text)
{
	struct seen seen = { .wanted = NET_NEIGH, .address = lab_addr(text) };
	struct net_neigh neigh;
	uint8_t mac[6];

	lab_run("ip neigh flush all");
	subscribe(f, &seen, NET_NEIGH);
	assert_int_equal(net_neigh_get(f->net, eth0(f), &seen.address, &neigh, &f->err), -ENOENT);
	assert_int_equal(net_neigh_resolve(f->net, eth0(f), &seen.address, &f->err), 0);
	assert_true(lab_turn_until(&f->loop, 3000, has_usable_neigh, &seen));
	lab_mac("eth1", mac);
	assert_memory_equal(seen.last.neigh.mac, mac, 6);
	assert_int_equal(net_neigh_get(f->net, eth0(f), &seen.address, &neigh, &f->err), 0);
	assert_true(net_neigh_is_usable(&neigh));
	assert_memory_equal(neigh.mac, mac, 6);
	net_unsubscribe(seen.subscription);
}

static void check_own_route(struct fixture *f, const char *to, const char *via, const char *other)
{
	struct addr dst = lab_addr(to), gateway = lab_addr(via), second = lab_addr(other);
	uint8_t bits = (uint8_t)(addr_length_bytes(&dst) * 8);
	struct addr nowhere = lab_addr(dst.family == AF_INET ? "203.0.113.1" : "2001:db8:f::1");
	struct net_route route;

	assert_int_equal(net_route_del(f->net, &dst, bits, &f->err), -ESRCH);
	assert_int_equal(net_route_add(f->net, &dst, bits, &gateway, &f->err), 0);
	assert_int_equal(net_route_get(f->net, &dst, NULL, 0, &route, &f->err), 0);
	assert_true(addr_equal(&route.gateway, &gateway));
	lab_run("ip route show table main proto %d | grep -q '^%s' || "
		"ip -6 route show table main proto %d | grep -q '^%s'",
		NET_PROTOCOL_SLB, to, NET_PROTOCOL_SLB, to);
	assert_int_equal(net_route_add(f->net, &dst, bits, &second, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "cannot add a route to"));
	assert_int_equal(net_route_del(f->net, &dst, bits, &f->err), 0);
	assert_int_equal(net_route_del(f->net, &dst, bits, &f->err), -ESRCH);
	assert_true(net_route_add(f->net, &dst, bits, &nowhere, &f->err) < 0);

	/* One of somebody else's is neither taken nor removed. */
	lab_run("ip route add %s via %s", to, via);
	assert_int_equal(net_route_add(f->net, &dst, bits, &second, &f->err), -EEXIST);
	assert_int_equal(net_route_del(f->net, &dst, bits, &f->err), -ESRCH);
	lab_run("ip route del %s", to);
}

static void test_own_routes(void **state)
{
	check_own_route(*state, "192.0.2.7", "10.9.0.2", "10.9.0.3");
	check_own_route(*state, "2001:db8::7", "fd09::2", "fd09::3");
}

/* What is known stays known while the kernel is asked. */
static void test_known_neighbours_stay(void **state)
{
	static const char *const states[] = { "permanent", "reachable", "stale" };
	struct fixture *f = *state;
	struct net_neigh neigh;
	struct addr address;

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		assert_int_equal(addr_parse("10.9.0.77", &address), 0);
		lab_run("ip neigh replace 10.9.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud %s",
			states[i]);
		assert_int_equal(net_neigh_resolve(f->net, eth0(f), &address, &f->err), 0);
		assert_int_equal(net_neigh_get(f->net, eth0(f), &address, &neigh, &f->err), 0);
		assert_true(net_neigh_is_usable(&neigh));
	}
	assert_true(neigh.state & (NUD_DELAY | NUD_PROBE));
	lab_run("ip neigh del 10.9.0.77 dev eth0");
}

static void test_neighbours(void **state)
{
	check_neigh(*state, "10.9.0.2");
	check_neigh(*state, "fd09::2");
}

static void test_events(void **state)
{
	struct fixture *f = *state;
	struct seen addr = { .wanted = NET_ADDR, .address = lab_addr("10.9.0.88") };
	struct seen route = { .wanted = NET_ROUTE, .address = lab_addr("192.0.2.0") };
	struct seen link = { .wanted = NET_LINK };
	struct seen rule = { .wanted = NET_ROUTE };

	subscribe(f, &addr, NET_ADDR);
	subscribe(f, &route, NET_ROUTE);
	subscribe(f, &link, NET_LINK);
	lab_run("ip addr add 10.9.0.88/32 dev eth0");
	assert_true(lab_turn_until(&f->loop, 2000, has_hit, &addr));
	assert_int_equal(addr.last.prefix_length, 32);
	assert_int_equal(addr.last.ifindex, eth0(f));
	addr.hits = 0;
	addr.removed = true;
	lab_run("ip addr flush dev eth0 to 10.9.0.88");
	assert_true(lab_turn_until(&f->loop, 2000, has_hit, &addr));

	lab_run("ip route add 192.0.2.0/24 via 10.9.0.2");
	assert_true(lab_turn_until(&f->loop, 2000, has_hit, &route));
	assert_int_equal(route.last.prefix_length, 24);
	assert_int_equal(route.last.ifindex, eth0(f));
	lab_run("ip route del 192.0.2.0/24");

	assert_int_equal(link.hits, 0);
	lab_run("ip link set eth0 mtu 1400");
	assert_true(lab_turn_until(&f->loop, 2000, has_hit, &link));
	assert_int_equal(link.last.link.mtu, 1400);
	assert_string_equal(link.last.link.name, "eth0");
	lab_run("ip link set eth0 mtu 1500");
	net_unsubscribe(addr.subscription);
	net_unsubscribe(link.subscription);
	net_unsubscribe(route.subscription);

	subscribe(f, &rule, NET_ROUTE);
	lab_run("ip rule add pref 99 lookup main && ip rule del pref 99");
	assert_true(lab_turn_until(&f->loop, 2000, has_hit, &rule));
	assert_int_equal(rule.last.address.family, AF_UNSPEC);
	net_unsubscribe(rule.subscription);
}

/* A callback may end its own and other subscriptions. */
static void on_end(void *arg, const struct net_event *event)
{
	struct seen **all = arg;

	(void)event;
	for (int i = 0; i < 2; i++) {
		all[i]->hits++;
		net_unsubscribe(all[i]->subscription);
		all[i]->subscription = NULL;
	}
}

static void test_unsubscribe_inside(void **state)
{
	struct fixture *f = *state;
	struct seen first = { 0 }, second = { 0 }, *all[] = { &first, &second };
	struct addr address = lab_addr("10.9.0.88");

	assert_int_equal(net_subscribe(f->net, NET_ADDR, on_end, all, &first.subscription, &f->err),
			 0);
	assert_int_equal(
		net_subscribe(f->net, NET_ADDR, on_end, all, &second.subscription, &f->err), 0);
	assert_int_equal(net_addr_add(f->net, eth0(f), &address, 32, 0, &f->err), 0);
	assert_int_equal(net_addr_del(f->net, eth0(f), &address, 32, &f->err), 0);
	lab_turn(&f->loop, 100);
	assert_int_equal(first.hits, 1);
	assert_int_equal(second.hits, 1);
}

/* More events than the kernel keeps for us: what was queued comes, then one RESYNC, then all goes
 * on. */
static void test_overrun(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { .wanted = NET_ADDR, .address = lab_addr("10.9.0.89") };
	struct addr address = lab_addr("10.9.0.88");

	subscribe(f, &seen, NET_ADDR | NET_ROUTE);
	for (int i = 0; i < 6000; i++) {
		assert_int_equal(net_addr_add(f->net, eth0(f), &address, 32, 0, &f->err), 0);
		assert_int_equal(net_addr_del(f->net, eth0(f), &address, 32, &f->err), 0);
	}
	assert_true(lab_turn_until(&f->loop, 5000, has_resync, &seen));
	assert_int_equal(seen.resyncs, 1);
	assert_true(seen.total > 100);
	lab_turn(&f->loop, 50);
	assert_int_equal(seen.resyncs, 1);

	assert_int_equal(net_addr_add(f->net, eth0(f), &seen.address, 32, 0, &f->err), 0);
	assert_true(lab_turn_until(&f->loop, 2000, has_hit, &seen));
	assert_int_equal(net_addr_del(f->net, eth0(f), &seen.address, 32, &f->err), 0);
	net_unsubscribe(seen.subscription);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_links, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_missing_link, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_addresses, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_ipv6_switched_off, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_routes, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_own_routes, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_neighbours, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_known_neighbours_stay, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_events, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_unsubscribe_inside, open_net, close_net),
		cmocka_unit_test_setup_teardown(test_overrun, open_net, close_net),
	};

	return cmocka_run_group_tests(tests, net_lab_open, net_lab_close);
}
