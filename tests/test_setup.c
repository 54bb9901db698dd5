/* SPDX-License-Identifier: Apache-2.0
 *
 * What is set up in guests: a real sshd whose commands run in a root file
 * system of their own, once with busybox and once with dash and coreutils.
 * Its systemctl keeps a record only.
 */
#include "driver.h"
#include "ssh_fixture.h"
#include <sys/mount.h>

/* tests/guest_root makes it; "." goes on below. */
static char *guest;
static struct ssh *session;
static const char *why_not;

/* --- a driver, and one call --------------------------------------------- */

static struct buf logged;
static void *setup;

static void on_log(void *owner, const char *text, size_t len)
{
	buf_append(&logged, text, len);
}

static const struct setup_driver *driver(void)
{
	return registry_node("qemu")->setup;
}

struct call {
	struct op op;
	bool fired;
	int code;
	struct err err;
	struct buf progress;
};

static void on_done(struct op *op, int code, const struct err *err)
{
	struct call *c = op->owner;

	CHECK(!c->fired);
	c->fired = true;
	c->code = code;
	err_copy(&c->err, err);
}

static void on_progress(struct op *op, int percent, const char *text)
{
	struct call *c = op->owner;

	buf_printf(&c->progress, "%d %s\n", percent, text);
}

/* The last call. */
static struct call last;

static struct op *begin(void)
{
	buf_done(&last.progress);
	last = (struct call){.op = {.what = "test",
				 .done = on_done,
				 .progress = on_progress,
				 .owner = &last}};
	return &last.op;
}

static int end(int r)
{
	if (r < 0)
		return r;
	CHECK(!last.fired);
	turn_until(&last.fired, 60 * USEC_PER_SEC);
	if (last.code < 0)
		CHECK(last.err.text[0]);
	return last.code;
}

static int observe(const struct setup_slice *s)
{
	struct op *op = begin();

	return end(setup_observe(driver(), setup, s, op, &last.err));
}

static int ensure(enum setup_part part, const struct setup_slice *s)
{
	struct op *op = begin();
	int r = end(setup_ensure(driver(), setup, part, s, op, &last.err));

	if (r < 0 && getenv("VERBOSE"))
		fprintf(stderr, "%s\n", err_text(&last.err));
	return r;
}

/* "key: detail" lines of what differs. */
static const char *items(void)
{
	static struct buf b;
	struct setup_look look;

	buf_clear(&b);
	driver()->look(setup, &look);
	CHECK(look.known);
	for (size_t i = 0; i < look.n_items; i++)
		buf_printf(
		    &b, "%s: %s\n", look.items[i].key, look.items[i].detail);
	return buf_str(&b);
}

#define ENSURE(part, slice, want)                                              \
	do {                                                                   \
		int r_ = ensure(part, slice);                                  \
		CHECK_INT(r_, want);                                           \
		if (r_ != (want))                                              \
			printf("# %s\n", err_text(&last.err));                 \
	} while (0)
#define SAYS(what)                                                             \
	do {                                                                   \
		if (!strstr(err_text(&last.err), what))                        \
			printf("# it says: %s\n", err_text(&last.err));        \
		CHECK(strstr(err_text(&last.err), what));                      \
	} while (0)

/* --- what is in the guest ------------------------------------------------ */

static char *in_guest(const char *path)
{
	return xasprintf("%s%s", guest, path);
}

static const char *text_of(const char *path)
{
	static struct buf b;
	_cleanup_free_ char *full = in_guest(path);

	buf_clear(&b);
	return file_read(AT_FDCWD, full, MIB, &b) < 0 ? "(none)" : buf_str(&b);
}

static void put(const char *path, const char *text)
{
	_cleanup_free_ char *full = in_guest(path);

	CHECK_INT(file_replace(AT_FDCWD, full, text, strlen(text), 0644), 0);
}

static bool exists(const char *path)
{
	_cleanup_free_ char *full = in_guest(path);
	struct stat st;

	return lstat(full, &st) == 0;
}

static struct stat stat_of(const char *path)
{
	_cleanup_free_ char *full = in_guest(path);
	struct stat st = {0};

	CHECK_INT(lstat(full, &st), 0);
	return st;
}

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		n++;
	return n;
}

static void clean(void)
{
	static const char *const paths[] = {"/var", "/sysd", "/mnt/var",
	    "/mnt/opt", "/opt", "/etc/systemd", "/mnt/etc/systemd"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_free_ char *full = in_guest(paths[i]);

		remove_tree(AT_FDCWD, full);
	}
	_cleanup_free_ char *sysd = in_guest("/sysd");
	mkdir_p(sysd, 0755);
	buf_clear(&logged);
}

static struct driver_env env;

static void open_setup(void)
{
	driver()->close(setup);
	setup = NULL;
	CHECK_INT(driver()->open(&env, &setup, NULL), 0);
}

#define NEED_GUEST()                                                           \
	do {                                                                   \
		if (why_not)                                                   \
			SKIP(why_not);                                         \
		clean();                                                       \
		open_setup();                                                  \
	} while (0)

#define FILE_(p, text)                                                         \
	{                                                                      \
		.key = "files." p, .path = p, .data = text,                    \
		.len = strlen(text), .mode = 0644, .owner = "root:root"        \
	}

/* --- files --------------------------------------------------------------- */

static void files_are_put_and_kept(void)
{
	_cleanup_free_ char *source = in_dir("source");
	struct setup_file files[] = {
	    FILE_("/etc/motd", "hello\n"),
	    FILE_("/opt/a/b/c/deep", "deep\n"),
	    FILE_("/opt/empty", ""),
	    FILE_("/opt/owned", "secret"),
	    FILE_("/opt/link", "../etc/motd"),
	    FILE_("/opt/from-host", ""),
	};
	struct setup_slice s = {.guest = session,
	    .root = "/mnt",
	    .files = files,
	    .n_files = ARRAY_SIZE(files)};

	NEED_GUEST();
	CHECK_INT(file_replace(AT_FDCWD, source, "source\n", 7, 0644), 0);
	files[3].mode = 0640;
	files[3].owner = "etcd:ssl";
	files[4].link = true;
	files[5].data = NULL;
	files[5].source = source;
	files[5].mode = 0755;
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(),
	    "files./etc/motd: missing\nfiles./opt/a/b/c/deep: missing\n"
	    "files./opt/empty: missing\nfiles./opt/owned: missing\n"
	    "files./opt/link: missing\nfiles./opt/from-host: missing\n");
	CHECK(!exists("/mnt/opt"));
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "");
	CHECK_STR(text_of("/mnt/etc/motd"), "hello\n");
	CHECK_STR(text_of("/mnt/opt/a/b/c/deep"), "deep\n");
	CHECK_STR(text_of("/mnt/opt/from-host"), "source\n");
	CHECK_INT(stat_of("/mnt/opt/from-host").st_mode, S_IFREG | 0755);
	CHECK_INT(stat_of("/mnt/opt/owned").st_uid, 77);
	CHECK_INT(stat_of("/mnt/opt/owned").st_gid, 79);
	CHECK_INT(stat_of("/mnt/opt/owned").st_mode, S_IFREG | 0640);
	CHECK_INT(stat_of("/mnt/opt/a/b").st_mode, S_IFDIR | 0755);
	CHECK_INT(stat_of("/mnt/opt/empty").st_size, 0);
	CHECK(S_ISLNK(stat_of("/mnt/opt/link").st_mode));
	CHECK_STR(text_of("/mnt/opt/link"), "hello\n");
	/* Another daemon finds nothing to do; and then what was changed. */
	open_setup();
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "");
	ino_t before = stat_of("/mnt/etc/motd").st_ino;
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_INT(stat_of("/mnt/etc/motd").st_ino, before);
	put("/mnt/etc/motd", "hellO\n");
	_cleanup_free_ char *owned = in_guest("/mnt/opt/owned");
	_cleanup_free_ char *empty = in_guest("/mnt/opt/empty");
	CHECK_INT(chmod(owned, 0644), 0);
	CHECK_INT(chown(empty, 5, 6), 0);
	CHECK_INT(file_replace(AT_FDCWD, source, "Source\n", 7, 0644), 0);
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "files./etc/motd: content differs\n"
			   "files./opt/empty: owner is 5:6, not root:root\n"
			   "files./opt/owned: mode is 0644, not 0640\n"
			   "files./opt/from-host: content differs\n");
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(text_of("/mnt/etc/motd"), "hello\n");
	CHECK_STR(text_of("/mnt/opt/from-host"), "Source\n");
	CHECK(!exists("/mnt/etc/.rackfs-new"));
	CHECK(!exists("/mnt/var/lib/rackfs/.rackfs-new"));
}

static void what_left_the_spec_goes(void)
{
	struct setup_file files[] = {
	    FILE_("/opt/one", "1"),
	    FILE_("/opt/two", "2"),
	    FILE_("/opt/changed", "3"),
	    FILE_("/opt/link", "one"),
	    FILE_("/opt/there", "there"),
	};
	struct setup_slice s = {.guest = session,
	    .root = "/mnt",
	    .files = files,
	    .n_files = ARRAY_SIZE(files)};

	NEED_GUEST();
	_cleanup_free_ char *opt = in_guest("/mnt/opt");
	CHECK_INT(mkdir_p(opt, 0755), 0);
	put("/mnt/opt/there", "there");
	files[3].link = true;
	ENSURE(SETUP_FILES, &s, 0);
	put("/mnt/opt/changed", "by somebody");
	s.n_files = 1;
	CHECK_INT(observe(&s), 0);
	CHECK_INT(count(items(), "not in the spec any more"), 3);
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "");
	CHECK(exists("/mnt/opt/one"));
	CHECK(!exists("/mnt/opt/two"));
	CHECK(!exists("/mnt/opt/link"));
	/* It was changed since; and one that was never ours. */
	CHECK_STR(text_of("/mnt/opt/changed"), "by somebody");
	CHECK(strstr(buf_str(&logged), "/opt/changed was changed"));
	CHECK_STR(text_of("/mnt/opt/there"), "there");
}

static void any_path_will_do(void)
{
	static const char *const names[] = {"a b", "it's", "\"q\"", "$HOME",
	    "`id`", "new\nline", "back\\slash", "-rf", "*", "tab\t", "%s%n",
	    "100%", "ü", ";reboot", ".hidden"};
	struct setup_file files[ARRAY_SIZE(names) + 1];
	struct setup_slice s = {.guest = session,
	    .root = "/mnt",
	    .files = files,
	    .n_files = ARRAY_SIZE(files)};
	char longest[256];

	NEED_GUEST();
	memset(longest, 'x', 255);
	longest[255] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		const char *name = i < ARRAY_SIZE(names) ? names[i] : longest;
		char *path = xasprintf("/opt/%s/%s/%s", name, name, name);

		files[i] = (struct setup_file)FILE_("/x", "text\n");
		files[i].path = files[i].key = path;
	}
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = xasprintf("/mnt%s", files[i].path);

		CHECK_STR(text_of(path), "text\n");
	}
	open_setup();
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "");
	s.n_files = 1;
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = xasprintf("/mnt%s", files[i].path);

		CHECK_INT(exists(path), i == 0);
		free((char *)files[i].path);
	}
}

static void what_is_in_the_way_is_told(void)
{
	struct setup_file file = FILE_("/opt/x", "text");
	struct setup_slice s = {
	    .guest = session, .root = "/mnt", .files = &file, .n_files = 1};

	NEED_GUEST();
	_cleanup_free_ char *folder = in_guest("/mnt/opt/x");
	_cleanup_free_ char *out = in_guest("/mnt/opt/out");
	_cleanup_free_ char *inside = in_guest("/mnt/opt/in");
	CHECK_INT(mkdir_p(folder, 0755), 0);
	ENSURE(SETUP_FILES, &s, -EISDIR);
	SAYS("/opt/x is a folder in the guest");
	CHECK_STR(items(), "files./opt/x: is a folder\n");
	file.path = "/opt/out/a/b";
	CHECK_INT(symlink("/etc", out), 0);
	ENSURE(SETUP_FILES, &s, -EXDEV);
	SAYS("/opt/out leads out, to /etc");
	CHECK(!exists("/etc/a"));
	file.path = "/opt/in/a/b";
	CHECK_INT(symlink("x", inside), 0);
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(text_of("/mnt/opt/x/a/b"), "text");
	put("/mnt/opt/file", "");
	file.path = "/opt/file/a/b";
	ENSURE(SETUP_FILES, &s, -ENOTDIR);
	SAYS("/opt/file is no folder");
	file.path = "/opt/owner";
	file.owner = "nobody-here:root";
	ENSURE(SETUP_FILES, &s, -EINVAL);
	SAYS("no user or group of its owner nobody-here:root");
	s.root = "/gone";
	file.owner = "0:0";
	ENSURE(SETUP_FILES, &s, -ENOENT);
	SAYS("/gone is not there");
}

static void host_files_that_are_not_there(void)
{
	_cleanup_free_ char *source = in_dir("gone");
	struct setup_file file = {.key = "files./opt/x",
	    .path = "/opt/x",
	    .source = source,
	    .mode = 0644,
	    .owner = "root:root"};
	struct setup_slice s = {
	    .guest = session, .root = "/mnt", .files = &file, .n_files = 1};

	NEED_GUEST();
	ENSURE(SETUP_FILES, &s, -ENOENT);
	SAYS(source);
	CHECK_INT(observe(&s), 0);
	CHECK(strstr(items(), "can't be read"));
	file.source = dir;
	ENSURE(SETUP_FILES, &s, -EINVAL);
	SAYS("is no regular file");
	file.source = "/dev/zero";
	ENSURE(SETUP_FILES, &s, -EINVAL);
}

/* Somebody writes it all the time. */
static void a_host_file_that_never_rests(void)
{
	_cleanup_free_ char *source = in_dir("busy");
	struct setup_file file = {.key = "files./opt/x",
	    .path = "/opt/x",
	    .source = source,
	    .mode = 0644,
	    .owner = "root:root"};
	struct setup_slice s = {
	    .guest = session, .root = "/mnt", .files = &file, .n_files = 1};
	pid_t pid;

	NEED_GUEST();
	int fd = open(source, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CHECK_INT(ftruncate(fd, 64 * MIB), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)!pwrite(fd, "x", 1, 0);
	}
	ENSURE(SETUP_FILES, &s, -EBUSY);
	SAYS("changes while it is read");
	end_process(pid);
	close(fd);
	CHECK(!exists("/mnt/opt/x"));
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_INT(stat_of("/mnt/opt/x").st_size, 64 * MIB);
	unlink(source);
}

static void a_big_file_is_not_read_again(void)
{
	_cleanup_free_ char *source = in_dir("big");
	struct setup_file file = {.key = "files./opt/big",
	    .path = "/opt/big",
	    .source = source,
	    .mode = 0755,
	    .owner = "root:root"};
	struct setup_slice s = {
	    .guest = session, .root = "/mnt", .files = &file, .n_files = 1};

	NEED_GUEST();
	_cleanup_free_ char *zeros = xcalloc(1, 5 * MIB);
	_cleanup_free_ char *tool = in_guest("/bin/sha256sum");
	_cleanup_free_ char *away = in_guest("/bin/away");
	CHECK_INT(file_replace(AT_FDCWD, source, zeros, 5 * MIB, 0644), 0);
	ENSURE(SETUP_FILES, &s, 0);
	CHECK(strstr(buf_str(&last.progress), "of 5 MiB"));
	/* Without the tool to read it with. */
	CHECK_INT(rename(tool, away), 0);
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "");
	CHECK_INT(rename(away, tool), 0);
	put("/mnt/opt/big", "small");
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "files./opt/big: content differs\n");
	unlink(source);
}

static void no_room_in_the_guest(void)
{
	struct setup_file file = FILE_("/opt/full/x", "");
	struct setup_slice s = {
	    .guest = session, .root = "/mnt", .files = &file, .n_files = 1};

	NEED_GUEST();
	_cleanup_free_ char *full = in_guest("/mnt/opt/full");
	_cleanup_free_ char *data = xcalloc(1, MIB);
	CHECK_INT(mkdir_p(full, 0755), 0);
	if (mount("none", full, "tmpfs", 0, "size=64k") < 0)
		SKIP("mounting is not allowed");
	file.data = data;
	file.len = MIB;
	ENSURE(SETUP_FILES, &s, -ENOSPC);
	SAYS("no room left in the guest");
	CHECK(!exists("/mnt/opt/full/x"));
	CHECK(!exists("/mnt/opt/full/.rackfs-new"));
	file.len = 10;
	CHECK_INT(
	    mount("none", full, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
	ENSURE(SETUP_FILES, &s, -EROFS);
	SAYS("read-only");
	CHECK_INT(umount(full), 0);
}

static void the_running_system_is_told(void)
{
	struct setup_file files[] = {
	    FILE_("/opt/a", "1"),
	    FILE_("/opt/b", "2"),
	    FILE_("/opt/c", "3"),
	    FILE_("/etc/systemd/system/x.service", "[Service]\n"),
	};
	struct setup_slice s = {.guest = session,
	    .root = "",
	    .systemd = true,
	    .files = files,
	    .n_files = ARRAY_SIZE(files)};

	NEED_GUEST();
	files[0].apply = files[1].apply = "echo ab >>/sysd/told";
	files[2].apply = "echo c >>/sysd/told; [ ! -e /sysd/no ]";
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(text_of("/sysd/told"), "ab\nc\n");
	CHECK_INT(count(text_of("/sysd/log"), "daemon-reload"), 1);
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(text_of("/sysd/told"), "ab\nc\n");
	/* One that fails is told again, though the files are right. */
	put("/sysd/no", "");
	files[2].data = "4";
	ENSURE(SETUP_FILES, &s, -EIO);
	SAYS("exit status 1");
	CHECK_STR(text_of("/opt/c"), "4");
	open_setup();
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "files: the system was not told of a change yet\n");
	_cleanup_free_ char *no = in_guest("/sysd/no");
	CHECK_INT(unlink(no), 0);
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "");
	CHECK_STR(text_of("/sysd/told"), "ab\nc\nc\nc\n");
	/* So is one whose file goes. */
	s.files = files + 1;
	s.n_files = 3;
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(text_of("/sysd/told"), "ab\nc\nc\nc\nab\n");
}

/* --- commands ------------------------------------------------------------ */

#define ARGV(...) ((char *const[]){__VA_ARGS__, NULL})
#define W(text)   (char *)(text)

static void commands_run_once_for_each_content(void)
{
	struct setup_run runs[] = {
	    {.name = "second",
		.command = ARGV(W("sh"), W("-c"), W("echo 2 >>/opt/ran"))},
	    {.name = "first",
		.command = ARGV(W("sh"), W("-c"),
		    W("echo 1 >>/opt/ran; echo said; echo pa$((1+1))sword"),
		    W("hidden-word"))},
	};
	struct setup_slice s = {
	    .guest = session, .root = "", .runs = runs, .n_runs = 2};

	NEED_GUEST();
	_cleanup_free_ char *opt = in_guest("/opt");
	CHECK_INT(mkdir_p(opt, 0755), 0);
	runs[0].after = ARGV(W("first"));
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(),
	    "run.second: has not run yet\nrun.first: has not run yet\n");
	ENSURE(SETUP_RUN, &s, 0);
	CHECK_STR(items(), "");
	CHECK_STR(text_of("/opt/ran"), "1\n2\n");
	CHECK(strstr(buf_str(&logged), "run.first: said\n"));
	CHECK(strstr(buf_str(&logged), "run.first: pa2sword\n"));
	CHECK(!strstr(buf_str(&logged), "hidden-word"));
	open_setup();
	ENSURE(SETUP_RUN, &s, 0);
	CHECK_STR(text_of("/opt/ran"), "1\n2\n");
	runs[0].command = ARGV(W("sh"), W("-c"), W("echo 3 >>/opt/ran"));
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "run.second: another command has run\n");
	ENSURE(SETUP_RUN, &s, 0);
	CHECK_STR(text_of("/opt/ran"), "1\n2\n3\n");
	/* Below another root nothing runs. */
	s.root = "/mnt";
	ENSURE(SETUP_RUN, &s, 0);
	CHECK_STR(text_of("/opt/ran"), "1\n2\n3\n");
}

static void commands_that_fail(void)
{
	struct setup_run runs[] = {
	    {.name = "one",
		.command = ARGV(W("sh"), W("-c"),
		    W("echo begin >&2; echo at the end >&2; exit 7"))},
	    {.name = "two", .command = ARGV(W("touch"), W("/opt/never"))},
	};
	struct setup_slice s = {
	    .guest = session, .root = "", .runs = runs, .n_runs = 2};

	NEED_GUEST();
	runs[1].after = ARGV(W("one"));
	ENSURE(SETUP_RUN, &s, -EIO);
	CHECK_STR(last.err.text, "run.one: exit status 7: at the end");
	CHECK(!exists("/opt/never"));
	runs[0].after = ARGV(W("two"));
	ENSURE(SETUP_RUN, &s, -ELOOP);
	runs[0].after = NULL;
	runs[0].command = ARGV(W("no-such-program"));
	ENSURE(SETUP_RUN, &s, -EIO);
	SAYS("exit status 127");
	SAYS("no-such-program");
	/* What goes on in the background holds nothing up. */
	runs[0].command =
	    ARGV(W("sh"), W("-c"), W("sleep 60 >/dev/null 2>&1 & :"));
	runs[1].command = ARGV(W("true"));
	ENSURE(SETUP_RUN, &s, 0);
	ENSURE(SETUP_RUN, &s, 0);
}

static void wait_for_log(const char *text)
{
	uint64_t until = now_mono() + LONG;

	while (!strstr(buf_str(&logged), text) && now_mono() < until)
		loop_turn(loop, 10 * USEC_PER_MSEC);
	CHECK(strstr(buf_str(&logged), text));
	buf_clear(&logged);
}

static void on_killed(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	CHECK_INT(status, 0);
	*(bool *)userdata = true;
}

static void a_command_is_cancelled(void)
{
	struct setup_run run = {.name = "one",
	    .command = ARGV(W("sh"), W("-c"), W("echo on; exec sleep 3600"))};
	struct setup_slice s = {
	    .guest = session, .root = "", .runs = &run, .n_runs = 1};
	struct op *op;
	bool ended = false;

	NEED_GUEST();
	_cleanup_free_ char *proc = in_guest("/proc");
	if (mount("proc", proc, "proc", 0, NULL) < 0)
		SKIP("mounting is not allowed");
	op = begin();
	CHECK_INT(
	    setup_ensure(driver(), setup, SETUP_RUN, &s, op, &last.err), 0);
	wait_for_log("run.one: on\n");
	op_cancel(op);
	CHECK_INT(end(0), -ECANCELED);
	/* It has ended: the lock is free. */
	run.command = ARGV(W("true"));
	ENSURE(SETUP_RUN, &s, 0);
	run.command = ARGV(W("sh"), W("-c"), W("echo last; exec sleep 3600"));
	/* At any moment. */
	for (int i = 0; i < 20; i++) {
		op = begin();
		CHECK_INT(
		    setup_ensure(driver(), setup, SETUP_RUN, &s, op, &last.err),
		    0);
		for (int k = 0; k < i; k++)
			loop_turn(loop, 3 * USEC_PER_MSEC);
		op_cancel(op);
		CHECK_INT(end(0), -ECANCELED);
	}
	op = begin();
	CHECK_INT(
	    setup_ensure(driver(), setup, SETUP_RUN, &s, op, &last.err), 0);
	buf_clear(&logged);
	wait_for_log("run.one: last\n");
	open_setup(); /* closes the other */
	turn_for(50 * USEC_PER_MSEC);
	CHECK(!last.fired);
	/* Then the command lives on, and would be waited for. */
	CHECK_INT(
	    ssh_run(session,
		&(struct ssh_run){.argv = ARGV(W("sh"), W("-c"),
				      W("kill -9 -$(cat /run/rackfs-run.*)")),
		    .done = on_killed,
		    .userdata = &ended},
		NULL, NULL),
	    0);
	turn_until(&ended, LONG);
	CHECK_INT(umount2(proc, MNT_DETACH), 0);
}

/* --- services ------------------------------------------------------------ */

#define UNIT(name, text) FILE_("/etc/systemd/system/" name ".service", text)

static void services_start_and_start_again(void)
{
	struct setup_file files[] = {
	    UNIT("web", "[Service]\n"),
	    UNIT("db", "[Service]\nslow\n"),
	    FILE_("/opt/web.conf", "1"),
	};
	struct setup_service services[] = {
	    {.name = "web", .required = true, .after = ARGV(W("db"))},
	    {.name = "db"},
	};
	struct setup_slice s = {.guest = session,
	    .root = "",
	    .systemd = true,
	    .files = files,
	    .n_files = 3,
	    .services = services,
	    .n_services = 2};

	NEED_GUEST();
	services[0].uses = ARGV(W("/opt/web.conf"));
	ENSURE(SETUP_SERVICES, &s, -ENOENT);
	SAYS("the guest has no unit db.service");
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(
	    items(), "services.web: not enabled\nservices.db: not enabled\n");
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_STR(items(), "");
	CHECK_STR(text_of("/sysd/started"), "db.service\nweb.service\n");
	CHECK_STR(text_of("/sysd/web.service.enabled"), "enabled\n");
	open_setup();
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_INT(count(text_of("/sysd/started"), "web.service"), 1);
	/* What it uses, its unit, and one that somebody stopped. */
	files[2].data = "2";
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "services.web: not started by rackfs\n");
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_INT(count(text_of("/sysd/started"), "web.service"), 2);
	CHECK_INT(count(text_of("/sysd/started"), "db.service"), 1);
	files[0].data = "[Service]\nnew";
	files[0].len = strlen(files[0].data);
	ENSURE(SETUP_FILES, &s, 0);
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_INT(count(text_of("/sysd/started"), "web.service"), 3);
	put("/sysd/db.service.active", "inactive\n");
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "services.db: inactive (x, success)\n");
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_INT(count(text_of("/sysd/started"), "db.service"), 2);
	/* db and its unit leave. */
	files[1] = files[2];
	s.n_files = 2;
	s.n_services = 1;
	services[0].after = NULL;
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "");
	CHECK(!exists("/etc/systemd/system/db.service"));
	CHECK_STR(text_of("/sysd/db.service.active"), "inactive\n");
	CHECK(!exists("/sysd/db.service.enabled"));
	/* web leaves, but its unit stays. */
	s.n_services = 0;
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "services.web: not in the spec any more\n");
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_STR(items(), "");
	CHECK_STR(text_of("/sysd/web.service.active"), "inactive\n");
}

static void services_that_fail(void)
{
	struct setup_file file = UNIT("web", "[Service]\ndies\n");
	struct setup_service services[] = {
	    {.name = "web", .required = true},
	    {.name = "other"},
	};
	struct setup_slice s = {.guest = session,
	    .root = "",
	    .systemd = true,
	    .files = &file,
	    .n_files = 1,
	    .services = services,
	    .n_services = 1};

	NEED_GUEST();
	ENSURE(SETUP_FILES, &s, 0);
	ENSURE(SETUP_SERVICES, &s, -EIO);
	CHECK_STR(last.err.text,
	    "services.web: the unit is failed (exit-code): first words of "
	    "web.service;and its last");
	CHECK_INT(observe(&s), 0);
	CHECK_STR(items(), "services.web: failed (x, exit-code)\n");
	/* Its own words of the last run say more; the end of many. */
	put("/sysd/web.service.invocation", "run1\n");
	put("/sysd/said.run1", "one\nno such port\n");
	ENSURE(SETUP_SERVICES, &s, -EIO);
	CHECK_STR(last.err.text,
	    "services.web: the unit is failed (exit-code): one;no such port");
	_cleanup_free_ char *words = xcalloc(1, 1000);
	memset(words, 'x', 900);
	memcpy(words + 880, "\xc3\xa4 the end\n", 12);
	put("/sysd/said.run1", words);
	ENSURE(SETUP_SERVICES, &s, -EIO);
	SAYS("(exit-code): xxx");
	SAYS("xxx\xc3\xa4 the end");
	CHECK(strlen(last.err.text) < 500);
	/* A unit that fails is told of, whether its check matters or not. */
	services[0].required = false;
	ENSURE(SETUP_SERVICES, &s, -EIO);
	CHECK(strstr(last.err.text, "web: the unit is failed"));
	CHECK_STR(items(), "");
	/* The next time it is tried again, and not just told of again. */
	size_t tries = count(text_of("/sysd/started"), "web.service");
	ENSURE(SETUP_SERVICES, &s, -EIO);
	CHECK_INT(count(text_of("/sysd/started"), "web.service"), tries + 1);
	put("/sysd/mended", "");
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_STR(text_of("/sysd/web.service.active"), "active\n");
	_cleanup_free_ char *mended = in_guest("/sysd/mended");
	CHECK_INT(unlink(mended), 0);
	services[0].after = ARGV(W("other"));
	services[1].after = ARGV(W("web"));
	s.n_services = 2;
	ENSURE(SETUP_SERVICES, &s, -ELOOP);
	s.systemd = false;
	ENSURE(SETUP_SERVICES, &s, -EOPNOTSUPP);
}

/* Answers from the second connection on. */
static void a_required_one_is_waited_for(void)
{
	struct setup_file file = UNIT("web", "[Service]\nslow\n");
	_cleanup_free_ char *check = NULL;
	struct setup_service service = {.name = "web", .required = true};
	struct setup_slice s = {.guest = session,
	    .root = "",
	    .systemd = true,
	    .files = &file,
	    .n_files = 1,
	    .services = &service,
	    .n_services = 1};
	uint16_t port = free_port();
	struct op *op;

	NEED_GUEST();
	check = xasprintf("tcp:%u", (unsigned)port);
	service.check = check;
	ENSURE(SETUP_FILES, &s, 0);
	op = begin();
	CHECK_INT(
	    setup_ensure(driver(), setup, SETUP_SERVICES, &s, op, &last.err),
	    0);
	uint64_t until = now_mono() + LONG;
	while (!strstr(buf_str(&last.progress), "waiting for services.web") &&
	       now_mono() < until)
		loop_turn(loop, 10 * USEC_PER_MSEC);
	CHECK(!last.fired);
	CHECK(strstr(buf_str(&last.progress), "refused"));
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_INT(listen(fd, 16), 0);
	CHECK_INT(end(0), 0);
	close(fd);
	service.check = "exec:test -e /opt/flag || { touch /opt/flag; false; }";
	_cleanup_free_ char *opt = in_guest("/opt");
	CHECK_INT(mkdir_p(opt, 0755), 0);
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK(exists("/opt/flag"));
	/* One that dies meanwhile ends the wait. */
	service.check = "exec:false";
	put("/sysd/web.service.active", "failed\n");
	file.data = "[Service]\ndies\n";
	ENSURE(SETUP_FILES, &s, 0);
	ENSURE(SETUP_SERVICES, &s, -EIO);
}

/* What systemd.unit(5) allows and asks for no escaping. */
static void instances_are_services(void)
{
	struct setup_file files[] = {
	    UNIT("job@", "[Service]\n[Install]\nWantedBy=a.target\n"),
	    UNIT("job@1:x.y", "[Service]\n"),
	};
	struct setup_service service = {.name = "job@1:x.y"};
	struct setup_slice s = {.guest = session,
	    .root = "/mnt",
	    .systemd = true,
	    .files = files,
	    .n_files = 1,
	    .services = &service,
	    .n_services = 1};
	char target[256] = "";

	NEED_GUEST();
	ENSURE(SETUP_FILES, &s, 0);
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_STR(items(), "");
	_cleanup_free_ char *link = in_guest(
	    "/mnt/etc/systemd/system/a.target.wants/job@1:x.y.service");
	CHECK(readlink(link, target, sizeof(target) - 1) > 0);
	CHECK_STR(target, "/etc/systemd/system/job@.service");
	s.root = "";
	s.n_files = 2;
	ENSURE(SETUP_FILES, &s, 0);
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_STR(text_of("/sysd/started"), "job@1:x.y.service\n");
	/* It starts again with its template. */
	files[0].data = "[Service]\nnew\n";
	files[0].len = strlen(files[0].data);
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "services.job@1:x.y: not started by rackfs\n");
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_INT(count(text_of("/sysd/started"), "job@1:x.y"), 2);
	s.n_services = 0;
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_STR(text_of("/sysd/job@1:x.y.service.active"), "inactive\n");
	CHECK_STR(items(), "");
}

static void services_below_another_root(void)
{
	struct setup_file files[] = {
	    UNIT("web",
		"[Service]\nWantedBy=no.target\n[Install]\n"
		"WantedBy=multi-user.target a.target\nRequiredBy = b.target\n"
		"Alias=www.service"),
	    FILE_("/opt/conf", "1"),
	};
	struct setup_service services[] = {{.name = "web"}, {.name = "x"}};
	struct setup_slice s = {.guest = session,
	    .root = "/mnt",
	    .systemd = true,
	    .files = files,
	    .n_files = 2,
	    .services = services,
	    .n_services = 1};

	NEED_GUEST();
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "services.web: not enabled\n");
	ENSURE(SETUP_SERVICES, &s, 0);
	CHECK_STR(items(), "");
#define SYSTEM "/mnt/etc/systemd/system/"
	CHECK(exists(SYSTEM "multi-user.target.wants/web.service"));
	CHECK(exists(SYSTEM "a.target.wants/web.service"));
	CHECK(exists(SYSTEM "b.target.requires/web.service"));
	CHECK(exists(SYSTEM "www.service"));
	CHECK(!exists(SYSTEM "no.target.wants"));
	_cleanup_free_ char *link =
	    in_guest(SYSTEM "multi-user.target.wants/web.service");
	char target[256] = "";
	CHECK(readlink(link, target, sizeof(target) - 1) > 0);
	CHECK_STR(target, "/etc/systemd/system/web.service");
	CHECK_STR(text_of("/sysd/log"), "(none)");
	s.n_services = 2;
	ENSURE(SETUP_SERVICES, &s, -EIO);
	SAYS("there is no unit x.service");
	s.n_services = 0;
	s.n_files = 0;
	ENSURE(SETUP_FILES, &s, 0);
	CHECK(!exists(SYSTEM "multi-user.target.wants/web.service"));
	CHECK(!exists(SYSTEM "web.service"));
	CHECK_STR(items(), "");
}

/* --- limits -------------------------------------------------------------- */

static void many_files_in_few_round_trips(void)
{
	enum { N = 300 };
	static struct setup_file files[N];
	struct setup_slice s = {
	    .guest = session, .root = "/mnt", .files = files, .n_files = N};

	NEED_GUEST();
	for (int i = 0; i < N; i++) {
		files[i] = (struct setup_file)FILE_("/x", "text");
		files[i].path = files[i].key =
		    xasprintf("/opt/%d/%d", i % 7, i);
	}
	ENSURE(SETUP_FILES, &s, 0);
	CHECK_STR(items(), "");
	CHECK_STR(text_of("/mnt/opt/6/293"), "text");
	CHECK_INT(count(buf_str(&logged), "files: sent"), 1);
	for (int i = 0; i < N; i++)
		free((char *)files[i].path);
}

static void bad_slices_are_refused(void)
{
	struct setup_file files[] = {FILE_("/opt/x", ""), FILE_("/opt/x", "")};
	struct setup_service service = {.name = "a;b"};
	struct setup_slice s = {.guest = session, .files = files, .n_files = 2};

	NEED_GUEST();
	CHECK_INT(observe(&s), -EINVAL);
	SAYS("set twice");
	files[0].path = "relative";
	CHECK_INT(observe(&s), -EINVAL);
	s = (struct setup_slice){
	    .guest = session, .services = &service, .n_services = 1};
	CHECK_INT(observe(&s), -EINVAL);
	service.name = ".web";
	CHECK_INT(observe(&s), -EINVAL);
}

static const struct test_case cases[] = {
    CASE(files_are_put_and_kept),
    CASE(what_left_the_spec_goes),
    CASE(any_path_will_do),
    CASE(what_is_in_the_way_is_told),
    CASE(host_files_that_are_not_there),
    CASE(a_host_file_that_never_rests),
    CASE(a_big_file_is_not_read_again),
    CASE(no_room_in_the_guest),
    CASE(the_running_system_is_told),
    CASE(commands_run_once_for_each_content),
    CASE(commands_that_fail),
    CASE(a_command_is_cancelled),
    CASE(services_start_and_start_again),
    CASE(services_that_fail),
    CASE(a_required_one_is_waited_for),
    CASE(instances_are_services),
    CASE(services_below_another_root),
    CASE(many_files_in_few_round_trips),
    CASE(bad_slices_are_refused),
};

/* --- a guest ------------------------------------------------------------- */

static bool make_guest(const char *kind)
{
	const char *root = getenv("ROOT");
	_cleanup_free_ char *script =
	    xasprintf("%s/tests/guest_root", root ? root : ".");
	_cleanup_free_ char *log = in_dir("guest.log");
	char *argv[] = {W("/bin/sh"), script, guest, W(kind),
	    getpwuid(geteuid())->pw_shell, NULL};
	int status = -1;

	waitpid(start(argv, log), &status, 0);
	if (status == 0)
		return true;
	why_not = "a guest's root file system can't be made";
	return false;
}

static void open_session(void)
{
	struct ssh_target t = target_of(sshd_port);
	static struct seen x;

	open_target(&x, &t);
	turn_until(&x.connected, LONG);
	CHECK_INT(x.code, 0);
	session = x.s;
}

static int run_all(const char *kind)
{
	char name[100];
	int bad = 0;

	const char *before = why_not;

	if (!why_not && make_guest(kind))
		open_session();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(name, sizeof(name), "%s_%s", kind, cases[i].name);
		bad |= test_main(&(struct test_case){name, cases[i].run}, 1);
	}
	driver()->close(setup);
	setup = NULL;
	ssh_close(session);
	session = NULL;
	why_not = before;
	if (guest && *guest)
		remove_tree(AT_FDCWD, guest);
	return bad;
}

int main(void)
{
	int bad;
	_cleanup_free_ char *more = NULL;

	guest = xasprintf("%s", "");
	if (geteuid() != 0) {
		why_not = "only root can run commands in a root of their own";
	} else {
		free(guest);
		guest = xasprintf("/run/test_setup.%d", (int)getpid());
		/* Each folder above must be root's alone. */
		more = xasprintf("ChrootDirectory %s\n", guest);
		sshd_more = more;
	}
	set_up();
	if (!why_not)
		why_not = no_sshd;
	env = (struct driver_env){.loop = loop,
	    .name = "node01",
	    .number = 1,
	    .state_dir = dir,
	    .runtime_dir = dir,
	    .log = on_log};
	bad = run_all("busybox");
	bad |= run_all("coreutils");
	tear_down();
	buf_done(&logged);
	buf_done(&last.progress);
	free(guest);
	return bad;
}
