/* SPDX-License-Identifier: Apache-2.0
 *
 * What has changed in the cluster, told to the kernel and to who waits.  The
 * first three are the callbacks of struct cluster_options; userdata is a struct
 * session.
 */
#ifndef RACKFS_FS_NOTIFY_H
#define RACKFS_FS_NOTIFY_H

#include "cluster.h"

struct named;
struct session;

void notify_changed(struct object *o, unsigned aspects, void *session);
void notify_appeared(struct object *o, void *session);
void notify_vanishing(struct object *o, void *session);
/* A name that was gone for a moment (tombstone.h) is there again. */
void notify_returned(struct session *s, const struct named *n);

/* Does the kernel know this inode?  What it keeps of its attributes is dropped.
 * (What an earlier daemon gave it is in no table of ours.) */
bool notify_known(struct session *s, uint64_t number);

/* After the death of an earlier daemon: begins to tell the kernel and the
 * watchers that everything which they know may have changed meanwhile. */
int notify_scan(struct session *s);

#endif
