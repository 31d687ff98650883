/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/masquerade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/netfilter_mark.h"
#include "datapath/spawn.h"

struct masquerade {
	bool is_nftables;
	bool has_ip6;
	char nft_refused[SPAWN_WORDS_SIZE]; /* why not nftables; "" when it is nftables */

	/* As slb left it: what is listed, and the mark of all rules at that time. */
	char *listing; /* owned; NULL: not known */
	struct netfilter_mark mark;
};

static int run_nft(const char *script, char words[SPAWN_WORDS_SIZE])
{
	char *argv[] = { (char *)"nft", (char *)"-f", (char *)"-", NULL };

	return spawn_run(argv, script, words, NULL);
}

/* ---- nftables */

/* `ct original` is what the client sent, before IPVS chose a backend. Priority 100 is srcnat. nft
 * wants to know the protocol before it takes a port. */
static const char nft_table[] =
	"add table %1$s slb\n"
	"add set %1$s slb services { type ipv%2$c_addr . inet_proto . inet_service ; }\n"
	"add chain %1$s slb postrouting { type nat hook postrouting priority 100 ; }\n"
	"flush chain %1$s slb postrouting\n"
	"add rule %1$s slb postrouting meta l4proto tcp ct original %1$s daddr . meta l4proto . "
	"ct original proto-dst @services masquerade\n"
	"add rule %1$s slb postrouting meta l4proto udp ct original %1$s daddr . meta l4proto . "
	"ct original proto-dst @services masquerade\n";

static const char *nft_family(const struct masqueraded *service)
{
	return service->vip.family == AF_INET ? "ip" : "ip6";
}

static void nft_print(FILE *script, const char *verb, const struct masqueraded *service)
{
	char vip[ADDR_TEXT_SIZE];

	fprintf(script, "%s element %s slb services { %s . %s . %u }\n", verb, nft_family(service),
		addr_format(&service->vip, vip), protocol_name(service->protocol), service->port);
}

static int nft_open(struct masquerade *masquerade, char words[SPAWN_WORDS_SIZE])
{
	char script[1024];
	int r;

	snprintf(script, sizeof(script), nft_table, "ip", '4');
	r = run_nft(script, words);
	if (r < 0)
		return r;
	snprintf(script, sizeof(script), nft_table, "ip6", '6');
	masquerade->has_ip6 = run_nft(script, words) == 0;
	masquerade->is_nftables = true;
	return 0;
}

static int nft_change(const struct masquerade *masquerade, const struct masqueraded *services,
		      size_t count, bool replace, bool remove, char words[SPAWN_WORDS_SIZE])
{
	char *script = NULL;
	size_t size;
	FILE *out = open_memstream(&script, &size);
	int r;

	if (out == NULL)
		return -ENOMEM;
	if (replace)
		fprintf(out, "flush set ip slb services\n%s",
			masquerade->has_ip6 ? "flush set ip6 slb services\n" : "");
	for (size_t i = 0; i < count; i++) {
		/* `delete` fails on what is missing, so it is added first: one transaction. */
		nft_print(out, "add", &services[i]);
		if (remove)
			nft_print(out, "delete", &services[i]);
	}
	if (fclose(out) != 0) {
		free(script);
		return -ENOMEM;
	}
	r = run_nft(script, words);
	free(script);
	return r;
}

/* ---- iptables */

/* One call of iptables or ip6tables: -w -t nat ACTION SLB [the rule of a service]. */
static int iptables_rule(const char *program, const char *action, const struct masqueraded *service,
			 char words[SPAWN_WORDS_SIZE])
{
	char vip[ADDR_TEXT_SIZE], port[8];
	const char *argv[] = { program,
			       "-w",
			       "-t",
			       "nat",
			       action,
			       "SLB",
			       "-p",
			       protocol_name(service->protocol),
			       "-m",
			       "conntrack",
			       "--ctorigdst",
			       addr_format(&service->vip, vip),
			       "--ctorigdstport",
			       port,
			       "-j",
			       "MASQUERADE",
			       NULL };

	snprintf(port, sizeof(port), "%u", service->port);
	return spawn_run((char *const *)argv, "", words, NULL);
}

static int iptables_chain(const char *program, const char *action, const char *chain,
			  const char *jump, char words[SPAWN_WORDS_SIZE])
{
	const char *argv[] = {
		program, "-w", "-t", "nat", action, chain, jump != NULL ? "-j" : NULL, jump, NULL
	};

	return spawn_run((char *const *)argv, "", words, NULL);
}

static int iptables_open_family(const char *program, char words[SPAWN_WORDS_SIZE])
{
	char ignored[SPAWN_WORDS_SIZE];
	int r = 0;

	if (iptables_chain(program, "-L", "SLB", NULL, ignored) < 0)
		r = iptables_chain(program, "-N", "SLB", NULL, words);
	if (r == 0 && iptables_chain(program, "-C", "POSTROUTING", "SLB", ignored) < 0)
		r = iptables_chain(program, "-A", "POSTROUTING", "SLB", words);
	return r;
}

static const char *iptables_program(const struct masqueraded *service)
{
	return service->vip.family == AF_INET ? "iptables" : "ip6tables";
}

static int iptables_change(const struct masqueraded *service, bool remove,
			   char words[SPAWN_WORDS_SIZE])
{
	const char *program = iptables_program(service);
	bool is_there = iptables_rule(program, "-C", service, words) == 0;

	if (is_there != remove)
		return 0;
	return iptables_rule(program, remove ? "-D" : "-A", service, words);
}

/* One family's chain, anew, in one transaction: naming a chain empties it even with --noflush. */
static int iptables_restore(const char *program, int family, const struct masqueraded *services,
			    size_t count, char words[SPAWN_WORDS_SIZE])
{
	const char *argv[] = { program, "--noflush", NULL };
	char *script = NULL, vip[ADDR_TEXT_SIZE];
	size_t size;
	FILE *out = open_memstream(&script, &size);
	int r;

	if (out == NULL)
		return -ENOMEM;
	fprintf(out, "*nat\n:SLB - [0:0]\n");
	for (size_t i = 0; i < count; i++) {
		if (services[i].vip.family == family)
			fprintf(out,
				"-A SLB -p %s -m conntrack --ctorigdst %s --ctorigdstport %u "
				"-j MASQUERADE\n",
				protocol_name(services[i].protocol),
				addr_format(&services[i].vip, vip), services[i].port);
	}
	fprintf(out, "COMMIT\n");
	if (fclose(out) != 0) {
		free(script);
		return -ENOMEM;
	}
	r = spawn_run((char *const *)argv, script, words, NULL);
	free(script);
	return r;
}

static int iptables_replace(const struct masquerade *masquerade, const struct masqueraded *services,
			    size_t count, char words[SPAWN_WORDS_SIZE])
{
	int r = iptables_restore("iptables-restore", AF_INET, services, count, words);

	if (r == 0 && masquerade->has_ip6)
		r = iptables_restore("ip6tables-restore", AF_INET6, services, count, words);
	return r;
}

/* ---- what others changed */

/* Lines that name slb's chain: the order of rules, and no counters. */
static void keep_own_lines(char *text)
{
	char *to = text, *line = text;

	while (*line != '\0') {
		size_t length = strcspn(line, "\n");
		char end = line[length];

		line[length] = '\0';
		if (strstr(line, "SLB") != NULL) {
			memmove(to, line, length);
			to += length;
			*to++ = '\n';
		}
		line += length + (end != '\0');
	}
	*to = '\0';
}

/* What one family's rules look like now, for free(); NULL when they are not there. */
static char *list_family(const struct masquerade *masquerade, int family)
{
	bool is_ipv4 = family == AF_INET;
	const char *nft[] = { "nft", "list", "table", is_ipv4 ? "ip" : "ip6", "slb", NULL };
	const char *iptables[] = {
		is_ipv4 ? "iptables" : "ip6tables", "-w", "-t", "nat", "-S", NULL
	};
	char words[SPAWN_WORDS_SIZE], *text = NULL;

	if (spawn_run((char *const *)(masquerade->is_nftables ? nft : iptables), "", words, &text) <
	    0)
		return NULL;
	if (!masquerade->is_nftables)
		keep_own_lines(text);
	return text;
}

static char *list(const struct masquerade *masquerade)
{
	char *ipv4 = list_family(masquerade, AF_INET);
	char *ipv6 = masquerade->has_ip6 ? list_family(masquerade, AF_INET6) : strdup("");
	char *all = NULL;

	if (ipv4 != NULL && ipv6 != NULL && asprintf(&all, "%s%s", ipv4, ipv6) < 0)
		all = NULL;
	free(ipv4);
	free(ipv6);
	return all;
}

/* After every change of slb's own. The mark first: what comes between is seen as a change. */
static void note_own_state(struct masquerade *masquerade)
{
	masquerade->mark = netfilter_mark_read();
	free(masquerade->listing);
	masquerade->listing = list(masquerade);
}

bool masquerade_is_intact(struct masquerade *masquerade)
{
	struct netfilter_mark mark = netfilter_mark_read();
	char *listing;
	bool same;

	if (masquerade->listing == NULL)
		return false;
	if (netfilter_mark_equal(&mark, &masquerade->mark))
		return true;
	listing = list(masquerade);
	same = listing != NULL && strcmp(listing, masquerade->listing) == 0;
	free(listing);
	if (same)
		masquerade->mark = mark;
	return same;
}

/* ---- both families, both programs */

/* Makes what is missing of table or chain. */
static int make(struct masquerade *masquerade, struct errbuf *err)
{
	char nft_words[SPAWN_WORDS_SIZE], iptables_words[SPAWN_WORDS_SIZE],
		ignored[SPAWN_WORDS_SIZE];
	int nft = nft_open(masquerade, nft_words), iptables;

	if (nft == 0)
		return 0;
	iptables = iptables_open_family("iptables", iptables_words);
	if (iptables < 0)
		return errbuf_set(err, -ENOTSUP,
				  "cannot masquerade: install nftables or iptables (%s; "
				  "%s)",
				  nft_words, iptables_words);
	masquerade->has_ip6 = iptables_open_family("ip6tables", ignored) == 0;
	memcpy(masquerade->nft_refused, nft_words, sizeof(nft_words));
	return 0;
}

int masquerade_open(struct masquerade **ret, struct errbuf *err)
{
	struct masquerade *masquerade = calloc(1, sizeof(*masquerade));
	int r;

	if (masquerade == NULL)
		return errbuf_set(err, -ENOMEM, "cannot masquerade: out of memory");
	r = make(masquerade, err);
	if (r < 0) {
		free(masquerade);
		return r;
	}
	note_own_state(masquerade);
	*ret = masquerade;
	return 0;
}

void masquerade_close(struct masquerade *masquerade, bool keep)
{
	static const char *const programs[] = { "iptables", "ip6tables" };
	char ignored[SPAWN_WORDS_SIZE];

	if (masquerade == NULL)
		return;
	if (!keep && masquerade->is_nftables) {
		run_nft("delete table ip slb\n", ignored);
		if (masquerade->has_ip6)
			run_nft("delete table ip6 slb\n", ignored);
	} else if (!keep) {
		for (size_t i = 0; i < (masquerade->has_ip6 ? 2 : 1); i++) {
			iptables_chain(programs[i], "-D", "POSTROUTING", "SLB", ignored);
			iptables_chain(programs[i], "-F", "SLB", NULL, ignored);
			iptables_chain(programs[i], "-X", "SLB", NULL, ignored);
		}
	}
	free(masquerade->listing);
	free(masquerade);
}

const char *masquerade_name(const struct masquerade *masquerade)
{
	return masquerade->is_nftables ? "nftables" : "iptables";
}

const char *masquerade_nft_refused(const struct masquerade *masquerade)
{
	return masquerade->nft_refused;
}

static int change(struct masquerade *masquerade, const struct masqueraded *service, bool remove,
		  struct errbuf *err)
{
	char words[SPAWN_WORDS_SIZE], vip[ADDR_TEXT_SIZE];
	int r;

	if (service->vip.family == AF_INET6 && !masquerade->has_ip6)
		return errbuf_set(err, -ENOTSUP, "this kernel has no masquerading for IPv6");
	if (masquerade->is_nftables)
		r = nft_change(masquerade, service, 1, false, remove, words);
	else
		r = iptables_change(service, remove, words);
	if (r < 0)
		return errbuf_set(err, r, "cannot %s masquerading of %s port %u by %s: %s",
				  remove ? "end" : "begin", addr_format(&service->vip, vip),
				  service->port, masquerade_name(masquerade), words);
	note_own_state(masquerade);
	return 0;
}

int masquerade_add(struct masquerade *masquerade, const struct masqueraded *service,
		   struct errbuf *err)
{
	return change(masquerade, service, false, err);
}

int masquerade_remove(struct masquerade *masquerade, const struct masqueraded *service,
		      struct errbuf *err)
{
	return change(masquerade, service, true, err);
}

int masquerade_replace(struct masquerade *masquerade, const struct masqueraded *services,
		       size_t count, struct errbuf *err)
{
	char words[SPAWN_WORDS_SIZE];
	int r;

	if (masquerade->is_nftables)
		r = nft_change(masquerade, services, count, true, false, words);
	else
		r = iptables_replace(masquerade, services, count, words);
	if (r < 0)
		return errbuf_set(err, r, "cannot renew masquerading by %s: %s",
				  masquerade_name(masquerade), words);
	note_own_state(masquerade);
	return 0;
}

int masquerade_repair(struct masquerade *masquerade, const struct masqueraded *services,
		      size_t count, struct errbuf *err)
{
	int r = make(masquerade, err);

	return r < 0 ? r : masquerade_replace(masquerade, services, count, err);
}
