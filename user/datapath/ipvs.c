/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/ipvs.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath/ipvs_netlink.h"
#include "datapath/ipvs_owned.h"
#include "datapath/ipvs_settings.h"
#include "datapath/masquerade.h"

/* A load balancer as it was applied last: what the kernel should have. */
struct applied {
	uuid_t uuid;
	struct load_balancer *lb; /* owned */
	bool complained;          /* it was found changed, and that was reported */
	UT_hash_handle hh;
};

struct ipvs {
	struct datapath datapath; /* first */
	struct net *net;
	struct sysctl *sysctl;
	ipvs_report_cb *report;
	void *report_arg;
	struct ipvs_netlink *netlink;
	struct masquerade *masquerade;
	struct ipvs_owned *owned;
	struct applied *applied; /* by uuid */
	bool is_masquerade_lost; /* found changed by others; apply() makes it anew */
	bool are_settings_lost;
};

static struct ipvs *ipvs_of(struct datapath *datapath)
{
	return (struct ipvs *)datapath;
}

/* ---- from the model */

/* Names of IPVS's schedulers (ipvsadm(8)); "mh" is Maglev, since 4.18. */
static const char *const scheduler_names[] = {
	[SCHEDULER_RR] = "rr",     [SCHEDULER_WRR] = "wrr", [SCHEDULER_SH] = "sh",
	[SCHEDULER_MAGLEV] = "mh", [SCHEDULER_LC] = "wlc",
};

static struct ipvs_service service_of(const struct load_balancer *lb)
{
	struct ipvs_service service = {
		.vip = lb->vip,
		.port = lb->port,
		.protocol = lb->protocol,
		.flags = lb->affinity_s > 0 ? IP_VS_SVC_F_PERSISTENT : 0,
		.timeout_s = lb->affinity_s,
	};

	/* Or a client whose backend takes no connections would be turned away. The flag of "mh" is
	 * the same. */
	if (lb->scheduler == SCHEDULER_SH || lb->scheduler == SCHEDULER_MAGLEV)
		service.flags |= IP_VS_SVC_F_SCHED_SH_FALLBACK;

	snprintf(service.scheduler, sizeof(service.scheduler), "%s",
		 scheduler_names[lb->scheduler]);
	return service;
}

/* Drained is weight 0: IPVS gives it no new connections and keeps the old ones. */
static struct ipvs_dest dest_of(const struct load_balancer *lb, const struct backend *backend)
{
	return (struct ipvs_dest){
		.ip = backend->ip,
		.port = backend->type == BACKEND_LOCAL ? lb->port : backend->port,
		.method =
			backend->type == BACKEND_LOCAL ? IP_VS_CONN_F_LOCALNODE : IP_VS_CONN_F_MASQ,
		.weight = backend->state == BACKEND_UP ? backend->weight : 0,
	};
}

static bool same_dest(const struct ipvs_dest *a, const struct ipvs_dest *b)
{
	return addr_equal(&a->ip, &b->ip) && a->port == b->port;
}

static struct masqueraded masqueraded_of(const struct load_balancer *lb)
{
	return (struct masqueraded){ .vip = lb->vip, .port = lb->port, .protocol = lb->protocol };
}

__attribute__((format(printf, 3, 4))) static void report(const struct ipvs *ipvs, bool trouble,
							 const char *format, ...)
{
	char sentence[ERRBUF_SIZE + 128];
	va_list args;

	if (ipvs->report == NULL)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	ipvs->report(ipvs->report_arg, trouble, sentence);
}

/* ---- what was applied */

static struct applied *applied_find(const struct ipvs *ipvs, const uuid_t uuid)
{
	struct applied *applied;

	HASH_FIND(hh, ipvs->applied, uuid, sizeof(uuid_t), applied);
	return applied;
}

/* Without memory it is only not watched over. */
static void applied_put(struct ipvs *ipvs, const struct load_balancer *lb)
{
	struct applied *applied = applied_find(ipvs, lb->uuid);
	struct load_balancer *copy = load_balancer_copy(lb);

	if (applied == NULL && copy != NULL) {
		applied = calloc(1, sizeof(*applied));
		if (applied != NULL) {
			uuid_copy(applied->uuid, lb->uuid);
			HASH_ADD(hh, ipvs->applied, uuid, sizeof(uuid_t), applied);
		}
	}
	if (applied == NULL) {
		load_balancer_free(copy);
		return;
	}
	if (copy != NULL) {
		load_balancer_free(applied->lb);
		applied->lb = copy;
	}
	applied->complained = false;
}

static void applied_remove(struct ipvs *ipvs, const uuid_t uuid)
{
	struct applied *applied = applied_find(ipvs, uuid);

	if (applied == NULL)
		return;
	HASH_DEL(ipvs->applied, applied);
	load_balancer_free(applied->lb);
	free(applied);
}

/* ---- check */

/* Of a kernel that is asked for what its own addresses serve, nothing comes back by IPVS's NAT. */
static int check_backend(const struct ipvs *ipvs, const struct load_balancer *lb,
			 const struct backend *backend, struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];
	bool is_local = false;
	int r;

	if (backend->ip.family != lb->vip.family)
		return errbuf_set_field(err, -EINVAL, "ip",
					"the backend %s is not of the family of the VIP",
					addr_format(&backend->ip, text));
	if (backend->type != BACKEND_MASQ)
		return 0;
	r = net_addr_is_local(ipvs->net, &backend->ip, &is_local, err);
	if (r == 0 && is_local)
		return errbuf_set_field(err, -EINVAL, "type",
					"%s is an address of this node, which packets from the "
					"network cannot be sent on to; use type LOCAL",
					addr_format(&backend->ip, text));
	return r;
}

static int check(struct datapath *datapath, const struct load_balancer *lb, struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct applied *applied = applied_find(ipvs, lb->uuid);
	struct ipvs_service key = service_of(lb), found;
	char vip[ADDR_TEXT_SIZE];
	int r = 0;

	for (size_t i = 0; r == 0 && i < lb->backend_count; i++) {
		const struct backend *backend = &lb->backends[i];

		if (applied == NULL || load_balancer_backend(applied->lb, backend->uuid) == NULL)
			r = check_backend(ipvs, lb, backend, err);
	}
	if (r < 0 || ipvs_owned_has(ipvs->owned, lb->uuid))
		return r;
	r = ipvs_get_service(ipvs->netlink, &key, &found, err);
	if (r == 0)
		return errbuf_set(
			err, -EADDRINUSE,
			"IPVS has a service for %s %s port %u that slb did not make; delete it "
			"with `ipvsadm -D`, or use another port",
			protocol_name(lb->protocol), addr_format(&lb->vip, vip), lb->port);
	return r == -ESRCH ? 0 : r;
}

/* ---- apply */

/* What the kernel has and what service says are the same. */
static bool same_service(const struct ipvs_service *found, const struct ipvs_service *service)
{
	return strcmp(found->scheduler, service->scheduler) == 0 &&
	       found->flags == service->flags &&
	       ((service->flags & IP_VS_SVC_F_PERSISTENT) == 0 ||
		found->timeout_s == service->timeout_s);
}

static int apply_service(struct ipvs *ipvs, const struct ipvs_service *service, bool *ret_is_new,
			 struct errbuf *err)
{
	struct ipvs_service found;
	int r = ipvs_get_service(ipvs->netlink, service, &found, err);

	*ret_is_new = r == -ESRCH;
	if (r == -ESRCH)
		return ipvs_put_service(ipvs->netlink, service, false, err);
	if (r < 0)
		return r;
	if (same_service(&found, service))
		return 0;
	return ipvs_put_service(ipvs->netlink, service, true, err);
}

/* What the kernel should have for backend i; false: nothing. A disabled backend is not wanted: IPVS
 * cuts its connections (net.ipv4.vs.expire_nodest_conn). */
static bool wants_dest(const struct load_balancer *lb, size_t i, struct ipvs_dest *ret)
{
	*ret = dest_of(lb, &lb->backends[i]);
	return lb->backends[i].state != BACKEND_DISABLED;
}

/* The entry of the kernel's list for the same backend, or NULL. */
static struct ipvs_dest *find_dest(struct ipvs_dest *found, size_t count,
				   const struct ipvs_dest *wanted)
{
	for (size_t i = 0; i < count; i++) {
		if (same_dest(&found[i], wanted))
			return &found[i];
	}
	return NULL;
}

static bool is_wanted(const struct load_balancer *lb, const struct ipvs_dest *found)
{
	struct ipvs_dest wanted;

	for (size_t i = 0; i < lb->backend_count; i++) {
		if (wants_dest(lb, i, &wanted) && same_dest(found, &wanted))
			return true;
	}
	return false;
}

/* Adds and changes what lb wants, then deletes what it does not. */
static int apply_dests(struct ipvs *ipvs, const struct load_balancer *lb,
		       const struct ipvs_service *key, struct errbuf *err)
{
	struct ipvs_dest *found, wanted;
	size_t count;
	int r = ipvs_get_dests(ipvs->netlink, key, &found, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < lb->backend_count; i++) {
		struct ipvs_dest *there;

		if (!wants_dest(lb, i, &wanted))
			continue;
		there = find_dest(found, count, &wanted);
		if (there == NULL || there->method != wanted.method ||
		    there->weight != wanted.weight)
			r = ipvs_put_dest(ipvs->netlink, key, &wanted, there != NULL, err);
	}
	for (size_t j = 0; r == 0 && j < count; j++) {
		if (!is_wanted(lb, &found[j]))
			r = ipvs_del_dest(ipvs->netlink, key, &found[j], err);
	}
	free(found);
	return r;
}

/* Takes back what a failed apply() of a new service began; its errors change nothing any more. */
static void undo_new(struct ipvs *ipvs, const struct load_balancer *lb,
		     const struct ipvs_service *key)
{
	struct masqueraded masqueraded = masqueraded_of(lb);
	struct errbuf ignored;

	ipvs_del_service(ipvs->netlink, key, &ignored);
	masquerade_remove(ipvs->masquerade, &masqueraded, &ignored);
	ipvs_owned_remove(ipvs->owned, lb->uuid, &ignored);
}

struct masquerade_list {
	struct masqueraded *services;
	size_t count;
};

static void note_masqueraded(void *arg, const struct load_balancer *lb)
{
	struct masquerade_list *list = arg;

	if (lb->source_nat)
		list->services[list->count++] = masqueraded_of(lb);
}

/* Puts back what holds for all services: masquerading and settings. Cheap when nothing is lost. */
static int repair_common(struct ipvs *ipvs, struct errbuf *err)
{
	struct masquerade_list list = { 0 };
	int r = 0;

	if (ipvs->are_settings_lost)
		r = ipvs_settings_make(ipvs->sysctl, ipvs->report, ipvs->report_arg, err);
	if (r < 0)
		return r;
	ipvs->are_settings_lost = false;
	if (!ipvs->is_masquerade_lost)
		return 0;
	list.services = calloc(ipvs_owned_count(ipvs->owned) + 1, sizeof(*list.services));
	if (list.services == NULL)
		return errbuf_set(err, -ENOMEM, "cannot repair masquerading: out of memory");
	ipvs_owned_each(ipvs->owned, note_masqueraded, &list);
	r = masquerade_repair(ipvs->masquerade, list.services, list.count, err);
	free(list.services);
	ipvs->is_masquerade_lost = r < 0;
	return r;
}

static int apply(struct datapath *datapath, const struct load_balancer *lb, struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct ipvs_service service = service_of(lb);
	struct masqueraded masqueraded = masqueraded_of(lb);
	bool is_new = false, was_owned = ipvs_owned_has(ipvs->owned, lb->uuid);
	bool was_masqueraded = was_owned && ipvs_owned_source_nat(ipvs->owned, lb->uuid);
	int r = check(datapath, lb, err);

	if (r == 0)
		r = repair_common(ipvs, err);
	if (r < 0)
		return r;
	r = ipvs_owned_put(ipvs->owned, lb, err);
	/* Before the first connection can come; taken away after the last that needs it was chosen.
	 */
	if (r == 0 && lb->source_nat && !was_masqueraded)
		r = masquerade_add(ipvs->masquerade, &masqueraded, err);
	if (r == 0 && !lb->source_nat && was_masqueraded)
		r = masquerade_remove(ipvs->masquerade, &masqueraded, err);
	if (r == 0)
		r = apply_service(ipvs, &service, &is_new, err);
	if (r == 0)
		r = apply_dests(ipvs, lb, &service, err);
	if (r < 0 && (is_new || !was_owned))
		undo_new(ipvs, lb, &service);
	if (r == 0)
		applied_put(ipvs, lb);
	return r;
}

/* ---- the other calls */

static int remove_service(struct datapath *datapath, const struct load_balancer *lb,
			  struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct ipvs_service key = service_of(lb);
	struct masqueraded masqueraded = masqueraded_of(lb);
	int r;

	applied_remove(ipvs, lb->uuid);
	if (!ipvs_owned_has(ipvs->owned, lb->uuid))
		return 0;
	r = ipvs_del_service(ipvs->netlink, &key, err);
	if (r == 0 && ipvs_owned_source_nat(ipvs->owned, lb->uuid))
		r = masquerade_remove(ipvs->masquerade, &masqueraded, err);
	if (r == 0)
		r = ipvs_owned_remove(ipvs->owned, lb->uuid, err);
	return r;
}

struct retaining {
	struct ipvs *ipvs;
	bool (*is_desired)(void *arg, const uuid_t uuid);
	void *arg;
	struct masquerade_list desired;
	int error;
	struct errbuf *err;
};

static void retain_one(void *arg, const struct load_balancer *lb)
{
	struct retaining *retaining = arg;
	int r;

	if (retaining->is_desired(retaining->arg, lb->uuid)) {
		note_masqueraded(&retaining->desired, lb);
		return;
	}
	r = remove_service(&retaining->ipvs->datapath, lb, retaining->err);
	if (retaining->error == 0)
		retaining->error = r;
}

static int retain(struct datapath *datapath, bool (*is_desired)(void *arg, const uuid_t uuid),
		  void *arg, struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct retaining retaining = {
		.ipvs = ipvs, .is_desired = is_desired, .arg = arg, .err = err
	};
	struct masquerade_list *desired = &retaining.desired;
	int r;

	desired->services = calloc(ipvs_owned_count(ipvs->owned) + 1, sizeof(*desired->services));
	if (desired->services == NULL)
		return errbuf_set(err, -ENOMEM,
				  "cannot look for left-over services: out of memory");
	ipvs_owned_each(ipvs->owned, retain_one, &retaining);
	r = retaining.error;
	if (r == 0)
		r = masquerade_replace(ipvs->masquerade, desired->services, desired->count, err);
	free(desired->services);
	return r;
}

static int traffic(struct datapath *datapath, const struct load_balancer *lb,
		   struct traffic *ret_total, struct traffic *ret_per_backend, struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct ipvs_service key = service_of(lb), found;
	struct ipvs_dest *dests = NULL;
	size_t count = 0;
	int r = ipvs_get_service(ipvs->netlink, &key, &found, err);

	if (r == -ESRCH)
		return errbuf_set(err, -ENOENT, "IPVS has no such service");
	if (r == 0 && ret_per_backend != NULL)
		r = ipvs_get_dests(ipvs->netlink, &key, &dests, &count, err);
	if (r < 0)
		return r;
	*ret_total = found.traffic;
	for (size_t i = 0; ret_per_backend != NULL && i < lb->backend_count; i++) {
		struct ipvs_dest wanted = dest_of(lb, &lb->backends[i]);

		ret_per_backend[i] = (struct traffic){ 0 };
		for (size_t j = 0; j < count; j++) {
			if (same_dest(&dests[j], &wanted))
				ret_per_backend[i] = dests[j].traffic;
		}
	}
	free(dests);
	return 0;
}

/* ---- what others changed */

static bool is_lb_intact(const struct ipvs *ipvs, const struct load_balancer *lb)
{
	struct ipvs_service wanted = service_of(lb), found;
	struct ipvs_dest *dests = NULL, dest;
	size_t count = 0, wanted_count = 0;
	struct errbuf ignored;
	bool intact;

	if (ipvs_get_service(ipvs->netlink, &wanted, &found, &ignored) < 0 ||
	    !same_service(&found, &wanted) ||
	    ipvs_get_dests(ipvs->netlink, &wanted, &dests, &count, &ignored) < 0)
		return false;
	intact = true;
	for (size_t i = 0; intact && i < lb->backend_count; i++) {
		const struct ipvs_dest *there;

		if (!wants_dest(lb, i, &dest))
			continue;
		wanted_count++;
		there = find_dest(dests, count, &dest);
		intact = there != NULL && there->method == dest.method &&
			 there->weight == dest.weight;
	}
	free(dests);
	return intact && count == wanted_count;
}

/* Said once for each change, however many tries the repair takes. */
static bool are_common_intact(struct ipvs *ipvs)
{
	if (!ipvs->is_masquerade_lost && !masquerade_is_intact(ipvs->masquerade)) {
		ipvs->is_masquerade_lost = true;
		report(ipvs, true, "Masquerading by %s was changed by somebody: repairing it",
		       masquerade_name(ipvs->masquerade));
	}
	if (!ipvs->are_settings_lost && !ipvs_settings_are_made()) {
		ipvs->are_settings_lost = true;
		report(ipvs, true, "Settings of IPVS were changed by somebody: repairing them");
	}
	return !ipvs->is_masquerade_lost && !ipvs->are_settings_lost;
}

static bool is_intact(struct datapath *datapath)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	bool all_intact = are_common_intact(ipvs);
	struct applied *applied, *next;

	HASH_ITER (hh, ipvs->applied, applied, next) {
		bool intact = is_lb_intact(ipvs, applied->lb);
		char vip[ADDR_TEXT_SIZE];

		if (!intact && !applied->complained)
			report(ipvs, true,
			       "The IPVS service %s %s port %u was changed by somebody: repairing "
			       "it",
			       protocol_name(applied->lb->protocol),
			       addr_format(&applied->lb->vip, vip), applied->lb->port);
		applied->complained = !intact;
		all_intact = all_intact && intact;
	}
	return all_intact;
}

static const struct datapath_ops ipvs_ops = {
	.name = "ipvs",
	.check = check,
	.apply = apply,
	.remove = remove_service,
	.retain = retain,
	.traffic = traffic,
	.is_intact = is_intact,
};

/* ---- open and close */

static void free_all(struct ipvs *ipvs, bool keep)
{
	struct applied *applied, *next;

	HASH_ITER (hh, ipvs->applied, applied, next)
		applied_remove(ipvs, applied->uuid);
	ipvs_owned_close(ipvs->owned);
	masquerade_close(ipvs->masquerade, keep);
	ipvs_netlink_close(ipvs->netlink);
	free(ipvs);
}

static void report_masquerading(const struct ipvs *ipvs)
{
	const char *refused = masquerade_nft_refused(ipvs->masquerade);

	report(ipvs, false, "Masquerading by %s%s%s%s", masquerade_name(ipvs->masquerade),
	       refused[0] != '\0' ? " (nftables: " : "", refused, refused[0] != '\0' ? ")" : "");
}

int ipvs_open(const struct ipvs_config *config, struct datapath **ret, struct errbuf *err)
{
	struct ipvs *ipvs = calloc(1, sizeof(*ipvs));
	bool was_left = ipvs_is_left(config->state_dir);
	int r;

	if (ipvs == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open IPVS: out of memory");
	ipvs->datapath.ops = &ipvs_ops;
	ipvs->net = config->net;
	ipvs->sysctl = config->sysctl;
	ipvs->report = config->report;
	ipvs->report_arg = config->report_arg;
	r = ipvs_netlink_open(&ipvs->netlink, err);
	if (r == 0)
		r = ipvs_settings_make(config->sysctl, config->report, config->report_arg, err);
	if (r == 0)
		r = masquerade_open(&ipvs->masquerade, err);
	if (r == 0)
		r = ipvs_owned_open(config->state_dir, &ipvs->owned, err);
	if (r < 0) {
		free_all(ipvs, was_left);
		return r;
	}
	report_masquerading(ipvs);
	*ret = &ipvs->datapath;
	return 0;
}

static bool nothing_is_desired(void *arg, const uuid_t uuid)
{
	(void)arg;
	(void)uuid;
	return false;
}

void ipvs_close(struct datapath *datapath, bool keep)
{
	struct errbuf ignored;

	if (datapath == NULL)
		return;
	if (!keep)
		retain(datapath, nothing_is_desired, NULL, &ignored);
	free_all(ipvs_of(datapath), keep);
}

/* ---- what a former run left */

static void note_path(const char *state_dir, char path[static PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/" IPVS_OWNED_FILE, state_dir);
}

bool ipvs_is_left(const char *state_dir)
{
	char path[PATH_MAX];

	note_path(state_dir, path);
	return access(path, F_OK) == 0;
}

static void remove_one(void *arg, const struct load_balancer *lb)
{
	struct ipvs_service key = service_of(lb);
	struct errbuf ignored;

	ipvs_del_service(arg, &key, &ignored);
}

int ipvs_purge(const char *state_dir, struct errbuf *err)
{
	struct ipvs_netlink *netlink = NULL;
	struct masquerade *masquerade = NULL;
	struct ipvs_owned *owned = NULL;
	char path[PATH_MAX];
	int r = ipvs_owned_open(state_dir, &owned, err);

	if (r < 0)
		return r;
	note_path(state_dir, path);
	if (ipvs_netlink_open(&netlink, err) == 0)
		ipvs_owned_each(owned, remove_one, netlink);
	if (masquerade_open(&masquerade, err) == 0)
		masquerade_close(masquerade, false);
	ipvs_netlink_close(netlink);
	ipvs_owned_close(owned);
	if (unlink(path) < 0 && errno != ENOENT)
		return errbuf_set(err, -errno, "cannot remove %s: %s", path, strerror(errno));
	return 0;
}
