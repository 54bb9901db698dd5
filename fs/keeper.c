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
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fs/herald.h"
#include "fs/keeper.h"
#include "fs/mount.h"
#include "fs/place.h"
#include "log.h"

#define ENVIRONMENT "RACKFS_KEEPER"

/* A daemon that ends by its own fault is started again after a pause that
 * doubles; one that lived long enough begins anew. */
#define FAULTS_MAX 10
#define PAUSE_USEC (10 * USEC_PER_MSEC)
#define PAUSE_MAX  (2 * USEC_PER_SEC)
#define LONG_LIFE  (10 * USEC_PER_SEC)
/* Killed from outside before it could serve, so often in a row. */
#define KILLS_MAX 100
#define STOP_USEC (30 * USEC_PER_SEC) /* for a clean end */

struct keeper {
	const struct options *options;
	struct folders folders;
	struct mount *mount;
	int signals;
	int memory;
	int herald_fds[2]; /* the daemon's end, the herald's */
	int control;       /* of the daemon that lives */
	int ready_fd;
	pid_t daemon, herald; /* 0: none */
	char *program;        /* as it was started */
	bool own_program;     /* the one on disk did not come up */
	bool served;          /* some daemon has */
	bool ready;           /* this one has */
	bool reloading, stopping, crashed, over;
	int result;
	unsigned faults, kills;
	uint64_t started;              /* the daemon; now_mono() */
	uint64_t daemon_at, herald_at; /* when to start it; or never */
	uint64_t stop_at;              /* when patience ends; or never */
};

/* --- systemd: sd_notify(3) --- */

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

/* --- to a daemon --- */

static void tell(int control, enum keeper_word word, int value)
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

static void start_daemon(struct keeper *k)
{
	int fds[2];

	k->daemon_at = USEC_NEVER;
	k->started = now_mono();
	k->ready = false;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		k->daemon_at = k->started + PAUSE_MAX;
		return;
	}
	tell(fds[0], KEEPER_HERALD, k->herald);
	if (k->crashed)
		tell(fds[0], KEEPER_CRASHED, 1);
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

/* --- the herald --- */

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

static void start_herald(struct keeper *k)
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
	tell(k->control, KEEPER_HERALD, k->herald);
}

static void herald_ended(struct keeper *k)
{
	k->herald = 0;
	if (k->stopping || k->over)
		return;
	log_warn("the herald ended; another one starts");
	tell(k->control, KEEPER_HERALD, 0);
	k->herald_at = now_mono() + PAUSE_USEC;
}

/* --- the daemon's end --- */

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
	start_daemon(k);
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
		start_daemon(k);
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

/* --- events --- */

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
		start_herald(k);
	if (k->daemon_at <= now)
		start_daemon(k);
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
		    {.fd = k->control, .events = POLLIN}};

		if (poll(fds, ARRAY_SIZE(fds), timeout_of(k)) < 0)
			continue;
		if (fds[1].revents & POLLIN)
			on_control(k);
		if (fds[0].revents)
			on_signal(k);
		else if (fds[1].revents & POLLHUP)
			poll(fds, 1, -1);
		if (!k->over)
			on_time(k);
	}
}

/* --- life --- */

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
	folders_close(&k->folders);
	free(k->program);
}

int keeper_run(const struct options *o, int ready_fd, struct err *err)
{
	struct keeper k = {.options = o,
	    .folders = FOLDERS_INIT,
	    .signals = -1,
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
		start_herald(&k);
		start_daemon(&k);
		serve(&k);
		r = k.result;
	}
	finish(&k);
	return r;
}
