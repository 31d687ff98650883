/* SPDX-License-Identifier: GPL-2.0-only */
/* The ladder; see ladder.h. */
#include "datapath/ladder.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath/ipvs.h"
#include "datapath/probe.h"

#define DEVICES_MAX 32
#define REASONS_MAX 2
#define REASON_SIZE (ERRBUF_SIZE + 32)

struct device {
	char name[IF_NAMESIZE];
	char texts[REASONS_MAX][REASON_SIZE];
	const char *reasons[REASONS_MAX];
};

struct ladder {
	enum datapath_choice choice;
	struct datapath *datapath;
	bool is_ipvs;
	char adapter[IF_NAMESIZE];
	char refused[REASON_SIZE]; /* why there is no eBPF, when there is none */
	ebpf_report_cb *report;
	void *report_arg;

	struct probe *probe; /* made when first asked for */
	struct device devices[DEVICES_MAX];
	struct device_capability device_capabilities[DEVICES_MAX];
	struct capabilities capabilities;
};

__attribute__((format(printf, 3, 4))) static void report(const struct ladder *ladder, bool trouble,
							 const char *format, ...)
{
	char sentence[REASON_SIZE + 64];
	va_list args;

	if (ladder->report == NULL)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	ladder->report(ladder->report_arg, trouble, sentence);
}

/* ---- what a former run left */

static bool is_left_by_ebpf(const char *pin_path)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/config",
		 pin_path != NULL ? pin_path : EBPF_PIN_PATH_DEFAULT);
	return access(path, F_OK) == 0;
}

bool ladder_is_left(const char *pin_path, const char *state_dir)
{
	return is_left_by_ebpf(pin_path) || ipvs_is_left(state_dir);
}

/* The other datapath works by now, so this one has nothing to forward any more. */
static void purge_other(const struct ladder *ladder, const struct ladder_config *config)
{
	struct errbuf err;

	if (ladder->is_ipvs && is_left_by_ebpf(config->ebpf.pin_path)) {
		if (ebpf_purge(config->ebpf.pin_path, &err) == 0)
			report(ladder, false, "Removed the eBPF programs and maps of a former run");
		else
			report(ladder, true,
			       "Cannot remove the eBPF programs and maps of a former run: %s",
			       err.text);
	}
	if (!ladder->is_ipvs && ipvs_is_left(config->state_dir)) {
		if (ipvs_purge(config->state_dir, &err) == 0)
			report(ladder, false, "Removed the IPVS services of a former run");
		else
			report(ladder, true, "Cannot remove the IPVS services of a former run: %s",
			       err.text);
	}
}

/* ---- steps */

static int open_ebpf(struct ladder *ladder, const struct ladder_config *config, struct errbuf *err)
{
	static const enum ebpf_hook hooks[] = {
		[DATAPATH_AUTO] = EBPF_HOOK_AUTO,
		[DATAPATH_XDP] = EBPF_HOOK_XDP,
		[DATAPATH_XDP_GENERIC] = EBPF_HOOK_XDP_GENERIC,
		[DATAPATH_TC] = EBPF_HOOK_TC,
	};
	struct ebpf_config ebpf = config->ebpf;
	int r = probe_bpf(err);

	if (r < 0)
		return r;
	ebpf.hook = hooks[config->choice];
	r = ebpf_open(&ebpf, &ladder->datapath, err);
	if (r == 0 && ebpf_note(ladder->datapath)[0] != '\0')
		report(ladder, false, "%s", ebpf_note(ladder->datapath));
	return r;
}

static int open_ipvs(struct ladder *ladder, const struct ladder_config *config, struct errbuf *err)
{
	const struct ipvs_config ipvs = {
		.net = config->ebpf.net,
		.sysctl = config->sysctl,
		.state_dir = config->state_dir,
		.report = config->ebpf.report,
		.report_arg = config->ebpf.report_arg,
	};
	int r = ipvs_open(&ipvs, &ladder->datapath, err);

	if (r < 0)
		return r;
	ladder->is_ipvs = true;
	return 0;
}

/* Is this a reason to try the next step, or one to end with? */
static bool may_step_down(int error)
{
	return error != -EBUSY && error != -EPROTO && error != -ENOMEM && error != -ENODEV;
}

static int climb(struct ladder *ladder, const struct ladder_config *config, struct errbuf *err)
{
	struct errbuf ebpf_err;
	int r;

	if (config->choice == DATAPATH_IPVS) {
		snprintf(ladder->refused, sizeof(ladder->refused), "not asked for");
		return open_ipvs(ladder, config, err);
	}
	r = open_ebpf(ladder, config, err);
	if (r == 0 || config->choice != DATAPATH_AUTO || !may_step_down(r))
		return r;
	ebpf_err = *err;
	snprintf(ladder->refused, sizeof(ladder->refused), "%s", ebpf_err.text);
	r = open_ipvs(ladder, config, err);
	if (r < 0) {
		char ipvs_text[ERRBUF_SIZE];

		snprintf(ipvs_text, sizeof(ipvs_text), "%s", err->text);
		return errbuf_set(err, -ENOTSUP,
				  "no datapath works here; eBPF: %.200s; IPVS: %.200s; see `slb "
				  "doctor`",
				  ebpf_err.text, ipvs_text);
	}
	report(ladder, true, "Stepping down to IPVS: %s", ladder->refused);
	return 0;
}

/* ---- what was taken, and why */

__attribute__((format(printf, 3, 4))) static void
add_reason(struct device *device, struct device_capability *capability, const char *format, ...)
{
	char *text = device->texts[capability->reason_count];
	va_list args;

	va_start(args, format);
	vsnprintf(text, REASON_SIZE, format, args);
	va_end(args);
	device->reasons[capability->reason_count++] = text;
}

static void describe_uplink(const struct ladder *ladder, const struct ebpf_uplink_info *uplink,
			    struct device *device, struct device_capability *capability)
{
	snprintf(device->name, sizeof(device->name), "%s", uplink->name);
	capability->datapath = uplink->is_loopback   ? "none"
			       : uplink->xdp_generic ? "xdp-generic"
			       : uplink->xdp         ? "xdp"
			       : uplink->tc          ? "tc"
						     : "none";
	if (!uplink->present) {
		add_reason(device, capability, "the device is not there now");
		return;
	}
	if (uplink->is_loopback) {
		add_reason(device, capability, "%s", uplink->xdp_refused);
		return;
	}
	if (!uplink->xdp)
		add_reason(device, capability, "xdp: %s",
			   ladder->choice == DATAPATH_TC    ? "not asked for"
			   : uplink->xdp_refused[0] != '\0' ? uplink->xdp_refused
							    : "not attached");
	if (!uplink->xdp && !uplink->tc)
		add_reason(device, capability, "tc: %s",
			   uplink->tc_refused[0] != '\0' ? uplink->tc_refused : "not attached");
}

static size_t describe_uplinks(struct ladder *ladder)
{
	struct ebpf_uplink_info uplinks[DEVICES_MAX];
	size_t count = ebpf_uplinks_info(ladder->datapath, uplinks, DEVICES_MAX);

	if (count > DEVICES_MAX)
		count = DEVICES_MAX;
	for (size_t i = 0; i < count; i++)
		describe_uplink(ladder, &uplinks[i], &ladder->devices[i],
				&ladder->device_capabilities[i]);
	return count;
}

static void describe_devices(struct ladder *ladder)
{
	size_t count;

	for (size_t i = 0; i < DEVICES_MAX; i++)
		ladder->device_capabilities[i] =
			(struct device_capability){ .name = ladder->devices[i].name,
						    .reasons = ladder->devices[i].reasons };
	if (ladder->is_ipvs) {
		struct device_capability *capability = &ladder->device_capabilities[0];

		snprintf(ladder->devices[0].name, IF_NAMESIZE, "%s", ladder->adapter);
		capability->datapath = "ipvs";
		add_reason(&ladder->devices[0], capability, "xdp, tc: %s", ladder->refused);
		count = 1;
	} else {
		count = describe_uplinks(ladder);
	}
	ladder->capabilities.devices = ladder->device_capabilities;
	ladder->capabilities.device_count = count;
}

/* What the kernel can do does not change while it runs, so it is asked once, when somebody wants to
 * know. */
static void describe_kernel(struct ladder *ladder)
{
	const struct capabilities *found;
	struct errbuf ignored;

	if (ladder->probe == NULL && probe_open(&ladder->probe, &ignored) < 0)
		return;
	found = probe_capabilities(ladder->probe);
	ladder->capabilities.capabilities = found->capabilities;
	ladder->capabilities.capability_count = found->capability_count;
}

const struct capabilities *ladder_capabilities(struct ladder *ladder)
{
	describe_kernel(ladder);
	describe_devices(ladder);
	return &ladder->capabilities;
}

/* ---- the whole */

static void report_devices(struct ladder *ladder)
{
	const struct capabilities *now = &ladder->capabilities;

	describe_devices(ladder);
	for (size_t i = 0; i < now->device_count; i++) {
		const struct device_capability *device = &now->devices[i];

		report(ladder, false, "Datapath of %s: %s%s%s%s", device->name, device->datapath,
		       device->reason_count > 0 ? " (" : "",
		       device->reason_count > 0 ? device->reasons[0] : "",
		       device->reason_count > 0 ? ")" : "");
	}
}

int ladder_open(const struct ladder_config *config, struct ladder **ret, struct errbuf *err)
{
	struct ladder *ladder = calloc(1, sizeof(*ladder));
	int r;

	if (ladder == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open a datapath: out of memory");
	ladder->choice = config->choice;
	ladder->report = config->ebpf.report;
	ladder->report_arg = config->ebpf.report_arg;
	snprintf(ladder->adapter, sizeof(ladder->adapter), "%s", config->ebpf.adapter);
	r = climb(ladder, config, err);
	if (r < 0) {
		free(ladder);
		return r;
	}
	purge_other(ladder, config);
	report_devices(ladder);
	*ret = ladder;
	return 0;
}

void ladder_close(struct ladder *ladder, bool keep)
{
	if (ladder == NULL)
		return;
	if (ladder->is_ipvs)
		ipvs_close(ladder->datapath, keep);
	else
		ebpf_close(ladder->datapath, keep);
	probe_free(ladder->probe);
	free(ladder);
}

struct datapath *ladder_datapath(const struct ladder *ladder)
{
	return ladder->datapath;
}

uint64_t ladder_open_connections(const struct ladder *ladder)
{
	return ladder->is_ipvs ? UINT64_MAX : ebpf_open_connections(ladder->datapath);
}
