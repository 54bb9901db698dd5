/* SPDX-License-Identifier: Apache-2.0
 *
 * A QEMU that runs, started by this daemon or adopted: its sockets are
 * connected as they appear, and again when they break; its stderr goes into
 * the node's log; its end is seen by pidfd and read from what it left.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine_qemu.h"

#define CONNECT_SOON  (10 * USEC_PER_MSEC) /* while it is young */
#define CONNECT_LATER (250 * USEC_PER_MSEC)
#define YOUNG         (5 * USEC_PER_SEC)
#define QUIT_WAIT     (2 * USEC_PER_SEC)  /* then SIGKILL */
#define DEATH_WAIT    (10 * USEC_PER_SEC) /* after SIGKILL */
#define SAID_MAX      (256 * KIB)         /* bytes of stderr in the log */
#define SAID_PIECE    (16 * KIB)

/* --- QMP commands -------------------------------------------------------- */

struct qemu_call {
	struct qemu_call *next;
	struct qemu *q;
	unsigned generation;
	bool always; /* not part of an operation */
	void (*fn)(struct qemu *q, int code, const char *result,
	    const struct err *err);
};

static void on_answer(
    int code, const char *result, const struct err *err, void *userdata)
{
	struct qemu_call *call = userdata;
	struct qemu *q = call->q;
	struct qemu_call **at = &q->calls;

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	if (call->fn && (call->always || call->generation == q->generation))
		call->fn(q, code, result, err);
	free(call);
}

static int ask(struct qemu *q, const char *command, const char *arguments,
    void (*fn)(
	struct qemu *q, int code, const char *result, const struct err *err),
    bool always)
{
	if (!q->qmp || !q->ready)
		return -ENOTCONN;
	struct qemu_call *call = xcalloc(1, sizeof(*call));
	call->q = q;
	call->generation = q->generation;
	call->always = always;
	call->fn = fn;
	call->next = q->calls;
	q->calls = call;
	int r = qmp_command(q->qmp, command, arguments, on_answer, call);
	if (r < 0) {
		q->calls = call->next;
		free(call);
	}
	return r;
}

int qemu_ask(struct qemu *q, const char *command, const char *arguments,
    void (*fn)(
	struct qemu *q, int code, const char *result, const struct err *err))
{
	return ask(q, command, arguments, fn, false);
}

int qemu_ask_always(struct qemu *q, const char *command, const char *arguments,
    void (*fn)(
	struct qemu *q, int code, const char *result, const struct err *err))
{
	return ask(q, command, arguments, fn, true);
}

static void drop_qmp(struct qemu *q)
{
	qmp_free(TAKE_PTR(q->qmp));
	q->ready = false;
	while (q->calls) {
		struct qemu_call *call = q->calls;
		q->calls = call->next;
		free(call);
	}
}

/* --- what it is like ----------------------------------------------------- */

void qemu_plugs_to_look(struct qemu *q)
{
	q->look.n_nics = q->record.n_nics;
	for (size_t i = 0; i < q->record.n_nics; i++) {
		q->look.nics[i].incarnation = q->record.nics[i].incarnation;
		q->look.nics[i].link = q->record.nics[i].link;
	}
}

static void on_status(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	if (code < 0)
		return;
	json_t *status = json_loads(result, 0, NULL);
	q->running = json_is_true(json_object_get(status, "running"));
	json_decref(status);
	q->status_known = true;
	if (!q->running) /* asked again by the timer while a start waits */
		loop_timer_set(
		    q->connect, loop_now(q->env.loop) + CONNECT_SOON);
	qemu_progressed(q);
}

void qemu_ask_status(struct qemu *q)
{
	ask(q, "query-status", NULL, on_status, true);
}

static void forget_disks(struct qemu *q)
{
	memset(q->disks, 0, sizeof(q->disks));
	q->n_disks = 0;
}

static void on_nodes(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	size_t i;
	json_t *nodes, *device;

	if (code < 0)
		return;
	nodes = json_loads(result, 0, NULL);
	forget_disks(q);
	json_array_foreach (nodes, i, device) {
		json_t *node = json_object_get(device, "inserted");
		const char *node_name =
		    json_string_value(json_object_get(node, "node-name"));
		char name[SERIAL_MAX + 1];
		unsigned n;
		static_assert(SERIAL_MAX == 20, "the width below");
		if (!node_name ||
		    sscanf(node_name, "disk%u.%20s", &n, name) != 2 ||
		    n >= DISKS_MAX)
			continue;
		memcpy(q->disks[n].name, name, sizeof(name));
		q->disks[n].size = (uint64_t)json_integer_value(json_object_get(
		    json_object_get(node, "image"), "virtual-size"));
		q->n_disks = MAX(q->n_disks, (size_t)n + 1);
	}
	json_decref(nodes);
	q->sizes_known = true;
	qemu_disks_to_look(q);
	qemu_progressed(q);
	qemu_changed(q);
}

/* --- QMP ----------------------------------------------------------------- */

static void on_ready(struct qmp *qmp, void *userdata)
{
	struct qemu *q = userdata;

	q->ready = true;
	/* QEMU has opened all its files by now. */
	util_closep(&q->events_fifo);
	q->events_fifo = -1;
	qemu_record_events_again(launch_folder(q->launch));
	qemu_ask_status(q);
	ask(q, "query-block", NULL, on_nodes, true);
	qemu_ask_forwards(q);
	for (size_t i = 0; i < q->record.n_nics; i++)
		qemu_hub_open(q, i);
}

static void on_event(
    struct qmp *qmp, const char *name, const char *data, void *userdata)
{
	struct qemu *q = userdata;

	if (STREQ(name, "BLOCK_IO_ERROR")) {
		json_t *d = json_loads(data, 0, NULL);
		const char *reason =
		    json_string_value(json_object_get(d, "reason"));
		bool full = json_is_true(json_object_get(d, "nospace"));
		qemu_log(q, "disk: the host can't %s its file: %s%s",
		    json_string_value(json_object_get(d, "operation"))
			? json_string_value(json_object_get(d, "operation"))
			: "use",
		    reason ? reason : "an error",
		    full ? ": the machine waits until there is room" : "");
		if (full)
			loop_timer_set(
			    q->connect, loop_now(q->env.loop) + CONNECT_LATER);
		q->out_of_space = q->out_of_space || full;
		json_decref(d);
	} else if (STREQ(name, "STOP")) {
		q->running = false;
	} else if (STREQ(name, "RESUME")) {
		q->running = true;
		q->out_of_space = false;
	}
}

static void on_closed(struct qmp *qmp, const struct err *err, void *userdata)
{
	struct qemu *q = userdata;

	drop_qmp(q);
	loop_timer_set(q->connect, loop_now(q->env.loop) + CONNECT_LATER);
}

static const struct qmp_callbacks qmp_callbacks = {
    .event = on_event, .ready = on_ready, .closed = on_closed};

/* --- sockets ------------------------------------------------------------- */

static void on_identity_closed(void *userdata)
{
	struct qemu *q = userdata;

	qemu_identity_free(TAKE_PTR(q->id));
	loop_timer_set(q->connect, loop_now(q->env.loop) + CONNECT_LATER);
}

static void connect_missing(struct qemu *q)
{
	struct err err = ERR_INIT;
	int fd;

	if (!qemu_console_attached(q->console))
		qemu_console_attach(q->console, launch_folder(q->launch));
	if (q->record.identity && !q->id &&
	    (fd = launch_connect(q->launch, "identity")) >= 0)
		qemu_identity_new(
		    q->env.loop, fd, on_identity_closed, q, &q->id);
	if (!q->qmp && (fd = launch_connect(q->launch, "qmp")) >= 0 &&
	    qmp_new(q->env.loop, fd, &qmp_callbacks, q, &q->qmp, &err) < 0)
		qemu_log(q, "%s", err_text(&err));
}

static void on_connect(void *userdata)
{
	struct qemu *q = userdata;
	uint64_t now = loop_now(q->env.loop);
	bool waits = q->doing == STARTING && !q->running;

	connect_missing(q);
	if (q->ready && waits)
		qemu_ask_status(q);
	if (q->ready && q->out_of_space)
		ask(q, "cont", NULL, NULL, true);
	if (!q->qmp || !qemu_console_attached(q->console) ||
	    (q->record.identity && !q->id) || q->out_of_space)
		loop_timer_set(q->connect,
		    now + (now < q->attached + YOUNG ? CONNECT_SOON
						     : CONNECT_LATER));
}

/* --- stderr -------------------------------------------------------------- */

static void say_line(struct qemu *q, const char *line, size_t len)
{
	_cleanup_buf_ struct buf shown = {0};

	qemu_hide(launch_folder(q->launch), line, len, &shown);
	qemu_log(q, "qemu: %s", buf_str(&shown));
}

/* Hands lines of QEMU's stderr on; all: also one without its newline. */
static void say(struct qemu *q, bool all)
{
	_cleanup_free_ char *data = xmalloc(SAID_PIECE + 1);
	_cleanup_close_ int fd =
	    openat(launch_folder(q->launch), "stderr", O_RDONLY | O_CLOEXEC);
	uint64_t before = q->record.said;

	while (fd >= 0 && q->record.said < SAID_MAX) {
		ssize_t n = pread(fd, data, SAID_PIECE, (off_t)q->record.said);
		if (n <= 0)
			break;
		data[n] = '\0';
		size_t at = 0, len;
		for (; (len = strcspn(data + at, "\n")), data[at + len];
		     at += len + 1)
			say_line(q, data + at, len);
		if (len > 0 && (all || len == SAID_PIECE)) {
			say_line(q, data + at, len);
			at += len;
		}
		if (at == 0)
			break; /* half a line, or a NUL byte */
		q->record.said += at;
		if (q->record.said >= SAID_MAX)
			qemu_log(q, "qemu: (and more, in its stderr)");
	}
	if (q->record.said != before)
		qemu_record_save(launch_folder(q->launch), &q->record);
}

static void on_said(const struct inotify_event *event, void *userdata)
{
	say(userdata, false);
}

/* --- its life ------------------------------------------------------------ */

void qemu_detach(struct qemu *q)
{
	drop_qmp(q);
	qemu_identity_free(TAKE_PTR(q->id));
	loop_source_free(TAKE_PTR(q->connect));
	loop_source_free(TAKE_PTR(q->kill_timer));
	loop_source_free(TAKE_PTR(q->said));
	launch_free(TAKE_PTR(q->launch));
	util_closep(&q->events_fifo);
	q->events_fifo = -1;
	q->status_known = q->running = q->sizes_known = false;
	q->out_of_space = false;
	q->kills = 0;
	forget_disks(q);
}

static void on_ended(int code, int status, void *userdata)
{
	struct qemu *q = userdata;

	say(q, true);
	qemu_console_end(q->console);
	q->look.end = qemu_record_end(launch_folder(q->launch), code, status,
	    q->look.end_text, sizeof(q->look.end_text));
	qemu_log(q, "QEMU has ended: %s", q->look.end_text);
	q->look.state = MACHINE_NONE;
	q->look.pid = 0;
	q->look.n_nics = 0;
	q->look.forwards_known = false;
	q->look.n_forwards = 0;
	qemu_detach(q);
	qemu_disks_to_look(q);
	qemu_gone(q);
}

static void on_kill_timer(void *userdata)
{
	struct qemu *q = userdata;
	struct err err = ERR_INIT;

	if (q->kills == 1) {
		q->kills = 2;
		qemu_log(q, "QEMU does not end by itself: SIGKILL");
		launch_signal(q->launch, SIGKILL);
		loop_timer_set(
		    q->kill_timer, loop_now(q->env.loop) + DEATH_WAIT);
		return;
	}
	q->kills = 0; /* may be tried again */
	err_set(&err, -ETIMEDOUT,
	    "QEMU (pid %d) does not end, not even by SIGKILL: the host's "
	    "storage may hang",
	    (int)q->look.pid);
	if (q->doing == KILLING)
		qemu_finish(q, -ETIMEDOUT, &err);
}

void qemu_kill(struct qemu *q)
{
	if (q->kills > 0)
		return;
	q->kills = 1;
	/* First, so that its end is known as ours whatever happens to us. */
	qemu_record_stopped(launch_folder(q->launch));
	/* Both let QEMU close its disk files. */
	if (ask(q, "quit", NULL, NULL, true) < 0)
		launch_signal(q->launch, SIGTERM);
	loop_timer_set(q->kill_timer, loop_now(q->env.loop) + QUIT_WAIT);
}

static int add_sources(struct qemu *q)
{
	struct loop *l = q->env.loop;
	_cleanup_buf_ struct buf path = {0};
	int r;

	r = loop_add_timer(l, loop_now(l), on_connect, q, &q->connect);
	if (r >= 0)
		r = loop_add_timer(
		    l, USEC_NEVER, on_kill_timer, q, &q->kill_timer);
	if (r >= 0)
		r = launch_watch(q->launch, on_ended, q);
	if (r < 0)
		return r;
	buf_printf(&path, "%s/stderr", launch_path(q->launch));
	/* Without it the lines come when QEMU ends. */
	loop_add_inotify(l, buf_str(&path), IN_MODIFY, on_said, q, &q->said);
	return 0;
}

int qemu_attach(struct qemu *q, bool adopted, struct err *err)
{
	struct qemu_record *r = &q->record;
	int code = 0;

	q->attached = now_mono();
	q->look = (struct machine_look){
	    .state = MACHINE_RUNNING,
	    .launch = launch_number(q->launch),
	    .started = launch_started(q->launch),
	    .pid = launch_pid(q->launch),
	};
	if (adopted && qemu_record_load(launch_folder(q->launch), r) < 0) {
		*r = (struct qemu_record){0};
		qemu_log(q, "what is plugged into the adopted QEMU was not "
			    "noted");
	}
	q->look.accel = STREQ(r->accel, "kvm") ? "kvm" : "tcg";
	snprintf(
	    q->look.accel_why, sizeof(q->look.accel_why), "%s", r->accel_why);
	qemu_plugs_to_look(q);
	code = qemu_console_begin(q->console, q->look.launch, adopted, err);
	/* An adopted machine is worth more than its log. */
	if (code < 0 && adopted) {
		qemu_log(q, "the console is lost: %s", err_text(err));
		code = 0;
	}
	if (code >= 0) {
		code = add_sources(q);
		if (code < 0)
			err_errno(err, code, "QEMU can't be watched");
	}
	if (code < 0) {
		if (!adopted)
			launch_signal(q->launch, SIGKILL);
		qemu_detach(q);
		q->look = (struct machine_look){
		    .state = adopted ? MACHINE_UNKNOWN : MACHINE_NONE,
		    .accel = ""};
		return code;
	}
	if (adopted)
		qemu_log(q, "adopted QEMU, pid %d", (int)q->look.pid);
	say(q, false);
	if (q->console_changed)
		q->console_changed(q->env.owner);
	qemu_changed(q);
	return 0;
}
