// SPDX-License-Identifier: Apache-2.0
/*
 * The keeper.  main.c runs it.  It knows no node and no request: what it does
 * must go on when a daemon is killed or replaced at any moment.  It has neither
 * descriptor nor working directory in the mount, or it would wait for the
 * daemon that it is about to start.
 *
 * SIGHUP: another daemon in place of this one, from the program as it is on
 * disk then.  The old one is killed: that is the way out which is always
 * tested.  SIGTERM, SIGINT, or a daemon that ends with 0: the end of all.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fs/keeper_internal.h"
#include "fs/mount.h"
#include "log.h"

/* A daemon that ends by its own fault is started again after a pause that
 * doubles; one that lived long enough begins anew. */
#define FAULTS_MAX 10
#define PAUSE_USEC (10 * USEC_PER_MSEC)
#define LONG_LIFE  (10 * USEC_PER_SEC)
/* Killed from outside before it could serve, so often in a row. */
#define KILLS_MAX 100
#define STOP_USEC (30 * USEC_PER_SEC) /* for a clean end */

/* --- systemd: sd_notify(3) ----------------------------------------------- */

static void notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	size_t len;

	if (!path || (*path != '/' && *path != '@'))
		return;
	len = strlen(path);
	if (len >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, len);
	if (*path == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    sendto(fd, state, strlen(state), MSG_NOSIGNAL,
		(struct sockaddr *)&a,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_debug("%s does not listen", path);
}

/* --- the end of a process ------------------------------------------------ */

static void herald_ended(struct keeper *k)
{
	k->herald = 0;
	if (k->stopping || k->over)
		return;
	log_warn("the herald ended; another one starts");
	keeper_tell(k->control, KEEPER_HERALD, 0);
	k->herald_at = now_mono() + PAUSE_USEC;
}

static void end(struct keeper *k, int result)
{
	k->over = true;
	k->result = result;
}

static bool is_fault(int status)
{
	if (!WIFSIGNALED(status))
		return true;
	switch (WTERMSIG(status)) {
	case SIGKILL:
	case SIGTERM:
	case SIGINT:
	case SIGHUP:
		return false;
	default:
		return true;
	}
}

static void daemon_failed(struct keeper *k, uint64_t life)
{
	if (life >= LONG_LIFE)
		k->faults = 0;
	/* Perhaps it is the program on disk that is wrong. */
	if (!k->ready)
		k->own_program = !k->own_program;
	if (++k->faults > FAULTS_MAX) {
		log_error("%u daemons in a row ended by a fault: it gives up; "
			  "machines are left running",
		    k->faults);
		end(k, -EIO);
		return;
	}
	k->daemon_at =
	    now_mono() + MIN(PAUSE_MAX, PAUSE_USEC << MIN(k->faults, 16U));
}

static void daemon_killed(struct keeper *k)
{
	k->kills = k->ready ? 0 : k->kills + 1;
	if (k->kills > KILLS_MAX) {
		log_error("%u daemons in a row were killed at their start: it "
			  "gives up; machines are left running",
		    k->kills);
		end(k, -EIO);
		return;
	}
	keeper_start_daemon(k);
}

static void daemon_ended(struct keeper *k, int status)
{
	k->daemon = 0;
	util_closep(&k->control);
	if (k->stopping || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
		end(k, 0);
		return;
	}
	if (!k->served) { /* it has said why */
		end(k, -EIO);
		return;
	}
	if (k->reloading) {
		k->reloading = k->crashed = k->own_program = false;
		keeper_start_daemon(k);
		return;
	}
	k->crashed = is_fault(status);
	log_warn("the daemon %s %d; another one goes on",
	    WIFSIGNALED(status) ? "ended by signal" : "ended with status",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (k->crashed)
		daemon_failed(k, now_mono() - k->started);
	else
		daemon_killed(k);
}

/* --- events -------------------------------------------------------------- */

static void reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k->daemon)
			daemon_ended(k, status);
		else if (pid == k->herald)
			herald_ended(k);
	}
}

static void stop(struct keeper *k, int number)
{
	if (k->stopping)
		return;
	log_notice("%s: it ends, machines are left running", strsignal(number));
	notify_manager("STOPPING=1");
	k->stopping = true;
	k->stop_at = now_mono() + STOP_USEC;
	if (k->daemon)
		kill(k->daemon, SIGTERM);
	else
		end(k, 0);
}

static void reload(struct keeper *k)
{
	if (k->stopping || !k->served)
		return;
	log_notice("another daemon takes over");
	notify_manager("RELOADING=1");
	k->faults = k->kills = 0;
	k->reloading = true;
	if (k->daemon)
		kill(k->daemon, SIGKILL);
	else
		k->daemon_at = now_mono();
}

static void on_signal(struct keeper *k)
{
	struct signalfd_siginfo s;

	while (read(k->signals, &s, sizeof(s)) == sizeof(s)) {
		switch (s.ssi_signo) {
		case SIGCHLD:
			reap(k);
			break;
		case SIGHUP:
			reload(k);
			break;
		default:
			stop(k, (int)s.ssi_signo);
			break;
		}
	}
}

static void on_ready(struct keeper *k)
{
	bool first = !k->served;

	k->ready = k->served = true;
	notify_manager("READY=1");
	if (!first)
		return;
	/* Wherever that was, it may be unmounted from now on; the daemon has
	 * noted where relative host paths begin. */
	if (chdir("/") < 0)
		log_warn("/ can't be entered");
	if (k->ready_fd < 0)
		return;
	folders_leave_terminal(&k->folders);
	if (write(k->ready_fd, "1", 1) < 0)
		log_warn("who started rackfs is gone");
	util_closep(&k->ready_fd);
}

static void on_control(struct keeper *k)
{
	struct keeper_note n;

	while (recv(k->control, &n, sizeof(n), MSG_DONTWAIT) == sizeof(n)) {
		if (n.word == KEEPER_READY)
			on_ready(k);
	}
}

/* The kernel ends FUSE with the last mount.  A builder, or any service, that
 * runs in a mount namespace of its own holds a copy that nobody can unmount. */
static void on_mounts(struct keeper *k)
{
	if (k->unmounted || !mount_gone(k->mount))
		return;
	k->unmounted = true;
	keeper_tell(k->control, KEEPER_UNMOUNTED, 0);
}

static int timeout_of(const struct keeper *k)
{
	uint64_t at = MIN(MIN(k->daemon_at, k->herald_at), k->stop_at);
	uint64_t now = now_mono();

	if (at == USEC_NEVER)
		return -1;
	return at <= now ? 0 : (int)((at - now) / USEC_PER_MSEC) + 1;
}

static void on_time(struct keeper *k)
{
	uint64_t now = now_mono();

	if (k->herald_at <= now)
		keeper_start_herald(k);
	if (k->daemon_at <= now)
		keeper_start_daemon(k);
	if (k->stop_at <= now && k->daemon) {
		log_warn("the daemon does not end: it is killed");
		kill(k->daemon, SIGKILL);
		k->stop_at = USEC_NEVER;
	}
}

static void serve(struct keeper *k)
{
	while (!k->over) {
		/* A daemon that has died leaves its socket readable: its end
		 * is told by SIGCHLD. */
		struct pollfd fds[] = {{.fd = k->signals, .events = POLLIN},
		    {.fd = k->control, .events = POLLIN},
		    {.fd = k->mounts}}; /* POLLERR */

		if (poll(fds, ARRAY_SIZE(fds), timeout_of(k)) < 0)
			continue;
		if (fds[1].revents & POLLIN)
			on_control(k);
		if (fds[2].revents)
			on_mounts(k);
		if (fds[0].revents)
			on_signal(k);
		else if (fds[1].revents & POLLHUP)
			poll(fds, 1, -1);
		if (!k->over)
			on_time(k);
	}
}

/* --- life ---------------------------------------------------------------- */

static int catch_signals(int *ret)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	*ret = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret < 0 ? -errno : 0;
}

/* After an upgrade this names the new program. */
static char *find_program(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	return n > 0 ? xstrndup(path, (size_t)n) : xstrdup("/proc/self/exe");
}

static int prepare(struct keeper *k, struct err *err)
{
	const struct options *o = k->options;
	int r = folders_open(o->state_dir, o->runtime_dir, &k->folders, err);

	if (r == 0)
		r = folders_mountpoint(&k->folders, o->mountpoint, err);
	if (r < 0)
		return r;
	umask(077);
	k->memory = memfd_create("rackfs", MFD_CLOEXEC);
	if (k->memory < 0 ||
	    socketpair(
		AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, k->herald_fds) < 0 ||
	    catch_signals(&k->signals) < 0)
		return err_errno(err, -errno, "the keeper can't begin");
	k->mounts = mount_watch();
	if (k->mounts < 0)
		return err_errno(err, k->mounts, "the host's mounts");
	return mount_new(k->folders.mountpoint, o->fuse, &k->mount, err);
}

static void finish(struct keeper *k)
{
	int status;

	if (k->daemon)
		kill(k->daemon, SIGKILL);
	if (k->herald)
		kill(k->herald, SIGKILL);
	/* The herald may be inside a call: that ends with the mount. */
	if (k->daemon)
		waitpid(k->daemon, &status, 0);
	mount_free(k->mount);
	if (k->herald)
		waitpid(k->herald, &status, 0);
	util_closep(&k->control);
	util_closep(&k->herald_fds[0]);
	util_closep(&k->herald_fds[1]);
	util_closep(&k->memory);
	util_closep(&k->signals);
	util_closep(&k->mounts);
	folders_close(&k->folders);
	free(k->program);
}

int keeper_run(const struct options *o, int ready_fd, struct err *err)
{
	struct keeper k = {.options = o,
	    .folders = FOLDERS_INIT,
	    .signals = -1,
	    .mounts = -1,
	    .memory = -1,
	    .herald_fds = {-1, -1},
	    .control = -1,
	    .ready_fd = ready_fd,
	    .daemon_at = USEC_NEVER,
	    .herald_at = USEC_NEVER,
	    .stop_at = USEC_NEVER};
	int r = prepare(&k, err);

	if (r == 0) {
		k.program = find_program();
		keeper_start_herald(&k);
		keeper_start_daemon(&k);
		serve(&k);
		r = k.result;
	}
	finish(&k);
	return r;
}
