// SPDX-License-Identifier: Apache-2.0
/*
 * The two processes that the keeper starts, the daemon and the herald, and
 * what each is handed down.  Called by keeper.c; a daemon takes its part by
 * keeper_inherit().
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fs/herald.h"
#include "fs/keeper_internal.h"
#include "fs/mount.h"
#include "log.h"

#define ENVIRONMENT "RACKFS_KEEPER"

/* --- the daemon ---------------------------------------------------------- */

void keeper_tell(int control, enum keeper_word word, int value)
{
	struct keeper_note n = {.word = word, .value = value};

	if (control >= 0 &&
	    send(control, &n, sizeof(n), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("the daemon does not listen");
}

bool keeper_inherit(struct keeper_fds *ret)
{
	const char *text = getenv(ENVIRONMENT);
	int *fds[] = {&ret->fuse, &ret->memory, &ret->control, &ret->herald,
	    &ret->state_lock, &ret->runtime_lock};

	if (!text || sscanf(text, "%d,%d,%d,%d,%d,%d", fds[0], fds[1], fds[2],
			 fds[3], fds[4], fds[5]) != 6)
		return false;
	unsetenv(ENVIRONMENT);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fcntl(*fds[i], F_SETFD, FD_CLOEXEC) < 0)
			return false;
	}
	return true;
}

static void hand_down(const struct keeper *k, int control)
{
	const int fds[] = {mount_fd(k->mount), k->memory, control,
	    k->herald_fds[0], k->folders.state_lock, k->folders.runtime_lock};
	_cleanup_buf_ struct buf text = {0};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fcntl(fds[i], F_SETFD, 0);
		buf_printf(&text, "%s%d", i ? "," : "", fds[i]);
	}
	setenv(ENVIRONMENT, buf_str(&text), 1);
	unsetenv("NOTIFY_SOCKET"); /* the keeper speaks for all */
}

static char **daemon_argv(const struct keeper *k)
{
	const struct options *o = k->options;
	char **argv = strv_new("rackfs", "--state-dir", k->folders.state,
	    "--runtime-dir", k->folders.runtime, "--log-level",
	    log_level_name(o->log_level), NULL);

	if (o->foreground)
		strv_push(&argv, "--foreground");
	if (o->fuse) {
		strv_push(&argv, "-o");
		strv_push(&argv, o->fuse);
	}
	strv_push(&argv, k->folders.mountpoint);
	return argv;
}

static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become_daemon(const struct keeper *k, int control)
{
	_cleanup_strv_ char **argv = daemon_argv(k);

	hand_down(k, control);
	unblock_signals();
	if (!k->own_program)
		execv(k->program, argv);
	execv("/proc/self/exe", argv);
	log_error("%s can't be started: %s", k->program, strerror(errno));
	_exit(127);
}

void keeper_start_daemon(struct keeper *k)
{
	int fds[2];

	k->daemon_at = USEC_NEVER;
	k->started = now_mono();
	k->ready = false;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		k->daemon_at = k->started + PAUSE_MAX;
		return;
	}
	keeper_tell(fds[0], KEEPER_HERALD, k->herald);
	if (k->crashed)
		keeper_tell(fds[0], KEEPER_CRASHED, 1);
	if (k->unmounted)
		keeper_tell(fds[0], KEEPER_UNMOUNTED, 0);
	k->daemon = fork();
	if (k->daemon == 0)
		become_daemon(k, fds[1]);
	close(fds[1]);
	if (k->daemon < 0) {
		k->daemon = 0;
		k->daemon_at = k->started + PAUSE_MAX;
		close(fds[0]);
		return;
	}
	k->control = fds[0];
}

/* --- the herald ---------------------------------------------------------- */

static void become_herald(const struct keeper *k, pid_t keeper)
{
	int status, null;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "rackfs-herald");
	if (getppid() != keeper)
		_exit(1);
	signal(SIGINT, SIG_IGN); /* of the terminal: for the keeper */
	unblock_signals();
	/* No descriptor of the mount's own, nor of who waits for the keeper's
	 * output to end. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
	    dup2(k->herald_fds[1], STDERR_FILENO + 1) < 0)
		_exit(1);
	close_range(STDERR_FILENO + 2, ~0U, 0);
	status = herald_run(
	    STDERR_FILENO + 1, k->folders.mountpoint, mount_device(k->mount));
	_exit(status);
}

void keeper_start_herald(struct keeper *k)
{
	pid_t keeper = getpid();

	k->herald_at = USEC_NEVER;
	k->herald = fork();
	if (k->herald == 0)
		become_herald(k, keeper);
	if (k->herald < 0) {
		k->herald = 0;
		k->herald_at = now_mono() + PAUSE_MAX;
		return;
	}
	keeper_tell(k->control, KEEPER_HERALD, k->herald);
}
