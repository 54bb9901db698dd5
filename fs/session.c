// SPDX-License-Identifier: Apache-2.0
/*
 * The FUSE session: takes over what an earlier daemon of this mount left,
 * serves requests from the loop in bounded batches so that nothing else
 * starves, and ends when the mount goes.  daemon.c calls it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "log.h"
#include "fs/kept.h"
#include "fs/mount.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/session.h"
#include "fs/slots.h"
#include "fs/tombstone.h"
#include "fs/wake.h"

#define BATCH 64 /* requests a round of the loop */
/* A clock that has moved more than this has been set. */
#define CLOCK_SET (100 * (int64_t)USEC_PER_MSEC)

struct render session_render(struct session *s, struct object *o)
{
	uint64_t before = now_mono(), real = now_real();
	int64_t clock = (int64_t)(real - before);
	/* This thread may have been kept waiting between the two looks. */
	int64_t between = (int64_t)(now_mono() - before);

	/* What is between two looks at two clocks is no news. */
	if (!s->clock || llabs(clock - s->clock) > CLOCK_SET + between)
		s->clock = clock;
	return (struct render){.cluster = s->cluster,
	    .object = o,
	    .started = s->started,
	    .clock = s->clock};
}

/* --- requests --- */

static void session_end(struct session *s)
{
	s->mounted = false;
	s->unmounted = true;
	loop_source_free(TAKE_PTR(s->io));
	loop_exit(s->loop, 0);
}

void session_rest(struct session *s)
{
	if (s->detached && s->mounted && table_count(s->handles) == 0 &&
	    !s->requests)
		session_end(s);
}

void session_detached(struct session *s)
{
	s->detached = true;
	session_rest(s);
}

static void readable(int fd, uint32_t events, void *userdata)
{
	struct session *s = userdata;
	int r = 1;

	for (int i = 0; i < BATCH && r > 0; i++)
		r = slots_receive(s->slots);
	if (r < 0 || fuse_session_exited(s->fuse))
		session_end(s);
}

/* --- life --- */

static struct fuse_session *new_fuse(struct session *s, const char *options)
{
	_cleanup_free_ char *all = mount_options(options);
	char *argv[] = {"rackfs", all, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *fuse =
	    fuse_session_new(&args, &ops_table, sizeof(ops_table), s);

	fuse_opt_free_args(&args);
	return fuse;
}

static int attach(struct session *s, const struct session_fds *fds,
    const char *options, struct err *err)
{
	int r = memory_open(fds->memory, &s->memory, err);

	if (r < 0)
		return r;
	s->slots = slots_new(fds->fuse, s->memory);
	s->kept = kept_store_new(s->memory);
	s->scratches = scratches_new(s->memory, s->kept);
	r = tombstones_new(s, &s->tombstones);
	if (r < 0)
		return err_errno(err, r, "the event loop");
	r = wake_new(s, fds->herald, &s->wake);
	if (r < 0)
		return err_errno(err, r, "the herald can't be told");
	s->fuse = new_fuse(s, options);
	if (!s->fuse)
		return err_set(err, -EINVAL,
		    "-o %s: FUSE does not know these options",
		    options ? options : "");
	fcntl(fds->fuse, F_SETFL, fcntl(fds->fuse, F_GETFL) | O_NONBLOCK);
	r = slots_attach(s->slots, s->fuse);
	return r < 0 ? err_errno(err, r, "FUSE can't be served") : 0;
}

int session_new(struct loop *l, const char *fuse_options,
    const struct session_fds *fds, struct session **ret, struct err *err)
{
	ssize_t bad = files_check();
	struct session *s;
	int r;

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
	r = attach(s, fds, fuse_options, err);
	if (r < 0) {
		session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int session_serve(
    struct session *s, struct cluster *c, bool crashed, struct err *err)
{
	int r;

	s->cluster = c;
	s->mounted = true;
	if (slots_used(s->slots)) {
		handles_restore(s);
		slots_replay(s->slots, crashed);
		r = notify_scan(s);
		if (r < 0)
			return err_errno(err, r, "the event loop");
	}
	r = loop_add_io(
	    s->loop, fuse_session_fd(s->fuse), EPOLLIN, readable, s, &s->io);
	return r < 0 ? err_errno(err, r, "FUSE can't be served") : 0;
}

void session_stop(struct session *s)
{
	s->detached = false; /* it ends anyway */
	loop_source_free(TAKE_PTR(s->io));
	loop_source_free(TAKE_PTR(s->scan));
	ops_drop_replacements(s);
	handle_free_all(s);
}

void session_hang_up(struct session *s)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup3(null, fuse_session_fd(s->fuse), O_CLOEXEC) < 0)
		log_error("the mount can't be let go");
}

void session_free(struct session *s)
{
	if (!s)
		return;
	loop_source_free(s->io);
	loop_source_free(s->scan);
	if (s->fuse) {
		ops_abandon(s);
		fuse_session_destroy(s->fuse);
	}
	wake_free(s->wake);
	tombstones_free(s->tombstones);
	scratches_free(s->scratches);
	slots_free(s->slots);
	kept_store_free(s->kept);
	memory_close(s->memory);
	inodes_free(s->inodes);
	table_free(s->handles);
	free(s);
}
