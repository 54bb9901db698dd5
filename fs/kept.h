/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept for the next daemon of an open file, of a temporary one or of a
 * name that is gone for a moment: a small state that is stored whole or not at
 * all, and a text.  It knows no file.
 */
#ifndef RACKFS_FS_KEPT_H
#define RACKFS_FS_KEPT_H

#include "fs/memory.h"

#define KEPT_STATE_MAX  192
#define KEPT_TEXT_LIMIT (64 * MIB) /* of each use, in all */

/* What the text is; each has its own limit. */
enum kept_use {
	KEPT_SNAPSHOT,
	KEPT_TRANSACTION,
	KEPT_SCRATCH,   /* scratch.c */
	KEPT_TOMBSTONE, /* tombstone.c; it has no text */
	KEPT_USES
};

struct kept;
struct kept_store;

struct kept_store *kept_store_new(struct memory *m);
/* Frees what is in the process; the memory keeps its records. */
void kept_store_free(struct kept_store *s); /* NULL is legal */

/* Bytes of texts of this use. */
size_t kept_used(const struct kept_store *s, enum kept_use use);
/* NULL: there is no memory. */
struct kept *kept_new(struct kept_store *s, uint64_t id);
/* Stores bytes [from, length) of a text; -ENOSPC: too much is kept.  They
 * count once kept_set() has stored a state for them. */
int kept_text(struct kept *k, enum kept_use use, size_t from, const char *text,
    size_t length);
/* Makes room for a text of this length; what kept_edit() then points to may be
 * written.  -ENOSPC as above. */
int kept_reserve(struct kept *k, enum kept_use use, size_t length);
char *kept_edit(struct kept *k); /* until the next call */
/* Stores the state and the text's length, both or neither. */
void kept_set(struct kept *k, const void *state, size_t size, size_t length);
void kept_forget(struct kept *k); /* NULL is legal */
/* Leaves the record in memory. */
void kept_free(struct kept *k);

/* At a start: hands over each that an earlier daemon has left, NULL last. */
struct kept *kept_next(struct kept_store *s);
uint64_t kept_id(const struct kept *k);
enum kept_use kept_used_for(const struct kept *k);
/* false: none of this size is there. */
bool kept_state(const struct kept *k, void *ret, size_t size);
const char *kept_bytes(const struct kept *k, size_t *ret_length);

#endif
