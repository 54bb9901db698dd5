/* SPDX-License-Identifier: Apache-2.0
 *
 * Files, commands and services in a guest, through its SSH session.  Each call
 * begins with reading this host's files, on a thread, and one look at the
 * guest, one round trip however much there is; what the look tells decides
 * what is done.  So it goes on wherever it was cut off, and what is as it must
 * be is left alone.  Whatever changes something runs under the guest's lock.
 *
 * preparing -> looking -> (observe) ended
 *                      -> (ensure) changing -> looking ... -> ended
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/setup_guest.h"
#include "host/guest_command.h"

#define LOOK_TIME (300 * USEC_PER_SEC)

void setup_log(struct setup *s, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_putc(&b, '\n');
	if (s->env->log)
		s->env->log(s->env->owner, b.data, b.len);
}

/* --- the end of an operation ------------------------------------------- */

void setup_finish(struct setup *s, int code)
{
	if (!op_end(&s->call, code))
		return;
	s->ssh = NULL;
	loop_timer_set(s->timer, USEC_NEVER);
	util_closep(&s->tar_fd);
	s->tar_fd = -1;
}

static void on_timer(void *userdata)
{
	struct setup *s = userdata;

	if (op_waits(&s->call))
		s->on_timer(s);
}

/* What is under way ends the operation: the job by its done, the thread once
 * it is told to stop. */
static void on_cancel(struct op *op)
{
	struct setup *s = op->driver_data;

	if (!op_waits(&s->call))
		return;
	if (s->worker) {
		atomic_store(&s->stop, true);
		return;
	}
	if (s->job) {
		ssh_job_cancel(s->job);
		return;
	}
	knock_free(TAKE_PTR(s->knock));
	if (op_say_cancelled(&s->call))
		setup_finish(s, -ECANCELED);
}

bool setup_ended_well(struct setup *s, const char *what, int code, int status,
    const char *errout, const struct err *err)
{
	int r;

	if (!op_waits(&s->call))
		return false;
	r = guest_command_code(code, status, what, errout, err, &s->call.err);
	if (r == 0)
		return true;
	/* tar doesn't tell the reason of a write that was cut short. */
	if (r == -EIO && (strstr(errout, "No space left on device") ||
			     strstr(errout, "Wrote only ")))
		r = err_set(&s->call.err, -ENOSPC,
		    "%s: there is no room left in the guest", what);
	else if (r == -EIO && strstr(errout, "Read-only file system"))
		r = err_set(&s->call.err, -EROFS,
		    "%s: a file system of the guest is read-only: %s", what,
		    err_text(&s->call.err));
	setup_log(s, "%s", err_text(&s->call.err));
	setup_finish(s, r);
	return false;
}

void setup_shell(struct setup *s, const char *program, bool lock,
    uint64_t timeout, setup_done_fn done)
{
	char *argv[] = {"sh", NULL};
	const struct ssh_run r = {.argv = argv,
	    .input = program,
	    .input_len = strlen(program),
	    .max_output = SETUP_OUT,
	    .timeout = timeout,
	    .lock = lock,
	    .done = done,
	    .userdata = s};
	int code = ssh_run(s->ssh, &r, &s->job, &s->call.err);

	if (code < 0)
		setup_finish(s, code == -ENOTCONN ? -EAGAIN : code);
}

/* --- looking ----------------------------------------------------------- */

static void go_on(struct setup *s)
{
	if (!s->ensure || s->proven) {
		setup_finish(s, 0);
		return;
	}
	switch (s->part) {
	case SETUP_FILES:
		setup_next_file(s);
		break;
	case SETUP_RUN:
		setup_next_run(s);
		break;
	case SETUP_SERVICES:
		setup_next_service(s);
		break;
	case SETUP_PARTS:
		break;
	}
}

static void on_look(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct setup *s = userdata;
	int r;

	s->job = NULL;
	if (!setup_ended_well(
		s, "looking at what is set up", code, status, errout, err))
		return;
	r = setup_parse(s, out, out_len, &s->call.err);
	if (r < 0) {
		setup_finish(s, r);
		return;
	}
	setup_judge(s);
	go_on(s);
}

void setup_look_again(struct setup *s)
{
	_cleanup_buf_ struct buf script = {0};

	setup_begin_seen(s);
	setup_look_script(s, &script);
	setup_shell(s, script.data, s->ensure, LOOK_TIME, on_look);
}

/* --- the driver's calls ------------------------------------------------ */

static int setup_available(struct err *err)
{
	return 0; /* its tools are the guest's */
}

static void setup_close(void *self)
{
	struct setup *s = self;

	if (!s)
		return;
	setup_worker_stop(s);
	knock_free(s->knock);
	/* Nodes close this before the guest's session, which the job is of. */
	ssh_job_forget(s->job);
	op_slot_close(&s->call);
	loop_source_free(s->timer);
	setup_drop_slice(s);
	setup_know_drop(&s->host_known);
	setup_know_drop(&s->guest_known);
	util_closep(&s->tar_fd);
	buf_done(&s->line[0]);
	buf_done(&s->line[1]);
	free(s->items);
	free(s);
}

static int setup_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct setup *s = xcalloc(1, sizeof(*s));
	int r;

	s->env = env;
	s->tar_fd = -1;
	r = op_slot_open(&s->call, env->loop);
	if (r == 0)
		r = loop_add_timer(
		    env->loop, USEC_NEVER, on_timer, s, &s->timer);
	if (r < 0) {
		setup_close(s);
		return err_errno(err, r, "%s", env->name);
	}
	*ret = s;
	return 0;
}

static int start(struct setup *s, const struct setup_slice *slice,
    struct op *op, bool ensure, struct err *err)
{
	int r;

	if (!slice->guest)
		return err_set(err, -EAGAIN, "no SSH session to this guest");
	r = setup_take_slice(s, slice, err);
	if (r < 0)
		return r;
	op_begin(&s->call, op, on_cancel, s);
	s->ensure = ensure;
	s->proven = false;
	s->pushes = 0;
	s->at = 0;
	memset(s->progress, 0, sizeof(s->progress));
	if (ensure)
		op_progress(op, -1, "looking at what is set up");
	setup_prepare(s, setup_look_again);
	return 0;
}

static int setup_observe_(
    void *self, const struct setup_slice *slice, struct op *op, struct err *err)
{
	return start(self, slice, op, false, err);
}

static int setup_ensure_(void *self, enum setup_part part,
    const struct setup_slice *slice, struct op *op, struct err *err)
{
	struct setup *s = self;

	s->part = part;
	return start(s, slice, op, true, err);
}

static void setup_look_(void *self, struct setup_look *ret)
{
	const struct setup *s = self;

	*ret = s->look;
}

const struct setup_driver setup_guest = {
    .name = "guest",
    .help = "files, commands and services, over SSH",
    .available = setup_available,
    .open = setup_open,
    .close = setup_close,
    .observe = setup_observe_,
    .look = setup_look_,
    .ensure = setup_ensure_,
};
