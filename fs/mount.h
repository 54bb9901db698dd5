/* SPDX-License-Identifier: Apache-2.0
 *
 * Mounts and unmounts, and what a dead mount is.
 */
#ifndef RACKFS_FS_MOUNT_H
#define RACKFS_FS_MOUNT_H

#include "err.h"

struct mount;

/* Mounts at `path` (absolute, exists), as root or through fusermount3;
 * options: those of -o (may be NULL). */
int mount_new(
    const char *path, const char *options, struct mount **ret, struct err *err);
int mount_fd(const struct mount *m);          /* of /dev/fuse; borrowed */
uint64_t mount_device(const struct mount *m); /* as st_dev */
/* Polls with POLLERR when something was mounted or unmounted; -errno. */
int mount_watch(void);
/* Nothing of it is left among the mounts that we see.  Others may see it: who
 * made a mount namespace of their own has a copy. */
bool mount_gone(const struct mount *m);
/* Unmounts, however it is used, and closes the descriptor.  NULL is legal. */
void mount_free(struct mount *m);

/* The arguments that every session of libfuse here gets; owned. */
char *mount_options(const char *options);

/* Takes away the mount of a daemon that is dead or about to die. */
int mount_detach(const char *path);
/* Detaches what a dead daemon left at `path`.  0: nothing is in the way;
 * -EBUSY: something alive is mounted there. */
int mount_take_over(const char *path, struct err *err);

#endif
