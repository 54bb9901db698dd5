/* SPDX-License-Identifier: Apache-2.0
 *
 * Temporary files of tools (an editor's swap file, what sed -i renames over
 * spec, backups, lock links).  They live in the memfd beside the documents,
 * outlive a daemon, are never parsed and never count as configuration.
 */
#ifndef RACKFS_FS_SCRATCH_H
#define RACKFS_FS_SCRATCH_H

#include <sys/stat.h>
#include "fs/files.h"
#include "fs/kept.h"

#define SCRATCH_FILES_MAX 64 /* of a directory */
#define SCRATCH_SIZE_MAX  (4 * MIB)
#define SCRATCH_NAME_MAX  255
#define SCRATCH_LINK_MAX  4095

/* Inode numbers are this and a number that no other file gets. */
#define SCRATCH_INODE (1ULL << 48)

struct scratches;

struct scratch_attr {
	mode_t mode; /* with the type */
	uid_t uid;
	gid_t gid;
	struct timespec atime, mtime, ctime;
};

struct scratch {
	uint64_t number;    /* of its inode */
	uint64_t directory; /* number of its inode; 0: it has no name */
	char *name;
	struct scratch_attr attr; /* scratch_keep() when changed */
	uint64_t made_by;         /* request */
	unsigned handles;         /* that are open */
	unsigned which_name;
	bool backup; /* a document was renamed to it; the next daemon forgets */
	struct kept *kept;
	struct scratch *next; /* of the same directory, by number */
};

/* What a struct named of a temporary file has as its file. */
extern const struct file scratch_file;

struct scratches *scratches_new(struct memory *m, struct kept_store *kept);
/* The memory keeps what they are.  NULL is legal. */
void scratches_free(struct scratches *t);

/* Makes one without a name; owned by the table.  -ENOSPC: too many, -ENOMEM. */
int scratch_new(struct scratches *t, const struct scratch_attr *attr,
    uint64_t made_by, struct scratch **ret);
/* Names it, or moves it to another name that is free.  -ENOSPC: the directory
 * has too many; -ENAMETOOLONG. */
int scratch_name(struct scratches *t, struct scratch *s, uint64_t directory,
    const char *name);
/* One that was made and can't be named. */
void scratch_drop(struct scratches *t, struct scratch *s);
/* Takes its name away; it goes when no handle has it. */
void scratch_unlink(struct scratches *t, struct scratch *s);
/* A handle comes or goes. */
void scratch_open(struct scratch *s);
void scratch_close(struct scratches *t, struct scratch *s);

struct scratch *scratch_get(const struct scratches *t, uint64_t number);
struct scratch *scratch_find(
    const struct scratches *t, uint64_t directory, const char *name);
/* The one after a number, NULL at the end. */
struct scratch *scratch_next(
    const struct scratches *t, uint64_t directory, uint64_t number);
/* A name of the tree itself has gone or come back there. */
void scratch_touch(struct scratches *t, uint64_t directory);
/* When its names last changed, CLOCK_REALTIME usec; 0: never. */
uint64_t scratch_changed(const struct scratches *t, uint64_t directory);
/* The directory goes. */
void scratch_forget(struct scratches *t, uint64_t directory);

/* The content, borrowed until the next call for any of them. */
const char *scratch_bytes(const struct scratch *s, size_t *ret_len);
/* Writes at most len bytes.  -EFBIG: beyond the limit; -ENOSPC. */
ssize_t scratch_write(
    struct scratch *s, uint64_t off, const void *data, size_t len);
int scratch_truncate(struct scratch *s, uint64_t size);
void scratch_keep(struct scratch *s);
void scratch_stat(const struct scratch *s, struct stat *ret);

/* At a start.  false: it is none. */
bool scratch_restore(struct scratches *t, struct kept *k);
/* When all handles are back: those that nobody can reach go. */
void scratch_sweep(struct scratches *t);

#endif
