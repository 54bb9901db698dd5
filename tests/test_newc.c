/* SPDX-License-Identifier: Apache-2.0
 *
 * Identity archives: read back by libarchive and, where it is installed, by
 * cpio; the frame; errors.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/newc.h"
#include "identity.h"
#include "test.h"

static int make(struct buf *ret, struct err *err)
{
	struct newc *n = newc_new();

	newc_add(n, "etc/hostname", 0644, "node01\n", 7);
	newc_add(n, "root/.ssh", S_IFDIR | 0700, NULL, 0);
	newc_add(n, "root/.ssh/authorized_keys", 0600, "key\n", 4);
	newc_add(n, "etc/empty", 0644, NULL, 0);
	newc_add(n, "etc/link", S_IFLNK | 0777, "hostname", 8);
	newc_add(n, "etc/odd\xff name", 0644, "abc", 3);
	return newc_finish(n, ret, err);
}

/* "path mode size nlink\n" of every entry; checks what all have in common. */
static void list(const struct buf *b, struct buf *ret)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;

	CHECK_INT(archive_read_support_format_cpio(a), ARCHIVE_OK);
	CHECK_INT(archive_read_open_memory(a, b->data, b->len), ARCHIVE_OK);
	CHECK(archive_read_next_header(a, &e) == ARCHIVE_OK);
	CHECK_INT(archive_format(a), ARCHIVE_FORMAT_CPIO_SVR4_NOCRC);
	do {
		CHECK_INT(archive_entry_mtime(e), 0);
		CHECK_INT(archive_entry_uid(e), 0);
		CHECK_INT(archive_entry_gid(e), 0);
		buf_printf(ret, "%s %o %d %u\n", archive_entry_pathname(e),
		    archive_entry_mode(e), (int)archive_entry_size(e),
		    archive_entry_nlink(e));
	} while (archive_read_next_header(a, &e) == ARCHIVE_OK);
	archive_read_free(a);
}

static const char expected[] = "etc 40755 0 2\n"
			       "etc/hostname 100644 7 1\n"
			       "root 40755 0 2\n"
			       "root/.ssh 40700 0 2\n"
			       "root/.ssh/authorized_keys 100600 4 1\n"
			       "etc/empty 100644 0 1\n"
			       "etc/link 120777 8 1\n"
			       "etc/odd\xff name 100644 3 1\n";

static void reads_back(void)
{
	_cleanup_buf_ struct buf b = {0}, again = {0}, text = {0};

	CHECK_INT(make(&b, NULL), 0);
	list(&b, &text);
	CHECK_STR(buf_str(&text), expected);
	/* No padding but to the next four bytes, and the same every time. */
	CHECK_INT(b.len % 4, 0);
	CHECK(b.len < 2048);
	CHECK_INT(make(&again, NULL), 0);
	CHECK(b.len == again.len && memcmp(b.data, again.data, b.len) == 0);
}

static int run_cpio(const char *dir, const struct buf *b)
{
	int in[2], status;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		if (dup2(in[0], 0) < 0 || chdir(dir) < 0)
			_exit(126);
		execlp("cpio", "cpio", "-i", "--quiet",
		    "--no-absolute-filenames", NULL);
		_exit(errno == ENOENT ? 77 : 126);
	}
	close(in[0]);
	CHECK_INT(write_all(in[1], b->data, b->len), 0);
	close(in[1]);
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void cpio_unpacks_it(void)
{
	char dir[] = "/tmp/test_newc.XXXXXX", link[32] = "";
	_cleanup_buf_ struct buf b = {0}, text = {0};
	struct stat st;
	int fd, rc;

	CHECK(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(make(&b, NULL), 0);
	signal(SIGPIPE, SIG_IGN);
	rc = run_cpio(dir, &b);
	if (rc != 77) {
		CHECK_INT(rc, 0);
		CHECK_INT(file_read(fd, "etc/hostname", 100, &text), 0);
		CHECK_STR(buf_str(&text), "node01\n");
		CHECK_INT(fstatat(fd, "root/.ssh/authorized_keys", &st, 0), 0);
		CHECK_INT(st.st_mode, S_IFREG | 0600);
		CHECK_INT(readlinkat(fd, "etc/link", link, sizeof(link)), 8);
		CHECK_STR(link, "hostname");
	}
	close(fd);
	CHECK_INT(remove_tree(AT_FDCWD, dir), 0);
	if (rc == 77)
		SKIP("cpio is not installed");
}

static void bad_paths_are_refused(void)
{
	static const char *const bad[] = {
	    "", "/etc", "..", "etc/../x", "./etc", "etc//x", "etc/", "etc/."};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_buf_ struct buf b = {0};
		struct err err = ERR_INIT;
		struct newc *n = newc_new();

		newc_add(n, bad[i], 0644, "x", 1);
		newc_add(n, "etc/fine", 0644, "x", 1);
		CHECK_INT(newc_finish(n, &b, &err), -EINVAL);
		CHECK_INT(err.code, -EINVAL);
		CHECK(strstr(err.text, "relative path"));
		CHECK_INT(b.len, 0);
	}
}

static void too_large_is_refused(void)
{
	_cleanup_buf_ struct buf b = {0};
	enum { limit = IDENTITY_MAX };
	_cleanup_free_ char *data = xcalloc(1, limit);
	struct err err = ERR_INIT;
	struct newc *n = newc_new();

	newc_add(n, "small", 0644, data, 1);
	newc_add(n, "large", 0644, data, limit);
	CHECK_INT(newc_finish(n, &b, &err), -EFBIG);
	CHECK(strstr(err.text, "large"));
	CHECK_INT(b.len, 0);
}

static void crc_is_that_of_zlib(void)
{
	CHECK_INT(newc_crc32("", 0), 0);
	CHECK_INT(newc_crc32("123456789", 9), 0xcbf43926);
	CHECK_INT(newc_crc32("\0\0\0\0", 4), 0x2144df1c);
}

static void frame(void)
{
	_cleanup_buf_ struct buf b = {0}, f = {0};

	buf_puts(&b, "123456789");
	newc_frame(&b, &f);
	CHECK_STR(buf_str(&f), "RACKFS-IDENTITY 9 cbf43926\n123456789");
}

static const struct test_case cases[] = {
    CASE(reads_back),
    CASE(cpio_unpacks_it),
    CASE(bad_paths_are_refused),
    CASE(too_large_is_refused),
    CASE(crc_is_that_of_zlib),
    CASE(frame),
};
TEST_MAIN(cases)
