/* SPDX-License-Identifier: GPL-2.0-only */
#include "net_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMAND_SIZE 512

/* One lab for each test program. */
static struct {
	pid_t peer;
	int self_ns, peer_ns;
} lab;

int net_lab_open(void **state)
{
	int ready[2];
	char path[64], byte;

	(void)state;
	if (geteuid() != 0) {
		print_message("needs root: skipped\n");
		exit(77);
	}
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(pipe(ready), 0);
	lab.peer = fork();
	assert_true(lab.peer >= 0);
	if (lab.peer == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) == 0 && write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	lab.self_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", lab.peer);
	lab.peer_ns = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(lab.self_ns >= 0 && lab.peer_ns >= 0);
	lab_run("ip link set lo up");
	lab_peer("ip link set lo up");
	lab_wire();
	return 0;
}

int net_lab_close(void **state)
{
	(void)state;
	kill(lab.peer, SIGKILL);
	waitpid(lab.peer, NULL, 0);
	close(lab.self_ns);
	close(lab.peer_ns);
	return 0;
}

static int run(bool there, const char *format, va_list args)
{
	char command[COMMAND_SIZE], whole[COMMAND_SIZE + 128];
	int status;

	vsnprintf(command, sizeof(command), format, args);
	if (there)
		snprintf(whole, sizeof(whole), "nsenter --net=/proc/%d/ns/net -- sh -c '%s'",
			 lab.peer, command);
	else
		snprintf(whole, sizeof(whole), "%s", command);
	fflush(NULL);
	status = system(whole);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(there)                         \
	va_list args;                      \
	int status;                        \
	va_start(args, format);            \
	status = run(there, format, args); \
	va_end(args)

void lab_run(const char *format, ...)
{
	RUN(false);
	assert_int_equal(status, 0);
}

void lab_peer(const char *format, ...)
{
	RUN(true);
	assert_int_equal(status, 0);
}

int lab_try(const char *format, ...)
{
	RUN(false);
	return status;
}

int lab_peer_try(const char *format, ...)
{
	RUN(true);
	return status;
}

void lab_wire(void)
{
	lab_try("ip link del eth0 2>/dev/null");
	lab_run("ip link add eth0 type veth peer name eth1 netns %d", lab.peer);
	lab_run("sysctl -qw net.ipv6.conf.eth0.accept_dad=0");
	lab_peer("sysctl -qw net.ipv6.conf.eth1.accept_dad=0");
	lab_peer("ip addr add 10.9.0.2/24 dev eth1 && ip addr add fd09::2/64 dev eth1 nodad && "
		 "ip link set eth1 up");
	lab_run("ip addr add 10.9.0.1/24 dev eth0 && ip addr add fd09::1/64 dev eth0 nodad && "
		"ip link set eth0 up");
}

/* Opens a socket in the namespace of the device: here, unless it is eth1. */
static int socket_there(bool there, int domain, int type, int protocol)
{
	int fd;

	if (there)
		assert_int_equal(setns(lab.peer_ns, CLONE_NEWNET), 0);
	fd = socket(domain, type, protocol);
	if (there)
		assert_int_equal(setns(lab.self_ns, CLONE_NEWNET), 0);
	assert_true(fd >= 0);
	return fd;
}

void lab_mac(const char *device, uint8_t mac[static 6])
{
	int fd = socket_there(strcmp(device, "eth1") == 0, AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &request), 0);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	close(fd);
}

int lab_capture(void)
{
	int fd = socket_there(true, AF_PACKET, SOCK_RAW, 0), size = 8 << 20;
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq request = { .ifr_name = "eth1" };

	assert_int_equal(ioctl(fd, SIOCGIFINDEX, &request), 0);
	address.sll_ifindex = request.ifr_ifindex;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

bool lab_reaches(const char *text)
{
	struct addr address = lab_addr(text);
	struct sockaddr_storage to = { .ss_family = address.family };
	int fd = socket_there(true, address.family, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(error);

	if (address.family == AF_INET) {
		((struct sockaddr_in *)&to)->sin_addr = addr_to_in(&address);
		((struct sockaddr_in *)&to)->sin_port = htons(9);
	} else {
		((struct sockaddr_in6 *)&to)->sin6_addr = addr_to_in6(&address);
		((struct sockaddr_in6 *)&to)->sin6_port = htons(9);
	}
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		error = errno;
	else if (poll(&wait, 1, 2000) == 1)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	close(fd);
	return error == ECONNREFUSED;
}

size_t lab_frame(int capture, uint8_t *frame, size_t size, int timeout_ms)
{
	for (;;) {
		struct pollfd wait = { .fd = capture, .events = POLLIN };
		struct sockaddr_ll from;
		socklen_t from_size = sizeof(from);
		ssize_t length;

		if (poll(&wait, 1, timeout_ms) <= 0)
			return 0;
		length = recvfrom(capture, frame, size, MSG_DONTWAIT, (struct sockaddr *)&from,
				  &from_size);
		if (length > 0 && from.sll_pkttype != PACKET_OUTGOING)
			return (size_t)length;
	}
}

void lab_send(int capture, const uint8_t *frame, size_t size)
{
	assert_int_equal(send(capture, frame, size, 0), size);
}

static void on_time(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

bool lab_turn_until(uv_loop_t *loop, uint64_t ms, bool (*condition)(void *arg), void *arg)
{
	bool over = false, holds = condition != NULL && condition(arg);
	uv_timer_t timer;

	uv_timer_init(loop, &timer);
	timer.data = &over;
	uv_update_time(loop);
	uv_timer_start(&timer, on_time, ms, 0);
	while (!over && !holds) {
		uv_run(loop, UV_RUN_ONCE);
		holds = condition != NULL && condition(arg);
	}
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	return holds;
}

void lab_turn(uv_loop_t *loop, uint64_t ms)
{
	(void)lab_turn_until(loop, ms, NULL, NULL);
}

struct addr lab_addr(const char *text)
{
	struct addr address;

	assert_int_equal(addr_parse(text, &address), 0);
	return address;
}
