/* SPDX-License-Identifier: Apache-2.0
 *
 * The herald: a process that makes calls through the mount which change
 * nothing, so that the kernel wakes inotify watchers.
 */
#ifndef RACKFS_FS_HERALD_H
#define RACKFS_FS_HERALD_H

#include <stdint.h>

#define HERALD_PATH_MAX 1024

enum herald_call {
	HERALD_REWRITTEN, /* IN_MODIFY, IN_CLOSE_WRITE */
	HERALD_GREW,      /* IN_MODIFY */
	HERALD_MKNOD,     /* IN_CREATE */
	HERALD_UNLINK,    /* IN_DELETE */
	HERALD_MKDIR,
	HERALD_RMDIR,
	HERALD_CALLS
};

/* One packet of the socket; the herald gives the head back when it has made
 * the call, whatever came of it. */
struct herald_head {
	uint64_t inode;
	uint32_t call;
	uint32_t pad;
};
struct herald_order {
	struct herald_head head;
	char path[HERALD_PATH_MAX]; /* below the mount point; NUL-terminated */
};

/* Serves orders until the socket's other end has closed.  device: of the
 * mount; a call is made only there.  Returns an exit status. */
int herald_run(int socket, const char *mountpoint, uint64_t device);

#endif
