/* SPDX-License-Identifier: Apache-2.0
 *
 * Fork and exec, for child.c and launch.c only.  What the new process does
 * before exec is async-signal-safe, since threads may hold any lock.
 */
#ifndef RACKFS_SPAWN_H
#define RACKFS_SPAWN_H

#include "err.h"

#define SPAWN_WAIT_MSEC 1000 /* the loop stands still for no longer */

struct spawn {
	const char *path;  /* from spawn_find() */
	char *const *argv; /* argv[0] as the user wrote it */
	char *const *envp; /* NULL: ours, without what systemd meant for us */
	int fds[3];        /* stdin, stdout, stderr; borrowed */
	int cwd;           /* directory, or -1: ours */
	const int *keep;   /* inherited with the same numbers, all >= 3 */
	size_t n_keep;
	const int *until_exec; /* kept open until exec, which closes them */
	size_t n_until_exec;
	bool detach; /* own session, outlives us, no new privileges, waits for
		      * spawn_go() before exec; else: own process group, dies
		      * with the calling thread */
};

/* The absolute path of a program: searched in PATH when `name` has no slash.
 * -ENOENT or -EACCES. */
int spawn_find(const char *name, char **ret, struct err *err);
/* Forks.  *ret_link is the line to the new process: close it to end a
 * process that waits for spawn_go(). */
int spawn_start(
    const struct spawn *s, pid_t *ret_pid, int *ret_link, struct err *err);
int spawn_go(int link);
/* Waits for exec, wait_msec at most: 0 when it was done (or is not yet known),
 * or exec's errno; then the process has been reaped. */
int spawn_result(int link, pid_t pid, int wait_msec);

#endif
