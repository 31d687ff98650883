/* SPDX-License-Identifier: GPL-2.0-only */
/* net/sysctl: former values are kept, restored, and never guessed. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/sysctl.h"
#include "net_lab.h"

struct fixture {
	char directory[32];
	struct sysctl *sysctl;
	struct errbuf err;
	char notes[2][ERRBUF_SIZE];
	int note_count;
};

static int open_sysctl(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->directory, sizeof(f->directory), "/tmp/sysctl_test.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	assert_int_equal(sysctl_open(f->directory, &f->sysctl, &f->err), 0);
	lab_run("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
	*state = f;
	return 0;
}

static int close_sysctl(void **state)
{
	struct fixture *f = *state;

	sysctl_close(f->sysctl);
	lab_run("rm -r %s", f->directory);
	free(f);
	return 0;
}

static void on_note(void *arg, const char *reason)
{
	struct fixture *f = arg;

	if (f->note_count < 2)
		snprintf(f->notes[f->note_count], ERRBUF_SIZE, "%s", reason);
	f->note_count++;
}

static void check_value(const char *name, const char *value)
{
	char text[64];
	struct errbuf err;

	assert_int_equal(sysctl_get(name, text, sizeof(text), &err), 0);
	assert_string_equal(text, value);
}

static void test_set_and_restore(void **state)
{
	struct fixture *f = *state;
	bool changed = false;

	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_forward", "1", &changed, &f->err), 0);
	assert_true(changed);
	check_value("net.ipv4.ip_forward", "1");
	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_forward", "1", &changed, &f->err), 0);
	assert_false(changed);
	assert_int_equal(
		sysctl_set(f->sysctl, "net/ipv4/conf/eth0/rp_filter", "2", &changed, &f->err), 0);
	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_local_port_range", "20000 30000", NULL,
				    &f->err),
			 0);
	check_value("net.ipv4.ip_local_port_range", "20000 30000");

	assert_int_equal(sysctl_restore_all(f->sysctl, on_note, f, &f->err), 0);
	assert_int_equal(f->note_count, 0);
	check_value("net.ipv4.ip_forward", "0");
	check_value("net.ipv4.ip_local_port_range", "32768 60999");
	assert_int_not_equal(lab_try("test -e %s/sysctl", f->directory), 0);
}

/* Killed, started, stopped: what was there before the first start is back. */
static void test_survives_a_crash(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_forward", "1", NULL, &f->err), 0);
	sysctl_close(f->sysctl);
	f->sysctl = NULL;
	assert_int_equal(sysctl_open(f->directory, &f->sysctl, &f->err), 0);
	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_forward", "1", NULL, &f->err), 0);
	assert_int_equal(sysctl_restore_all(f->sysctl, on_note, f, &f->err), 0);
	check_value("net.ipv4.ip_forward", "0");
}

static void test_leaves_what_others_changed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sysctl_set(f->sysctl, "net/ipv4/conf/eth0/rp_filter", "1", NULL, &f->err),
			 0);
	lab_run("sysctl -qw net.ipv4.conf.eth0.rp_filter=2");
	assert_int_equal(sysctl_restore_all(f->sysctl, on_note, f, &f->err), 0);
	check_value("net/ipv4/conf/eth0/rp_filter", "2");
	assert_int_equal(f->note_count, 1);
	assert_non_null(strstr(f->notes[0], "changed by somebody else"));
	lab_run("sysctl -qw net.ipv4.conf.eth0.rp_filter=0");
}

static void test_device_gone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sysctl_set(f->sysctl, "net/ipv4/conf/eth0/rp_filter", "1", NULL, &f->err),
			 0);
	lab_run("ip link del eth0");
	assert_int_equal(sysctl_restore_all(f->sysctl, on_note, f, &f->err), 0);
	assert_int_equal(f->note_count, 0);
	lab_wire();
}

static void test_router_advertisements(void **state)
{
	struct fixture *f = *state;
	bool changed = false;

	check_value("net/ipv6/conf/eth0/accept_ra", "1");
	assert_int_equal(sysctl_enable_forwarding(f->sysctl, AF_INET6, &changed, &f->err), 0);
	assert_true(changed);
	check_value("net/ipv6/conf/eth0/accept_ra", "2");
	check_value("net.ipv6.conf.all.forwarding", "1");
	assert_int_equal(sysctl_restore_all(f->sysctl, on_note, f, &f->err), 0);
	check_value("net/ipv6/conf/eth0/accept_ra", "1");
	check_value("net.ipv6.conf.all.forwarding", "0");

	assert_int_equal(sysctl_enable_forwarding(f->sysctl, AF_INET, &changed, &f->err), 0);
	check_value("net.ipv4.ip_forward", "1");
	assert_int_equal(sysctl_restore_all(f->sysctl, on_note, f, &f->err), 0);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	char text[2];

	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.nope", "1", NULL, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "net.ipv4.nope"));
	assert_int_equal(sysctl_set(f->sysctl, "../../etc/passwd", "1", NULL, &f->err), -EINVAL);
	assert_int_equal(sysctl_set(f->sysctl, "", "1", NULL, &f->err), -EINVAL);
	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_local_port_range", "x", NULL, &f->err),
			 -EINVAL);
	/* The refused value is not remembered as a change. */
	assert_int_not_equal(lab_try("test -e %s/sysctl", f->directory), 0);
	assert_int_equal(sysctl_get("net.ipv4.ip_local_port_range", text, sizeof(text), &f->err),
			 -ENOSPC);
	lab_run("echo nonsense >%s/sysctl", f->directory);
	sysctl_close(f->sysctl);
	f->sysctl = NULL;
	assert_int_equal(sysctl_open(f->directory, &f->sysctl, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "/sysctl"));
}

/* The last test: it takes /proc/sys away from this process. */
static void test_read_only(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, "/proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_forward", "0", NULL, &f->err), 0);
	assert_int_equal(sysctl_set(f->sysctl, "net.ipv4.ip_forward", "1", NULL, &f->err), -EROFS);
	assert_non_null(strstr(f->err.text, "read-only"));
	assert_int_equal(umount("/proc/sys"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_set_and_restore, open_sysctl, close_sysctl),
		cmocka_unit_test_setup_teardown(test_survives_a_crash, open_sysctl, close_sysctl),
		cmocka_unit_test_setup_teardown(test_leaves_what_others_changed, open_sysctl,
						close_sysctl),
		cmocka_unit_test_setup_teardown(test_device_gone, open_sysctl, close_sysctl),
		cmocka_unit_test_setup_teardown(test_router_advertisements, open_sysctl,
						close_sysctl),
		cmocka_unit_test_setup_teardown(test_refusals, open_sysctl, close_sysctl),
		cmocka_unit_test_setup_teardown(test_read_only, open_sysctl, close_sysctl),
	};

	return cmocka_run_group_tests(tests, net_lab_open, net_lab_close);
}
