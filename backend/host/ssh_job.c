/* SPDX-License-Identifier: Apache-2.0
 *
 * What a session's thread does for one job: opens a channel, starts the
 * command, moves bytes both ways, takes the exit status.  A job that is
 * cancelled or late loses its channel; the session goes on.
 *
 * opening -> asking (exec) -> moving bytes -> closed; from each: given up.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "host/ssh_internal.h"

/* A command has ended but something it started holds its output open: what
 * comes later than that is not waited for. */
#define LINGER (2 * USEC_PER_SEC)

struct run {
	struct ssh_thread *t;
	struct ssh_job *j;
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	uint64_t until, ended_at;
	size_t sent;
	bool eof_sent, ended;
	char piece[SSH_PIECE];
};

static void on_exit_status(
    ssh_session session, ssh_channel channel, int status, void *userdata)
{
	struct run *r = userdata;

	r->ended = true;
	r->ended_at = now_mono();
	r->j->status = status;
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

static bool give_input(struct run *r)
{
	struct ssh_job *j = r->j;
	int n;

	if (r->eof_sent)
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

static int start(struct run *r)
{
	int rc;

	while ((rc = ssh_channel_open_session(r->channel)) == SSH_AGAIN) {
		rc = ssh_thread_wait(r->t, r->j, r->until);
		if (rc)
			return rc;
	}
	if (rc == SSH_OK)
		while ((rc = ssh_channel_request_exec(
			    r->channel, r->j->command)) == SSH_AGAIN) {
			rc = ssh_thread_wait(r->t, r->j, r->until);
			if (rc)
				return rc;
		}
	return rc == SSH_OK ? 0 : -ECONNRESET;
}

/* Without both messages the server would keep its end open. */
static void end_channel(struct run *r, bool kill)
{
	ssh_remove_channel_callbacks(r->channel, &r->callbacks);
	if (kill && ssh_channel_is_open(r->channel))
		ssh_channel_request_send_signal(r->channel, "TERM");
	if (ssh_channel_is_open(r->channel) || !kill)
		/* Again: the first may end at "not sent yet" after the EOF. */
		if (ssh_channel_close(r->channel) != SSH_OK)
			ssh_channel_close(r->channel);
	ssh_channel_free(r->channel);
}

static void tell_failure(struct run *r, int rc)
{
	struct ssh_job *j = r->j;

	if (rc == -ETIMEDOUT)
		err_set(&j->err, rc, "%s took longer than %.3g s", j->name,
		    (double)j->timeout / USEC_PER_SEC);
	else if (rc == -ECANCELED)
		err_set(&j->err, rc, "%s was cancelled", j->name);
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
	r->callbacks.userdata = r;
	r->callbacks.channel_exit_status_function = on_exit_status;
	r->callbacks.channel_exit_signal_function = on_exit_signal;
	ssh_callbacks_init(&r->callbacks);
	r->channel = ssh_channel_new(t->session);
	if (!r->channel) {
		err_set(&t->err, -ECONNRESET, "%s: %s", t->s->where,
		    ssh_get_error(t->session));
		tell_failure(r, -ECONNRESET);
		return -ECONNRESET;
	}
	ssh_add_channel_callbacks(r->channel, &r->callbacks);
	rc = start(r);
	if (!rc)
		rc = move_bytes(r);
	if (!rc && !r->ended)
		rc = -ECONNRESET;
	if (rc)
		tell_failure(r, rc);
	else if (j->cut)
		tell_cut(j);
	end_channel(r, rc != 0);
	if (t->err.code)
		return t->err.code;
	return rc == -ESHUTDOWN ? rc : 0;
}
