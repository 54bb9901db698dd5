/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections from a guest to somewhere (RFC 4254 section 7.2), through its
 * session: a job as any other, run by the session's thread.  Sends its input,
 * and reads until there is a line or the other side closes.
 *
 * A connection that is given up while the guest still waits for the other
 * side can't be closed yet: it is kept, and closed once the guest has told.
 */
#include <errno.h>
#include <stdio.h>

#include "host/ssh_internal.h"

#define ORIGIN "127.0.0.1" /* for the server's log */

static int open_step(ssh_channel channel, const struct ssh_job *j)
{
	return ssh_channel_open_forward(
	    channel, j->address, j->port, ORIGIN, 0);
}

/* Those that were given up and have had an answer since. */
static void sweep(struct ssh_thread *t, const struct ssh_job *j)
{
	for (size_t i = 0; i < t->n_half_open;) {
		ssh_channel c = t->half_open[i];

		/* It is under way: the address is not looked at. */
		if (open_step(c, j) == SSH_AGAIN) {
			i++;
			continue;
		}
		ssh_channel_free(c);
		t->half_open[i] = t->half_open[--t->n_half_open];
	}
}

/* "Channel opening failure: channel 43 error (2) Connection refused" */
static int refused(struct ssh_thread *t, struct ssh_job *j)
{
	const char *why = ssh_get_error(t->session);
	const char *reason = strstr(why, "error (");
	unsigned long number = 0;
	char *end;

	if (!ssh_is_connected(t->session))
		return err_set(
		    &t->err, -ECONNRESET, "%s: %s", t->s->where, why);
	if (reason) {
		number = strtoul(reason + strlen("error ("), &end, 10);
		why = strncmp(end, ") ", 2) == 0 && end[2] ? end + 2
							   : "it failed";
	}
	if (number == 1) /* SSH_OPEN_ADMINISTRATIVELY_PROHIBITED */
		return err_set(&j->err, -EPERM,
		    "%s: the guest's SSH server forbids connections to "
		    "elsewhere: allow them (AllowTcpForwarding)",
		    j->name);
	return err_set(&j->err, -ECONNREFUSED, "%s: %s", j->name, why);
}

static int dial(struct ssh_thread *t, ssh_channel channel, struct ssh_job *j,
    uint64_t until)
{
	int rc;

	while ((rc = open_step(channel, j)) == SSH_AGAIN) {
		rc = ssh_thread_wait(t, j, until);
		if (rc)
			return rc;
	}
	return rc == SSH_OK ? 0 : refused(t, j);
}

static int talk(struct ssh_thread *t, ssh_channel channel, struct ssh_job *j,
    uint64_t until)
{
	char piece[1024];
	int n, rc;

	if (!j->input_len)
		return 0;
	/* A request is much smaller than any window. */
	if (ssh_channel_write(channel, j->input, (uint32_t)j->input_len) !=
	    (int)j->input_len)
		return err_set(&j->err, -ECONNRESET, "%s: %s", j->name,
		    ssh_get_error(t->session));
	for (;;) {
		n = ssh_channel_read_nonblocking(
		    channel, piece, sizeof(piece), 0);
		if (n > 0)
			buf_append(&j->out, piece, (size_t)n);
		if (j->out.len >= j->max_output ||
		    (j->out.len && memchr(j->out.data, '\n', j->out.len)))
			return 0;
		if (n > 0)
			continue;
		if (n < 0 || ssh_channel_is_eof(channel) ||
		    ssh_channel_is_closed(channel))
			return 0;
		rc = ssh_thread_wait(t, j, until);
		if (rc)
			return rc;
	}
}

static void tell_failure(struct ssh_thread *t, struct ssh_job *j, int rc)
{
	if (rc == -ETIMEDOUT)
		err_set(&j->err, rc, "%s took longer than %.3g s", j->name,
		    (double)j->timeout / USEC_PER_SEC);
	else if (rc == -ECANCELED)
		err_set(&j->err, rc, "%s was cancelled", j->name);
	else if (t->err.code)
		err_set(&j->err, rc, "%s: %s", j->name, t->err.text);
	j->code = rc;
}

int ssh_dial_run(struct ssh_thread *t, struct ssh_job *j)
{
	uint64_t until = now_mono() + j->timeout;
	bool is_open = false;
	ssh_channel channel;
	int rc = 0;

	sweep(t, j);
	channel = ssh_channel_new(t->session);
	if (!channel)
		rc = err_set(&t->err, -ECONNRESET, "%s: %s", t->s->where,
		    ssh_get_error(t->session));
	else if (t->n_half_open == SSH_HALF_OPEN_MAX)
		rc = err_set(&j->err, -EAGAIN,
		    "%s: %d connections of this guest wait for an answer "
		    "already",
		    j->name, SSH_HALF_OPEN_MAX);
	if (!rc) {
		rc = dial(t, channel, j, until);
		is_open = !rc;
	}
	if (is_open)
		rc = talk(t, channel, j, until);
	if (rc)
		tell_failure(t, j, rc);
	if (!is_open && (rc == -ETIMEDOUT || rc == -ECANCELED))
		t->half_open[t->n_half_open++] = TAKE_PTR(channel);
	if (channel)
		ssh_channel_free(channel);
	ssh_tell_done(j);
	if (t->err.code)
		return t->err.code;
	return rc == -ESHUTDOWN ? rc : 0;
}
