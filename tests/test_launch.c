/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that outlive the daemon.  The daemon here is a fork of the test;
 * the test is a subreaper, so that every process that is left over comes to
 * it and none can hide.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/launch.h"
#include "test.h"

#define LONG (20 * USEC_PER_SEC)

static char dir[PATH_MAX];
static struct loop *l;
static struct launch *x;
static struct err err;
static int ended, code, status;

static void fresh(void)
{
	const char *tmp = getenv("TMPDIR");

	alarm(100); /* a wait for what never ends */
	snprintf(dir, sizeof(dir), "%s/test_launch.XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(dir));
	CHECK_INT(loop_new(&l), 0);
	x = NULL;
	err = ERR_INIT;
	ended = 0;
}

/* Every process is gone, and was no secret. */
static void finish(void)
{
	launch_free(x);
	loop_free(l);
	CHECK_INT(waitpid(-1, NULL, 0), -1);
	CHECK_INT(errno, ECHILD);
	CHECK_INT(remove_tree(AT_FDCWD, dir), 0);
}

static void on_end(int code_, int status_, void *userdata)
{
	ended++;
	code = code_;
	status = status_;
}

static void until_ended(void)
{
	uint64_t end = now_mono() + LONG;

	while (!ended && now_mono() < end)
		loop_turn(l, end - now_mono());
	CHECK_INT(ended, 1);
}

static int start_argv(char *const *argv)
{
	struct launch_options o = {.argv = argv};

	return launch_start(l, dir, &o, NULL, NULL, &x, &err);
}

static int start_shell(const char *script)
{
	return start_argv((char *[]){"sh", "-c", (char *)script, NULL});
}

static int adopt(uint64_t *ret_last)
{
	launch_free(x);
	x = NULL;
	err = ERR_INIT;
	return launch_adopt(l, dir, &x, ret_last, &err);
}

static void read_file(const char *name, struct buf *ret)
{
	CHECK_INT(file_read(launch_folder(x), name, 65536, ret), 0);
}

static void test_life(void)
{
	uint64_t before = now_mono(), last = 99;
	struct stat st;

	fresh();
	CHECK_INT(adopt(&last), 0);
	CHECK_INT(last, 0);
	CHECK_INT(start_shell("read -r x <gate; exit 7"), 0);
	CHECK_INT(launch_number(x), 1);
	CHECK(launch_started(x) >= before && launch_started(x) <= now_mono());
	CHECK(launch_pid(x) > 1);
	CHECK(launch_path(x)[0] == '/');
	CHECK_INT(stat(launch_path(x), &st), 0);
	CHECK_INT(st.st_mode & 07777, 0700);
	CHECK_INT(launch_signal(x, 0), 0);
	CHECK_INT(launch_watch(x, on_end, NULL), 0);
	/* `gate` is missing, so the shell ends by itself. */
	until_ended();
	CHECK_INT(code, 0);
	CHECK_INT(status, 7);
	CHECK_INT(launch_signal(x, 0), -ESRCH);
	CHECK_INT(loop_turn(l, 0), 0);
	CHECK_INT(adopt(&last), 0);
	CHECK_INT(last, 1);
	finish();
}

static void test_numbers(void)
{
	char path[PATH_MAX + 32];

	fresh();
	snprintf(path, sizeof(path), "%s/launch-41", dir);
	CHECK_INT(mkdir(path, 0700), 0);
	/* Those are none of ours. */
	snprintf(path, sizeof(path), "%s/launch-0099", dir);
	CHECK_INT(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/launch-x", dir);
	CHECK_INT(mkdir(path, 0700), 0);
	CHECK_INT(start_shell("kill -TERM $$"), 0);
	CHECK_INT(launch_number(x), 42);
	CHECK_INT(launch_watch(x, on_end, NULL), 0);
	CHECK_INT(launch_watch(x, on_end, NULL), -EALREADY);
	until_ended();
	CHECK_INT(code, 0);
	CHECK_INT(status, 128 + SIGTERM);
	finish();
}

static int make_gate(int folder, void *userdata, struct err *e)
{
	return mkfifoat(folder, "gate", 0600) < 0 ? -errno : 0;
}

static int refuse(int folder, void *userdata, struct err *e)
{
	return err_set(e, -ENOSPC, "no room");
}

/* What the script of test_environment() wrote. */
static void check_environment(void)
{
	_cleanup_buf_ struct buf b = {0};
	int pid, ppid, pgrp, session;
	char state;

	read_file("pwd", &b);
	CHECK_INT(strncmp(buf_str(&b), launch_path(x), b.len - 1), 0);
	read_file("fds", &b);
	/* 0, 1, 2, the lock, 50; the shell opens nothing above 9 but its
	 * copies from 10. */
	CHECK(strstr(buf_str(&b), "/fd/50"));
	CHECK(!strstr(buf_str(&b), "/fd/51"));
	CHECK_INT(launch_stderr(x, 1000, &b), 0);
	CHECK_STR(buf_str(&b), "hello\nthere\n");
	CHECK_INT(launch_stderr(x, 7, &b), 0);
	CHECK_STR(buf_str(&b), "\nthere\n");
	CHECK_INT(launch_stderr(x, 0, &b), 0);
	CHECK_STR(buf_str(&b), "");
	read_file("umask", &b);
	CHECK_STR(buf_str(&b), "0077\n");
	read_file("status", &b);
	CHECK(strstr(buf_str(&b), "NoNewPrivs:\t1"));
	CHECK(strstr(buf_str(&b), "SigBlk:\t0000000000000000"));
	CHECK(strstr(buf_str(&b), "SigIgn:\t0000000000000000"));
	read_file("stat", &b);
	CHECK_INT(sscanf(buf_str(&b), "%d (sh) %c %d %d %d", &pid, &state,
		      &ppid, &pgrp, &session),
	    5);
	CHECK_INT(pid, launch_pid(x));
	CHECK_INT(pgrp, pid);
	CHECK_INT(session, pid);
}

static void test_environment(void)
{
	char *argv[] = {"sh", "-c",
	    "pwd >pwd; echo /proc/$$/fd/* >fds; read -r x <gate;"
	    "echo hello >&2; echo there; cat /proc/$$/stat >stat;"
	    "umask >umask; exec grep -E '^Sig(Blk|Ign)|^NoNew'"
	    " /proc/self/status >status",
	    NULL};
	int extra[2], keep[1], gate;
	struct launch_options o = {
	    .argv = argv, .keep_fds = keep, .n_keep_fds = 1};
	sigset_t set;

	fresh();
	CHECK_INT(pipe(extra), 0);
	keep[0] = fcntl(extra[0], F_DUPFD_CLOEXEC, 50);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	CHECK_INT(launch_start(l, dir, &o, make_gate, NULL, &x, &err), 0);
	CHECK_STR(err_text(&err), "no error");
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
	close(extra[0]);
	close(extra[1]);
	close(keep[0]);
	CHECK_INT(launch_watch(x, on_end, NULL), 0);
	gate = openat(launch_folder(x), "gate", O_WRONLY | O_CLOEXEC);
	CHECK_INT(write(gate, "\n", 1), 1);
	close(gate);
	until_ended();
	CHECK_INT(status, 0);

	check_environment();
	finish();
}

static int count_folders(void)
{
	_cleanup_free_ char *command = xasprintf("ls %s | wc -l", dir);
	FILE *f = popen(command, "r");
	int n = -1;

	if (!f || fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		pclose(f);
	return n;
}

/* A start that fails says why and leaves nothing. */
static void test_fails(void)
{
	char *none[] = {"rackfs-nonesuch", NULL}, *ok[] = {"true", NULL};
	char path[PATH_MAX + 32], *script[] = {path, NULL};
	int low[] = {1}, closed[] = {400};
	struct launch_options o = {.argv = ok};

	fresh();
	CHECK_INT(start_argv(none), -ENOENT);
	CHECK(strstr(err.text, "rackfs-nonesuch"));
	CHECK_INT(launch_start(l, dir, &o, refuse, NULL, &x, &err), -ENOSPC);
	CHECK_STR(err_text(&err), "no room");
	o.n_keep_fds = 1;
	o.keep_fds = low;
	CHECK_INT(launch_start(l, dir, &o, NULL, NULL, &x, &err), -EINVAL);
	o.keep_fds = closed;
	CHECK_INT(launch_start(l, dir, &o, NULL, NULL, &x, &err), -EBADF);
	CHECK(strstr(err.text, "true"));
	CHECK_INT(count_folders(), 0);
	/* Only exec itself finds out. */
	snprintf(path, sizeof(path), "%s/prog", dir);
	file_replace(AT_FDCWD, path, "#!/rackfs-nonesuch\n", 19, 0700);
	CHECK_INT(start_argv(script), -ENOENT);
	CHECK(strstr(err.text, path));
	CHECK_INT(count_folders(), 1);
	snprintf(path, sizeof(path), "%s/none", dir);
	snprintf(dir + strlen(dir), 6, "/none");
	CHECK_INT(start_argv(ok), -ENOENT);
	CHECK_INT(adopt(NULL), 0);
	dir[strlen(dir) - 5] = '\0';
	CHECK(!x);
	finish();
}

static void test_fifo(void)
{
	char *argv[] = {"cat", NULL};
	struct launch_options o = {.argv = argv, .stdin_fifo = true};
	_cleanup_buf_ struct buf b = {0};
	int fd;

	fresh();
	CHECK_INT(launch_start(l, dir, &o, NULL, NULL, &x, &err), 0);
	CHECK_INT(launch_watch(x, on_end, NULL), 0);
	for (int i = 0; i < 2; i++) {
		fd = openat(launch_folder(x), "stdin",
		    O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		CHECK_INT(write(fd, "line\n", 5), 5);
		close(fd); /* no EOF for it */
	}
	while (b.len < 10) {
		CHECK_INT(launch_stderr(x, 100, &b), 0);
		CHECK_INT(ended, 0);
		loop_turn(l, USEC_PER_MSEC);
	}
	CHECK_STR(buf_str(&b), "line\nline\n");
	CHECK_INT(launch_signal(x, SIGKILL), 0);
	until_ended();
	CHECK_INT(status, 128 + SIGKILL);
	finish();
}

static void test_adopt(void)
{
	uint64_t last, started;
	pid_t pid;

	fresh();
	CHECK_INT(start_shell("exec sleep 1000"), 0);
	pid = launch_pid(x);
	started = launch_started(x);
	/* Never a second copy. */
	{
		struct launch *second = NULL;
		char *argv[] = {"true", NULL};
		struct launch_options o = {.argv = argv};

		CHECK_INT(launch_start(l, dir, &o, NULL, NULL, &second, &err),
		    -EEXIST);
		CHECK(strstr(err.text, "launch-1"));
		CHECK(!second);
	}
	CHECK_INT(adopt(&last), 1);
	CHECK_INT(last, 1);
	CHECK_INT(launch_number(x), 1);
	CHECK_INT(launch_pid(x), pid);
	CHECK_INT(launch_started(x), started);
	CHECK_INT(launch_watch(x, on_end, NULL), 0);
	CHECK_INT(loop_turn(l, 0), 0);
	CHECK_INT(launch_signal(x, SIGTERM), 0);
	until_ended();
	CHECK_INT(code, -ECHILD);
	CHECK_INT(adopt(&last), 0);
	CHECK_INT(last, 1);
	/* launch_free() gave it to the loop: no zombie. */
	while (kill(pid, 0) == 0 && loop_turn(l, LONG) > 0)
		;
	CHECK_INT(start_shell("exec sleep 1000"), 0);
	CHECK_INT(launch_number(x), 2);
	launch_signal(x, SIGKILL);
	CHECK_INT(waitpid(launch_pid(x), NULL, 0), launch_pid(x));
	finish();
}

/* Replaces one line of the record of launch-1. */
static void change_record(const char *key, const char *value)
{
	_cleanup_buf_ struct buf b = {0}, changed = {0};
	char *save = NULL;

	read_file("record", &b);
	for (char *line = strtok_r(b.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, key, strlen(key)) == 0)
			buf_printf(&changed, "%s %s\n", key, value);
		else
			buf_printf(&changed, "%s\n", line);
	}
	CHECK_INT(file_replace(launch_folder(x), "record", changed.data,
		      changed.len, 0600),
	    0);
}

/* A record of another process, another boot, or none at all: what holds the
 * lock is not known, so nothing is adopted, and nothing started. */
static void test_unknown_holder(void)
{
	static const char *const changes[][2] = {
	    {"start", "1"},
	    {"boot", "00000000-0000-4000-8000-000000000000"},
	    {"pid", "1"},
	    {"number", "x"},
	};
	_cleanup_buf_ struct buf record = {0};
	pid_t pid;

	fresh();
	CHECK_INT(start_shell("exec sleep 1000"), 0);
	pid = launch_pid(x);
	read_file("record", &record);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct launch *none = NULL;

		change_record(changes[i][0], changes[i][1]);
		CHECK_INT(launch_adopt(l, dir, &none, NULL, &err), -EBUSY);
		CHECK(strstr(err.text, "fuser"));
		CHECK(!none);
		CHECK_INT(file_replace(launch_folder(x), "record", record.data,
			      record.len, 0600),
		    0);
	}
	CHECK_INT(adopt(NULL), 1);
	/* Once it has ended nobody holds the lock: a stale record is harmless,
	 * also one that names a living process. */
	launch_signal(x, SIGKILL);
	while (kill(pid, 0) == 0 && loop_turn(l, LONG) > 0)
		;
	{
		char self[16];

		snprintf(self, sizeof(self), "%d", (int)getpid());
		change_record("pid", self);
	}
	CHECK_INT(adopt(NULL), 0);
	finish();
}

static void test_connect(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "sock"};
	char name[200];
	int s, fd, folder, cwd;

	fresh();
	/* A path of more than the 107 bytes of unix(7). */
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	snprintf(dir + strlen(dir), sizeof(dir) - strlen(dir), "/%s", name);
	CHECK_INT(mkdir_p(dir, 0700), 0);
	CHECK_INT(start_shell("exec sleep 1000"), 0);
	CHECK_INT(launch_connect(x, "sock"), -ENOENT);
	CHECK_INT(launch_connect(x, name), -ENAMETOOLONG);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	folder = launch_folder(x);
	cwd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(fchdir(folder), 0);
	CHECK_INT(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_INT(fchdir(cwd), 0);
	CHECK_INT(launch_connect(x, "sock"), -ECONNREFUSED);
	CHECK_INT(listen(s, 1), 0);
	fd = launch_connect(x, "sock");
	CHECK(fd >= 0);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	close(s);
	close(cwd);
	launch_signal(x, SIGKILL);
	CHECK_INT(waitpid(launch_pid(x), NULL, 0), launch_pid(x));
	*strrchr(dir, '/') = '\0';
	finish();
}

static void test_prune(void)
{
	uint64_t last;

	fresh();
	launch_prune("/nonexistent", 1);
	for (int i = 0; i < 4; i++) {
		launch_free(x);
		x = NULL;
		CHECK_INT(start_shell("exit 0"), 0);
		ended = 0;
		CHECK_INT(launch_watch(x, on_end, NULL), 0);
		until_ended();
	}
	launch_prune(dir, 3);
	CHECK_INT(count_folders(), 3);
	launch_prune(dir, 0);
	CHECK_INT(count_folders(), 1);
	CHECK_INT(adopt(&last), 0);
	CHECK_INT(last, 4);
	/* An old one that lives stays. */
	CHECK_INT(start_shell("exec sleep 1000"), 0);
	{
		char path[PATH_MAX + 32];

		snprintf(path, sizeof(path), "%s/launch-9", dir);
		CHECK_INT(mkdir(path, 0700), 0);
	}
	launch_prune(dir, 1);
	CHECK_INT(count_folders(), 2);
	CHECK_INT(adopt(&last), 1);
	CHECK_INT(launch_number(x), 5);
	CHECK_INT(last, 9);
	launch_signal(x, SIGKILL);
	CHECK_INT(waitpid(launch_pid(x), NULL, 0), launch_pid(x));
	finish();
}

/* --- kill -9 of the daemon ----------------------------------------------- */

/* Calls into libc that launch_start() makes at known moments pass through
 * here: the daemon is killed in one of them. */
enum kill_at {
	NOWHERE,
	IN_PREPARE,    /* a folder and locks */
	AFTER_FORK,    /* a child that waits */
	BEFORE_RECORD, /* its record is not yet in place */
	BEFORE_GO,     /* it is */
	STOP_AND_GO,   /* as before; and the child is stopped first */
	AFTER_GO,
};
static enum kill_at kill_at;
static pid_t forked;

static void die_at(enum kill_at here)
{
	if (kill_at == here)
		kill(getpid(), SIGKILL);
}

/* Until a child has done all that it does before it waits. */
static void until_asleep(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
	_cleanup_buf_ struct buf b = {0};
	const char *at = NULL;

	do {
		if (file_read(AT_FDCWD, path, 4096, &b) == 0)
			at = strrchr(b.data, ')');
	} while (!at || at[2] != 'S');
}

int pidfd_open(pid_t pid, unsigned flags)
{
	if (kill_at != NOWHERE)
		forked = pid;
	die_at(AFTER_FORK);
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

int renameat(int from, const char *a, int to, const char *b)
{
	if (STREQ(b, "record"))
		die_at(BEFORE_RECORD);
	return renameat2(from, a, to, b, 0);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	ssize_t n;

	die_at(BEFORE_GO);
	if (kill_at == STOP_AND_GO) {
		until_asleep(forked);
		kill(forked, SIGSTOP);
		die_at(STOP_AND_GO);
	}
	n = sendto(fd, data, len, flags, NULL, 0);
	die_at(AFTER_GO);
	return n;
}

static int prepare(int folder, void *userdata, struct err *e)
{
	die_at(IN_PREPARE);
	return 0;
}

/* A daemon that starts one program; `ready` (or -1) gets a byte before. */
static pid_t daemon_fork(enum kill_at where, int ready)
{
	char *argv[] = {"sh", "-c", "echo >>ran; exec sleep 1000", NULL};
	struct launch_options o = {.argv = argv};
	struct launch *mine;
	struct loop *own;
	pid_t pid = fork();

	if (pid)
		return pid;
	kill_at = where;
	if (loop_new(&own) < 0)
		_exit(1);
	if (ready >= 0 && write(ready, "x", 1) != 1)
		_exit(1);
	if (launch_start(own, dir, &o, prepare, NULL, &mine, NULL) < 0)
		_exit(1);
	kill(getpid(), SIGKILL);
	_exit(1);
}

static void check_killed(pid_t daemon)
{
	int st = 0;

	CHECK_INT(waitpid(daemon, &st, 0), daemon);
	CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
}

/* Takes what the daemon left behind: all of it ends by itself. */
static int reap_all(void)
{
	int n = 0;

	while (waitpid(-1, NULL, 0) > 0)
		n++;
	return n;
}

static bool has_run(uint64_t number)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/launch-%llu/ran", dir,
	    (unsigned long long)number);
	return access(path, F_OK) == 0;
}

/* The next daemon starts the program anew, and just one lives. */
static void check_new_start(uint64_t number)
{
	CHECK_INT(start_shell("exec sleep 1000"), 0);
	CHECK_STR(err_text(&err), "no error");
	CHECK_INT(launch_number(x), number);
	CHECK_INT(launch_signal(x, SIGKILL), 0);
	CHECK_INT(waitpid(-1, NULL, 0), launch_pid(x));
	CHECK_INT(adopt(NULL), 0);
}

static void killed_before_go(enum kill_at where, int children)
{
	uint64_t last;

	fresh();
	check_killed(daemon_fork(where, -1));
	/* At once: the child may not even know yet. */
	CHECK_INT(adopt(&last), 0);
	CHECK_STR(err_text(&err), "no error");
	CHECK_INT(last, 1);
	CHECK_INT(reap_all(), children);
	CHECK(!has_run(1));
	check_new_start(2);
	finish();
}

static void test_killed_in_prepare(void)
{
	killed_before_go(IN_PREPARE, 0);
}

static void test_killed_after_fork(void)
{
	killed_before_go(AFTER_FORK, 1);
}

static void test_killed_before_record(void)
{
	killed_before_go(BEFORE_RECORD, 1);
}

static void test_killed_before_go(void)
{
	killed_before_go(BEFORE_GO, 1);
}

/* It waits for its end, yet it has a record, lives, and holds the lock. */
static void test_slow_to_end(void)
{
	struct launch *none = NULL;
	uint64_t last;
	pid_t pid;
	int st;

	fresh();
	check_killed(daemon_fork(STOP_AND_GO, -1));
	pid = waitpid(-1, &st, WUNTRACED);
	CHECK(pid > 0 && WIFSTOPPED(st));
	CHECK_INT(launch_adopt(l, dir, &none, &last, &err), -EBUSY);
	CHECK_INT(start_shell("exec sleep 1000"), -EBUSY);
	CHECK(!none && !x);
	CHECK_INT(kill(pid, SIGCONT), 0);
	CHECK_INT(adopt(&last), 0);
	CHECK_INT(waitpid(-1, &st, 0), pid);
	CHECK_INT(WEXITSTATUS(st), 127);
	CHECK(!has_run(1));
	check_new_start(2);
	finish();
}

static void check_adopted(void)
{
	pid_t pid = launch_pid(x);

	/* Not another one beside it. */
	CHECK_INT(waitpid(-1, NULL, WNOHANG), 0);
	ended = 0;
	CHECK_INT(launch_watch(x, on_end, NULL), 0);
	CHECK_INT(launch_signal(x, SIGKILL), 0);
	until_ended();
	CHECK_INT(code, -ECHILD);
	CHECK_INT(waitpid(-1, NULL, 0), pid);
	CHECK_INT(waitpid(-1, NULL, 0), -1);
	CHECK_INT(adopt(NULL), 0);
}

static void killed_after_go(enum kill_at where)
{
	struct launch *second = NULL;
	char *argv[] = {"true", NULL};
	struct launch_options o = {.argv = argv};
	uint64_t last;

	fresh();
	check_killed(daemon_fork(where, -1));
	CHECK_INT(adopt(&last), 1);
	CHECK_INT(last, 1);
	if (x) {
		CHECK_INT(launch_start(l, dir, &o, NULL, NULL, &second, &err),
		    -EEXIST);
		check_adopted();
	}
	check_new_start(2);
	finish();
}

static void test_killed_after_go(void)
{
	killed_after_go(AFTER_GO);
}

static void test_killed_later(void)
{
	killed_after_go(NOWHERE);
}

#define SWEEP 120 /* kills, each 1/40 of a launch later than the one before */

/* Kills at any moment: what is adopted is the only one, and what is not
 * adopted ends by itself and never ran. */
static void test_killed_any_time(void)
{
	uint64_t took = 0;
	int adopted = 0;

	for (int i = 0; i <= SWEEP; i++) {
		uint64_t begin, last;
		int ready[2], failed = test_failed;
		char byte;
		pid_t pid;

		fresh();
		CHECK_INT(pipe2(ready, O_CLOEXEC), 0);
		pid = daemon_fork(NOWHERE, ready[1]);
		CHECK_INT(read(ready[0], &byte, 1), 1);
		begin = now_mono();
		/* The first one shows how long a launch takes. */
		while (i && now_mono() < begin + took * (uint64_t)i / 40)
			;
		if (i)
			kill(pid, SIGKILL);
		check_killed(pid);
		if (!i)
			took = now_mono() - begin;
		close(ready[0]);
		close(ready[1]);
		if (adopt(&last) == 1) {
			adopted++;
			check_adopted();
		} else {
			CHECK_STR(err_text(&err), "no error");
			reap_all();
			CHECK(!has_run(1));
			check_new_start(last + 1);
		}
		finish();
		if (test_failed != failed)
			printf("# kill %d of %d, %llu us\n", i, SWEEP,
			    (unsigned long long)took);
	}
	CHECK(adopted > 0 && adopted <= SWEEP);
}

static const struct test_case cases[] = {
    CASE(test_life),
    CASE(test_numbers),
    CASE(test_environment),
    CASE(test_fails),
    CASE(test_fifo),
    CASE(test_adopt),
    CASE(test_unknown_holder),
    CASE(test_connect),
    CASE(test_prune),
    CASE(test_killed_in_prepare),
    CASE(test_killed_after_fork),
    CASE(test_killed_before_record),
    CASE(test_killed_before_go),
    CASE(test_slow_to_end),
    CASE(test_killed_after_go),
    CASE(test_killed_later),
    CASE(test_killed_any_time),
};

int main(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return test_main(cases, ARRAY_SIZE(cases));
}
