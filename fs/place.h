/* SPDX-License-Identifier: Apache-2.0
 *
 * The folders that one daemon works in: state and runtime directory, made,
 * private, locked against a second daemon; where data and mount point are.
 */
#ifndef RACKFS_FS_PLACE_H
#define RACKFS_FS_PLACE_H

#include "err.h"

struct folders {
	char *state, *runtime, *data, *mountpoint; /* absolute */
	int state_lock, runtime_lock;
};
#define FOLDERS_INIT ((struct folders){.state_lock = -1, .runtime_lock = -1})

/* state_dir, runtime_dir may be NULL: the defaults.  -EBUSY when another
 * daemon has one of them: err names its pid. */
int folders_open(const char *state_dir, const char *runtime_dir,
    struct folders *ret, struct err *err);
/* Makes the mount point when it is missing; takes a dead daemon's away. */
int folders_mountpoint(struct folders *f, const char *path, struct err *err);
/* Removes daemon.pid, unlocks. */
void folders_close(struct folders *f);

#endif
