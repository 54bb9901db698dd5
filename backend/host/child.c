/* SPDX-License-Identifier: Apache-2.0
 *
 * Short-lived programs.  What the program has started in its process group
 * ends with it: the group is killed while the leader is a zombie, so its
 * number can't have gone to somebody else.  The input is a sealed memory file,
 * so no program can make us wait by not reading it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/child.h"
#include "host/spawn.h"

#define CHILD_PIECE ((size_t)(32 * KIB))
/* From SIGTERM to SIGKILL. */
#define CHILD_GRACE (2 * USEC_PER_SEC)
/* Read after its end at most, should others still write into its pipe. */
#define CHILD_REST ((size_t)(4 * MIB))

struct child {
	struct loop *loop;
	struct child_options o; /* callbacks and userdata only */
	pid_t pid;              /* also of its group; 0 once it was reaped */
	int pidfd;
	int out[2]; /* our ends of its stdout and stderr, or -1 */
	struct loop_source *out_source[2];
	struct loop_source *end_source, *timer;
	int code;     /* why it was killed, or 0 */
	int calls;    /* callbacks under way */
	bool is_gone; /* child_free() was called in one of them */
};

static void close_out(struct child *c, int i)
{
	loop_source_free(TAKE_PTR(c->out_source[i]));
	util_closep(&c->out[i]);
}

/* Frees what no callback needs. */
static void release(struct child *c)
{
	loop_source_free(TAKE_PTR(c->end_source));
	loop_source_free(TAKE_PTR(c->timer));
	close_out(c, 0);
	close_out(c, 1);
	util_closep(&c->pidfd);
	if (c->pid) {
		kill(-c->pid, SIGKILL);
		loop_reap(c->loop, c->pid);
		c->pid = 0;
	}
	if (!c->calls)
		free(c);
}

/* After each callback: false when c does not exist any more. */
static bool still_there(struct child *c)
{
	c->calls--;
	if (!c->is_gone)
		return true;
	if (!c->calls)
		free(c);
	return false;
}

/* Reads once.  Returns bytes, 0 at the end, or a negative errno; -ECANCELED
 * when c is gone. */
static ssize_t read_piece(struct child *c, int i)
{
	char piece[CHILD_PIECE];
	ssize_t n;

	do {
		n = read(c->out[i], piece, sizeof(piece));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0 || !c->o.output)
		return n;
	c->calls++;
	c->o.output(piece, (size_t)n, i == 1, c->o.userdata);
	return still_there(c) ? n : -ECANCELED;
}

static void on_output(int fd, uint32_t events, void *userdata)
{
	struct child *c = userdata;
	int i = fd == c->out[1];
	ssize_t n = read_piece(c, i);

	if (n == -ECANCELED || n == -EAGAIN)
		return;
	if (n <= 0)
		close_out(c, i);
}

/* What the pipe still holds.  Returns false when c is gone. */
static bool drain(struct child *c, int i)
{
	size_t sum = 0;

	while (c->out[i] >= 0 && sum < CHILD_REST) {
		ssize_t n = read_piece(c, i);

		if (n == -ECANCELED)
			return false;
		if (n <= 0)
			break;
		sum += (size_t)n;
	}
	close_out(c, i);
	return true;
}

static void on_end(void *userdata)
{
	struct child *c = userdata;
	siginfo_t info = {0};
	int status;

	kill(-c->pid, SIGKILL);
	/* ECHILD: SIGCHLD is ignored in this process. */
	if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) < 0)
		info.si_status = 255;
	c->pid = 0;
	status = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED
		     ? 128 + info.si_status
		     : info.si_status;
	loop_source_free(TAKE_PTR(c->timer));
	if (!drain(c, 0) || !drain(c, 1))
		return;
	c->calls++;
	if (c->o.done)
		c->o.done(c->code, status, c->o.userdata);
	still_there(c);
}

static void stop(struct child *c, int code)
{
	if (!c->pid || c->code)
		return;
	c->code = code;
	kill(-c->pid, SIGTERM);
	loop_timer_set(c->timer, now_mono() + CHILD_GRACE);
}

static void on_timer(void *userdata)
{
	struct child *c = userdata;

	if (c->code)
		kill(-c->pid, SIGKILL);
	else
		stop(c, -ETIMEDOUT);
}

void child_kill(struct child *c)
{
	stop(c, -ECANCELED);
}

void child_free(struct child *c)
{
	if (!c || c->is_gone)
		return;
	c->is_gone = true;
	release(c);
}

static int open_input(const struct child_options *o)
{
	_cleanup_close_ int fd = -1;
	int rc;

	if (o->stdin_fd >= 0) {
		fd = fcntl(o->stdin_fd, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? -errno : TAKE_FD(fd);
	}
	if (!o->input) {
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return fd < 0 ? -errno : TAKE_FD(fd);
	}
	fd = memfd_create("stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, o->input, o->input_len);
	if (rc)
		return rc;
	if (lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) <
		0)
		return -errno;
	return TAKE_FD(fd);
}

/* One pipe; only our end does not block. */
static int open_pipe(int *ret_ours, int *ret_theirs)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*ret_ours = p[0];
	*ret_theirs = p[1];
	return fcntl(p[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int start(struct child *c, const struct child_options *o,
    const char *path, struct err *err)
{
	_cleanup_close_ int in = -1, out = -1, errout = -1, cwd = -1, link = -1;
	struct spawn s = {.path = path, .argv = o->argv, .envp = o->envp};
	int rc;

	in = open_input(o);
	if (in < 0)
		return err_errno(
		    err, in, "%s: cannot make its stdin", o->argv[0]);
	if (o->cwd) {
		cwd = open(o->cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (cwd < 0)
			return err_errno(err, -errno, "cannot run %s in %s",
			    o->argv[0], o->cwd);
	}
	if (o->stdout_fd) {
		out = fcntl(o->stdout_fd, F_DUPFD_CLOEXEC, 3);
		rc = out < 0 ? -errno : 0;
	} else {
		rc = open_pipe(&c->out[0], &out);
	}
	if (!rc)
		rc = open_pipe(&c->out[1], &errout);
	if (rc)
		return err_errno(err, rc, "%s: cannot make a pipe", o->argv[0]);
	s.fds[0] = in;
	s.fds[1] = out;
	s.fds[2] = errout;
	s.cwd = cwd;
	rc = spawn_start(&s, &c->pid, &link, err);
	if (rc)
		return rc;
	rc = spawn_result(link, c->pid, SPAWN_WAIT_MSEC);
	if (rc) {
		c->pid = 0;
		return err_errno(err, rc, "cannot run %s", path);
	}
	return 0;
}

static int watch(struct child *c, uint64_t timeout)
{
	uint64_t at = timeout ? now_mono() + timeout : USEC_NEVER;
	int rc;

	c->pidfd = pidfd_open(c->pid, 0);
	if (c->pidfd < 0)
		return -errno;
	rc = loop_add_pidfd(c->loop, c->pidfd, on_end, c, &c->end_source);
	if (!rc)
		rc = loop_add_timer(c->loop, at, on_timer, c, &c->timer);
	for (int i = 0; !rc && i < 2; i++)
		if (c->out[i] >= 0)
			rc = loop_add_io(c->loop, c->out[i], EPOLLIN, on_output,
			    c, &c->out_source[i]);
	return rc;
}

int child_start(struct loop *l, const struct child_options *o,
    struct child **ret, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	struct child *c;
	int rc;

	rc = spawn_find(o->argv[0], &path, err);
	if (rc)
		return rc;
	c = xcalloc(1, sizeof(*c));
	c->loop = l;
	c->o.output = o->output;
	c->o.done = o->done;
	c->o.userdata = o->userdata;
	c->pidfd = c->out[0] = c->out[1] = -1;
	rc = start(c, o, path, err);
	if (!rc) {
		rc = watch(c, o->timeout);
		if (rc)
			err_errno(err, rc, "cannot watch %s", o->argv[0]);
	}
	if (rc) {
		child_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}
