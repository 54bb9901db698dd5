/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole files and trees.  Nothing here is synced to the disk: what must
 * survive a power cut is the store's business.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

#define READ_PIECE     ((size_t)(64 * KIB))
#define TREE_DEPTH_MAX 64 /* one descriptor each */

int file_read(int dirfd, const char *path, size_t max, struct buf *ret)
{
	_cleanup_close_ int fd = -1;
	_cleanup_buf_ struct buf b = {0};
	_cleanup_free_ char *piece = NULL;

	/* O_NONBLOCK: a FIFO of that name must not stop the daemon. */
	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	piece = xmalloc(READ_PIECE);
	for (;;) {
		ssize_t n = read(fd, piece, READ_PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		if ((size_t)n > max - b.len)
			return -EFBIG;
		buf_append(&b, piece, (size_t)n);
	}
	buf_append(&b, "", 0);
	buf_done(ret);
	*ret = b;
	b = (struct buf){0};
	return 0;
}

int write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int replace(int dirfd, const char *path, const void *data, size_t len,
    mode_t mode, bool sync)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *tmp = NULL;
	const char *slash = strrchr(path, '/');
	uint64_t r;
	int rc;

	random_bytes(&r, sizeof(r));
	tmp = xasprintf("%.*s.tmp-%016llx", slash ? (int)(slash + 1 - path) : 0,
	    path, (unsigned long long)r);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, data, len);
	/* The mode is exact, whatever the umask. */
	if (!rc && (fchmod(fd, mode) < 0 || (sync && fsync(fd) < 0)))
		rc = -errno;
	if (!rc && renameat(dirfd, tmp, dirfd, path) < 0)
		rc = -errno;
	if (rc)
		unlinkat(dirfd, tmp, 0);
	return rc;
}

int file_replace(
    int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	return replace(dirfd, path, data, len, mode, false);
}

int file_replace_synced(
    const char *path, const void *data, size_t len, mode_t mode)
{
	int rc = replace(AT_FDCWD, path, data, len, mode, true);

	return rc ? rc : sync_folder_of(path);
}

int sync_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder =
	    slash ? xasprintf("%.*s", (int)(slash + 1 - path), path)
		  : xstrdup(".");
	_cleanup_close_ int fd =
	    open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int mkdir_one(const char *path, mode_t mode)
{
	struct stat st;
	int rc;

	if (mkdir(path, mode) == 0)
		return 0;
	rc = -errno;
	/* Also EROFS and EACCES are said of a folder that exists. */
	if (stat(path, &st) < 0)
		return rc;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int mkdir_p(const char *path, mode_t mode)
{
	_cleanup_free_ char *p = xstrdup(path);

	if (!*p)
		return -ENOENT;
	for (char *at = p + 1; *at; at++) {
		int rc;

		if (*at != '/' || at[-1] == '/')
			continue;
		*at = '\0';
		rc = mkdir_one(p, mode);
		*at = '/';
		if (rc)
			return rc;
	}
	return mkdir_one(p, mode);
}

/* `dev`: the file system that the tree began on.  What is mounted inside
 * belongs to somebody else. */
static int remove_at(int dirfd, const char *name, dev_t dev, int depth)
{
	struct dirent *e;
	struct stat st;
	DIR *dir;
	int fd, rc = 0;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth > TREE_DEPTH_MAX)
		return -ELOOP;
	fd = openat(
	    dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (depth && st.st_dev != dev)
		rc = -EBUSY;
	dir = rc ? NULL : fdopendir(fd);
	if (!dir) {
		rc = rc ? rc : -errno;
		close(fd);
		return rc;
	}
	while ((e = readdir(dir))) {
		int one;

		if (STREQ(e->d_name, ".") || STREQ(e->d_name, ".."))
			continue;
		one = remove_at(fd, e->d_name, st.st_dev, depth + 1);
		rc = rc ? rc : one;
	}
	closedir(dir);
	if (!rc && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		rc = -errno;
	return rc;
}

int remove_tree(int dirfd, const char *path)
{
	return remove_at(dirfd, path, 0, 0);
}
