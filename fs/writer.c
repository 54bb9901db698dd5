// SPDX-License-Identifier: Apache-2.0
/*
 * What a transaction needs of the cluster: it is the target of every one.  A
 * writer may live longer than its handle, and the object may go before both.
 */
#include <errno.h>
#include <fcntl.h>
#include "fs/ops.h"
#include "fs/transaction.h"

struct writer {
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
struct transaction *ops_transaction(struct handle *h)
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
