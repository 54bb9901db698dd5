/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine driver "qemu": one QEMU process for each node, started in a
 * private folder, spoken to by QMP, adopted by the next daemon.
 *
 * What an operation waits for, and what cancel does:
 *
 *   OBSERVING  an adopted QEMU's answers, its log read; at most OBSERVE_WAIT
 *   STARTING   probe, disks, launch, "running", links; cancelled: killed
 *   PRESSING   the answer to the power button
 *   KILLING    the end of the process; cancelled: it is killed all the same
 *   APPLYING   the answers to plugs, links and sizes
 *
 * The run itself (machine_qemu_run.c) is apart from operations: it may end
 * during any of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine_qemu.h"

#define OBSERVE_WAIT (3 * USEC_PER_SEC)

/* --- operations ---------------------------------------------------------- */

void qemu_log(struct qemu *q, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = {0};
	va_list ap;

	if (!q->env.log)
		return;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	q->env.log(q->env.owner, buf_str(&b), b.len);
}

void qemu_changed(struct qemu *q)
{
	if (q->env.changed)
		q->env.changed(q->env.owner);
}

/* done may close the handle: nothing follows it. */
static void on_finish(void *userdata)
{
	struct qemu *q = userdata;
	struct op *op = TAKE_PTR(q->op);
	struct err err = q->finish_err;
	int code = q->finish_code;

	q->doing = IDLE;
	q->finished = false;
	q->generation++;
	qemu_start_drop(q);
	loop_timer_set(q->op_timer, USEC_NEVER);
	qemu_slice_free(TAKE_PTR(q->slice));
	op_done(op, code, code < 0 ? &err : NULL);
}

void qemu_finish(struct qemu *q, int code, const struct err *err)
{
	if (!q->op || q->finished)
		return;
	if (q->cancelled)
		code = -ECANCELED;
	q->finished = true;
	q->finish_code = code;
	err_copy(&q->finish_err, err);
	if (q->cancelled)
		err_set(&q->finish_err, code, "cancelled");
	loop_kick(q->finish);
}

static void on_cancel(struct op *op)
{
	struct qemu *q = op->driver_data;

	if (q->finished)
		return;
	q->cancelled = true;
	if (q->doing == STARTING && q->launched && q->launch) {
		qemu_kill(q); /* its end ends the operation */
		return;
	}
	qemu_start_drop(q);
	qemu_finish(q, -ECANCELED, NULL);
}

static void begin(struct qemu *q, enum qemu_doing doing, struct op *op)
{
	q->doing = doing;
	q->op = op;
	q->cancelled = false;
	q->finished = false;
	q->launched = q->live = false;
	q->live_step = 0;
	q->finish_err = ERR_INIT;
	op->cancel = on_cancel;
	op->driver_data = q;
}

static void on_op_timer(void *userdata)
{
	struct qemu *q = userdata;
	struct err err = ERR_INIT;

	if (q->doing == OBSERVING) {
		/* It lives: its lock is held.  That it does not answer is for
		 * timeouts of the boot and of stop to judge. */
		qemu_log(q, "QEMU runs as pid %d but does not answer",
		    (int)q->look.pid);
		qemu_finish(q, 0, NULL);
	} else if (q->doing == STARTING && q->launch) {
		err_set(&err, -ETIMEDOUT,
		    "QEMU started but did not run the "
		    "machine in time; it is ended");
		qemu_finish(q, -ETIMEDOUT, &err);
		qemu_kill(q);
	}
}

void qemu_progressed(struct qemu *q)
{
	if (!q->op || q->finished || !q->launch)
		return;
	if (q->doing == OBSERVING && q->status_known && q->sizes_known &&
	    qemu_console_caught_up(q->console))
		qemu_finish(q, 0, NULL);
	else if (q->doing == STARTING && q->launched && q->running &&
		 q->sizes_known && !q->live) {
		q->live = true;
		qemu_live_next(q);
	}
}

void qemu_gone(struct qemu *q)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *text = xstrdup(q->look.end_text);

	switch (q->doing) {
	case STARTING:
		if (!q->launched)
			break;
		/* It never ran: that is a failed start, not a crash. */
		q->look.end = END_NONE;
		err_set(&err, -EIO, "QEMU ended at once: %s", text);
		qemu_finish(q, -EIO, &err);
		return; /* the operation's end tells it */
	case APPLYING:
		err_set(&err, -EAGAIN, "the machine ended meanwhile: %s", text);
		qemu_finish(q, -EAGAIN, &err);
		break;
	case OBSERVING:
	case PRESSING:
	case KILLING:
		qemu_finish(q, 0, NULL);
		break;
	case IDLE:
		break;
	}
	qemu_changed(q);
}

/* --- driver calls -------------------------------------------------------- */

static int qemu_available(struct err *err)
{
	static const char *const programs[] = {QEMU_PROGRAM, "qemu-img"};
	static const char *const packages[] = {"qemu-system-x86", "qemu-utils"};
	const char *path = getenv("PATH");

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		bool found = false;
		for (const char *p = path ? path : ""; *p && !found;) {
			_cleanup_buf_ struct buf b = {0};
			size_t n = strcspn(p, ":");
			buf_append(&b, p, n);
			buf_printf(&b, "/%s", programs[i]);
			found = access(buf_str(&b), X_OK) == 0;
			p += n;
			p += *p == ':';
		}
		if (!found)
			return err_set(err, -ENOENT,
			    "%s is not installed: apt-get install %s",
			    programs[i], packages[i]);
	}
	return 0;
}

static void console_grew(void *userdata)
{
	struct qemu *q = userdata;

	if (q->console_changed)
		q->console_changed(q->env.owner);
}

static void console_caught_up(void *userdata)
{
	qemu_progressed(userdata);
}

static void console_asked(void *userdata)
{
	struct qemu *q = userdata;
	struct err err = ERR_INIT;

	if (!q->id || !q->identity)
		return;
	int r = qemu_identity_send(q->id, q->identity, q->env.owner, &err);
	if (r < 0)
		qemu_log(
		    q, "the guest asked for its identity: %s", err_text(&err));
	else if (r > 0)
		qemu_log(q, "the guest asked for its identity: sent");
}

static void qemu_close(void *self)
{
	struct qemu *q = self;

	if (!q)
		return;
	qemu_start_drop(q);
	qemu_detach(q);
	qemu_console_free(q->console);
	qemu_accel_unref(q->accel);
	qemu_slice_free(q->slice);
	loop_source_free(q->finish);
	loop_source_free(q->op_timer);
	free(q);
}

static int qemu_open(const struct driver_env *env,
    int (*identity)(void *owner, struct buf *ret, struct err *err),
    void (*console)(void *owner), void **ret, struct err *err)
{
	static const struct qemu_console_callbacks cb = {
	    .grew = console_grew,
	    .asked = console_asked,
	    .caught_up = console_caught_up,
	};
	struct qemu *q = xcalloc(1, sizeof(*q));

	q->env = *env;
	q->identity = identity;
	q->console_changed = console;
	q->events_fifo = -1;
	q->look.accel = "";
	q->accel = qemu_accel_ref(env->loop);
	int r = loop_add_deferred(env->loop, on_finish, q, &q->finish);
	if (r >= 0)
		r = loop_add_timer(
		    env->loop, USEC_NEVER, on_op_timer, q, &q->op_timer);
	if (r < 0)
		err_errno(err, r, "%s", env->name);
	else
		r = qemu_console_new(
		    env->loop, env->state_dir, &cb, q, &q->console, err);
	if (r < 0) {
		qemu_close(q);
		return r;
	}
	*ret = q;
	return 0;
}

/* Numbers of runs grow although a reboot of the host empties the runtime
 * directory: they go on from the newest console log. */
static void go_on_counting(struct qemu *q, uint64_t last)
{
	uint64_t newest = qemu_console_newest(q->env.state_dir);
	_cleanup_buf_ struct buf b = {0};

	if (newest <= last)
		return;
	buf_printf(&b, "%s/launch-%llu", q->env.runtime_dir,
	    (unsigned long long)newest);
	mkdir(buf_str(&b), 0700);
}

/* No machine runs: what is known of the last one. */
static void look_back(struct qemu *q, uint64_t last)
{
	_cleanup_buf_ struct buf b = {0};
	_cleanup_close_ int folder = -1;

	last = MAX(last, qemu_console_newest(q->env.state_dir));
	if (q->look.state == MACHINE_NONE && q->look.launch == last)
		return; /* we saw it end */
	q->look = (struct machine_look){
	    .state = MACHINE_NONE, .accel = "", .launch = last};
	if (last == 0)
		return;
	buf_printf(
	    &b, "%s/launch-%llu", q->env.runtime_dir, (unsigned long long)last);
	folder = open(buf_str(&b), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0)
		q->look.end = qemu_record_end(folder, -ECHILD, 0,
		    q->look.end_text, sizeof(q->look.end_text));
	/* A log that is gone is no reason to fail: there is none to show. */
	if (qemu_console_begin(q->console, last, true, NULL) >= 0)
		qemu_console_end(q->console);
}

static int qemu_observe(void *self, struct op *op, struct err *err)
{
	struct qemu *q = self;
	uint64_t last = 0;
	int r;

	if (!q->launch) {
		r = launch_adopt(
		    q->env.loop, q->env.runtime_dir, &q->launch, &last, err);
		if (r < 0)
			return r;
		if (r > 0 && (r = qemu_attach(q, true, err)) < 0)
			return r;
	}
	begin(q, OBSERVING, op);
	if (!q->launch) {
		go_on_counting(q, last);
		look_back(q, last);
		qemu_finish(q, 0, NULL);
		return 0;
	}
	loop_timer_set(q->op_timer, loop_now(q->env.loop) + OBSERVE_WAIT);
	q->status_known = false;
	if (q->ready)
		qemu_ask_status(q);
	return 0;
}

static int start(void *self, const struct machine_slice *slice, struct op *op,
    struct err *err)
{
	struct qemu *q = self;
	uint64_t last = 0;
	int r;

	if (q->launch)
		return err_set(err, -EBUSY, "a machine runs already, pid %d",
		    (int)launch_pid(q->launch));
	/* Also when nobody has called observe: never a second one. */
	r = launch_adopt(
	    q->env.loop, q->env.runtime_dir, &q->launch, &last, err);
	if (r < 0)
		return r;
	if (r > 0) {
		r = qemu_attach(q, true, err);
		return r < 0 ? r
			     : err_set(err, -EBUSY,
				   "a machine runs already, pid %d",
				   (int)q->look.pid);
	}
	go_on_counting(q, last);
	q->slice = qemu_slice_copy(slice);
	r = qemu_check(q->slice, err);
	if (r < 0) {
		qemu_slice_free(TAKE_PTR(q->slice));
		return r;
	}
	begin(q, STARTING, op);
	r = qemu_start(q, err);
	if (r < 0) {
		qemu_start_drop(q);
		qemu_slice_free(TAKE_PTR(q->slice));
		q->op = NULL;
		q->doing = IDLE;
	}
	return r;
}

static void on_pressed(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	struct err why;

	err_copy(&why, err);
	/* The plug is the answer to all of these, and the engine's. */
	if (code < 0)
		why.code = code = -EAGAIN;
	qemu_finish(q, code, &why);
}

static int stop(void *self, bool hard, struct op *op, struct err *err)
{
	struct qemu *q = self;
	int r;

	if (!q->launch) {
		begin(q, KILLING, op);
		qemu_finish(q, 0, NULL);
		return 0;
	}
	if (!hard) {
		begin(q, PRESSING, op);
		r = qemu_ask(q, "system_powerdown", NULL, on_pressed);
		if (r >= 0)
			return 0;
		q->op = NULL;
		q->doing = IDLE;
		return err_set(err, -EAGAIN,
		    "QEMU does not answer, so there is no power button");
	}
	begin(q, KILLING, op);
	qemu_kill(q);
	return 0;
}

static int apply(void *self, const struct machine_slice *slice, struct op *op,
    struct err *err)
{
	struct qemu *q = self;

	if (!q->launch)
		return err_set(err, -ENODEV, "no machine runs");
	if (!q->ready)
		return err_set(err, -EAGAIN, "QEMU does not answer yet");
	q->slice = qemu_slice_copy(slice);
	begin(q, APPLYING, op);
	qemu_live_next(q);
	return 0;
}

static void look(void *self, struct machine_look *ret)
{
	struct qemu *q = self;

	*ret = q->look;
	qemu_console_look(q->console, ret);
}

static ssize_t console_read(
    void *self, uint64_t launch, uint64_t off, void *data, size_t len)
{
	struct qemu *q = self;

	return qemu_console_read(q->console, launch, off, data, len);
}

static void console_stat(
    void *self, uint64_t *ret_launch, uint64_t *ret_size, uint64_t *ret_oldest)
{
	struct qemu *q = self;

	qemu_console_stat(q->console, ret_launch, ret_size, ret_oldest);
}

static ssize_t console_write(void *self, const void *data, size_t len)
{
	struct qemu *q = self;

	return q->launch ? qemu_console_write(q->console, data, len) : -ENODEV;
}

const struct machine_driver machine_qemu = {
    .name = "qemu",
    .help = "a virtual machine: QEMU, with KVM where it works",
    .available = qemu_available,
    .open = qemu_open,
    .close = qemu_close,
    .observe = qemu_observe,
    .look = look,
    .start = start,
    .stop = stop,
    .apply = apply,
    .console_read = console_read,
    .console_stat = console_stat,
    .console_write = console_write,
};
