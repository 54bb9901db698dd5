// SPDX-License-Identifier: Apache-2.0
/*
 * What a transaction needs of the cluster and of its handle: it is the target
 * of every one.  A rename onto a document is one too, without a handle.  The
 * handle stays until the transaction is over, after its release too: so the
 * next daemon can go on with it.
 */
#include <errno.h>
#include <fcntl.h>
#include "fs/ops.h"
#include "fs/transaction.h"

struct writer {
	struct session *session;
	uint64_t inode;
	struct handle *handle;
	const struct file *file;
	bool gone;               /* the object was removed */
	struct request *release; /* to be answered when it is over */
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

static int writer_keep(void *owner, const struct transaction_state *state,
    size_t from, const char *text, size_t len)
{
	const struct writer *w = owner;

	return handle_keep_transaction(w->handle, from, text, len, state);
}

/* The transaction frees itself. */
static void writer_done(void *owner)
{
	struct writer *w = owner;
	struct handle *h = w->handle;
	struct request *release = w->release;

	h->transaction = NULL;
	h->writer = NULL;
	free(w);
	handle_free(h);
	fuse_reply_err(request_done(release), 0);
}

static const struct transaction_target cluster_target = {
    .prepare = writer_prepare,
    .commit = cluster_commit,
    .drop = draft_free,
    .current = writer_current,
    .tell = writer_tell,
    .keep = writer_keep,
    .done = writer_done,
};

void ops_orphan(struct handle *h)
{
	if (h->writer)
		h->writer->gone = true;
}

static struct writer *begin(struct handle *h)
{
	struct writer *w = xcalloc(1, sizeof(*w));

	w->session = h->session;
	w->handle = h;
	w->inode = h->inode->number;
	w->file = h->file;
	h->writer = w;
	return w;
}

void ops_restore_transaction(struct handle *h,
    const struct transaction_state *state, const char *text, size_t length)
{
	h->transaction =
	    transaction_restore(&cluster_target, begin(h), state, text, length);
}

/* A handle that was made again has none. */
struct transaction *ops_transaction(struct handle *h)
{
	if (!h->transaction && (h->flags & O_ACCMODE) != O_RDONLY)
		h->transaction = transaction_new(&cluster_target, begin(h),
		    h->flags & O_APPEND, h->flags & O_TRUNC);
	return h->transaction;
}

void ops_release_transaction(struct handle *h, struct request *release)
{
	h->writer->release = release;
	transaction_release(h->transaction);
}

/* Dropped, with nothing told. */
void ops_drop_transaction(struct handle *h)
{
	transaction_free(TAKE_PTR(h->transaction));
	free(TAKE_PTR(h->writer));
}

/* --- a whole document at once --- */

struct replacement {
	struct writer writer;
	struct transaction *transaction;
	int code; /* the first that was refused */
	transaction_fn reply;
	void *userdata;
	struct replacement *next, **previous;
};

static void replacement_free(struct replacement *x)
{
	*x->previous = x->next;
	if (x->next)
		x->next->previous = x->previous;
	free(x);
}

static void replacement_step(int code, void *userdata)
{
	struct replacement *x = userdata;

	if (code < 0 && x->code == 0)
		x->code = code;
}

/* The transaction frees itself. */
static void replacement_done(void *owner)
{
	struct replacement *x =
	    CONTAINER_OF((struct writer *)owner, struct replacement, writer);
	transaction_fn reply = x->reply;
	void *userdata = x->userdata;
	int code = x->code;

	replacement_free(x);
	reply(code, userdata);
}

static const struct transaction_target replacement_target = {
    .prepare = writer_prepare,
    .commit = cluster_commit,
    .drop = draft_free,
    .current = writer_current,
    .tell = writer_tell,
    .done = replacement_done,
};

void ops_replace(struct session *s, const struct named *n, const char *text,
    size_t len, transaction_fn reply, void *userdata)
{
	struct replacement *x = xcalloc(1, sizeof(*x));
	struct transaction *t;

	x->writer.session = s;
	x->writer.inode = named_number(n);
	x->writer.file = n->file;
	x->reply = reply;
	x->userdata = userdata;
	x->next = s->replacements;
	x->previous = &s->replacements;
	if (x->next)
		x->next->previous = &x->next;
	s->replacements = x;
	t = x->transaction =
	    transaction_new(&replacement_target, &x->writer, false, true);
	transaction_write(t, 0, 0, text, len, replacement_step, x);
	transaction_flush(t, true, replacement_step, x);
	transaction_release(t);
}

void ops_drop_replacements(struct session *s)
{
	while (s->replacements) {
		transaction_free(s->replacements->transaction);
		replacement_free(s->replacements);
	}
}
