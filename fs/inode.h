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

struct inode {
	uint64_t number;
	uint64_t lookups; /* the kernel's; 0: it does not know it */
	/* Another one when a removed directory that somebody still has as cwd
	 * gives its number to a new one: the kernel must not mix them up. */
	uint64_t generation;
	struct handle *handles; /* open ones, linked by handle->next */
	/* Size of the text as of a version of its object. */
	bool size_known;
	uint64_t size, size_version;
};

/* What a number names, now. */
struct named {
	const struct file *file;
	struct object *object;
};

uint64_t inode_number(const struct file *f, const struct object *o);
/* 0, or -ENOENT when there is no such object (any more). */
int inode_resolve(struct cluster *c, uint64_t number, struct named *ret);

struct inodes *inodes_new(void);
void inodes_free(struct inodes *t);
struct inode *inode_find(struct inodes *t, uint64_t number); /* or NULL */
struct inode *inode_get(struct inodes *t, uint64_t number);  /* makes it */
/* Forgets it when neither the kernel nor a handle uses it. */
void inode_trim(struct inodes *t, struct inode *i);

#endif
