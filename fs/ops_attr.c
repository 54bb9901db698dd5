// SPDX-License-Identifier: Apache-2.0
/*
 * setattr: what chmod, chown, utimensat and truncate answer.  Attributes of
 * files of the table are those of the table and of the content; temporary files
 * take what they are given.
 */
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/transaction.h"

#define SET_NOW (FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)
#define SET_TIMES                                                              \
	(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME)

static void truncated(int code, void *userdata)
{
	struct request *q = userdata;
	struct handle *h = handle_find(q->session, q->handle);
	struct named n;

	if (code == 0)
		code = ops_named(q->session, q->inode, &n);
	if (code < 0)
		fuse_reply_err(request_done(q), -code);
	else
		ops_reply_attr(request_done(q), &n, h);
}

/* May they be set by this caller, who is the owner or not? */
static int check_times(
    fuse_req_t req, const struct named *n, bool owner, int to_set)
{
	if (owner || !(to_set & (SET_TIMES | SET_NOW)))
		return 0;
	if ((to_set & SET_TIMES) && !(to_set & SET_NOW))
		return -EPERM;
	return ops_allowed(req, n, W_OK);
}

/* --- files of the table --- */

/* Tools that copy set mode and owner when the content is in force already
 * (install, mv, cp -p): for a document that is no error, and no change. */
static int check_attr(
    fuse_req_t req, const struct named *n, const struct stat *attr, int to_set)
{
	struct session *s = ops_session(req);
	bool owner = ops_is_owner(req);
	bool lenient = owner && n->file->kind == FILE_DOCUMENT;

	if ((to_set & FUSE_SET_ATTR_MODE) && !lenient &&
	    (!owner || (attr->st_mode & 07777) != n->file->mode))
		return -EPERM;
	if ((to_set & FUSE_SET_ATTR_UID) && !lenient && attr->st_uid != s->uid)
		return -EPERM;
	if ((to_set & FUSE_SET_ATTR_GID) && !lenient && attr->st_gid != s->gid)
		return -EPERM;
	return check_times(req, n, owner, to_set);
}

/* truncate(2) alone changes nothing; with a descriptor it begins the
 * transaction anew. */
static void set_row(fuse_req_t req, const struct named *n,
    const struct stat *attr, int to_set, struct handle *h)
{
	struct session *s = ops_session(req);
	int r = check_attr(req, n, attr, to_set);

	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && !h)
		r = ops_allowed(req, n, W_OK);
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && h && h->object &&
	    n->file->kind == FILE_DOCUMENT && ops_transaction(h)) {
		transaction_truncate(h->transaction, (uint64_t)attr->st_size,
		    truncated, request_of(req, h));
		return;
	}
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && attr->st_size != 0 &&
	    (uint64_t)attr->st_size != file_size(s, n->file, n->object, NULL))
		r = -EINVAL;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		ops_reply_attr(req, n, h);
}

/* --- temporary files --- */

/* As chown(2) says: only root gives a file away. */
static int check_scratch(fuse_req_t req, const struct named *n,
    const struct stat *attr, int to_set, const struct handle *h)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	bool owner = who->uid == 0 || who->uid == n->scratch->attr.uid;

	if ((to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_GID)) && !owner)
		return -EPERM;
	if ((to_set & FUSE_SET_ATTR_UID) && who->uid != 0 &&
	    !(owner && attr->st_uid == who->uid))
		return -EPERM;
	if ((to_set & FUSE_SET_ATTR_SIZE) && !h &&
	    ops_allowed(req, n, W_OK) < 0)
		return -EACCES;
	return check_times(req, n, owner, to_set);
}

static void set_attr(
    struct scratch_attr *a, const struct stat *attr, int to_set)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (to_set & FUSE_SET_ATTR_MODE)
		a->mode = (a->mode & S_IFMT) | (attr->st_mode & 01777);
	if (to_set & FUSE_SET_ATTR_UID)
		a->uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		a->gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		a->atime = now;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		a->atime = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		a->mtime = now;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		a->mtime = attr->st_mtim;
}

static void set_scratch(fuse_req_t req, const struct named *n,
    const struct stat *attr, int to_set, struct handle *h)
{
	int r = check_scratch(req, n, attr, to_set, h);

	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE))
		r = scratch_truncate(n->scratch, (uint64_t)attr->st_size);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	set_attr(&n->scratch->attr, attr, to_set);
	scratch_keep(n->scratch);
	ops_reply_attr(req, n, h);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
    struct fuse_file_info *fi)
{
	struct handle *h = fi ? handle_find(ops_session(req), fi->fh) : NULL;
	struct named n;
	int r = ops_resolve(req, ino, &n);

	if (r < 0)
		fuse_reply_err(req, -r);
	else if (n.scratch)
		set_scratch(req, &n, attr, to_set, h);
	else
		set_row(req, &n, attr, to_set, h);
}
