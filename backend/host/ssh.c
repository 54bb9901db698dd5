/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop's side of an SSH session: jobs go to the thread in a list, what it
 * has to tell comes back as notes in another, both under one lock, each side
 * woken by an eventfd.  Output waiting for the loop is bounded: the thread
 * stops reading, and SSH's window stops the guest.  The thread keeps its own
 * reference and never touches the loop, so a session can be closed, and the
 * loop freed, at any moment.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/ssh_internal.h"

#define NOTES_A_ROUND 64 /* then others on the loop have their turn */

static void wake(int fd)
{
	uint64_t one = 1;

	/* EAGAIN: it is awake. */
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void note_free(struct ssh_note *n)
{
	if (n->kind == NOTE_DONE)
		ssh_job_free(n->job);
	free(n);
}

void ssh_unref(struct ssh *s)
{
	unsigned refs;

	pthread_mutex_lock(&s->lock);
	refs = --s->refs;
	pthread_mutex_unlock(&s->lock);
	if (refs)
		return;
	pthread_mutex_destroy(&s->lock);
	util_closep(&s->thread_fd);
	util_closep(&s->loop_fd);
	ssh_key_free(s->host_key);
	free(s->host);
	free(s->user);
	free(s->key_file);
	free(s->where);
	free(s);
}

/* With the lock. */
static void note_add(struct ssh *s, struct ssh_note *n)
{
	if (s->given_up) {
		note_free(n);
		return;
	}
	*s->last_note = n;
	s->last_note = &n->next;
	s->n_notes++;
	s->noted += n->len;
	if (s->n_notes == 1)
		wake(s->loop_fd);
}

static void note_kind(struct ssh *s, int kind, struct ssh_job *j)
{
	struct ssh_note *n = xcalloc(1, sizeof(*n));

	n->kind = kind;
	n->job = j;
	note_add(s, n);
}

int ssh_asked(struct ssh *s, const struct ssh_job *job)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->given_up)
		rc = -ESHUTDOWN;
	else if (job && job->cancelled)
		rc = -ECANCELED;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

struct ssh_job *ssh_next_job(struct ssh *s)
{
	struct ssh_job *j;

	pthread_mutex_lock(&s->lock);
	j = s->jobs;
	if (j) {
		s->jobs = j->next;
		s->n_jobs--;
	}
	pthread_mutex_unlock(&s->lock);
	return j;
}

bool ssh_room(struct ssh *s)
{
	bool room;

	pthread_mutex_lock(&s->lock);
	room = s->noted < SSH_QUEUE_MAX;
	s->starved = !room;
	pthread_mutex_unlock(&s->lock);
	return room;
}

void ssh_tell_output(
    struct ssh_job *j, const char *data, size_t len, bool is_stderr)
{
	struct ssh_note *n = xcalloc(1, sizeof(*n) + len);

	n->kind = NOTE_OUTPUT;
	n->job = j;
	n->is_stderr = is_stderr;
	n->len = len;
	memcpy(n->data, data, len);
	pthread_mutex_lock(&j->ssh->lock);
	note_add(j->ssh, n);
	pthread_mutex_unlock(&j->ssh->lock);
}

void ssh_tell_done(struct ssh_job *j)
{
	struct ssh *s = j->ssh;

	pthread_mutex_lock(&s->lock);
	note_kind(s, NOTE_DONE, j);
	pthread_mutex_unlock(&s->lock);
}

void ssh_tell_connected(struct ssh *s)
{
	pthread_mutex_lock(&s->lock);
	note_kind(s, NOTE_CONNECTED, NULL);
	pthread_mutex_unlock(&s->lock);
}

void ssh_tell_broken(struct ssh *s, bool was_connected, const struct err *err)
{
	pthread_mutex_lock(&s->lock);
	s->broken = true;
	s->code = was_connected ? 0 : err->code;
	s->err = *err;
	while (s->jobs) {
		struct ssh_job *j = s->jobs;

		s->jobs = j->next;
		s->n_jobs--;
		j->code = was_connected ? -ECONNRESET : err->code;
		j->err = *err;
		note_kind(s, NOTE_DONE, j);
	}
	note_kind(s, was_connected ? NOTE_CLOSED : NOTE_CONNECTED, NULL);
	pthread_mutex_unlock(&s->lock);
}

static void call_done(struct ssh_job *j, bool cancelled)
{
	if (cancelled && j->code != -ECANCELED)
		j->code =
		    err_set(&j->err, -ECANCELED, "%s was cancelled", j->name);
	if (!j->done)
		return; /* forgotten */
	j->done(j->code, j->status, buf_str(&j->out), j->out.len,
	    buf_str(&j->errout), &j->err, j->userdata);
}

static bool is_cancelled(const struct ssh_note *n)
{
	return (n->kind == NOTE_OUTPUT || n->kind == NOTE_DONE) &&
	       n->job->cancelled;
}

/* One note; s may be given up afterwards. */
static void deliver(struct ssh *s, struct ssh_note *n, bool cancelled)
{
	switch (n->kind) {
	case NOTE_CONNECTED:
		s->connected(s, s->code, &s->err, s->userdata);
		break;
	case NOTE_OUTPUT:
		if (!cancelled)
			n->job->output(
			    n->data, n->len, n->is_stderr, n->job->userdata);
		break;
	case NOTE_DONE:
		call_done(n->job, cancelled);
		break;
	case NOTE_CLOSED:
		s->closed(s, &s->err, s->userdata);
		break;
	}
}

static void on_notes(int fd, uint32_t events, void *userdata)
{
	struct ssh *s = userdata;
	uint64_t count;

	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&s->lock);
	s->refs++;
	for (int i = 0; s->notes && i < NOTES_A_ROUND; i++) {
		struct ssh_note *n = s->notes;
		bool cancelled = is_cancelled(n);

		s->notes = n->next;
		s->n_notes--;
		if (!s->notes)
			s->last_note = &s->notes;
		s->noted -= n->len;
		if (s->starved && s->noted < SSH_QUEUE_MAX / 2) {
			s->starved = false;
			wake(s->thread_fd);
		}
		pthread_mutex_unlock(&s->lock);
		deliver(s, n, cancelled);
		note_free(n);
		pthread_mutex_lock(&s->lock);
	}
	if (s->notes)
		wake(s->loop_fd);
	pthread_mutex_unlock(&s->lock);
	ssh_unref(s);
}

static struct ssh *session_new(const struct ssh_target *t)
{
	struct ssh *s = xcalloc(1, sizeof(*s));
	bool v6 = strchr(t->host, ':');

	pthread_mutex_init(&s->lock, NULL);
	s->refs = 1;
	s->last_note = &s->notes;
	s->thread_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->host = xstrdup(t->host);
	s->user = xstrdup(t->user);
	s->key_file = xstrdup(t->key_file);
	s->where = xasprintf("%s%s%s:%u", v6 ? "[" : "", t->host, v6 ? "]" : "",
	    (unsigned)t->port);
	s->port = t->port;
	s->timeout = t->timeout;
	return s;
}

int ssh_open(struct loop *l, const struct ssh_target *t,
    void (*connected)(
	struct ssh *s, int code, const struct err *err, void *userdata),
    void (*closed)(struct ssh *s, const struct err *err, void *userdata),
    void *userdata, struct ssh **ret, struct err *err)
{
	struct ssh *s = session_new(t);
	int rc = 0;

	s->connected = connected;
	s->closed = closed;
	s->userdata = userdata;
	if (s->thread_fd < 0 || s->loop_fd < 0)
		rc = err_set(
		    err, -EMFILE, "SSH to %s: no descriptor is free", s->where);
	if (!rc) {
		rc = ssh_key_parse(t->host_key, &s->host_key, err);
		if (rc)
			err_prefix(err, "host key of %s: ", s->where);
	}
	if (!rc) {
		rc = loop_add_io(
		    l, s->loop_fd, EPOLLIN, on_notes, s, &s->source);
		if (!rc)
			rc = ssh_thread_start(s);
		if (rc)
			err_errno(err, rc, "SSH to %s", s->where);
	}
	if (rc) {
		loop_source_free(s->source);
		ssh_unref(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void ssh_close(struct ssh *s)
{
	struct ssh_job *j, *next_job;
	struct ssh_note *n, *next_note;

	if (!s)
		return;
	loop_source_free(s->source);
	s->source = NULL;
	pthread_mutex_lock(&s->lock);
	s->given_up = true;
	j = s->jobs;
	n = s->notes;
	s->jobs = NULL;
	s->notes = NULL;
	s->last_note = &s->notes;
	s->n_jobs = s->n_notes = s->noted = 0;
	wake(s->thread_fd);
	pthread_mutex_unlock(&s->lock);
	/* In the order of their making: output names a job that DONE owns. */
	for (; n; n = next_note) {
		next_note = n->next;
		note_free(n);
	}
	for (; j; j = next_job) {
		next_job = j->next;
		ssh_job_free(j);
	}
	ssh_unref(s);
}

/* Takes the job. */
static int queue(
    struct ssh *s, struct ssh_job *j, struct ssh_job **ret, struct err *err)
{
	struct ssh_job **last;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->broken)
		rc = err_set(err, -ENOTCONN, "the SSH session to %s is closed",
		    s->where);
	else if (s->n_jobs >= SSH_JOBS_MAX)
		rc = err_set(err, -EAGAIN,
		    "%d commands wait for the SSH session to %s already",
		    SSH_JOBS_MAX, s->where);
	if (!rc) {
		for (last = &s->jobs; *last; last = &(*last)->next)
			;
		*last = j;
		s->n_jobs++;
		wake(s->thread_fd);
	}
	pthread_mutex_unlock(&s->lock);
	if (rc)
		ssh_job_free(j);
	else if (ret)
		*ret = j;
	return rc;
}

int ssh_run(struct ssh *s, const struct ssh_run *r, struct ssh_job **ret,
    struct err *err)
{
	struct ssh_job *j;
	int rc;

	if (!r->argv || !r->argv[0])
		return err_set(err, -EINVAL, "SSH: an empty command");
	rc = ssh_job_new(s, r, &j, err);
	if (rc)
		return rc;
	return queue(s, j, ret, err);
}

int ssh_dial(struct ssh *s, const struct ssh_dial *d, struct ssh_job **ret,
    struct err *err)
{
	if (d->input_len > SSH_DIAL_MAX)
		return err_set(err, -E2BIG,
		    "SSH: a request of %zu bytes, more than %d", d->input_len,
		    SSH_DIAL_MAX);
	return queue(s, ssh_job_dial(s, d), ret, err);
}

void ssh_job_cancel(struct ssh_job *j)
{
	struct ssh *s;
	struct ssh_job **at;

	if (!j)
		return;
	s = j->ssh;
	pthread_mutex_lock(&s->lock);
	j->cancelled = true;
	for (at = &s->jobs; *at && *at != j; at = &(*at)->next)
		;
	if (*at) {
		*at = j->next;
		s->n_jobs--;
		note_kind(s, NOTE_DONE, j);
	} else {
		wake(s->thread_fd);
	}
	pthread_mutex_unlock(&s->lock);
}

void ssh_job_forget(struct ssh_job *j)
{
	if (!j)
		return;
	/* Both are looked at on this thread, output only when not cancelled. */
	j->done = NULL;
	ssh_job_cancel(j);
}
