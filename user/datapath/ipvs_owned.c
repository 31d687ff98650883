/* SPDX-License-Identifier: GPL-2.0-only */
#include "datapath/ipvs_owned.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UUID_TEXT_SIZE 37

struct ipvs_owned {
	char path[PATH_MAX];
	struct load_balancer *table; /* by uuid; only the members of a line are set */
};

static struct load_balancer *find(const struct ipvs_owned *owned, const uuid_t uuid)
{
	struct load_balancer *found;

	HASH_FIND(hh, owned->table, uuid, sizeof(uuid_t), found);
	return found;
}

static void insert(struct ipvs_owned *owned, struct load_balancer *lb)
{
	HASH_ADD_KEYPTR(hh, owned->table, lb->uuid, sizeof(uuid_t), lb);
}

/* ---- the file */

static int parse_line(const char *line, struct load_balancer *lb)
{
	char uuid[UUID_TEXT_SIZE], protocol[8], vip[ADDR_TEXT_SIZE], nat[16];
	unsigned int port;

	if (sscanf(line, "%36s %7s %45s %u %15s", uuid, protocol, vip, &port, nat) != 5 ||
	    uuid_parse(uuid, lb->uuid) < 0 || !protocol_parse(protocol, &lb->protocol) ||
	    addr_parse(vip, &lb->vip) < 0 || port < 1 || port > UINT16_MAX)
		return -EBADMSG;
	lb->port = (uint16_t)port;
	lb->source_nat = strcmp(nat, "masquerade") == 0;
	return lb->source_nat || strcmp(nat, "plain") == 0 ? 0 : -EBADMSG;
}

static int read_file(struct ipvs_owned *owned, struct errbuf *err)
{
	FILE *file = fopen(owned->path, "re");
	char *line = NULL;
	size_t size = 0, number = 0;
	int r = 0;

	if (file == NULL && errno == ENOENT)
		return 0;
	if (file == NULL)
		return errbuf_set(err, -errno, "cannot read %s: %s", owned->path, strerror(errno));
	while (r == 0 && getline(&line, &size, file) >= 0) {
		struct load_balancer *lb = calloc(1, sizeof(*lb));

		number++;
		r = lb == NULL ? -ENOMEM : parse_line(line, lb);
		if (r == 0 && find(owned, lb->uuid) == NULL)
			insert(owned, lb);
		else
			free(lb);
	}
	free(line);
	fclose(file);
	if (r < 0)
		return errbuf_set(err, r,
				  "cannot read line %zu of %s; delete that line (its IPVS service "
				  "then counts "
				  "as somebody else's)",
				  number, owned->path);
	return 0;
}

static int write_file(const struct ipvs_owned *owned, struct errbuf *err)
{
	char path[PATH_MAX + 8], uuid[UUID_TEXT_SIZE], vip[ADDR_TEXT_SIZE];
	struct load_balancer *lb, *next;
	FILE *file;
	int r = 0;

	if (HASH_COUNT(owned->table) == 0) {
		if (unlink(owned->path) == 0 || errno == ENOENT)
			return 0;
		return errbuf_set(err, -errno, "cannot remove %s: %s", owned->path,
				  strerror(errno));
	}
	snprintf(path, sizeof(path), "%s.new", owned->path);
	file = fopen(path, "we");
	if (file == NULL)
		return errbuf_set(err, -errno, "cannot write %s: %s", path, strerror(errno));
	HASH_ITER (hh, owned->table, lb, next) {
		uuid_unparse_lower(lb->uuid, uuid);
		fprintf(file, "%s %s %s %u %s\n", uuid, protocol_name(lb->protocol),
			addr_format(&lb->vip, vip), lb->port,
			lb->source_nat ? "masquerade" : "plain");
	}
	if (fflush(file) != 0 || fsync(fileno(file)) != 0)
		r = -errno;
	if (fclose(file) != 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(path, owned->path) != 0)
		r = -errno;
	if (r < 0)
		return errbuf_set(err, r, "cannot write %s: %s", owned->path, strerror(-r));
	return 0;
}

/* ---- the table */

int ipvs_owned_open(const char *state_dir, struct ipvs_owned **ret, struct errbuf *err)
{
	struct ipvs_owned *owned = calloc(1, sizeof(*owned));
	int r;

	if (owned == NULL)
		return errbuf_set(err, -ENOMEM, "cannot open IPVS: out of memory");
	snprintf(owned->path, sizeof(owned->path), "%s/" IPVS_OWNED_FILE, state_dir);
	r = read_file(owned, err);
	if (r < 0) {
		ipvs_owned_close(owned);
		return r;
	}
	*ret = owned;
	return 0;
}

void ipvs_owned_close(struct ipvs_owned *owned)
{
	struct load_balancer *lb, *next;

	if (owned == NULL)
		return;
	HASH_ITER (hh, owned->table, lb, next) {
		HASH_DEL(owned->table, lb);
		free(lb);
	}
	free(owned);
}

bool ipvs_owned_has(const struct ipvs_owned *owned, const uuid_t uuid)
{
	return find(owned, uuid) != NULL;
}

bool ipvs_owned_source_nat(const struct ipvs_owned *owned, const uuid_t uuid)
{
	const struct load_balancer *lb = find(owned, uuid);

	return lb != NULL && lb->source_nat;
}

size_t ipvs_owned_count(const struct ipvs_owned *owned)
{
	return HASH_COUNT(owned->table);
}

int ipvs_owned_put(struct ipvs_owned *owned, const struct load_balancer *lb, struct errbuf *err)
{
	struct load_balancer *there = find(owned, lb->uuid);
	bool is_new = there == NULL;
	int r;

	if (!is_new && there->source_nat == lb->source_nat)
		return 0;
	if (is_new) {
		there = calloc(1, sizeof(*there));
		if (there == NULL)
			return errbuf_set(err, -ENOMEM,
					  "cannot note an IPVS service: out of memory");
		uuid_copy(there->uuid, lb->uuid);
		there->vip = lb->vip;
		there->port = lb->port;
		there->protocol = lb->protocol;
		insert(owned, there);
	}
	there->source_nat = lb->source_nat;
	r = write_file(owned, err);
	if (r < 0 && is_new) {
		HASH_DEL(owned->table, there);
		free(there);
	} else if (r < 0) {
		there->source_nat = !lb->source_nat;
	}
	return r;
}

int ipvs_owned_remove(struct ipvs_owned *owned, const uuid_t uuid, struct errbuf *err)
{
	struct load_balancer *lb = find(owned, uuid);
	int r;

	if (lb == NULL)
		return 0;
	HASH_DEL(owned->table, lb);
	r = write_file(owned, err);
	if (r < 0)
		insert(owned, lb);
	else
		free(lb);
	return r;
}

void ipvs_owned_each(struct ipvs_owned *owned,
		     void (*found)(void *arg, const struct load_balancer *lb), void *arg)
{
	struct load_balancer *lb, *next;

	HASH_ITER (hh, owned->table, lb, next)
		found(arg, lb);
}
