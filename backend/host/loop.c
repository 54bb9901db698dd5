/* SPDX-License-Identifier: Apache-2.0
 *
 * The event loop on sd-event(3), of which this is the only user.  Children
 * are waited for by pidfd, so that SIGCHLD has no part in it and a pid is
 * never mistaken for another.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "loop.h"

#define TIMER_ACCURACY USEC_PER_MSEC
#define TURN_MAX       1024 /* sources served by one loop_turn() */

struct loop {
	sd_event *event;
	struct loop_source *reapers; /* of loop_reap() */
};

struct loop_source {
	sd_event_source *source;
	union {
		loop_fn plain;
		loop_io_fn io;
		loop_child_fn child;
		loop_signal_fn signal;
		loop_inotify_fn inotify;
	} fn;
	void *userdata;
	int pidfd; /* ours, or -1 */
	pid_t pid;
	/* Of loop_reap() only. */
	struct loop *loop;
	struct loop_source *next;
};

int loop_new(struct loop **ret)
{
	struct loop *l = xcalloc(1, sizeof(*l));
	int rc = sd_event_new(&l->event);
	/* Nothing happens unless systemd asked for it. */
	if (rc >= 0)
		rc = sd_event_set_watchdog(l->event, true);
	if (rc < 0) {
		loop_free(l);
		return rc;
	}
	*ret = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->reapers) {
		struct loop_source *s = l->reapers;

		l->reapers = s->next;
		loop_source_free(s);
	}
	sd_event_unref(l->event);
	free(l);
}

int loop_run(struct loop *l)
{
	return sd_event_loop(l->event);
}

void loop_exit(struct loop *l, int code)
{
	sd_event_exit(l->event, code);
}

int loop_turn(struct loop *l, uint64_t timeout_usec)
{
	int rc = sd_event_run(l->event, timeout_usec);

	/* sd_event_run() serves one source at a time. */
	for (int n = 1; rc > 0 && n < TURN_MAX; n++) {
		if (sd_event_get_state(l->event) == SD_EVENT_FINISHED)
			break;
		rc = sd_event_run(l->event, 0);
		if (rc <= 0)
			return rc < 0 ? rc : 1;
	}
	return rc;
}

uint64_t loop_now(struct loop *l)
{
	uint64_t t;

	return sd_event_now(l->event, CLOCK_MONOTONIC, &t) < 0 ? now_mono() : t;
}

static struct loop_source *source_new(void *userdata)
{
	struct loop_source *s = xcalloc(1, sizeof(*s));

	s->userdata = userdata;
	s->pidfd = -1;
	return s;
}

void loop_source_free(struct loop_source *s)
{
	if (!s)
		return;
	sd_event_source_disable_unref(s->source);
	util_closep(&s->pidfd);
	free(s);
}

/* The end of each loop_add_*(): `rc` is what sd-event said. */
static int source_done(struct loop_source *s, int rc, struct loop_source **ret)
{
	if (rc < 0) {
		loop_source_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* The callbacks below touch nothing of the source after they called: it may
 * be gone. */
static int on_io(sd_event_source *es, int fd, uint32_t events, void *userdata)
{
	struct loop_source *s = userdata;

	s->fn.io(fd, events, s->userdata);
	return 0;
}

int loop_add_io(struct loop *l, int fd, uint32_t events, loop_io_fn fn,
    void *userdata, struct loop_source **ret)
{
	struct loop_source *s = source_new(userdata);

	s->fn.io = fn;
	return source_done(s,
	    sd_event_add_io(l->event, &s->source, fd, events, on_io, s), ret);
}

int loop_io_events(struct loop_source *s, uint32_t events)
{
	int rc = sd_event_source_set_io_events(s->source, events);

	return MIN(rc, 0);
}

static int on_timer(sd_event_source *es, uint64_t at, void *userdata)
{
	struct loop_source *s = userdata;

	s->fn.plain(s->userdata);
	return 0;
}

int loop_add_timer(struct loop *l, uint64_t at, loop_fn fn, void *userdata,
    struct loop_source **ret)
{
	struct loop_source *s = source_new(userdata);
	int rc;

	s->fn.plain = fn;
	rc = sd_event_add_time(l->event, &s->source, CLOCK_MONOTONIC, at,
	    TIMER_ACCURACY, on_timer, s);
	if (rc >= 0)
		rc = loop_timer_set(s, at);
	return source_done(s, rc, ret);
}

int loop_timer_set(struct loop_source *s, uint64_t at)
{
	int rc;

	if (at == USEC_NEVER)
		return sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
	rc = sd_event_source_set_time(s->source, at);
	if (rc >= 0)
		rc = sd_event_source_set_enabled(s->source, SD_EVENT_ONESHOT);
	return MIN(rc, 0);
}

static int on_child(sd_event_source *es, int fd, uint32_t ev, void *userdata)
{
	struct loop_source *s = userdata;
	siginfo_t info = {0};

	/* ECHILD: somebody else reaped it; it is gone all the same, and how
	 * it ended is not known. */
	if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) < 0) {
		info.si_code = CLD_EXITED;
		info.si_status = 255;
	} else if (!info.si_pid) {
		return 0;
	}
	sd_event_source_set_enabled(es, SD_EVENT_OFF);
	s->fn.child(s->pid, info.si_code, info.si_status, s->userdata);
	return 0;
}

int loop_add_child(struct loop *l, pid_t pid, loop_child_fn fn, void *userdata,
    struct loop_source **ret)
{
	struct loop_source *s = source_new(userdata);

	s->fn.child = fn;
	s->pid = pid;
	s->pidfd = pidfd_open(pid, 0); /* close-on-exec by itself */
	if (s->pidfd < 0)
		return source_done(s, -errno, ret);
	return source_done(s,
	    sd_event_add_io(
		l->event, &s->source, s->pidfd, EPOLLIN, on_child, s),
	    ret);
}

static int on_pidfd(sd_event_source *es, int fd, uint32_t ev, void *userdata)
{
	struct loop_source *s = userdata;

	sd_event_source_set_enabled(es, SD_EVENT_OFF);
	s->fn.plain(s->userdata);
	return 0;
}

int loop_add_pidfd(struct loop *l, int pidfd, loop_fn fn, void *userdata,
    struct loop_source **ret)
{
	struct loop_source *s = source_new(userdata);

	s->fn.plain = fn;
	/* A copy: epoll takes each descriptor once only. */
	s->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	if (s->pidfd < 0)
		return source_done(s, -errno, ret);
	return source_done(s,
	    sd_event_add_io(
		l->event, &s->source, s->pidfd, EPOLLIN, on_pidfd, s),
	    ret);
}

static void on_reaped(pid_t pid, int code, int status, void *userdata)
{
	struct loop_source *s = userdata, **at = &s->loop->reapers;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	loop_source_free(s);
}

int loop_reap(struct loop *l, pid_t pid)
{
	struct loop_source *s;
	int rc = loop_add_child(l, pid, on_reaped, NULL, &s);

	if (rc < 0)
		return rc;
	s->userdata = s;
	s->loop = l;
	s->next = l->reapers;
	l->reapers = s;
	return 0;
}

static int on_signal(
    sd_event_source *es, const struct signalfd_siginfo *info, void *userdata)
{
	struct loop_source *s = userdata;

	s->fn.signal((int)info->ssi_signo, s->userdata);
	return 0;
}

int loop_add_signal(struct loop *l, int signal, loop_signal_fn fn,
    void *userdata, struct loop_source **ret)
{
	struct loop_source *s;
	sigset_t set;
	int rc;

	sigemptyset(&set);
	if (sigaddset(&set, signal) < 0)
		return -errno;
	rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (rc)
		return -rc;
	s = source_new(userdata);
	s->fn.signal = fn;
	return source_done(s,
	    sd_event_add_signal(l->event, &s->source, signal, on_signal, s),
	    ret);
}

static int on_inotify(
    sd_event_source *es, const struct inotify_event *event, void *userdata)
{
	struct loop_source *s = userdata;

	s->fn.inotify(event, s->userdata);
	return 0;
}

int loop_add_inotify(struct loop *l, const char *path, uint32_t mask,
    loop_inotify_fn fn, void *userdata, struct loop_source **ret)
{
	struct loop_source *s = source_new(userdata);

	s->fn.inotify = fn;
	return source_done(s,
	    sd_event_add_inotify(
		l->event, &s->source, path, mask, on_inotify, s),
	    ret);
}

static int on_deferred(sd_event_source *es, void *userdata)
{
	struct loop_source *s = userdata;

	/* It was one shot, so a kick from within counts. */
	s->fn.plain(s->userdata);
	return 0;
}

int loop_add_deferred(
    struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret)
{
	struct loop_source *s = source_new(userdata);
	int rc;

	s->fn.plain = fn;
	rc = sd_event_add_defer(l->event, &s->source, on_deferred, s);
	if (rc >= 0)
		rc = sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
	return source_done(s, rc, ret);
}

void loop_kick(struct loop_source *deferred)
{
	sd_event_source_set_enabled(deferred->source, SD_EVENT_ONESHOT);
}

int loop_add_idle(
    struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret)
{
	struct loop_source *s;
	int rc = loop_add_deferred(l, fn, userdata, &s);

	if (rc < 0)
		return rc;
	return source_done(s,
	    sd_event_source_set_priority(s->source, SD_EVENT_PRIORITY_IDLE),
	    ret);
}
