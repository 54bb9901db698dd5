/* SPDX-License-Identifier: Apache-2.0
 *
 * Fork and exec.  A socket pair links both sides: its end in the child is
 * close-on-exec, so that EOF tells of a successful exec and four bytes bring
 * the errno of a failed one.  A detached child waits on it for one byte; EOF
 * there says that its daemon is gone, and it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawn.h"

/* What users often lack in PATH, and where Debian puts mkfs and the like. */
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"
#define PATH_SBIN    "/usr/local/sbin:/usr/sbin:/sbin"

static int usable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
		return -EACCES;
	return 0;
}

int spawn_find(const char *name, char **ret, struct err *err)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *all = NULL, *cwd = NULL;
	char *save = NULL;
	struct stat st;
	int rc = -ENOENT;

	if (strchr(name, '/')) {
		rc = usable(name);
		if (rc)
			return err_errno(err, rc, "cannot run %s", name);
		/* It will be run from another folder; symlinks stay, since
		 * programs look at the name they were run by. */
		if (*name != '/')
			cwd = getcwd(NULL, 0);
		if (*name != '/' && !cwd)
			return err_errno(err, -errno, "cannot run %s", name);
		*ret = cwd ? xasprintf("%s/%s", cwd, name) : xstrdup(name);
		return 0;
	}
	all =
	    xasprintf("%s:%s", path && *path ? path : PATH_DEFAULT, PATH_SBIN);
	for (char *dir = strtok_r(all, ":", &save); *name && dir;
	     dir = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *full = xasprintf("%s/%s", dir, name);
		int one = *dir == '/' ? usable(full) : -ENOENT;

		if (one == 0) {
			*ret = TAKE_PTR(full);
			return 0;
		}
		/* Not of a folder of PATH that is closed to us. */
		if (one == -EACCES && stat(full, &st) == 0)
			rc = one;
	}
	if (rc == -EACCES)
		return err_set(err, rc,
		    "cannot run %s: what PATH has of that name is not an "
		    "executable file",
		    name);
	return err_set(err, rc,
	    "cannot run %s: there is no such program in PATH; install it, or "
	    "mend PATH",
	    name);
}

/* --- after fork: async-signal-safe only --------------------------------- */

struct plan {
	const struct spawn *spawn;
	char *const *envp;
	int fds[3];
	int link;
	int *open; /* sorted: what stays open above stderr */
	size_t n_open;
	pid_t parent;
};

static _Noreturn void fail(const struct plan *p, int code)
{
	(void)!write(p->link, &code, sizeof(code));
	_exit(127);
}

static void close_between(unsigned from, unsigned to)
{
	struct rlimit lim;

	if (from > to || close_range(from, to, 0) == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	for (unsigned fd = from; fd <= to && fd < lim.rlim_cur; fd++)
		close((int)fd);
}

static void close_others(const struct plan *p)
{
	unsigned from = STDERR_FILENO + 1;

	for (size_t i = 0; i < p->n_open; i++) {
		if ((unsigned)p->open[i] > from)
			close_between(from, (unsigned)p->open[i] - 1);
		from = (unsigned)p->open[i] + 1;
	}
	close_between(from, ~0U);
}

/* By the system call: the library keeps 32 and 33 for itself, and make hands
 * them on ignored. */
static void reset_signals(void)
{
	const struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} fallback = {0}; /* SIG_DFL; rt_sigaction(2), x86-64 and arm64 */

	for (int i = 1; i < NSIG; i++) /* fails for KILL and STOP */
		syscall(SYS_rt_sigaction, i, &fallback, NULL,
		    sizeof(fallback.mask));
}

static void detach(const struct plan *p)
{
	struct rlimit none = {0};
	int fd;

	if (setsid() < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail(p, errno);
	umask(077);
	/* A core would hold the guest's memory. */
	getrlimit(RLIMIT_CORE, &none);
	none.rlim_cur = 0;
	setrlimit(RLIMIT_CORE, &none);
	/* The daemon may be protected; a machine is not. */
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "0", 1);
		close(fd);
	}
}

static void wait_for_go(const struct plan *p)
{
	ssize_t n;
	char go;

	do {
		n = read(p->link, &go, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127);
}

static _Noreturn void run(const struct plan *p)
{
	const struct spawn *s = p->spawn;
	sigset_t none;

	reset_signals();
	for (int i = 0; i < 3; i++)
		if (dup2(p->fds[i], i) < 0)
			fail(p, errno);
	if (s->cwd >= 0 && fchdir(s->cwd) < 0)
		fail(p, errno);
	/* Before the wait: the daemon's mount must not hang on us, and its
	 * end of the link must be the only one. */
	close_others(p);
	for (size_t i = 0; i < s->n_keep; i++)
		if (fcntl(s->keep[i], F_SETFD, 0) < 0)
			fail(p, errno);
	if (s->detach) {
		detach(p);
		wait_for_go(p);
	} else {
		if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			fail(p, errno);
		if (getppid() != p->parent)
			_exit(127);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(s->path, s->argv, p->envp);
	fail(p, errno);
}

/* --- before and beside it ------------------------------------------------ */

static int by_number(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* What systemd told us by environment is not for those we start. */
static char **clean_env(void)
{
	static const char *const ours[] = {"NOTIFY_SOCKET=", "WATCHDOG_PID=",
	    "WATCHDOG_USEC=", "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=",
	    "JOURNAL_STREAM=", "INVOCATION_ID=", "MAINPID="};
	char **env = xcalloc(strv_len(environ) + 1, sizeof(*env));
	size_t n = 0;

	for (size_t i = 0; environ && environ[i]; i++) {
		bool drop = false;

		for (size_t k = 0; k < ARRAY_SIZE(ours); k++)
			drop |=
			    strncmp(environ[i], ours[k], strlen(ours[k])) == 0;
		if (!drop)
			env[n++] = environ[i];
	}
	return env;
}

/* The same file with a number above stderr, which dup2() can't overwrite. */
static int high(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	return copy < 0 ? -errno : copy;
}

static int make_link(int ends[2])
{
	int pair[2];

	ends[0] = ends[1] = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ends[0] = high(pair[0]);
	ends[1] = high(pair[1]);
	close(pair[0]);
	close(pair[1]);
	return ends[0] < 0 ? ends[0] : MIN(ends[1], 0);
}

static int plan_open(struct plan *p)
{
	const struct spawn *s = p->spawn;

	p->open = xcalloc(s->n_keep + s->n_until_exec + 1, sizeof(int));
	p->open[p->n_open++] = p->link;
	for (size_t i = 0; i < s->n_keep + s->n_until_exec; i++) {
		int fd =
		    i < s->n_keep ? s->keep[i] : s->until_exec[i - s->n_keep];

		if (fd <= STDERR_FILENO)
			return -EINVAL;
		p->open[p->n_open++] = fd;
	}
	qsort(p->open, p->n_open, sizeof(int), by_number);
	return 0;
}

static int fork_plan(struct plan *p, pid_t *ret_pid)
{
	sigset_t all, old;
	pid_t pid;
	int rc;

	p->parent = getpid();
	/* No handler of ours may run in the child. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	rc = pid < 0 ? -errno : 0;
	if (pid == 0)
		run(p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return rc;
	/* It does so itself; whoever is first. */
	if (!p->spawn->detach)
		setpgid(pid, pid);
	*ret_pid = pid;
	return 0;
}

int spawn_start(
    const struct spawn *s, pid_t *ret_pid, int *ret_link, struct err *err)
{
	struct plan p = {.spawn = s, .fds = {-1, -1, -1}, .link = -1};
	_cleanup_free_ char **env = s->envp ? NULL : clean_env();
	int ends[2], rc;

	p.envp = s->envp ? s->envp : env;
	rc = make_link(ends);
	for (int i = 0; !rc && i < 3; i++) {
		p.fds[i] = high(s->fds[i]);
		rc = MIN(p.fds[i], 0);
	}
	p.link = ends[1];
	if (!rc)
		rc = plan_open(&p);
	if (!rc)
		rc = fork_plan(&p, ret_pid);
	for (int i = 0; i < 3; i++)
		util_closep(&p.fds[i]);
	util_closep(&ends[1]);
	free(p.open);
	if (rc) {
		util_closep(&ends[0]);
		return err_errno(err, rc, "cannot start %s", s->argv[0]);
	}
	*ret_link = ends[0];
	return 0;
}

int spawn_go(int link)
{
	return send(link, "g", 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int spawn_result(int link, pid_t pid, int wait_msec)
{
	struct pollfd p = {.fd = link, .events = POLLIN};
	siginfo_t info;
	int code = 0, rc;

	do {
		rc = poll(&p, 1, wait_msec);
	} while (rc < 0 && errno == EINTR);
	if (rc <= 0)
		return 0;
	if (recv(link, &code, sizeof(code), MSG_DONTWAIT) != sizeof(code))
		return 0;
	while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	return code > 0 ? -code : -EIO;
}
