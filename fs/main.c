// SPDX-License-Identifier: Apache-2.0
/*
 * rackfs: the daemon.  Options, folders, into the background, loop, cluster,
 * mount, and the way back.  In the background the first process stays until the
 * tree can be used, so that a shell can go on with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cluster.h"
#include "doctor.h"
#include "log.h"
#include "fs/notify.h"
#include "fs/options.h"
#include "fs/place.h"
#include "fs/session.h"

#define LOG_FILE     "daemon.log"
#define LOG_FILE_MAX (1024L * 1024) /* begun anew at a start beyond it */
#define FILES_MAX    65536          /* open files, when the system allows */

static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP};

struct daemon {
	const struct options *options;
	struct folders folders;
	struct loop *loop;
	struct loop_source *signals[ARRAY_SIZE(end_signals)];
	struct session *session;
	struct cluster *cluster;
	int ready_fd; /* a byte here: the tree can be used; -1: nobody waits */
};

/* --- into the background --- */

/* The first process: gives the exit status. */
static int wait_ready(int fd, pid_t child)
{
	char byte;
	ssize_t n;
	int status;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	/* It has said why. */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return 1;
}

/* 0 in the daemon; else the first process' exit status in *ret_status. */
static bool in_background(struct daemon *d, int *ret_status)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "rackfs: %s\n", strerror(errno));
		*ret_status = 1;
		return false;
	}
	if (pid > 0) {
		close(fds[1]);
		*ret_status = wait_ready(fds[0], pid);
		return false;
	}
	close(fds[0]);
	setsid();
	d->ready_fd = fds[1];
	return true;
}

/* From the terminal to a file beside the state. */
static void leave_terminal(const struct folders *f)
{
	_cleanup_free_ char *path = xasprintf("%s/" LOG_FILE, f->state);
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int log =
	    open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct stat st;

	if (log >= 0 && fstat(log, &st) == 0 && st.st_size > LOG_FILE_MAX &&
	    ftruncate(log, 0) < 0)
		log_warn("%s can't be shortened", path);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (log >= 0 || null >= 0)
		dup2(log >= 0 ? log : null, STDERR_FILENO);
}

static void tell_ready(struct daemon *d)
{
	log_notice(
	    "%s is ready, process %d", d->folders.mountpoint, (int)getpid());
	loop_notify("READY=1");
	if (d->ready_fd < 0)
		return;
	leave_terminal(&d->folders);
	if (write(d->ready_fd, "1", 1) < 0)
		log_warn("who started rackfs is gone");
	util_closep(&d->ready_fd);
}

/* --- life --- */

static void on_signal(int number, void *userdata)
{
	struct daemon *d = userdata;

	log_notice("%s: it ends, machines are left running", strsignal(number));
	loop_exit(d->loop, 0);
}

static void on_ready(void *userdata)
{
	tell_ready(userdata);
}

static int start(struct daemon *d, struct err *err)
{
	const struct options *o = d->options;
	struct cluster_options co = {
	    .state_dir = d->folders.state,
	    .runtime_dir = d->folders.runtime,
	    .data_dir = d->folders.data,
	    .changed = notify_changed,
	    .appeared = notify_appeared,
	    .vanishing = notify_vanishing,
	};
	int r = loop_new(&d->loop);

	/* Before the first thread. */
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(end_signals); i++)
		r = loop_add_signal(
		    d->loop, end_signals[i], on_signal, d, &d->signals[i]);
	if (r < 0)
		return err_errno(err, r, "the event loop can't be made");
	r = session_new(d->loop, o->fuse, &d->session, err);
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
	return session_serve(
	    d->session, d->cluster, d->folders.mountpoint, err);
}

static void stop(struct daemon *d)
{
	if (d->session)
		session_stop(d->session);
	cluster_free(d->cluster);
	session_free(d->session);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		loop_source_free(d->signals[i]);
	loop_free(d->loop);
	folders_close(&d->folders);
}

static int run(struct daemon *d, struct err *err)
{
	const struct options *o = d->options;
	struct loop_source *ready = NULL;
	int r = folders_open(o->state_dir, o->runtime_dir, &d->folders, err);

	if (r == 0)
		r = folders_mountpoint(&d->folders, o->mountpoint, err);
	umask(077);
	if (r == 0)
		r = start(d, err);
	/* Told by the loop itself, so that it serves by then. */
	if (r == 0)
		r = loop_add_deferred(d->loop, on_ready, d, &ready);
	if (r == 0) {
		loop_kick(ready);
		r = loop_run(d->loop);
		loop_notify("STOPPING=1");
		if (r == 0 && !d->session->mounted)
			log_notice("%s was unmounted: it ends, machines are "
				   "left running",
			    d->folders.mountpoint);
		loop_source_free(ready);
		if (r < 0)
			err_errno(err, r, "the event loop broke");
	}
	stop(d);
	return r;
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

static int mount_it(const struct options *o)
{
	struct daemon d = {
	    .options = o, .folders = FOLDERS_INIT, .ready_fd = -1};
	struct err err = ERR_INIT;
	int status;

	if (!o->foreground && !in_background(&d, &status))
		return status;
	log_set_level(o->log_level);
	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	if (run(&d, &err) < 0) {
		log_error("%s", err_text(&err));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct err err = ERR_INIT;
	int status = 0;

	if (options_parse(argc, argv, &o, &err) < 0) {
		fprintf(stderr, "rackfs: %s\n", err_text(&err));
		return 2;
	}
	switch (o.action) {
	case ACTION_MOUNT:
		status = mount_it(&o);
		break;
	case ACTION_DOCTOR:
		status = doctor_run(stdout);
		break;
	case ACTION_HELP:
		options_help(stdout);
		break;
	case ACTION_VERSION:
		puts("rackfs " RACKFS_VERSION);
		break;
	}
	options_done(&o);
	return status;
}
