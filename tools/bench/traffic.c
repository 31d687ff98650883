/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * traffic: what is sent and received in the lab of tools/bench/lab. One program, a mode each:
 *
 *   traffic udp     DEVICE DMAC SADDR DADDR PORT FLOWS SECONDS   small UDP packets as fast as they
 * go traffic connect ADDR PORT AT_ONCE SECONDS                    TCP connections, one byte each
 *   traffic bulk    ADDR PORT SECONDS                            one TCP stream
 *   traffic serve   PORT                                         the other end of the last two
 *
 * Each load ends by itself after SECONDS and prints two numbers: packets taken by the device,
 * connections that got their byte, or bytes that the other end has acknowledged; and the ns of CPU
 * time it took, in which is what the kernel did for its packets right away. `serve` accepts on
 * PORT (sends one byte, closes) and PORT + 1 (reads to the end), and ends with its parent.
 *
 * udp uses a packet socket past the queueing discipline with frames made beforehand, so that the
 * generator's own share of a packet is small and nothing but the path differs between contenders.
 * It yields the processor after each burst, so that what the kernel has put off is done before the
 * next one, and no queue overflows.
 * UDP checksums are right: some contenders look.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/tcp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define BURST           64
#define FRAME_BYTES     60
#define FIRST_PORT      10000
#define BULK_BYTES      (128 << 10)
#define AT_ONCE_MOST    1024
#define SERVE_EVENTS    64
#define SECONDS_MOST    60
#define NS_PER_S        1000000000ll
#define PATIENCE_MS     100
#define IPV4_TTL        64
#define LISTEN_QUEUE    1024
#define IPV4_HEADER     20
#define DONT_FRAGMENT   0x4000
#define PSEUDO_PROTOCOL 17

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void print_result(unsigned long long count)
{
	struct timespec spent;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
	printf("%llu %lld\n", count, spent.tv_sec * NS_PER_S + spent.tv_nsec);
}

static int number(const char *text, int least, int most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || end == text || value < least || value > most) {
		errno = EINVAL;
		die(text);
	}
	return (int)value;
}

static struct in_addr address(const char *text)
{
	struct in_addr addr;

	if (inet_pton(AF_INET, text, &addr) != 1) {
		errno = EINVAL;
		die(text);
	}
	return addr;
}

/* ---- udp ----------------------------------------------------------------------------------------
 */

struct frame {
	struct ether_header eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[FRAME_BYTES - ETHER_HDR_LEN - IPV4_HEADER - 8];
} __attribute__((packed));

_Static_assert(sizeof(struct frame) == FRAME_BYTES, "a shortest Ethernet frame");

/* One's complement sum of whole words, not folded. */
static uint32_t sum(const void *data, size_t bytes, uint32_t begin)
{
	const uint8_t *at = data;

	for (size_t i = 0; i + 1 < bytes; i += 2)
		begin += (uint32_t)at[i] << 8 | at[i + 1];
	return begin;
}

static uint16_t checksum(uint32_t total)
{
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return htons((uint16_t)~total);
}

static void frame_finish(struct frame *frame)
{
	uint32_t pseudo;

	frame->ip.check = 0;
	frame->ip.check = checksum(sum(&frame->ip, sizeof(frame->ip), 0));
	frame->udp.check = 0;
	pseudo = sum(&frame->ip.saddr, 2 * sizeof(frame->ip.saddr),
		     PSEUDO_PROTOCOL + ntohs(frame->udp.len));
	frame->udp.check =
		checksum(sum(&frame->udp, sizeof(frame->udp) + sizeof(frame->payload), pseudo));
}

/* The interface's index; its MAC goes into `mac`. */
static int device_open(int socket_fd, const char *device, uint8_t *mac)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	if (ioctl(socket_fd, SIOCGIFHWADDR, &request) < 0)
		die(device);
	memcpy(mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
	return (int)if_nametoindex(device);
}

static struct frame *frames_make(int socket_fd, char **argv, int flows, int *ifindex)
{
	struct ether_addr *dmac = ether_aton(argv[1]);
	struct frame *frames = calloc((size_t)flows, sizeof(*frames));
	struct frame frame = { 0 };

	if (!dmac || !frames)
		die(argv[1]);
	memcpy(frame.eth.ether_dhost, dmac, ETH_ALEN);
	*ifindex = device_open(socket_fd, argv[0], frame.eth.ether_shost);
	frame.eth.ether_type = htons(ETHERTYPE_IP);
	frame.ip.version = IPVERSION;
	frame.ip.ihl = IPV4_HEADER / 4;
	frame.ip.tot_len = htons(FRAME_BYTES - ETHER_HDR_LEN);
	frame.ip.frag_off = htons(DONT_FRAGMENT);
	frame.ip.ttl = IPV4_TTL;
	frame.ip.protocol = IPPROTO_UDP;
	frame.ip.saddr = address(argv[2]).s_addr;
	frame.ip.daddr = address(argv[3]).s_addr;
	frame.udp.dest = htons((uint16_t)number(argv[4], 1, UINT16_MAX));
	frame.udp.len = htons(sizeof(frame.udp) + sizeof(frame.payload));
	for (int i = 0; i < flows; i++) {
		frame.udp.source = htons((uint16_t)(FIRST_PORT + i));
		frame_finish(&frame);
		frames[i] = frame;
	}
	return frames;
}

static unsigned long long udp_send(int socket_fd, struct frame *frames, int flows, int64_t end_ns)
{
	struct mmsghdr messages[BURST] = { 0 };
	struct iovec vectors[BURST];
	unsigned long long packets = 0;
	int flow = 0;

	while (now_ns() < end_ns) {
		int sent;

		for (int i = 0; i < BURST; i++) {
			vectors[i] = (struct iovec){ &frames[(flow + i) % flows], FRAME_BYTES };
			messages[i].msg_hdr.msg_iov = &vectors[i];
			messages[i].msg_hdr.msg_iovlen = 1;
		}
		sent = sendmmsg(socket_fd, messages, BURST, 0);
		if (sent > 0) {
			packets += (unsigned)sent;
			flow = (flow + sent) % flows;
		} else if (errno != ENOBUFS && errno != EAGAIN) {
			die("sendmmsg");
		}
		sched_yield();
	}
	return packets;
}

static int udp(char **argv)
{
	int flows = number(argv[5], 1, 50000), seconds = number(argv[6], 1, SECONDS_MOST);
	int socket_fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1, ifindex;
	struct frame *frames;
	struct sockaddr_ll to;

	if (socket_fd < 0)
		die("packet socket");
	frames = frames_make(socket_fd, argv, flows, &ifindex);
	to = (struct sockaddr_ll){ .sll_family = AF_PACKET,
				   .sll_ifindex = ifindex,
				   .sll_protocol = htons(ETHERTYPE_IP) };
	if (bind(socket_fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    setsockopt(socket_fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0)
		die(argv[0]);
	print_result(udp_send(socket_fd, frames, flows, now_ns() + seconds * NS_PER_S));
	free(frames);
	close(socket_fd);
	return 0;
}

/* ---- connect ------------------------------------------------------------------------------------
 */

/* Closes with RST, so that neither end keeps the ports. */
static void close_hard(int fd)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static void connection_begin(int epoll_fd, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0)
		die("socket");
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll");
}

static int connect_many(char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr = address(argv[0]),
				  .sin_port = htons((uint16_t)number(argv[1], 1, UINT16_MAX)) };
	int at_once = number(argv[2], 1, AT_ONCE_MOST);
	int64_t end_ns = now_ns() + number(argv[3], 1, SECONDS_MOST) * NS_PER_S;
	struct epoll_event events[SERVE_EVENTS];
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	unsigned long long connections = 0, failed = 0;

	for (int i = 0; i < at_once; i++)
		connection_begin(epoll_fd, &to);
	while (now_ns() < end_ns) {
		int count = epoll_wait(epoll_fd, events, SERVE_EVENTS, PATIENCE_MS);

		for (int i = 0; i < count; i++) {
			char byte;

			if (recv(events[i].data.fd, &byte, 1, 0) == 1)
				connections++;
			else
				failed++;
			close_hard(events[i].data.fd);
			connection_begin(epoll_fd, &to);
		}
	}
	if (failed)
		fprintf(stderr, "traffic: %llu connections failed\n", failed);
	print_result(connections);
	return 0;
}

/* ---- bulk ---------------------------------------------------------------------------------------
 */

static int bulk(char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr = address(argv[0]),
				  .sin_port = htons((uint16_t)number(argv[1], 1, UINT16_MAX)) };
	int64_t end_ns = now_ns() + number(argv[2], 1, SECONDS_MOST) * NS_PER_S;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static char data[BULK_BYTES];
	struct tcp_info info;
	socklen_t length = sizeof(info);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	while (now_ns() < end_ns) {
		if (send(fd, data, sizeof(data), MSG_NOSIGNAL) < 0)
			die("send");
	}
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		die("TCP_INFO");
	print_result(info.tcpi_bytes_acked);
	close_hard(fd);
	return 0;
}

/* ---- serve --------------------------------------------------------------------------------------
 */

static int serve_listen(int epoll_fd, int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, LISTEN_QUEUE) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("listen");
	return fd;
}

static void serve_bytes(int listen_fd)
{
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		(void)!send(fd, "x", 1, MSG_NOSIGNAL);
		close(fd);
	}
}

static void serve_sink(int epoll_fd, int listen_fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	event.data.fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (event.data.fd >= 0)
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
}

static int serve(char **argv)
{
	int port = number(argv[0], 1, UINT16_MAX - 1);
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int bytes_fd = serve_listen(epoll_fd, port), sink_fd = serve_listen(epoll_fd, port + 1);
	static char data[BULK_BYTES];
	struct epoll_event events[SERVE_EVENTS];
	int count;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	while ((count = epoll_wait(epoll_fd, events, SERVE_EVENTS, -1)) >= 0 || errno == EINTR) {
		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == bytes_fd)
				serve_bytes(fd);
			else if (fd == sink_fd)
				serve_sink(epoll_fd, fd);
			else if (recv(fd, data, sizeof(data), MSG_TRUNC) <= 0)
				close(fd);
		}
	}
	die("epoll_wait");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*run)(char **argv);
	} modes[] = { { "udp", 7, udp },
		      { "connect", 4, connect_many },
		      { "bulk", 3, bulk },
		      { "serve", 1, serve } };

	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(*modes); i++) {
		if (!strcmp(argv[1], modes[i].name) && argc == 2 + modes[i].arguments)
			return modes[i].run(argv + 2);
	}
	fprintf(stderr, "traffic: see the head of tools/bench/traffic.c for its arguments\n");
	return 2;
}
