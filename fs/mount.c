// SPDX-License-Identifier: Apache-2.0
/*
 * Mounting.  keeper.c calls it, place.c for what a dead daemon left.  libfuse
 * mounts for us, as root or through fusermount3; its session serves nothing
 * here: the daemon makes one of its own on the same descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <mntent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fs/mount.h"

#define MOUNTS "/proc/self/mountinfo"

struct mount {
	struct fuse_session *fuse;
	uint64_t device;
};

char *mount_options(const char *options)
{
	return xasprintf("-ofsname=rackfs,subtype=rackfs%s%s",
	    options && *options ? "," : "", options ? options : "");
}

int mount_new(
    const char *path, const char *options, struct mount **ret, struct err *err)
{
	static const struct fuse_lowlevel_ops none;
	_cleanup_free_ char *all = mount_options(options);
	char *argv[] = {"rackfs", all, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct mount *m = xcalloc(1, sizeof(*m));
	int r = 0;

	m->fuse = fuse_session_new(&args, &none, sizeof(none), NULL);
	fuse_opt_free_args(&args);
	if (!m->fuse)
		r = err_set(err, -EINVAL,
		    "-o %s: FUSE does not know these options",
		    options ? options : "");
	else if (fuse_session_mount(m->fuse, path) < 0)
		r = err_set(err, -EIO,
		    "%s can't be mounted; `rackfs doctor` says what is missing",
		    path);
	else if ((r = path_device(path, &m->device)) < 0)
		err_errno(err, r, "%s", path);
	if (r < 0) {
		mount_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

int mount_fd(const struct mount *m)
{
	return fuse_session_fd(m->fuse);
}

uint64_t mount_device(const struct mount *m)
{
	return m->device;
}

int mount_watch(void)
{
	int fd = open(MOUNTS, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

bool mount_gone(const struct mount *m)
{
	FILE *f = fopen(MOUNTS, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	bool there = !f; /* not known */
	unsigned major, minor;

	/* id, parent, device: proc(5) */
	while (!there && getline(&line, &size, f) > 0)
		there = sscanf(line, "%*u %*u %u:%u", &major, &minor) == 2 &&
			makedev(major, minor) == m->device;
	if (f)
		fclose(f);
	return !there;
}

/* libfuse unmounts by path, whatever stands there by now, but not when its
 * descriptor says POLLERR; a pipe without a reader does. */
static void sever(struct mount *m)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	close(fds[0]);
	(void)dup3(fds[1], mount_fd(m), O_CLOEXEC);
	close(fds[1]);
}

void mount_free(struct mount *m)
{
	if (!m)
		return;
	if (m->fuse) {
		if (m->device && mount_gone(m))
			sever(m);
		fuse_session_unmount(m->fuse);
		fuse_session_destroy(m->fuse);
	}
	free(m);
}

/* --- a mount that is there already --- */

/* The type of what is mounted last at `path`, or NULL.  Owned. */
static char *mounted_at(const char *path)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	char line[8192], *type = NULL;
	struct mntent m;

	if (!f)
		return NULL;
	while (getmntent_r(f, &m, line, sizeof(line))) {
		if (!STREQ(m.mnt_dir, path))
			continue;
		free(type);
		type = xstrdup(m.mnt_type);
	}
	endmntent(f);
	return type;
}

static int run_fusermount(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--",
		    path, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : -EPERM;
}

int mount_detach(const char *path)
{
	if (umount2(path, MNT_DETACH) == 0)
		return 0;
	return run_fusermount(path);
}

int mount_take_over(const char *path, struct err *err)
{
	_cleanup_free_ char *type = NULL;
	struct statfs st;

	/* Not stat(2): attributes of the dead are still in the kernel's cache.
	 */
	if (statfs(path, &st) < 0 && errno == ENOTCONN) {
		if (mount_detach(path) < 0)
			return err_set(err, -EBUSY,
			    "%s: a dead daemon's mount is there and can't be "
			    "unmounted; try `fusermount3 -uz %s`",
			    path, path);
		return mount_take_over(path, err);
	}
	type = mounted_at(path);
	if (type && strncmp(type, "fuse.rackfs", 11) == 0)
		return err_set(err, -EBUSY,
		    "%s: another rackfs is mounted there; `fusermount3 -u %s` "
		    "ends it",
		    path, path);
	return 0;
}
