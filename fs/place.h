/* SPDX-License-Identifier: Apache-2.0
 *
 * The folders that one keeper and its daemons work in: state and runtime
 * directory, made, private, locked against a second daemon; where data and
 * mount point are.
 */
#ifndef RACKFS_FS_PLACE_H
#define RACKFS_FS_PLACE_H

#include "err.h"

struct folders {
	char *state, *runtime, *data, *mountpoint; /* absolute */
	int state_lock, runtime_lock; /* shared by keeper and daemon */
	bool keeper;                  /* keeper.pid is ours */
};
#define FOLDERS_INIT ((struct folders){.state_lock = -1, .runtime_lock = -1})

/* The keeper's.  state_dir, runtime_dir may be NULL: the defaults.  -EBUSY when
 * another daemon has one of them: err names its pid. */
int folders_open(const char *state_dir, const char *runtime_dir,
    struct folders *ret, struct err *err);
/* Makes the mount point when it is missing; takes a dead daemon's away. */
int folders_mountpoint(struct folders *f, const char *path, struct err *err);
/* A daemon's, from its keeper: all absolute, locks taken. */
int folders_adopt(const char *state, const char *runtime,
    const char *mountpoint, int state_lock, int runtime_lock,
    struct folders *ret, struct err *err);
/* Standard streams, from the terminal to a log file in the state directory. */
void folders_leave_terminal(const struct folders *f);
/* Removes daemon.pid, and keeper.pid when it is ours; unlocks when nobody else
 * has the locks. */
void folders_close(struct folders *f);

#endif
