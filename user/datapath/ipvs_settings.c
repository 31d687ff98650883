/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/ipvs_settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/* Without it what IPVS rewrites passes masquerading by. */
#define CONNTRACK "net.ipv4.vs.conntrack"

/* 1: a new connection from a port that an old one used has its backend chosen anew. Up to 5.8 that
 * delayed it by a second where connections are tracked (Linux f0a5e4d7a594), so it is 0 there. */
static const char *conn_reuse_mode(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	if (uname(&name) != 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2)
		return "0";
	return major > 5 || (major == 5 && minor >= 9) ? "1" : "0";
}

int ipvs_settings_make(struct sysctl *sysctl, ipvs_settings_cb *told, void *arg, struct errbuf *err)
{
	const struct {
		const char *name, *value;
	} others[] = {
		/* A connection whose backend went ends at once instead of hanging. */
		{ "net.ipv4.vs.expire_nodest_conn", "1" },
		{ "net.ipv4.vs.conn_reuse_mode", conn_reuse_mode() }, /* since 4.1 */
	};
	struct errbuf text;
	int r = sysctl_set(sysctl, CONNTRACK, "1", NULL, err);

	if (r == -ENOENT)
		return errbuf_set(
			err, -ENOTSUP,
			"this kernel's IPVS tracks no connections (CONFIG_IP_VS_NFCT), and "
			"masquerading needs that");
	if (r < 0)
		return r;
	told(arg, false, "Enabled Connection tracking in the kernel (" CONNTRACK " = 1)");
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		bool changed = false;

		r = sysctl_set(sysctl, others[i].name, others[i].value, &changed, &text);
		if (r == 0 && changed)
			errbuf_set(&text, 0, "Set %s = %s", others[i].name, others[i].value);
		if (changed || (r < 0 && r != -ENOENT))
			told(arg, r < 0, text.text);
	}
	return 0;
}

bool ipvs_settings_are_made(void)
{
	struct errbuf ignored;
	char value[8];

	return sysctl_get(CONNTRACK, value, sizeof(value), &ignored) == 0 &&
	       strcmp(value, "1") == 0;
}
