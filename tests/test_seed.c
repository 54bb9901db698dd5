/* SPDX-License-Identifier: Apache-2.0
 *
 * The NoCloud disk, read back by another program than the one that wrote it.
 */
#include "host/seed.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "test.h"

static char dir[] = "/tmp/test_seed.XXXXXX";

/* "name=text;" of each file, in the order of the disk. */
static void read_back(const char *path, struct buf *ret)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char text[4096];

	CHECK_INT(archive_read_support_format_iso9660(a), ARCHIVE_OK);
	CHECK_INT(archive_read_open_filename(a, path, 2048), ARCHIVE_OK);
	while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
		if (archive_entry_filetype(e) != AE_IFREG)
			continue;
		la_ssize_t n = archive_read_data(a, text, sizeof(text));
		CHECK(n >= 0);
		buf_printf(ret, "%s=%.*s;", archive_entry_pathname(e),
		    (int)MAX(n, 0), text);
	}
	archive_read_free(a);
}

/* ECMA-119, 8.4: the primary volume descriptor is sector 16, and its volume
 * identifier the 32 bytes at 40. */
static void the_label_is_there(const char *path)
{
	char sector[2048];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK_INT(pread(fd, sector, sizeof(sector), 16L * 2048), 2048);
	CHECK(memcmp(sector, "\1CD001", 6) == 0);
	CHECK(memcmp(sector + 40, "cidata    ", 10) == 0 ||
	      memcmp(sector + 40, "CIDATA    ", 10) == 0);
	close(fd);
}

static void a_seed_is_read_back(void)
{
	_cleanup_free_ char *path = xasprintf("%s/seed", dir);
	_cleanup_buf_ struct buf files = {0}, fewer = {0};
	struct err err = ERR_INIT;
	struct stat st;

	CHECK_INT(seed_write(path, "#cloud-config\nusers: []\n",
		      "instance-id: one\n", "version: 2\n", &err),
	    0);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode, S_IFREG | 0600);
	the_label_is_there(path);
	read_back(path, &files);
	CHECK(strstr(buf_str(&files), "user-data=#cloud-config\nusers: []\n;"));
	CHECK(strstr(buf_str(&files), "meta-data=instance-id: one\n;"));
	CHECK(strstr(buf_str(&files), "network-config=version: 2\n;"));
	/* Over the old one; what there is not is empty or left out. */
	CHECK_INT(seed_write(path, NULL, "instance-id: two\n", NULL, &err), 0);
	read_back(path, &fewer);
	CHECK(strstr(buf_str(&fewer), "user-data=;"));
	CHECK(strstr(buf_str(&fewer), "meta-data=instance-id: two\n;"));
	CHECK(!strstr(buf_str(&fewer), "network-config"));
}

static void what_cant_be_written_is_told(void)
{
	_cleanup_free_ char *path = xasprintf("%s/none/seed", dir);
	struct err err = ERR_INIT;

	CHECK_INT(seed_write(path, "", "", NULL, &err), -ENOENT);
	CHECK(strstr(err.text, path));
}

static const struct test_case cases[] = {
    CASE(a_seed_is_read_back),
    CASE(what_cant_be_written_is_told),
};

int main(void)
{
	int rc;

	if (!mkdtemp(dir))
		return 1;
	rc = test_main(cases, ARRAY_SIZE(cases));
	remove_tree(AT_FDCWD, dir);
	return rc;
}
