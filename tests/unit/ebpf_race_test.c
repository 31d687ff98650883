/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Flows against the sweep: connections with few client ports run through the attached program
 * (BPF_PROG_TEST_RUN, in a thread of their own) while the load balancer on their VIP and port is
 * deleted and made anew, and the sweep goes round without a pause. Whatever begins after a load
 * balancer was made must not lose a packet before it is deleted: no entry of a flow may go with one
 * that was there before it. Root.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ebpf_lab.h"
#include "slb_abi.h"

#define CLIENT       "10.91.0.200"
#define CLIENT_PORTS 200
#define FIRST_PORT   40000
#define BACKENDS     3
#define RUN_MS       5000
#define LIFE_MS      15 /* of one load balancer */
#define CLIENT_SEQ   1000
#define SERVER_SEQ   500000

static struct ebpf_lab lab;
static struct errbuf err;

/* ---- frames ---------------------------------------------------------------------------------- */

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

struct endpoints {
	__be32 saddr, daddr;
	__be16 sport, dport;
};

enum flag { F_SYN = 2, F_ACK = 16, F_FIN = 1 };

static uint16_t ip_checksum(struct iphdr ip)
{
	uint16_t words[sizeof(ip) / 2];
	uint32_t sum = 0;

	memcpy(words, &ip, sizeof(ip));
	for (size_t i = 0; i < sizeof(ip) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static struct frame make_frame(const struct endpoints *from_to, unsigned int flags, uint32_t seq,
			       uint32_t ack)
{
	struct frame frame = {
		.eth.h_proto = htons(ETH_P_IP),
		.ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_TCP,
			.tot_len = htons(sizeof(frame) - sizeof(frame.eth)),
			.saddr = from_to->saddr,
			.daddr = from_to->daddr },
		.tcp = { .source = from_to->sport,
			 .dest = from_to->dport,
			 .seq = htonl(seq),
			 .ack_seq = htonl(ack),
			 .doff = 5,
			 .syn = (flags & F_SYN) != 0,
			 .ack = (flags & F_ACK) != 0,
			 .fin = (flags & F_FIN) != 0,
			 .window = htons(1000) },
	};

	frame.ip.check = ip_checksum(frame.ip);
	return frame;
}

/* ---- connections ----------------------------------------------------------------------------- */

struct clients {
	int program;
	uint32_t ifindex;
	atomic_bool stop;
	/* Odd while load balancers change: what is under way then may be lost. */
	atomic_uint epoch;
	unsigned long connections, lost;
	char first_loss[128];
};

/* Was the packet forwarded? *ret: as it went out. */
static bool forward(const struct clients *clients, struct frame frame, struct frame *ret)
{
	struct xdp_md context = { .data_end = sizeof(frame), .ingress_ifindex = clients->ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = &frame, .data_size_in = sizeof(frame),
		    .data_out = ret, .data_size_out = sizeof(*ret), .ctx_in = &context,
		    .ctx_size_in = sizeof(context), .repeat = 1);

	return bpf_prog_test_run_opts(clients->program, &options) == 0 &&
	       (options.retval == XDP_TX || options.retval == XDP_REDIRECT);
}

/* From SYN to FIN. Returns the step that was not forwarded, or NULL. */
static const char *connect_once(const struct clients *clients, uint16_t port)
{
	struct endpoints client = { .sport = htons(port), .dport = htons(80) }, server;
	struct frame out;

	inet_pton(AF_INET, CLIENT, &client.saddr);
	inet_pton(AF_INET, "10.91.0.100", &client.daddr);
	if (!forward(clients, make_frame(&client, F_SYN, CLIENT_SEQ, 0), &out))
		return "SYN";
	server = (struct endpoints){ out.ip.daddr, out.ip.saddr, out.tcp.dest, out.tcp.source };
	if (!forward(clients, make_frame(&server, F_SYN | F_ACK, SERVER_SEQ, CLIENT_SEQ + 1), &out))
		return "SYN-ACK";
	for (int i = 0; i < 6; i++) {
		if (!forward(clients, make_frame(&client, F_ACK, CLIENT_SEQ + 1, SERVER_SEQ + 1),
			     &out))
			return "data of the client";
		if (!forward(clients, make_frame(&server, F_ACK, SERVER_SEQ + 1, CLIENT_SEQ + 1),
			     &out))
			return "data of the backend";
	}
	if (!forward(clients, make_frame(&client, F_FIN | F_ACK, CLIENT_SEQ + 1, SERVER_SEQ + 1),
		     &out))
		return "FIN of the client";
	if (!forward(clients, make_frame(&server, F_FIN | F_ACK, SERVER_SEQ + 1, CLIENT_SEQ + 2),
		     &out))
		return "FIN of the backend";
	return NULL;
}

static void *connect_on(void *arg)
{
	struct clients *clients = arg;

	for (unsigned int n = 0; !clients->stop; n++) {
		uint16_t port = (uint16_t)(FIRST_PORT + n % CLIENT_PORTS);
		unsigned int epoch = clients->epoch;
		const char *failed;

		if (epoch & 1)
			continue;
		failed = connect_once(clients, port);
		if (clients->epoch != epoch)
			continue;
		clients->connections++;
		if (!failed)
			continue;
		if (!clients->lost++)
			snprintf(clients->first_loss, sizeof(clients->first_loss),
				 "%s of connection %lu", failed, clients->connections);
	}
	return NULL;
}

/* ---- the test -------------------------------------------------------------------------------- */

static int attached_program(void)
{
	__u32 id = 0;

	bpf_xdp_query_id((int)if_nametoindex("dp0"), 0, &id);
	return bpf_prog_get_fd_by_id(id);
}

static void set_neighbour(const char *address)
{
	assert_int_equal(ebpf_lab_run("ip neigh replace %s lladdr 02:00:00:00:00:09 dev dp0 "
				      "nud permanent",
				      address),
			 0);
}

/* Another load balancer and other backends, for slb; the same VIP, port and machines. */
static void renew(struct load_balancer *lb, uint32_t number)
{
	memcpy(lb->uuid, &number, sizeof(number));
	for (size_t i = 0; i < lb->backend_count; i++)
		memcpy(lb->backends[i].uuid + 4, &number, sizeof(number));
}

static void no_flow_goes_with_another(void **state)
{
	struct load_balancer *lb = ebpf_lab_balancer(AF_INET, 1, BACKENDS);
	struct clients clients = { 0 };
	uint64_t end_ms;
	pthread_t thread;

	(void)state;
	lab.sweep_ms = 1;
	if (ebpf_lab_open(&lab, EBPF_HOOK_AUTO, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(ebpf_lab_run("sysctl -w net.ipv4.conf.all.forwarding=1"), 0);
	set_neighbour(CLIENT);
	for (int i = 0; i < BACKENDS; i++) {
		char text[ADDR_TEXT_SIZE];

		set_neighbour(addr_format(&lb->backends[i].ip, text));
	}
	clients.program = attached_program();
	clients.ifindex = if_nametoindex("dp0");
	assert_true(clients.program >= 0);
	clients.epoch = 1;
	assert_int_equal(pthread_create(&thread, NULL, connect_on, &clients), 0);

	end_ms = uv_hrtime() / 1000000 + RUN_MS;
	for (uint32_t number = 1; uv_hrtime() / 1000000 < end_ms; number++) {
		renew(lb, number);
		if (lab.dp->ops->apply(lab.dp, lb, &err) == 0) {
			clients.epoch++;
			ebpf_lab_wait_ms(&lab, LIFE_MS);
			clients.epoch++;
			lab.dp->ops->remove(lab.dp, lb, &err);
		} else {
			ebpf_lab_wait_ms(&lab, 1); /* ids are not free again yet */
		}
	}
	clients.stop = true;
	pthread_join(thread, NULL);
	close(clients.program);
	print_message("%lu connections, %lu lost packets%s%s\n", clients.connections, clients.lost,
		      clients.lost ? ", first: " : "", clients.first_loss);
	assert_true(clients.connections > 1000);
	assert_int_equal(clients.lost, 0);
	ebpf_lab_close(&lab, false);
	ebpf_lab_free(lb);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_flow_goes_with_another) };
	int failed;

	if (!ebpf_lab_enter(&lab)) {
		print_message("skipped: needs root\n");
		return 0;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	ebpf_lab_leave(&lab);
	return failed;
}
