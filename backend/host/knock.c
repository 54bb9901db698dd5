/* SPDX-License-Identifier: Apache-2.0
 *
 * One try to reach something: a socket on the loop or a connection through a
 * guest's SSH session, a child of this host or a command in the guest.  The
 * time limit is a timer here, so that it holds also while the session is busy
 * with something else.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/child.h"
#include "host/knock.h"
#include "host/ssh.h"

#define ANSWER_MAX 4096 /* bytes kept of what comes back */
#define DETAIL_MAX 200

struct knock {
	struct loop *loop;
	struct loop_source *timer, *end;
	uint64_t timeout;
	struct buf request, out, errout;
	bool http, unit, command;
	/* One of these is under way. */
	struct ssh_job *job;
	struct child *child;
	int fd;
	struct loop_source *io;
	bool connected;
	size_t sent;
	/* How it ended. */
	int code;
	bool pass, ended;
	char detail[256];
	void (*done)(int code, bool pass, const char *detail, void *userdata);
	void *userdata;
};

/* --- the end ----------------------------------------------------------- */

static void drop(struct knock *k)
{
	loop_source_free(TAKE_PTR(k->io));
	util_closep(&k->fd);
	k->fd = -1;
	child_free(TAKE_PTR(k->child));
	ssh_job_forget(TAKE_PTR(k->job));
}

/* The first call counts.  No byte but printable ones gets into the detail. */
static void finish(struct knock *k, int code, bool pass, const char *text)
{
	_cleanup_buf_ struct buf shown = {0};

	if (k->ended)
		return;
	k->ended = true;
	k->code = code;
	k->pass = pass;
	buf_escaped(&shown, text, strnlen(text, DETAIL_MAX));
	for (size_t i = 0; i < shown.len; i++)
		if (shown.data[i] == '\n' || shown.data[i] == '\t')
			shown.data[i] = ' ';
	snprintf(k->detail, sizeof(k->detail), "%s", buf_str(&shown));
	drop(k);
	loop_timer_set(k->timer, USEC_NEVER);
	loop_kick(k->end);
}

static void on_end(void *userdata)
{
	struct knock *k = userdata;

	k->done(k->code, k->pass, k->detail, k->userdata);
}

/* A command that hangs in a guest goes with its channel. */
static void took_too_long(struct knock *k)
{
	char text[64];

	snprintf(text, sizeof(text), "no end within %.3g s",
	    (double)k->timeout / USEC_PER_SEC);
	finish(k, 0, false, text);
}

static void on_timeout(void *userdata)
{
	took_too_long(userdata);
}

void knock_free(struct knock *k)
{
	if (!k)
		return;
	drop(k);
	loop_source_free(k->timer);
	loop_source_free(k->end);
	buf_done(&k->request);
	buf_done(&k->out);
	buf_done(&k->errout);
	free(k);
}

/* --- what came back ---------------------------------------------------- */

/* The last line that says something; owned text. */
static char *last_line(const struct buf *b)
{
	size_t end = b->len, from;

	while (end && isspace((unsigned char)b->data[end - 1]))
		end--;
	from = end;
	while (from && b->data[from - 1] != '\n')
		from--;
	return xstrndup(b->data ? b->data + from : "", end - from);
}

static void judge_command(struct knock *k, int status)
{
	_cleanup_free_ char *out = last_line(&k->out);
	_cleanup_free_ char *errout = last_line(&k->errout);
	const char *said = *errout && status ? errout : out;
	_cleanup_free_ char *text = NULL;

	if (k->unit && *out)
		finish(k, 0, status == 0, out);
	else if (status == 0)
		finish(k, 0, true, *said ? said : "exit status 0");
	else {
		text = xasprintf(
		    "exit status %d%s%s", status, *said ? ": " : "", said);
		finish(k, 0, false, text);
	}
}

/* RFC 9112: "HTTP/1.1 200 OK" */
static void judge_answer(struct knock *k)
{
	const char *s = buf_str(&k->out);
	unsigned major, minor, status;
	char text[64];

	if (!k->http) {
		finish(k, 0, true, "connected");
		return;
	}
	if (sscanf(s, "HTTP/%1u.%1u %3u", &major, &minor, &status) != 3) {
		finish(k, 0, false,
		    *s ? "it answers, but not in HTTP"
		       : "connected, but nothing was answered");
		return;
	}
	snprintf(text, sizeof(text), "HTTP %u", status);
	finish(k, 0, status >= 200 && status < 400, text);
}

/* --- through a guest --------------------------------------------------- */

static void on_job(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct knock *k = userdata;

	k->job = NULL;
	buf_append(&k->out, out, MIN(out_len, (size_t)ANSWER_MAX));
	buf_append(&k->errout, errout, strnlen(errout, ANSWER_MAX));
	if (code == -ECONNRESET || code == -ENOTCONN || code == -EAGAIN)
		finish(k, -EAGAIN, false, err_text(err));
	else if (code == -ETIMEDOUT)
		took_too_long(k);
	else if (code < 0)
		finish(k, 0, false, err_text(err));
	else if (k->command)
		judge_command(k, status);
	else
		judge_answer(k);
}

/* SSH servers don't end the command of a channel that is closed: OpenSSH not
 * for root, dropbear only its first process. */
static const char end_in_time[] =
    "command -v timeout >/dev/null || exec \"$@\"; "
    "exec timeout -s KILL \"$0\" \"$@\"";

static char **limited(const struct knock_options *o, char *const *argv)
{
	char **v = strv_new("sh", "-c", end_in_time, NULL);

	strv_pushf(
	    &v, "%llu", (unsigned long long)(o->timeout / USEC_PER_SEC + 1));
	for (; argv && *argv; argv++)
		strv_push(&v, *argv);
	return v;
}

static int ask_guest(struct knock *k, const struct knock_options *o,
    char *const *argv, struct err *err)
{
	_cleanup_strv_ char **v = k->command ? limited(o, argv) : NULL;

	if (k->command)
		return ssh_run(o->guest,
		    &(struct ssh_run){
			.argv = v,
			.timeout = o->timeout,
			.done = on_job,
			.userdata = k,
		    },
		    &k->job, err);
	return ssh_dial(o->guest,
	    &(struct ssh_dial){
		.address = o->address,
		.port = o->port,
		.input = k->request.data,
		.input_len = k->request.len,
		.timeout = o->timeout,
		.done = on_job,
		.userdata = k,
	    },
	    &k->job, err);
}

/* --- from this host ---------------------------------------------------- */

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct knock *k = userdata;
	struct buf *b = is_stderr ? &k->errout : &k->out;

	buf_append(b, data, len);
	/* What was said last counts. */
	if (b->len > ANSWER_MAX) {
		size_t over = b->len - ANSWER_MAX;

		memmove(b->data, b->data + over, ANSWER_MAX + 1);
		b->len = ANSWER_MAX;
	}
}

static void on_child(int code, int status, void *userdata)
{
	struct knock *k = userdata;

	if (code < 0)
		finish(k, 0, false, "it was killed");
	else
		judge_command(k, status);
}

static void socket_failed(struct knock *k, int error)
{
	finish(k, 0, false, strerrordesc_np(error));
}

/* Returns false when it has ended. */
static bool send_request(struct knock *k)
{
	while (k->sent < k->request.len) {
		ssize_t n = send(k->fd, k->request.data + k->sent,
		    k->request.len - k->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			socket_failed(k, errno);
			return false;
		}
		k->sent += (size_t)n;
	}
	loop_io_events(k->io, EPOLLIN);
	return true;
}

static void read_answer(struct knock *k)
{
	char piece[1024];
	ssize_t n = recv(k->fd, piece, sizeof(piece), 0);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		socket_failed(k, errno);
		return;
	}
	buf_append(&k->out, piece, (size_t)n);
	if (n == 0 || k->out.len >= ANSWER_MAX ||
	    memchr(k->out.data, '\n', k->out.len))
		judge_answer(k);
}

static void on_socket(int fd, uint32_t events, void *userdata)
{
	struct knock *k = userdata;
	socklen_t size = sizeof(int);
	int error = 0;

	if (!k->connected) {
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			error = errno;
		if (error) {
			socket_failed(k, error);
			return;
		}
		k->connected = true;
	}
	if (!k->http)
		judge_answer(k);
	else if (k->sent < k->request.len)
		send_request(k);
	else
		read_answer(k);
}

static int connect_from_here(
    struct knock *k, const struct knock_options *o, struct err *err)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_port = htons(o->port)};
	int r;

	if (inet_pton(AF_INET, o->address, &a.sin_addr) != 1)
		return err_set(
		    err, -EINVAL, "%s is no IPv4 address", o->address);
	k->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->fd < 0)
		return err_errno(err, -errno, "%s:%u", o->address, o->port);
	if (connect(k->fd, (struct sockaddr *)&a, sizeof(a)) < 0 &&
	    errno != EINPROGRESS) {
		socket_failed(k, errno); /* tried, and answered already */
		return 0;
	}
	r = loop_add_io(k->loop, k->fd, EPOLLOUT, on_socket, k, &k->io);
	return r < 0 ? err_errno(err, r, "%s:%u", o->address, o->port) : 0;
}

static int ask_host(struct knock *k, const struct knock_options *o,
    char *const *argv, struct err *err)
{
	_cleanup_strv_ char **copy = strv_copy(argv);
	const struct child_options c = {
	    .argv = copy,
	    .cwd = o->folder,
	    .stdin_fd = -1,
	    .output = on_output,
	    .done = on_child,
	    .userdata = k,
	};
	struct err why = ERR_INIT;

	if (!k->command)
		return connect_from_here(k, o, err);
	if (o->folder && strchr(copy[0], '/') && copy[0][0] != '/') {
		char *path = xasprintf("%s/%s", o->folder, copy[0]);

		free(copy[0]);
		copy[0] = path;
	}
	/* A program that is missing is an answer. */
	if (child_start(k->loop, &c, &k->child, &why) < 0)
		finish(k, 0, false, err_text(&why));
	return 0;
}

/* --- one try ----------------------------------------------------------- */

/* RFC 9112.  No byte of the target may end the line. */
static int make_request(
    struct knock *k, const struct knock_options *o, struct err *err)
{
	const char *host = o->host ? o->host : o->address;

	if (!o->target)
		return 0;
	for (const char *p = o->target; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return err_set(err, -EINVAL,
			    "the target of an HTTP check has a character that "
			    "can't be in one: write it as %%%02X",
			    (unsigned char)*p);
	k->http = true;
	buf_printf(&k->request,
	    "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: rackfs\r\n"
	    "Accept: */*\r\nConnection: close\r\n\r\n",
	    o->target, host, (unsigned)o->port);
	return 0;
}

int knock_start(struct loop *l, const struct knock_options *o,
    struct knock **ret, struct err *err)
{
	char *is_active[] = {"systemctl", "is-active", (char *)o->unit, NULL};
	char *const *argv = o->unit ? is_active : o->command;
	struct knock *k = xcalloc(1, sizeof(*k));
	int r;

	k->loop = l;
	k->fd = -1;
	k->timeout = o->timeout;
	k->unit = o->unit;
	k->command = argv && argv[0];
	k->done = o->done;
	k->userdata = o->userdata;
	r = loop_add_timer(
	    l, now_mono() + o->timeout, on_timeout, k, &k->timer);
	if (r == 0)
		r = loop_add_deferred(l, on_end, k, &k->end);
	if (r < 0)
		err_errno(err, r, "a check can't be made");
	if (r == 0 && !k->command)
		r = make_request(k, o, err);
	if (r == 0)
		r = o->guest ? ask_guest(k, o, argv, err)
			     : ask_host(k, o, argv, err);
	if (r < 0) {
		knock_free(k);
		return r == -ENOTCONN ? -EAGAIN : r;
	}
	*ret = k;
	return 0;
}
