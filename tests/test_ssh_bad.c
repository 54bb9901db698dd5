/* SPDX-License-Identifier: Apache-2.0
 *
 * Servers that say nothing, rubbish, or one byte at a time: each try ends
 * by its deadline and with a sentence.  The banner probe; dropbear with a
 * host key of ours.
 */
#include "ssh_fixture.h"

#define DROPBEAR "/usr/sbin/dropbear"
#define DEADLINE (USEC_PER_SEC)

enum behaviour {
	SILENT,
	CLOSES,
	RUBBISH,
	LINES,
	BANNER,
	BANNER_RUBBISH,
	DRIPS,
	BANNER_DRIPS,
	GREETS_LATE
};

static void serve_one(int fd, enum behaviour b)
{
	static const char banner[] = "SSH-2.0-test\r\n";
	char junk[4096];

	memset(junk, 0xa5, sizeof(junk));
	if (b == CLOSES)
		return;
	if (b == BANNER || b == BANNER_RUBBISH || b == BANNER_DRIPS)
		if (write(fd, banner, sizeof(banner) - 1) < 0)
			return;
	/* The length of a packet that is never whole. */
	if (b == BANNER_DRIPS && write(fd, "\0\0\10\0", 4) < 0)
		return;
	if (b == GREETS_LATE) {
		poll(NULL, 0, 900);
		if (write(fd, "hello\r\nSSH-2.0-late\r\n", 21) < 0)
			return;
	}
	if (b == RUBBISH || b == BANNER_RUBBISH)
		while (write(fd, junk, sizeof(junk)) > 0)
			;
	if (b == LINES)
		while (write(fd, "hello\r\n", 7) > 0)
			;
	if (b == DRIPS || b == BANNER_DRIPS)
		for (int i = 0; write(fd, b == DRIPS ? "S" : "\0", 1) > 0; i++)
			poll(NULL, 0, 100);
	while (read(fd, junk, sizeof(junk)) > 0)
		;
}

/* A server process; one more for each connection. */
static pid_t serve(enum behaviour b, uint16_t *ret_port)
{
	int fd = listen_on_loopback(ret_port);
	pid_t pid = fork();

	if (pid) {
		close(fd);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c >= 0 && fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve_one(c, b);
			_exit(0);
		}
		close(c);
	}
}

static void expect(enum behaviour b, int code, const char *text)
{
	uint16_t port;
	pid_t pid = serve(b, &port);
	struct ssh_target t = target_of(port);
	struct seen x;

	t.timeout = DEADLINE;
	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, code);
	CHECK(strstr(x.err.text, text));
	if (!strstr(x.err.text, text))
		printf("# %s\n", x.err.text);
	ssh_close(x.s);
	end_process(pid);
}

static void a_silent_server(void)
{
	expect(SILENT, -ETIMEDOUT, "the key exchange took longer than 1 s");
}

static void a_server_that_closes(void)
{
	expect(CLOSES, -ECONNRESET, "key exchange");
}

static void a_server_that_talks_rubbish(void)
{
	expect(RUBBISH, -ECONNRESET, "banner");
	expect(BANNER_RUBBISH, -ECONNRESET, "key exchange");
}

static void a_server_that_says_hello_for_ever(void)
{
	expect(LINES, -ETIMEDOUT, "key exchange");
}

static void a_server_that_only_greets(void)
{
	expect(BANNER, -ETIMEDOUT, "the key exchange took longer than 1 s");
}

static void a_server_that_drips(void)
{
	expect(DRIPS, -ETIMEDOUT, "the key exchange took longer than 1 s");
	expect(BANNER_DRIPS, -ETIMEDOUT, "the key exchange took longer");
}

static void a_port_where_nobody_listens(void)
{
	struct ssh_target t = target_of(free_port());
	struct seen x;

	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -ECONNREFUSED);
	CHECK(strstr(x.err.text, "Connection refused"));
	ssh_close(x.s);
}

static void a_name_that_does_not_exist(void)
{
	struct ssh_target t = target_of(22);
	struct seen x;

	t.host = "no such name";
	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -EHOSTUNREACH);
	ssh_close(x.s);
}

/* Waiting costs nothing: no time of a processor in a second. */
static void a_wait_is_no_busy_loop(void)
{
	struct timespec before, after;
	uint16_t port;
	pid_t pid = serve(BANNER, &port);
	struct ssh_target t = target_of(port);
	struct seen x;

	open_target(&x, &t);
	turn_for(USEC_PER_SEC / 5);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	loop_turn(loop, USEC_PER_SEC);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	CHECK(!x.connected);
	CHECK((after.tv_sec - before.tv_sec) * 1000 +
		  (after.tv_nsec - before.tv_nsec) / 1000000 <
	      50);
	ssh_close(x.s);
	end_process(pid);
}

static void a_probe_waits_for_the_banner(void)
{
	static const enum behaviour bad[] = {SILENT, CLOSES, RUBBISH};
	static const char *const last[] = {
	    "but no SSH banner", "without an SSH banner", "no SSH server"};
	struct ssh_probe *p;
	const char *text;
	bool seen = false;
	uint16_t port;
	pid_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		pid = serve(bad[i], &port);
		CHECK_INT(ssh_probe_new(loop, "localhost", port, set_flag,
			      &seen, &p, NULL),
		    0);
		turn_for(1500 * USEC_PER_MSEC);
		CHECK(!seen);
		CHECK(ssh_probe_tries(p, &text) >= 3);
		CHECK(strstr(text, last[i]));
		ssh_probe_free(p);
		end_process(pid);
	}
	/* Slower than the half second, and with a line before. */
	pid = serve(GREETS_LATE, &port);
	CHECK(wait_for_banner(port));
	end_process(pid);
}

static void a_probe_waits_for_a_listener(void)
{
	struct err err = ERR_INIT;
	struct ssh_probe *p;
	const char *text;
	bool seen = false;
	uint16_t port = free_port();

	CHECK_INT(
	    ssh_probe_new(loop, "127.0.0.1", port, set_flag, &seen, &p, &err),
	    0);
	CHECK_INT(ssh_probe_tries(p, NULL), 0);
	while (ssh_probe_tries(p, &text) < 4)
		loop_turn(loop, USEC_PER_SEC);
	CHECK_STR(text, "Connection refused");
	ssh_probe_free(p);
	turn_for(200 * USEC_PER_MSEC);
	CHECK(!seen);
	ssh_probe_free(NULL);
	CHECK_INT(
	    ssh_probe_new(loop, "a.name", port, set_flag, &seen, &p, &err),
	    -EINVAL);
	CHECK(strstr(err.text, "a.name"));
}

static bool closing; /* a probe freed from within its callback */
static struct ssh_probe *own;

static void free_own(void *userdata)
{
	ssh_probe_free(own);
	closing = true;
}

static void a_probe_is_freed_by_its_callback(void)
{
	uint16_t port;
	pid_t pid = serve(BANNER, &port);

	CHECK_INT(
	    ssh_probe_new(loop, "127.0.0.1", port, free_own, NULL, &own, NULL),
	    0);
	turn_until(&closing, LONG);
	end_process(pid);
}

/* dropbear takes authorized keys from the user's home only, so the log-in is
 * refused here: after the host key was accepted. */
static void dropbear_has_our_host_key(void)
{
	_cleanup_free_ char *path = in_dir("dropbear"), *log = in_dir("log");
	_cleanup_free_ char *at = NULL, *pid_file = in_dir("dropbear.pid");
	_cleanup_buf_ struct buf b = {0};
	uint16_t port = free_port();
	struct ssh_target t = target_of(port);
	struct seen x;
	pid_t pid;

	if (access(DROPBEAR, X_OK) < 0)
		SKIP("dropbear-bin is not installed");
	CHECK_INT(ssh_key_dropbear(host_key, &b, NULL), 0);
	CHECK_INT(file_replace(AT_FDCWD, path, b.data, b.len, 0600), 0);
	at = xasprintf("127.0.0.1:%u", (unsigned)port);
	/* Its own pid file: it removes that when it ends. */
	pid = start((char *[]){DROPBEAR, "-F", "-E", "-s", "-r", path, "-p", at,
			"-P", pid_file, NULL},
	    log);
	CHECK(wait_for_banner(port));
	t.key_file = other_key;
	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -EACCES);
	CHECK(strstr(x.err.text, "refused the key"));
	ssh_close(x.s);
	t.host_key = other_public;
	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -EACCES);
	CHECK(strstr(x.err.text, "host key differs"));
	ssh_close(x.s);
	end_process(pid);
}

static const struct test_case cases[] = {
    CASE(a_silent_server),
    CASE(a_server_that_closes),
    CASE(a_server_that_talks_rubbish),
    CASE(a_server_that_says_hello_for_ever),
    CASE(a_server_that_only_greets),
    CASE(a_server_that_drips),
    CASE(a_port_where_nobody_listens),
    CASE(a_name_that_does_not_exist),
    CASE(a_wait_is_no_busy_loop),
    CASE(a_probe_waits_for_the_banner),
    CASE(a_probe_waits_for_a_listener),
    CASE(a_probe_is_freed_by_its_callback),
    CASE(dropbear_has_our_host_key),
};

int main(void)
{
	int rc;

	set_up();
	rc = test_main(cases, ARRAY_SIZE(cases));
	tear_down();
	return rc;
}
