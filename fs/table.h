/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table of pointers by 64-bit number: inodes and handles.
 */
#ifndef RACKFS_FS_TABLE_H
#define RACKFS_FS_TABLE_H

#include "util.h"

struct table;

struct table *table_new(void);
void table_free(struct table *t); /* not what it points to */
void *table_get(const struct table *t, uint64_t key);       /* or NULL */
void table_put(struct table *t, uint64_t key, void *value); /* not NULL */
void *table_take(struct table *t, uint64_t key); /* removes it; or NULL */
size_t table_count(const struct table *t);
/* Empties it, then calls fn for each entry that was there. */
void table_empty(
    struct table *t, void (*fn)(void *value, void *userdata), void *userdata);

#endif
