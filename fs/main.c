// SPDX-License-Identifier: Apache-2.0
/*
 * rackfs: options, into the background, and then what the process is to be:
 * the keeper, or, started by one, a daemon.  In the background the first
 * process stays until the tree can be used, so that a shell can go on with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "doctor.h"
#include "log.h"
#include "fs/daemon.h"
#include "fs/keeper.h"
#include "fs/options.h"

/* The first process: gives the exit status. */
static int wait_ready(int fd, pid_t child)
{
	char byte;
	ssize_t n;
	int status;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	/* It has said why. */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return 1;
}

/* true in the background process; else the first one's exit status. */
static bool in_background(int *ret_ready_fd, int *ret_status)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "rackfs: %s\n", strerror(errno));
		*ret_status = 1;
		return false;
	}
	if (pid > 0) {
		close(fds[1]);
		*ret_status = wait_ready(fds[0], pid);
		return false;
	}
	close(fds[0]);
	/* Nobody's pipe or lock is held for as long as the mount lives. */
	if (fds[1] > 3)
		close_range(3, (unsigned)fds[1] - 1, 0);
	close_range((unsigned)fds[1] + 1, ~0u, 0);
	setsid();
	*ret_ready_fd = fds[1];
	return true;
}

static int mount_it(const struct options *o)
{
	struct keeper_fds fds;
	struct err err = ERR_INIT;
	int status = 0, ready_fd = -1, r;

	signal(SIGPIPE, SIG_IGN);
	log_set_level(o->log_level);
	if (keeper_inherit(&fds))
		r = daemon_run(o, &fds, &err);
	else if (o->foreground || in_background(&ready_fd, &status))
		r = keeper_run(o, ready_fd, &err);
	else
		return status;
	if (r < 0 && err.text[0])
		log_error("%s", err_text(&err));
	return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct err err = ERR_INIT;
	int status = 0;

	if (options_parse(argc, argv, &o, &err) < 0) {
		fprintf(stderr, "rackfs: %s\n", err_text(&err));
		return 2;
	}
	switch (o.action) {
	case ACTION_MOUNT:
		status = mount_it(&o);
		break;
	case ACTION_DOCTOR:
		status = doctor_run(stdout);
		break;
	case ACTION_HELP:
		options_help(stdout);
		break;
	case ACTION_VERSION:
		puts("rackfs " RACKFS_VERSION);
		break;
	}
	options_done(&o);
	return status;
}
