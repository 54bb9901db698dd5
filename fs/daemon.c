// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon.  main.c runs it when a keeper has started the program.  Loop,
 * cluster, session, and the way back.  When the keeper dies, nobody could start
 * another daemon: the mount is taken away and this one ends.
 */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cluster.h"
#include "log.h"
#include "fs/daemon.h"
#include "fs/mount.h"
#include "fs/notify.h"
#include "fs/place.h"
#include "fs/session.h"
#include "fs/wake.h"

#define FILES_MAX  65536 /* open files, when the system allows */
#define LOOK_USEC  (2 * USEC_PER_MSEC)
#define LOOK_LIMIT (3 * USEC_PER_SEC) /* then it serves all the same */

static const int end_signals[] = {SIGTERM, SIGINT};

struct daemon {
	const struct options *options;
	struct keeper_fds fds;
	struct folders folders;
	struct loop *loop;
	struct loop_source *signals[ARRAY_SIZE(end_signals)];
	struct loop_source *control;
	struct session *session;
	struct cluster *cluster;
	bool crashed; /* the daemon before */
	/* The first look at what runs. */
	struct loop_source *look;
	uint64_t look_until;
	uint32_t looked; /* number of the last node that was looked at */
	int failed;      /* why it can't serve, or 0 */
	struct err err;
};

static void on_signal(int number, void *userdata)
{
	struct daemon *d = userdata;

	log_notice("%s: the daemon ends", strsignal(number));
	loop_exit(d->loop, 0);
}

/* --- the keeper --- */

static void keeper_gone(struct daemon *d)
{
	log_error("the keeper is gone: the mount ends, machines are left "
		  "running");
	loop_source_free(TAKE_PTR(d->control));
	d->folders.keeper = true;
	if (mount_detach(d->folders.mountpoint) < 0)
		log_error("%s can't be unmounted", d->folders.mountpoint);
	loop_exit(d->loop, 0);
}

static void hear(int fd, uint32_t events, void *userdata)
{
	struct daemon *d = userdata;
	struct keeper_note n;
	ssize_t len;

	while ((len = recv(fd, &n, sizeof(n), MSG_DONTWAIT)) == sizeof(n)) {
		if (n.word == KEEPER_HERALD)
			wake_herald(d->session->wake, n.value);
		else if (n.word == KEEPER_CRASHED)
			d->crashed = true;
		else if (n.word == KEEPER_UNMOUNTED)
			session_detached(d->session);
	}
	if (len == 0)
		keeper_gone(d);
}

static void tell_ready(struct daemon *d)
{
	struct keeper_note n = {.word = KEEPER_READY};

	log_notice(
	    "%s is ready, process %d", d->folders.mountpoint, (int)getpid());
	if (!d->options->foreground)
		folders_leave_terminal(&d->folders);
	if (send(d->fds.control, &n, sizeof(n), MSG_NOSIGNAL) < 0)
		log_debug("the keeper does not listen");
}

/* --- the first look --- */

/* Requests wait until it is known which machines run: what depends on it would
 * be refused, and `state` would say what is not so. */
static bool all_looked_at(struct daemon *d)
{
	struct node_view v;
	struct object *o;

	while ((o = cluster_next(d->cluster, OBJECT_NODE, d->looked))) {
		node_view(o, &v);
		if (v.machine.state == MACHINE_UNKNOWN)
			return false;
		d->looked = object_number(o);
	}
	return true;
}

static void look(void *userdata)
{
	struct daemon *d = userdata;
	uint64_t now = loop_now(d->loop);

	if (now < d->look_until && !all_looked_at(d)) {
		loop_timer_set(d->look, now + LOOK_USEC);
		return;
	}
	loop_source_free(TAKE_PTR(d->look));
	d->failed = session_serve(d->session, d->cluster, d->crashed, &d->err);
	if (d->failed < 0) {
		loop_exit(d->loop, d->failed);
		return;
	}
	cluster_go(d->cluster);
	tell_ready(d);
	session_rest(d->session); /* it may be detached already */
}

/* --- life --- */

static int start(struct daemon *d, struct err *err)
{
	const struct session_fds fds = {
	    d->fds.fuse, d->fds.memory, d->fds.herald};
	struct cluster_options co = {
	    .state_dir = d->folders.state,
	    .runtime_dir = d->folders.runtime,
	    .data_dir = d->folders.data,
	    .mountpoint = d->folders.mountpoint,
	    .hold = true,
	    .changed = notify_changed,
	    .appeared = notify_appeared,
	    .vanishing = notify_vanishing,
	};
	int r = loop_new(&d->loop);

	/* Before the first thread. */
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(end_signals); i++)
		r = loop_add_signal(
		    d->loop, end_signals[i], on_signal, d, &d->signals[i]);
	if (r == 0)
		r = loop_add_io(
		    d->loop, d->fds.control, EPOLLIN, hear, d, &d->control);
	if (r < 0)
		return err_errno(err, r, "the event loop can't be made");
	d->fds.fuse = -1; /* the session's */
	r = session_new(d->loop, d->options->fuse, &fds, &d->session, err);
	if (r < 0)
		return r;
	co.loop = d->loop;
	co.userdata = d->session;
	r = cluster_new(&co, &d->cluster, err);
	if (r < 0)
		return r;
	/* The cluster knows now where host paths begin. */
	if (chdir("/") < 0)
		return err_errno(err, -errno, "/");
	/* What the keeper has said before it started us. */
	hear(d->fds.control, EPOLLIN, d);
	d->look_until = loop_now(d->loop) + LOOK_LIMIT;
	r = loop_add_timer(d->loop, loop_now(d->loop), look, d, &d->look);
	return r < 0 ? err_errno(err, r, "the event loop") : 0;
}

static void stop(struct daemon *d)
{
	if (d->session)
		session_stop(d->session);
	/* A disk that does not answer holds no caller then. */
	if (d->session && d->folders.keeper)
		session_hang_up(d->session);
	cluster_free(d->cluster);
	session_free(d->session);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		loop_source_free(d->signals[i]);
	loop_source_free(d->control);
	loop_source_free(d->look);
	loop_free(d->loop);
	folders_close(&d->folders);
	util_closep(&d->fds.fuse);
	util_closep(&d->fds.memory);
	util_closep(&d->fds.control);
	util_closep(&d->fds.herald);
}

static void raise_limits(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	lim.rlim_cur = MAX(lim.rlim_cur, MIN(lim.rlim_max, FILES_MAX));
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		log_debug("the limit of open files stays");
}

int daemon_run(
    const struct options *o, const struct keeper_fds *fds, struct err *err)
{
	struct daemon d = {.options = o, .fds = *fds, .folders = FOLDERS_INIT};
	int r = folders_adopt(o->state_dir, o->runtime_dir, o->mountpoint,
	    fds->state_lock, fds->runtime_lock, &d.folders, err);

	umask(077);
	raise_limits();
	if (r == 0)
		r = start(&d, err);
	if (r == 0) {
		r = loop_run(d.loop);
		if (d.failed < 0)
			err_copy(err, &d.err);
		else if (r < 0)
			err_errno(err, r, "the event loop broke");
		else if (d.session->unmounted)
			log_notice("%s was unmounted: it ends, machines are "
				   "left running",
			    d.folders.mountpoint);
	}
	stop(&d);
	return r;
}
