/* SPDX-License-Identifier: Apache-2.0
 *
 * Inode numbers, a pure function of what they name (kind and number of the
 * object, slot of its file in the table), and what is kept of those that the
 * kernel knows.
 */
#ifndef RACKFS_FS_INODE_H
#define RACKFS_FS_INODE_H

#include "fs/files.h"

struct handle;
struct inodes;
struct scratch;

/* What the herald is told of it: wake.c. */
enum wake_state { WAKE_QUIET, WAKE_DIRTY, WAKE_TOLD, WAKE_TOLD_OLD };

struct inode {
	uint64_t number;
	uint64_t lookups;       /* that were answered, and not forgotten */
	bool inherited;         /* an earlier daemon answered more */
	bool arrived;           /* the kernel has seen an answer */
	struct handle *handles; /* open ones, linked by handle->next */
	/* Size of the text as of a version of its object. */
	bool size_known;
	uint64_t size, size_version;
	enum wake_state wake;
	struct inode *wake_next, **wake_previous;
};

/* What a number names, now. */
struct named {
	const struct file *file;
	struct object *object;
	struct scratch *scratch; /* a temporary file: no object */
};

uint64_t inode_number(const struct file *f, const struct object *o);
uint64_t named_number(const struct named *n);
/* Of what is in the table.  0, or -ENOENT when there is no such object (any
 * more). */
int inode_resolve(struct cluster *c, uint64_t number, struct named *ret);

struct inodes *inodes_new(void);
void inodes_free(struct inodes *t);
struct inode *inode_find(struct inodes *t, uint64_t number); /* or NULL */
struct inode *inode_get(struct inodes *t, uint64_t number);  /* makes it */
/* Does the kernel know it, or will it once it has seen our answer? */
bool inode_known(const struct inode *i); /* NULL: no */
/* Forgets it when neither the kernel, a handle nor wake.c uses it. */
void inode_trim(struct inodes *t, struct inode *i);

#endif
