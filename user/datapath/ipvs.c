/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/ipvs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/ipvs_netlink.h"
#include "datapath/ipvs_owned.h"
#include "datapath/masquerade.h"

struct ipvs {
	struct datapath datapath; /* first */
	struct ipvs_netlink *netlink;
	struct masquerade *masquerade;
	struct ipvs_owned *owned;
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

/* ---- apply */

static int check(struct datapath *datapath, const struct load_balancer *lb, struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct ipvs_service key = service_of(lb), found;
	char vip[ADDR_TEXT_SIZE];
	int r;

	if (ipvs_owned_has(ipvs->owned, lb->uuid))
		return 0;
	r = ipvs_get_service(ipvs->netlink, &key, &found, err);
	if (r == 0)
		return errbuf_set(
			err, -EADDRINUSE,
			"IPVS has a service for %s %s port %u that slb did not make; delete it "
			"with `ipvsadm -D`, or use another port",
			protocol_name(lb->protocol), addr_format(&lb->vip, vip), lb->port);
	return r == -ESRCH ? 0 : r;
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
	if (strcmp(found.scheduler, service->scheduler) == 0 && found.flags == service->flags &&
	    (service->flags == 0 || found.timeout_s == service->timeout_s))
		return 0;
	return ipvs_put_service(ipvs->netlink, service, true, err);
}

/* Adds and changes what lb wants, then deletes what it does not. A disabled backend is not wanted:
 * IPVS cuts its connections (net.ipv4.vs.expire_nodest_conn). */
static int apply_dests(struct ipvs *ipvs, const struct load_balancer *lb,
		       const struct ipvs_service *key, struct errbuf *err)
{
	struct ipvs_dest *found;
	size_t count;
	int r = ipvs_get_dests(ipvs->netlink, key, &found, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < lb->backend_count; i++) {
		struct ipvs_dest wanted = dest_of(lb, &lb->backends[i]);
		struct ipvs_dest *there = NULL;

		if (lb->backends[i].state == BACKEND_DISABLED)
			continue;
		for (size_t j = 0; there == NULL && j < count; j++)
			there = same_dest(&found[j], &wanted) ? &found[j] : NULL;
		if (there == NULL || there->method != wanted.method ||
		    there->weight != wanted.weight)
			r = ipvs_put_dest(ipvs->netlink, key, &wanted, there != NULL, err);
	}
	for (size_t j = 0; r == 0 && j < count; j++) {
		bool is_wanted = false;

		for (size_t i = 0; !is_wanted && i < lb->backend_count; i++) {
			struct ipvs_dest wanted = dest_of(lb, &lb->backends[i]);

			is_wanted = lb->backends[i].state != BACKEND_DISABLED &&
				    same_dest(&found[j], &wanted);
		}
		if (!is_wanted)
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

static int apply(struct datapath *datapath, const struct load_balancer *lb, struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct ipvs_service service = service_of(lb);
	struct masqueraded masqueraded = masqueraded_of(lb);
	bool is_new = false, was_owned = ipvs_owned_has(ipvs->owned, lb->uuid);
	bool was_masqueraded = was_owned && ipvs_owned_source_nat(ipvs->owned, lb->uuid);
	int r = check(datapath, lb, err);

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
	struct masqueraded *masqueraded;
	size_t masqueraded_count;
	int error;
	struct errbuf *err;
};

static void retain_one(void *arg, const struct load_balancer *lb)
{
	struct retaining *retaining = arg;

	if (!retaining->is_desired(retaining->arg, lb->uuid)) {
		int r = remove_service(&retaining->ipvs->datapath, lb, retaining->err);

		if (retaining->error == 0)
			retaining->error = r;
	} else if (lb->source_nat) {
		retaining->masqueraded[retaining->masqueraded_count++] = masqueraded_of(lb);
	}
}

static int retain(struct datapath *datapath, bool (*is_desired)(void *arg, const uuid_t uuid),
		  void *arg, struct errbuf *err)
{
	struct ipvs *ipvs = ipvs_of(datapath);
	struct retaining retaining = {
		.ipvs = ipvs, .is_desired = is_desired, .arg = arg, .err = err
	};
	int r;

	retaining.masqueraded =
		calloc(ipvs_owned_count(ipvs->owned) + 1, sizeof(*retaining.masqueraded));
	if (retaining.masqueraded == NULL)
		return errbuf_set(err, -ENOMEM,
				  "cannot look for left-over services: out of memory");
	ipvs_owned_each(ipvs->owned, retain_one, &retaining);
	r = retaining.error;
	if (r == 0)
		r = masquerade_replace(ipvs->masquerade, retaining.masqueraded,
				       retaining.masqueraded_count, err);
	free(retaining.masqueraded);
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

static const struct datapath_ops ipvs_ops = {
	.name = "ipvs",
	.check = check,
	.apply = apply,
	.remove = remove_service,
	.retain = retain,
	.traffic = traffic,
};

int ipvs_open(const struct ipvs_config *config, struct datapath **ret, struct errbuf *err)
{
	struct ipvs *ipvs = calloc(1, sizeof(*ipvs));
	int r;

	if (ipvs == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open IPVS: out of memory");
	ipvs->datapath.ops = &ipvs_ops;
	r = ipvs_netlink_open(&ipvs->netlink, err);
	if (r == 0)
		r = masquerade_open(&ipvs->masquerade, err);
	if (r == 0)
		r = ipvs_owned_open(config->state_dir, &ipvs->owned, err);
	if (r < 0) {
		ipvs_close(&ipvs->datapath, true);
		return r;
	}
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
	struct ipvs *ipvs;
	struct errbuf ignored;

	if (datapath == NULL)
		return;
	ipvs = ipvs_of(datapath);
	if (!keep)
		retain(datapath, nothing_is_desired, NULL, &ignored);
	ipvs_owned_close(ipvs->owned);
	masquerade_close(ipvs->masquerade, keep);
	ipvs_netlink_close(ipvs->netlink);
	free(ipvs);
}

const char *ipvs_masquerade_name(const struct datapath *datapath)
{
	return masquerade_name(((const struct ipvs *)datapath)->masquerade);
}
