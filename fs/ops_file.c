// SPDX-License-Identifier: Apache-2.0
/*
 * Requests about open files.  What can't be answered yet waits in park.c; what
 * goes to the cluster is answered by its reply.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>
#include "fs/ops.h"
#include "fs/slots.h"
#include "fs/transaction.h"
#include "fs/wake.h"

/* The handle of a request, or NULL: it was answered. */
static struct handle *handle_of(
    fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct handle *h;
	int r = handle_get(ops_session(req), fi->fh, ino, fi->flags, &h);

	if (r == 0)
		return h;
	fuse_reply_err(req, -r);
	return NULL;
}

static struct request *request_of(fuse_req_t req, const struct handle *h)
{
	struct named n = {h->file, h->object};
	struct request *q = request_new(req, &n);

	q->handle = h->id;
	return q;
}

/* --- open and release --- */

static int wanted(const struct fuse_file_info *fi)
{
	int mask = (fi->flags & O_TRUNC) ? W_OK : 0;

	switch (fi->flags & O_ACCMODE) {
	case O_RDONLY:
		return mask | R_OK;
	case O_WRONLY:
		return mask | W_OK;
	default:
		return mask | R_OK | W_OK;
	}
}

/* A terminal has no place: so that its reader and its writer, who may share a
 * descriptor, don't wait for each other.  libfuse 3.14 has no field for it. */
static int reply_terminal(fuse_req_t req, const struct handle *h)
{
	struct fuse_open_out out = {
	    .fh = h->id, .open_flags = FOPEN_DIRECT_IO | FOPEN_STREAM};

	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

/* Its writes, known by this number, change nothing. */
static void open_herald(fuse_req_t req, struct fuse_file_info *fi)
{
	fi->fh = WAKE_HANDLE;
	fi->direct_io = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

/* Served again: nobody knows the handle that it made. */
static void drop_reopened(struct session *s)
{
	struct handle *h = slots_again(s->slots) && s->reopened
			       ? handle_find(s, s->reopened)
			       : NULL;

	if (h)
		handle_free(h);
	s->reopened = 0;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *s = ops_session(req);
	struct handle *h = NULL;
	struct named n;
	int r = ops_resolve(req, ino, &n);

	if (ops_is_herald(req)) {
		open_herald(req, fi);
		return;
	}
	drop_reopened(s);
	if (r >= 0)
		r = ops_allowed(req, n.file, wanted(fi));
	if (r >= 0)
		r = handle_new(s, &n, fi->flags, fuse_req_ctx(req)->pid, &h);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	if (n.file->kind == FILE_DOCUMENT)
		ops_transaction(h);
	fi->fh = h->id;
	fi->direct_io = 1;
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
	r = handle_is_terminal(h) ? reply_terminal(req, h)
				  : fuse_reply_open(req, fi);
	if (r < 0) /* the caller went away: there is no release */
		handle_free(h);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_find(ops_session(req), fi->fh);

	if (h && h->transaction) {
		ops_release_transaction(h, request_of(req, h));
		return;
	}
	if (h)
		handle_free(h);
	fuse_reply_err(req, 0);
}

/* --- reading and writing --- */

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	struct handle *h = handle_of(req, ino, fi);

	if (h)
		ops_serve(h, req, false, (uint64_t)off, NULL, size, fi);
}

static void commanded(int code, const struct err *err, void *userdata)
{
	struct request *q = userdata;
	size_t len = q->len;

	ops_tell(q->session, q->inode, q->file->name, code, err);
	if (code < 0)
		fuse_reply_err(request_done(q), -code);
	else
		fuse_reply_write(request_done(q), len);
}

static void command(
    fuse_req_t req, struct handle *h, const char *data, size_t size)
{
	struct render r = session_render(h->session, h->object);
	struct request *q = request_of(req, h);

	q->len = size;
	h->file->write(&r, data, size, commanded, q);
}

static void written(int code, void *userdata)
{
	struct request *q = userdata;
	size_t len = q->len;

	if (code < 0)
		fuse_reply_err(request_done(q), -code);
	else
		fuse_reply_write(request_done(q), len);
}

/* flush does not say who opened: told by the pid until the lock owner of that
 * process is known. */
static bool is_opener(
    fuse_req_t req, struct handle *h, const struct fuse_file_info *fi)
{
	bool same_pid = fuse_req_ctx(req)->pid == h->opener;

	if (h->owner_known)
		return fi->lock_owner == h->owner;
	if (same_pid && fi->lock_owner) {
		h->owner = fi->lock_owner;
		h->owner_known = true;
		handle_keep(h);
	}
	return same_pid;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
    off_t off, struct fuse_file_info *fi)
{
	struct handle *h;
	struct request *q;

	if (fi->fh == WAKE_HANDLE) {
		fuse_reply_write(req, size);
		return;
	}
	h = handle_of(req, ino, fi);
	if (!h)
		return;
	if (!h->object) {
		fuse_reply_err(req, ENODEV);
		return;
	}
	is_opener(req, h, fi);
	switch (h->file->kind) {
	case FILE_CONSOLE:
		ops_serve(h, req, true, 0, data, size, fi);
		return;
	case FILE_DOCUMENT:
		q = request_of(req, h);
		q->len = size;
		transaction_write(ops_transaction(h),
		    slots_unique(h->session->slots), (uint64_t)off, data, size,
		    written, q);
		return;
	case FILE_TEXT:
		command(req, h, data, size);
		return;
	case FILE_DIRECTORY:
	case FILE_STREAM:
	case FILE_WAIT:
	case FILE_KINDS:
		break;
	}
	fuse_reply_err(req, EBADF);
}

static void flushed(int code, void *userdata)
{
	fuse_reply_err(request_done(userdata), -code);
}

static void flush(fuse_req_t req, struct handle *h, bool opener)
{
	if (!h->transaction)
		fuse_reply_err(req, 0);
	else if (!h->object)
		fuse_reply_err(req, ENODEV);
	else
		transaction_flush(
		    h->transaction, opener, flushed, request_of(req, h));
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(req, ino, fi);

	if (h)
		flush(req, h, is_opener(req, h, fi));
}

void op_fsync(
    fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(req, ino, fi);

	if (h)
		flush(req, h, true);
}

/* --- attributes of an open file --- */

static void reply_attr(fuse_req_t req, const struct named *n, struct handle *h)
{
	struct stat st;

	ops_attr(ops_session(req), n, &st);
	if (h)
		st.st_size = (off_t)handle_size(h);
	fuse_reply_attr(req, &st, OPS_FOR_EVER);
}

static void truncated(int code, void *userdata)
{
	struct request *q = userdata;
	struct handle *h = handle_find(q->session, q->handle);
	struct named n;

	if (code == 0)
		code = inode_resolve(q->session->cluster, q->inode, &n);
	if (code < 0)
		fuse_reply_err(request_done(q), -code);
	else
		reply_attr(request_done(q), &n, h);
}

/* Owner and mode are those of the table; times are those of the content. */
static int check_attr(
    fuse_req_t req, const struct named *n, const struct stat *attr, int to_set)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	struct session *s = ops_session(req);
	bool owner = who->uid == 0 || who->uid == s->uid;
	int now = FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
	int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;

	if ((to_set & FUSE_SET_ATTR_MODE) &&
	    (!owner || (attr->st_mode & 07777) != n->file->mode))
		return -EPERM;
	if ((to_set & FUSE_SET_ATTR_UID) && attr->st_uid != s->uid)
		return -EPERM;
	if ((to_set & FUSE_SET_ATTR_GID) && attr->st_gid != s->gid)
		return -EPERM;
	if ((to_set & (times | now)) && !owner)
		return (to_set & times) && !(to_set & now)
			   ? -EPERM
			   : ops_allowed(req, n->file, W_OK);
	return 0;
}

/* truncate(2) alone changes nothing; with a descriptor it begins the
 * transaction anew. */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
    struct fuse_file_info *fi)
{
	struct session *s = ops_session(req);
	struct handle *h = fi ? handle_find(s, fi->fh) : NULL;
	struct named n;
	int r = ops_resolve(req, ino, &n);

	if (r == 0)
		r = check_attr(req, &n, attr, to_set);
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE) && !h)
		r = ops_allowed(req, n.file, W_OK);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	if ((to_set & FUSE_SET_ATTR_SIZE) && h && h->object &&
	    n.file->kind == FILE_DOCUMENT && ops_transaction(h)) {
		transaction_truncate(h->transaction, (uint64_t)attr->st_size,
		    truncated, request_of(req, h));
		return;
	}
	if ((to_set & FUSE_SET_ATTR_SIZE) && attr->st_size != 0 &&
	    (uint64_t)attr->st_size != file_size(s, n.file, n.object, NULL))
		fuse_reply_err(req, EINVAL);
	else
		reply_attr(req, &n, h);
}

/* --- poll --- */

void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
    struct fuse_pollhandle *ph)
{
	struct handle *h = handle_of(req, ino, fi);

	if (!h) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		return;
	}
	if (ph) {
		ops_poll_forget(h);
		h->poll = ph;
	}
	fuse_reply_poll(req, handle_poll(h));
}
