// SPDX-License-Identifier: Apache-2.0
/*
 * Records of files in the memfd.  handle_kept.c, scratch.c and tombstone.c call
 * it.  A record has two copies of the state and a number that says which one
 * counts: the other one is filled in, then the number is turned.  A text that
 * outgrows its record moves to another one; of two with the same id the younger
 * counts.
 */
#include <assert.h>
#include <errno.h>
#include "fs/kept.h"
#include "fs/table.h"

/* A record this big is given back for a smaller one when little is left. */
#define SHRINK_FROM (64 * KIB)

struct copy {
	uint64_t length; /* of the text */
	uint32_t use, size;
	char state[KEPT_STATE_MAX];
};

struct body {
	uint64_t id;
	uint64_t which; /* copy that counts */
	struct copy copy[2];
	char text[];
};

struct kept {
	struct kept_store *store;
	struct record *record;
	enum kept_use use;
};

struct kept_store {
	struct memory *memory;
	size_t used[KEPT_USES]; /* bytes of text */
	bool listed;
	struct record **left; /* by an earlier daemon, by id, youngest last */
	size_t n_left, next;
};

static struct body *body(const struct record *r)
{
	return (struct body *)r->data;
}

static struct copy *current(const struct kept *k)
{
	struct body *b = body(k->record);

	return &b->copy[b->which & 1];
}

static size_t room(const struct record *r)
{
	return r->size - sizeof(*r) - sizeof(struct body);
}

struct kept_store *kept_store_new(struct memory *m)
{
	struct kept_store *s = xcalloc(1, sizeof(*s));

	s->memory = m;
	return s;
}

void kept_store_free(struct kept_store *s)
{
	if (!s)
		return;
	free(s->left);
	free(s);
}

size_t kept_used(const struct kept_store *s, enum kept_use use)
{
	return s->used[use];
}

static struct kept *make(struct kept_store *s, struct record *r)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	k->store = s;
	k->record = r;
	k->use = (enum kept_use)current(k)->use;
	return k;
}

static void publish(struct kept_store *s, struct record *r)
{
	r->sequence = memory_sequence(s->memory);
	MEMORY_ORDER();
	r->kind = RECORD_KEPT;
}

struct kept *kept_new(struct kept_store *s, uint64_t id)
{
	struct record *r = memory_alloc(s->memory, sizeof(struct body));

	if (!r)
		return NULL;
	memset(r->data, 0, sizeof(struct body));
	body(r)->id = id;
	publish(s, r);
	return make(s, r);
}

/* To a record with room for a text of this length. */
static int move(struct kept *k, size_t length)
{
	struct record *old = k->record;
	size_t kept = MIN(current(k)->length, length);
	struct record *r =
	    memory_alloc(k->store->memory, sizeof(struct body) + length);

	if (!r)
		return -ENOSPC;
	memcpy(r->data, old->data, sizeof(struct body) + kept);
	publish(k->store, r);
	k->record = r;
	memory_free(k->store->memory, old);
	return 0;
}

int kept_reserve(struct kept *k, enum kept_use use, size_t length)
{
	size_t *used = k->store->used;
	size_t mine = current(k)->length;
	size_t others = used[use] - (k->use == use ? mine : 0);

	if (length > KEPT_TEXT_LIMIT || others > KEPT_TEXT_LIMIT - length)
		return -ENOSPC;
	if (length > room(k->record) && move(k, length) < 0)
		return -ENOSPC;
	used[k->use] -= mine;
	k->use = use;
	used[use] += mine;
	return 0;
}

char *kept_edit(struct kept *k)
{
	return body(k->record)->text;
}

int kept_text(struct kept *k, enum kept_use use, size_t from, const char *text,
    size_t length)
{
	int r = kept_reserve(k, use, length);

	if (r == 0 && from < length)
		memcpy(kept_edit(k) + from, text + from, length - from);
	return r;
}

/* What is not used any more is there for others. */
static void shrink(struct kept *k, size_t length)
{
	size_t needed = sizeof(*k->record) + sizeof(struct body) + length;

	if (k->record->size >= SHRINK_FROM && needed <= k->record->size / 4)
		(void)move(k, length);
}

void kept_set(struct kept *k, const void *state, size_t size, size_t length)
{
	struct body *b = body(k->record);
	struct copy *c = &b->copy[!(b->which & 1)];

	assert(size <= KEPT_STATE_MAX && length <= room(k->record));
	k->store->used[k->use] += length - current(k)->length;
	c->length = length;
	c->use = k->use;
	c->size = (uint32_t)size;
	memcpy(c->state, state, size);
	MEMORY_ORDER();
	b->which = !(b->which & 1);
	shrink(k, length);
}

void kept_forget(struct kept *k)
{
	if (!k)
		return;
	k->store->used[k->use] -= current(k)->length;
	memory_free(k->store->memory, k->record);
	free(k);
}

void kept_free(struct kept *k)
{
	free(k);
}

/* --- what an earlier daemon has left --- */

static int by_id(const void *a, const void *b)
{
	const struct record *const *x = a, *const *y = b;
	uint64_t i = body(*x)->id, j = body(*y)->id;

	if (i != j)
		return i < j ? -1 : 1;
	return (*x)->sequence < (*y)->sequence ? -1 : 1;
}

static void list(struct kept_store *s)
{
	struct record *r = NULL;
	size_t size = 0;

	s->listed = true;
	while ((r = memory_next(s->memory, r))) {
		if (r->kind != RECORD_KEPT)
			continue;
		if (s->n_left == size) {
			size = size ? size * 2 : 64;
			s->left = xrealloc(s->left, size * sizeof(*s->left));
		}
		s->left[s->n_left++] = r;
	}
	if (s->n_left)
		qsort(s->left, s->n_left, sizeof(*s->left), by_id);
}

struct kept *kept_next(struct kept_store *s)
{
	struct kept *k;

	if (!s->listed)
		list(s);
	for (; s->next < s->n_left; s->next++) {
		struct record *r = s->left[s->next];

		if (s->next + 1 == s->n_left ||
		    body(s->left[s->next + 1])->id != body(r)->id)
			break;
		memory_free(s->memory, r); /* it has moved */
	}
	if (s->next == s->n_left)
		return NULL;
	k = make(s, s->left[s->next++]);
	s->used[k->use] += current(k)->length;
	return k;
}

uint64_t kept_id(const struct kept *k)
{
	return body(k->record)->id;
}

enum kept_use kept_used_for(const struct kept *k)
{
	return k->use;
}

bool kept_state(const struct kept *k, void *ret, size_t size)
{
	const struct copy *c = current(k);

	if (c->size != size)
		return false;
	memcpy(ret, c->state, size);
	return true;
}

const char *kept_bytes(const struct kept *k, size_t *ret_length)
{
	*ret_length = current(k)->length;
	return body(k->record)->text;
}
