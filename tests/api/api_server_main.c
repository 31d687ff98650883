/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The API before a double of core, as a program that tests drive from outside. Says on standard
 * output where it listens; ends in order on SIGTERM.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/routes.h"
#include "api/server.h"
#include "core_double.h"
#include "lib/log.h"

static const struct capabilities *give_capabilities(void *arg)
{
	static const struct capability list[] = {
		{ "native XDP", CAPABILITY_OK, NULL, NULL, NULL },
		{ "fib lookup", CAPABILITY_REFUSED, "bpf(2): \"Operation not permitted\"", "slower",
		  "run as root" },
	};
	static const char *const reasons[] = { "eth1 has no native XDP" };
	static const struct device_capability devices[] = { { "eth0", "xdp", NULL, 0 },
							    { "eth1", "tc", reasons, 1 } };
	static const struct capabilities all = { list, 2, devices, 2 };

	(void)arg;
	return &all;
}

static struct bgp_peer_view peers[2];
static bool added;

static const struct bgp_peer_view *give_peers(void *arg, size_t *ret_count)
{
	static const char *const capabilities[] = { "IPv4 unicast", "four-byte AS" };
	static struct bgp_peer_view peer = {
		.config = { .port = 179, .as = 4200000000, .hold_s = 90, .connect_retry_s = 5 },
		.origin = "flag",
		.state = "Established",
		.uptime_s = 7,
		.announced = 3,
		.capabilities = capabilities,
		.capability_count = 2
	};

	(void)arg;
	addr_parse("192.0.2.1", &peer.config.address);
	peers[0] = peer;
	*ret_count = 1 + added;
	return peers;
}

/* One more peer than the one that is always there. */
static void create_peer(void *arg, const struct bgp_peer_config *config, bgp_peer_done_cb *done,
			void *done_arg)
{
	struct errbuf err;

	(void)arg;
	if (added) {
		errbuf_set_field(&err, -EEXIST, "address", "it is a BGP peer already");
		done(done_arg, -EEXIST, &err);
		return;
	}
	peers[1] = (struct bgp_peer_view){ .config = *config,
					   .has_password = config->password[0] != '\0',
					   .origin = "api",
					   .state = "Idle" };
	added = true;
	done(done_arg, 0, NULL);
}

static void remove_peer(void *arg, const struct addr *address, bgp_peer_done_cb *done,
			void *done_arg)
{
	struct errbuf err;

	(void)arg;
	if (added && addr_equal(&peers[1].config.address, address)) {
		added = false;
		done(done_arg, 0, NULL);
		return;
	}
	errbuf_set(&err, -ENOENT, "it is not a BGP peer");
	done(done_arg, -ENOENT, &err);
}

static void print_routes(void)
{
	for (const struct route *route = api_routes; route->method != NULL; route++)
		printf("%s %s\n", route->method, route->path);
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	uv_stop(handle->loop);
}

struct settings {
	struct api_config config;
	const char *listen[8];
	bool late;
	size_t populate_lbs, populate_backends;
};

/* Each option is one letter and a number or text: this is for the tests beside it only. */
static void parse(struct settings *settings, int argc, char **argv)
{
	struct api_config *config = &settings->config;
	int option;

	while ((option = getopt(argc, argv, "p:l:am:c:r:s:n:P")) != -1) {
		switch (option) {
		case 'p':
			config->port = (uint16_t)strtoul(optarg, NULL, 10);
			break;
		case 'l':
			settings->listen[config->listen_count++] = optarg;
			break;
		case 'a':
			settings->late = true;
			break;
		case 'm':
			config->connections_max = strtoul(optarg, NULL, 10);
			break;
		case 'c':
			config->connections_max_per_client = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			config->receive_limit_ms = strtoul(optarg, NULL, 10);
			break;
		case 's':
			config->send_limit_ms = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			sscanf(optarg, "%zux%zu", &settings->populate_lbs,
			       &settings->populate_backends);
			break;
		case 'P':
			config->providers =
				(struct api_providers){ give_capabilities, give_peers, create_peer,
							remove_peer, NULL };
			break;
		default:
			exit(2);
		}
	}
	config->listen = settings->listen;
}

int main(int argc, char **argv)
{
	struct settings settings = { 0 };
	struct api_server *server;
	uv_signal_t sigterm;
	struct errbuf err;
	uv_loop_t loop;
	int rc;

	if (argc == 2 && strcmp(argv[1], "routes") == 0) {
		print_routes();
		return 0;
	}
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	uv_loop_init(&loop);
	parse(&settings, argc, argv);
	settings.config.loop = &loop;
	settings.config.core = core_double_new(&loop, settings.late);
	core_double_populate(settings.config.core, settings.populate_lbs,
			     settings.populate_backends);
	uv_signal_init(&loop, &sigterm);
	uv_signal_start(&sigterm, on_signal, SIGTERM);

	rc = api_server_start(&settings.config, &server, &err);
	if (rc == 0) {
		printf("%s\n", api_server_listening(server));
		fflush(stdout);
		uv_run(&loop, UV_RUN_DEFAULT);
		api_server_stop(server);
	} else {
		printf("%d %s\n", rc, err.text);
	}
	core_double_free(settings.config.core);
	uv_close((uv_handle_t *)&sigterm, NULL);
	while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
		; /* a second SIGTERM stops it before all is closed */
	return uv_loop_close(&loop) < 0 ? 3 : rc < 0;
}
