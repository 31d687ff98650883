/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli/layer3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "advertise/placer.h"
#include "lib/log.h"

/* How often it is looked whether graceful shutdown still has to be waited for. */
#define QUIT_TICK_MS 50

/* Addresses of the node that come and go within this time are looked at together: VIPs do in
 * thousands. */
#define ADDRESSES_SETTLE_MS 100

/* Addresses that only a default route leads to: clients may come by the device of that, too.
 * 240.0.0.0/4 has never been given to anybody (rfc: 1112 §4); 3fff::/20 is for documentation (rfc:
 * 9637), and within 2000::/3, which some networks have in place of ::/0. */
static const char *const far_addresses[] = { "240.0.0.1", "3fff::1" };
#define FAR_COUNT (sizeof(far_addresses) / sizeof(*far_addresses))

struct layer3 {
	struct layer3_config config;
	struct advertiser *placer;
	struct bgp_speaker *speaker;
	struct bgp_peer_book *book;
	struct net_subscription *subscription;
	struct addr followed[FAR_COUNT];
	size_t followed_count;
	uv_timer_t addresses_timer;
	uv_timer_t quit_timer; /* runs in layer3_quit_gracefully() */
	unsigned int open_handles;
	bool is_speaking;
};

static void on_addresses_settled(uv_timer_t *timer)
{
	struct layer3 *layer3 = timer->data;

	bgp_speaker_addresses_changed(layer3->speaker);
}

static void on_address(void *arg, const struct net_event *event)
{
	struct layer3 *layer3 = arg;

	(void)event;
	if (!uv_is_active((uv_handle_t *)&layer3->addresses_timer))
		uv_timer_start(&layer3->addresses_timer, on_addresses_settled, ADDRESSES_SETTLE_MS,
			       0);
}

/* ---- open ------------------------------------------------------------------------------------ */

static int open_speaker(struct layer3 *layer3, struct errbuf *err)
{
	const struct layer3_config *config = &layer3->config;
	const struct placement_config placement = {
		.loop = config->loop,
		.net = config->net,
		.adapter = config->adapter,
		.state_dir = config->options->state_dir,
	};
	struct bgp_config bgp = config->options->bgp_config;
	int r = placer_open(&placement, &layer3->placer, err);

	if (r < 0)
		return r;
	bgp.restarted = config->restarted;
	if (bgp.as == 0)
		bgp.as = config->metal != NULL ? equinix_metal_local_as(config->metal) : 0;
	if (bgp.as == 0)
		return errbuf_set(
			err, -EAGAIN,
			"the AS of this node is not known while the API of --equinixMetal "
			"does not tell; try again, or give --bgp-as");
	r = bgp_speaker_new(config->loop, &bgp, layer3->placer, &layer3->speaker, err);
	if (r < 0)
		return r;
	layer3->is_speaking = true;
	return net_subscribe(config->net, NET_ADDR, on_address, layer3, &layer3->subscription, err);
}

static int follow_default_routes(struct layer3 *layer3, struct errbuf *err)
{
	struct datapath *datapath = layer3->config.datapath;
	int r = 0;

	if (datapath->ops->follow == NULL)
		return 0;
	for (size_t i = 0; r == 0 && i < FAR_COUNT; i++) {
		struct addr *address = &layer3->followed[i];

		addr_parse(far_addresses[i], address);
		r = datapath->ops->follow(datapath, address, err);
		if (r == 0)
			layer3->followed_count++;
	}
	return r;
}

static int add_peers(struct layer3 *layer3, struct errbuf *err)
{
	const struct server_options *options = layer3->config.options;
	const struct bgp_peer_book_config book = {
		.speaker = layer3->speaker,
		.store = layer3->config.store,
		.datapath = layer3->config.datapath,
	};
	int r = bgp_peer_book_open(&book, &layer3->book, err);

	for (size_t i = 0; r == 0 && i < options->bgp_peer_count; i++) {
		const struct bgp_peer_config *peer = &options->bgp_peers[i];

		r = bgp_peer_book_add(layer3->book, BGP_PEER_OF_FLAG, peer, err);
	}
	if (r == 0)
		r = bgp_peer_book_load(layer3->book, err);
	return r;
}

/* ---- peers of the cloud ---------------------------------------------------------------------- */

static void on_cloud_peer(void *arg, const struct equinix_metal_peer *told)
{
	struct layer3 *layer3 = arg;
	struct bgp_speaker_status speaker;
	struct bgp_peer_config peer = {
		.address = told->address,
		.as = told->as,
		.port = BGP_PEER_PORT_DEFAULT,
		.hold_s = BGP_HOLD_DEFAULT_S,
		.connect_retry_s = BGP_CONNECT_RETRY_DEFAULT_S,
		.multihop = told->multihop,
		.source = told->source,
	};
	char text[ADDR_TEXT_SIZE];
	struct errbuf err;

	bgp_speaker_status(layer3->speaker, &speaker);
	if (told->local_as != speaker.as)
		log_warn("BGP peer %s expects AS %u, this node speaks as AS %u",
			 addr_format(&told->address, text), told->local_as, speaker.as);
	_Static_assert(sizeof(peer.password) == sizeof(told->password), "both are TCP-MD5's");
	memcpy(peer.password, told->password, sizeof(peer.password));
	if (bgp_peer_book_add(layer3->book, BGP_PEER_OF_CLOUD, &peer, &err) < 0)
		log_warn("BGP peer of the cloud: %s", err.text);
	explicit_bzero(peer.password, sizeof(peer.password));
}

static void on_cloud_peer_gone(void *arg, const struct addr *address)
{
	struct layer3 *layer3 = arg;

	bgp_peer_book_drop(layer3->book, BGP_PEER_OF_CLOUD, address);
}

/* ---- open, continued ------------------------------------------------------------------------- */

static void log_start(struct layer3 *layer3)
{
	struct bgp_speaker_status status;
	struct in_addr id;
	struct addr router_id;
	char text[ADDR_TEXT_SIZE];

	bgp_speaker_status(layer3->speaker, &status);
	id.s_addr = htonl(status.router_id);
	router_id = addr_from_in(id);
	log_info("BGP speaks as AS %u, router id %s", status.as, addr_format(&router_id, text));
	if (status.peers == 0)
		log_warn("There is no BGP peer to announce VIPs to; give --bgp-peer, or POST "
			 "/bgp/peers");
}

int layer3_open(const struct layer3_config *config, struct layer3 **ret, struct errbuf *err)
{
	struct layer3 *layer3 = calloc(1, sizeof(*layer3));
	int r;

	if (layer3 == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	layer3->config = *config;
	uv_timer_init(config->loop, &layer3->quit_timer);
	uv_timer_init(config->loop, &layer3->addresses_timer);
	layer3->quit_timer.data = layer3->addresses_timer.data = layer3;
	layer3->open_handles = 2;
	r = open_speaker(layer3, err);
	if (r == 0)
		r = follow_default_routes(layer3, err);
	if (r == 0)
		r = add_peers(layer3, err);
	if (r < 0) {
		layer3_close(layer3, true);
		return r;
	}
	if (config->metal != NULL)
		equinix_metal_watch_peers(config->metal, on_cloud_peer, on_cloud_peer_gone, layer3);
	log_start(layer3);
	*ret = layer3;
	return 0;
}

struct advertiser *layer3_advertiser(struct layer3 *layer3)
{
	return bgp_speaker_advertiser(layer3->speaker);
}

struct bgp_peer_book *layer3_peers(struct layer3 *layer3)
{
	return layer3->book;
}

/* ---- close ----------------------------------------------------------------------------------- */

/* The loop's turn in layer3_quit_gracefully() ends with this. */
static void on_quit_tick(uv_timer_t *timer)
{
	(void)timer;
}

void layer3_quit_gracefully(struct layer3 *layer3)
{
	struct bgp_speaker_status status;
	uint64_t wait_ms, end_ms;

	if (layer3 == NULL)
		return;
	wait_ms = layer3->config.options->bgp_graceful_shutdown_s * 1000ULL;
	bgp_speaker_status(layer3->speaker, &status);
	if (wait_ms == 0 || status.established == 0 || status.vips == 0 || status.graceful_shutdown)
		return;
	log_info("Asking BGP peers to take other ways, for %u s",
		 layer3->config.options->bgp_graceful_shutdown_s);
	bgp_speaker_graceful_shutdown(layer3->speaker, true);
	end_ms = uv_now(layer3->config.loop) + wait_ms;
	uv_timer_start(&layer3->quit_timer, on_quit_tick, QUIT_TICK_MS, QUIT_TICK_MS);
	while (status.established > 0 && uv_now(layer3->config.loop) < end_ms) {
		uv_run(layer3->config.loop, UV_RUN_ONCE);
		bgp_speaker_status(layer3->speaker, &status);
	}
	uv_timer_stop(&layer3->quit_timer);
}

static void on_speaker_gone(void *arg)
{
	struct layer3 *layer3 = arg;

	layer3->is_speaking = false;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct layer3 *layer3 = handle->data;

	layer3->open_handles--;
}

void layer3_close(struct layer3 *layer3, bool keep)
{
	struct datapath *datapath;

	if (layer3 == NULL)
		return;
	datapath = layer3->config.datapath;
	if (layer3->config.metal != NULL)
		equinix_metal_watch_peers(layer3->config.metal, NULL, NULL, NULL);
	net_unsubscribe(layer3->subscription);
	bgp_peer_book_close(layer3->book);
	while (layer3->followed_count > 0)
		datapath->ops->unfollow(datapath, &layer3->followed[--layer3->followed_count]);
	if (layer3->is_speaking)
		bgp_speaker_stop(layer3->speaker, keep ? BGP_STOP_TO_RETURN : BGP_STOP_FOR_GOOD,
				 "slb is stopped", on_speaker_gone, layer3);
	uv_close((uv_handle_t *)&layer3->addresses_timer, on_timer_closed);
	uv_close((uv_handle_t *)&layer3->quit_timer, on_timer_closed);
	while (layer3->is_speaking || layer3->open_handles > 0)
		uv_run(layer3->config.loop, UV_RUN_ONCE);
	placer_close(layer3->placer);
	free(layer3);
}
