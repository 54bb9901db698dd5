/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that outlive the daemon: finding those that live, watching them,
 * talking to them.  How one is started is in launch_start.c, what makes it
 * known to the next daemon in launch_record.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/launch.h"
#include "host/launch_internal.h"

struct launch *launch_new(struct loop *l)
{
	struct launch *x = xcalloc(1, sizeof(*x));

	x->loop = l;
	x->pidfd = x->folder = -1;
	return x;
}

void launch_free(struct launch *x)
{
	if (!x)
		return;
	loop_source_free(x->source);
	if (x->is_child)
		loop_reap(x->loop, x->record.pid);
	util_closep(&x->pidfd);
	util_closep(&x->folder);
	free(x->path);
	free(x);
}

void launch_freep(struct launch **x)
{
	launch_free(*x);
}

int launch_open_dir(const char *dir, char **ret_path, struct err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", dir);
	*ret_path = realpath(dir, NULL);
	if (!*ret_path) {
		int rc = -errno;

		close(fd);
		return err_errno(err, rc, "cannot find the path of %s", dir);
	}
	return fd;
}

int launch_open_folder(int dirfd, const char *path, uint64_t number,
    char **ret_path, struct err *err)
{
	_cleanup_free_ char *full = NULL;
	char name[32];
	int fd;

	launch_name(number, name);
	full = xasprintf("%s/%s", path, name);
	fd = openat(
	    dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", full);
	*ret_path = TAKE_PTR(full);
	return fd;
}

int launch_find(struct loop *l, const char *dir, struct launch **ret,
    uint64_t *ret_last, struct err *err)
{
	_cleanup_close_ int dirfd = -1;
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ uint64_t *numbers = NULL;
	size_t n = 0;
	int rc;

	dirfd = launch_open_dir(dir, &path, err);
	if (dirfd < 0)
		return dirfd;
	rc = launch_list(dirfd, &numbers, &n);
	if (rc)
		return err_errno(err, rc, "cannot list %s", path);
	for (size_t i = 0; i < n; i++) {
		_cleanup_(launch_freep) struct launch *x = launch_new(l);

		x->folder =
		    launch_open_folder(dirfd, path, numbers[i], &x->path, err);
		if (x->folder < 0)
			return x->folder;
		rc = launch_lives(
		    x->folder, x->path, &x->record, &x->pidfd, err);
		if (rc < 0)
			return rc;
		if (!rc)
			continue;
		/* The folder's name is what counts. */
		x->record.number = numbers[i];
		*ret = TAKE_PTR(x);
		break;
	}
	*ret_last = n ? numbers[0] : 0;
	return 0;
}

int launch_adopt(struct loop *l, const char *dir, struct launch **ret,
    uint64_t *ret_last, struct err *err)
{
	struct launch *x = NULL;
	uint64_t last = 0;
	struct err why = ERR_INIT;
	int rc;

	rc = launch_find(l, dir, &x, &last, &why);
	if (rc && (rc != -ENOENT || access(dir, F_OK) == 0)) {
		err_copy(err, &why);
		return rc;
	}
	if (ret_last)
		*ret_last = last;
	if (!x)
		return 0;
	*ret = x;
	return 1;
}

static void on_child(pid_t pid, int code, int status, void *userdata)
{
	struct launch *x = userdata;

	x->is_child = false;
	if (code == CLD_KILLED || code == CLD_DUMPED)
		status += 128;
	x->fn(0, status, x->userdata);
}

static void on_pidfd(void *userdata)
{
	struct launch *x = userdata;

	x->fn(-ECHILD, 0, x->userdata);
}

int launch_watch(struct launch *x,
    void (*fn)(int code, int status, void *userdata), void *userdata)
{
	if (x->source)
		return -EALREADY;
	x->fn = fn;
	x->userdata = userdata;
	if (x->is_child)
		return loop_add_child(
		    x->loop, x->record.pid, on_child, x, &x->source);
	return loop_add_pidfd(x->loop, x->pidfd, on_pidfd, x, &x->source);
}

uint64_t launch_number(const struct launch *x)
{
	return x->record.number;
}

pid_t launch_pid(const struct launch *x)
{
	return x->record.pid;
}

const char *launch_path(const struct launch *x)
{
	return x->path;
}

int launch_folder(const struct launch *x)
{
	return x->folder;
}

uint64_t launch_started(const struct launch *x)
{
	return x->record.mono;
}

int launch_connect(const struct launch *x, const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	int n;

	/* unix(7) takes 107 bytes; the folder's own path may be longer. */
	n = snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s",
	    x->folder, name);
	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int launch_signal(const struct launch *x, int signal)
{
	return pidfd_send_signal(x->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int launch_stderr(const struct launch *x, size_t max, struct buf *ret)
{
	_cleanup_close_ int fd = -1;
	_cleanup_buf_ struct buf b = {0};
	char piece[4096];
	struct stat st;
	off_t at;

	fd = openat(x->folder, "stderr", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	at = (uint64_t)st.st_size > max ? st.st_size - (off_t)max : 0;
	buf_append(&b, "", 0);
	while (b.len < max) {
		size_t want = MIN(sizeof(piece), max - b.len);
		ssize_t n = pread(fd, piece, want, at + (off_t)b.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		buf_append(&b, piece, (size_t)n);
	}
	buf_done(ret);
	*ret = b;
	b = (struct buf){0};
	return 0;
}

void launch_prune(const char *dir, unsigned keep)
{
	_cleanup_close_ int dirfd =
	    open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ uint64_t *numbers = NULL;
	size_t n = 0;

	if (dirfd < 0 || launch_list(dirfd, &numbers, &n) < 0)
		return;
	/* The newest stays: the next number is counted from it. */
	for (size_t i = MAX(keep, 1U); i < n; i++) {
		_cleanup_close_ int folder = -1;
		char name[32];

		launch_name(numbers[i], name);
		folder = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (folder >= 0 && launch_lock_held(folder, "lock") == 0)
			remove_tree(dirfd, name);
	}
}
