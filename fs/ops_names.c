// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that make names of files and take them away.  Names of the table
 * stay, but for the moment that a tool needs to write spec anew (tombstone.h);
 * other names, in directories with a document, are temporary files (scratch.h).
 * Any of these may be served twice: what the first service did is known by the
 * request that made it, or by what is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/slots.h"
#include "fs/tombstone.h"

/* A directory whose names the caller may change. */
static int changeable(fuse_req_t req, fuse_ino_t ino, struct named *ret)
{
	return ops_directory(req, ino, W_OK | X_OK, ret);
}

bool ops_row(const struct named *dir, const char *name, struct named *ret)
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
	if (r == 0 && !ops_row(&dir, name, &n))
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
	if (!ops_herald_makes(req, parent, name))
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

	if (r == 0 && ops_row(&dir, name, &n))
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

	if (ops_herald_takes(req, parent, name))
		return;
	r = changeable(req, parent, &dir);
	if (r == 0)
		r = ops_child(s, &dir, name, &n) == 0 ? take_away(s, &n)
						      : gone(s);
	fuse_reply_err(req, -r);
}
