/* SPDX-License-Identifier: Apache-2.0
 *
 * Tries to reach something: from this host, and from a guest, which is a real
 * sshd on a loopback port.  What is reached is a small server of this test.
 */
#include "host/knock.h"
#include "ssh_fixture.h"

struct tried {
	bool ended, pass;
	int code;
	char detail[256];
};

static void on_tried(int code, bool pass, const char *detail, void *userdata)
{
	struct tried *t = userdata;

	CHECK(!t->ended);
	t->ended = true;
	t->code = code;
	t->pass = pass;
	snprintf(t->detail, sizeof(t->detail), "%s", detail);
}

/* One try to its end. */
static struct tried knock(struct knock_options o)
{
	struct tried t = {0};
	struct knock *k = NULL;
	struct err err = ERR_INIT;

	if (!o.timeout)
		o.timeout = LONG;
	o.done = on_tried;
	o.userdata = &t;
	if (knock_start(loop, &o, &k, &err) < 0) {
		t.code = err.code;
		snprintf(t.detail, sizeof(t.detail), "%s", err_text(&err));
		return t;
	}
	CHECK(!t.ended);
	turn_until(&t.ended, LONG);
	knock_free(k);
	return t;
}

static struct ssh *guest(void)
{
	struct ssh_target t = target_of(sshd_port);
	static struct seen x;

	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, 0);
	return x.s;
}

/* --- a server: answers once, with a text or never ------------------------ */

static pid_t serve(const char *answer, uint16_t *ret_port)
{
	int fd = listen_on_loopback(ret_port), c;
	char request[4096];
	pid_t pid = fork();

	if (pid) {
		close(fd);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		c = accept(fd, NULL, NULL);
		if (c < 0 || recv(c, request, sizeof(request), 0) < 0)
			continue;
		if (!answer)
			for (;;)
				pause();
		(void)!write(c, answer, strlen(answer));
		shutdown(c, SHUT_WR);
		while (recv(c, request, sizeof(request), 0) > 0)
			;
		close(c);
	}
}

static void a_connection(struct ssh *g)
{
	uint16_t port;
	pid_t pid = serve(NULL, &port);
	struct tried t = knock((struct knock_options){
	    .guest = g, .address = "127.0.0.1", .port = port});

	CHECK_INT(t.code, 0);
	CHECK(t.pass);
	CHECK_STR(t.detail, "connected");
	t = knock((struct knock_options){
	    .guest = g, .address = "127.0.0.1", .port = free_port()});
	CHECK_INT(t.code, 0);
	CHECK(!t.pass);
	CHECK(strstr(t.detail, "refused"));
	end_process(pid);
}

static void requests(struct ssh *g)
{
	static const struct {
		const char *answer, *detail;
		bool pass;
	} rows[] = {
	    {"HTTP/1.1 200 OK\r\n\r\n", "HTTP 200", true},
	    {"HTTP/1.0 302 Found\r\n\r\n", "HTTP 302", true},
	    {"HTTP/1.1 503 Busy\r\n\r\n", "HTTP 503", false},
	    {"SSH-2.0-x\r\n", "it answers, but not in HTTP", false},
	    {"", "connected, but nothing was answered", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint16_t port;
		pid_t pid = serve(rows[i].answer, &port);
		struct tried t = knock((struct knock_options){.guest = g,
		    .address = "127.0.0.1",
		    .port = port,
		    .target = "/health"});

		CHECK_INT(t.code, 0);
		CHECK_INT(t.pass, rows[i].pass);
		CHECK_STR(t.detail, rows[i].detail);
		end_process(pid);
	}
}

static void no_answer(struct ssh *g)
{
	uint16_t port;
	pid_t pid = serve(NULL, &port);
	struct tried t = knock((struct knock_options){.guest = g,
	    .address = "127.0.0.1",
	    .port = port,
	    .target = "/",
	    .timeout = 300 * USEC_PER_MSEC});

	CHECK(!t.pass);
	CHECK_STR(t.detail, "no end within 0.3 s");
	end_process(pid);
}

#define SH(text)                                                               \
	(char *const[])                                                        \
	{                                                                      \
		(char *)"sh", (char *)"-c", (char *)(text), NULL               \
	}

static void commands(struct ssh *g)
{
	static const struct {
		const char *text, *detail;
		bool pass;
	} rows[] = {
	    {"true", "exit status 0", true},
	    {"echo one; echo two", "two", true},
	    {"echo no >&2; exit 3", "exit status 3: no", false},
	    {"echo out; exit 1", "exit status 1: out", false},
	    {"printf 'a\\033[1mb\\n'", "a\\x1b[1mb", true},
	};
	struct tried t;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		t = knock((struct knock_options){
		    .guest = g, .command = SH(rows[i].text)});
		CHECK_INT(t.code, 0);
		CHECK_INT(t.pass, rows[i].pass);
		CHECK_STR(t.detail, rows[i].detail);
	}
	t = knock((struct knock_options){.guest = g,
	    .command = SH("sleep 3600"),
	    .timeout = 200 * USEC_PER_MSEC});
	CHECK(!t.pass);
	CHECK_STR(t.detail, "no end within 0.2 s");
}

static void all(struct ssh *g)
{
	a_connection(g);
	requests(g);
	no_answer(g);
	commands(g);
}

static void from_this_host(void)
{
	all(NULL);
}

static void from_a_guest(void)
{
	NEED_SSHD();
	struct ssh *g = guest();

	all(g);
	/* The session has survived all that was given up. */
	CHECK(knock((struct knock_options){.guest = g, .command = SH("true")})
		  .pass);
	ssh_close(g);
}

static void the_limit_holds_while_the_session_is_busy(void)
{
	NEED_SSHD();
	struct ssh *g = guest();
	struct ssh_job *busy;
	struct tried t;

	CHECK_INT(
	    ssh_run(g,
		&(struct ssh_run){.argv = SH("exec sleep 20"), .timeout = LONG},
		&busy, NULL),
	    0);
	t = knock((struct knock_options){
	    .guest = g, .command = SH("true"), .timeout = 200 * USEC_PER_MSEC});
	CHECK_INT(t.code, 0);
	CHECK(!t.pass);
	ssh_close(g);
}

static void a_broken_session_is_a_passing_fault(void)
{
	NEED_SSHD();
	struct ssh *g = guest();
	struct tried t = knock(
	    (struct knock_options){.guest = g, .command = SH("kill -9 $PPID")});

	/* sshd's process for the session is the parent, or its child is. */
	CHECK(t.code == -EAGAIN || !t.pass);
	ssh_close(g);
}

static void what_is_given_up_never_fires(void)
{
	struct tried t = {0};
	struct knock *k = NULL;
	struct knock_options o = {.command = SH("echo x"),
	    .timeout = LONG,
	    .done = on_tried,
	    .userdata = &t};

	CHECK_INT(knock_start(loop, &o, &k, NULL), 0);
	knock_free(k);
	if (!no_sshd) {
		o.guest = guest();
		CHECK_INT(knock_start(loop, &o, &k, NULL), 0);
		knock_free(k);
	}
	turn_for(100 * USEC_PER_MSEC);
	CHECK(!t.ended);
	ssh_close(o.guest);
}

static void folders_and_programs_of_this_host(void)
{
	_cleanup_free_ char *script = in_dir("here.sh");
	struct tried t;

	CHECK_INT(
	    file_replace(AT_FDCWD, script, "#!/bin/sh\npwd\n", 14, 0700), 0);
	t = knock((struct knock_options){.folder = dir,
	    .command = (char *const[]){(char *)"./here.sh", NULL}});
	CHECK(t.pass);
	CHECK_STR(t.detail, dir);
	t = knock((struct knock_options){
	    .command = (char *const[]){(char *)"no-such-program", NULL}});
	CHECK_INT(t.code, 0);
	CHECK(!t.pass);
	CHECK(strstr(t.detail, "no-such-program"));
}

static void bad_requests_are_refused(void)
{
	CHECK_INT(
	    knock((struct knock_options){
		      .address = "127.0.0.1", .port = 1, .target = "/a b"})
		.code,
	    -EINVAL);
	CHECK_INT(
	    knock((struct knock_options){
		      .address = "127.0.0.1", .port = 1, .target = "/\r\nX: y"})
		.code,
	    -EINVAL);
	CHECK_INT(
	    knock((struct knock_options){.address = "example", .port = 1}).code,
	    -EINVAL);
}

static const struct test_case cases[] = {
    CASE(from_this_host),
    CASE(from_a_guest),
    CASE(the_limit_holds_while_the_session_is_busy),
    CASE(a_broken_session_is_a_passing_fault),
    CASE(what_is_given_up_never_fires),
    CASE(folders_and_programs_of_this_host),
    CASE(bad_requests_are_refused),
};

int main(void)
{
	int bad;

	set_up();
	bad = test_main(cases, ARRAY_SIZE(cases));
	tear_down();
	return bad;
}
