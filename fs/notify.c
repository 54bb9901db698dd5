// SPDX-License-Identifier: Apache-2.0
/*
 * Changes of the cluster, on their way to users: attributes that the kernel
 * keeps are dropped, blocked requests are tried again, pollers woken.  Files
 * that nobody has looked up cost a look into a table.
 *
 * Only attributes (offset -1) are ever dropped: dropping an entry, or pages,
 * waits for locks that a request in our own queue may hold.
 */
#include "fs/notify.h"
#include "fs/ops.h"

static void drop_attributes(struct session *s, const struct inode *i)
{
	if (s->mounted && i->lookups)
		fuse_lowlevel_notify_inval_inode(s->fuse, i->number, -1, 0);
}

static void file_changed(
    struct session *s, const struct file *f, const struct object *o)
{
	struct inode *i = inode_find(s->inodes, inode_number(f, o));
	struct handle *h, *next;

	if (!i)
		return;
	drop_attributes(s, i);
	for (h = i->handles; h; h = next) {
		next = h->next;
		ops_wake(h);
		ops_poll_wake(h);
	}
}

void notify_changed(struct object *o, unsigned aspects, void *session)
{
	enum object_kind kind = object_kind(o);

	for (size_t i = 0; i < n_files; i++) {
		if ((files[i].aspects & aspects) &&
		    file_owner(&files[i]) == kind)
			file_changed(session, &files[i], o);
	}
}

/* Directories that list objects of this kind. */
static void directories_changed(struct session *s, enum object_kind kind)
{
	s->listed[kind] = now_real();
	for (size_t i = 0; i < n_files; i++) {
		const struct file *each = files[i].kind == FILE_DIRECTORY
					      ? file_each(files[i].leads)
					      : NULL;

		if (each && each->each == kind)
			file_changed(s, &files[i], NULL);
	}
}

void notify_appeared(struct object *o, void *session)
{
	directories_changed(session, object_kind(o));
}

/* Last call for the object: no handle may point to it after this. */
static void orphan(
    struct session *s, const struct file *f, const struct object *o)
{
	struct inode *i = inode_find(s->inodes, inode_number(f, o));
	struct handle *h, *next;

	for (h = i ? i->handles : NULL; h; h = next) {
		next = h->next;
		if (h->object != o)
			continue;
		h->object = NULL;
		ops_orphan(h);
		ops_wake(h);
		ops_poll_wake(h);
	}
}

void notify_vanishing(struct object *o, void *session)
{
	enum object_kind kind = object_kind(o);

	for (size_t i = 0; i < n_files; i++) {
		if (file_owner(&files[i]) == kind)
			orphan(session, &files[i], o);
	}
	directories_changed(session, kind);
}
