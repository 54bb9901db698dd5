/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that are gone for a moment.  Tools that replace a file by unlink (or a
 * rename to a backup name) and create would fail if a spec could not go, and a
 * spec must not be lost: its name goes, its content does not, and the name is
 * back when it is created anew, or after TOMBSTONE_USEC.
 */
#ifndef RACKFS_FS_TOMBSTONE_H
#define RACKFS_FS_TOMBSTONE_H

#include "fs/inode.h"

#define TOMBSTONE_USEC (2 * USEC_PER_SEC)

struct kept;
struct session;
struct tombstones;

int tombstones_new(struct session *s, struct tombstones **ret);
/* The memory keeps what they are.  NULL is legal. */
void tombstones_free(struct tombstones *t);

/* The name goes, now.  Again: nothing. */
void tombstone_set(struct tombstones *t, uint64_t inode);
/* It is back; nobody is told. */
void tombstone_lift(struct tombstones *t, uint64_t inode);
/* The same for one whose directory goes. */
void tombstone_forget(struct tombstones *t, uint64_t inode);
bool tombstone_covers(const struct tombstones *t, uint64_t inode);

/* At a start.  false: it is none. */
bool tombstone_restore(struct tombstones *t, struct kept *k);

#endif
