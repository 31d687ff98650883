/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which of the project's devices this node is, and who its BGP neighbours are. Asked at the start
 * until it is known; the neighbours again at every refresh, for they may change.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cloud/equinix_internal.h"

/* BGP may be switched on for the device after slb has started. */
#define NO_PEERS_RETRY_MS 30000

/* How well a device fits; the better one is taken. */
enum { RANK_NONE, RANK_HOSTNAME, RANK_HOSTNAME_AND_FACILITY, RANK_ID };

static void on_timer(uv_timer_t *timer)
{
	node_find(timer->data);
}

static void try_again(struct equinix_metal *metal, uint64_t delay_ms)
{
	uv_timer_start(&metal->node.timer, on_timer, delay_ms, 0);
}

/* The try is over without success. */
static void fail(struct equinix_metal *metal, int error, const struct errbuf *err)
{
	struct node *node = &metal->node;
	bool is_news;

	node->state = NODE_IDLE;
	if (metal->closing)
		return;
	is_news = node->error == 0 || strcmp(node->err.text, err->text) != 0;
	node->error = error;
	node->err = *err;
	if (is_news)
		metal_trouble(metal, "%s; trying again", err->text);
	try_again(metal, node->retry_ms);
	node->retry_ms = metal_double(node->retry_ms);
	reservations_fail_waiting(metal, error, &node->err);
}

/* ---- neighbours ------------------------------------------------------------------------------ */

static void on_neighbour(void *arg, const struct equinix_neighbour *neighbour)
{
	struct equinix_metal *metal = arg;
	struct node *node = &metal->node;

	if (node->neighbour_count == EQUINIX_PEERS_MAX) {
		metal_trouble(metal,
			      "the API tells of more than %d BGP neighbours; the rest is left",
			      EQUINIX_PEERS_MAX);
		return;
	}
	node->neighbours[node->neighbour_count++] = *neighbour;
}

static void on_neighbours_done(void *arg, int status, const struct errbuf *reason)
{
	struct equinix_metal *metal = arg;
	struct node *node = &metal->node;
	struct errbuf err;

	if (status < 0) {
		err = *reason;
		errbuf_prefix(&err, status, "cannot find out the BGP neighbours of %s",
			      node->device.hostname);
		fail(metal, status, &err);
	} else if (node->neighbour_count == 0) {
		errbuf_set(
			&err, -ENOENT,
			"the API tells of no BGP neighbours of %s; switch BGP on for the project "
			"and the device%s",
			node->device.hostname,
			node->peers_known ? " (the peers known are kept)" : "");
		fail(metal, -ENOENT, &err);
		if (!metal->closing)
			try_again(metal, NO_PEERS_RETRY_MS);
	} else if (metal->closing) {
		node->state = NODE_IDLE;
	} else {
		node->state = NODE_IDLE;
		node->error = 0;
		node->retry_ms = metal->config.retry_ms;
		node->peers_known = true;
		peers_update(metal);
		try_again(metal, metal->config.refresh_ms);
	}
	explicit_bzero(node->neighbours, sizeof(node->neighbours));
}

static void find_neighbours(struct equinix_metal *metal)
{
	struct node *node = &metal->node;

	node->state = NODE_FINDING_PEERS;
	node->neighbour_count = 0;
	if (!node->peers_known)
		metal_report(metal, "Querying BGP settings for [%s]", node->device.hostname);
	equinix_list_neighbours(metal->api, node->device.id, on_neighbour, on_neighbours_done,
				metal);
}

/* ---- the device ------------------------------------------------------------------------------ */

static unsigned int rank_of(const struct equinix_metal *metal, const struct equinix_device *device)
{
	if (strcmp(device->id, metal->device_name) == 0)
		return RANK_ID;
	if (strcasecmp(device->hostname, metal->device_name) != 0)
		return RANK_NONE;
	return strcasecmp(device->facility, metal->facility) == 0 ? RANK_HOSTNAME_AND_FACILITY
								  : RANK_HOSTNAME;
}

static void on_device(void *arg, const struct equinix_device *device)
{
	struct equinix_metal *metal = arg;
	struct node *node = &metal->node;
	unsigned int rank = rank_of(metal, device);
	size_t used = strlen(node->others);

	if (used + strlen(device->hostname) + 8 < sizeof(node->others))
		snprintf(node->others + used, sizeof(node->others) - used, "%s%s",
			 used > 0 ? ", " : "", device->hostname);
	if (rank == RANK_NONE || rank < node->found_rank)
		return;
	node->found_count = rank > node->found_rank ? 1 : node->found_count + 1;
	node->found_rank = rank;
	node->found = *device;
}

static int check_found(struct equinix_metal *metal, struct errbuf *err)
{
	struct node *node = &metal->node;

	if (node->found_count == 0)
		return errbuf_set(err, -ENOENT,
				  "the project has no device called '%s' (it has: %s); give the "
				  "name or id of this node with --device",
				  metal->device_name,
				  node->others[0] != '\0' ? node->others : "none at all");
	if (node->found_count > 1)
		return errbuf_set(
			err, -ENOTUNIQ,
			"the project has %u devices called '%s'; give the id of this node "
			"with --device",
			node->found_count, metal->device_name);
	return 0;
}

static void on_devices_done(void *arg, int status, const struct errbuf *reason)
{
	struct equinix_metal *metal = arg;
	struct node *node = &metal->node;
	struct errbuf err;

	if (status < 0) {
		err = *reason;
		errbuf_prefix(&err, status, "cannot find this node (%s) in the project",
			      metal->device_name);
	} else {
		status = check_found(metal, &err);
	}
	if (status < 0) {
		fail(metal, status, &err);
		return;
	}
	if (metal->closing) {
		node->state = NODE_IDLE;
		return;
	}
	node->device = node->found;
	node->device_known = true;
	if (node->device.facility[0] != '\0' &&
	    strcasecmp(node->device.facility, metal->facility) != 0)
		metal_trouble(metal,
			      "%s is in facility %s, and addresses are reserved in %s: their "
			      "packets may not come here",
			      node->device.hostname, node->device.facility, metal->facility);
	survey_within(metal, metal->config.refresh_ms);
	find_neighbours(metal);
	reservations_go_on(metal);
}

void node_find(struct equinix_metal *metal)
{
	struct node *node = &metal->node;

	if (metal->closing || node->state != NODE_IDLE)
		return;
	uv_timer_stop(&node->timer);
	if (node->device_known) {
		find_neighbours(metal);
		return;
	}
	node->state = NODE_FINDING_DEVICE;
	node->found_rank = RANK_NONE;
	node->found_count = 0;
	node->others[0] = '\0';
	equinix_list_devices(metal->api, on_device, on_devices_done, metal);
}
