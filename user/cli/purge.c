/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `slb purge`: takes everything off the node that slb ever put there: programs and maps, IPVS
 * services and masquerading, VIPs, kernel settings. For what a crash or `--on-exit keep` left, and
 * before slb is uninstalled. The desired state is kept: the next `slb server` makes it true again.
 *
 * A daemon that runs holds the locks of its state directory and pin path, and keeps purge out
 * before anything is changed. What is not there is no error; one step that fails does not keep the
 * others from being tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <uv.h>

#include "advertise/journal.h"
#include "cli/command.h"
#include "cli/privilege.h"
#include "cli/server_options.h"
#include "datapath/ebpf.h"
#include "datapath/ipvs.h"
#include "net/net.h"
#include "net/sysctl.h"

struct purge {
	const char *state_dir, *pin_path;
	bool has_state; /* the directory exists */
	int lock_fd;    /* of the state directory; -1: none */
};

static bool exists(const char *directory, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return access(path, F_OK) == 0;
}

/* The lock that store_open() takes (store.c). */
static int lock_state(struct purge *purge, struct errbuf *err)
{
	char path[PATH_MAX];

	if (!purge->has_state)
		return 0;
	snprintf(path, sizeof(path), "%s/slb.lock", purge->state_dir);
	purge->lock_fd = open(path, O_RDWR | O_CLOEXEC);
	if (purge->lock_fd < 0)
		return errno == ENOENT ? 0
				       : errbuf_set(err, -errno, "cannot open %s: %s", path,
						    strerror(errno));
	if (flock(purge->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errbuf_set(err, -EBUSY,
				  "a running slb has %s; stop it first (SIGTERM), which takes "
				  "everything off the node by itself",
				  purge->state_dir);
	return 0;
}

/* ---- the steps: 0 or negative errno; each says what it removed ------------------------------- */

static int purge_ebpf(const struct purge *purge, struct errbuf *err)
{
	bool were_there = exists(purge->pin_path, "config");
	int r = ebpf_purge(purge->pin_path, err);

	if (r == 0 && were_there)
		printf("Removed the eBPF programs and the maps in %s\n", purge->pin_path);
	return r;
}

static int purge_ipvs(const struct purge *purge, struct errbuf *err)
{
	int r;

	if (!purge->has_state || !ipvs_is_left(purge->state_dir))
		return 0;
	r = ipvs_purge(purge->state_dir, err);
	if (r == 0)
		printf("Removed the IPVS services and the masquerading\n");
	return r;
}

static int remove_addresses(struct net *net, const struct journal *journal, struct errbuf *err)
{
	struct net_addr *addresses;
	size_t count;
	int r = net_addr_list(net, 0, &addresses, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		const struct net_addr *one = &addresses[i];
		char text[ADDR_TEXT_SIZE];
		bool ours = one->protocol == NET_PROTOCOL_SLB ||
			    (one->protocol == 0 && journal && journal_has(journal, &one->address));
		int failed;

		if (!ours)
			continue;
		failed = net_addr_del(net, one->ifindex, &one->address, one->prefix_length, err);
		if (failed == 0)
			printf("Removed the VIP %s\n", addr_format(&one->address, text));
		else if (r == 0)
			r = failed;
	}
	free(addresses);
	return r;
}

static int purge_addresses(const struct purge *purge, struct errbuf *err)
{
	struct journal *journal = NULL;
	struct net *net = NULL;
	uv_loop_t loop;
	int r;

	if (uv_loop_init(&loop) < 0)
		return errbuf_set(err, -ENOMEM, "cannot make an event loop: out of memory");
	r = net_open(&loop, &net, err);
	if (r == 0 && purge->has_state)
		r = journal_open(purge->state_dir, &journal, err);
	if (r == 0)
		r = remove_addresses(net, journal, err);
	journal_close(journal);
	net_close(net);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	return r;
}

static void say_restored(void *arg, const char *name, const char *former, const char *given)
{
	(void)arg;
	(void)given;
	printf("Kernel setting %s goes back to %s\n", name, former);
}

static void say_note(void *arg, const char *reason)
{
	(void)arg;
	printf("%s\n", reason);
}

static int purge_sysctls(const struct purge *purge, struct errbuf *err)
{
	struct sysctl *sysctl;
	int r;

	if (!purge->has_state)
		return 0;
	r = sysctl_open(purge->state_dir, &sysctl, err);
	if (r < 0)
		return r;
	sysctl_each(sysctl, say_restored, NULL);
	r = sysctl_restore_all(sysctl, say_note, NULL, err);
	sysctl_close(sysctl);
	return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int purge_all(struct purge *purge)
{
	/* eBPF first: it meets the lock of the pin path, which a daemon with another state
	 * directory may hold. */
	static int (*const steps[])(const struct purge *purge,
				    struct errbuf *err) = { purge_ebpf, purge_addresses, purge_ipvs,
							    purge_sysctls };
	struct errbuf err = { 0 };
	int status = EXIT_SUCCESS;
	int r = privilege_check(&err);

	purge->has_state = access(purge->state_dir, F_OK) == 0;
	if (r == 0)
		r = lock_state(purge, &err);
	if (r < 0) {
		fprintf(stderr, "slb: %s\n", err.text);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		r = steps[i](purge, &err);
		if (r == 0)
			continue;
		fprintf(stderr, "slb: %s\n", err.text);
		status = EXIT_FAILURE;
		if (r == -EBUSY)
			break;
	}
	if (status == EXIT_SUCCESS)
		printf("Nothing of slb is left on this node%s\n",
		       purge->has_state ? " but its desired state" : "");
	return status;
}

static void print_help(void)
{
	printf("Usage: slb purge [--state-dir DIR] [--pin-path DIR]\n\nTakes everything off the "
	       "node "
	       "that slb put there; no server may be running. The desired\nstate in the state "
	       "directory is kept.\n\nFlags:\n"
	       "  --state-dir DIR   as the server had it (" STATE_DIR_DEFAULT ")\n"
	       "  --pin-path DIR    as the server had it (" PIN_PATH_DEFAULT ")\n"
	       "  --help            print this\n");
}

int command_purge(int argc, char **argv)
{
	static const struct option options[] = {
		{ "state-dir", required_argument, NULL, 's' },
		{ "pin-path", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct purge purge = { .state_dir = STATE_DIR_DEFAULT,
			       .pin_path = PIN_PATH_DEFAULT,
			       .lock_fd = -1 };
	int option, status;

	opterr = 0;
	optind = 0; /* glibc: forget what an earlier call left */
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			print_help();
			return EXIT_SUCCESS;
		}
		if (option == '?' || optarg[0] != '/')
			return command_usage_error(
				"purge takes --state-dir DIR and --pin-path DIR, absolute paths",
				"slb purge --help");
		*(option == 's' ? &purge.state_dir : &purge.pin_path) = optarg;
	}
	if (optind < argc)
		return command_usage_error("purge takes flags only", "slb purge --help");
	status = purge_all(&purge);
	if (purge.lock_fd >= 0)
		close(purge.lock_fd);
	return status;
}
