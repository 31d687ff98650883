/* SPDX-License-Identifier: GPL-2.0-only */
#include "advertise/segment.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "advertise/arp_frame.h"
#include "advertise/ndp_frame.h"

/* What one turn of the loop reads at most. */
#define READS_PER_TURN 64
#define FRAME_SIZE     1600

/* A packet socket bound to the adapter. */
struct tap {
	uv_poll_t poll;
	int fd;
	int ifindex;
	struct segment *segment;
};

struct segment {
	uv_loop_t *loop;
	struct adapter *adapter;
	struct adapter_listener adapter_listener;
	struct segment_listener *listeners;
	struct tap *arp, *ndp; /* NULL: not open */
	size_t ndp_watches;
	bool reading, closing; /* closed in a listener's call */
};

/* Both filters drop what this node sent, and frames of a VLAN (for which there is a device of its
 * own; a tag with id 0 is only a priority). Then ARP: Ethernet and IPv4. */
static const struct sock_filter arp_filter[] = {
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 8, 0),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_VLAN_TAG),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 14), /* hardware and protocol type */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARPHRD_ETHER << 16 | ETH_P_IP, 0, 3),
	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 18), /* both lengths */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6 << 8 | 4, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, FRAME_SIZE),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

/* NDP: ICMPv6 right after the header, hop limit 255, solicitation or advertisement. */
static const struct sock_filter ndp_filter[] = {
	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20), /* next header, hop limit: rules nearly all out */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6 << 8 | 255, 0, 9),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54), /* ICMPv6 type */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NDP_SOLICITATION, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NDP_ADVERTISEMENT, 0, 6),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 4, 0),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_VLAN_TAG),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, FRAME_SIZE),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

static void tap_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void tap_close(struct tap **tap)
{
	if (*tap == NULL)
		return;
	uv_close((uv_handle_t *)&(*tap)->poll, tap_closed);
	close((*tap)->fd);
	*tap = NULL;
}

static void tell(struct segment *segment, const struct claim *claim)
{
	struct segment_listener *listener, *next;

	if (adapter_is_own_mac(segment->adapter, claim->mac))
		return;
	DL_FOREACH_SAFE (segment->listeners, listener, next) {
		listener->cb(listener->arg, claim);
		if (segment->closing)
			return;
	}
}

static void on_arp(struct segment *segment, const uint8_t *frame, size_t size)
{
	struct claim claim = { .kind = CLAIM_HOLDS };
	struct arp_frame arp;

	if (!arp_frame_parse(frame, size, &arp))
		return;
	memcpy(claim.mac, arp.sender_mac, sizeof(claim.mac));
	if (arp.sender.s_addr != 0)
		claim.address = addr_from_in(arp.sender);
	else if (arp.operation == ARP_REQUEST && arp.target.s_addr != 0) {
		claim.kind = CLAIM_PROBES;
		claim.address = addr_from_in(arp.target);
	} else
		return;
	tell(segment, &claim);
}

static void on_ndp(struct segment *segment, const uint8_t *frame, size_t size)
{
	struct claim claim = { .kind = CLAIM_HOLDS };
	struct ndp_frame ndp;

	if (!ndp_frame_parse(frame, size, &ndp))
		return;
	memcpy(claim.mac, ndp.mac, sizeof(claim.mac));
	claim.address = addr_from_in6(&ndp.target);
	if (ndp.type == NDP_SOLICITATION) {
		/* One with a source only asks for the target's MAC. */
		if (memcmp(&ndp.source, &in6addr_any, sizeof(ndp.source)) != 0)
			return;
		claim.kind = CLAIM_PROBES;
	}
	tell(segment, &claim);
}

static void segment_free(struct segment *segment)
{
	tap_close(&segment->arp);
	tap_close(&segment->ndp);
	free(segment);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct tap *tap = poll->data;
	struct segment *segment = tap->segment;
	uint8_t frame[FRAME_SIZE];

	(void)events;
	segment->reading = true;
	/* A listener may have ended the last watch, or the segment. */
	for (int i = 0; i < READS_PER_TURN && !segment->closing &&
			(tap == segment->arp || tap == segment->ndp);
	     i++) {
		ssize_t size = recv(tap->fd, frame, sizeof(frame), MSG_DONTWAIT);

		/* ENETDOWN comes once when the adapter goes down; the socket stays usable. */
		if (size < 0 && (errno == EAGAIN || errno == ENXIO))
			break;
		if (size > 0 && tap == segment->arp)
			on_arp(segment, frame, (size_t)size);
		else if (size > 0 && tap == segment->ndp)
			on_ndp(segment, frame, (size_t)size);
	}
	segment->reading = false;
	if (segment->closing)
		segment_free(segment);
	/* After a socket error libuv has stopped watching. */
	else if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
		uv_poll_start(poll, UV_READABLE, on_readable);
}

/* The filter is set before the socket is bound: nothing unfiltered is ever queued. */
static int socket_open(int ifindex, uint16_t protocol, const struct sock_filter *filter,
		       size_t filter_size)
{
	struct sock_fprog program = { .len = (unsigned short)filter_size,
				      .filter = (struct sock_filter *)filter };
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(protocol),
				       .sll_ifindex = ifindex };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0 &&
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static int tap_open(struct segment *segment, bool arp, struct tap **ret)
{
	const struct net_link *link = adapter_link(segment->adapter);
	struct tap *tap;
	int fd, error;

	if (link == NULL)
		return -ENETDOWN;
	fd = arp ? socket_open(link->ifindex, ETH_P_ARP, arp_filter,
			       sizeof(arp_filter) / sizeof(*arp_filter))
		 : socket_open(link->ifindex, ETH_P_IPV6, ndp_filter,
			       sizeof(ndp_filter) / sizeof(*ndp_filter));
	if (fd < 0)
		return fd;
	tap = calloc(1, sizeof(*tap));
	error = tap == NULL ? -ENOMEM : uv_poll_init(segment->loop, &tap->poll, fd);
	if (error < 0) {
		close(fd);
		free(tap);
		return error;
	}
	tap->poll.data = tap;
	tap->fd = fd;
	tap->ifindex = link->ifindex;
	tap->segment = segment;
	uv_poll_start(&tap->poll, UV_READABLE, on_readable);
	*ret = tap;
	return 0;
}

static int taps_open(struct segment *segment)
{
	int error = 0;

	if (segment->arp == NULL)
		error = tap_open(segment, true, &segment->arp);
	if (error == 0 && segment->ndp == NULL && segment->ndp_watches > 0)
		error = tap_open(segment, false, &segment->ndp);
	return error;
}

/* A socket is bound to one device, not to a name: a new device needs new ones. */
static void on_adapter(void *arg, unsigned int changes)
{
	struct segment *segment = arg;

	if ((changes & (ADAPTER_GONE | ADAPTER_BACK)) != 0) {
		tap_close(&segment->arp);
		tap_close(&segment->ndp);
	}
	if (!segment_is_silent(segment) && adapter_link(segment->adapter) != NULL)
		(void)taps_open(segment); /* or with the next frame */
}

static int check_adapter(const struct adapter *adapter, struct errbuf *err)
{
	const struct net_link *link = adapter_link(adapter);

	if (link == NULL)
		return errbuf_set(err, -ENODEV, "adapter %s does not exist; see `ip link`",
				  adapter_name(adapter));
	if (link->arphrd != ARPHRD_LOOPBACK && !net_link_is_ethernet(link))
		return errbuf_set(err, -EINVAL,
				  "adapter %s is no Ethernet device, so nothing can be announced "
				  "on it by ARP; use another adapter, or --bgp",
				  adapter_name(adapter));
	return 0;
}

int segment_open(uv_loop_t *loop, struct adapter *adapter, struct segment **ret, struct errbuf *err)
{
	int error = check_adapter(adapter, err);
	struct segment *segment;

	if (error < 0)
		return error;
	segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	segment->loop = loop;
	segment->adapter = adapter;
	if (!segment_is_silent(segment)) {
		error = taps_open(segment);
		if (error < 0) {
			free(segment);
			return errbuf_set(err, error,
					  "cannot open a packet socket on adapter %s: %s",
					  adapter_name(adapter),
					  error == -EPERM ? "this needs root (CAP_NET_RAW)"
							  : strerror(-error));
		}
	}
	segment->adapter_listener = (struct adapter_listener){ .cb = on_adapter, .arg = segment };
	adapter_listen(adapter, &segment->adapter_listener);
	*ret = segment;
	return 0;
}

void segment_close(struct segment *segment)
{
	if (segment == NULL)
		return;
	adapter_unlisten(segment->adapter, &segment->adapter_listener);
	segment->closing = true;
	if (!segment->reading)
		segment_free(segment);
}

bool segment_is_silent(const struct segment *segment)
{
	const struct net_link *link = adapter_link(segment->adapter);

	return link != NULL && !net_link_is_ethernet(link);
}

bool segment_is_ready(const struct segment *segment)
{
	const struct net_link *link = adapter_link(segment->adapter);

	return link != NULL && link->up && link->running;
}

static int frame_send(struct segment *segment, bool arp, const uint8_t *frame, size_t size)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(arp ? ETH_P_ARP : ETH_P_IPV6),
				       .sll_halen = NET_MAC_SIZE };
	struct tap *tap = arp || segment->ndp == NULL ? segment->arp : segment->ndp;

	address.sll_ifindex = tap->ifindex;
	memcpy(address.sll_addr, frame, NET_MAC_SIZE);
	if (sendto(tap->fd, frame, size, MSG_DONTWAIT, (struct sockaddr *)&address,
		   sizeof(address)) < 0)
		return -errno;
	return 0;
}

/* 0 and *ret_link: send. 1: silent, nothing to send. */
static int begin_sending(struct segment *segment, const struct net_link **ret_link)
{
	if (segment_is_silent(segment))
		return 1;
	if (!segment_is_ready(segment))
		return -ENETDOWN;
	*ret_link = adapter_link(segment->adapter);
	return taps_open(segment);
}

unsigned int segment_announcement_frames(const struct addr *address)
{
	return address->family == AF_INET ? 2 : 1;
}

static int announce(struct segment *segment, const struct addr *address, bool reply_too)
{
	uint8_t frame[NDP_FRAME_SIZE_ADVERTISE];
	const struct net_link *link;
	int error = begin_sending(segment, &link);

	if (error != 0)
		return error < 0 ? error : 0;
	if (address->family == AF_INET6) {
		struct in6_addr in6 = addr_to_in6(address);

		ndp_frame_advertise(frame, link->mac, &in6);
		return frame_send(segment, false, frame, NDP_FRAME_SIZE_ADVERTISE);
	}
	arp_frame_announce(frame, ARP_REQUEST, link->mac, addr_to_in(address));
	error = frame_send(segment, true, frame, ARP_FRAME_SIZE);
	if (error == 0 && reply_too) {
		arp_frame_announce(frame, ARP_REPLY, link->mac, addr_to_in(address));
		error = frame_send(segment, true, frame, ARP_FRAME_SIZE);
	}
	return error;
}

int segment_announce(struct segment *segment, const struct addr *address)
{
	return announce(segment, address, true);
}

int segment_defend(struct segment *segment, const struct addr *address)
{
	return announce(segment, address, false);
}

int segment_probe(struct segment *segment, const struct addr *address)
{
	uint8_t frame[NDP_FRAME_SIZE_PROBE];
	const struct net_link *link;
	int error = begin_sending(segment, &link);

	if (error != 0)
		return error < 0 ? error : 0;
	if (address->family == AF_INET6) {
		struct in6_addr in6 = addr_to_in6(address);

		ndp_frame_probe(frame, link->mac, &in6);
		return frame_send(segment, false, frame, NDP_FRAME_SIZE_PROBE);
	}
	arp_frame_probe(frame, link->mac, addr_to_in(address));
	return frame_send(segment, true, frame, ARP_FRAME_SIZE);
}

/* The kernel counts memberships of a socket, so watches of one group may overlap. */
static int group_membership(struct segment *segment, const struct addr *address, int option)
{
	struct in6_addr in6 = addr_to_in6(address);
	struct packet_mreq request = { .mr_type = PACKET_MR_MULTICAST, .mr_alen = NET_MAC_SIZE };

	if (segment->ndp == NULL)
		return -ENETDOWN;
	request.mr_ifindex = segment->ndp->ifindex;
	ndp_solicited_node_mac(&in6, request.mr_address);
	if (setsockopt(segment->ndp->fd, SOL_PACKET, option, &request, sizeof(request)) < 0)
		return -errno;
	return 0;
}

int segment_watch(struct segment *segment, const struct addr *address)
{
	int error;

	if (address->family == AF_INET6)
		segment->ndp_watches++;
	if (segment_is_silent(segment))
		return 0;
	error = taps_open(segment);
	if (error == 0 && address->family == AF_INET6)
		error = group_membership(segment, address, PACKET_ADD_MEMBERSHIP);
	return error;
}

void segment_unwatch(struct segment *segment, const struct addr *address)
{
	if (address->family != AF_INET6)
		return;
	(void)group_membership(segment, address, PACKET_DROP_MEMBERSHIP);
	if (--segment->ndp_watches == 0)
		tap_close(&segment->ndp);
}

void segment_listen(struct segment *segment, struct segment_listener *listener)
{
	DL_APPEND(segment->listeners, listener);
}

void segment_unlisten(struct segment *segment, struct segment_listener *listener)
{
	DL_DELETE(segment->listeners, listener);
}
