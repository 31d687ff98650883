/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

int probe_bpf(struct errbuf *err)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, sizeof(int), sizeof(int), 1, NULL);
	int error = errno;

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (error == ENOSYS)
		return errbuf_set(err, -ENOSYS, "this kernel has no eBPF (bpf(2): %s)",
				  strerror(error));
	return errbuf_set(err, -error, "this kernel allows no eBPF (bpf(2): %s)", strerror(error));
}

void probe_free(struct probe *probe)
{
	free(probe);
}
