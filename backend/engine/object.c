// SPDX-License-Identifier: Apache-2.0
/*
 * Tables of objects: by number (an array) and by name (a tree), for each kind;
 * and how long an object lives: until it is gone and no request points to it.
 */
#include <search.h>
#include "engine/engine.h"

static const char *const folders[] = {
    [OBJECT_CLUSTER] = "cluster",
    [OBJECT_NETWORK] = "networks",
    [OBJECT_IMAGE] = "images",
    [OBJECT_NODE] = "nodes",
};

static const char *const names[] = {
    [OBJECT_CLUSTER] = "cluster",
    [OBJECT_NETWORK] = "network",
    [OBJECT_IMAGE] = "image",
    [OBJECT_NODE] = "node",
};

const char *kind_folder(enum object_kind k)
{
	return folders[k];
}

const char *object_kind_name(enum object_kind k)
{
	return k < OBJECT_KINDS ? names[k] : "?";
}

char *object_path(const struct object *o, const char *dir)
{
	if (o->kind == OBJECT_CLUSTER)
		return xasprintf("%s/cluster", dir);
	return xasprintf("%s/%s/%s", dir, kind_folder(o->kind), o->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(
	    ((const struct object *)a)->name, ((const struct object *)b)->name);
}

/* Takes the number; seen by others only once it is shown. */
void object_reserve(struct object *o)
{
	struct cluster *c = o->c;
	enum object_kind k = o->kind;

	if (o->number >= c->size_by_number[k]) {
		size_t size = MAX((size_t)o->number + 1,
		    MAX((size_t)64, c->size_by_number[k] * 2));

		c->by_number[k] =
		    xrealloc(c->by_number[k], size * sizeof(*c->by_number[k]));
		memset(c->by_number[k] + c->size_by_number[k], 0,
		    (size - c->size_by_number[k]) * sizeof(*c->by_number[k]));
		c->size_by_number[k] = size;
	}
	c->by_number[k][o->number] = o;
	c->top[k] = MAX(c->top[k], o->number);
	o->making = true;
}

void object_show(struct object *o)
{
	if (!tsearch(o, &o->c->by_name[o->kind], by_name))
		abort();
	o->making = false;
	o->c->count[o->kind]++;
	if (o->kind == OBJECT_NODE)
		o->c->in_state[as_node(o)->plan.state]++;
}

void object_withdraw(struct object *o)
{
	struct cluster *c = o->c;

	if (!o->making) {
		tdelete(o, &c->by_name[o->kind], by_name);
		c->count[o->kind]--;
		if (o->kind == OBJECT_NODE)
			c->in_state[as_node(o)->plan.state]--;
	}
	c->by_number[o->kind][o->number] = NULL;
}

struct object *cluster_root(struct cluster *c)
{
	return &c->o;
}

struct object *cluster_find(
    struct cluster *c, enum object_kind kind, const char *name)
{
	struct object key = {.name = (char *)name};
	void *p = tfind(&key, &c->by_name[kind], by_name);

	return p ? *(struct object **)p : NULL;
}

static bool taken(const struct cluster *c, enum object_kind k, uint32_t number)
{
	return number < c->size_by_number[k] && c->by_number[k][number];
}

uint32_t object_free_number(struct cluster *c, enum object_kind k, uint32_t max)
{
	/* With no gaps the next one is free. */
	uint32_t from = c->top[k] == c->count[k] ? c->top[k] + 1 : 1;

	for (uint32_t i = from; i <= max; i++) {
		if (!taken(c, k, i))
			return i;
	}
	return 0;
}

struct object *cluster_by_number(
    struct cluster *c, enum object_kind kind, uint32_t number)
{
	struct object *o;

	if (kind == OBJECT_CLUSTER)
		return number == 1 ? &c->o : NULL;
	if (!taken(c, kind, number))
		return NULL;
	o = c->by_number[kind][number];
	return o->making ? NULL : o;
}

struct object *cluster_next(
    struct cluster *c, enum object_kind kind, uint32_t after)
{
	for (uint32_t i = after + 1; i <= c->top[kind]; i++) {
		struct object *o = cluster_by_number(c, kind, i);

		if (o)
			return o;
	}
	return NULL;
}

size_t cluster_count(struct cluster *c, enum object_kind kind)
{
	return c->count[kind];
}

const char *object_name(const struct object *o)
{
	return o->name;
}

uint32_t object_number(const struct object *o)
{
	return o->number;
}

enum object_kind object_kind(const struct object *o)
{
	return o->kind;
}

uint64_t object_mtime(const struct object *o, unsigned aspects)
{
	uint64_t t = 0;

	for (unsigned i = 0; i < ASPECT_BITS; i++) {
		if (aspects & 1u << i)
			t = MAX(t, o->changed_at[i]);
	}
	return t;
}

void object_set_mtime(struct object *o, unsigned aspects, uint64_t t)
{
	for (unsigned i = 0; i < ASPECT_BITS; i++) {
		if (aspects & 1u << i)
			o->changed_at[i] = t;
	}
}

uint64_t object_version(const struct object *o, unsigned aspects)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < ASPECT_BITS; i++) {
		if (aspects & 1u << i)
			v += o->version[i];
	}
	return v;
}

void object_ref(struct object *o)
{
	o->refs++;
}

void object_unref(struct object *o)
{
	if (--o->refs == 0 && o->gone)
		object_free(o);
}

/* It is out of the tables; freed once nothing points to it. */
void object_forget(struct object *o)
{
	o->gone = true;
	if (o->refs == 0)
		object_free(o);
}
