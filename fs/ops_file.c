// SPDX-License-Identifier: Apache-2.0
/*
 * Requests about open files.  What can't be answered yet is parked on its
 * handle (a read with nothing to read, a keyboard that is full) and tried again
 * when notify.c says that something has changed; what goes to the cluster is
 * answered by its reply.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>
#include "fs/ops.h"
#include "fs/transaction.h"

static struct session *session_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The handle of a request, or NULL: it was answered. */
static struct handle *handle_of(
    fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct handle *h;
	int r = handle_get(session_of(req), fi->fh, ino, fi->flags, &h);

	if (r == 0)
		return h;
	fuse_reply_err(req, -r);
	return NULL;
}

/* --- documents: a transaction's way to the cluster ---------------------------
 */

struct writer { /* owner of a transaction; may live longer than the handle */
	struct session *session;
	uint64_t inode;
	const struct file *file;
	bool gone; /* the object was removed */
};

static int writer_object(const struct writer *w, struct object **ret)
{
	struct named n;

	if (w->gone || inode_resolve(w->session->cluster, w->inode, &n) < 0)
		return -ENODEV;
	*ret = n.object;
	return 0;
}

static int writer_prepare(void *owner, bool patch, const char *text, size_t len,
    transaction_reply_fn reply, void *userdata, struct draft **ret,
    struct err *err)
{
	const struct writer *w = owner;
	struct object *o;

	if (writer_object(w, &o) < 0)
		return err_set(err, -ENODEV, "it was removed");
	return cluster_prepare(
	    o, w->file->document, patch, text, len, reply, userdata, ret, err);
}

static int writer_current(void *owner, struct buf *ret)
{
	const struct writer *w = owner;
	struct object *o;
	int r = writer_object(w, &o);

	return r < 0 ? r : cluster_document(o, w->file->document, ret);
}

static void writer_tell(void *owner, const char *sentence)
{
	const struct writer *w = owner;
	struct object *o;

	if (writer_object(w, &o) == 0)
		cluster_refused(o, w->file->name, sentence);
}

static const struct transaction_target cluster_target = {
    .prepare = writer_prepare,
    .commit = cluster_commit,
    .drop = draft_free,
    .current = writer_current,
    .tell = writer_tell,
    .done = free,
};

void ops_orphan(struct handle *h)
{
	if (h->writer)
		h->writer->gone = true;
}

static void begin_transaction(struct handle *h)
{
	struct writer *w = xcalloc(1, sizeof(*w));

	w->session = h->session;
	w->inode = h->inode->number;
	w->file = h->file;
	h->writer = w;
	h->transaction = transaction_new(
	    &cluster_target, w, h->flags & O_APPEND, h->flags & O_TRUNC);
}

/* A handle that was made again has none. */
static struct transaction *transaction_of(struct handle *h)
{
	if (!h->transaction && (h->flags & O_ACCMODE) != O_RDONLY)
		begin_transaction(h);
	return h->transaction;
}

/* Dropped, with nothing told. */
void ops_drop_transaction(struct handle *h)
{
	transaction_free(TAKE_PTR(h->transaction));
	free(TAKE_PTR(h->writer));
}

/* --- open and release
 * ----------------------------------------------------------- */

static int wanted(const struct fuse_file_info *fi)
{
	int mask = fi->flags & O_TRUNC ? W_OK : 0;

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

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *s = session_of(req);
	struct handle *h = NULL;
	struct named n;
	int r = ops_resolve(req, ino, &n);

	if (r == 0)
		r = ops_allowed(req, n.file, wanted(fi));
	if (r == 0)
		r = handle_new(s, &n, fi->flags, fuse_req_ctx(req)->pid, &h);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	if (n.file->kind == FILE_DOCUMENT)
		transaction_of(h);
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
	struct handle *h = handle_find(session_of(req), fi->fh);

	if (h) {
		if (h->transaction) {
			h->writer = NULL; /* freed by done() */
			transaction_release(TAKE_PTR(h->transaction));
		}
		handle_free(h);
	}
	fuse_reply_err(req, 0);
}

/* --- what waits
 * ------------------------------------------------------------------- */

struct parked {
	struct handle *handle;
	fuse_req_t req;
	bool write;
	uint64_t off;
	size_t size;     /* of a read */
	struct buf data; /* of a write */
	size_t done;     /* of it */
	struct parked *next;
};

static void unlink_parked(struct parked *p)
{
	struct parked **i = &p->handle->parked;

	while (*i != p)
		i = &(*i)->next;
	*i = p->next;
}

/* Types; what is left is in p->data. */
static int type(struct parked *p)
{
	ssize_t n;

	if (!p->handle->object)
		return -ENODEV;
	while (p->done < p->data.len) {
		n = cluster_console_write(p->handle->object,
		    p->data.data + p->done, p->data.len - p->done);
		if (n == 0)
			n = -EAGAIN;
		if (n < 0)
			return (int)n;
		p->done += (size_t)n;
	}
	return 0;
}

static void end_parked(struct parked *p, int code)
{
	if (p->write && p->done > 0)
		fuse_reply_write(p->req, p->done);
	else
		fuse_reply_err(p->req, -code);
	buf_done(&p->data);
}

/* false: it must still wait. */
static bool try_parked(struct parked *p, bool may_wait)
{
	_cleanup_buf_ struct buf scratch = {0};
	const char *data;
	size_t len;
	int r = p->write ? type(p)
			 : handle_read(p->handle, p->off, p->size, &scratch,
			       &data, &len);

	if (r == -EAGAIN && may_wait)
		return false;
	if (r == 0 && !p->write)
		fuse_reply_buf(p->req, data, len);
	else
		end_parked(p, r);
	return true;
}

static void interrupted(fuse_req_t req, void *userdata)
{
	struct parked *p = userdata;

	unlink_parked(p);
	end_parked(p, -EINTR);
	free(p);
}

static void park(const struct parked *request)
{
	struct handle *h = request->handle;
	struct parked *p, **last = &h->parked;

	p = xmalloc(sizeof(*p));
	*p = *request;
	p->next = NULL;
	while (*last)
		last = &(*last)->next;
	*last = p;
	/* It must not call back from within: the request would be freed under
	 * its feet. */
	if (fuse_req_interrupted(p->req))
		interrupted(p->req, p);
	else
		fuse_req_interrupt_func(p->req, interrupted, p);
}

void ops_wake(struct handle *h)
{
	struct parked *p, **i = &h->parked;

	while ((p = *i)) {
		if (!try_parked(p, true)) {
			i = &p->next;
			continue;
		}
		*i = p->next;
		free(p);
	}
}

void ops_unpark(struct handle *h, int code)
{
	struct parked *p;

	while ((p = h->parked)) {
		h->parked = p->next;
		end_parked(p, code);
		free(p);
	}
}

static void serve(struct parked *p, const struct fuse_file_info *fi)
{
	if (!try_parked(p, !(fi->flags & O_NONBLOCK)))
		park(p);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	struct parked p = {.req = req, .off = (uint64_t)off, .size = size};

	p.handle = handle_of(req, ino, fi);
	if (p.handle)
		serve(&p, fi);
}

/* --- writing
 * ------------------------------------------------------------------------ */

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

static struct request *request_of(fuse_req_t req, const struct handle *h)
{
	struct named n = {h->file, h->object};
	struct request *q = request_new(req, &n);

	q->handle = h->id;
	return q;
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
	}
	return same_pid;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
    off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(req, ino, fi);
	struct parked p = {.req = req, .handle = h, .write = true};
	struct request *q;

	if (!h)
		return;
	if (!h->object) {
		fuse_reply_err(req, ENODEV);
		return;
	}
	is_opener(req, h, fi);
	switch (h->file->kind) {
	case FILE_CONSOLE:
		buf_append(&p.data, data, size);
		serve(&p, fi);
		return;
	case FILE_DOCUMENT:
		q = request_of(req, h);
		q->len = size;
		transaction_write(
		    transaction_of(h), (uint64_t)off, data, size, written, q);
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

/* --- attributes of an open file
 * ------------------------------------------------------ */

static void reply_attr(fuse_req_t req, const struct named *n, struct handle *h)
{
	struct stat st;

	ops_attr(session_of(req), n, &st);
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
	struct session *s = session_of(req);
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
	struct session *s = session_of(req);
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
	    n.file->kind == FILE_DOCUMENT && transaction_of(h)) {
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

/* --- poll
 * ------------------------------------------------------------------------------
 */

void ops_poll_forget(struct handle *h)
{
	if (h->poll)
		fuse_pollhandle_destroy(h->poll);
	h->poll = NULL;
}

void ops_poll_wake(struct handle *h)
{
	if (h->poll)
		fuse_lowlevel_notify_poll(h->poll);
	ops_poll_forget(h);
}

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
