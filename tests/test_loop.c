/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "test.h"

#define LONG (20 * USEC_PER_SEC) /* more than anything here may take */

static struct loop *l;
static struct loop_source *src;
static int calls, value;
static char trace[64]; /* a letter for each call */

static void fresh(void)
{
	calls = value = 0;
	trace[0] = '\0';
	src = NULL;
	CHECK_INT(loop_new(&l), 0);
}

static void until(const int *what, int n)
{
	uint64_t end = now_mono() + LONG;

	while (*what < n && now_mono() < end)
		loop_turn(l, end - now_mono());
	CHECK_INT(*what, n);
}

static void on_call(void *userdata)
{
	if (userdata)
		trace[calls] = *(const char *)userdata;
	calls++;
}

static void on_call_free(void *userdata)
{
	calls++;
	loop_source_free(src);
	src = NULL;
}

static void on_io(int fd, uint32_t events, void *userdata)
{
	unsigned char c;

	calls++;
	CHECK_INT(read(fd, &c, 1), 1);
	value = c;
	if (userdata)
		on_call_free(NULL);
}

static void test_io(void)
{
	int p[2];

	fresh();
	CHECK_INT(pipe2(p, O_CLOEXEC), 0);
	CHECK_INT(loop_add_io(l, p[0], EPOLLIN, on_io, NULL, &src), 0);
	CHECK_INT(loop_turn(l, 0), 0);
	CHECK_INT(write(p[1], "xy", 2), 2);
	CHECK_INT(loop_turn(l, LONG), 1);
	CHECK_INT(calls, 2);
	CHECK_INT(value, 'y');
	CHECK_INT(loop_io_events(src, 0), 0);
	CHECK_INT(write(p[1], "z", 1), 1);
	CHECK_INT(loop_turn(l, 0), 0);
	CHECK_INT(loop_io_events(src, EPOLLIN), 0);
	CHECK_INT(loop_turn(l, LONG), 1);
	CHECK_INT(value, 'z');
	loop_source_free(src);
	/* One that frees itself. */
	CHECK_INT(loop_add_io(l, p[0], EPOLLIN, on_io, "free", &src), 0);
	CHECK_INT(write(p[1], "ab", 2), 2);
	calls = 0;
	CHECK_INT(loop_turn(l, LONG), 1);
	CHECK_INT(loop_turn(l, 0), 0);
	CHECK_INT(value, 'a');
	loop_free(l);
	close(p[0]);
	close(p[1]);
}

static void test_timer(void)
{
	uint64_t at;

	fresh();
	CHECK_INT(loop_add_timer(l, USEC_NEVER, on_call, NULL, &src), 0);
	CHECK_INT(loop_turn(l, 0), 0);
	at = now_mono() + 20 * USEC_PER_MSEC;
	CHECK_INT(loop_timer_set(src, at), 0);
	until(&calls, 1);
	CHECK(loop_now(l) >= at);
	CHECK_INT(loop_turn(l, 2 * USEC_PER_MSEC), 0); /* once */
	CHECK_INT(loop_timer_set(src, 0), 0);          /* the past: now */
	until(&calls, 2);
	CHECK_INT(loop_timer_set(src, now_mono() + USEC_PER_MSEC), 0);
	CHECK_INT(loop_timer_set(src, USEC_NEVER), 0);
	CHECK_INT(loop_turn(l, 5 * USEC_PER_MSEC), 0);
	loop_source_free(src);
	CHECK_INT(loop_add_timer(l, 1, on_call_free, NULL, &src), 0);
	until(&calls, 3);
	CHECK(!src);
	loop_free(l);
}

static void on_again(void *userdata)
{
	if (++calls < 3)
		loop_timer_set(src, loop_now(l) + USEC_PER_MSEC);
}

static void test_timer_from_within(void)
{
	fresh();
	CHECK_INT(loop_add_timer(l, 1, on_again, NULL, &src), 0);
	until(&calls, 3);
	loop_source_free(src);
	loop_free(l);
}

static int child_code, child_status;

static void on_child(pid_t pid, int code, int status, void *userdata)
{
	calls++;
	value = pid;
	child_code = code;
	child_status = status;
	if (userdata)
		on_call_free(NULL);
}

static void test_child(void)
{
	pid_t pid;

	fresh();
	pid = fork();
	if (pid == 0)
		_exit(42);
	CHECK_INT(loop_add_child(l, pid, on_child, "free", &src), 0);
	while (!value && loop_turn(l, LONG) > 0)
		;
	CHECK_INT(value, pid);
	CHECK_INT(child_code, CLD_EXITED);
	CHECK_INT(child_status, 42);
	CHECK_INT(waitpid(pid, NULL, WNOHANG), -1); /* it was reaped */
	calls = 0;
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	CHECK_INT(loop_add_child(l, pid, on_child, NULL, &src), 0);
	CHECK_INT(loop_turn(l, 0), 0);
	CHECK_INT(kill(pid, SIGKILL), 0);
	until(&calls, 1);
	CHECK_INT(child_code, CLD_KILLED);
	CHECK_INT(child_status, SIGKILL);
	CHECK_INT(loop_turn(l, 0), 0); /* once */
	loop_source_free(src);
	CHECK_INT(loop_add_child(l, pid, on_child, NULL, &src), -ESRCH);
	loop_free(l);
}

static void test_pidfd_and_reap(void)
{
	struct loop_source *two = NULL;
	int fd;
	pid_t pid;

	fresh();
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	fd = pidfd_open(pid, 0);
	CHECK(fd >= 0);
	CHECK_INT(loop_add_pidfd(l, fd, on_call, NULL, &src), 0);
	/* The same descriptor twice. */
	CHECK_INT(loop_add_pidfd(l, fd, on_call, NULL, &two), 0);
	CHECK_INT(kill(pid, SIGKILL), 0);
	until(&calls, 2);
	CHECK_INT(loop_turn(l, 0), 0);
	/* Not reaped so far. */
	CHECK_INT(kill(pid, 0), 0);
	CHECK_INT(loop_reap(l, pid), 0);
	while (kill(pid, 0) == 0 && loop_turn(l, LONG) > 0)
		;
	CHECK_INT(waitpid(pid, NULL, WNOHANG), -1);
	/* One that still lives when the loop goes. */
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	CHECK_INT(loop_reap(l, pid), 0);
	loop_source_free(src);
	loop_source_free(two);
	loop_free(l);
	close(fd);
	kill(pid, SIGKILL);
	CHECK_INT(waitpid(pid, NULL, 0), pid);
}

static void on_signal(int sig, void *userdata)
{
	calls++;
	value = sig;
}

static void test_signal(void)
{
	sigset_t set;

	fresh();
	CHECK_INT(loop_add_signal(l, SIGUSR1, on_signal, NULL, &src), 0);
	CHECK_INT(raise(SIGUSR1), 0);
	until(&calls, 1);
	CHECK_INT(value, SIGUSR1);
	loop_source_free(src);
	CHECK_INT(loop_add_signal(l, 12345, on_signal, NULL, &src), -EINVAL);
	loop_free(l);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void on_inotify(const struct inotify_event *e, void *userdata)
{
	calls++;
	CHECK(e->mask & IN_CREATE);
	CHECK_STR(e->name, "file");
}

static void test_inotify(void)
{
	char dir[] = "/tmp/test_loop.XXXXXX", path[PATH_MAX];

	fresh();
	CHECK(mkdtemp(dir));
	CHECK_INT(
	    loop_add_inotify(l, dir, IN_CREATE, on_inotify, NULL, &src), 0);
	snprintf(path, sizeof(path), "%s/file", dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	until(&calls, 1);
	loop_source_free(src);
	remove_tree(AT_FDCWD, dir);
	CHECK_INT(loop_add_inotify(l, dir, IN_CREATE, on_inotify, NULL, &src),
	    -ENOENT);
	loop_free(l);
}

static void on_kick_self(void *userdata)
{
	if (++calls < 3)
		loop_kick(src);
}

static void test_deferred(void)
{
	fresh();
	CHECK_INT(loop_add_deferred(l, on_call, NULL, &src), 0);
	CHECK_INT(loop_turn(l, 0), 0);
	loop_kick(src);
	loop_kick(src);
	CHECK_INT(calls, 0); /* not from within */
	CHECK_INT(loop_turn(l, 0), 1);
	CHECK_INT(calls, 1);
	CHECK_INT(loop_turn(l, 0), 0);
	loop_kick(src);
	loop_source_free(src);
	CHECK_INT(loop_turn(l, 0), 0);
	CHECK_INT(loop_add_deferred(l, on_call_free, NULL, &src), 0);
	loop_kick(src);
	CHECK_INT(loop_turn(l, 0), 1);
	CHECK(!src);
	calls = 0;
	CHECK_INT(loop_add_deferred(l, on_kick_self, NULL, &src), 0);
	loop_kick(src);
	until(&calls, 3);
	loop_source_free(src);
	loop_free(l);
}

static void test_idle_is_last(void)
{
	struct loop_source *idle, *a, *b;

	fresh();
	CHECK_INT(loop_add_idle(l, on_call, "i", &idle), 0);
	CHECK_INT(loop_add_deferred(l, on_call, "a", &a), 0);
	CHECK_INT(loop_add_timer(l, 1, on_call, "b", &b), 0);
	loop_kick(idle);
	loop_kick(a);
	until(&calls, 3);
	CHECK(trace[2] == 'i');
	loop_source_free(idle);
	loop_source_free(a);
	loop_source_free(b);
	loop_free(l);
}

static void on_exit_call(void *userdata)
{
	loop_exit(l, 17);
}

static void test_run(void)
{
	struct loop_source *exit;

	fresh();
	CHECK_INT(loop_add_deferred(l, on_exit_call, NULL, &exit), 0);
	loop_kick(exit);
	CHECK_INT(loop_run(l), 17);
	loop_source_free(exit);
	loop_free(l);
	loop_free(NULL);
	loop_source_free(NULL);
}

static const struct test_case cases[] = {
    CASE(test_io),
    CASE(test_timer),
    CASE(test_timer_from_within),
    CASE(test_child),
    CASE(test_pidfd_and_reap),
    CASE(test_signal),
    CASE(test_inotify),
    CASE(test_deferred),
    CASE(test_idle_is_last),
    CASE(test_run),
};
TEST_MAIN(cases)
