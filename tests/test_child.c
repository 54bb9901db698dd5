/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/child.h"
#include "test.h"

#define LONG (20 * USEC_PER_SEC)

static struct loop *l;
static struct child *c;
static struct buf out, errout;
static int n_done, code, status;
static bool free_in_output, kill_in_output;

static void on_output(const char *data, size_t len, bool is_stderr, void *u)
{
	CHECK_INT(n_done, 0);
	buf_append(is_stderr ? &errout : &out, data, len);
	if (kill_in_output)
		child_kill(c);
	if (free_in_output) {
		child_free(c);
		c = NULL;
	}
}

static void on_done(int code_, int status_, void *userdata)
{
	n_done++;
	code = code_;
	status = status_;
	child_free(c);
	c = NULL;
}

static void fresh(void)
{
	alarm(60); /* a wait for what never ends */
	buf_done(&out);
	buf_done(&errout);
	n_done = 0;
	code = status = -1;
	free_in_output = kill_in_output = false;
	CHECK_INT(loop_new(&l), 0);
}

static void finish(void)
{
	loop_free(l);
	buf_done(&out);
	buf_done(&errout);
	/* Nothing is left, not even a zombie. */
	CHECK_INT(waitpid(-1, NULL, 0), -1);
	CHECK_INT(errno, ECHILD);
}

static void until_done(void)
{
	uint64_t end = now_mono() + LONG;

	while (!n_done && now_mono() < end)
		loop_turn(l, end - now_mono());
	CHECK_INT(n_done, 1);
	CHECK_INT(loop_turn(l, 0), 0);
}

static int start(struct child_options o, struct err *err)
{
	o.output = on_output;
	o.done = on_done;
	return child_start(l, &o, &c, err);
}

static void shell(const char *script)
{
	struct err err = ERR_INIT;

	CHECK_INT(start((struct child_options){.argv = (char *[]){"sh", "-c",
						   (char *)script, NULL},
			    .stdin_fd = -1},
		      &err),
	    0);
	CHECK_STR(err_text(&err), "no error");
	CHECK_INT(n_done, 0);
}

static void test_output(void)
{
	fresh();
	shell("echo out; echo err >&2; read -r x; echo \"<$x>\"; exit 3");
	until_done();
	CHECK_INT(code, 0);
	CHECK_INT(status, 3);
	CHECK_STR(buf_str(&out), "out\n<>\n");
	CHECK_STR(buf_str(&errout), "err\n");
	finish();
}

static void test_much_output(void)
{
	fresh();
	shell("dd if=/dev/zero bs=65536 count=64 2>/dev/null; echo end >&2");
	until_done();
	CHECK_INT(out.len, 4 * MIB);
	CHECK_STR(buf_str(&errout), "end\n");
	finish();
}

static void test_input(void)
{
	char *cat[] = {"cat", NULL}, *none[] = {"true", NULL};
	char *dev[] = {"cat", "/dev/stdin", NULL};
	size_t len = 3 * MIB;
	_cleanup_free_ char *big = xmalloc(len);

	memset(big, 'x', len);
	fresh();
	CHECK_INT(start((struct child_options){.argv = cat,
			    .stdin_fd = -1,
			    .input = big,
			    .input_len = len},
		      NULL),
	    0);
	until_done();
	CHECK_INT(out.len, len);
	finish();
	/* A program that reads nothing of it. */
	fresh();
	CHECK_INT(start((struct child_options){.argv = none,
			    .stdin_fd = -1,
			    .input = big,
			    .input_len = len},
		      NULL),
	    0);
	until_done();
	CHECK_INT(status, 0);
	finish();
	fresh();
	CHECK_INT(start((struct child_options){.argv = dev,
			    .stdin_fd = -1,
			    .input = "abc",
			    .input_len = 3},
		      NULL),
	    0);
	until_done();
	CHECK_STR(buf_str(&out), "abc");
	finish();
}

static void test_cwd_env_stdin(void)
{
	char *argv[] = {"/bin/sh", "-c", "pwd; echo $A; cat", NULL};
	char *envp[] = {"A=b", NULL};
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);

	fresh();
	CHECK_INT(
	    start(
		(struct child_options){
		    .argv = argv, .envp = envp, .cwd = "/usr", .stdin_fd = fd},
		NULL),
	    0);
	close(fd);
	until_done();
	CHECK(strncmp(buf_str(&out), "/usr\nb\ntest_child", 17) == 0);
	finish();
}

static void test_signalled(void)
{
	fresh();
	shell("kill -TERM $$");
	until_done();
	CHECK_INT(code, 0);
	CHECK_INT(status, 128 + SIGTERM);
	finish();
}

static void test_no_such_program(void)
{
	char dir[] = "/tmp/test_child.XXXXXX", path[PATH_MAX];
	char *none[] = {"rackfs-nonesuch", NULL}, *file[] = {path, NULL};
	struct err err = ERR_INIT;

	fresh();
	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/prog", dir);
	CHECK_INT(
	    start((struct child_options){.argv = none, .stdin_fd = -1}, &err),
	    -ENOENT);
	CHECK(strstr(err.text, "rackfs-nonesuch"));
	CHECK_INT(
	    start((struct child_options){.argv = file, .stdin_fd = -1}, &err),
	    -ENOENT);
	CHECK(strstr(err.text, path));
	/* Not executable. */
	file_replace(AT_FDCWD, path, "#!/rackfs-nonesuch\n", 19, 0600);
	CHECK_INT(
	    start((struct child_options){.argv = file, .stdin_fd = -1}, &err),
	    -EACCES);
	/* Only exec itself finds out. */
	CHECK_INT(chmod(path, 0700), 0);
	CHECK_INT(
	    start((struct child_options){.argv = file, .stdin_fd = -1}, &err),
	    -ENOENT);
	CHECK(strstr(err.text, path));
	file_replace(AT_FDCWD, path,
	    "\x7f"
	    "ELFno",
	    6, 0700);
	CHECK_INT(
	    start((struct child_options){.argv = file, .stdin_fd = -1}, &err),
	    -ENOEXEC);
	none[0] = "true";
	CHECK_INT(start(
		      (struct child_options){
			  .argv = none, .stdin_fd = -1, .cwd = path},
		      &err),
	    -ENOTDIR);
	remove_tree(AT_FDCWD, dir);
	CHECK_INT(n_done, 0);
	finish();
}

/* A folder of PATH that an ordinary user can't look into says nothing. */
static void test_closed_path(void)
{
	char parent[] = "/tmp/test_child.XXXXXX", path[PATH_MAX];
	char *argv[] = {"rackfs-nonesuch", NULL};
	struct child_options o = {.argv = argv, .stdin_fd = -1};
	pid_t pid;
	int st = 0;

	CHECK(mkdtemp(parent));
	snprintf(path, sizeof(path), "%s/bin", parent);
	CHECK_INT(mkdir(path, 0700), 0);
	CHECK_INT(chmod(parent, 0), 0);
	pid = fork();
	if (pid == 0) {
		setenv("PATH", path, 1);
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		if (loop_new(&l) < 0)
			_exit(3);
		_exit(child_start(l, &o, &c, NULL) == -ENOENT ? 0 : 1);
	}
	CHECK_INT(waitpid(pid, &st, 0), pid);
	CHECK_INT(st, 0);
	chmod(parent, 0700);
	remove_tree(AT_FDCWD, parent);
}

static void test_timeout(void)
{
	char *argv[] = {"sleep", "1000", NULL};

	fresh();
	CHECK_INT(start((struct child_options){.argv = argv,
			    .stdin_fd = -1,
			    .timeout = 20 * USEC_PER_MSEC},
		      NULL),
	    0);
	until_done();
	CHECK_INT(code, -ETIMEDOUT);
	CHECK_INT(status, 128 + SIGTERM);
	finish();
}

/* SIGTERM is not enough. */
static void test_stubborn(void)
{
	fresh();
	kill_in_output = true;
	shell("trap '' TERM; echo ready; while :; do sleep 1000; done");
	until_done();
	CHECK_INT(code, -ECANCELED);
	CHECK_INT(status, 128 + SIGKILL);
	finish();
}

static void test_kill_group(void)
{
	fresh();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	kill_in_output = true;
	shell("sleep 1000 & sleep 1000 & echo ready; wait");
	until_done();
	CHECK_INT(code, -ECANCELED);
	/* They were handed to us; each has been killed. */
	while (waitpid(-1, NULL, 0) > 0)
		;
	finish();
}

/* Who stays in the background holds stdout; it goes with its leader. */
static void test_background(void)
{
	fresh();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	shell("sleep 1000 & echo gone");
	until_done();
	CHECK_INT(code, 0);
	CHECK_INT(status, 0);
	CHECK_STR(buf_str(&out), "gone\n");
	while (waitpid(-1, NULL, 0) > 0)
		;
	finish();
}

static void test_free(void)
{
	fresh();
	shell("exec sleep 1000");
	child_free(c);
	c = NULL;
	/* Only reaping is left to do. */
	loop_turn(l, LONG);
	CHECK_INT(n_done, 0);
	finish();
	fresh();
	free_in_output = true;
	shell("echo x; exec sleep 1000");
	while (c && loop_turn(l, LONG) > 0)
		;
	loop_turn(l, LONG);
	CHECK_INT(n_done, 0);
	finish();
	child_free(NULL);
}

/* The leader's whole output is there when it is freed in the last piece. */
static void test_free_while_draining(void)
{
	fresh();
	free_in_output = true;
	shell("echo x; exit 1");
	for (int i = 0; i < 100 && c; i++)
		loop_turn(l, LONG);
	CHECK(!c);
	loop_turn(l, 0);
	CHECK_INT(n_done, 0);
	loop_free(l);
	while (waitpid(-1, NULL, 0) > 0)
		;
	buf_done(&out);
}

/* What a program finds: no descriptor of ours, no signal changed. */
static void test_clean_start(void)
{
	int extra[2];
	sigset_t set;

	fresh();
	CHECK_INT(pipe(extra), 0); /* not close-on-exec */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setenv("NOTIFY_SOCKET", "/nowhere", 1);
	/* The shell itself blocks signals while it waits. */
	shell("echo /proc/$$/fd/*; echo \"<$NOTIFY_SOCKET>\";"
	      "exec grep -E '^Sig(Blk|Ign)' /proc/self/status");
	until_done();
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
	unsetenv("NOTIFY_SOCKET");
	close(extra[0]);
	close(extra[1]);
	CHECK(strstr(buf_str(&out), "/fd/0 /proc"));
	for (int i = 3; i < 10; i++) {
		_cleanup_free_ char *fd = xasprintf("/fd/%d ", i);

		CHECK(!strstr(buf_str(&out), fd));
	}
	CHECK(strstr(buf_str(&out), "SigBlk:\t0000000000000000"));
	CHECK(strstr(buf_str(&out), "SigIgn:\t0000000000000000"));
	CHECK(strstr(buf_str(&out), "\n<>\n"));
	finish();
}

/* The daemon is killed: so is what it runs. */
static void test_daemon_killed(void)
{
	int p[2];
	char byte;
	pid_t pid;

	fresh();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	CHECK_INT(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct loop *own;
		struct child *mine;
		char *argv[] = {"sleep", "1000", NULL};
		struct child_options o = {.argv = argv, .stdin_fd = -1};

		if (loop_new(&own) < 0 || child_start(own, &o, &mine, NULL) < 0)
			_exit(1);
		if (write(p[1], "x", 1) == 1)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	CHECK_INT(read(p[0], &byte, 1), 1);
	close(p[0]);
	close(p[1]);
	/* Both: the daemon, and then its child as ours. */
	CHECK(waitpid(-1, NULL, 0) > 0);
	CHECK(waitpid(-1, NULL, 0) > 0);
	finish();
}

static const struct test_case cases[] = {
    CASE(test_output),
    CASE(test_much_output),
    CASE(test_input),
    CASE(test_cwd_env_stdin),
    CASE(test_signalled),
    CASE(test_no_such_program),
    CASE(test_closed_path),
    CASE(test_timeout),
    CASE(test_stubborn),
    CASE(test_kill_group),
    CASE(test_background),
    CASE(test_free),
    CASE(test_free_while_draining),
    CASE(test_clean_start),
    CASE(test_daemon_killed),
};
TEST_MAIN(cases)
