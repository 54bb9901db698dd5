/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of the kernel that outlive the daemon: each is in the memfd from
 * the moment it was read until it was answered, and the next daemon serves
 * those that were not.
 */
#ifndef RACKFS_FS_SLOTS_H
#define RACKFS_FS_SLOTS_H

#include <fuse_lowlevel.h>
#include "fs/memory.h"

struct slots;

/* fuse_fd (non-blocking) and memory are borrowed. */
struct slots *slots_new(int fuse_fd, struct memory *memory);
void slots_free(struct slots *s); /* NULL is legal */
/* The callbacks of a session whose userdata is a struct session with this
 * `slots`: fuse_session_custom_io(). */
int slots_attach(struct slots *s, struct fuse_session *fuse);

/* Has an earlier daemon served this mount? */
bool slots_used(const struct slots *s);
/* Once, before anything is received, when an earlier daemon has: feeds the
 * kernel's first request to libfuse, then serves what is pending, in order.
 * `crashed`: the daemon ended by a fault of its own; the request that it was
 * serving is answered EIO when that happens too often. */
void slots_replay(struct slots *s, bool crashed);
/* Reads one request and serves it: 1; 0: there is none; -ENODEV: unmounted. */
int slots_receive(struct slots *s);

/* Of the request that is being served; 0: none is. */
uint64_t slots_unique(const struct slots *s);
/* Of the one in the landing area; 0: none. */
uint64_t slots_landed(const struct slots *s);
/* The one that is being served may have been served before. */
bool slots_again(const struct slots *s);

#endif
