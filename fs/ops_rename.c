// SPDX-License-Identifier: Apache-2.0
/*
 * rename: a temporary file moves, or becomes a document, whole or not at all
 * and on disk before the answer; spec leaves a copy under a backup's name and
 * its own name is gone for a moment.  May be served twice: what is not there
 * any more was moved before.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/slots.h"
#include "fs/tombstone.h"

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
	int r = ops_directory(req, parent, W_OK | X_OK, &m->from_dir);

	if (r == 0)
		r = ops_directory(req, new_parent, W_OK | X_OK, &m->to_dir);
	if (r < 0)
		return r;
	/* The row of the new name, if it has one, also while it is gone. */
	if (ops_child(s, &m->to_dir, m->name, &m->to) < 0 &&
	    !ops_row(&m->to_dir, m->name, &m->to))
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
