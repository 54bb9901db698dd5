/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands: each runs once for each content, in the order of `after`.  What
 * they are made of is secret: the log has their names and what they said.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/setup_guest.h"
#include "host/guest_command.h"

#define RUN_TIME  (600 * USEC_PER_SEC)
#define LINE_LONG 1024
#define LOG_MAX   MIB /* of one command's output */

/* A command lives on when the session breaks: then the next look waits for it.
 * What it leaves running itself shall not hold the guest's lock.
 *
 * SSH servers do not end the command of a channel that is closed: OpenSSH not
 * for root, dropbear only its first process.  So one that is given up is ended
 * by its process group.  It may not have begun: each side leaves its mark
 * before it looks for the other's. */
#define GROUP_FILE "/run/rackfs-run."
#define END_FILE   "/run/rackfs-end."
static const char program[] =
    "s=$0 n=$1 w=$2 t=$3; shift 3; shift\n"
    "read -r a b c d g e 2>/dev/null </proc/$$/stat && echo \"$g\" >" GROUP_FILE
    "$t\n"
    "[ -e " END_FILE "$t ] ||\n"
    "( exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$@\" ) </dev/null\n"
    "e=$?; rm -f " GROUP_FILE "$t; [ $e = 0 ] || exit $e\n"
    "[ ! -e " END_FILE "$t ] || { rm -f " END_FILE "$t; exit 1; }\n"
    "umask 077; mkdir -p \"$s/run\" && echo \"$w\" >\"$s/run/.$n\" &&\n"
    "	mv -f \"$s/run/.$n\" \"$s/run/$n\"\n";

static const char end_program[] =
    ": >" END_FILE "$0; read -r g <" GROUP_FILE "$0 || exit 0\n"
    "kill -TERM -\"$g\"; i=0\n"
    "while kill -0 -\"$g\" && [ $i -lt 20 ]; do\n"
    "	i=$((i + 1)); sleep 0.1\n"
    "done\n"
    "kill -KILL -\"$g\"; rm -f " GROUP_FILE "$0 " END_FILE "$0; exit 0\n";

static const struct wanted_run *current(const struct setup *s)
{
	return &s->runs[s->order[s->at]];
}

/* --- its output -------------------------------------------------------- */

static void log_line(struct setup *s, bool is_stderr)
{
	struct buf *line = &s->line[is_stderr];
	_cleanup_buf_ struct buf b = {0};

	if (!line->len)
		return;
	s->logged += line->len;
	buf_escaped(&b, line->data, line->len);
	buf_clear(line);
	if (s->logged < LOG_MAX)
		setup_log(s, "run.%s: %s", current(s)->r.name, b.data);
}

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct setup *s = userdata;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n' || s->line[is_stderr].len == LINE_LONG)
			log_line(s, is_stderr);
		if (data[i] != '\n')
			buf_putc(&s->line[is_stderr], data[i]);
	}
}

static const char *last_line(const char *text)
{
	const char *line = text;

	for (; *text; text++)
		if (*text == '\n' && text[1] && text[1] != '\n')
			line = text + 1;
	return line;
}

static void on_told(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
}

/* The job has ended for us; nobody waits for this one. */
static void end_command(struct setup *s)
{
	char *argv[] = {"sh", "-c", (char *)end_program, s->token, NULL};
	const struct ssh_run r = {.argv = argv, .done = on_told};

	ssh_run(s->ssh, &r, NULL, NULL);
}

static void on_ran(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct setup *s = userdata;
	_cleanup_free_ char *what = xasprintf("run.%s", current(s)->r.name);

	log_line(s, false);
	log_line(s, true);
	s->job = NULL;
	if (code == -ETIMEDOUT || code == -ECANCELED)
		end_command(s);
	if (code == -ETIMEDOUT) {
		code = err_set(&s->call.err, -ETIME,
		    "%s has not ended within %llu s: it was told to end", what,
		    RUN_TIME / USEC_PER_SEC);
		setup_log(s, "%s", err_text(&s->call.err));
		setup_finish(s, code);
		return;
	}
	setup_log(s, "%s: exit status %d after %.1f s", what, status,
	    (double)(now_mono() - s->began) / USEC_PER_SEC);
	if (!setup_ended_well(s, what, code, status, last_line(errout), err))
		return;
	memcpy(s->seen.runs[s->order[s->at]], current(s)->digest, SHA256_HEX);
	s->at++;
	setup_next_run(s);
}

/* --- one after the other ----------------------------------------------- */

static void start(struct setup *s)
{
	const struct wanted_run *w = current(s);
	_cleanup_strv_ char **argv = NULL;
	const struct ssh_run r = {.timeout = RUN_TIME,
	    .lock = true,
	    .output = on_output,
	    .done = on_ran,
	    .userdata = s};
	struct ssh_run run = r;
	uint64_t token;
	int code;

	random_bytes(&token, sizeof(token));
	snprintf(
	    s->token, sizeof(s->token), "%016llx", (unsigned long long)token);
	argv = strv_new("sh", "-c", program, SETUP_DIR, w->r.name, w->digest,
	    s->token, "--", NULL);

	for (char *const *a = w->r.command; a && *a; a++)
		strv_push(&argv, *a);
	run.argv = argv;
	op_progress(
	    s->call.op, (int)(100 * s->at / s->n_runs), "run.%s", w->r.name);
	setup_log(s, "run.%s: begins", w->r.name);
	buf_clear(&s->line[0]);
	buf_clear(&s->line[1]);
	s->logged = 0;
	s->began = now_mono();
	code = ssh_run(s->ssh, &run, &s->job, &s->call.err);
	if (code < 0)
		setup_finish(s, code == -ENOTCONN ? -EAGAIN : code);
}

void setup_next_run(struct setup *s)
{
	int r = setup_order_runs(s, &s->call.err);

	if (r < 0 || *s->root) {
		setup_finish(s, r);
		return;
	}
	while (s->at < s->n_runs &&
	       STREQ(s->seen.runs[s->order[s->at]], current(s)->digest))
		s->at++;
	if (s->at < s->n_runs) {
		start(s);
		return;
	}
	setup_judge(s);
	setup_finish(s, 0);
}
