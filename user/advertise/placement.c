/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/placement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "advertise/journal.h"
#include "lib/log.h"

/* From the news that a VIP is gone to putting it back: long enough for whoever is rearranging
 * addresses to finish, well below the two seconds promised. */
#define RESTORE_DELAY_MS 500
/* What could not be put back is tried again. */
#define RESTORE_RETRY_MS 1000
/* Somebody who takes VIPs off again and again is in the log once in this time. */
#define LOG_INTERVAL_MS 60000

struct placed {
	struct addr vip;
	bool missing;
	bool seen;       /* look_again()'s own */
	bool complained; /* that it cannot be put back */
	UT_hash_handle hh;
};

/* An address that an earlier slb left, as found at the start: so that a node with thousands of VIPs
 * does not list all of its addresses for each of them. */
struct left {
	struct addr address;
	int ifindex; /* 0: not slb's, or on several devices */
	UT_hash_handle hh;
};

struct placement {
	struct net *net;
	struct adapter *adapter;
	struct adapter_listener adapter_listener;
	struct net_subscription *subscription;
	struct journal *journal; /* or NULL */
	struct placed *placed;
	struct left *left; /* what no event has been about since */
	uv_timer_t timer;  /* restores; its closing frees the placement */
	void (*restored)(void *arg, const struct addr *vip);
	void *arg;
	uint64_t restored_count;
	uint64_t unlogged; /* restored since the last line about it */
	uint64_t last_log_ms;
	bool device_returned; /* so its addresses are gone with good reason */
};

static uint8_t host_prefix(const struct addr *address)
{
	return (uint8_t)(addr_length_bytes(address) * 8);
}

static struct placed *find(const struct placement *placement, const struct addr *vip)
{
	struct placed *placed;

	HASH_FIND(hh, placement->placed, vip, sizeof(*vip), placed);
	return placed;
}

/* Does this kernel mark addresses? Then one of its own (127.0.0.1, fe80::…) or ours shows it. */
static bool has_marks(const struct net_addr *addrs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (addrs[i].protocol != 0)
			return true;
	}
	return false;
}

static bool is_ours(const struct placement *placement, const struct net_addr *addr, bool marks)
{
	if (addr->prefix_length != host_prefix(&addr->address))
		return false;
	if (marks)
		return addr->protocol == NET_PROTOCOL_SLB;
	return placement->journal != NULL && journal_has(placement->journal, &addr->address);
}

static int add(struct placement *placement, const struct net_link *link, const struct addr *vip,
	       struct errbuf *err)
{
	/* IPv6: usable at once (that nobody has it was asked before), and never the source of the
	 * node's own connections. */
	return net_addr_add(placement->net, link->ifindex, vip, host_prefix(vip),
			    NET_ADDR_NODAD | NET_ADDR_DEPRECATED, err);
}

/* ---- what an earlier slb left ---------------------------------------------------------------- */

static struct left *find_left(const struct placement *placement, const struct addr *address)
{
	struct left *left;

	HASH_FIND(hh, placement->left, address, sizeof(*address), left);
	return left;
}

static void forget_left(struct placement *placement, struct left *left)
{
	if (left == NULL)
		return;
	HASH_DEL(placement->left, left);
	free(left);
}

static void forget_all_left(struct placement *placement)
{
	struct left *left, *next;

	HASH_ITER (hh, placement->left, left, next)
		forget_left(placement, left);
}

static int remember_left(struct placement *placement, struct errbuf *err)
{
	struct left *left, *next;
	struct net_addr *addrs;
	size_t count;
	bool marks;
	int error = net_addr_list(placement->net, 0, &addrs, &count, err);

	if (error < 0)
		return error;
	marks = has_marks(addrs, count);
	for (size_t i = 0; i < count; i++) {
		left = find_left(placement, &addrs[i].address);
		if (left != NULL) {
			left->ifindex = 0;
			continue;
		}
		left = calloc(1, sizeof(*left));
		if (left == NULL)
			break; /* the rest is looked for when it is needed */
		left->address = addrs[i].address;
		left->ifindex = is_ours(placement, &addrs[i], marks) ? addrs[i].ifindex : 0;
		HASH_ADD(hh, placement->left, address, sizeof(left->address), left);
	}
	HASH_ITER (hh, placement->left, left, next) {
		if (left->ifindex == 0)
			forget_left(placement, left);
	}
	free(addrs);
	return 0;
}

/* ---- putting back ---------------------------------------------------------------------------- */

static void log_restored(struct placement *placement, size_t count)
{
	uint64_t now_ms = uv_now(placement->timer.loop);
	const char *name = adapter_name(placement->adapter);

	if (placement->device_returned) {
		placement->device_returned = false;
		log_info("Adapter %s is there again: %zu VIPs put on it", name, count);
		return;
	}
	placement->unlogged += count;
	if (placement->last_log_ms != 0 && now_ms - placement->last_log_ms < LOG_INTERVAL_MS)
		return;
	log_warn("VIPs were taken off adapter %s, not by slb: %llu put back", name,
		 (unsigned long long)placement->unlogged);
	placement->unlogged = 0;
	placement->last_log_ms = now_ms;
}

static void schedule(struct placement *placement, uint64_t delay_ms);

/* The VIP is on the adapter again, whoever put it there. */
static void is_back(struct placement *placement, struct placed *placed)
{
	if (!placed->missing)
		return;
	placed->missing = false;
	placed->complained = false;
	if (placement->restored != NULL)
		placement->restored(placement->arg, &placed->vip);
}

static void restore(uv_timer_t *timer)
{
	struct placement *placement = timer->data;
	const struct net_link *link = adapter_link(placement->adapter);
	struct placed *placed, *next;
	struct errbuf err;
	size_t count = 0, failed = 0;

	if (link == NULL)
		return; /* comes back with the device */
	HASH_ITER (hh, placement->placed, placed, next) {
		int error;

		if (!placed->missing)
			continue;
		error = add(placement, link, &placed->vip, &err);
		if (error < 0 && error != -EEXIST) {
			failed++;
			if (!placed->complained)
				log_error("%s: %s; trying again", link->name, err.text);
			placed->complained = true;
			continue;
		}
		count += error == 0;
		is_back(placement, placed);
	}
	placement->restored_count += count;
	if (count > 0)
		log_restored(placement, count);
	if (failed > 0)
		schedule(placement, RESTORE_RETRY_MS);
}

static void schedule(struct placement *placement, uint64_t delay_ms)
{
	if (!uv_is_active((uv_handle_t *)&placement->timer))
		uv_timer_start(&placement->timer, restore, delay_ms, 0);
}

/* Compares all VIPs with what the device has. A failure to list counts as "all missing": adding
 * what is there does no harm. */
static void look_again(struct placement *placement, uint64_t delay_ms)
{
	const struct net_link *link = adapter_link(placement->adapter);
	struct net_addr *addrs = NULL;
	struct placed *placed, *next;
	struct errbuf ignored;
	size_t count = 0;

	if (link == NULL || placement->placed == NULL)
		return;
	(void)net_addr_list(placement->net, link->ifindex, &addrs, &count, &ignored);
	HASH_ITER (hh, placement->placed, placed, next)
		placed->seen = false;
	for (size_t i = 0; i < count; i++) {
		placed = find(placement, &addrs[i].address);
		if (placed != NULL && addrs[i].prefix_length == host_prefix(&placed->vip))
			placed->seen = true;
	}
	free(addrs);
	HASH_ITER (hh, placement->placed, placed, next) {
		if (placed->seen) {
			is_back(placement, placed);
		} else {
			placed->missing = true;
			schedule(placement, delay_ms);
		}
	}
}

static void on_addr(void *arg, const struct net_event *event)
{
	struct placement *placement = arg;
	const struct net_link *link = adapter_link(placement->adapter);
	struct placed *placed;

	if (event->kind == NET_RESYNC) {
		forget_all_left(placement);
		look_again(placement, RESTORE_DELAY_MS);
		return;
	}
	forget_left(placement, find_left(placement, &event->address));
	placed = find(placement, &event->address);
	if (placed == NULL || link == NULL || event->ifindex != link->ifindex ||
	    event->prefix_length != host_prefix(&placed->vip))
		return;
	if (event->removed) {
		placed->missing = true;
		schedule(placement, RESTORE_DELAY_MS);
	} else {
		is_back(placement, placed);
	}
}

static void on_adapter(void *arg, unsigned int changes)
{
	struct placement *placement = arg;

	if ((changes & ADAPTER_BACK) != 0) {
		placement->device_returned = placement->placed != NULL;
		look_again(placement, 0);
	}
}

/* ---- open and close -------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

int placement_open(const struct placement_config *config, struct placement **ret,
		   struct errbuf *err)
{
	struct placement *placement = calloc(1, sizeof(*placement));
	int error = 0;

	if (placement == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	placement->net = config->net;
	placement->adapter = config->adapter;
	placement->restored = config->restored;
	placement->arg = config->arg;
	uv_timer_init(config->loop, &placement->timer);
	placement->timer.data = placement;
	placement->adapter_listener =
		(struct adapter_listener){ .cb = on_adapter, .arg = placement };
	adapter_listen(placement->adapter, &placement->adapter_listener);
	if (config->state_dir != NULL)
		error = journal_open(config->state_dir, &placement->journal, err);
	if (error == 0)
		error = net_subscribe(placement->net, NET_ADDR, on_addr, placement,
				      &placement->subscription, err);
	if (error == 0)
		error = remember_left(placement, err);
	if (error < 0) {
		placement_close(placement);
		return error;
	}
	*ret = placement;
	return 0;
}

void placement_close(struct placement *placement)
{
	struct placed *placed, *next;

	if (placement == NULL)
		return;
	adapter_unlisten(placement->adapter, &placement->adapter_listener);
	net_unsubscribe(placement->subscription);
	journal_close(placement->journal);
	forget_all_left(placement);
	HASH_ITER (hh, placement->placed, placed, next) {
		HASH_DEL(placement->placed, placed);
		free(placed);
	}
	uv_close((uv_handle_t *)&placement->timer, on_closed);
}

/* ---- put, remove, retain --------------------------------------------------------------------- */

static int refuse(struct placement *placement, const struct net_addr *addr, struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];
	struct net_link holder;
	struct errbuf ignored;

	if (net_link_by_index(placement->net, addr->ifindex, &holder, &ignored) < 0)
		memcpy(holder.name, "?", 2);
	return errbuf_set(
		err, -EADDRINUSE,
		"address %s is on this node's device %s already (%s/%u), and not from slb; "
		"use another address, or remove it: ip address del %s/%u dev %s",
		addr_format(&addr->address, text), holder.name, text, addr->prefix_length, text,
		addr->prefix_length, holder.name);
}

/* Where does the node have the address? A stranger's refuses; one that slb left elsewhere is taken
 * off; *ret_there: it is on the adapter already. */
static int clear(struct placement *placement, const struct net_link *link, const struct addr *vip,
		 bool *ret_there, struct errbuf *err)
{
	struct net_addr *addrs;
	bool marks, there = false;
	size_t count;
	int error = net_addr_list(placement->net, 0, &addrs, &count, err);

	if (error < 0)
		return error;
	marks = has_marks(addrs, count);
	for (size_t i = 0; i < count && error == 0; i++) {
		if (addr_equal(&addrs[i].address, vip) && !is_ours(placement, &addrs[i], marks))
			error = refuse(placement, &addrs[i], err);
	}
	for (size_t i = 0; i < count && error == 0; i++) {
		if (!addr_equal(&addrs[i].address, vip))
			continue;
		if (addrs[i].ifindex == link->ifindex)
			there = true;
		else
			error = net_addr_del(placement->net, addrs[i].ifindex, vip,
					     addrs[i].prefix_length, err);
		if (error == -EADDRNOTAVAIL || error == -ENODEV)
			error = 0;
	}
	free(addrs);
	if (error == 0)
		*ret_there = there;
	return error;
}

/* Adds the VIP, noted in the journal first. */
static int add_noted(struct placement *placement, const struct net_link *link,
		     const struct addr *vip, struct errbuf *err)
{
	bool noted = placement->journal == NULL || journal_has(placement->journal, vip);
	int error = noted ? 0 : journal_add(placement->journal, vip, err);

	if (error < 0)
		return error;
	error = add(placement, link, vip, err);
	if (error < 0 && !noted)
		journal_remove(placement->journal, vip);
	return error;
}

/* The usual case is a new address, for which a FIB lookup is enough to know that the node does not
 * have it; a device that is down has no routes, though. */
static int put(struct placement *placement, const struct net_link *link, const struct addr *vip,
	       struct errbuf *err)
{
	struct left *left = find_left(placement, vip);
	bool there = false, local = true;
	int error = 0;

	if (left != NULL && left->ifindex == link->ifindex) {
		forget_left(placement, left);
		return placement->journal != NULL ? journal_add(placement->journal, vip, err) : 0;
	}
	if (link->up)
		error = net_addr_is_local(placement->net, vip, &local, err);
	if (error == 0 && local)
		error = clear(placement, link, vip, &there, err);
	if (error == 0 && !there) {
		error = add_noted(placement, link, vip, err);
		if (error != -EEXIST)
			return error;
		/* It is on the device although no route said so. */
		error = clear(placement, link, vip, &there, err);
		if (error == 0 && !there)
			return add_noted(placement, link, vip, err);
	}
	if (error == 0 && placement->journal != NULL)
		error = journal_add(placement->journal, vip, err);
	return error;
}

int placement_put(struct placement *placement, const struct addr *vip, struct errbuf *err)
{
	const struct net_link *link = adapter_link(placement->adapter);
	struct placed *placed = find(placement, vip), *fresh = NULL;
	int error;

	if (placed != NULL && !placed->missing)
		return 0;
	if (link == NULL)
		return errbuf_set(err, -ENODEV, "adapter %s does not exist now; see `ip link`",
				  adapter_name(placement->adapter));
	if (placed == NULL) {
		fresh = calloc(1, sizeof(*fresh));
		if (fresh == NULL)
			return errbuf_set(err, -ENOMEM, "out of memory");
	}
	error = put(placement, link, vip, err);
	if (error < 0) {
		free(fresh);
		return error;
	}
	if (placed == NULL) {
		fresh->vip = *vip;
		HASH_ADD(hh, placement->placed, vip, sizeof(fresh->vip), fresh);
	} else
		placed->missing = false;
	return 0;
}

int placement_remove(struct placement *placement, const struct addr *vip, struct errbuf *err)
{
	const struct net_link *link = adapter_link(placement->adapter);
	struct placed *placed = find(placement, vip);
	int error = 0;

	if (placed == NULL)
		return 0;
	if (link != NULL)
		error = net_addr_del(placement->net, link->ifindex, vip, host_prefix(vip), err);
	if (error < 0 && error != -EADDRNOTAVAIL && error != -ENODEV)
		return errbuf_prefix(err, error, "adapter %s", link->name);
	HASH_DEL(placement->placed, placed);
	free(placed);
	if (placement->journal != NULL)
		journal_remove(placement->journal, vip);
	return 0;
}

int placement_retain(struct placement *placement,
		     bool (*is_desired)(void *arg, const struct addr *vip), void *arg,
		     struct errbuf *err)
{
	const struct net_link *link = adapter_link(placement->adapter);
	struct net_addr *addrs;
	bool marks;
	size_t count;
	int first = 0;
	int error = net_addr_list(placement->net, 0, &addrs, &count, err);

	forget_all_left(placement);
	if (error < 0)
		return error;
	marks = has_marks(addrs, count);
	for (size_t i = 0; i < count; i++) {
		const struct addr *address = &addrs[i].address;
		bool wanted = find(placement, address) != NULL || is_desired(arg, address);
		struct errbuf text;

		if (!is_ours(placement, &addrs[i], marks) ||
		    (wanted && link != NULL && addrs[i].ifindex == link->ifindex))
			continue;
		error = net_addr_del(placement->net, addrs[i].ifindex, address,
				     addrs[i].prefix_length, &text);
		if (error < 0 && error != -EADDRNOTAVAIL && error != -ENODEV) {
			if (first == 0)
				*err = text;
			first = first == 0 ? error : first;
		} else if (!wanted && placement->journal != NULL)
			journal_remove(placement->journal, address);
	}
	free(addrs);
	return first;
}

bool placement_is_placed(const struct placement *placement, const struct addr *vip)
{
	const struct placed *placed = find(placement, vip);

	return placed != NULL && !placed->missing;
}

uint64_t placement_restored_count(const struct placement *placement)
{
	return placement->restored_count;
}
