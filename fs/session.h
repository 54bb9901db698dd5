/* SPDX-License-Identifier: Apache-2.0
 *
 * One daemon's service of a mount: the FUSE session on the loop, and what its
 * modules share.  The mount itself is the keeper's.
 */
#ifndef RACKFS_FS_SESSION_H
#define RACKFS_FS_SESSION_H

#include <fuse_lowlevel.h>
#include "cluster.h"
#include "fs/inode.h"
#include "fs/table.h"

struct kept_store;
struct memory;
struct replacement;
struct request;
struct scratches;
struct slots;
struct tombstones;
struct wake;

struct session {
	struct loop *loop;
	struct cluster *cluster; /* set by session_serve() */
	struct fuse_session *fuse;
	struct loop_source *io;
	struct memory *memory; /* outlives this daemon, as the next four */
	struct slots *slots;
	struct kept_store *kept;
	struct scratches *scratches;
	struct tombstones *tombstones;
	struct wake *wake;
	struct inodes *inodes;
	struct table *handles;
	uint64_t last_handle; /* id given last */
	/* Made by an OPEN or CREATE that may be served again. */
	uint64_t reopened;
	uid_t uid; /* who owns the tree */
	gid_t gid;
	uint64_t started;                 /* CLOCK_REALTIME usec */
	int64_t clock;                    /* of struct render */
	uint64_t listed[OBJECT_KINDS];    /* when one last came or went */
	struct request *requests;         /* that the cluster will answer */
	struct replacement *replacements; /* under way: writer.c */
	bool mounted, unmounted;
	bool detached; /* nobody can come by its path any more */
	/* Asks the kernel what an earlier daemon gave it: notify.c. */
	struct loop_source *scan;
	enum object_kind scan_kind;
	uint32_t scan_number;
};

/* The keeper's descriptors. */
struct session_fds {
	int fuse;   /* taken */
	int memory; /* borrowed */
	int herald; /* borrowed; -1: none */
};

/* fuse_options: those of -o, comma separated (may be NULL). */
int session_new(struct loop *l, const char *fuse_options,
    const struct session_fds *fds, struct session **ret, struct err *err);
/* Goes on where an earlier daemon ended (`crashed`: by its own fault), then
 * serves requests.  The loop ends with code 0 when the mount has gone. */
int session_serve(
    struct session *s, struct cluster *c, bool crashed, struct err *err);
/* It is mounted no more where we are: the loop ends with code 0 once nobody has
 * anything open there, nor waits for an answer. */
void session_detached(struct session *s);
void session_rest(struct session *s); /* one of these has ended */
/* Serves no more; answers every blocked request; drops every transaction.
 * The cluster may be freed after it, the session after that. */
void session_stop(struct session *s);
/* Lets go of the mount, after session_stop() and when nobody else has it: the
 * kernel ends what is still under way. */
void session_hang_up(struct session *s);
void session_free(struct session *s); /* NULL is legal */

struct render session_render(struct session *s, struct object *o);

#endif
