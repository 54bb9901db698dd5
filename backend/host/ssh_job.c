/* SPDX-License-Identifier: Apache-2.0
 *
 * What a session's thread does for one job: opens a channel, starts the
 * command, moves bytes both ways, takes the exit status.  A job that is
 * cancelled or late loses its channel; the session goes on.
 *
 * opening -> asking (exec) -> moving bytes -> closed; from each: given up;
 * from asking: closed by the server -> opening.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "host/ssh_internal.h"

/* A command has ended but something it started holds its output open: what
 * comes later than that is not waited for. */
#define LINGER   (2 * USEC_PER_SEC)
#define END_WAIT (2 * USEC_PER_SEC) /* for a command that was told to end */
#define TRIES    3                  /* to get a channel */

struct run {
	struct ssh_thread *t;
	struct ssh_job *j;
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	uint64_t until, ended_at;
	size_t sent; /* of job's input, which is a piece when it has input_fd */
	int input_error;
	bool asked, eof_sent, ended, closed_there;
	char piece[SSH_PIECE];
};

static void on_exit_status(
    ssh_session session, ssh_channel channel, int status, void *userdata)
{
	struct run *r = userdata;

	if (!r->j)
		return;
	r->ended = true;
	r->ended_at = now_mono();
	r->j->status = status;
}

static void on_close(ssh_session session, ssh_channel channel, void *userdata)
{
	struct run *r = userdata;

	r->closed_there = true;
}

static void on_exit_signal(ssh_session session, ssh_channel channel,
    const char *name, int core, const char *message, const char *lang,
    void *userdata)
{
	struct run *r = userdata;
	int n = 0;

	/* "KILL", as RFC 4254 section 6.10 has them. */
	for (int i = 1; i < SIGRTMIN && !n; i++) {
		const char *abbrev = sigabbrev_np(i);

		if (abbrev && STREQ(abbrev, name))
			n = i;
	}
	on_exit_status(session, channel, 128 + n, r);
}

/* Keeps what fits of the output. */
static void keep(struct ssh_job *j, struct buf *b, size_t len, const char *data)
{
	size_t room = j->max_output - b->len;

	if (len > room)
		j->cut = true;
	if (room)
		buf_append(b, data, MIN(len, room));
}

/* Returns whether there was something. */
static bool take_output(struct run *r, bool is_stderr)
{
	struct ssh_job *j = r->j;
	int n;

	if (j->output && !ssh_room(r->t->s))
		return false;
	n = ssh_channel_read_nonblocking(
	    r->channel, r->piece, sizeof(r->piece), is_stderr);
	if (n <= 0)
		return false;
	keep(j, is_stderr ? &j->errout : &j->out, (size_t)n, r->piece);
	if (j->output)
		ssh_tell_output(j, r->piece, (size_t)n, is_stderr);
	return true;
}

/* More of a file or a pipe, when there is some: 1; 0: not yet, or no more. */
static int next_piece(struct run *r)
{
	struct ssh_job *j = r->j;
	struct pollfd p = {.fd = j->input_fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, 0) <= 0) {
		r->t->input_fd = j->input_fd;
		return 0;
	}
	if (!j->input)
		j->input = xmalloc(SSH_PIECE);
	n = read(j->input_fd, j->input, SSH_PIECE);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		r->input_error = -errno;
	j->input_len = (size_t)MAX(n, 0);
	r->sent = 0;
	if (n <= 0)
		util_closep(&j->input_fd);
	return n > 0;
}

static bool give_input(struct run *r)
{
	struct ssh_job *j = r->j;
	int n;

	r->t->input_fd = -1;
	if (r->eof_sent)
		return false;
	if (r->sent == j->input_len && j->input_fd >= 0 && !next_piece(r) &&
	    j->input_fd >= 0)
		return false;
	if (r->input_error)
		return false;
	if (r->sent < j->input_len) {
		/* libssh would take in as much as the window lets it. */
		if (ssh_get_poll_flags(r->t->session) & SSH_WRITE_PENDING)
			return false;
		n = ssh_channel_write(r->channel, j->input + r->sent,
		    (uint32_t)MIN(SSH_PIECE, j->input_len - r->sent));
		if (n >= 0) {
			r->sent += (size_t)n;
			return n > 0;
		}
		/* It doesn't read to the end: its own affair. */
	}
	r->eof_sent = true;
	ssh_channel_send_eof(r->channel);
	return true;
}

/* Is anything left that the loop was too slow for? */
static bool has_unread(struct run *r)
{
	return ssh_channel_poll(r->channel, 0) > 0 ||
	       ssh_channel_poll(r->channel, 1) > 0;
}

static int move_bytes(struct run *r)
{
	for (;;) {
		bool closed = ssh_channel_is_closed(r->channel);
		bool moved = false;
		uint64_t until = r->until;
		int rc;

		moved |= take_output(r, false);
		moved |= take_output(r, true);
		if (!closed)
			moved |= give_input(r);
		if (r->input_error)
			return -EIO;
		if (moved) {
			rc = ssh_asked(r->t->s, r->j);
			if (!rc && now_mono() >= r->until)
				rc = r->ended ? 1 : -ETIMEDOUT;
			if (rc)
				return MIN(rc, 0);
			continue;
		}
		if (closed && !has_unread(r))
			return 0;
		if (r->ended && !has_unread(r))
			until = MIN(until, r->ended_at + LINGER);
		rc = ssh_thread_wait(r->t, r->j, until);
		if (rc == -ETIMEDOUT && r->ended)
			return 0;
		/* The status is known: a power-off cuts the line so. */
		if (rc == -ECONNRESET && r->ended && !has_unread(r))
			return 0;
		if (rc)
			return rc;
	}
}

static int open_channel(struct run *r)
{
	struct ssh_thread *t = r->t;

	r->callbacks = (struct ssh_channel_callbacks_struct){
	    .userdata = r,
	    .channel_exit_status_function = on_exit_status,
	    .channel_exit_signal_function = on_exit_signal,
	    .channel_close_function = on_close,
	};
	ssh_callbacks_init(&r->callbacks);
	r->closed_there = false;
	r->channel = ssh_channel_new(t->session);
	if (!r->channel)
		return err_set(&t->err, -ECONNRESET, "%s: %s", t->s->where,
		    ssh_get_error(t->session));
	ssh_add_channel_callbacks(r->channel, &r->callbacks);
	return 0;
}

static void free_channel(struct run *r)
{
	if (!r->channel)
		return;
	ssh_remove_channel_callbacks(r->channel, &r->callbacks);
	ssh_channel_free(r->channel);
	r->channel = NULL;
}

/* Both messages, EOF and CLOSE, or the server would keep its end open: the
 * first call may return at "not sent yet" between them. */
static void close_channel(struct run *r)
{
	if (ssh_channel_close(r->channel) != SSH_OK)
		ssh_channel_close(r->channel);
}

/* 1: the server closed the channel without having taken the command. */
static int try_start(struct run *r)
{
	int rc = open_channel(r);

	if (rc)
		return rc;
	while ((rc = ssh_channel_open_session(r->channel)) == SSH_AGAIN) {
		rc = ssh_thread_wait(r->t, r->j, r->until);
		if (rc)
			return rc;
	}
	r->asked = rc == SSH_OK;
	while (r->asked && (rc = ssh_channel_request_exec(
				r->channel, r->j->command)) == SSH_AGAIN) {
		/* libssh would wait for an answer all the same. */
		if (r->closed_there)
			break;
		rc = ssh_thread_wait(r->t, r->j, r->until);
		if (rc)
			return rc;
	}
	if (rc == SSH_OK)
		return 0;
	return r->closed_there && !r->ended ? 1 : -ECONNRESET;
}

/* dropbear (2022.83 at least) closes a channel that has no command yet when a
 * child of another channel ends at that moment. */
static int start(struct run *r)
{
	int rc = 1;

	for (int i = 0; rc == 1 && i < TRIES; i++) {
		if (r->channel)
			close_channel(r);
		free_channel(r);
		rc = try_start(r);
	}
	return rc == 1 ? -ECONNRESET : rc;
}

/* The job is done with, and told; its command may still live. */
static void end_channel(struct run *r, bool kill)
{
	uint64_t until = now_mono() + END_WAIT;

	if (!r->channel)
		return;
	/* One that is half open can't be closed. */
	while (!r->asked && ssh_channel_open_session(r->channel) == SSH_AGAIN &&
	       ssh_thread_wait(r->t, NULL, until) == 0)
		;
	if (kill && ssh_channel_is_open(r->channel))
		ssh_channel_request_send_signal(r->channel, "TERM");
	if (ssh_channel_is_open(r->channel) || r->closed_there)
		close_channel(r);
	/* The next command would run beside it; and see start(). */
	while (kill && r->asked && !r->closed_there &&
	       ssh_thread_wait(r->t, NULL, until) == 0)
		;
	free_channel(r);
}

static void tell_failure(struct run *r, int rc)
{
	struct ssh_job *j = r->j;

	if (rc == -ETIMEDOUT)
		err_set(&j->err, rc, "%s took longer than %.3g s", j->name,
		    (double)j->timeout / USEC_PER_SEC);
	else if (rc == -ECANCELED)
		err_set(&j->err, rc, "%s was cancelled", j->name);
	else if (r->input_error)
		err_errno(&j->err, r->input_error,
		    "%s: reading what it is to be sent", j->name);
	else if (r->t->err.code)
		err_set(&j->err, rc, "%s: %s", j->name, r->t->err.text);
	else
		err_set(&j->err, rc, "%s: %s", j->name,
		    ssh_get_error(r->t->session));
	j->code = rc;
}

static void tell_cut(struct ssh_job *j)
{
	err_set(&j->err, -EMSGSIZE,
	    "%s: its output was cut off after %zu bytes", j->name,
	    j->max_output);
	j->err.code = 0;
}

int ssh_job_run(struct ssh_thread *t, struct ssh_job *j)
{
	_cleanup_free_ struct run *r = xcalloc(1, sizeof(*r));
	int rc;

	r->t = t;
	r->j = j;
	r->until = now_mono() + j->timeout;
	rc = start(r);
	if (!rc)
		rc = move_bytes(r);
	if (!rc && !r->ended)
		rc = -ECONNRESET;
	if (rc)
		tell_failure(r, rc);
	else if (j->cut)
		tell_cut(j);
	r->j = NULL;
	t->input_fd = -1;
	ssh_tell_done(j);
	end_channel(r, rc != 0);
	if (t->err.code)
		return t->err.code;
	return rc == -ESHUTDOWN ? rc : 0;
}
