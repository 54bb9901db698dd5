/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one command of an install in the guest, and streams a host file into
 * it: as it is, or through a zstd child.  How far it is tells the offset of
 * the file, which child and session share with us.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/install_guest.h"
#include "host/guest_command.h"

#define TICK      (500 * USEC_PER_MSEC)
#define WORDS_MAX 1024

int install_source(
    const char *path, int *ret_fd, struct stat *ret, struct err *err)
{
	/* Not to hang on a FIFO. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, ret) < 0)
		return err_errno(err, -errno, "%s can't be opened", path);
	if (!S_ISREG(ret->st_mode))
		return err_set(err, -EINVAL, "%s is not a regular file", path);
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

void install_send_done(struct install *in)
{
	struct install_send *s = &in->send;

	loop_source_free(TAKE_PTR(in->tick));
	child_free(TAKE_PTR(s->zstd));
	util_closep(&s->fd);
	s->fd = -1;
	free(TAKE_PTR(s->path));
	buf_done(&s->words);
	s->failed = false;
}

uint64_t install_sent(const struct install *in)
{
	off_t at = in->send.fd < 0 ? 0 : lseek(in->send.fd, 0, SEEK_CUR);

	return at < 0 ? 0 : (uint64_t)at;
}

/* --- zstd --------------------------------------------------------------- */

static void on_words(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct install *in = userdata;
	struct buf *words = &in->send.words;

	if (words->len < WORDS_MAX)
		buf_append(words, data, MIN(len, WORDS_MAX - words->len));
}

/* The guest sees the end of what it was sent, and whether that was whole. */
static void on_zstd(int code, int status, void *userdata)
{
	struct install *in = userdata;

	child_free(TAKE_PTR(in->send.zstd));
	in->send.failed = code || status;
}

/* *ret: the end of a pipe that gives the compressed bytes. */
static int start_zstd(struct install *in, int *ret, struct err *err)
{
	static char *argv[] = {"zstd", "-q", "-3", "-c", NULL};
	_cleanup_close_ int ours = -1, theirs = -1;
	int p[2], rc;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "a pipe from zstd");
	ours = p[0];
	theirs = p[1];
	rc = child_start(in->env->loop,
	    &(struct child_options){
		.argv = argv,
		.stdin_fd = in->send.fd,
		.stdout_fd = theirs,
		.output = on_words,
		.done = on_zstd,
		.userdata = in,
	    },
	    &in->send.zstd, err);
	if (rc == 0)
		*ret = TAKE_FD(ours);
	return rc;
}

/* --- the command -------------------------------------------------------- */

static void on_tick(void *userdata)
{
	struct install *in = userdata;
	uint64_t sent = install_sent(in),
		 size = (uint64_t)in->send.began.st_size;
	uint64_t percent = size ? MIN(sent, size) * 100 / size : 0;

	/* What follows the copying is short. */
	op_progress(in->call.op, in->copying ? (int)MIN(percent, 99ULL) : 99,
	    "%s: %llu of %llu MB", in->what,
	    (unsigned long long)(sent / 1000000),
	    (unsigned long long)((size + 999999) / 1000000));
	loop_timer_set(in->tick, loop_now(in->env->loop) + TICK);
}

/* What was sent must be what was there when it began. */
static int check_source(struct install *in)
{
	const struct stat *a = &in->send.began;
	struct stat b;

	if (in->send.fd < 0)
		return 0;
	if (in->send.failed)
		return err_set(&in->call.err, -EIO, "zstd failed at %s: %s",
		    in->send.path, buf_str(&in->send.words));
	if (stat(in->send.path, &b) == 0 && b.st_dev == a->st_dev &&
	    b.st_ino == a->st_ino && b.st_size == a->st_size &&
	    b.st_mtim.tv_sec == a->st_mtim.tv_sec &&
	    b.st_mtim.tv_nsec == a->st_mtim.tv_nsec)
		return 0;
	return err_set(&in->call.err, -EAGAIN,
	    "%s changed or vanished while it was sent", in->send.path);
}

static void no_room(struct install *in)
{
	_cleanup_free_ char *words = xstrdup(in->call.err.text);

	err_set(&in->call.err, -ENOSPC,
	    "no room: make the disk or the partition larger: %s", words);
}

/* Without the lines that tell how far it is. */
static void log_end(struct install *in, int code, int status,
    const char *errout, const struct err *err)
{
	_cleanup_free_ char *out = xstrdup(buf_str(&in->out));
	_cleanup_buf_ struct buf shown = {0}, text = {0};
	char *line, *state = NULL;

	for (line = strtok_r(out, "\n", &state); line;
	     line = strtok_r(NULL, "\n", &state))
		if (strncmp(line, "at ", 3) != 0)
			buf_printf(&shown, "%s\n", line);
	guest_command_text(
	    &text, in->what, code, status, buf_str(&shown), errout, err);
	install_log(in, text.data);
}

static void on_done(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct install *in = userdata;
	int r, changed;

	if (!op_waits(&in->call))
		return;
	in->job = NULL;
	buf_clear(&in->out);
	buf_append(&in->out, out, out_len);
	log_end(in, code, status, errout, err);
	r = guest_command_code(
	    code, status, in->what, errout, err, &in->call.err);
	if (r == -EIO && strstr(errout, "No space left on device")) {
		no_room(in);
		r = -ENOSPC;
	}
	/* A source that failed is why the guest's side did. */
	if (r != -ECANCELED && r != -ENOSPC) {
		changed = check_source(in);
		r = changed ? changed : r;
	}
	if (r < 0) {
		install_finish(in, r);
		return;
	}
	install_send_done(in);
	in->after(in);
}

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct install *in = userdata;

	if (op_waits(&in->call) && !is_stderr && in->line_output)
		in->line_output(in, data, len);
}

/* Opens the source; *ret is what the session is to send. */
static int open_source(
    struct install *in, const struct install_run *r, int *ret, struct err *err)
{
	struct install_send *s = &in->send;
	int rc;

	s->path = xstrdup(r->source);
	rc = install_source(r->source, &s->fd, &s->began, err);
	if (rc == 0)
		rc = loop_add_timer(in->env->loop,
		    loop_now(in->env->loop) + TICK, on_tick, in, &in->tick);
	if (rc < 0)
		return rc;
	if (r->compress)
		return start_zstd(in, ret, err);
	*ret = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	return *ret < 0 ? err_errno(err, -errno, "%s", r->source) : 0;
}

static int start_job(struct install *in, const struct install_run *r, int fd)
{
	_cleanup_strv_ char **argv = strv_new("sh", "-c", r->script, NULL);
	struct ssh_run job = {
	    .input = r->text,
	    .input_len = r->text ? strlen(r->text) : 0,
	    .has_input_fd = fd >= 0,
	    .input_fd = fd,
	    .timeout = r->timeout,
	    .lock = true,
	    .output = r->output ? on_output : NULL,
	    .done = on_done,
	    .userdata = in,
	};
	int rc;

	for (size_t i = 0; r->args && r->args[i]; i++)
		strv_push(&argv, r->args[i]);
	job.argv = argv;
	rc = ssh_run(in->ssh, &job, &in->job, &in->call.err);
	return rc == -ENOTCONN ? -EAGAIN : rc;
}

void install_run(struct install *in, const struct install_run *r)
{
	_cleanup_close_ int fd = -1;
	int rc = 0;

	free(in->what);
	in->what = r->what;
	if (in->call.ending)
		return;
	in->after = r->after;
	in->line_output = r->output;
	install_send_done(in);
	if (r->source)
		rc = open_source(in, r, &fd, &in->call.err);
	if (rc == 0)
		rc = start_job(in, r, fd);
	if (rc < 0)
		install_finish(in, rc);
}
