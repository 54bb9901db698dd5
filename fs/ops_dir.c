// SPDX-License-Identifier: Apache-2.0
/*
 * Requests about directories: listing them, and objects that come and go by
 * mkdir and rmdir.
 */
#include <errno.h>
#include <unistd.h>
#include "fs/memory.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/slots.h"
#include "fs/tombstone.h"
#include "fs/wake.h"

/* --- directories --- */

/* Offsets: 1 is after ".", 2 after "..", i + 3 after row i of the table,
 * EACH + number after an object, the inode's number after a temporary file:
 * they stay right while these come and go. */
#define EACH (1ULL << 32)

struct listing {
	fuse_req_t req;
	struct session *session;
	struct named dir;
	bool plus;
	char *data;
	size_t size, used;
	struct buf counted; /* inode numbers that the kernel will know */
};

/* false: it is full. */
static bool list_one(struct listing *l, const char *name, const struct named *n,
    bool dots, uint64_t next)
{
	struct fuse_entry_param e = {.attr.st_mode = S_IFDIR};
	size_t room = l->size - l->used, need;

	if (dots) {
		e.attr.st_ino = named_number(n);
	} else if (l->plus) {
		ops_entry(l->session, n, false, &e);
	} else {
		e.attr.st_ino = named_number(n);
		if (n->scratch)
			e.attr.st_mode = n->scratch->attr.mode;
		else if (n->file->kind != FILE_DIRECTORY)
			e.attr.st_mode = S_IFREG;
	}
	if (!l->plus) {
		need = fuse_add_direntry(l->req, l->data + l->used, room, name,
		    &e.attr, (off_t)next);
	} else {
		need = fuse_add_direntry_plus(
		    l->req, l->data + l->used, room, name, &e, (off_t)next);
	}
	if (need > room)
		return false;
	l->used += need;
	if (l->plus && !dots) {
		inode_get(l->session->inodes, e.ino)->lookups++;
		buf_append(&l->counted, &e.ino, sizeof(e.ino));
	}
	return true;
}

static bool list_rows(struct listing *l, uint64_t off)
{
	enum place place = l->dir.file->leads;
	struct named up = {.file = file_of_place(l->dir.file->place)};

	up.object = cluster_root(l->session->cluster);
	if (off < 1 && !list_one(l, ".", &l->dir, true, 1))
		return false;
	if (off < 2 && !list_one(l, "..", &up, true, 2))
		return false;
	for (size_t i = off < 3 ? 0 : off - 2; i < n_files; i++) {
		struct named n = {.file = &files[i], .object = l->dir.object};

		if (files[i].place == place && files[i].name &&
		    !tombstone_covers(
			l->session->tombstones, named_number(&n)) &&
		    !list_one(l, files[i].name, &n, false, i + 3))
			return false;
	}
	return true;
}

static void list_scratches(struct listing *l, uint64_t off)
{
	struct named n = {.file = &scratch_file};
	uint64_t number = off > EACH ? off : 0;

	while ((n.scratch = scratch_next(
		    l->session->scratches, named_number(&l->dir), number))) {
		number = n.scratch->number;
		if (!list_one(l, n.scratch->name, &n, false, number))
			return;
	}
}

static void list(struct listing *l, uint64_t off)
{
	const struct file *each = file_each(l->dir.file->leads);
	uint32_t number = off > EACH ? (uint32_t)(off - EACH) : 0;
	struct named n = {.file = each};

	if (off < EACH && !list_rows(l, off))
		return;
	if (!each) {
		list_scratches(l, off);
		return;
	}
	while ((
	    n.object = cluster_next(l->session->cluster, each->each, number))) {
		number = object_number(n.object);
		if (!list_one(
			l, object_name(n.object), &n, false, EACH + number))
			return;
	}
}

static void read_directory(
    fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct listing l = {.req = req,
	    .session = ops_session(req),
	    .plus = plus,
	    .size = size};
	int r = ops_directory(req, ino, 0, &l.dir);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	l.data = xmalloc(size);
	list(&l, (uint64_t)off);
	r = fuse_reply_buf(req, l.data, l.used);
	for (size_t i = 0; r < 0 && i < l.counted.len; i += sizeof(uint64_t)) {
		uint64_t number;

		memcpy(&number, l.counted.data + i, sizeof(number));
		ops_unlook(l.session, number, 1);
	}
	buf_done(&l.counted);
	free(l.data);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct named n;
	int r = ops_directory(req, ino, R_OK, &n);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_open(req, fi);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	read_directory(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	read_directory(req, ino, size, off, true);
}

/* --- objects come and go --- */

/* In a place that holds one directory for each object, and only there. */
static int holder(fuse_req_t req, fuse_ino_t parent, struct named *ret)
{
	int r = ops_directory(req, parent, W_OK | X_OK, ret);
	const struct file *each = r == 0 ? file_each(ret->file->leads) : NULL;

	if (r == 0 && (!each || each->kind != FILE_DIRECTORY))
		r = -EPERM;
	return r;
}

static void made(int code, const struct err *err, void *userdata)
{
	struct request *q = userdata;
	struct session *s = q->session;
	const struct file *each = file_each(q->file->leads);
	struct named n = {.file = each};
	uint64_t number;

	/* It was made before the earlier daemon could answer. */
	if (code == -EEXIST && q->again)
		code = 0;
	ops_tell(s, q->inode, q->file->name, code, err);
	if (code == 0)
		n.object = cluster_find(s->cluster, each->each, q->name);
	if (!n.object) {
		fuse_reply_err(request_done(q), code < 0 ? -code : ENOENT);
		return;
	}
	/* Somebody is still in a removed directory of this number: the kernel
	 * must not mix them up. */
	number = inode_number(each, n.object);
	if (notify_known(s, number))
		memory_generation_next(s->memory, number);
	ops_reply_entry(request_done(q), &n);
}

/* A file of each node must not get the name of another file of its place. */
static bool name_clashes(enum object_kind kind, const char *name)
{
	for (size_t i = 0; i < n_files; i++) {
		if (!files[i].name && files[i].each == kind &&
		    file_by_name(files[i].place, name))
			return true;
	}
	return false;
}

static struct request *about(
    fuse_req_t req, const struct named *dir, const char *name)
{
	struct request *q = request_new(req, dir);

	q->name = xstrdup(name);
	q->again = slots_again(q->session->slots);
	return q;
}

/* What the herald does must never act, even when an order of an earlier daemon
 * reaches it late. */
bool ops_herald_makes(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct session *s = ops_session(req);
	struct named dir, n;

	if (!ops_is_herald(req))
		return false;
	if (!wake_expects(s->wake, parent, name, NULL) ||
	    ops_resolve(req, parent, &dir) < 0)
		fuse_reply_err(req, EEXIST);
	else if (ops_child(s, &dir, name, &n) == 0)
		ops_reply_entry(req, &n);
	else /* and gone again */
		ops_reply_ghost(req, &dir, name);
	return true;
}

bool ops_herald_takes(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!ops_is_herald(req))
		return false;
	fuse_reply_err(req,
	    wake_expects(ops_session(req)->wake, parent, name, NULL) ? 0
								     : ENOENT);
	return true;
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct session *s = ops_session(req);
	struct err err = ERR_INIT;
	struct named dir;
	enum object_kind kind;
	int r;

	if (ops_herald_makes(req, parent, name))
		return;
	r = holder(req, parent, &dir);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	kind = file_each(dir.file->leads)->each;
	if (name_clashes(kind, name)) {
		err_set(&err, -EINVAL,
		    "%s: no %s may have this name, another "
		    "file has it",
		    name, object_kind_name(kind));
		ops_tell(s, parent, dir.file->name, err.code, &err);
		fuse_reply_err(req, EINVAL);
		return;
	}
	cluster_make(s->cluster, kind, name, made, about(req, &dir, name));
}

static void removed(int code, const struct err *err, void *userdata)
{
	struct request *q = userdata;

	ops_tell(q->session, q->inode, q->file->name, code, err);
	fuse_reply_err(request_done(q), -code);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct session *s = ops_session(req);
	struct named dir, n = {0};
	int r;

	if (ops_herald_takes(req, parent, name))
		return;
	r = ops_directory(req, parent, W_OK | X_OK, &dir);
	if (r >= 0)
		r = ops_child(s, &dir, name, &n);
	if (r == -ENOENT && slots_again(s->slots)) {
		/* It was removed before the earlier daemon could answer. */
		fuse_reply_err(req, 0);
		return;
	}
	if (r >= 0 && n.file->kind != FILE_DIRECTORY)
		r = -ENOTDIR;
	if (r >= 0 && n.file->name)
		r = -EPERM;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		cluster_remove(s->cluster, n.file->each, name, removed,
		    about(req, &dir, name));
}
