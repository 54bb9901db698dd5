/* SPDX-License-Identifier: Apache-2.0
 *
 * One mount: the FUSE session on the loop, and what its modules share.
 */
#ifndef RACKFS_FS_SESSION_H
#define RACKFS_FS_SESSION_H

#include <fuse_lowlevel.h>
#include "cluster.h"
#include "fs/inode.h"
#include "fs/table.h"

struct request;

struct session {
	struct loop *loop;
	struct cluster *cluster; /* set by session_serve() */
	struct fuse_session *fuse;
	struct fuse_buf buffer; /* of the request under way */
	struct loop_source *io;
	struct inodes *inodes;
	struct table *handles;
	uint64_t last_handle; /* id given last */
	uid_t uid;            /* who owns the tree */
	gid_t gid;
	uint64_t started;              /* CLOCK_REALTIME usec */
	uint64_t listed[OBJECT_KINDS]; /* when one last came or went */
	struct request *requests;      /* that the cluster will answer */
	bool mounted;
};

/* fuse_options: those of -o, comma separated (may be NULL). */
int session_new(struct loop *l, const char *fuse_options, struct session **ret,
    struct err *err);
/* Mounts at `mountpoint` (absolute, exists); from now on requests are served.
 * The loop ends with code 0 when the mount has gone. */
int session_serve(struct session *s, struct cluster *c, const char *mountpoint,
    struct err *err);
/* Serves no more; answers every blocked request; drops every transaction.
 * The cluster may be freed after it, the session after that. */
void session_stop(struct session *s);
/* Unmounts. NULL is legal. */
void session_free(struct session *s);

/* Unmounts what a dead daemon left at `path`.  0: nothing is in the way;
 * -EBUSY: something alive is mounted there. */
int session_take_over(const char *path, struct err *err);

struct render session_render(const struct session *s, struct object *o);

#endif
