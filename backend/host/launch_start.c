/* SPDX-License-Identifier: Apache-2.0
 *
 * Starts a program that outlives the daemon.  The order is what makes it
 * safe: cut off at any point, it leaves no process, or one with a record:
 *
 *   folder, locks -> fork (the child waits) -> record -> go -> exec
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/launch_internal.h"
#include "host/spawn.h"

#define KEEP_MAX 64 /* descriptors that a program inherits */

/* What is open while a program is being started. */
struct start {
	int dirfd;
	int fds[3];
	int lock, starting, link;
	int keep[KEEP_MAX + 1]; /* the last one is the lock */
	char name[32];
};

static void start_done(struct start *s)
{
	util_closep(&s->dirfd);
	for (int i = 0; i < 3; i++)
		util_closep(&s->fds[i]);
	util_closep(&s->lock);
	util_closep(&s->starting);
	util_closep(&s->link);
}

static int make_folder(
    struct start *s, struct launch *x, const char *dir, struct err *err)
{
	_cleanup_free_ char *path = NULL;

	s->dirfd = launch_open_dir(dir, &path, err);
	if (s->dirfd < 0)
		return s->dirfd;
	launch_name(x->record.number, s->name);
	if (mkdirat(s->dirfd, s->name, 0700) < 0)
		return err_errno(
		    err, -errno, "cannot make %s/%s", path, s->name);
	x->folder =
	    launch_open_folder(s->dirfd, path, x->record.number, &x->path, err);
	return MIN(x->folder, 0);
}

static int open_stdin(int folder, bool is_fifo)
{
	int fd;

	if (is_fifo && mkfifoat(folder, "stdin", 0600) < 0)
		return -errno;
	/* Read and write: a FIFO with a writer never ends. */
	fd = is_fifo ? openat(folder, "stdin", O_RDWR | O_CLOEXEC)
		     : open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_files(struct start *s, const struct launch *x,
    const struct launch_options *o, struct err *err)
{
	s->lock = launch_lock_take(x->folder, "lock");
	if (s->lock < 0)
		return err_errno(err, s->lock, "cannot lock %s/lock", x->path);
	s->starting = launch_lock_take(x->folder, "starting");
	if (s->starting < 0)
		return err_errno(
		    err, s->starting, "cannot lock %s/starting", x->path);
	s->fds[0] = open_stdin(x->folder, o->stdin_fifo);
	if (s->fds[0] < 0)
		return err_errno(
		    err, s->fds[0], "cannot make the stdin of %s", x->path);
	s->fds[1] = openat(x->folder, "stderr",
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->fds[1] < 0)
		return err_errno(err, -errno, "cannot make %s/stderr", x->path);
	s->fds[2] = fcntl(s->fds[1], F_DUPFD_CLOEXEC, 3);
	if (s->fds[2] < 0)
		return err_errno(err, -errno, "cannot start %s", o->argv[0]);
	for (size_t i = 0; i < o->n_keep_fds; i++)
		s->keep[i] = o->keep_fds[i];
	s->keep[o->n_keep_fds] = s->lock;
	return 0;
}

/* The child waits.  From here until go its end is the end of the link. */
static int commit(struct start *s, struct launch *x,
    const struct launch_options *o, struct err *err)
{
	struct launch_record *r = &x->record;
	int rc;

	x->pidfd = pidfd_open(r->pid, 0);
	if (x->pidfd < 0)
		return err_errno(err, -errno, "cannot watch %s", o->argv[0]);
	r->argv = launch_digest(o->argv);
	r->mono = now_mono();
	rc = launch_boot_id(r->boot);
	if (!rc)
		rc = launch_start_time(r->pid, &r->start);
	if (!rc)
		rc = launch_record_write(x->folder, r);
	if (rc)
		return err_errno(err, rc, "cannot write %s/record", x->path);
	rc = spawn_go(s->link);
	return rc ? err_errno(err, rc, "cannot start %s", o->argv[0]) : 0;
}

/* Ends a child that was not let go, or is not to be. */
static void end_child(struct start *s, struct launch *x)
{
	siginfo_t info;

	util_closep(&s->link);
	kill(x->record.pid, SIGKILL);
	while (waitid(P_PID, (id_t)x->record.pid, &info, WEXITED) < 0 &&
	       errno == EINTR)
		;
	x->is_child = false;
}

static int fork_and_go(struct start *s, struct launch *x,
    const struct launch_options *o, const char *program, struct err *err)
{
	struct spawn spawn = {
	    .path = program,
	    .argv = o->argv,
	    .fds = {s->fds[0], s->fds[1], s->fds[2]},
	    .cwd = x->folder,
	    .keep = s->keep,
	    .n_keep = o->n_keep_fds + 1,
	    .until_exec = &s->starting,
	    .n_until_exec = 1,
	    .detach = true,
	};
	int rc, end;

	rc = spawn_start(&spawn, &x->record.pid, &s->link, err);
	if (rc)
		return rc;
	x->is_child = true;
	rc = commit(s, x, o, err);
	/* Also a child that could not even wait has left a code. */
	end = spawn_result(s->link, x->record.pid, rc ? 0 : SPAWN_WAIT_MSEC);
	if (end) {
		x->is_child = false;
		return err_errno(err, end, "cannot run %s", program);
	}
	if (rc)
		end_child(s, x);
	return rc;
}

static int start(struct launch *x, const char *dir,
    const struct launch_options *o, const char *program,
    int (*prepare)(int folder_fd, void *userdata, struct err *err),
    void *userdata, struct err *err)
{
	_cleanup_(start_done) struct start s = {
	    .dirfd = -1,
	    .fds = {-1, -1, -1},
	    .lock = -1,
	    .starting = -1,
	    .link = -1,
	};
	int rc;

	rc = make_folder(&s, x, dir, err);
	if (rc)
		return rc;
	rc = open_files(&s, x, o, err);
	if (!rc && prepare)
		rc = prepare(x->folder, userdata, err);
	if (!rc)
		rc = fork_and_go(&s, x, o, program, err);
	if (rc)
		remove_tree(s.dirfd, s.name);
	return rc;
}

int launch_start(struct loop *l, const char *dir,
    const struct launch_options *o,
    int (*prepare)(int folder_fd, void *userdata, struct err *err),
    void *userdata, struct launch **ret, struct err *err)
{
	_cleanup_(launch_freep) struct launch *x = NULL, *living = NULL;
	_cleanup_free_ char *program = NULL;
	uint64_t last = 0;
	int rc;

	if (o->n_keep_fds > KEEP_MAX)
		return err_set(err, -E2BIG, "%s: more than %d descriptors",
		    o->argv[0], KEEP_MAX);
	rc = spawn_find(o->argv[0], &program, err);
	if (rc)
		return rc;
	rc = launch_find(l, dir, &living, &last, err);
	if (rc)
		return rc;
	if (living)
		return err_set(err, -EEXIST,
		    "%s is not started: process %d of %s still runs",
		    o->argv[0], (int)living->record.pid, living->path);
	x = launch_new(l);
	x->record.number = last + 1;
	rc = start(x, dir, o, program, prepare, userdata, err);
	if (rc)
		return rc;
	*ret = TAKE_PTR(x);
	return 0;
}
