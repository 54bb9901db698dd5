/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon: the cluster and its tree, served over a mount that its keeper
 * holds.
 */
#ifndef RACKFS_FS_DAEMON_H
#define RACKFS_FS_DAEMON_H

#include "fs/keeper.h"

/* Serves until the mount has gone, a signal ends it (0), or it can't go on.
 * o: as the keeper gave them.  The descriptors are taken. */
int daemon_run(
    const struct options *o, const struct keeper_fds *fds, struct err *err);

#endif
