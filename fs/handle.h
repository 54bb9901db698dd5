/* SPDX-License-Identifier: Apache-2.0
 *
 * Open files: the snapshot that was taken at open, the place in a growing
 * text, the transaction.  The kernel knows them by numbers that no other
 * handle ever had, also not of an earlier daemon; an unknown number is made a
 * handle again from the inode and the flags.
 */
#ifndef RACKFS_FS_HANDLE_H
#define RACKFS_FS_HANDLE_H

#include "fs/session.h"
#include "fs/transaction.h"

struct fuse_pollhandle;
struct kept;
struct parked;
struct writer;

#define HANDLES_MAX 65536

/* Of the reader of a growing text. */
struct place_in {
	uint64_t run;      /* that it is about */
	uint64_t shift;    /* added to the offset of a sequential reader */
	uint64_t expected; /* offset of such a reader's next read */
	uint64_t at;       /* a terminal's place; and what poll(2) compares */
};

struct handle {
	uint64_t id;
	struct session *session;
	struct inode *inode;
	const struct file *file;
	struct object *object;   /* NULL: it was removed; of a temporary file */
	struct scratch *scratch; /* a temporary file, or NULL */
	int flags;               /* of open(2) */
	/* A text: what reads give. */
	struct buf text;
	bool have;
	uint64_t version; /* of the object, that the text shows */
	bool restored;    /* the text, and no version, by an earlier daemon */
	/* A growing text, and before request `moved_by` was served. */
	struct place_in place, before;
	uint64_t moved_by;
	/* Request that types, and how much of it was typed. */
	uint64_t typed_by, typed;
	struct kept *kept;  /* for the next daemon; handle_kept.c */
	uint64_t opened_by; /* request */
	/* Something was written; what is kept of it. */
	bool written;
	struct transaction_state written_state;
	struct transaction *transaction;
	struct writer *writer; /* its owner; writer.c */
	/* Who opened it. */
	pid_t opener;
	bool owner_known;
	uint64_t owner; /* lock owner of the opener's descriptor table */
	struct fuse_pollhandle *poll;
	struct parked *parked; /* requests that wait; park.c */
	struct handle *next;   /* of the same inode */
};

/* -ENFILE when there are too many. */
int handle_new(struct session *s, const struct named *n, int flags,
    pid_t opener, struct handle **ret);
/* The handle of a number; made again when it is not known.  -ENOENT: nor is
 * what it names. */
int handle_get(struct session *s, uint64_t id, uint64_t inode, int flags,
    struct handle **ret);
struct handle *handle_find(struct session *s, uint64_t id); /* or NULL */
void handle_free(struct handle *h);
struct handle *handle_make(
    struct session *s, const struct named *n, int flags, uint64_t id);

/* handle_kept.c: stores for the next daemon what has changed: all but the
 * text; the text too; bytes of a transaction from `from` on (-ENOSPC). */
void handle_keep(struct handle *h);
void handle_keep_text(struct handle *h);
int handle_keep_transaction(struct handle *h, size_t from, const char *text,
    size_t length, const struct transaction_state *state);
/* Makes all again that an earlier daemon has left: temporary files, names that
 * are gone for a moment, handles. */
void handles_restore(struct session *s);
void handle_free_all(struct session *s);

bool handle_is_terminal(const struct handle *h);
/* Reads at most size bytes for request `unique`: *ret_data is borrowed until
 * the next call with the same handle, or points into *scratch.  -EAGAIN:
 * nothing yet. */
int handle_read(struct handle *h, uint64_t unique, uint64_t off, size_t size,
    struct buf *scratch, const char **ret_data, size_t *ret_len);
/* POLLIN ... as poll(2). */
unsigned handle_poll(struct handle *h);
/* Size of what a read gives. */
uint64_t handle_size(struct handle *h);

/* The text of a file as it is now, appended. */
int file_text(
    struct session *s, const struct file *f, struct object *o, struct buf *ret);
/* Its size, remembered in i (may be NULL) as long as nothing changes. */
uint64_t file_size(
    struct session *s, const struct file *f, struct object *o, struct inode *i);

#endif
