/* SPDX-License-Identifier: Apache-2.0
 *
 * What one open descriptor writes to a document: gathered, checked and made
 * ready in the write that completes it, put in force at flush or fsync, whole
 * or not at all.  It knows neither FUSE nor the cluster.
 */
#ifndef RACKFS_FS_TRANSACTION_H
#define RACKFS_FS_TRANSACTION_H

#include "err.h"
#include "spec.h"

struct draft;
struct transaction;

/* Answers one call; code 0 or a negative errno.  May come from within. */
typedef void (*transaction_fn)(int code, void *userdata);
/* As cluster_reply_fn. */
typedef void (*transaction_reply_fn)(
    int code, const struct err *err, void *userdata);

/* What must be known to go on with a transaction, beside its text. */
struct transaction_state {
	uint64_t unique; /* request of the last write that is in the text */
	int32_t poisoned;
	bool patch, started, plain, dirty, told;
};

/* Where documents go. */
struct transaction_target {
	/* As cluster_prepare(). */
	int (*prepare)(void *owner, bool patch, const char *text, size_t len,
	    transaction_reply_fn reply, void *userdata, struct draft **ret,
	    struct err *err);
	void (*commit)(
	    struct draft *d, transaction_reply_fn reply, void *userdata);
	void (*drop)(struct draft *d);
	/* Appends the document that is in force. */
	int (*current)(void *owner, struct buf *ret);
	/* Something was refused, and why; NULL: something was accepted. */
	void (*tell)(void *owner, const char *sentence);
	/* Stores bytes [from, len) of the text and the state, so that another
	 * process can go on.  -ENOSPC: there is no room for the text.  NULL:
	 * nobody will. */
	int (*keep)(void *owner, const struct transaction_state *state,
	    size_t from, const char *text, size_t len);
	/* The transaction does not need its owner any more. */
	void (*done)(void *owner);
};

/* `patch`: opened with O_APPEND; `truncated`: with O_TRUNC. */
struct transaction *transaction_new(const struct transaction_target *target,
    void *owner, bool patch, bool truncated);

struct transaction *transaction_restore(const struct transaction_target *target,
    void *owner, const struct transaction_state *state, const char *text,
    size_t len);

/* Calls are carried out one after the other; each answers by `reply`. data is
 * copied.  A patch takes no notice of off.  unique: of the request (0: it is
 * never made again); one that is in the text already is not put there twice. */
void transaction_write(struct transaction *t, uint64_t unique, uint64_t off,
    const void *data, size_t len, transaction_fn reply, void *userdata);
void transaction_truncate(
    struct transaction *t, uint64_t size, transaction_fn reply, void *userdata);
/* flush and fsync.  `opener`: it is the program that opened the descriptor
 * (another one's end of half a document says nothing). */
void transaction_flush(
    struct transaction *t, bool opener, transaction_fn reply, void *userdata);
/* The descriptor is gone: what is complete goes in force, what is not is
 * dropped and told.  Frees t, and calls done(), once that is done. */
void transaction_release(struct transaction *t);
/* Drops everything at once; no call is answered any more, done() is not
 * called.  NULL is legal. */
void transaction_free(struct transaction *t);

/* What a read through this descriptor must give: the bytes written, borrowed;
 * NULL when nothing was written or truncated yet. */
const struct buf *transaction_text(const struct transaction *t);
/* Bytes of a new document are there that are not in force. */
bool transaction_pending(const struct transaction *t);

#endif
