/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/adapter.h"

#include <errno.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

struct adapter {
	struct net *net;
	struct net_subscription *subscription;
	char name[IF_NAMESIZE]; /* asked for: what a new device has to be called */
	struct net_link link;   /* the device; meaningful while present */
	bool present;
	struct adapter_listener *listeners;
	struct net_link *own_links; /* of the whole node, for their MACs; NULL: to be listed */
	size_t own_link_count;
};

static void tell(struct adapter *adapter, unsigned int changes)
{
	struct adapter_listener *listener, *next;

	if (changes == 0)
		return;
	DL_FOREACH_SAFE (adapter->listeners, listener, next)
		listener->cb(listener->arg, changes);
}

static void device_gone(struct adapter *adapter)
{
	adapter->present = false;
	tell(adapter, ADAPTER_GONE);
}

/* Takes what the device is now (another than before: BACK) and tells what is different. */
static void device_is(struct adapter *adapter, const struct net_link *link, bool moved)
{
	const struct net_link *was = &adapter->link;
	unsigned int changes = moved ? ADAPTER_MOVED : 0;

	if (!adapter->present || was->ifindex != link->ifindex)
		changes |= ADAPTER_BACK | (link->running ? ADAPTER_RUNNING : 0);
	else if (was->running != link->running)
		changes |= link->running ? ADAPTER_RUNNING : ADAPTER_STOPPED;
	if (memcmp(was->mac, link->mac, sizeof(link->mac)) != 0)
		changes |= ADAPTER_MAC;
	adapter->link = *link;
	adapter->present = true;
	tell(adapter, changes);
}

static bool is_usable(const struct net_link *link)
{
	return link->arphrd == ARPHRD_LOOPBACK || link->mac_length == 0 ||
	       net_link_is_ethernet(link);
}

/* Events were lost: asks what is there. */
static void look_again(struct adapter *adapter)
{
	struct net_link link;
	struct errbuf ignored;

	if (adapter->present) {
		int error = net_link_by_index(adapter->net, adapter->link.ifindex, &link, &ignored);

		if (error == 0)
			device_is(adapter, &link, true);
		else if (error == -ENODEV)
			device_gone(adapter);
	}
	if (!adapter->present &&
	    net_link_by_name(adapter->net, adapter->name, &link, &ignored) == 0 && is_usable(&link))
		device_is(adapter, &link, true);
}

static void on_link(void *arg, const struct net_event *event)
{
	struct adapter *adapter = arg;
	const struct net_link *link = &event->link;

	free(adapter->own_links);
	adapter->own_links = NULL;
	if (event->kind == NET_RESYNC)
		look_again(adapter);
	else if (adapter->present && link->ifindex == adapter->link.ifindex) {
		if (event->removed)
			device_gone(adapter);
		else
			device_is(adapter, link, event->notify_peers);
	} else if (!adapter->present && !event->removed && strcmp(link->name, adapter->name) == 0 &&
		   is_usable(link))
		device_is(adapter, link, false);
}

/* Addresses of a bridge's or bond's port are never reached; a VRF's member keeps its own. */
static int check_master(struct adapter *adapter, struct errbuf *err)
{
	struct net_link master;

	if (adapter->link.master_ifindex == 0 ||
	    net_link_by_index(adapter->net, adapter->link.master_ifindex, &master, err) < 0 ||
	    strcmp(master.kind, "vrf") == 0)
		return 0;
	return errbuf_set(err, -EINVAL,
			  "adapter %s is a port of %s %s, where an address has no effect; use "
			  "--adapter %s",
			  adapter->name, master.kind, master.name, master.name);
}

int adapter_open(struct net *net, const char *name, struct adapter **ret, struct errbuf *err)
{
	struct adapter *adapter = calloc(1, sizeof(*adapter));
	int error;

	if (adapter == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	adapter->net = net;
	error = net_subscribe(net, NET_LINK, on_link, adapter, &adapter->subscription, err);
	if (error == 0)
		error = net_link_by_name(net, name, &adapter->link, err);
	if (error == 0) {
		adapter->present = true;
		snprintf(adapter->name, sizeof(adapter->name), "%s", name);
		error = check_master(adapter, err);
	}
	if (error < 0) {
		adapter_close(adapter);
		return error;
	}
	*ret = adapter;
	return 0;
}

void adapter_close(struct adapter *adapter)
{
	if (adapter == NULL)
		return;
	net_unsubscribe(adapter->subscription);
	free(adapter->own_links);
	free(adapter);
}

const struct net_link *adapter_link(const struct adapter *adapter)
{
	return adapter->present ? &adapter->link : NULL;
}

const char *adapter_name(const struct adapter *adapter)
{
	return adapter->present ? adapter->link.name : adapter->name;
}

void adapter_listen(struct adapter *adapter, struct adapter_listener *listener)
{
	DL_APPEND(adapter->listeners, listener);
}

void adapter_unlisten(struct adapter *adapter, struct adapter_listener *listener)
{
	DL_DELETE(adapter->listeners, listener);
}

bool adapter_is_own_mac(struct adapter *adapter, const uint8_t mac[static NET_MAC_SIZE])
{
	struct errbuf ignored;

	if (adapter->own_links == NULL && net_link_list(adapter->net, &adapter->own_links,
							&adapter->own_link_count, &ignored) < 0)
		return adapter->present && memcmp(adapter->link.mac, mac, NET_MAC_SIZE) == 0;
	for (size_t i = 0; i < adapter->own_link_count; i++) {
		if (adapter->own_links[i].mac_length == NET_MAC_SIZE &&
		    memcmp(adapter->own_links[i].mac, mac, NET_MAC_SIZE) == 0)
			return true;
	}
	return false;
}
