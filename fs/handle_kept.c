// SPDX-License-Identifier: Apache-2.0
/*
 * What the next daemon must know of an open file: how it was opened, what its
 * reads give, where they are, what was written through it.  handle.c and
 * writer.c call it whenever one of these has changed.
 */
#include <assert.h>
#include <errno.h>
#include "fs/handle.h"
#include "fs/kept.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/slots.h"
#include "fs/tombstone.h"
#include "fs/transaction.h"

struct state {
	uint64_t inode, owner;
	uint64_t opened_by, moved_by, typed_by, typed;
	struct place_in place, before;
	int32_t flags, opener;
	bool owner_known, have, has_transaction;
	struct transaction_state transaction;
};
static_assert(sizeof(struct state) <= KEPT_STATE_MAX, "it fits");

static void store(struct handle *h, size_t length)
{
	struct state s;

	/* What lies between the fields is stored too. */
	memset(&s, 0, sizeof(s));
	s.inode = h->inode->number;
	s.owner = h->owner;
	s.opened_by = h->opened_by;
	s.moved_by = h->moved_by;
	s.typed_by = h->typed_by;
	s.typed = h->typed;
	s.place = h->place;
	s.before = h->before;
	s.flags = h->flags;
	s.opener = h->opener;
	s.owner_known = h->owner_known;
	s.have = h->have;
	s.has_transaction = h->written;
	s.transaction = h->written_state;
	kept_set(h->kept, &s, sizeof(s), length);
}

static size_t length_of(const struct handle *h)
{
	size_t length;

	kept_bytes(h->kept, &length);
	return length;
}

void handle_keep(struct handle *h)
{
	if (h->kept)
		store(h, length_of(h));
}

/* One that does not fit is made anew by the next daemon. */
void handle_keep_text(struct handle *h)
{
	if (!h->kept)
		return;
	if (h->written)
		store(h, length_of(h));
	else if (kept_text(h->kept, KEPT_SNAPSHOT, 0, buf_str(&h->text),
		     h->text.len) == 0)
		store(h, h->text.len);
}

int handle_keep_transaction(struct handle *h, size_t from, const char *text,
    size_t length, const struct transaction_state *state)
{
	int r;

	if (!h->kept)
		return length ? -ENOSPC : 0;
	/* The snapshot gives way. */
	r = kept_text(
	    h->kept, KEPT_TRANSACTION, h->written ? from : 0, text, length);
	if (r < 0)
		return r;
	h->written = true;
	h->written_state = *state;
	store(h, length);
	return 0;
}

/* --- at a start --- */

static bool restore(struct session *session, struct kept *k)
{
	struct named n;
	struct handle *h;
	struct state s;
	const char *text;
	size_t length;

	if (!kept_state(k, &s, sizeof(s)) ||
	    ops_named(session, s.inode, &n) < 0)
		return false;
	h = handle_make(session, &n, s.flags, kept_id(k));
	h->kept = k;
	h->owner = s.owner;
	h->opened_by = s.opened_by;
	h->moved_by = s.moved_by;
	h->typed_by = s.typed_by;
	h->typed = s.typed;
	h->place = s.place;
	h->before = s.before;
	h->opener = s.opener;
	h->owner_known = s.owner_known;
	text = kept_bytes(k, &length);
	h->written = s.has_transaction;
	h->written_state = s.transaction;
	if (h->written) {
		ops_restore_transaction(h, &s.transaction, text, length);
	} else {
		h->have = h->restored = s.have;
		buf_append(&h->text, text, length);
	}
	session->last_handle = MAX(session->last_handle, h->id);
	if (h->opened_by == slots_landed(session->slots))
		session->reopened = h->id;
	return true;
}

/* Handles may be of temporary files: those come first. */
void handles_restore(struct session *s)
{
	_cleanup_free_ struct kept **handles = NULL;
	size_t n = 0, room = 0;
	struct kept *k;

	while ((k = kept_next(s->kept))) {
		bool taken = true;

		if (kept_used_for(k) == KEPT_SCRATCH) {
			taken = scratch_restore(s->scratches, k);
		} else if (kept_used_for(k) == KEPT_TOMBSTONE) {
			taken = tombstone_restore(s->tombstones, k);
		} else {
			if (n == room) {
				room = room ? room * 2 : 64;
				handles =
				    xrealloc(handles, room * sizeof(*handles));
			}
			handles[n++] = k;
		}
		if (!taken)
			kept_forget(k);
	}
	for (size_t i = 0; i < n; i++) {
		if (!restore(s, handles[i]))
			kept_forget(handles[i]);
	}
	scratch_sweep(s->scratches);
}
