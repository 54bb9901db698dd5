/* SPDX-License-Identifier: Apache-2.0
 *
 * Short-lived programs: started from an argv, output handed on as it comes,
 * bounded in time; they end with the daemon (PR_SET_PDEATHSIG, own process
 * group, killed as a group).
 */
#ifndef RACKFS_CHILD_H
#define RACKFS_CHILD_H

#include "err.h"
#include "loop.h"

struct child;

struct child_options {
	char *const *argv; /* argv[0] is searched in PATH */
	char *const *envp; /* NULL: ours */
	const char *cwd;   /* NULL: ours */
	int stdin_fd;      /* -1: /dev/null; borrowed */
	const void *input; /* or: bytes for its stdin (copied) */
	size_t input_len;
	int stdout_fd;    /* borrowed; 0: none, output() gets it */
	uint64_t timeout; /* usec; 0: none; killed then, code -ETIMEDOUT */
	/* Each piece of output as it comes; may be NULL. */
	void (*output)(
	    const char *data, size_t len, bool is_stderr, void *userdata);
	/* Once, after the last output.  code 0: exited with `status` (exit
	 * status; 128 + N when killed by signal N); -ETIMEDOUT; -ECANCELED
	 * after child_kill(). */
	void (*done)(int code, int status, void *userdata);
	void *userdata;
};

/* done never fires from within.  -ENOENT when the program does not exist:
 * err names it. */
int child_start(struct loop *l, const struct child_options *o,
    struct child **ret, struct err *err);
/* Kills it with its group; done still fires. */
void child_kill(struct child *c);
/* Kills it, done does not fire.  NULL is legal. */
void child_free(struct child *c);

#endif
