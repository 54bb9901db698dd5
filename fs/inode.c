// SPDX-License-Identifier: Apache-2.0
/*
 * Inode numbers and the table of those that are in use.  Called by ops and
 * notify; it knows no request.
 *
 * number = (object number << 2 | object kind) << 8 | slot; the root is 1, as
 * FUSE wants.  The cluster itself has number 0 here, and slot 0 is the root's,
 * so nothing else can be 0 or 1 but slot 1 of the cluster, which is moved to
 * ROOT_SLOT_1.  Temporary files have numbers of their own, which none of these
 * can be: scratch.h.
 */
#include <assert.h>
#include <errno.h>
#include "fs/inode.h"
#include "fs/scratch.h"
#include "fs/table.h"

#define SLOT_BITS   8
#define KIND_BITS   2
#define ROOT        1
#define ROOT_SLOT_1 255 /* stands for slot 1 of the cluster */

static_assert(OBJECT_KINDS <= 1 << KIND_BITS, "kinds fit");

struct inodes {
	struct table *table;
};

uint64_t inode_number(const struct file *f, const struct object *o)
{
	enum object_kind kind = file_owner(f);
	uint64_t number = kind == OBJECT_CLUSTER ? 0 : object_number(o);
	unsigned slot = f->slot;

	if (kind == OBJECT_CLUSTER) {
		if (slot == 0)
			return ROOT;
		if (slot == 1)
			slot = ROOT_SLOT_1;
	}
	return (number << KIND_BITS | kind) << SLOT_BITS | slot;
}

uint64_t named_number(const struct named *n)
{
	return n->scratch ? n->scratch->number
			  : inode_number(n->file, n->object);
}

int inode_resolve(struct cluster *c, uint64_t number, struct named *ret)
{
	unsigned slot = number & ((1 << SLOT_BITS) - 1);
	enum object_kind kind = number >> SLOT_BITS & ((1 << KIND_BITS) - 1);
	uint64_t n = number >> (SLOT_BITS + KIND_BITS);
	struct named x = {0};

	if (number == ROOT)
		slot = 0;
	else if (kind == OBJECT_CLUSTER && slot == ROOT_SLOT_1)
		slot = 1;
	if (n > UINT32_MAX)
		return -ENOENT;
	x.file = file_by_slot(kind, slot);
	x.object = kind == OBJECT_CLUSTER
		       ? cluster_root(c)
		       : cluster_by_number(c, kind, (uint32_t)n);
	if (!x.file || !x.object)
		return -ENOENT;
	*ret = x;
	return 0;
}

struct inodes *inodes_new(void)
{
	struct inodes *t = xcalloc(1, sizeof(*t));

	t->table = table_new();
	return t;
}

static void free_one(void *inode, void *userdata)
{
	free(inode);
}

void inodes_free(struct inodes *t)
{
	if (!t)
		return;
	table_empty(t->table, free_one, NULL);
	table_free(t->table);
	free(t);
}

struct inode *inode_find(struct inodes *t, uint64_t number)
{
	return table_get(t->table, number);
}

struct inode *inode_get(struct inodes *t, uint64_t number)
{
	struct inode *i = table_get(t->table, number);

	if (!i) {
		i = xcalloc(1, sizeof(*i));
		i->number = number;
		table_put(t->table, number, i);
	}
	return i;
}

bool inode_known(const struct inode *i)
{
	return i && (i->lookups || i->inherited);
}

void inode_trim(struct inodes *t, struct inode *i)
{
	if (inode_known(i) || i->handles || i->wake != WAKE_QUIET)
		return;
	table_take(t->table, i->number);
	free(i);
}
