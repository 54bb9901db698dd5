// SPDX-License-Identifier: Apache-2.0
/*
 * State and runtime directory of one daemon.  main.c calls it before the
 * cluster is loaded.
 *
 * Each has a file `lock` that is flock'd as long as the daemon lives and holds
 * its pid.  The runtime directory remembers the boot it belongs to in
 * `boot-id`: after another one all that is in it (sockets, process records) is
 * about processes that are gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "fs/mount.h"
#include "fs/place.h"

#ifndef RACKFS_DATA_DIR
#define RACKFS_DATA_DIR "/usr/local/share/rackfs"
#endif

/* A daemon that was killed may have left a child between fork and exec, which
 * still holds the lock for an instant. */
#define LOCK_TRIES      40
#define LOCK_PAUSE_NSEC (25L * 1000 * 1000)

#define LOG_FILE     "daemon.log"
#define LOG_FILE_MAX MIB /* begun anew at a start beyond it */

/* --- folders --- */

static int make_private(const char *path, char **ret, struct err *err)
{
	struct stat st;
	char *full;
	int r = mkdir_p(path, 0700);

	if (r < 0)
		return err_errno(err, r, "%s can't be made", path);
	full = realpath(path, NULL);
	if (!full)
		return err_errno(err, -errno, "%s", path);
	if (stat(full, &st) < 0 || !S_ISDIR(st.st_mode))
		r = err_set(err, -ENOTDIR, "%s is no folder", full);
	else if (st.st_uid != geteuid())
		r = err_set(err, -EPERM, "%s belongs to somebody else", full);
	else if ((st.st_mode & 077) && chmod(full, 0700) < 0)
		r = err_errno(err, -errno, "%s can't be made private", full);
	if (r < 0) {
		free(full);
		return r;
	}
	*ret = full;
	return 0;
}

static char *default_state(struct err *err)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	const struct passwd *who;

	if (geteuid() == 0)
		return xstrdup("/var/lib/rackfs");
	if (xdg && xdg[0] == '/')
		return xasprintf("%s/rackfs", xdg);
	who = home && home[0] == '/' ? NULL : getpwuid(geteuid());
	if (who)
		home = who->pw_dir;
	if (home && home[0] == '/')
		return xasprintf("%s/.local/state/rackfs", home);
	err_set(err, -ENOENT, "there is no $HOME: say --state-dir DIR");
	return NULL;
}

/* Two state directories must not share one runtime directory, or each would
 * take the other's machines for its own: so one that was chosen has its own. */
static char *default_runtime(const char *state, bool chosen)
{
	if (geteuid() == 0 && !chosen)
		return xstrdup("/run/rackfs");
	return xasprintf("%s/run", state);
}

/* --- locks --- */

static int holder_pid(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	return n > 0 ? atoi(text) : 0;
}

static int lock(const char *dir, const char *option, int *ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", dir);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char pid[32];
	int len;

	if (fd < 0)
		return err_errno(err, -errno, "%s can't be opened", path);
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(err, -errno, "%s", path);
		if (i >= LOCK_TRIES)
			return err_set(err, -EBUSY,
			    "%s is in use by another rackfs, process %d; stop "
			    "that one (kill %d), or give another %s",
			    dir, holder_pid(fd), holder_pid(fd), option);
		nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NSEC}, NULL);
	}
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
		return err_errno(err, -errno, "%s can't be written", path);
	*ret = TAKE_FD(fd);
	return 0;
}

/* --- the runtime directory --- */

static int read_boot_id(struct buf *ret)
{
	return file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, ret);
}

static int renew_runtime(const char *dir, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/boot-id", dir);
	_cleanup_buf_ struct buf now = {0}, then = {0};
	int r = read_boot_id(&now);

	if (r < 0)
		return err_errno(err, r, "the boot id can't be read");
	/* Only a folder with our own mark is ever emptied. */
	if (file_read(AT_FDCWD, path, 64, &then) == 0) {
		if (STREQ(buf_str(&now), buf_str(&then)))
			return 0;
		r = remove_tree(AT_FDCWD, dir);
		if (r == 0)
			r = mkdir_p(dir, 0700);
		if (r < 0)
			return err_errno(err, r, "%s can't be made new", dir);
	}
	r = file_replace(AT_FDCWD, path, now.data, now.len, 0600);
	return r < 0 ? err_errno(err, r, "%s can't be written", path) : 0;
}

static int write_pid(const char *dir, const char *name, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	char pid[32];
	int len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	int r = file_replace(AT_FDCWD, path, pid, (size_t)len, 0600);

	return r < 0 ? err_errno(err, r, "%s can't be written", path) : 0;
}

/* --- data --- */

/* In the source tree the program is build/rackfs, its data in backend/. */
static char *data_dir(void)
{
	const char *chosen = getenv("RACKFS_DATA_DIR");
	char program[PATH_MAX];
	ssize_t n;

	if (chosen && *chosen)
		return xstrdup(chosen);
	if (access(RACKFS_DATA_DIR "/netboot", R_OK) == 0)
		return xstrdup(RACKFS_DATA_DIR);
	n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	if (n > 0) {
		program[n] = '\0';
		char *dir = xasprintf("%s/../backend", dirname(program));
		_cleanup_free_ char *probe = xasprintf("%s/netboot", dir);

		if (access(probe, R_OK) == 0)
			return dir;
		free(dir);
	}
	return xstrdup(RACKFS_DATA_DIR);
}

/* --- the mount point --- */

/* What lies below it is hidden by the mount, and a daemon that looks there
 * asks itself. */
static int check_beside(
    const char *mountpoint, const char *what, const char *dir, struct err *err)
{
	size_t len = STREQ(mountpoint, "/") ? 0 : strlen(mountpoint);

	if (strncmp(dir, mountpoint, len) != 0 ||
	    (dir[len] != '\0' && dir[len] != '/'))
		return 0;
	return err_set(err, -EINVAL,
	    "%s: the %s %s is in it and would be hidden; mount elsewhere, or "
	    "give another one",
	    mountpoint, what, dir);
}

static int check_hides_nothing(const struct folders *f, struct err *err)
{
	_cleanup_free_ char *program = realpath("/proc/self/exe", NULL);
	_cleanup_free_ char *data = realpath(f->data, NULL);
	int r = check_beside(f->mountpoint, "--state-dir", f->state, err);

	if (r == 0)
		r = check_beside(
		    f->mountpoint, "--runtime-dir", f->runtime, err);
	if (r == 0 && program)
		r = check_beside(f->mountpoint, "program", program, err);
	if (r == 0 && data)
		r = check_beside(f->mountpoint, "data folder", data, err);
	return r;
}

/* --- all of it --- */

static int open_both(struct folders *f, const char *state_dir,
    const char *runtime_dir, struct err *err)
{
	_cleanup_free_ char *state =
	    state_dir ? xstrdup(state_dir) : default_state(err);
	_cleanup_free_ char *runtime = NULL;
	int r;

	if (!state)
		return err->code;
	r = make_private(state, &f->state, err);
	if (r == 0)
		r = lock(f->state, "--state-dir", &f->state_lock, err);
	if (r < 0)
		return r;
	runtime = runtime_dir ? xstrdup(runtime_dir)
			      : default_runtime(f->state, state_dir != NULL);
	r = make_private(runtime, &f->runtime, err);
	if (r == 0) /* nobody can hold a lock of an earlier boot */
		r = renew_runtime(f->runtime, err);
	if (r == 0)
		r = lock(f->runtime, "--runtime-dir", &f->runtime_lock, err);
	if (r == 0)
		r = write_pid(f->runtime, "keeper.pid", err);
	f->keeper = r == 0;
	return r;
}

int folders_open(const char *state_dir, const char *runtime_dir,
    struct folders *ret, struct err *err)
{
	struct folders f = FOLDERS_INIT;
	int r = open_both(&f, state_dir, runtime_dir, err);

	if (r < 0) {
		free(TAKE_PTR(f.runtime)); /* whose daemon.pid is not ours */
		folders_close(&f);
		return r;
	}
	f.data = data_dir();
	*ret = f;
	return 0;
}

int folders_mountpoint(struct folders *f, const char *path, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(path), *dir = NULL;
	_cleanup_free_ char *copy2 = xstrdup(path), *full = NULL;
	struct stat st;
	int r;

	/* The last part of a dead mount can't be looked at. */
	if (lstat(path, &st) < 0 && errno == ENOTCONN) {
		dir = realpath(dirname(copy), NULL);
		full = dir ? xasprintf("%s/%s", dir, basename(copy2)) : NULL;
	} else {
		r = mkdir_p(path, 0755);
		if (r < 0)
			return err_errno(
			    err, r, "%s can't be made, to mount there", path);
		full = realpath(path, NULL);
	}
	if (!full)
		return err_errno(err, -errno, "%s", path);
	r = mount_take_over(full, err);
	if (r == 0 && (stat(full, &st) < 0 || !S_ISDIR(st.st_mode)))
		r = err_set(err, -ENOTDIR, "%s is no folder to mount on", full);
	if (r < 0)
		return r;
	f->mountpoint = TAKE_PTR(full);
	return check_hides_nothing(f, err);
}

int folders_adopt(const char *state, const char *runtime,
    const char *mountpoint, int state_lock, int runtime_lock,
    struct folders *ret, struct err *err)
{
	struct folders f = {.state_lock = state_lock,
	    .runtime_lock = runtime_lock,
	    .state = xstrdup(state),
	    .runtime = xstrdup(runtime),
	    .mountpoint = xstrdup(mountpoint),
	    .data = data_dir()};
	int r = write_pid(runtime, "daemon.pid", err);

	if (r < 0) {
		folders_close(&f);
		return r;
	}
	*ret = f;
	return 0;
}

void folders_leave_terminal(const struct folders *f)
{
	_cleanup_free_ char *path = xasprintf("%s/" LOG_FILE, f->state);
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int log =
	    open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct stat st;

	if (log >= 0 && fstat(log, &st) == 0 &&
	    st.st_size > (off_t)LOG_FILE_MAX && ftruncate(log, 0) < 0) {
		/* Then it stays long. */
	}
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (log >= 0 || null >= 0)
		dup2(log >= 0 ? log : null, STDERR_FILENO);
}

static void remove_pid(const struct folders *f, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", f->runtime, name);

	unlink(path);
}

void folders_close(struct folders *f)
{
	if (f->runtime)
		remove_pid(f, "daemon.pid");
	if (f->runtime && f->keeper)
		remove_pid(f, "keeper.pid");
	util_closep(&f->state_lock);
	util_closep(&f->runtime_lock);
	free(f->state);
	free(f->runtime);
	free(f->data);
	free(f->mountpoint);
	*f = FOLDERS_INIT;
}
