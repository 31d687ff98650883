/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath/bpf_messages.h"
#include "datapath/probe_internal.h"

enum capability_status probe_status(int error)
{
	if (error == 0)
		return CAPABILITY_OK;
	return error == -EPERM || error == -EACCES || error == -EROFS || error == -EBUSY
		       ? CAPABILITY_REFUSED
		       : CAPABILITY_MISSING;
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%.*s", (int)size - 1, from != NULL ? from : "");
}

void probe_add(struct probe *probe, const char *name, enum capability_status status,
	       const char *reason, const char *consequence, const char *advice)
{
	struct finding *finding;

	if (probe->finding_count == PROBE_FINDINGS_MAX)
		return;
	finding = &probe->findings[probe->finding_count++];
	finding->status = status;
	copy(finding->name, sizeof(finding->name), name);
	copy(finding->reason, sizeof(finding->reason), reason);
	copy(finding->consequence, sizeof(finding->consequence), consequence);
	copy(finding->advice, sizeof(finding->advice), advice);
}

void probe_add_result(struct probe *probe, const char *name, int error, const char *reason,
		      const char *consequence, const char *advice)
{
	bool ok = error == 0;

	probe_add(probe, name, probe_status(error), reason, ok ? "" : consequence,
		  ok ? "" : advice);
}

void probe_in_new_namespace(void (*ask)(struct probe *probe), struct probe *probe)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (own < 0 || unshare(CLONE_NEWNET) < 0) {
		probe_add_result(probe, "network namespace", -errno, strerror(errno),
				 "what needs one could not be tried", "start slb as root");
	} else {
		ask(probe);
		/* Only a namespace that is gone could refuse, and this descriptor holds it. */
		if (setns(own, CLONE_NEWNET) < 0)
			abort();
	}
	if (own >= 0)
		close(own);
}

int probe_open(struct probe **ret, struct errbuf *err)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	if (probe == NULL)
		return errbuf_set(err, -ENOMEM, "cannot probe: out of memory");
	bpf_messages_setup();
	probe_ask_bpf(probe);
	probe_ask_system(probe);
	*ret = probe;
	return 0;
}

void probe_free(struct probe *probe)
{
	free(probe);
}

const struct capabilities *probe_capabilities(struct probe *probe)
{
	for (size_t i = 0; i < probe->finding_count; i++) {
		const struct finding *finding = &probe->findings[i];

		probe->capabilities[i] = (struct capability){
			.name = finding->name,
			.status = finding->status,
			.reason = finding->reason,
			.consequence = finding->consequence,
			.advice = finding->advice,
		};
	}
	for (size_t i = 0; i < probe->device_count; i++) {
		struct probed_device *device = &probe->devices[i];

		for (size_t j = 0; j < device->reason_count; j++)
			probe->device_reasons[i][j] = device->reasons[j];
		probe->device_capabilities[i] = (struct device_capability){
			.name = device->name,
			.datapath = device->datapath,
			.reasons = probe->device_reasons[i],
			.reason_count = device->reason_count,
		};
	}
	probe->all = (struct capabilities){
		.capabilities = probe->capabilities,
		.capability_count = probe->finding_count,
		.devices = probe->device_capabilities,
		.device_count = probe->device_count,
	};
	return &probe->all;
}
