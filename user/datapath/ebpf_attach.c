/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Attaching to devices; see ebpf_attach.h. Called by ebpf_uplinks.c and ebpf.c.
 *
 * An object is opened anew for every attempt through libxdp: it turns the program into an extension
 * of the device's dispatcher while loading, and by itself into a plain program where the kernel
 * refuses extensions (some hosts answer EPERM to BPF_PROG_TYPE_EXT).
 */
#include "datapath/ebpf_attach.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "bpf/tc.skel.h"
#include "bpf/xdp.skel.h"
#include "datapath/bpf_messages.h"

#define XDP_PROGRAM_NAME "slb_xdp"
#define TC_PROGRAM_NAME  "slb_tc"
#define PROGRAM_MAPS_MAX 64

/* ---- loading --------------------------------------------------------------------------------- */

/* 2^32 / HZ, rounded (bpf/clock.h). */
static uint64_t second_multiplier(void)
{
	struct timespec tick = { 0 };
	uint64_t hz;

	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	hz = tick.tv_nsec > 0 ? (1000000000u + (uint64_t)tick.tv_nsec / 2) / (uint64_t)tick.tv_nsec
			      : 0;
	if (!hz)
		hz = 250;
	return ((1ull << 32) + hz / 2) / hz;
}

/* Opened, with maps and constants set, not loaded; without the clock. NULL with err set. */
static struct slb_xdp_bpf *open_xdp(const struct ebpf_programs *programs, struct errbuf *err)
{
	struct slb_xdp_bpf *object = slb_xdp_bpf__open();

	if (!object) {
		errbuf_set(err, -errno, "cannot open the XDP object: %s", bpf_messages_or(-errno));
		return NULL;
	}
	object->rodata->slb_second_multiplier = programs->second_multiplier;
	bpf_program__set_autoload(object->progs.slb_clock, false);
	if (ebpf_maps_lend(programs->maps, object->obj, err) < 0) {
		slb_xdp_bpf__destroy(object);
		return NULL;
	}
	return object;
}

int ebpf_programs_open(struct ebpf_programs *ret, const struct ebpf_maps *maps, struct errbuf *err)
{
	struct ebpf_programs programs = { .maps = maps, .second_multiplier = second_multiplier() };
	int r;

	bpf_messages_clear();
	programs.xdp = open_xdp(&programs, err);
	if (!programs.xdp)
		return -EINVAL;
	bpf_program__set_autoload(programs.xdp->progs.slb_clock, true);
	r = slb_xdp_bpf__load(programs.xdp);
	if (r < 0) {
		errbuf_set(err, r, "the kernel does not load the XDP program: %s",
			   bpf_messages_or(r));
		slb_xdp_bpf__destroy(programs.xdp);
		return r;
	}
	*ret = programs;
	return 0;
}

void ebpf_programs_close(struct ebpf_programs *programs)
{
	slb_xdp_bpf__destroy(programs->xdp);
	slb_tc_bpf__destroy(programs->tc);
	programs->xdp = NULL;
	programs->tc = NULL;
}

int ebpf_programs_now_s(const struct ebpf_programs *programs, uint32_t *ret)
{
	char frame[64] = { 0 }; /* the least a test run takes is an Ethernet header */
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);

	if (bpf_prog_test_run_opts(bpf_program__fd(programs->xdp->progs.slb_clock), &options) < 0)
		return -errno;
	*ret = options.retval;
	return 0;
}

/* ---- whose program is it --------------------------------------------------------------------- */

static bool program_uses_map(int program_fd, uint32_t map_id)
{
	__u32 map_ids[PROGRAM_MAPS_MAX] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = PROGRAM_MAPS_MAX,
				      .map_ids = (__u64)(uintptr_t)map_ids };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0)
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < PROGRAM_MAPS_MAX; i++)
		if (map_ids[i] == map_id)
			return true;
	return false;
}

static bool program_has_name(int program_fd, const char *name)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(program_fd, &info, &size) == 0 &&
	       strcmp(info.name, name) == 0;
}

static bool is_ours(int program_fd, uint32_t config_id, const char *name)
{
	return config_id ? program_uses_map(program_fd, config_id)
			 : program_has_name(program_fd, name);
}

/* ---- XDP ------------------------------------------------------------------------------------- */

static struct xdp_multiprog *multiprog_of(int ifindex)
{
	struct xdp_multiprog *on_device = xdp_multiprog__get_from_ifindex(ifindex);

	return libxdp_get_error(on_device) ? NULL : on_device;
}

/* The mode that our program runs in where there is no dispatcher. */
static __u32 mode_flag(enum xdp_attach_mode mode)
{
	return mode == XDP_MODE_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
}

/* Exchanges our own plain program: atomically in the same mode, else with a gap. */
static int exchange(struct ebpf_programs *programs, int ifindex, enum xdp_attach_mode mode,
		    enum xdp_attach_mode old_mode, int old_fd, struct errbuf *err)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = old_fd);
	int fd = bpf_program__fd(programs->xdp->progs.slb_xdp);
	int r;

	if (mode == old_mode) {
		r = bpf_xdp_attach(ifindex, fd, mode_flag(mode) | XDP_FLAGS_REPLACE, &options);
	} else {
		r = bpf_xdp_detach(ifindex, mode_flag(old_mode), NULL);
		if (r == 0)
			r = bpf_xdp_attach(ifindex, fd,
					   mode_flag(mode) | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
	}
	if (r < 0)
		return errbuf_set(err, r, "cannot replace the former XDP program: %s",
				  bpf_messages_or(r));
	return 0;
}

/* Through libxdp: beside others where a dispatcher can be, alone where not. */
static int attach_by_libxdp(struct ebpf_programs *programs, int ifindex, enum xdp_attach_mode mode,
			    struct errbuf *err)
{
	struct slb_xdp_bpf *object = open_xdp(programs, err);
	DECLARE_LIBXDP_OPTS(xdp_program_opts, options, 0);
	struct xdp_program *program;
	int r;

	if (!object)
		return -EINVAL;
	options.obj = object->obj;
	options.prog_name = XDP_PROGRAM_NAME;
	program = xdp_program__create(&options);
	r = (int)libxdp_get_error(program);
	if (r == 0) {
		r = xdp_program__attach(program, ifindex, mode, 0);
		xdp_program__close(program);
	}
	slb_xdp_bpf__destroy(object);
	if (r < 0)
		return errbuf_set(err, r, "the device does not take the XDP program: %s",
				  bpf_messages_or(r));
	return 0;
}

static int attach_alone(struct ebpf_programs *programs, int ifindex, enum xdp_attach_mode mode,
			struct errbuf *err)
{
	int r;

	bpf_messages_clear();
	r = bpf_xdp_attach(ifindex, bpf_program__fd(programs->xdp->progs.slb_xdp),
			   mode_flag(mode) | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
	if (r < 0)
		return errbuf_set(err, r, "the device does not take the XDP program: %s",
				  bpf_messages_or(r));
	return 0;
}

/*
 * On a device without programs: by libxdp, or else without its dispatcher. Finding out takes a
 * while, so it is done once. As an extension of the dispatcher our program is refused
 * verifier: by 5.10 ("Caller passes invalid args": of an extension's global functions it does not
 * know the context argument), and by new kernels ("Extension program changes packet data, while
 * original does not", with the dispatcher of libxdp 1.3).
 */
static int attach_first(struct ebpf_programs *programs, int ifindex, enum xdp_attach_mode mode,
			struct errbuf *err)
{
	struct errbuf refused = { .text = "" };
	int r;

	if (programs->no_dispatcher[0] == '\0' &&
	    attach_by_libxdp(programs, ifindex, mode, &refused) == 0)
		return 0;
	r = attach_alone(programs, ifindex, mode, err);
	if (r == 0 && refused.text[0] != '\0')
		snprintf(programs->no_dispatcher, sizeof(programs->no_dispatcher), "%s",
			 refused.text);
	return r;
}

/* Removes those of our programs that were behind the dispatcher when it was looked at. */
static void detach_from_dispatcher(struct xdp_multiprog *on_device, int ifindex, uint32_t config_id)
{
	struct xdp_program *program = NULL;

	while ((program = xdp_multiprog__next_prog(program, on_device)))
		if (is_ours(xdp_program__fd(program), config_id, XDP_PROGRAM_NAME))
			xdp_program__detach(program, ifindex, xdp_multiprog__attach_mode(on_device),
					    0);
}

/* With a dispatcher on the device: the new program first, then the old ones go. A dispatcher of
 * another mode must go first; it does when only ours were behind it. */
static int attach_beside(struct ebpf_programs *programs, struct xdp_multiprog *before, int ifindex,
			 enum xdp_attach_mode mode, struct errbuf *err)
{
	bool other_mode = xdp_multiprog__attach_mode(before) != mode;
	int r;

	if (other_mode)
		detach_from_dispatcher(before, ifindex, programs->maps->config_id);
	r = attach_by_libxdp(programs, ifindex, mode, err);
	if (r == 0 && !other_mode)
		detach_from_dispatcher(before, ifindex, programs->maps->config_id);
	return r;
}

int ebpf_xdp_attach(struct ebpf_programs *programs, int ifindex, enum ebpf_xdp_mode wanted,
		    uint32_t *ret_hook_id, struct errbuf *err)
{
	enum xdp_attach_mode mode = wanted == EBPF_XDP_GENERIC ? XDP_MODE_SKB : XDP_MODE_NATIVE;
	struct xdp_multiprog *on_device = multiprog_of(ifindex);
	int r;

	bpf_messages_clear();
	if (!on_device) {
		r = attach_first(programs, ifindex, mode, err);
	} else if (!xdp_multiprog__is_legacy(on_device)) {
		r = attach_beside(programs, on_device, ifindex, mode, err);
	} else {
		struct xdp_program *other = xdp_multiprog__main_prog(on_device);
		int fd = xdp_program__fd(other);

		if (is_ours(fd, programs->maps->config_id, XDP_PROGRAM_NAME))
			r = exchange(programs, ifindex, mode, xdp_multiprog__attach_mode(on_device),
				     fd, err);
		else
			r = errbuf_set(
				err, -EBUSY,
				"another XDP program (%s, id %u) is on the device and shares it "
				"with none; remove it, or attach it by libxdp",
				xdp_program__name(other), xdp_program__id(other));
	}
	xdp_multiprog__close(on_device);
	if (r == 0)
		*ret_hook_id = ebpf_xdp_hook_id(ifindex);
	return r;
}

uint32_t ebpf_xdp_hook_id(int ifindex)
{
	__u32 id = 0;

	return bpf_xdp_query_id(ifindex, 0, &id) < 0 ? 0 : id;
}

void ebpf_xdp_detach(int ifindex, uint32_t config_id)
{
	struct xdp_multiprog *on_device = multiprog_of(ifindex);

	if (!on_device)
		return;
	if (!xdp_multiprog__is_legacy(on_device)) {
		detach_from_dispatcher(on_device, ifindex, config_id);
	} else {
		int fd = xdp_program__fd(xdp_multiprog__main_prog(on_device));
		LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = fd);

		if (is_ours(fd, config_id, XDP_PROGRAM_NAME))
			bpf_xdp_detach(ifindex, mode_flag(xdp_multiprog__attach_mode(on_device)),
				       &options);
	}
	xdp_multiprog__close(on_device);
}

/* ---- tc -------------------------------------------------------------------------------------- */

static int load_tc(struct ebpf_programs *programs, struct errbuf *err)
{
	struct slb_tc_bpf *object;
	int r;

	if (programs->tc)
		return 0;
	bpf_messages_clear();
	object = slb_tc_bpf__open();
	if (!object)
		return errbuf_set(err, -errno, "cannot open the tc object: %s",
				  bpf_messages_or(-errno));
	object->rodata->slb_second_multiplier = programs->second_multiplier;
	r = ebpf_maps_lend(programs->maps, object->obj, err);
	if (r == 0) {
		r = slb_tc_bpf__load(object);
		if (r < 0)
			errbuf_set(err, r, "the kernel does not load the tc program: %s",
				   bpf_messages_or(r));
	}
	if (r < 0) {
		slb_tc_bpf__destroy(object);
		return r;
	}
	programs->tc = object;
	return 0;
}

int ebpf_tc_attach(struct ebpf_programs *programs, int ifindex, struct errbuf *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = EBPF_TC_HANDLE, .priority = EBPF_TC_PRIORITY,
		    .flags = BPF_TC_F_REPLACE);
	int r = load_tc(programs, err);

	if (r < 0)
		return r;
	bpf_messages_clear();
	r = bpf_tc_hook_create(&hook);
	if (r < 0 && r != -EEXIST)
		return errbuf_set(err, r, "cannot create the clsact qdisc: %s", bpf_messages_or(r));
	options.prog_fd = bpf_program__fd(programs->tc->progs.slb_tc);
	r = bpf_tc_attach(&hook, &options);
	if (r < 0)
		return errbuf_set(err, r, "cannot attach the tc program: %s", bpf_messages_or(r));
	return 0;
}

/* The id of the program at our place, or 0. */
static uint32_t tc_program_id(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = EBPF_TC_HANDLE, .priority = EBPF_TC_PRIORITY);

	return bpf_tc_query(&hook, &options) < 0 ? 0 : options.prog_id;
}

bool ebpf_tc_is_attached(const struct ebpf_programs *programs, int ifindex)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	return programs->tc &&
	       bpf_obj_get_info_by_fd(bpf_program__fd(programs->tc->progs.slb_tc), &info, &size) ==
		       0 &&
	       info.id == tc_program_id(ifindex);
}

void ebpf_tc_detach(int ifindex, uint32_t config_id)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = EBPF_TC_HANDLE, .priority = EBPF_TC_PRIORITY);
	uint32_t id = tc_program_id(ifindex);
	int fd = id ? bpf_prog_get_fd_by_id(id) : -1;

	if (fd < 0)
		return;
	if (is_ours(fd, config_id, TC_PROGRAM_NAME))
		bpf_tc_detach(&hook, &options);
	close(fd);
}
