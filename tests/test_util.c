/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "test.h"
#include "util.h"

static char dir[PATH_MAX];

static const char *in_dir(const char *name)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void test_buf(void)
{
	struct buf b = {0};
	_cleanup_free_ char *s = NULL;

	CHECK_STR(buf_str(&b), "");
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	CHECK_INT(b.len, 3890);
	CHECK(strncmp(buf_str(&b), "0,1,2,", 6) == 0);
	CHECK_STR(buf_str(&b) + b.len - 8, "998,999,");
	buf_clear(&b);
	CHECK_STR(buf_str(&b), "");
	buf_append(&b, "a\0b", 3);
	CHECK_INT(b.len, 3);
	CHECK(b.data[3] == '\0');
	s = buf_take(&b);
	CHECK(memcmp(s, "a\0b", 4) == 0);
	free(s);
	s = buf_take(&b);
	CHECK_STR(s, "");
	buf_done(&b);
}

static void check_json(const char *in, const char *out)
{
	_cleanup_buf_ struct buf b = {0};

	buf_json_string(&b, in);
	CHECK_STR(buf_str(&b), out);
}

#define BAD "\xef\xbf\xbd"

static void test_json_string(void)
{
	check_json("", "\"\"");
	check_json("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
	check_json("\b\f\n\r\t\x01\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u007f\"");
	check_json("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
	    "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	check_json("\xff", "\"" BAD "\"");
	check_json("\xc0\xaf", "\"" BAD BAD "\"");         /* overlong */
	check_json("\xe0\x80\xaf", "\"" BAD BAD BAD "\""); /* overlong */
	check_json("\xed\xa0\x80", "\"" BAD BAD BAD "\""); /* surrogate */
	check_json("\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\"");
	check_json("\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"");
	check_json("a\xe2\x82", "\"a" BAD BAD "\""); /* cut off */
	check_json("\xe2x", "\"" BAD "x\"");
}

static void check_escaped(const char *in, const char *out)
{
	_cleanup_buf_ struct buf b = {0};

	buf_escaped(&b, in, strlen(in));
	CHECK_STR(buf_str(&b), out);
}

static void test_escaped(void)
{
	_cleanup_buf_ struct buf b = {0};

	check_escaped("plain\ttext\n", "plain\ttext\n");
	check_escaped("\x1b[31m\r", "\\x1b[31m\\x0d");
	check_escaped("\xc2\x9b"
		      "31m",
	    "\\xc2\\x9b31m"); /* CSI as UTF-8 */
	check_escaped("\x9b"
		      "31m",
	    "\\x9b31m"); /* and alone */
	check_escaped("\xc2\xa0\xc3\xa4", "\xc2\xa0\xc3\xa4");
	buf_escaped(&b, "\0", 1);
	CHECK_STR(buf_str(&b), "\\x00");
}

static void test_strv(void)
{
	char **v = strv_new("a", "b", NULL), **copy;

	strv_pushf(&v, "%d", 3);
	CHECK_INT(strv_len(v), 3);
	copy = strv_copy(v);
	strv_free(v);
	CHECK_STR(copy[2], "3");
	CHECK(!copy[3]);
	strv_free(copy);
	strv_free(NULL);
	CHECK_INT(strv_len(NULL), 0);
	v = NULL;
	strv_push(&v, "x");
	CHECK_STR(v[0], "x");
	strv_freep(&v);
	CHECK(!v);
}

/* A shell must give back the very words. */
static void test_quote(void)
{
	_cleanup_strv_ char **v = strv_new("printf", "%s\\n", "", "a b", "it's",
	    "$HOME", "`id`", "x=1", "~", "a\nb", "*", "-drive", "\\", "#", "!",
	    "\"", "{a,b}", ";", "&", NULL);
	_cleanup_free_ char *line = strv_quote(v);
	_cleanup_buf_ struct buf want = {0}, got = {0};
	char piece[256];
	FILE *f;

	for (size_t i = 2; v[i]; i++)
		buf_printf(&want, "%s\n", v[i]);
	f = popen(line, "r");
	CHECK(f);
	while (f && fgets(piece, sizeof(piece), f))
		buf_puts(&got, piece);
	CHECK_INT(f ? pclose(f) : -1, 0);
	CHECK_STR(buf_str(&got), buf_str(&want));
}

static void test_quote_plain(void)
{
	char *plain[] = {"qemu", "-m", "512M", "a=b,c:d", NULL};
	char *assign[] = {"A=b", NULL}, *word[] = {"if", NULL};
	char *none[] = {NULL};
	_cleanup_free_ char *a = strv_quote(plain), *b = strv_quote(assign),
			    *c = strv_quote(word), *d = strv_quote(none);

	CHECK_STR(a, "qemu -m 512M a=b,c:d");
	CHECK_STR(b, "'A=b'");
	CHECK_STR(c, "'if'");
	CHECK_STR(d, "");
}

static void test_file_read(void)
{
	_cleanup_buf_ struct buf b = {0};

	CHECK_INT(file_read(AT_FDCWD, in_dir("none"), 10, &b), -ENOENT);
	CHECK(!b.data);
	CHECK_INT(
	    file_replace(AT_FDCWD, in_dir("f"), "1234567890", 10, 0640), 0);
	CHECK_INT(file_read(AT_FDCWD, in_dir("f"), 9, &b), -EFBIG);
	CHECK(!b.data);
	CHECK_INT(file_read(AT_FDCWD, in_dir("f"), 10, &b), 0);
	CHECK_STR(buf_str(&b), "1234567890");
	CHECK_INT(file_replace(AT_FDCWD, in_dir("f"), "", 0, 0640), 0);
	CHECK_INT(file_read(AT_FDCWD, in_dir("f"), 0, &b), 0);
	CHECK_INT(b.len, 0);
	CHECK_INT(file_read(AT_FDCWD, dir, 10, &b), -EISDIR);
	/* Size 0 by stat(2), yet not empty. */
	CHECK_INT(file_read(AT_FDCWD, "/proc/self/stat", 4096, &b), 0);
	CHECK(b.len > 20);
	/* Nobody writes: no wait. */
	CHECK_INT(mkfifo(in_dir("fifo"), 0600), 0);
	CHECK_INT(file_read(AT_FDCWD, in_dir("fifo"), 10, &b), 0);
}

static void test_file_replace(void)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_buf_ struct buf b = {0};
	mode_t old = umask(077);
	struct stat st;

	CHECK_INT(file_replace(fd, "g", "old", 3, 0644), 0);
	CHECK_INT(file_replace(fd, "g", "newer", 5, 0644), 0);
	umask(old);
	CHECK_INT(file_read(fd, "g", 99, &b), 0);
	CHECK_STR(buf_str(&b), "newer");
	CHECK_INT(stat(in_dir("g"), &st), 0);
	CHECK_INT(st.st_mode & 07777, 0644);
	CHECK_INT(file_replace(fd, "none/g", "x", 1, 0644), -ENOENT);
	/* A folder is in the way: nothing is left behind. */
	CHECK_INT(mkdir_p(in_dir("d/g/x"), 0700), 0);
	CHECK_INT(file_replace(fd, "d/g", "x", 1, 0644), -EISDIR);
	CHECK_INT(remove_tree(fd, "d/g"), 0);
	CHECK_INT(unlinkat(fd, "d", AT_REMOVEDIR), 0);
}

static void test_mkdir_p(void)
{
	struct stat st;

	CHECK_INT(mkdir_p(in_dir("m/n//o/"), 0700), 0);
	CHECK_INT(mkdir_p(in_dir("m/n/o"), 0700), 0);
	CHECK_INT(stat(in_dir("m/n/o"), &st), 0);
	CHECK(S_ISDIR(st.st_mode));
	CHECK_INT(file_replace(AT_FDCWD, in_dir("m/file"), "", 0, 0600), 0);
	CHECK_INT(mkdir_p(in_dir("m/file"), 0700), -ENOTDIR);
	CHECK_INT(mkdir_p(in_dir("m/file/x"), 0700), -ENOTDIR);
	CHECK_INT(mkdir_p("", 0700), -ENOENT);
	CHECK_INT(mkdir_p("/", 0700), 0);
}

static void test_remove_tree(void)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK_INT(remove_tree(fd, "never"), 0);
	CHECK_INT(mkdir_p(in_dir("t/a/b/c"), 0700), 0);
	CHECK_INT(mkdir_p(in_dir("safe"), 0700), 0);
	CHECK_INT(file_replace(fd, "t/a/f", "x", 1, 0400), 0);
	CHECK_INT(file_replace(fd, "safe/f", "x", 1, 0400), 0);
	CHECK_INT(symlinkat("../../safe", fd, "t/a/link"), 0);
	CHECK_INT(remove_tree(fd, "t"), 0);
	CHECK_INT(access(in_dir("t"), F_OK), -1);
	CHECK_INT(access(in_dir("safe/f"), F_OK), 0);
	/* Of a link, the link. */
	CHECK_INT(symlinkat("safe", fd, "l"), 0);
	CHECK_INT(remove_tree(fd, "l"), 0);
	CHECK_INT(access(in_dir("safe/f"), F_OK), 0);
}

static void test_format_time(void)
{
	char out[32];

	format_time(0, out);
	CHECK_STR(out, "1970-01-01T00:00:00.000000Z");
	format_time(1767323045678901ULL, out);
	CHECK_STR(out, "2026-01-02T03:04:05.678901Z");
	format_time(253402300799999999ULL, out);
	CHECK_STR(out, "9999-12-31T23:59:59.999999Z");
	format_time(UINT64_MAX, out);
	CHECK_STR(out, "-");
}

static void test_random_uuid(void)
{
	char a[37], b[37];

	random_uuid(a);
	random_uuid(b);
	CHECK_INT(strlen(a), 36);
	CHECK(!STREQ(a, b));
	CHECK(a[14] == '4');
	CHECK(strchr("89ab", a[19]));
	CHECK(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
}

/* The vectors of the FNV draft. */
static void test_hash(void)
{
	CHECK(hash_bytes("", 0) == 0xcbf29ce484222325ULL);
	CHECK(hash_bytes("a", 1) == 0xaf63dc4c8601ec8cULL);
	CHECK(hash_bytes("foobar", 6) == 0x85944171f73967e8ULL);
}

static void test_closep(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), was = fd;

	errno = EXDEV;
	util_closep(&fd);
	CHECK_INT(errno, EXDEV);
	CHECK_INT(fd, -1);
	CHECK_INT(fcntl(was, F_GETFD), -1);
	util_closep(&fd);
}

int main(void)
{
	static const struct test_case cases[] = {
	    CASE(test_buf),
	    CASE(test_json_string),
	    CASE(test_escaped),
	    CASE(test_strv),
	    CASE(test_quote),
	    CASE(test_quote_plain),
	    CASE(test_file_read),
	    CASE(test_file_replace),
	    CASE(test_mkdir_p),
	    CASE(test_remove_tree),
	    CASE(test_format_time),
	    CASE(test_random_uuid),
	    CASE(test_hash),
	    CASE(test_closep),
	};
	const char *tmp = getenv("TMPDIR");
	int rc;

	snprintf(dir, sizeof(dir), "%s/test_util.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		return 1;
	rc = test_main(cases, ARRAY_SIZE(cases));
	remove_tree(AT_FDCWD, dir);
	return rc;
}
