// SPDX-License-Identifier: Apache-2.0
/*
 * The herald's loop.  The keeper forks it; wake.c of the daemon gives orders
 * and answers the calls without acting on them.  It holds nothing in the mount
 * while it waits, so that it is never in the way of an unmount.
 *
 * It must be a process: a thread of the daemon, killed inside such a call,
 * would wait for an answer that only its own process can give.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fs/herald.h"
#include "util.h"

/* The mount, when it is still there: what lies below its mount point must not
 * be touched.  Asks no daemon. */
static int open_mount(const char *mountpoint, uint64_t device)
{
	_cleanup_close_ int fd =
	    open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statx st;

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st))
		return -1;
	if (makedev(st.stx_dev_major, st.stx_dev_minor) != device)
		return -1;
	return TAKE_FD(fd);
}

static void rewritten(int mount, const char *path)
{
	_cleanup_close_ int fd =
	    openat(mount, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && write(fd, "\n", 1) < 0) {
		/* The file went in between. */
	}
}

static void carry_out(int mount, const struct herald_order *o)
{
	struct timespec times[2] = {
	    {.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

	switch (o->head.call) {
	case HERALD_REWRITTEN:
		rewritten(mount, o->path);
		break;
	case HERALD_GREW:
		utimensat(mount, o->path, times, AT_SYMLINK_NOFOLLOW);
		break;
	case HERALD_MKNOD:
		mknodat(mount, o->path, S_IFREG | 0444, 0);
		break;
	case HERALD_UNLINK:
		unlinkat(mount, o->path, 0);
		break;
	case HERALD_MKDIR:
		mkdirat(mount, o->path, 0755);
		break;
	case HERALD_RMDIR:
		unlinkat(mount, o->path, AT_REMOVEDIR);
		break;
	default:
		break;
	}
}

int herald_run(int socket, const char *mountpoint, uint64_t device)
{
	struct herald_order o;

	for (;;) {
		ssize_t n = recv(socket, &o, sizeof(o), 0);
		int mount;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= (ssize_t)sizeof(o.head))
			return 0;
		((char *)&o)[n - 1] = '\0';
		mount = open_mount(mountpoint, device);
		if (mount >= 0) {
			carry_out(mount, &o);
			close(mount);
		}
		while (
		    send(socket, &o.head, sizeof(o.head), MSG_NOSIGNAL) < 0 &&
		    errno == EINTR)
			;
	}
}
