/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper: the process that the shell or systemd sees.  It mounts, holds the
 * descriptor of /dev/fuse and the memory of requests, and starts daemon and
 * herald, again when they die.
 */
#ifndef RACKFS_FS_KEEPER_H
#define RACKFS_FS_KEEPER_H

#include "err.h"
#include "fs/options.h"

/* Mounts and serves until the mount has gone or a signal ends it; -EIO when
 * it ends otherwise, *err is empty when that was told already.  ready_fd gets a
 * byte when the tree can be used (-1: nobody waits). */
int keeper_run(const struct options *o, int ready_fd, struct err *err);

/* --- between the keeper and a daemon --- */

/* Descriptors that a daemon inherits, in this order in the environment. */
struct keeper_fds {
	int fuse, memory, control, herald, state_lock, runtime_lock;
};
/* false: no keeper has started us.  Takes the variable away. */
bool keeper_inherit(struct keeper_fds *ret);

enum keeper_word {
	KEEPER_READY,     /* from the daemon: the tree can be used */
	KEEPER_HERALD,    /* the herald's pid; 0: it died */
	KEEPER_CRASHED,   /* the daemon before ended by its own fault */
	KEEPER_UNMOUNTED, /* serve those who have something open, and end */
};
struct keeper_note { /* one packet of the control socket */
	uint32_t word;
	int32_t value;
};

#endif
