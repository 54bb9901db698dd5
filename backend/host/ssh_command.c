/* SPDX-License-Identifier: Apache-2.0
 *
 * A job of an SSH session and the command line it stands for: words quoted,
 * the guest's lock around them.  Called by ssh.c; knows no libssh.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "host/ssh_internal.h"
#include "identity.h"

#define DEFAULT_TIMEOUT (60 * USEC_PER_SEC)

void ssh_job_free(struct ssh_job *j)
{
	if (!j)
		return;
	free(j->name);
	free(j->command);
	free(j->address);
	if (j->input)
		explicit_bzero(j->input, j->input_len);
	free(j->input);
	util_closep(&j->input_fd);
	free(j->owned);
	buf_done(&j->out);
	buf_done(&j->errout);
	free(j);
}

/* Makes the command, and the input where that has to carry it. */
static int job_command(
    struct ssh_job *j, const struct ssh_run *r, struct err *err)
{
	_cleanup_free_ char *argv = strv_quote(r->argv);
	/* Both busybox's flock and that of util-linux take it so. */
	const char *lock = r->lock ? "flock " GUEST_LOCK " " : "";
	const bool has_input = r->input_len || r->has_input_fd;
	const size_t max = has_input ? SSH_COMMAND_MAX : SSH_ARGV_MAX;

	if (strlen(argv) > max)
		return err_set(err, -E2BIG,
		    "%s: its arguments take %zu bytes, more than %zu", j->name,
		    strlen(argv), max);
	if (strlen(argv) > SSH_COMMAND_MAX) {
		j->command = xasprintf("%ssh", lock);
		j->input = xasprintf("%s </dev/null\n", argv);
		j->input_len = strlen(j->input);
		return 0;
	}
	j->command = xasprintf("%s%s", lock, argv);
	if (r->has_input_fd) {
		j->input_fd = fcntl(r->input_fd, F_DUPFD_CLOEXEC, 3);
		if (j->input_fd < 0)
			return err_errno(err, -errno, "%s: its input", j->name);
	} else if (r->input_len) {
		j->input = xmalloc(r->input_len);
		memcpy(j->input, r->input, r->input_len);
		j->input_len = r->input_len;
	}
	return 0;
}

/* Takes the name. */
static struct ssh_job *job_alloc(struct ssh *s, char *name, uint64_t timeout)
{
	struct ssh_job *j = xcalloc(1, sizeof(*j));

	j->ssh = s;
	j->input_fd = -1;
	j->name = name;
	j->timeout = timeout ? timeout : DEFAULT_TIMEOUT;
	return j;
}

int ssh_job_new(struct ssh *s, const struct ssh_run *r, struct ssh_job **ret,
    struct err *err)
{
	struct ssh_job *j = job_alloc(s, xstrdup(r->argv[0]), r->timeout);
	int rc;

	j->max_output = r->max_output ? r->max_output : SSH_OUTPUT_KEPT;
	j->output = r->output;
	j->done = r->done;
	j->userdata = r->userdata;
	rc = job_command(j, r, err);
	if (rc)
		ssh_job_free(j);
	else
		*ret = j;
	return rc;
}

struct ssh_job *ssh_job_dial(struct ssh *s, const struct ssh_dial *d)
{
	struct ssh_job *j = job_alloc(
	    s, xasprintf("%s:%u", d->address, (unsigned)d->port), d->timeout);

	j->address = xstrdup(d->address);
	j->port = d->port;
	if (d->input_len) {
		j->input = xmalloc(d->input_len);
		memcpy(j->input, d->input, d->input_len);
		j->input_len = d->input_len;
	}
	j->max_output = SSH_DIAL_KEPT;
	j->done = d->done;
	j->userdata = d->userdata;
	return j;
}
