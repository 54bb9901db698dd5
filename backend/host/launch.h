/* SPDX-License-Identifier: Apache-2.0
 *
 * Long-lived programs that outlive the daemon and are adopted by the next one
 * (QEMU, vde_switch).  Never a second copy, never an orphan:
 *
 * Each launch has a private 0700 folder DIR/launch-<number> in the runtime
 * directory.  It is made, `lock` in it is flock'd and inherited by the child,
 * the child is forked and stops on a pipe before exec; the parent writes
 * `record` (pid, start time from /proc/PID/stat, boot id, launch number, argv
 * digest) and only then writes a byte to the pipe; EOF instead means: end.  So
 * a crash at any moment leaves either no process or a record of it.  A record
 * is believed when its boot id is ours, the pid lives with that start time, and
 * the lock is held.  The child has its own session, stdin as asked, stdout and
 * stderr in the folder's `stderr`, cwd in its folder (so that it can be given
 * relative, short socket names), no descriptor of ours but those named.
 */
#ifndef RACKFS_LAUNCH_H
#define RACKFS_LAUNCH_H

#include "err.h"
#include "loop.h"

struct launch;

struct launch_options {
	char *const *argv;
	bool stdin_fifo; /* stdin is a FIFO `stdin` in the folder, held open by
			  * the child itself (O_RDWR), so it never sees EOF */
	const int *keep_fds; /* inherited with the same numbers, or NULL */
	size_t n_keep_fds;
};

/* Makes the next folder below `dir` (which exists) and starts the program.
 * `number` is larger than that of every folder there.  prepare (may be NULL) is
 * called when the folder is there, before the fork: it may put files there.
 * -EEXIST while a launch below `dir` lives.  A failed start leaves no folder.
 */
int launch_start(struct loop *l, const char *dir,
    const struct launch_options *o,
    int (*prepare)(int folder_fd, void *userdata, struct err *err),
    void *userdata, struct launch **ret, struct err *err);
/* Looks for a living launch below `dir`.  1: *ret is it; 0: none lives.
 * *ret_last (may be NULL) is the number of the newest folder, 0 when there is
 * none. -EBUSY: something lives there and it is not known what; start nothing
 * then. */
int launch_adopt(struct loop *l, const char *dir, struct launch **ret,
    uint64_t *ret_last, struct err *err);
/* Calls fn once when the process has ended (also one that we adopted).  The
 * wait status is known for our own child only: code is 0 then and status as
 * in child.h, else -ECHILD. */
int launch_watch(struct launch *x,
    void (*fn)(int code, int status, void *userdata), void *userdata);

uint64_t launch_number(const struct launch *x);
pid_t launch_pid(const struct launch *x);
const char *launch_path(const struct launch *x); /* of the folder, absolute */
int launch_folder(const struct launch *x);       /* directory fd, borrowed */
uint64_t launch_started(const struct launch *x); /* CLOCK_MONOTONIC usec */
/* Connects a SOCK_STREAM unix socket of the folder, whatever its path's length
 * (/proc/self/fd); non-blocking descriptor, or a negative errno. */
int launch_connect(const struct launch *x, const char *name);
int launch_signal(const struct launch *x, int signal); /* by pidfd */
/* The end of the folder's `stderr`, at most max bytes. */
int launch_stderr(const struct launch *x, size_t max, struct buf *ret);
/* Forgets it; the process goes on. */
void launch_free(struct launch *x);
/* Removes the folders below dir but the newest `keep` (at least one: numbers
 * are counted from it); living ones stay. */
void launch_prune(const char *dir, unsigned keep);

#endif
