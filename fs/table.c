// SPDX-License-Identifier: Apache-2.0
/*
 * A hash table of pointers by number: open addressing, linear probing,
 * entries moved back when one is taken out, so that there are no tombstones.
 * For inode.c and handle.c; it knows nothing of what it holds.
 */
#include <assert.h>
#include "fs/table.h"

#define SLOTS_MIN 64

struct slot {
	uint64_t key;
	void *value; /* NULL: free */
};

struct table {
	struct slot *slots;
	size_t size, used; /* size: a power of two */
};

struct table *table_new(void)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->size = SLOTS_MIN;
	t->slots = xcalloc(t->size, sizeof(*t->slots));
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	free(t->slots);
	free(t);
}

/* The finalizer of splitmix64: numbers here differ in few bits. */
static size_t home(const struct table *t, uint64_t key)
{
	key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9ULL;
	key = (key ^ (key >> 27)) * 0x94d049bb133111ebULL;
	return (key ^ (key >> 31)) & (t->size - 1);
}

static struct slot *find(const struct table *t, uint64_t key)
{
	size_t i = home(t, key);

	while (t->slots[i].value && t->slots[i].key != key)
		i = (i + 1) & (t->size - 1);
	return &t->slots[i];
}

void *table_get(const struct table *t, uint64_t key)
{
	return find(t, key)->value;
}

static void resize(struct table *t, size_t size)
{
	struct slot *old = t->slots;
	size_t n = t->size;

	t->slots = xcalloc(size, sizeof(*t->slots));
	t->size = size;
	for (size_t i = 0; i < n; i++) {
		if (old[i].value)
			*find(t, old[i].key) = old[i];
	}
	free(old);
}

void table_put(struct table *t, uint64_t key, void *value)
{
	struct slot *s;

	assert(value);
	if (t->used * 3 >= t->size * 2)
		resize(t, t->size * 2);
	s = find(t, key);
	if (!s->value)
		t->used++;
	*s = (struct slot){.key = key, .value = value};
}

void *table_take(struct table *t, uint64_t key)
{
	struct slot *s = find(t, key);
	void *value = s->value;
	size_t hole = s - t->slots, i = hole;

	if (!value)
		return NULL;
	t->used--;
	for (;;) {
		size_t want;

		i = (i + 1) & (t->size - 1);
		if (!t->slots[i].value)
			break;
		/* It may move into the hole when that is not before its home.
		 */
		want = home(t, t->slots[i].key);
		if (((i - want) & (t->size - 1)) < ((i - hole) & (t->size - 1)))
			continue;
		t->slots[hole] = t->slots[i];
		hole = i;
	}
	t->slots[hole].value = NULL;
	if (t->size > SLOTS_MIN && t->used * 8 < t->size)
		resize(t, t->size / 2);
	return value;
}

size_t table_count(const struct table *t)
{
	return t->used;
}

void table_empty(
    struct table *t, void (*fn)(void *value, void *userdata), void *userdata)
{
	struct slot *old = t->slots;
	size_t n = t->size;

	t->size = SLOTS_MIN;
	t->used = 0;
	t->slots = xcalloc(t->size, sizeof(*t->slots));
	for (size_t i = 0; i < n; i++) {
		if (old[i].value)
			fn(old[i].value, userdata);
	}
	free(old);
}
