/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool has(const struct __user_cap_data_struct data[2], unsigned int capability)
{
	return (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

int privilege_check(struct errbuf *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	/* CAP_BPF is a part of CAP_SYS_ADMIN since 5.8; mounting and map ids need the whole. */
	static const struct {
		unsigned int capability;
		const char *name;
	} needed[] = {
		{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
		{ CAP_NET_RAW, "CAP_NET_RAW" },
		{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
	};
	char missing[128] = "";
	size_t length = 0;

	if (syscall(SYS_capget, &header, data) != 0)
		return errbuf_set(err, -errno, "cannot read this process's capabilities: %s",
				  strerror(errno));
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
		if (!has(data, needed[i].capability))
			length += (size_t)snprintf(missing + length, sizeof(missing) - length,
						   " %s", needed[i].name);
	}
	if (missing[0] != '\0')
		return errbuf_set(err, -EPERM,
				  "slb may not change the network: it lacks%s; start it as root",
				  missing);
	return 0;
}
