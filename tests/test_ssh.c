/* SPDX-License-Identifier: Apache-2.0
 *
 * SSH sessions and their jobs against a real sshd on a loopback port, with
 * keys and a configuration of its own.
 */
#include <dirent.h>

#include "identity.h"
#include "ssh_fixture.h"

static void connect_sshd(struct seen *x)
{
	struct ssh_target t = target_of(sshd_port);

	open_target(x, &t);
	turn_until(&x->connected, LONG);
	CHECK_INT(x->code, 0);
}

/* What a job told. */
struct ran {
	bool ended;
	int code, status;
	struct err err;
	struct buf out, errout, streamed;
	size_t pieces;
	int *order; /* the number of jobs that ended before */
	int place;
	struct ssh_job *job;
};

static void ran_done(struct ran *r)
{
	buf_done(&r->out);
	buf_done(&r->errout);
	buf_done(&r->streamed);
}

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct ran *r = userdata;

	CHECK(!r->ended);
	r->pieces++;
	if (!is_stderr)
		buf_append(&r->streamed, data, len);
}

static void on_done(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct ran *r = userdata;

	CHECK(!r->ended);
	r->ended = true;
	r->code = code;
	r->status = status;
	r->err = *err;
	buf_append(&r->out, out, out_len);
	buf_puts(&r->errout, errout);
	if (r->order)
		r->place = (*r->order)++;
}

static void run_job(struct ssh *s, struct ran *r, struct ssh_run job)
{
	job.done = on_done;
	job.userdata = r;
	CHECK_INT(ssh_run(s, &job, &r->job, &r->err), 0);
	CHECK(!r->ended);
}

#define SH(text)                                                               \
	(char *const[])                                                        \
	{                                                                      \
		"sh", "-c", text, NULL                                         \
	}

static void a_command_runs(void)
{
	_cleanup_(ran_done) struct ran r = {0};
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("cat; echo oops >&2; exit 7"),
		.input = "a\0b",
		.input_len = 3,
	    });
	turn_until(&r.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_INT(r.status, 7);
	CHECK_INT(r.out.len, 3);
	CHECK(r.out.data && memcmp(r.out.data, "a\0b", 4) == 0);
	CHECK_STR(buf_str(&r.errout), "oops\n");
	CHECK_STR(r.err.text, "");
	ssh_close(x.s);
}

static void every_word_is_quoted(void)
{
	static char *const words[] = {"printf", "<%s>", "a b", "", "'",
	    "\"$HOME\"", "*", "`id`", "a\nb", "\\", ";reboot", "-n", "~", "#x",
	    NULL};
	_cleanup_(ran_done) struct ran r = {0};
	_cleanup_buf_ struct buf want = {0};
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	run_job(x.s, &r, (struct ssh_run){.argv = words});
	turn_until(&r.ended, LONG);
	for (size_t i = 2; words[i]; i++)
		buf_printf(&want, "<%s>", words[i]);
	CHECK_STR(buf_str(&r.out), buf_str(&want));
	ssh_close(x.s);
}

static void a_signal_is_a_status(void)
{
	_cleanup_(ran_done) struct ran r = {0};
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	run_job(x.s, &r, (struct ssh_run){.argv = SH("kill -9 $$")});
	turn_until(&r.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_INT(r.status, 128 + 9);
	ssh_close(x.s);
}

static void another_host_key_is_refused(void)
{
	struct ssh_target t = target_of(sshd_port);
	_cleanup_(ran_done) struct ran r = {0};
	struct seen x;

	NEED_SSHD();
	t.host_key = other_public;
	open_target(&x, &t);
	run_job(x.s, &r, (struct ssh_run){.argv = SH("touch /tmp/no")});
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -EACCES);
	CHECK(strstr(x.err.text, "host key differs"));
	CHECK(strstr(x.err.text, "SHA256:"));
	/* The job that waited failed for the same reason. */
	CHECK(r.ended);
	CHECK_INT(r.code, -EACCES);
	CHECK_INT(
	    ssh_run(x.s, &(struct ssh_run){.argv = SH("true")}, NULL, NULL),
	    -ENOTCONN);
	turn_for(100 * USEC_PER_MSEC);
	CHECK(!x.closed);
	ssh_close(x.s);
}

static void a_host_key_of_another_kind_is_refused(void)
{
	_cleanup_free_ char *path = in_dir("rsa"), *key = NULL;
	struct ssh_target t = target_of(sshd_port);
	pid_t pid;
	struct seen x;

	NEED_SSHD();
	pid = start((char *[]){"/usr/bin/ssh-keygen", "-q", "-t", "ecdsa", "-N",
			"", "-f", path, NULL},
	    "/dev/null");
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK_INT(ssh_key_public(path, &key, NULL), 0);
	t.host_key = key;
	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -EACCES);
	CHECK(strstr(x.err.text, "the server has ssh-ed25519 SHA256:"));
	CHECK(strstr(x.err.text, "pinned is ecdsa-sha2-nistp256 SHA256:"));
	ssh_close(x.s);
}

static void another_user_key_is_refused(void)
{
	struct ssh_target t = target_of(sshd_port);
	struct seen x;

	NEED_SSHD();
	t.key_file = other_key;
	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -EACCES);
	CHECK(strstr(x.err.text, "refused the key"));
	CHECK(strstr(x.err.text, other_key));
	ssh_close(x.s);
	t.key_file = "/nonexistent";
	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, -ENOENT);
	ssh_close(x.s);
}

static void a_bad_pin_is_refused_at_once(void)
{
	static const char *const bad[] = {
	    "", "ssh-ed25519", "ssh-ed25519 AAAA", "AAAA", "ssh-rsa %s"};
	struct ssh_target t = target_of(1);
	struct err err = ERR_INIT;
	struct ssh *s = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		t.host_key = bad[i];
		CHECK_INT(
		    ssh_open(loop, &t, on_connected, on_closed, NULL, &s, &err),
		    -EINVAL);
		CHECK(strstr(err.text, "host key"));
	}
	CHECK(!s);
}

static void output_is_bounded_and_streamed(void)
{
	_cleanup_(ran_done) struct ran r = {0}, small = {0};
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("seq 1000000"),
		.max_output = 1000,
		.output = on_output,
	    });
	run_job(x.s, &small,
	    (struct ssh_run){.argv = SH("seq 100"), .max_output = 1000});
	turn_until(&small.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_INT(r.out.len, 1000);
	CHECK(strstr(r.err.text, "cut off after 1000 bytes"));
	CHECK_INT(r.streamed.len, 6888896);
	CHECK(r.pieces > 100);
	CHECK(strstr(buf_str(&r.streamed), "\n999999\n1000000\n"));
	CHECK_STR(small.err.text, "");
	CHECK_INT(small.out.len, 292);
	ssh_close(x.s);
}

/* A loop that is busy elsewhere must not make the daemon grow. */
static void a_fast_guest_waits_for_the_loop(void)
{
	_cleanup_(ran_done) struct ran r = {0};
	size_t noted = 0, before = 1;
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("head -c 30000000 /dev/zero"),
		.output = on_output,
	    });
	/* The loop doesn't turn; wait until no more comes. */
	for (int i = 0; i < 100 && (noted != before || !noted); i++) {
		poll(NULL, 0, 100);
		before = noted;
		pthread_mutex_lock(&x.s->lock);
		noted = x.s->noted;
		pthread_mutex_unlock(&x.s->lock);
	}
	CHECK(noted >= SSH_QUEUE_MAX);
	CHECK(noted <= SSH_QUEUE_MAX + SSH_PIECE);
	turn_until(&r.ended, LONG);
	CHECK_INT(r.streamed.len, 30000000);
	ssh_close(x.s);
}

static void a_late_job_ends_and_the_session_stays(void)
{
	_cleanup_(ran_done) struct ran late = {0}, loud = {0}, next = {0};
	uint64_t began;
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	began = now_mono();
	run_job(x.s, &late,
	    (struct ssh_run){
		.argv = SH("echo begun; sleep 9"),
		.timeout = USEC_PER_SEC / 2,
	    });
	run_job(x.s, &loud,
	    (struct ssh_run){
		.argv = SH("yes"),
		.timeout = USEC_PER_SEC / 2,
	    });
	run_job(x.s, &next, (struct ssh_run){.argv = SH("echo next")});
	turn_until(&next.ended, LONG);
	CHECK_INT(late.code, -ETIMEDOUT);
	CHECK_STR(late.err.text, "sh took longer than 0.5 s");
	CHECK_STR(buf_str(&late.out), "begun\n");
	CHECK_INT(loud.code, -ETIMEDOUT);
	CHECK_INT(next.code, 0);
	CHECK_STR(buf_str(&next.out), "next\n");
	/* Before the first would have ended by itself. */
	CHECK(now_mono() - began < 9 * USEC_PER_SEC);
	CHECK(!x.closed);
	ssh_close(x.s);
}

static void a_job_is_cancelled(void)
{
	_cleanup_(ran_done) struct ran r = {0}, queued = {0}, next = {0};
	_cleanup_(ran_done) struct ran finished = {0};
	uint64_t began = now_mono();
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("echo begun; exec sleep 9"),
		.output = on_output,
	    });
	run_job(x.s, &queued, (struct ssh_run){.argv = SH("sleep 9")});
	run_job(x.s, &next, (struct ssh_run){.argv = SH("echo next")});
	while (!r.pieces && now_mono() - began < LONG)
		loop_turn(loop, USEC_PER_SEC);
	ssh_job_cancel(queued.job);
	CHECK(!queued.ended);
	ssh_job_cancel(r.job);
	CHECK(!r.ended);
	turn_until(&next.ended, LONG);
	CHECK_INT(r.code, -ECANCELED);
	CHECK(strstr(r.err.text, "sh was cancelled"));
	CHECK_INT(queued.code, -ECANCELED);
	CHECK_INT(next.code, 0);
	CHECK_STR(buf_str(&next.out), "next\n");

	/* Its end is on its way already: cancelled all the same. */
	run_job(x.s, &finished, (struct ssh_run){.argv = SH("true")});
	for (bool there = false; !there;) {
		pthread_mutex_lock(&x.s->lock);
		there = x.s->n_notes;
		pthread_mutex_unlock(&x.s->lock);
	}
	ssh_job_cancel(finished.job);
	turn_until(&finished.ended, LONG);
	CHECK_INT(finished.code, -ECANCELED);
	CHECK(!x.closed);
	ssh_close(x.s);
}

static void a_left_over_child_is_not_waited_for(void)
{
	_cleanup_(ran_done) struct ran r = {0};
	uint64_t began;
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	began = now_mono();
	run_job(x.s, &r,
	    (struct ssh_run){.argv = SH("sleep 9 & echo done; exit 3")});
	turn_until(&r.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_INT(r.status, 3);
	CHECK_STR(buf_str(&r.out), "done\n");
	CHECK(now_mono() - began < 9 * USEC_PER_SEC);
	ssh_close(x.s);
}

static void two_hundred_jobs_on_one_session(void)
{
	static struct ran r[200];
	int order = 0, wrong = 0;
	struct seen x;

	NEED_SSHD();
	memset(r, 0, sizeof(r));
	connect_sshd(&x);
	for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
		_cleanup_free_ char *n = xasprintf("%zu", i);

		r[i].order = &order;
		run_job(x.s, &r[i],
		    (struct ssh_run){.argv = (char *const[]){"echo", n, NULL}});
	}
	turn_until(&r[ARRAY_SIZE(r) - 1].ended, 3 * LONG);
	for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
		_cleanup_free_ char *n = xasprintf("%zu\n", i);

		wrong += r[i].code || r[i].status || r[i].place != (int)i ||
			 !STREQ(buf_str(&r[i].out), n);
		ran_done(&r[i]);
	}
	CHECK_INT(wrong, 0);
	CHECK(!x.closed);
	ssh_close(x.s);
}

static void a_long_command_runs(void)
{
	_cleanup_free_ char *word = xcalloc(1, SSH_ARGV_MAX);
	char *argv[] = {"printf", "%s.%s", word, "it's", NULL};
	_cleanup_(ran_done) struct ran r = {0};
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	memset(word, 'w', SSH_ARGV_MAX - 100);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = argv,
		.max_output = 2ULL * SSH_ARGV_MAX,
	    });
	turn_until(&r.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_INT(r.status, 0);
	CHECK_INT(r.out.len, SSH_ARGV_MAX - 100 + 5);
	CHECK(strstr(buf_str(&r.out), "ww.it's"));
	ssh_close(x.s);
}

static void too_much_is_refused(void)
{
	_cleanup_free_ char *word = xcalloc(1, SSH_COMMAND_MAX + 1);
	struct ssh_run r = {
	    .argv = (char *const[]){"echo", word, NULL}, .done = on_done};
	struct ran ran[SSH_JOBS_MAX + 1] = {0};
	struct err err = ERR_INIT;
	struct seen x;
	int rc = 0;

	NEED_SSHD();
	connect_sshd(&x);
	memset(word, 'x', SSH_COMMAND_MAX);
	r.input = "x";
	r.input_len = 1;
	CHECK_INT(ssh_run(x.s, &r, NULL, &err), -E2BIG);
	r.argv = (char *const[]){NULL};
	CHECK_INT(ssh_run(x.s, &r, NULL, &err), -EINVAL);
	/* The first may be running: one more than the limit fits. */
	r.argv = SH("sleep 5");
	for (size_t i = 0; i < ARRAY_SIZE(ran) && !rc; i++) {
		r.userdata = &ran[i];
		rc = ssh_run(x.s, &r, NULL, &err);
	}
	if (!rc)
		rc = ssh_run(x.s, &r, NULL, &err);
	CHECK_INT(rc, -EAGAIN);
	ssh_close(x.s);
	/* None of them fires any more. */
	turn_for(100 * USEC_PER_MSEC);
	CHECK(!ran[0].ended && !ran[1].ended);
}

struct wrote {
	bool ended;
	int code;
	struct err err;
};

static void on_wrote(int code, const struct err *err, void *userdata)
{
	struct wrote *w = userdata;

	w->ended = true;
	w->code = code;
	w->err = *err;
}

static int write_to(struct seen *x, struct wrote *w, const char *path,
    const void *data, size_t len, mode_t mode, const char *owner)
{
	*w = (struct wrote){0};
	CHECK_INT(ssh_write_file(x->s, path, data, len, mode, owner, on_wrote,
		      w, NULL, &w->err),
	    0);
	turn_until(&w->ended, LONG);
	return w->code;
}

static size_t files_in(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

#define NEED_ROOT()                                                            \
	do {                                                                   \
		if (geteuid() != 0)                                            \
			SKIP("only root may make " GUEST_LOCK);                \
	} while (0)

static void a_file_is_written(void)
{
	_cleanup_free_ char *folder = in_dir("w"), *path = NULL, *data = NULL;
	_cleanup_free_ char *deep = in_dir("w/none/file");
	_cleanup_buf_ struct buf b = {0};
	size_t len = 3000001;
	struct wrote w;
	struct stat st;
	struct seen x;

	NEED_SSHD();
	NEED_ROOT();
	connect_sshd(&x);
	CHECK_INT(mkdir(folder, 0700), 0);
	path = in_dir("w/a 'b' $c\n;");
	data = xmalloc(len);
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7 + i / 256);
	CHECK_INT(write_to(&x, &w, path, data, len, 0640, "1:2"), 0);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode, S_IFREG | 0640);
	CHECK_INT(st.st_uid, 1);
	CHECK_INT(st.st_gid, 2);
	CHECK_INT(file_read(AT_FDCWD, path, len + 1, &b), 0);
	CHECK(b.len == len && memcmp(b.data, data, len) == 0);
	/* Over the old one, and empty. */
	CHECK_INT(write_to(&x, &w, path, NULL, 0, 04755, NULL), 0);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode, S_IFREG | 04755);
	CHECK_INT(st.st_size, 0);
	CHECK_INT(files_in(folder), 1);

	/* What can't be, and nothing is left behind. */
	CHECK_INT(write_to(&x, &w, folder, "x", 1, 0600, NULL), -EIO);
	CHECK(strstr(w.err.text, "is a folder"));
	CHECK_INT(write_to(&x, &w, deep, "x", 1, 0600, NULL), -EIO);
	CHECK(strstr(w.err.text, deep));
	CHECK_INT(write_to(&x, &w, path, "x", 1, 0600, "nobody:nosuch"), -EIO);
	CHECK(strstr(w.err.text, "nosuch"));
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_size, 0);
	CHECK_INT(files_in(folder), 1);
	CHECK_INT(ssh_write_file(x.s, "etc/hosts", "", 0, 0644, NULL, on_wrote,
		      &w, NULL, &w.err),
	    -EINVAL);
	ssh_close(x.s);
}

static void a_file_of_the_host_is_sent(void)
{
	_cleanup_(ran_done) struct ran r = {0}, bad = {0};
	_cleanup_free_ char *path = in_dir("sent"), *data = NULL;
	size_t len = 3000001, skipped = 1000;
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	data = xmalloc(len);
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7 + i / 256);
	CHECK_INT(file_replace(AT_FDCWD, path, data, len, 0600), 0);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_INT(lseek(fd, (off_t)skipped, SEEK_SET), skipped);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("cat"),
		.has_input_fd = true,
		.input_fd = fd,
		.max_output = len,
	    });
	turn_until(&r.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_INT(r.out.len, len - skipped);
	CHECK(r.out.data &&
	      memcmp(r.out.data, data + skipped, len - skipped) == 0);
	/* The offset is shared. */
	CHECK_INT(lseek(fd, 0, SEEK_CUR), len);
	close(fd);
	/* A folder is not to be read. */
	fd = open(dir, O_RDONLY | O_CLOEXEC);
	run_job(x.s, &bad,
	    (struct ssh_run){
		.argv = SH("cat"), .has_input_fd = true, .input_fd = fd});
	close(fd);
	turn_until(&bad.ended, LONG);
	CHECK_INT(bad.code, -EIO);
	CHECK(strstr(bad.err.text, "sh: reading what it is to be sent: Is a"));
	ssh_close(x.s);
}

static void a_pipe_is_sent_as_it_fills(void)
{
	_cleanup_(ran_done) struct ran r = {0}, late = {0}, left = {0};
	int p[2];
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	CHECK_INT(pipe2(p, O_CLOEXEC), 0);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("read a; echo got $a; cat"),
		.has_input_fd = true,
		.input_fd = p[0],
		.output = on_output,
	    });
	CHECK_INT(write_all(p[1], "one\n", 4), 0);
	for (uint64_t t = now_mono(); !r.pieces && now_mono() - t < LONG;)
		loop_turn(loop, USEC_PER_SEC);
	CHECK_STR(buf_str(&r.streamed), "got one\n");
	CHECK_INT(write_all(p[1], "two\n", 4), 0);
	close(p[1]);
	turn_until(&r.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_STR(buf_str(&r.out), "got one\ntwo\n");
	close(p[0]);

	/* One that nobody fills: time and cancel end it, the session stays. */
	CHECK_INT(pipe2(p, O_CLOEXEC), 0);
	run_job(x.s, &late,
	    (struct ssh_run){
		.argv = SH("cat"),
		.has_input_fd = true,
		.input_fd = p[0],
		.timeout = 300 * USEC_PER_MSEC,
	    });
	turn_until(&late.ended, LONG);
	CHECK_INT(late.code, -ETIMEDOUT);
	run_job(x.s, &left,
	    (struct ssh_run){
		.argv = SH("cat"), .has_input_fd = true, .input_fd = p[0]});
	turn_for(100 * USEC_PER_MSEC);
	ssh_job_cancel(left.job);
	turn_until(&left.ended, LONG);
	CHECK_INT(left.code, -ECANCELED);
	close(p[0]);
	close(p[1]);
	CHECK(!x.closed);
	ssh_close(x.s);
}

/* What doesn't read to the end is no failure: its status tells. */
static void a_command_leaves_its_input(void)
{
	_cleanup_(ran_done) struct ran r = {0};
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("head -c 200000 | wc -c; exit 3"),
		.has_input_fd = true,
		.input_fd = fd,
	    });
	close(fd);
	turn_until(&r.ended, LONG);
	CHECK_INT(r.code, 0);
	CHECK_INT(r.status, 3);
	CHECK_INT(atol(buf_str(&r.out)), 200000);
	ssh_close(x.s);
}

static void a_lock_is_waited_for(void)
{
	_cleanup_(ran_done) struct ran a = {0}, b = {0};
	uint64_t began;
	struct seen x, y;

	NEED_SSHD();
	NEED_ROOT();
	connect_sshd(&x);
	connect_sshd(&y);
	began = now_mono();
	run_job(x.s, &a,
	    (struct ssh_run){
		.argv = SH("echo mine; sleep 1; exit 4"),
		.lock = true,
		.output = on_output,
	    });
	for (uint64_t t = now_mono(); !a.pieces && now_mono() - t < LONG;)
		loop_turn(loop, USEC_PER_SEC);
	run_job(
	    y.s, &b, (struct ssh_run){.argv = SH("echo ours"), .lock = true});
	turn_until(&b.ended, LONG);
	/* The second got it only when the first had ended. */
	CHECK(now_mono() - began >= USEC_PER_SEC);
	turn_until(&a.ended, LONG);
	CHECK_INT(a.status, 4);
	CHECK_INT(b.code, 0);
	CHECK_STR(buf_str(&b.out), "ours\n");
	ssh_close(x.s);
	ssh_close(y.s);
}

/* The sshd process of this session alone. */
static pid_t server_of(struct seen *x)
{
	_cleanup_(ran_done) struct ran r = {0};

	run_job(x->s, &r,
	    (struct ssh_run){
		.argv = SH("p=$$; "
			   "while read a b c d e </proc/$p/stat; do "
			   "[ \"$b\" != \"(sshd)\" ] || break; p=$d; done; "
			   "echo $p")});
	turn_until(&r.ended, LONG);
	CHECK(atol(buf_str(&r.out)) > 1);
	return (pid_t)atol(buf_str(&r.out));
}

static void a_killed_server_is_noticed(void)
{
	_cleanup_(ran_done) struct ran r = {0}, queued = {0};
	uint64_t began = now_mono();
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	pid_t server = server_of(&x);

	run_job(x.s, &r,
	    (struct ssh_run){
		.argv = SH("echo begun; sleep 9"),
		.output = on_output,
	    });
	run_job(x.s, &queued, (struct ssh_run){.argv = SH("true")});
	while (!r.pieces && now_mono() - began < LONG)
		loop_turn(loop, USEC_PER_SEC);
	began = now_mono();
	CHECK(server > 1 && kill(server, SIGKILL) == 0);
	turn_until(&x.closed, LONG);
	CHECK(now_mono() - began < 9 * USEC_PER_SEC);
	CHECK(r.ended && queued.ended);
	CHECK_INT(r.code, -ECONNRESET);
	CHECK_INT(queued.code, -ECONNRESET);
	CHECK(strstr(x.err.text, "127.0.0.1:"));
	CHECK_INT(
	    ssh_run(x.s, &(struct ssh_run){.argv = SH("true")}, NULL, NULL),
	    -ENOTCONN);
	ssh_close(x.s);
}

/* An idle session that was cut off is told as well. */
static void an_idle_session_is_told(void)
{
	struct seen x;

	NEED_SSHD();
	connect_sshd(&x);
	pid_t server = server_of(&x);

	CHECK(server > 1 && kill(server, SIGKILL) == 0);
	turn_until(&x.closed, LONG);
	ssh_close(x.s);
}

static void a_session_is_closed_at_any_moment(void)
{
	struct ssh_target t = target_of(sshd_port);
	_cleanup_(ran_done) struct ran r = {0};
	uint64_t began, longest = 0;
	struct seen x;

	NEED_SSHD();
	for (uint64_t i = 0; i < 40; i++) {
		open_target(&x, &t);
		run_job(x.s, &r,
		    (struct ssh_run){
			.argv = SH("seq 1000000; sleep 10"),
			.output = on_output,
		    });
		turn_for(i * i * 100);
		began = now_mono();
		ssh_close(x.s);
		longest = MAX(longest, now_mono() - began);
	}
	CHECK(!r.ended);
	/* Neither the guest nor the thread is waited for. */
	CHECK(longest < USEC_PER_SEC);
	ssh_close(NULL);
}

static void close_it(
    struct ssh *s, int code, const struct err *err, void *userdata)
{
	*(bool *)userdata = true;
	ssh_close(s);
}

struct closer {
	struct ssh *s;
	bool ended;
};

static void close_when_done(int code, int status, const char *out,
    size_t out_len, const char *errout, const struct err *err, void *userdata)
{
	struct closer *c = userdata;

	ssh_close(c->s);
	/* What was handed in is still there. */
	CHECK_STR(out, "x\n");
	c->ended = true;
}

static void close_on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct closer *c = userdata;

	ssh_close(c->s);
	CHECK(len && data[0] == 'x');
	c->ended = true;
}

static void a_session_is_closed_from_its_callbacks(void)
{
	struct ssh_target t = target_of(sshd_port);
	struct ssh_run r = {.argv = SH("echo x"), .done = close_when_done};
	struct closer c = {0};
	struct ssh *s;
	bool closed = false;
	struct seen x;

	NEED_SSHD();
	CHECK_INT(
	    ssh_open(loop, &t, close_it, on_closed, &closed, &s, NULL), 0);
	turn_until(&closed, LONG);
	for (int i = 0; i < 2; i++) {
		connect_sshd(&x);
		c = (struct closer){.s = x.s};
		r.userdata = &c;
		if (i)
			r.output = close_on_output;
		CHECK_INT(ssh_run(x.s, &r, NULL, NULL), 0);
		CHECK_INT(ssh_run(x.s, &r, NULL, NULL), 0);
		turn_until(&c.ended, LONG);
	}
	turn_for(100 * USEC_PER_MSEC);
}

/* The server hangs, and its kernel still answers for it: begun first, looked
 * at last, since it takes the time of a keepalive. */
static struct seen hung;
static pid_t hung_server;

static void a_server_hangs(void)
{
	NEED_SSHD();
	connect_sshd(&hung);
	hung_server = server_of(&hung);
	CHECK(hung_server > 1 && kill(hung_server, SIGSTOP) == 0);
}

static void a_hung_server_is_noticed(void)
{
	NEED_SSHD();
	turn_until(&hung.closed, 30 * USEC_PER_SEC);
	CHECK(strstr(hung.err.text, "no answer for"));
	kill(hung_server, SIGKILL);
	ssh_close(hung.s);
}

static size_t open_descriptors(void)
{
	return files_in("/proc/self/fd");
}

static size_t at_first;

static void descriptors_are_counted(void)
{
	at_first = open_descriptors();
}

static void no_descriptor_is_left(void)
{
	uint64_t began = now_mono();

	/* Threads of closed sessions end by themselves. */
	while (open_descriptors() != at_first && now_mono() - began < LONG)
		poll(NULL, 0, 10);
	CHECK_INT(open_descriptors(), at_first);
}

static const struct test_case cases[] = {
    CASE(descriptors_are_counted),
    CASE(a_server_hangs),
    CASE(a_command_runs),
    CASE(every_word_is_quoted),
    CASE(a_signal_is_a_status),
    CASE(another_host_key_is_refused),
    CASE(a_host_key_of_another_kind_is_refused),
    CASE(another_user_key_is_refused),
    CASE(a_bad_pin_is_refused_at_once),
    CASE(output_is_bounded_and_streamed),
    CASE(a_fast_guest_waits_for_the_loop),
    CASE(a_late_job_ends_and_the_session_stays),
    CASE(a_job_is_cancelled),
    CASE(a_left_over_child_is_not_waited_for),
    CASE(two_hundred_jobs_on_one_session),
    CASE(a_long_command_runs),
    CASE(too_much_is_refused),
    CASE(a_file_is_written),
    CASE(a_file_of_the_host_is_sent),
    CASE(a_pipe_is_sent_as_it_fills),
    CASE(a_command_leaves_its_input),
    CASE(a_lock_is_waited_for),
    CASE(a_killed_server_is_noticed),
    CASE(an_idle_session_is_told),
    CASE(a_session_is_closed_at_any_moment),
    CASE(a_session_is_closed_from_its_callbacks),
    CASE(a_hung_server_is_noticed),
    CASE(no_descriptor_is_left),
};

int main(void)
{
	bool had_lock = access(GUEST_LOCK, F_OK) == 0;
	int rc;

	set_up();
	rc = test_main(cases, ARRAY_SIZE(cases));
	tear_down();
	if (!had_lock)
		unlink(GUEST_LOCK);
	return rc;
}
