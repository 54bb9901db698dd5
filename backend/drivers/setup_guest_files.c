/* SPDX-License-Identifier: Apache-2.0
 *
 * Files: sends those that differ, all in one go, and takes away those of ours
 * that the spec has no more.  A file that was changed since we put it there
 * stays: it is somebody else's now.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/setup_guest.h"
#include "host/guest_command.h"

#define PUSHES_MAX 3 /* in one ensure */
#define PUSH_TIME  (300 * USEC_PER_SEC)
#define SLOWEST    (200 * KIB) /* bytes a second */
#define TELL_EVERY (500 * USEC_PER_MSEC)

/* Returns whether anything is to be done, or a negative errno. */
static int choose(struct setup *s)
{
	char detail[200];
	bool any = s->seen.pending && !*s->root;

	s->n_send = 0;
	for (size_t i = 0; i < s->n_files; i++) {
		int r = setup_file_differs(s, i, detail, &s->call.err);

		if (r < 0)
			return r;
		s->send[i] = r > 0;
		s->n_send += r > 0;
		if (r > 0 && s->pushes == PUSHES_MAX)
			return err_set(&s->call.err, -EIO,
			    "%s was sent %d times, and still: %s",
			    s->files[i].f.path, PUSHES_MAX, detail);
	}
	for (size_t i = 0; i < s->seen.n_manifest; i++)
		any |= !setup_is_wanted(s, s->seen.manifest[i].path);
	return any || s->n_send;
}

static void log_sent(struct setup *s)
{
	_cleanup_buf_ struct buf b = {0};
	size_t n = 0;

	for (size_t i = 0; i < s->n_files; i++)
		if (s->send[i] && n++ < 20)
			buf_printf(&b, " %s", s->files[i].f.path);
	if (n > 20)
		buf_printf(&b, " and %zu more", n - 20);
	setup_log(s, "files: sent%s (%llu bytes)", n ? buf_str(&b) : " nothing",
	    (unsigned long long)s->tar_size);
}

/* "k <path>": it stays; "b <file> <stat>": its digest is known. */
static void take_answer(struct setup *s, const char *out, size_t len)
{
	const char *end = out + len, *word[3];

	while (out < end) {
		for (int i = 0; i < 2; i++) {
			word[i] = out;
			out += strlen(out) + 1;
			if (out >= end && i == 0)
				return;
		}
		if (*word[0] == 'k') {
			setup_log(s,
			    "files: %s was changed by somebody: it stays",
			    word[1]);
		} else if (*word[0] == 'b' && out < end) {
			size_t i = strtoul(word[1], NULL, 10);

			word[2] = out;
			out += strlen(out) + 1;
			if (i < s->n_files)
				setup_know(&s->guest_known, s->files[i].f.path,
				    word[2], s->files[i].digest, true);
		} else {
			return;
		}
	}
}

static void on_pushed(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct setup *s = userdata;

	s->job = NULL;
	loop_timer_set(s->timer, USEC_NEVER);
	util_closep(&s->tar_fd);
	s->tar_fd = -1;
	if (!setup_ended_well(s, "files", code, status, errout, err))
		return;
	take_answer(s, out, out_len);
	log_sent(s);
	setup_look_again(s);
}

static void tell(struct setup *s)
{
	off_t at = lseek(s->tar_fd, 0, SEEK_CUR);
	uint64_t sent = at < 0 ? 0 : (uint64_t)at;
	int percent =
	    s->tar_size > SETUP_BIG ? (int)(100 * sent / s->tar_size) : -1;

	if (percent < 0)
		op_progress(s->call.op, -1, "sending %zu files", s->n_send);
	else
		op_progress(s->call.op, percent,
		    "sending %zu files: %llu of %llu MiB", s->n_send,
		    (unsigned long long)(sent / MIB),
		    (unsigned long long)(s->tar_size / MIB));
	loop_timer_set(s->timer, now_mono() + TELL_EVERY);
}

static void push(struct setup *s)
{
	char *argv[] = {
	    "sh", "-c", (char *)setup_push_command, s->seen.dirs[0].real, NULL};
	const struct ssh_run r = {.argv = argv,
	    .has_input_fd = true,
	    .input_fd = s->tar_fd,
	    .timeout = PUSH_TIME + s->tar_size / SLOWEST * USEC_PER_SEC,
	    .lock = true,
	    .done = on_pushed,
	    .userdata = s};
	int code = s->host_code;

	if (code < 0) {
		err_copy(&s->call.err, &s->host_err);
		setup_finish(s, code);
		return;
	}
	code = ssh_run(s->ssh, &r, &s->job, &s->call.err);
	if (code < 0) {
		setup_finish(s, code == -ENOTCONN ? -EAGAIN : code);
		return;
	}
	s->on_timer = tell;
	tell(s);
}

void setup_next_file(struct setup *s)
{
	int r;

	if (!s->seen.dirs[0].real) {
		r = err_set(&s->call.err, -ENOENT,
		    "%s is not there in the guest", *s->root ? s->root : "/");
		setup_finish(s, r);
		return;
	}
	r = choose(s);
	if (r <= 0) {
		setup_finish(s, r);
		return;
	}
	s->pushes++;
	op_progress(s->call.op, -1, "packing %zu files", s->n_send);
	setup_on_worker(s, setup_pack, push);
}
