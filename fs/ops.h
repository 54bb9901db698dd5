/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of the kernel, in (ops.c: look-up; ops_attr.c: attributes;
 * ops_dir.c: directories; ops_names.c, ops_rename.c: names that tools make;
 * ops_file.c: open files) and their answers, out.
 */
#ifndef RACKFS_FS_OPS_H
#define RACKFS_FS_OPS_H

#include <fuse_lowlevel.h>
#include "fs/handle.h"

/* userdata of the session is a struct session. */
extern const struct fuse_lowlevel_ops ops_table;

/* How long the kernel may believe what it was told: notify.c tells it of every
 * change. */
#define OPS_FOR_EVER 1e10

/* Tries the requests that wait on a handle again. */
void ops_wake(struct handle *h);
/* Answers them with a negative errno. */
void ops_unpark(struct handle *h, int code);
/* Wakes who polls a handle; forgets them. */
void ops_poll_wake(struct handle *h);
void ops_poll_forget(struct handle *h);
/* The transaction's object is gone. */
void ops_orphan(struct handle *h);
void ops_drop_transaction(struct handle *h);
void ops_restore_transaction(struct handle *h,
    const struct transaction_state *state, const char *text, size_t length);
/* Ends requests that the cluster did not answer. */
void ops_abandon(struct session *s);
/* What an inode number names: a row of the table, or a temporary file. */
int ops_named(struct session *s, uint64_t number, struct named *ret);
/* Drops what ops_replace() has under way, without answer. */
void ops_drop_replacements(struct session *s);

/* --- between the files ops*.c, park.c and writer.c --- */

/* A request that the cluster answers. */
struct request {
	struct session *session;
	fuse_req_t req;
	uint64_t inode; /* that it is about, or its directory's */
	uint64_t handle;
	size_t len;       /* of a write */
	char *name;       /* of mkdir, rmdir */
	uint64_t scratch; /* of a rename onto a document */
	bool again;       /* an earlier daemon may have served it */
	const struct file *file;
	struct request *next, **previous;
};
struct request *request_new(fuse_req_t req, const struct named *n);
struct request *request_of(fuse_req_t req, const struct handle *h);
/* Unlinks and frees it; returns what must be answered. */
fuse_req_t request_done(struct request *q);

/* May the caller do this (R_OK, W_OK, X_OK)?  0, or -EACCES. */
int ops_allowed(fuse_req_t req, const struct named *n, int mask);
/* Is it who owns the tree, or root? */
bool ops_is_owner(fuse_req_t req);
int ops_resolve(fuse_req_t req, fuse_ino_t ino, struct named *ret);
void ops_attr(struct session *s, const struct named *n, struct stat *ret);
/* h: the handle that was asked through, or NULL. */
void ops_reply_attr(fuse_req_t req, const struct named *n, struct handle *h);
/* Tells what was refused or accepted, in `error` of the object. */
void ops_tell(struct session *s, uint64_t inode, const char *file, int code,
    const struct err *err);

/* park.c: answers a read, or types, now or when it can be done. */
void ops_serve(struct handle *h, fuse_req_t req, bool write, uint64_t off,
    const void *data, size_t size, const struct fuse_file_info *fi);
/* writer.c: the transaction of a handle that may write, or NULL. */
struct transaction *ops_transaction(struct handle *h);
/* Frees the handle and answers the release once the transaction is over. */
void ops_release_transaction(struct handle *h, struct request *release);

/* Puts a document in force, whole or not at all; replies once.  text is
 * copied. */
void ops_replace(struct session *s, const struct named *n, const char *text,
    size_t len, transaction_fn reply, void *userdata);

struct session *ops_session(fuse_req_t req);
bool ops_is_herald(fuse_req_t req);
/* A directory in which the caller may do this. */
int ops_directory(fuse_req_t req, fuse_ino_t ino, int mask, struct named *ret);
int ops_child(struct session *s, const struct named *parent, const char *name,
    struct named *ret);
/* The row that this name has in a directory, also while it is gone. */
bool ops_row(const struct named *dir, const char *name, struct named *ret);
/* Answers the herald's call for a name that has come, or gone; false: it is a
 * user's. */
bool ops_herald_makes(fuse_req_t req, fuse_ino_t parent, const char *name);
bool ops_herald_takes(fuse_req_t req, fuse_ino_t parent, const char *name);
/* Opens what it names, with the flags of fi, for a caller who may. */
int ops_open_handle(fuse_req_t req, const struct named *n,
    struct fuse_file_info *fi, struct handle **ret);
/* What an OPEN or CREATE made that is served again. */
void ops_drop_reopened(struct session *s);
/* R_OK, W_OK as the flags of an open want. */
int ops_wanted(const struct fuse_file_info *fi);
/* Makes the inode when `count` says that the kernel will know it. */
void ops_entry(struct session *s, const struct named *n, bool count,
    struct fuse_entry_param *ret);
/* The kernel forgets n lookups. */
void ops_unlook(struct session *s, uint64_t number, uint64_t n);
void ops_reply_entry(fuse_req_t req, const struct named *n);
/* For the herald: a name that is about to go. */
void ops_reply_ghost(
    fuse_req_t req, const struct named *directory, const char *name);

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    dev_t device);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    struct fuse_file_info *fi);
void op_symlink(
    fuse_req_t req, const char *to, fuse_ino_t parent, const char *name);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_link(
    fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t new_parent, const char *new_name, unsigned flags);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
    off_t off, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(
    fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
    struct fuse_pollhandle *ph);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
    struct fuse_file_info *fi);

#endif
