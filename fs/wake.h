/* SPDX-License-Identifier: Apache-2.0
 *
 * Wakes inotify watchers for changes that the daemon makes: the kernel raises
 * events only for system calls, so a helper process, the herald, makes calls
 * through the mount that change nothing.  This is the daemon's side of it.
 */
#ifndef RACKFS_FS_WAKE_H
#define RACKFS_FS_WAKE_H

#include "fs/inode.h"

struct session;
struct wake;

/* The herald's descriptor of every file that it opens. */
#define WAKE_HANDLE 1

/* fd: socket to the herald, borrowed; -1: there will be none. */
int wake_new(struct session *s, int fd, struct wake **ret);
void wake_free(struct wake *w); /* NULL is legal */
/* A herald has started; what the one before may not have done is told again. */
void wake_herald(struct wake *w, pid_t pid);
bool wake_is_herald(const struct wake *w, pid_t pid);

/* The content of a file that the kernel knows has changed. */
void wake_changed(struct wake *w, struct inode *i);
void wake_forget(struct wake *w, struct inode *i); /* it goes */

/* An entry of a directory (row f, of or for object o) has come or gone, by
 * nobody's system call.  The herald will call mknod(2), unlink(2), mkdir(2) or
 * rmdir(2) for it. */
void wake_entry(struct wake *w, const struct named *directory, bool appeared,
    const struct file *f, struct object *o);
struct wake_ghost {
	bool appeared;
	uint64_t inode;
	const struct file *file;
};
/* Is such a call expected?  ret may be NULL. */
bool wake_expects(const struct wake *w, uint64_t directory, const char *name,
    struct wake_ghost *ret);
#endif
