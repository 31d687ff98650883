/* SPDX-License-Identifier: GPL-2.0-only */
#include "cli/bgp_peer_book.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "lib/log.h"

#define CAPABILITIES_MAX 5

struct entry {
	struct addr address; /* the key */
	struct bgp_peer_book *book;
	enum bgp_peer_origin origin;
	struct bgp_peer_config config; /* without the password */
	bool is_changing;              /* the store is at it; then: */
	bgp_peer_done_cb *done;
	void *done_arg;
	bool is_peer; /* the speaker has it */
	bool is_followed;
	char refused[ERRBUF_SIZE]; /* why it does not */

	/* What the last view of it points to. */
	struct bgp_peer_status status;
	const char *capabilities[CAPABILITIES_MAX];
	UT_hash_handle hh;
};

struct bgp_peer_book {
	struct bgp_peer_book_config config;
	struct entry *entries; /* in the order of their addresses */
	struct bgp_peer_view *views;
};

static struct entry *find(const struct bgp_peer_book *book, const struct addr *address)
{
	struct entry *entry;

	HASH_FIND(hh, book->entries, address, sizeof(*address), entry);
	return entry;
}

static int compare(const struct entry *a, const struct entry *b)
{
	return addr_compare(&a->address, &b->address);
}

static void forget(struct bgp_peer_book *book, struct entry *entry)
{
	struct datapath *datapath = book->config.datapath;

	if (entry->is_followed)
		datapath->ops->unfollow(datapath, &entry->address);
	HASH_DEL(book->entries, entry);
	free(entry);
}

static void end_session(struct bgp_peer_book *book, struct entry *entry)
{
	struct errbuf ignored; /* it is there */

	if (entry->is_peer)
		bgp_speaker_remove_peer(book->config.speaker, &entry->address, &ignored);
	entry->is_peer = false;
}

static int exists_already(const struct addr *address, struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];

	return errbuf_set_field(err, -EEXIST, "address", "%s is a BGP peer already",
				addr_format(address, text));
}

static int new_entry(struct bgp_peer_book *book, enum bgp_peer_origin origin,
		     const struct bgp_peer_config *config, struct entry **ret, struct errbuf *err)
{
	struct entry *entry;

	if (find(book, &config->address) != NULL)
		return exists_already(&config->address, err);
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	entry->address = config->address;
	entry->book = book;
	entry->origin = origin;
	entry->config = *config;
	explicit_bzero(entry->config.password, sizeof(entry->config.password));
	HASH_ADD(hh, book->entries, address, sizeof(entry->address), entry);
	HASH_SORT(book->entries, compare);
	*ret = entry;
	return 0;
}

static int begin_session(struct bgp_peer_book *book, struct entry *entry,
			 const struct bgp_peer_config *config, struct errbuf *err)
{
	struct datapath *datapath = book->config.datapath;
	int r;

	/* First: routes announced to it bring packets. */
	if (datapath->ops->follow != NULL && !entry->is_followed) {
		r = datapath->ops->follow(datapath, &entry->address, err);
		if (r < 0)
			return r;
		entry->is_followed = true;
	}
	r = bgp_speaker_add_peer(book->config.speaker, config, err);
	entry->is_peer = r == 0;
	return r;
}

/* ---- peers of flags and clouds --------------------------------------------------------------- */

int bgp_peer_book_add(struct bgp_peer_book *book, enum bgp_peer_origin origin,
		      const struct bgp_peer_config *config, struct errbuf *err)
{
	struct entry *entry;
	int r = new_entry(book, origin, config, &entry, err);

	if (r < 0)
		return r;
	r = begin_session(book, entry, config, err);
	if (r < 0)
		forget(book, entry);
	return r;
}

void bgp_peer_book_drop(struct bgp_peer_book *book, enum bgp_peer_origin origin,
			const struct addr *address)
{
	struct entry *entry = find(book, address);

	if (entry == NULL || entry->origin != origin)
		return;
	end_session(book, entry);
	forget(book, entry);
}

/* ---- peers of the API ------------------------------------------------------------------------ */

struct loading {
	struct bgp_peer_book *book;
	int error;
	struct errbuf err;
};

static void load_one(void *arg, const struct bgp_peer_config *config)
{
	struct loading *loading = arg;
	struct bgp_peer_book *book = loading->book;
	char text[ADDR_TEXT_SIZE];
	struct errbuf err;
	struct entry *entry;
	int r;

	if (find(book, &config->address) != NULL) {
		log_warn("BGP peer %s was asked for by the API and is given by a flag: the flag "
			 "counts while it is there",
			 addr_format(&config->address, text));
		return;
	}
	r = new_entry(book, BGP_PEER_OF_API, config, &entry, &err);
	if (r < 0) {
		loading->error = r;
		loading->err = err;
		return;
	}
	if (begin_session(book, entry, config, &err) == 0)
		return;
	memcpy(entry->refused, err.text, sizeof(entry->refused));
	log_error("BGP peer of the API: %s; remove it and add it as it should be", err.text);
}

int bgp_peer_book_load(struct bgp_peer_book *book, struct errbuf *err)
{
	struct loading loading = { .book = book };
	int r = store_load_bgp_peers(book->config.store, load_one, &loading, err);

	if (r == 0 && loading.error < 0) {
		r = loading.error;
		*err = loading.err;
	}
	return r;
}

/* The store has answered: the entry is as it was before, or gone, or steady; then its asker is
 * told.
 */
static void answer(struct entry *entry, bool gone, int status, const struct errbuf *err)
{
	bgp_peer_done_cb *done = entry->done;
	void *arg = entry->done_arg;

	entry->is_changing = false;
	if (gone)
		forget(entry->book, entry);
	done(arg, status, err);
}

/* store_done_cb */
static void on_stored(void *arg, int status, const struct errbuf *err)
{
	struct entry *entry = arg;

	if (status < 0)
		end_session(entry->book, entry);
	answer(entry, status < 0, status, err);
}

/* store_done_cb */
static void on_deleted(void *arg, int status, const struct errbuf *err)
{
	struct entry *entry = arg;

	if (status == 0)
		end_session(entry->book, entry);
	answer(entry, status == 0, status, err);
}

void bgp_peer_book_create(struct bgp_peer_book *book, const struct bgp_peer_config *config,
			  bgp_peer_done_cb *done, void *arg)
{
	struct entry *entry = NULL;
	struct errbuf err;
	int r = new_entry(book, BGP_PEER_OF_API, config, &entry, &err);

	if (r == 0)
		r = begin_session(book, entry, config, &err);
	if (r == 0) {
		entry->done = done;
		entry->done_arg = arg;
		entry->is_changing = true;
		r = store_put_bgp_peer(book->config.store, config, on_stored, entry);
		if (r < 0)
			errbuf_set(&err, r, "memory is short");
	}
	if (r == 0)
		return;
	if (entry != NULL) {
		end_session(book, entry);
		forget(book, entry);
	}
	done(arg, r, &err);
}

static int may_be_removed(const struct entry *entry, const struct addr *address, struct errbuf *err)
{
	char text[ADDR_TEXT_SIZE];

	addr_format(address, text);
	if (entry == NULL)
		return errbuf_set(err, -ENOENT, "%s is not a BGP peer", text);
	if (entry->is_changing)
		return errbuf_set(err, -EBUSY, "BGP peer %s is being changed; try again", text);
	if (entry->origin == BGP_PEER_OF_FLAG)
		return errbuf_set(err, -EEXIST,
				  "BGP peer %s comes from --bgp-peer, and would be back after a "
				  "restart; start slb without that flag",
				  text);
	if (entry->origin == BGP_PEER_OF_CLOUD)
		return errbuf_set(
			err, -EEXIST,
			"BGP peer %s comes from the cloud's API, and would be back; remove "
			"it there",
			text);
	return 0;
}

void bgp_peer_book_remove(struct bgp_peer_book *book, const struct addr *address,
			  bgp_peer_done_cb *done, void *arg)
{
	struct entry *entry = find(book, address);
	struct errbuf err;
	int r = may_be_removed(entry, address, &err);

	if (r == 0) {
		entry->done = done;
		entry->done_arg = arg;
		entry->is_changing = true;
		r = store_delete_bgp_peer(book->config.store, address, on_deleted, entry);
		if (r == 0)
			return;
		entry->is_changing = false;
		errbuf_set(&err, r, "memory is short");
	}
	done(arg, r, &err);
}

/* ---- views ----------------------------------------------------------------------------------- */

static size_t describe_capabilities(const struct bgp_negotiated *negotiated,
				    const char *ret[static CAPABILITIES_MAX])
{
	const struct {
		bool there;
		const char *words;
	} all[CAPABILITIES_MAX] = {
		{ (negotiated->families & BGP_FAMILY_BIT(BGP_IPV4)) != 0, "IPv4 unicast" },
		{ (negotiated->families & BGP_FAMILY_BIT(BGP_IPV6)) != 0, "IPv6 unicast" },
		{ negotiated->as4, "four-byte AS" },
		{ negotiated->route_refresh, "route refresh" },
		{ negotiated->graceful_restart, "graceful restart" },
	};
	size_t count = 0;

	for (size_t i = 0; i < CAPABILITIES_MAX; i++) {
		if (all[i].there)
			ret[count++] = all[i].words;
	}
	return count;
}

static void describe(struct bgp_peer_book *book, struct entry *entry, struct bgp_peer_view *ret)
{
	static const char *const origins[] = { [BGP_PEER_OF_FLAG] = "flag",
					       [BGP_PEER_OF_API] = "api",
					       [BGP_PEER_OF_CLOUD] = "cloud" };
	struct bgp_peer_status *status = &entry->status;

	*ret = (struct bgp_peer_view){ .config = entry->config,
				       .origin = origins[entry->origin],
				       .state = bgp_state_name(BGP_STATE_IDLE),
				       .last_error = entry->refused,
				       .capabilities = entry->capabilities };
	if (!entry->is_peer ||
	    !bgp_speaker_find_peer(book->config.speaker, &entry->address, status))
		return;
	ret->has_password = status->has_password;
	ret->state = bgp_state_name(status->state);
	ret->uptime_s = status->uptime_ms / 1000;
	ret->announced = status->announced[BGP_IPV4] + status->announced[BGP_IPV6];
	ret->note = status->note;
	ret->last_error = status->state != BGP_STATE_ESTABLISHED && status->connect_error[0] != '\0'
				  ? status->connect_error
				  : status->last_error;
	if (status->state == BGP_STATE_ESTABLISHED)
		ret->capability_count =
			describe_capabilities(&status->negotiated, entry->capabilities);
}

const struct bgp_peer_view *bgp_peer_book_views(struct bgp_peer_book *book, size_t *ret_count)
{
	struct entry *entry, *next;
	size_t count = 0;

	*ret_count = 0;
	free(book->views);
	book->views = calloc(HASH_COUNT(book->entries) + 1, sizeof(*book->views));
	if (book->views == NULL)
		return NULL;
	HASH_ITER (hh, book->entries, entry, next)
		describe(book, entry, &book->views[count++]);
	*ret_count = count;
	return book->views;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int bgp_peer_book_open(const struct bgp_peer_book_config *config, struct bgp_peer_book **ret,
		       struct errbuf *err)
{
	struct bgp_peer_book *book = calloc(1, sizeof(*book));

	if (book == NULL)
		return errbuf_set(err, -ENOMEM, "memory is short");
	book->config = *config;
	*ret = book;
	return 0;
}

void bgp_peer_book_close(struct bgp_peer_book *book)
{
	struct entry *entry, *next;

	if (book == NULL)
		return;
	store_flush(book->config.store);
	HASH_ITER (hh, book->entries, entry, next)
		forget(book, entry);
	free(book->views);
	free(book);
}
