// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that make, move and take away names of files.  Names of the table
 * stay, but for the moment that a tool needs to write spec anew (tombstone.h);
 * other names, in directories with a document, are temporary files (scratch.h).
 * Any of these may be served twice: what the first service did is known by the
 * request that made it, or by what is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/slots.h"
#include "fs/tombstone.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* A directory whose names the caller may change. */
static int changeable(fuse_req_t req, fuse_ino_t ino, struct named *ret)
{
	return ops_directory(req, ino, W_OK | X_OK, ret);
}

/* The row that this name has in a directory, also while it is gone. */
static bool row_of(const struct named *dir, const char *name, struct named *ret)
{
	*ret = (struct named){.file = file_by_name(dir->file->leads, name),
	    .object = dir->object};
	return ret->file != NULL;
}

/* Was it made by the request that is served again? */
static bool made_before(const struct session *s, const struct scratch *x)
{
	return slots_again(s->slots) && x->made_by == slots_unique(s->slots);
}

/* What is not there was taken away before an earlier daemon could answer. */
static int gone(const struct session *s)
{
	return slots_again(s->slots) ? 0 : -ENOENT;
}

/* A new temporary file of the caller's. */
static int make(fuse_req_t req, const struct named *dir, const char *name,
    mode_t mode, struct scratch **ret)
{
	struct session *s = ops_session(req);
	const struct fuse_ctx *who = fuse_req_ctx(req);
	const struct scratch_attr attr = {
	    .mode = mode, .uid = who->uid, .gid = who->gid};
	struct scratch *x;
	int r;

	if (!place_takes_scratch(dir->file->leads))
		return -EPERM;
	r = scratch_new(s->scratches, &attr, slots_unique(s->slots), &x);
	if (r < 0)
		return r;
	r = scratch_name(s->scratches, x, named_number(dir), name);
	if (r < 0) {
		scratch_drop(s->scratches, x);
		return r;
	}
	*ret = x;
	return 0;
}

/* --- create --- */

/* A name of the table: it is opened, and one that is gone is back. */
static int create_row(
    fuse_req_t req, const struct named *n, struct fuse_file_info *fi)
{
	struct session *s = ops_session(req);

	if (tombstone_covers(s->tombstones, named_number(n)))
		fi->flags |= O_TRUNC;
	else if ((fi->flags & O_EXCL) && !slots_again(s->slots))
		return -EEXIST;
	return ops_allowed(req, n, ops_wanted(fi));
}

static int create_scratch(fuse_req_t req, const struct named *dir,
    const char *name, mode_t mode, const struct fuse_file_info *fi,
    struct named *ret)
{
	struct session *s = ops_session(req);
	struct scratch *x = scratch_find(s->scratches, named_number(dir), name);
	int r = 0;

	*ret = (struct named){.file = &scratch_file, .scratch = x};
	if (!x) {
		r = make(req, dir, name, S_IFREG | (mode & 01777), &x);
		ret->scratch = x;
	} else if (!made_before(s, x)) {
		r = (fi->flags & O_EXCL)
			? -EEXIST
			: ops_allowed(req, ret, ops_wanted(fi));
	}
	return r;
}

static void reply_create(
    fuse_req_t req, const struct named *n, struct fuse_file_info *fi)
{
	struct session *s = ops_session(req);
	struct fuse_entry_param e;
	struct handle *h;
	int r = ops_open_handle(req, n, fi, &h);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	tombstone_lift(s->tombstones, named_number(n));
	ops_entry(s, n, true, &e);
	if (fuse_reply_create(req, &e, fi) < 0) {
		/* The caller went away: there is no release. */
		ops_unlook(s, e.ino, 1);
		handle_free(h);
	}
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    struct fuse_file_info *fi)
{
	struct named dir, n;
	int r = changeable(req, parent, &dir);

	ops_drop_reopened(ops_session(req));
	if (r == 0 && !row_of(&dir, name, &n))
		r = create_scratch(req, &dir, name, mode, fi, &n);
	else if (r == 0)
		r = create_row(req, &n, fi);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_create(req, &n, fi);
}

/* --- other kinds of files --- */

static void refuse_in(fuse_req_t req, fuse_ino_t parent)
{
	struct named dir;
	int r = changeable(req, parent, &dir);

	fuse_reply_err(req, r < 0 ? -r : EPERM);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    dev_t device)
{
	struct named dir;

	if (ops_expected(req, parent, name) &&
	    ops_resolve(req, parent, &dir) == 0)
		ops_make_expected(req, &dir, name);
	else
		refuse_in(req, parent);
}

void op_link(
    fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	refuse_in(req, parent);
}

static int make_link(fuse_req_t req, const struct named *dir, const char *name,
    const char *to, struct named *ret)
{
	struct session *s = ops_session(req);
	size_t len = strlen(to);
	struct scratch *x = scratch_find(s->scratches, named_number(dir), name);
	ssize_t r = 0;

	if (len > SCRATCH_LINK_MAX)
		return -ENAMETOOLONG;
	if (x && !made_before(s, x))
		return -EEXIST;
	if (!x)
		r = make(req, dir, name, S_IFLNK | 0777, &x);
	if (r < 0)
		return (int)r;
	r = scratch_write(x, 0, to, len);
	if (r < 0) {
		scratch_unlink(s->scratches, x);
		return (int)r;
	}
	*ret = (struct named){.file = &scratch_file, .scratch = x};
	return 0;
}

void op_symlink(
    fuse_req_t req, const char *to, fuse_ino_t parent, const char *name)
{
	struct named dir, n;
	int r = changeable(req, parent, &dir);

	if (r == 0 && row_of(&dir, name, &n))
		r = -EPERM;
	if (r == 0)
		r = make_link(req, &dir, name, to, &n);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		ops_reply_entry(req, &n);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	_cleanup_free_ char *to = NULL;
	struct named n;
	const char *text;
	size_t len;

	if (ops_resolve(req, ino, &n) < 0 || !n.scratch ||
	    !S_ISLNK(n.scratch->attr.mode)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	text = scratch_bytes(n.scratch, &len);
	to = xstrndup(text, len);
	fuse_reply_readlink(req, to);
}

/* --- unlink --- */

static int take_away(struct session *s, const struct named *n)
{
	if (n->scratch) {
		scratch_unlink(s->scratches, n->scratch);
		return 0;
	}
	if (n->file->kind == FILE_DIRECTORY)
		return -EISDIR;
	if (!file_may_go(n->file))
		return -EPERM;
	tombstone_set(s->tombstones, named_number(n));
	return 0;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct session *s = ops_session(req);
	struct named dir, n;
	int r;

	if (ops_expected(req, parent, name)) {
		fuse_reply_err(req, 0);
		return;
	}
	r = changeable(req, parent, &dir);
	if (r == 0)
		r = ops_child(s, &dir, name, &n) == 0 ? take_away(s, &n)
						      : gone(s);
	fuse_reply_err(req, -r);
}

/* --- rename --- */

struct move {
	struct named from_dir, to_dir; /* directories */
	struct named from, to;         /* to.file NULL: the name is free */
	const char *name;              /* the new one */
};

/* Refused, the document stays: its name as well. */
static void bring_back(struct session *s, uint64_t inode)
{
	struct named n;

	if (!tombstone_covers(s->tombstones, inode))
		return;
	tombstone_lift(s->tombstones, inode);
	if (inode_resolve(s->cluster, inode, &n) == 0)
		notify_returned(s, &n);
}

static void replaced(int code, void *userdata)
{
	struct request *q = userdata;
	struct session *s = q->session;
	struct scratch *x = scratch_get(s->scratches, q->scratch);

	if (code < 0)
		bring_back(s, q->inode);
	else
		tombstone_lift(s->tombstones, q->inode);
	if (code == 0 && x)
		scratch_unlink(s->scratches, x);
	fuse_reply_err(request_done(q), -code);
}

/* An editor whose write was refused renames its backup back.  That is no new
 * document: why the last one was refused must stay to be read. */
static bool is_undone(const struct move *m, const char *text, size_t len)
{
	_cleanup_buf_ struct buf now = {0};

	return m->from.scratch->backup &&
	       cluster_document(m->to.object, m->to.file->document, &now) ==
		   0 &&
	       now.len == len && memcmp(now.data, text, len) == 0;
}

/* The content of a temporary file becomes the document.  Answers, or returns
 * why not. */
static int put_document(fuse_req_t req, const struct move *m)
{
	struct session *s = ops_session(req);
	struct err err = ERR_INIT;
	struct request *q;
	const char *text;
	size_t len;
	int r = ops_allowed(req, &m->to, W_OK);

	if (m->to.file->kind != FILE_DOCUMENT)
		return -EPERM;
	if (r < 0)
		return r;
	text = scratch_bytes(m->from.scratch, &len);
	if (!S_ISREG(m->from.scratch->attr.mode))
		r = err_set(&err, -EINVAL, "a symbolic link is no document");
	else if (spec_json_state(text, len, &err) == JSON_EMPTY)
		r = err_set(&err, -EINVAL, "an empty file is no document");
	if (r < 0) {
		bring_back(s, named_number(&m->to));
		ops_tell(s, named_number(&m->to), m->to.file->name, r, &err);
		return r;
	}
	q = request_new(req, &m->to);
	q->scratch = m->from.scratch->number;
	if (is_undone(m, text, len)) {
		replaced(0, q);
		return 0;
	}
	ops_replace(s, &m->to, text, len, replaced, q);
	return 0;
}

static int move_scratch(struct session *s, const struct move *m)
{
	struct scratch *x = m->from.scratch;

	if (!place_takes_scratch(m->to_dir.file->leads))
		return -EPERM;
	if (m->to.scratch == x)
		return 0;
	if (strlen(m->name) > SCRATCH_NAME_MAX)
		return -ENAMETOOLONG;
	if (m->to.scratch)
		scratch_unlink(s->scratches, m->to.scratch);
	return scratch_name(s->scratches, x, named_number(&m->to_dir), m->name);
}

/* The document stays, under a name that is gone for a moment; the new name has
 * a copy. */
static int back_up(struct session *s, const struct move *m)
{
	const struct scratch_attr attr = {
	    .mode = S_IFREG | m->from.file->mode, .uid = s->uid, .gid = s->gid};
	_cleanup_buf_ struct buf text = {0};
	struct move copy = *m;
	struct scratch *x = NULL;
	ssize_t n;
	int r = cluster_document(m->from.object, m->from.file->document, &text);

	if (r < 0)
		return r;
	r = scratch_new(s->scratches, &attr, slots_unique(s->slots), &x);
	if (r < 0)
		return r;
	copy.from = (struct named){.file = &scratch_file, .scratch = x};
	x->backup = true;
	n = scratch_write(x, 0, text.data, text.len);
	r = n < 0 ? (int)n : move_scratch(s, &copy);
	if (r < 0) {
		scratch_drop(s->scratches, x);
		return r;
	}
	tombstone_set(s->tombstones, named_number(&m->from));
	return 0;
}

/* Looks both names up. */
static int find_both(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t new_parent, struct move *m)
{
	struct session *s = ops_session(req);
	int r = changeable(req, parent, &m->from_dir);

	if (r == 0)
		r = changeable(req, new_parent, &m->to_dir);
	if (r < 0)
		return r;
	/* The row of the new name, if it has one, also while it is gone. */
	if (ops_child(s, &m->to_dir, m->name, &m->to) < 0 &&
	    !row_of(&m->to_dir, m->name, &m->to))
		m->to = (struct named){0};
	return ops_child(s, &m->from_dir, name, &m->from);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	struct session *s = ops_session(req);
	struct move m = {.name = new_name};
	int r = (flags & ~(unsigned)RENAME_NOREPLACE)
		    ? -EINVAL
		    : find_both(req, parent, name, new_parent, &m);
	bool row = r == 0 && m.to.file && !m.to.scratch;

	if (r == -ENOENT && !m.from.scratch && slots_again(s->slots)) {
		fuse_reply_err(req, 0);
		return;
	}
	if (r == 0 && (flags & RENAME_NOREPLACE) && m.to.file &&
	    !tombstone_covers(s->tombstones, named_number(&m.to)))
		r = -EEXIST;
	if (r == 0 && m.from.scratch && row) {
		r = put_document(req, &m);
		if (r == 0)
			return; /* it answers */
	} else if (r == 0 && m.from.scratch) {
		r = move_scratch(s, &m);
	} else if (r == 0) {
		r = row || !file_may_go(m.from.file) ? -EPERM : back_up(s, &m);
	}
	fuse_reply_err(req, -r);
}
