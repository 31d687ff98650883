/* SPDX-License-Identifier: GPL-2.0-only */
#include "core/ipam_pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parsing ------------------------------------------------------------------------------ */

static int fail_item(struct errbuf *err, const char *item, const char *why)
{
	return errbuf_set(err, -EINVAL,
			  "address range \"%s\" %s; write it as 10.0.0.5-10.0.0.9, 10.0.0.0/24 or "
			  "10.0.0.5, several separated by commas",
			  item, why);
}

/* Where addresses begin that can be neither VIP nor backend; a range must not reach over them. */
static bool spans_unusable(const struct addr_range *range)
{
	static const char *const unusable[] = { "127.0.0.0", "::ffff:0.0.0.0", "fe80::" };
	struct addr addr;

	for (size_t i = 0; i < sizeof(unusable) / sizeof(*unusable); i++) {
		if (addr_parse(unusable[i], &addr) == 0 && addr.family == range->first.family &&
		    addr_compare(&range->first, &addr) <= 0 &&
		    addr_compare(&addr, &range->last) <= 0)
			return true;
	}
	return false;
}

static int check_range(const char *item, const struct addr_range *range, struct errbuf *err)
{
	if (range->first.family != range->last.family)
		return fail_item(err, item, "mixes IPv4 and IPv6");
	if (addr_compare(&range->first, &range->last) > 0)
		return fail_item(err, item, "ends before it begins");
	if (!addr_is_usable_unicast(&range->first) || !addr_is_usable_unicast(&range->last) ||
	    spans_unusable(range))
		return fail_item(err, item,
				 "has addresses that no host can have (unspecified, loopback, "
				 "multicast, link-local IPv6 or reserved)");
	return 0;
}

/* Sets all bits after the first prefix_bits to `value`; false when that changes none of them. */
static bool fill_host_bits(struct addr *addr, unsigned int prefix_bits, bool value)
{
	struct addr before = *addr;

	for (size_t bit = prefix_bits; bit < addr_length_bytes(addr) * 8; bit++) {
		uint8_t mask = (uint8_t)(0x80u >> (bit % 8));

		if (value)
			addr->bytes[bit / 8] |= mask;
		else
			addr->bytes[bit / 8] &= (uint8_t)~mask;
	}
	return !addr_equal(&before, addr);
}

static int parse_prefix(const char *item, char *address, const char *bits_text,
			struct addr_range *ret, struct errbuf *err)
{
	struct addr network;
	unsigned long bits;
	size_t length_bits;
	char *end;

	if (addr_parse(address, &network) < 0)
		return fail_item(err, item, "does not begin with an address");
	length_bits = addr_length_bytes(&network) * 8;
	errno = 0;
	bits = strtoul(bits_text, &end, 10);
	if (*bits_text < '0' || *bits_text > '9' || *end != '\0' || errno != 0 ||
	    bits > length_bits)
		return fail_item(err, item, "has a prefix length that is out of range");

	ret->first = ret->last = network;
	if (fill_host_bits(&ret->first, (unsigned int)bits, false))
		return fail_item(err, item, "has bits set after its prefix length");
	fill_host_bits(&ret->last, (unsigned int)bits, true);
	if (length_bits - bits >= 2) {
		/* The network's own address (IPv4), the subnet-router anycast address (IPv6). */
		addr_next(&ret->first);
		/* The broadcast address: a range of at least four, the last bit is set. */
		if (network.family == AF_INET)
			ret->last.bytes[3] &= 0xfe;
	}
	return 0;
}

static int parse_item(char *item, struct addr_range *ret, struct errbuf *err)
{
	char original[2 * ADDR_TEXT_SIZE + 8];
	char *separator;
	int error;

	if (*item == '\0')
		return fail_item(err, item, "is empty");
	if (strlen(item) >= sizeof(original))
		return fail_item(err, "…", "has an item that is too long");
	snprintf(original, sizeof(original), "%s", item);

	separator = strpbrk(item, "-/");
	if (separator != NULL && *separator == '/') {
		*separator = '\0';
		error = parse_prefix(original, item, separator + 1, ret, err);
		if (error < 0)
			return error;
	} else {
		if (separator != NULL)
			*separator = '\0';
		if (addr_parse(item, &ret->first) < 0)
			return fail_item(err, original, "does not begin with an address");
		ret->last = ret->first;
		if (separator != NULL && addr_parse(separator + 1, &ret->last) < 0)
			return fail_item(err, original, "does not end with an address");
	}
	return check_range(original, ret, err);
}

static int compare_ranges(const void *a, const void *b)
{
	const struct addr_range *left = a, *right = b;

	return addr_compare(&left->first, &right->first);
}

/* Sorts, and joins what overlaps or touches. */
static void merge(struct ipam_pool *pool)
{
	size_t kept = 0;

	qsort(pool->ranges, pool->count, sizeof(*pool->ranges), compare_ranges);
	for (size_t i = 1; i < pool->count; i++) {
		struct addr_range *last = &pool->ranges[kept], *range = &pool->ranges[i];
		struct addr after = last->last;
		bool touches = addr_next(&after) && addr_compare(&range->first, &after) <= 0;

		if (range->first.family != last->first.family || !touches)
			pool->ranges[++kept] = *range;
		else if (addr_compare(&range->last, &last->last) > 0)
			last->last = range->last;
	}
	pool->count = kept + 1;
}

static size_t count_items(const char *text)
{
	size_t count = 1;

	for (; *text != '\0'; text++)
		count += *text == ',';
	return count;
}

/* Cuts the spaces around a word. */
static char *trim(char *word)
{
	size_t length;

	word += strspn(word, " \t");
	length = strlen(word);
	while (length > 0 && (word[length - 1] == ' ' || word[length - 1] == '\t'))
		word[--length] = '\0';
	return word;
}

int ipam_pool_parse(const char *text, struct ipam_pool *ret, struct errbuf *err)
{
	struct ipam_pool pool = { .text = strdup(text) };
	char *words = strdup(text), *rest = words, *word;
	int error = 0;

	pool.ranges = calloc(count_items(text), sizeof(*pool.ranges));
	if (pool.text == NULL || words == NULL || pool.ranges == NULL)
		error = errbuf_set(err, -ENOMEM, "cannot read the address ranges: out of memory");
	while (error == 0 && (word = strsep(&rest, ",")) != NULL)
		error = parse_item(trim(word), &pool.ranges[pool.count++], err);
	free(words);
	if (error < 0) {
		ipam_pool_free(&pool);
		return error;
	}
	merge(&pool);
	*ret = pool;
	return 0;
}

void ipam_pool_free(struct ipam_pool *pool)
{
	free(pool->text);
	free(pool->ranges);
	memset(pool, 0, sizeof(*pool));
}

/* ---- asking ------------------------------------------------------------------------------- */

bool ipam_pool_seek(const struct ipam_pool *pool, struct addr *addr)
{
	size_t low = 0, high = pool->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (addr_compare(&pool->ranges[middle].last, addr) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == pool->count || pool->ranges[low].first.family != addr->family)
		return false;
	if (addr_compare(&pool->ranges[low].first, addr) > 0)
		*addr = pool->ranges[low].first;
	return true;
}

bool ipam_pool_contains(const struct ipam_pool *pool, const struct addr *addr)
{
	struct addr found = *addr;

	return ipam_pool_seek(pool, &found) && addr_equal(&found, addr);
}

/* The address as a number. */
static unsigned __int128 number_of(const struct addr *addr)
{
	unsigned __int128 number = 0;

	for (size_t i = 0; i < addr_length_bytes(addr); i++)
		number = number << 8 | addr->bytes[i];
	return number;
}

static uint64_t range_size(const struct addr_range *range)
{
	unsigned __int128 steps = number_of(&range->last) - number_of(&range->first);

	return steps < UINT64_MAX ? (uint64_t)steps + 1 : UINT64_MAX;
}

uint64_t ipam_pool_size(const struct ipam_pool *pool, int family)
{
	uint64_t total = 0;

	for (size_t i = 0; i < pool->count; i++) {
		uint64_t size;

		if (pool->ranges[i].first.family != family)
			continue;
		size = range_size(&pool->ranges[i]);
		total = total > UINT64_MAX - size ? UINT64_MAX : total + size;
	}
	return total;
}
