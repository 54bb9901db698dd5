// SPDX-License-Identifier: Apache-2.0
/*
 * Names that are gone for a moment: a list by the time when they are back, kept
 * in the memfd, and a timer.  ops_names.c and ops_rename.c set and lift them.
 */
#include <errno.h>
#include "fs/kept.h"
#include "fs/notify.h"
#include "fs/scratch.h"
#include "fs/session.h"
#include "fs/tombstone.h"

/* Of the records, so that they are not those of handles or temporary files. */
#define TOMBSTONE_ID (1ULL << 49)

struct state {
	uint64_t until; /* CLOCK_MONOTONIC usec */
};

struct tombstone {
	uint64_t inode, until;
	struct kept *kept; /* NULL: there was no memory */
	struct tombstone *next, **previous;
};

struct tombstones {
	struct session *session;
	struct table *by_inode;
	struct tombstone *first, **last;
	struct loop_source *timer;
};

static void put(
    struct tombstones *t, uint64_t inode, uint64_t until, struct kept *k)
{
	struct tombstone *x = xcalloc(1, sizeof(*x));

	x->inode = inode;
	x->until = until;
	x->kept = k;
	x->previous = t->last;
	*t->last = x;
	t->last = &x->next;
	table_put(t->by_inode, inode, x);
	if (t->first == x)
		loop_timer_set(t->timer, until);
}

static struct kept *take(struct tombstones *t, struct tombstone *x)
{
	struct kept *k = x->kept;

	*x->previous = x->next;
	if (x->next)
		x->next->previous = x->previous;
	else
		t->last = x->previous;
	table_take(t->by_inode, x->inode);
	free(x);
	return k;
}

/* A name less, or one more, is a change of its directory. */
static void touch_directory(struct tombstones *t, uint64_t inode)
{
	struct session *s = t->session;
	struct named n;

	if (inode_resolve(s->cluster, inode, &n) == 0)
		scratch_touch(s->scratches,
		    inode_number(file_of_place(n.file->place), n.object));
}

void tombstone_set(struct tombstones *t, uint64_t inode)
{
	struct state state = {.until = now_mono() + TOMBSTONE_USEC};
	struct kept *k;

	if (table_get(t->by_inode, inode))
		return;
	k = kept_new(t->session->kept, TOMBSTONE_ID | inode);
	if (k && kept_reserve(k, KEPT_TOMBSTONE, 0) == 0)
		kept_set(k, &state, sizeof(state), 0);
	put(t, inode, state.until, k);
	touch_directory(t, inode);
}

void tombstone_forget(struct tombstones *t, uint64_t inode)
{
	struct tombstone *x = table_get(t->by_inode, inode);

	if (x)
		kept_forget(take(t, x));
}

void tombstone_lift(struct tombstones *t, uint64_t inode)
{
	if (!tombstone_covers(t, inode))
		return;
	tombstone_forget(t, inode);
	touch_directory(t, inode);
}

bool tombstone_covers(const struct tombstones *t, uint64_t inode)
{
	return table_get(t->by_inode, inode) != NULL;
}

bool tombstone_restore(struct tombstones *t, struct kept *k)
{
	struct state state;

	if (!kept_state(k, &state, sizeof(state)))
		return false;
	/* The tool could not go on meanwhile. */
	put(t, kept_id(k) & ~TOMBSTONE_ID, now_mono() + TOMBSTONE_USEC, k);
	return true;
}

static void on_timer(void *userdata)
{
	struct tombstones *t = userdata;
	uint64_t now = now_mono();

	while (t->first && t->first->until <= now) {
		uint64_t inode = t->first->inode;
		struct named n;

		tombstone_lift(t, inode);
		if (inode_resolve(t->session->cluster, inode, &n) == 0)
			notify_returned(t->session, &n);
	}
	if (t->first)
		loop_timer_set(t->timer, t->first->until);
}

int tombstones_new(struct session *s, struct tombstones **ret)
{
	struct tombstones *t = xcalloc(1, sizeof(*t));
	int r = loop_add_timer(s->loop, USEC_NEVER, on_timer, t, &t->timer);

	if (r < 0) {
		free(t);
		return r;
	}
	t->session = s;
	t->by_inode = table_new();
	t->last = &t->first;
	*ret = t;
	return 0;
}

void tombstones_free(struct tombstones *t)
{
	if (!t)
		return;
	while (t->first)
		kept_free(take(t, t->first));
	table_free(t->by_inode);
	loop_source_free(t->timer);
	free(t);
}
