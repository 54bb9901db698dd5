// SPDX-License-Identifier: Apache-2.0
/*
 * Requests about open files.  What can't be answered yet waits in park.c; what
 * goes to the cluster is answered by its reply.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>
#include "fs/ops.h"
#include "fs/scratch.h"
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

struct request *request_of(fuse_req_t req, const struct handle *h)
{
	struct named n = {
	    .file = h->file, .object = h->object, .scratch = h->scratch};
	struct request *q = request_new(req, &n);

	q->handle = h->id;
	return q;
}

/* --- open and release --- */

int ops_wanted(const struct fuse_file_info *fi)
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
void ops_drop_reopened(struct session *s)
{
	struct handle *h = slots_again(s->slots) && s->reopened
			       ? handle_find(s, s->reopened)
			       : NULL;

	if (h)
		handle_free(h);
	s->reopened = 0;
}

int ops_open_handle(fuse_req_t req, const struct named *n,
    struct fuse_file_info *fi, struct handle **ret)
{
	struct session *s = ops_session(req);
	int r = 0;

	if (n->scratch && (fi->flags & O_TRUNC))
		r = scratch_truncate(n->scratch, 0);
	if (r == 0)
		r = handle_new(s, n, fi->flags, fuse_req_ctx(req)->pid, ret);
	if (r < 0)
		return r;
	assert(*ret);
	if (n->file->kind == FILE_DOCUMENT)
		ops_transaction(*ret);
	fi->fh = (*ret)->id;
	fi->direct_io = 1;
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
	return 0;
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
	ops_drop_reopened(s);
	if (r >= 0)
		r = ops_allowed(req, &n, ops_wanted(fi));
	if (r >= 0)
		r = ops_open_handle(req, &n, fi, &h);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
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

static void write_scratch(fuse_req_t req, struct scratch *scratch,
    const char *data, size_t size, off_t off)
{
	ssize_t n = scratch_write(scratch, (uint64_t)off, data, size);

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
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
	if (h->scratch) {
		write_scratch(req, h->scratch, data, size, off);
		return;
	}
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
	case FILE_SCRATCH:
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
