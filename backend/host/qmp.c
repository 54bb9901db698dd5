/* SPDX-License-Identifier: Apache-2.0
 *
 * A QMP client.  States and their legal moves:
 *
 *   GREETING -> NEGOTIATING   QEMU's greeting came; qmp_capabilities is sent
 *   NEGOTIATING -> READY      that was answered; queued commands are sent
 *   any -> CLOSED             EOF, an error, or what is not QMP
 *
 * The machine driver calls it.  It knows the protocol and no command's sense.
 */
#include <errno.h>
#include <jansson.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/qmp.h"

#define CALL_TIMEOUT (10 * USEC_PER_SEC)
#define CALLS_MAX    256 /* under way at once */
#define READ_SIZE    (64 * KIB)

enum state { GREETING, NEGOTIATING, READY, CLOSED };

struct call {
	struct call *next;
	uint64_t id;
	uint64_t deadline;
	char *text; /* not yet sent, or NULL */
	void (*done)(int code, const char *result, const struct err *err,
	    void *userdata);
	void *userdata;
};

struct qmp {
	struct loop *loop;
	int fd;
	enum state state;
	struct qmp_stream *stream;
	struct buf out;
	size_t out_sent;
	struct loop_source *io, *timer;
	struct call *calls; /* oldest first: deadlines are in order */
	size_t n_calls;
	uint64_t last_id;
	struct qmp_callbacks cb;
	void *userdata;
	unsigned busy; /* our frames on the stack that use q */
	bool freed;
	struct err broken; /* what was wrong with the last message */
};

static void call_free(struct call *c)
{
	free(c->text);
	free(c);
}

static void qmp_destroy(struct qmp *q)
{
	loop_source_free(q->io);
	loop_source_free(q->timer);
	util_closep(&q->fd);
	qmp_stream_free(q->stream);
	buf_done(&q->out);
	while (q->calls) {
		struct call *c = q->calls;
		q->calls = c->next;
		call_free(c);
	}
	free(q);
}

void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	q->freed = true;
	if (q->busy == 0)
		qmp_destroy(q);
}

static void enter(struct qmp *q)
{
	q->busy++;
}

static void leave(struct qmp *q)
{
	if (--q->busy == 0 && q->freed)
		qmp_destroy(q);
}

/* Takes the oldest call off the list and answers it. */
static void call_answer(struct qmp *q, struct call **at, int code,
    const char *result, const struct err *err)
{
	struct call *c = *at;

	*at = c->next;
	q->n_calls--;
	if (c->done)
		c->done(code, result, err, c->userdata);
	call_free(c);
}

/* The caller has entered q. */
static void qmp_close(struct qmp *q, const struct err *why)
{
	struct err err;

	if (q->state == CLOSED || q->freed)
		return;
	q->state = CLOSED;
	loop_source_free(TAKE_PTR(q->io));
	loop_source_free(TAKE_PTR(q->timer));
	util_closep(&q->fd);
	q->fd = -1;
	err_copy(&err, why);
	err.code = -ENOTCONN;
	while (q->calls && !q->freed)
		call_answer(q, &q->calls, -ENOTCONN, NULL, &err);
	if (!q->freed && q->cb.closed)
		q->cb.closed(q, why, q->userdata);
}

static void qmp_arm(struct qmp *q)
{
	loop_io_events(q->io,
	    EPOLLIN | (q->out_sent < q->out.len ? (uint32_t)EPOLLOUT : 0));
	loop_timer_set(q->timer, q->calls ? q->calls->deadline : USEC_NEVER);
}

static void qmp_send(struct qmp *q, const char *text)
{
	buf_puts(&q->out, text);
	buf_putc(&q->out, '\n');
}

static void send_queued(struct qmp *q)
{
	for (struct call *c = q->calls; c; c = c->next) {
		if (!c->text)
			continue;
		qmp_send(q, c->text);
		free(c->text);
		c->text = NULL;
	}
}

static void on_capabilities(
    int code, const char *result, const struct err *err, void *userdata)
{
	struct qmp *q = userdata;

	if (code < 0) {
		err_copy(&q->broken, err);
		q->broken.code = code;
		err_prefix(&q->broken, "QMP: qmp_capabilities: ");
		return;
	}
	q->state = READY;
	send_queued(q);
	if (q->cb.ready)
		q->cb.ready(q, q->userdata);
}

static char *dump(const json_t *value)
{
	char *text =
	    value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	return text ? text : xstrdup("{}");
}

static void on_greeting(struct qmp *q)
{
	struct call *c = xcalloc(1, sizeof(*c));

	q->state = NEGOTIATING;
	c->id = ++q->last_id;
	c->deadline = loop_now(q->loop) + CALL_TIMEOUT;
	c->done = on_capabilities;
	c->userdata = q;
	/* At the end, so that deadlines stay in order. */
	struct call **at = &q->calls;
	while (*at)
		at = &(*at)->next;
	*at = c;
	q->n_calls++;
	_cleanup_buf_ struct buf text = {0};
	buf_printf(&text, "{\"execute\":\"qmp_capabilities\",\"id\":%llu}",
	    (unsigned long long)c->id);
	qmp_send(q, buf_str(&text));
}

static void on_answer(struct qmp *q, const json_t *message)
{
	const json_t *id = json_object_get(message, "id");
	const json_t *error = json_object_get(message, "error");
	struct call **at = &q->calls;

	/* An error without an id answers what QEMU could not parse; only its
	 * deadline ends that call.  An unknown id: a call that timed out. */
	if (!json_is_integer(id))
		return;
	while (*at && (*at)->id != (uint64_t)json_integer_value(id))
		at = &(*at)->next;
	if (!*at)
		return;
	if (error) {
		struct err err = ERR_INIT;
		const char *desc =
		    json_string_value(json_object_get(error, "desc"));
		const char *class =
		    json_string_value(json_object_get(error, "class"));
		int code = class && STREQ(class, "DeviceNotFound") ? -ENODEV
								   : -EREMOTEIO;
		err_set(&err, code, "QEMU: %s", desc ? desc : "an error");
		call_answer(q, at, code, NULL, &err);
		return;
	}
	_cleanup_free_ char *result = dump(json_object_get(message, "return"));
	call_answer(q, at, 0, result, NULL);
}

static void on_message(const char *text, size_t len, void *userdata)
{
	struct qmp *q = userdata;
	json_error_t why;

	if (q->freed || q->state == CLOSED || q->broken.code)
		return;
	json_t *message = json_loadb(text, len, JSON_ALLOW_NUL, &why);
	if (!message) {
		err_set(&q->broken, -EBADMSG, "QMP: not JSON: %s", why.text);
		return;
	}
	const char *event =
	    json_string_value(json_object_get(message, "event"));
	if (q->state == GREETING) {
		if (json_object_get(message, "QMP"))
			on_greeting(q);
		else
			err_set(
			    &q->broken, -EPROTO, "QMP: no greeting came first");
	} else if (event) {
		_cleanup_free_ char *data =
		    dump(json_object_get(message, "data"));
		if (q->cb.event)
			q->cb.event(q, event, data, q->userdata);
	} else {
		on_answer(q, message);
	}
	json_decref(message);
}

static void qmp_read(struct qmp *q)
{
	static const struct err eof = {
	    -ENOTCONN, "QMP: QEMU closed the connection"};
	_cleanup_free_ char *data = xmalloc(READ_SIZE);
	struct err err = ERR_INIT;
	ssize_t n = read(q->fd, data, READ_SIZE);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		err_errno(&err, -errno, "QMP");
		qmp_close(q, &err);
		return;
	}
	if (n == 0) {
		qmp_close(q, &eof);
		return;
	}
	if (qmp_stream_feed(q->stream, data, (size_t)n, on_message, q, &err) <
	    0)
		qmp_close(q, &err);
	else if (q->broken.code)
		qmp_close(q, &q->broken);
}

static void qmp_write(struct qmp *q)
{
	struct err err = ERR_INIT;
	ssize_t n = send(q->fd, q->out.data + q->out_sent,
	    q->out.len - q->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* A broken pipe: what QEMU said before is read first. */
	if (n < 0 && errno == EPIPE) {
		q->out_sent = q->out.len;
	} else if (n < 0) {
		err_errno(&err, -errno, "QMP");
		qmp_close(q, &err);
		return;
	} else {
		q->out_sent += (size_t)n;
	}
	if (q->out_sent == q->out.len) {
		buf_clear(&q->out);
		q->out_sent = 0;
	}
}

static void on_io(int fd, uint32_t events, void *userdata)
{
	struct qmp *q = userdata;

	enter(q);
	if (events & EPOLLOUT && q->out_sent < q->out.len)
		qmp_write(q);
	if (!q->freed && q->state != CLOSED &&
	    events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		qmp_read(q);
	if (!q->freed && q->state != CLOSED)
		qmp_arm(q);
	leave(q);
}

static void on_timer(void *userdata)
{
	struct qmp *q = userdata;
	struct err err = ERR_INIT;

	enter(q);
	err_set(&err, -ETIMEDOUT, "QEMU did not answer within %llu s",
	    CALL_TIMEOUT / USEC_PER_SEC);
	while (!q->freed && q->calls && q->calls->deadline <= loop_now(q->loop))
		call_answer(q, &q->calls, -ETIMEDOUT, NULL, &err);
	if (!q->freed && q->broken.code)
		qmp_close(q, &q->broken);
	if (!q->freed && q->state != CLOSED)
		qmp_arm(q);
	leave(q);
}

int qmp_new(struct loop *l, int fd, const struct qmp_callbacks *cb,
    void *userdata, struct qmp **ret, struct err *err)
{
	struct qmp *q = xcalloc(1, sizeof(*q));

	q->loop = l;
	q->fd = fd;
	q->stream = qmp_stream_new();
	q->cb = *cb;
	q->userdata = userdata;
	int r = loop_add_io(l, fd, EPOLLIN, on_io, q, &q->io);
	if (r >= 0)
		r = loop_add_timer(l, USEC_NEVER, on_timer, q, &q->timer);
	if (r < 0) {
		qmp_destroy(q);
		return err_errno(err, r, "QMP");
	}
	*ret = q;
	return 0;
}

int qmp_command(struct qmp *q, const char *command, const char *arguments,
    void (*done)(
	int code, const char *result, const struct err *err, void *userdata),
    void *userdata)
{
	_cleanup_buf_ struct buf text = {0};

	if (q->state == CLOSED || q->freed)
		return -ENOTCONN;
	if (q->n_calls >= CALLS_MAX)
		return -EBUSY;
	struct call *c = xcalloc(1, sizeof(*c));
	c->id = ++q->last_id;
	c->deadline = loop_now(q->loop) + CALL_TIMEOUT;
	c->done = done;
	c->userdata = userdata;
	buf_puts(&text, "{\"execute\":");
	buf_json_string(&text, command);
	if (arguments)
		buf_printf(&text, ",\"arguments\":%s", arguments);
	buf_printf(&text, ",\"id\":%llu}", (unsigned long long)c->id);
	struct call **at = &q->calls;
	while (*at)
		at = &(*at)->next;
	*at = c;
	q->n_calls++;
	if (q->state == READY)
		qmp_send(q, buf_str(&text));
	else
		c->text = buf_take(&text);
	qmp_arm(q);
	return 0;
}
