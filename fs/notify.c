// SPDX-License-Identifier: Apache-2.0
/*
 * Changes of the cluster, on their way to users: attributes that the kernel
 * keeps are dropped, blocked requests are tried again, pollers and watchers
 * woken.  A file is told when the kernel knows it or its directory, since one
 * of the two may be watched; all others cost a look into a table.
 *
 * Only attributes (offset -1) are ever dropped: dropping an entry, or pages,
 * waits for locks that a request in our own queue may hold.
 */
#include <errno.h>
#include <sys/inotify.h>
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/tombstone.h"
#include "fs/wake.h"

#define SCAN_BATCH 64 /* objects a round of the loop */

bool notify_known(struct session *s, uint64_t number)
{
	return fuse_lowlevel_notify_inval_inode(s->fuse, number, -1, 0) !=
	       -ENOENT;
}

/* What was answered may be on its way: that the kernel does not know it yet
 * counts for nothing but what an earlier daemon gave it. */
static bool known(struct session *s, struct inode *i)
{
	if (!inode_known(i))
		return false;
	if (notify_known(s, i->number))
		i->arrived = true;
	else
		i->inherited = false;
	return inode_known(i);
}

static bool watchable(const struct file *f)
{
	return file_inotify(f) & IN_MODIFY;
}

/* Whoever watches a directory is told of files that nobody has looked up. */
static bool directory_known(
    struct session *s, const struct file *f, const struct object *o)
{
	const struct file *dir = file_of_place(f->place);

	return f->place == PLACE_ROOT ||
	       known(s, inode_find(s->inodes, inode_number(dir, o)));
}

/* Its inode, when there is something to be done with it. */
static struct inode *concerned(
    struct session *s, const struct file *f, const struct object *o)
{
	uint64_t number = inode_number(f, o);
	struct inode *i = inode_find(s->inodes, number);
	bool is_known = s->mounted && known(s, i);

	if (!s->mounted || !watchable(f))
		return i;
	if (!is_known && !directory_known(s, f, o))
		return i;
	i = inode_get(s->inodes, number);
	wake_changed(s->wake, i);
	return i;
}

static void file_changed(
    struct session *s, const struct file *f, const struct object *o)
{
	struct inode *i = concerned(s, f, o);
	struct handle *h, *next;

	if (!i)
		return;
	for (h = i->handles; h; h = next) {
		next = h->next;
		ops_wake(h);
		ops_poll_wake(h);
	}
	inode_trim(s->inodes, i);
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

/* --- what comes and goes --- */

/* Is it a call of a user that makes or removes it?  The kernel tells watchers
 * of that by itself. */
static bool by_user(
    const struct session *s, const struct file *each, const struct object *o)
{
	for (const struct request *q = s->requests; q; q = q->next) {
		if (q->name && STREQ(q->name, object_name(o)) &&
		    file_each(q->file->leads) == each)
			return true;
	}
	return false;
}

/* Directories that list objects of this kind. */
static void directories_changed(
    struct session *s, struct object *o, bool appeared)
{
	enum object_kind kind = object_kind(o);

	s->listed[kind] = now_real();
	for (size_t i = 0; i < n_files; i++) {
		const struct file *each = files[i].kind == FILE_DIRECTORY
					      ? file_each(files[i].leads)
					      : NULL;
		struct named n = {
		    .file = &files[i], .object = cluster_root(s->cluster)};
		struct inode *inode;

		if (!each || each->each != kind)
			continue;
		file_changed(s, &files[i], NULL);
		inode = inode_find(s->inodes, inode_number(n.file, NULL));
		if (inode_known(inode) && !by_user(s, each, o))
			wake_entry(s->wake, &n, appeared, each, o);
	}
}

void notify_appeared(struct object *o, void *session)
{
	directories_changed(session, o, true);
}

void notify_returned(struct session *s, const struct named *n)
{
	struct named dir = {
	    .file = file_of_place(n->file->place), .object = n->object};
	struct inode *i;

	file_changed(s, dir.file, dir.object);
	i = inode_find(s->inodes, named_number(&dir));
	if (inode_known(i))
		wake_entry(s->wake, &dir, true, n->file, n->object);
}

/* Last call for the object: no handle may point to it after this. */
static void orphan(
    struct session *s, const struct file *f, const struct object *o)
{
	struct inode *i = inode_find(s->inodes, inode_number(f, o));
	struct handle *h, *next;

	if (!i)
		return;
	wake_forget(s->wake, i);
	for (h = i->handles; h; h = next) {
		next = h->next;
		if (h->object != o)
			continue;
		h->object = NULL;
		ops_orphan(h);
		ops_wake(h);
		ops_poll_wake(h);
	}
	inode_trim(s->inodes, i);
}

void notify_vanishing(struct object *o, void *session)
{
	struct session *s = session;
	enum object_kind kind = object_kind(o);

	for (size_t i = 0; i < n_files; i++) {
		if (file_owner(&files[i]) != kind)
			continue;
		orphan(s, &files[i], o);
		tombstone_forget(s->tombstones, inode_number(&files[i], o));
		scratch_forget(s->scratches, inode_number(&files[i], o));
	}
	directories_changed(s, o, false);
}

/* --- after the death of a daemon --- */

static void scan_object(struct session *s, const struct object *o)
{
	for (size_t i = 0; i < n_files; i++) {
		uint64_t number;

		if (file_owner(&files[i]) != object_kind(o))
			continue;
		number = inode_number(&files[i], o);
		if (notify_known(s, number))
			inode_get(s->inodes, number)->inherited = true;
		concerned(s, &files[i], o);
	}
}

static void scan(void *userdata)
{
	struct session *s = userdata;

	for (int i = 0; i < SCAN_BATCH; i++) {
		struct object *o = s->scan_kind == OBJECT_CLUSTER
				       ? NULL
				       : cluster_next(s->cluster, s->scan_kind,
					     s->scan_number);

		if (s->scan_kind == OBJECT_CLUSTER)
			scan_object(s, cluster_root(s->cluster));
		if (o) {
			scan_object(s, o);
			s->scan_number = object_number(o);
			continue;
		}
		s->scan_number = 0;
		if (++s->scan_kind == OBJECT_KINDS)
			return;
	}
	loop_kick(s->scan);
}

int notify_scan(struct session *s)
{
	int r = loop_add_idle(s->loop, scan, s, &s->scan);

	if (r < 0)
		return r;
	scan(s);
	return 0;
}
