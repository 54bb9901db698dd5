// SPDX-License-Identifier: Apache-2.0
/*
 * The FUSE session: mounts, takes over what a dead daemon left, serves
 * requests from the loop in bounded batches so that nothing else starves, and
 * ends when the mount goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fs/ops.h"
#include "fs/session.h"

#define BATCH 64 /* requests a round of the loop */

struct render session_render(const struct session *s, struct object *o)
{
	return (struct render){
	    .cluster = s->cluster, .object = o, .started = s->started};
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

int session_take_over(const char *path, struct err *err)
{
	_cleanup_free_ char *type = NULL;
	struct statfs st;

	/* Not stat(2): attributes of the dead are still in the kernel's cache.
	 */
	if (statfs(path, &st) < 0 && errno == ENOTCONN) {
		if (umount2(path, MNT_DETACH) < 0 && run_fusermount(path) < 0)
			return err_set(err, -EBUSY,
			    "%s: a dead daemon's mount is there and can't be "
			    "unmounted; try `fusermount3 -uz %s`",
			    path, path);
		return session_take_over(path, err);
	}
	type = mounted_at(path);
	if (type && strncmp(type, "fuse.rackfs", 11) == 0)
		return err_set(err, -EBUSY,
		    "%s: another rackfs is mounted there; `fusermount3 -u %s` "
		    "ends it",
		    path, path);
	return 0;
}

/* --- requests --- */

static void session_end(struct session *s)
{
	loop_source_free(TAKE_PTR(s->io));
	loop_exit(s->loop, 0);
}

static void readable(int fd, uint32_t events, void *userdata)
{
	struct session *s = userdata;

	for (int i = 0; i < BATCH && !fuse_session_exited(s->fuse); i++) {
		int r = fuse_session_receive_buf(s->fuse, &s->buffer);

		if (r == -EINTR || r == -EAGAIN)
			return;
		if (r <= 0) { /* unmounted */
			s->mounted = false;
			session_end(s);
			return;
		}
		fuse_session_process_buf(s->fuse, &s->buffer);
	}
	if (fuse_session_exited(s->fuse)) {
		s->mounted = false;
		session_end(s);
	}
}

/* --- life --- */

static struct fuse_session *new_fuse(struct session *s, const char *options)
{
	_cleanup_free_ char *all =
	    xasprintf("-ofsname=rackfs,subtype=rackfs%s%s",
		options && *options ? "," : "", options ? options : "");
	char *argv[] = {"rackfs", all, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *fuse =
	    fuse_session_new(&args, &ops_table, sizeof(ops_table), s);

	fuse_opt_free_args(&args);
	return fuse;
}

int session_new(struct loop *l, const char *fuse_options, struct session **ret,
    struct err *err)
{
	ssize_t bad = files_check();
	struct session *s;

	if (bad >= 0)
		return err_set(err, -EINVAL,
		    "row %zd of the table of files "
		    "is wrong: a slot or name is taken twice",
		    bad);
	s = xcalloc(1, sizeof(*s));
	s->loop = l;
	s->uid = geteuid();
	s->gid = getegid();
	s->started = now_real();
	s->inodes = inodes_new();
	s->handles = table_new();
	s->fuse = new_fuse(s, fuse_options);
	if (!s->fuse) {
		session_free(s);
		return err_set(err, -EINVAL,
		    "-o %s: FUSE does not know these "
		    "options",
		    fuse_options ? fuse_options : "");
	}
	*ret = s;
	return 0;
}

int session_serve(struct session *s, struct cluster *c, const char *mountpoint,
    struct err *err)
{
	int fd, r;

	s->cluster = c;
	if (fuse_session_mount(s->fuse, mountpoint) < 0)
		return err_set(err, -EIO,
		    "%s can't be mounted; `rackfs doctor` "
		    "says what is missing",
		    mountpoint);
	s->mounted = true;
	fd = fuse_session_fd(s->fuse);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r = loop_add_io(s->loop, fd, EPOLLIN, readable, s, &s->io);
	return r < 0 ? err_errno(err, r, "FUSE can't be served") : 0;
}

void session_stop(struct session *s)
{
	loop_source_free(TAKE_PTR(s->io));
	handle_free_all(s);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	loop_source_free(s->io);
	if (s->fuse) {
		ops_abandon(s);
		fuse_session_unmount(s->fuse); /* when it is mounted */
		fuse_session_destroy(s->fuse);
	}
	inodes_free(s->inodes);
	table_free(s->handles);
	free(s->buffer.mem);
	free(s);
}
