/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/qmp.h"
#include "tests/test.h"

#define LIMIT    (5 * USEC_PER_SEC)
#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"

/* --- the stream -------------------------------------------------------- */

static void collect(const char *text, size_t len, void *userdata)
{
	struct buf *b = userdata;

	buf_append(b, text, len);
	buf_putc(b, '|');
}

/* What comes out of `text` when it is fed in pieces that end at `cut`. */
static int feed(const char *text, size_t len, size_t cut, struct buf *ret)
{
	struct qmp_stream *s = qmp_stream_new();
	struct err err = ERR_INIT;
	int r = qmp_stream_feed(s, text, cut, collect, ret, &err);

	if (r >= 0)
		r = qmp_stream_feed(
		    s, text + cut, len - cut, collect, ret, &err);
	if (r < 0)
		CHECK(strncmp(err_text(&err), "QMP: ", 5) == 0);
	qmp_stream_free(s);
	return r;
}

static void stream_split_anywhere(void)
{
	static const char text[] = "{\"a\": 1}\r\n  {\"b\": {\"c\": [1, "
				   "{}]}}{\"d\": \"}{\\\"]\\\\\"}\n";
	static const char want[] =
	    "{\"a\": 1}|{\"b\": {\"c\": [1, {}]}}|{\"d\": \"}{\\\"]\\\\\"}|";

	for (size_t cut = 0; cut < sizeof(text); cut++) {
		_cleanup_buf_ struct buf b = {0};
		CHECK_INT(feed(text, sizeof(text) - 1,
			      MIN(cut, sizeof(text) - 1), &b),
		    0);
		CHECK_STR(buf_str(&b), want);
	}
	/* One byte at a time. */
	struct qmp_stream *s = qmp_stream_new();
	_cleanup_buf_ struct buf b = {0};
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		CHECK_INT(
		    qmp_stream_feed(s, text + i, 1, collect, &b, NULL), 0);
	CHECK_STR(buf_str(&b), want);
	qmp_stream_free(s);
}

static void stream_refuses_garbage(void)
{
	static const char *const bad[] = {
	    "hello", "{\"a\": 1} x", "[1]", "\"text\"", "}", "\1"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_buf_ struct buf b = {0};
		CHECK_INT(feed(bad[i], strlen(bad[i]), 0, &b), -EBADMSG);
	}
	/* And it stays broken. */
	struct qmp_stream *s = qmp_stream_new();
	_cleanup_buf_ struct buf b = {0};
	CHECK_INT(qmp_stream_feed(s, "x", 1, collect, &b, NULL), -EBADMSG);
	CHECK_INT(qmp_stream_feed(s, "{}", 2, collect, &b, NULL), -EBADMSG);
	CHECK_INT(b.len, 0);
	qmp_stream_free(s);
}

static void stream_has_limits(void)
{
	size_t len = QMP_MESSAGE_MAX;
	_cleanup_free_ char *text = xmalloc(len + 2);
	_cleanup_buf_ struct buf b = {0};

	memset(text, 'a', len);
	text[0] = '{';
	text[1] = text[len - 2] = '"';
	text[len - 1] = '}';
	CHECK_INT(feed(text, len, len / 2, &b), 0);
	CHECK_INT(b.len, len + 1);
	text[len - 2] = text[len - 1] = 'a';
	text[len] = '"';
	text[len + 1] = '}';
	buf_clear(&b);
	CHECK_INT(feed(text, len + 2, 0, &b), -EMSGSIZE);
	CHECK_INT(b.len, 0);
	/* Without an end, in pieces. */
	CHECK_INT(feed(text, len + 1, len - 1, &b), -EMSGSIZE);
	memset(text, '{', 20000);
	CHECK_INT(feed(text, 20000, 100, &b), -EBADMSG);
}

/* --- a client and a server ----------------------------------------------- */

struct talk {
	struct loop *loop;
	struct qmp *q;
	int server;
	struct buf events, answers;
	struct buf heard; /* by the server */
	unsigned ready, closed;
	struct err why;
	bool free_when_closed;
};

static void on_event(
    struct qmp *q, const char *name, const char *data, void *userdata)
{
	struct talk *t = userdata;

	buf_printf(&t->events, "%s %s|", name, data);
}

static void on_ready(struct qmp *q, void *userdata)
{
	struct talk *t = userdata;

	t->ready++;
}

static void on_closed(struct qmp *q, const struct err *err, void *userdata)
{
	struct talk *t = userdata;

	t->closed++;
	err_copy(&t->why, err);
	if (t->free_when_closed)
		qmp_free(TAKE_PTR(t->q));
}

static void on_answer(
    int code, const char *result, const struct err *err, void *userdata)
{
	struct talk *t = userdata;

	buf_printf(&t->answers, "%d %s|", code, result ? result : err->text);
}

static void on_answer_free(
    int code, const char *result, const struct err *err, void *userdata)
{
	struct talk *t = userdata;

	on_answer(code, result, err, t);
	qmp_free(TAKE_PTR(t->q));
}

static void talk_new(struct talk *t)
{
	static const struct qmp_callbacks cb = {
	    .event = on_event, .ready = on_ready, .closed = on_closed};
	int fds[2];

	*t = (struct talk){0};
	CHECK_INT(loop_new(&t->loop), 0);
	CHECK_INT(socketpair(AF_UNIX,
		      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
	    0);
	t->server = fds[1];
	CHECK_INT(qmp_new(t->loop, fds[0], &cb, t, &t->q, &t->why), 0);
}

static void talk_free(struct talk *t)
{
	qmp_free(t->q);
	util_closep(&t->server);
	buf_done(&t->events);
	buf_done(&t->answers);
	buf_done(&t->heard);
	loop_free(t->loop);
}

static void say(struct talk *t, const char *text)
{
	CHECK_INT(write(t->server, text, strlen(text)), strlen(text));
}

/* Turns the loop until the server has heard so many lines. */
static void hear(struct talk *t, unsigned lines)
{
	uint64_t end = now_mono() + LIMIT;
	unsigned n = 0;
	char data[4096];

	buf_clear(&t->heard);
	while (n < lines && now_mono() < end) {
		loop_turn(t->loop, USEC_PER_MSEC);
		ssize_t got = read(t->server, data, sizeof(data));
		for (ssize_t i = 0; i < got; i++)
			n += data[i] == '\n';
		if (got > 0)
			buf_append(&t->heard, data, (size_t)got);
	}
	CHECK_INT(n, lines);
}

/* Turns the loop until `b` has `len` bytes (or for ever). */
static void turn_until(struct talk *t, const struct buf *b, size_t len)
{
	uint64_t end = now_mono() + LIMIT;

	while (b->len < len && now_mono() < end)
		loop_turn(t->loop, 10 * USEC_PER_MSEC);
}

static void greet(struct talk *t)
{
	say(t, GREETING);
	hear(t, 1);
	CHECK_STR(buf_str(&t->heard),
	    "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	say(t, "{\"return\": {}, \"id\": 1}\n");
	uint64_t end = now_mono() + LIMIT;
	while (!t->ready && now_mono() < end)
		loop_turn(t->loop, 10 * USEC_PER_MSEC);
	CHECK_INT(t->ready, 1);
}

static void answers_out_of_order(void)
{
	struct talk t;

	talk_new(&t);
	greet(&t);
	CHECK_INT(qmp_command(t.q, "first", NULL, on_answer, &t), 0);
	CHECK_INT(
	    qmp_command(t.q, "second", "{\"a\":\"b\"}", on_answer, &t), 0);
	CHECK_INT(qmp_command(t.q, "third", NULL, NULL, NULL), 0);
	hear(&t, 3);
	CHECK_STR(buf_str(&t.heard),
	    "{\"execute\":\"first\",\"id\":2}\n"
	    "{\"execute\":\"second\",\"arguments\":{\"a\":\"b\"},\"id\":3}\n"
	    "{\"execute\":\"third\",\"id\":4}\n");
	say(&t, "{\"return\": [1, 2], \"id\": 4}"
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, "
		"\"id\": 3}"
		"{\"timestamp\": {}, \"event\": \"STOP\"}"
		"{\"return\": {\"x\": true}, \"id\": 2}"
		"{\"return\": {}, \"id\": 2}{\"return\": {}, \"id\": 99}");
	turn_until(&t, &t.answers, 20);
	CHECK_STR(buf_str(&t.answers), "-121 QEMU: no|0 {\"x\":true}|");
	CHECK_STR(buf_str(&t.events), "STOP {}|");
	say(&t, "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\n");
	buf_clear(&t.events);
	turn_until(&t, &t.events, 1);
	CHECK_STR(buf_str(&t.events), "SHUTDOWN {\"guest\":true}|");
	talk_free(&t);
}

static void commands_queue_until_ready(void)
{
	struct talk t;

	talk_new(&t);
	CHECK_INT(qmp_command(t.q, "early", NULL, on_answer, &t), 0);
	say(&t, GREETING);
	hear(&t, 1);
	CHECK_STR(
	    buf_str(&t.heard), "{\"execute\":\"qmp_capabilities\",\"id\":2}\n");
	say(&t, "{\"return\": {}, \"id\": 2}");
	hear(&t, 1);
	CHECK_STR(buf_str(&t.heard), "{\"execute\":\"early\",\"id\":1}\n");
	say(&t, "{\"return\": 7, \"id\": 1}");
	turn_until(&t, &t.answers, 1);
	CHECK_STR(buf_str(&t.answers), "0 7|");
	talk_free(&t);
}

static void wait_closed(struct talk *t)
{
	uint64_t end = now_mono() + LIMIT;

	while (!t->closed && now_mono() < end)
		loop_turn(t->loop, 10 * USEC_PER_MSEC);
	CHECK_INT(t->closed, 1);
}

static void close_fails_what_waits(void)
{
	struct talk t;

	talk_new(&t);
	greet(&t);
	qmp_command(t.q, "a", NULL, on_answer, &t);
	qmp_command(t.q, "b", NULL, on_answer, &t);
	hear(&t, 2);
	/* What was said before the end is heard. */
	say(&t, "{\"event\": \"SHUTDOWN\"}{\"return\": {}, \"id\": 3}");
	close(TAKE_FD(t.server));
	wait_closed(&t);
	CHECK_STR(buf_str(&t.events), "SHUTDOWN {}|");
	CHECK_STR(
	    buf_str(&t.answers), "0 {}|-107 QMP: QEMU closed the connection|");
	CHECK_INT(qmp_command(t.q, "c", NULL, on_answer, &t), -ENOTCONN);
	talk_free(&t);
}

static void writes_to_a_closed_socket(void)
{
	struct talk t;

	talk_new(&t);
	greet(&t);
	say(&t, "{\"event\": \"SHUTDOWN\"}");
	close(TAKE_FD(t.server));
	CHECK_INT(qmp_command(t.q, "a", NULL, on_answer, &t), 0);
	t.free_when_closed = true;
	wait_closed(&t);
	CHECK_STR(buf_str(&t.events), "SHUTDOWN {}|");
	CHECK(strncmp(buf_str(&t.answers), "-107 ", 5) == 0);
	CHECK(t.q == NULL);
	talk_free(&t);
}

static void garbage_closes(void)
{
	static const char *const bad[] = {
	    "SSH-2.0-hello\r\n",
	    "{\"return\": {}}\n", /* no greeting */
	    "{]",
	    GREETING "{\"return\" 1}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct talk t;
		talk_new(&t);
		qmp_command(t.q, "a", NULL, on_answer, &t);
		say(&t, bad[i]);
		wait_closed(&t);
		CHECK(strncmp(buf_str(&t.answers), "-107 QMP: ", 10) == 0);
		CHECK(t.why.code < 0);
		talk_free(&t);
	}
}

static void freed_in_an_answer(void)
{
	struct talk t;

	talk_new(&t);
	greet(&t);
	qmp_command(t.q, "a", NULL, on_answer_free, &t);
	qmp_command(t.q, "b", NULL, on_answer, &t);
	hear(&t, 2);
	say(&t, "{\"return\": 1, \"id\": 2}{\"return\": 2, \"id\": 3}"
		"{\"event\": \"STOP\"}");
	turn_until(&t, &t.answers, 1);
	CHECK(t.q == NULL);
	loop_turn(t.loop, 0);
	CHECK_STR(buf_str(&t.answers), "0 1|");
	CHECK_INT(t.events.len, 0);
	CHECK_INT(t.closed, 0);
	talk_free(&t);
}

static void no_answer_is_an_error(void)
{
	struct talk t;

	talk_new(&t);
	greet(&t);
	uint64_t began = now_mono();
	qmp_command(t.q, "a", NULL, on_answer, &t);
	while (t.answers.len == 0 && now_mono() < began + 15 * USEC_PER_SEC)
		loop_turn(t.loop, USEC_PER_SEC);
	CHECK_STR(buf_str(&t.answers), "-110 QEMU did not answer within 10 s|");
	CHECK(now_mono() >= began + 9 * USEC_PER_SEC);
	/* A late answer is nobody's; the next call works. */
	hear(&t, 1);
	buf_clear(&t.answers);
	qmp_command(t.q, "b", NULL, on_answer, &t);
	say(&t, "{\"return\": 1, \"id\": 2}{\"return\": 2, \"id\": 3}");
	turn_until(&t, &t.answers, 1);
	CHECK_STR(buf_str(&t.answers), "0 2|");
	CHECK_INT(t.closed, 0);
	talk_free(&t);
}

static void too_many_calls(void)
{
	struct talk t;
	int r = 0, n = 0;

	talk_new(&t);
	while (r == 0 && n < 10000) {
		r = qmp_command(t.q, "a", NULL, on_answer, &t);
		n += r == 0;
	}
	CHECK_INT(r, -EBUSY);
	CHECK_INT(n, 256);
	talk_free(&t);
}

static const struct test_case cases[] = {
    CASE(stream_split_anywhere),
    CASE(stream_refuses_garbage),
    CASE(stream_has_limits),
    CASE(answers_out_of_order),
    CASE(commands_queue_until_ready),
    CASE(close_fails_what_waits),
    CASE(writes_to_a_closed_socket),
    CASE(garbage_closes),
    CASE(freed_in_an_answer),
    CASE(no_answer_is_an_error),
    CASE(too_many_calls),
};
TEST_MAIN(cases)
