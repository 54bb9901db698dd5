/* SPDX-License-Identifier: Apache-2.0
 *
 * newc archives by libarchive.  The same entries give the same bytes: mtime
 * 0, root's, inode numbers counted from 1, no padding to tape blocks.  An
 * entry that can't be taken is kept as an error and told by newc_finish(), so
 * that callers need not look at every one.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <zlib.h>

#include "host/newc.h"
#include "identity.h"

enum { ARCHIVE_MAX = IDENTITY_MAX };

struct newc {
	struct archive *archive;
	struct buf out;
	char **folders; /* that are in the archive already */
	int64_t inode;
	int code; /* of the first error */
	struct err err;
};

static la_ssize_t newc_write(
    struct archive *a, void *userdata, const void *data, size_t len)
{
	struct newc *n = userdata;

	if (len > ARCHIVE_MAX - n->out.len) {
		archive_set_error(a, EFBIG, "more than %d bytes", ARCHIVE_MAX);
		return -1;
	}
	buf_append(&n->out, data, len);
	return (la_ssize_t)len;
}

static int newc_fail(struct newc *n, int code, const char *path)
{
	const char *why = archive_error_string(n->archive);

	if (!n->code)
		n->code = err_set(&n->err, code, "archive: %s%s%s", path,
		    *path ? ": " : "", why ? why : "can't be added");
	return n->code;
}

struct newc *newc_new(void)
{
	struct newc *n = xcalloc(1, sizeof(*n));

	n->archive = archive_write_new();
	if (!n->archive)
		abort();
	/* Unpadded: the size is part of the frame. */
	if (archive_write_set_format_cpio_newc(n->archive) != ARCHIVE_OK ||
	    archive_write_add_filter_none(n->archive) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(n->archive, 0) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(n->archive, 1) !=
		ARCHIVE_OK ||
	    archive_write_open(n->archive, n, NULL, newc_write, NULL) !=
		ARCHIVE_OK)
		newc_fail(n, -ENOTSUP, "");
	return n;
}

static void newc_entry(
    struct newc *n, const char *path, mode_t mode, const void *data, size_t len)
{
	struct archive_entry *e = archive_entry_new();
	_cleanup_free_ char *target = NULL;

	if (!e)
		abort();
	archive_entry_set_pathname(e, path);
	archive_entry_set_mode(e, mode);
	archive_entry_set_ino64(e, ++n->inode);
	archive_entry_set_nlink(e, S_ISDIR(mode) ? 2 : 1);
	archive_entry_set_mtime(e, 0, 0);
	archive_entry_set_uid(e, 0);
	archive_entry_set_gid(e, 0);
	archive_entry_set_size(e, 0);
	if (S_ISLNK(mode)) {
		target = xstrndup(data, len);
		archive_entry_set_symlink(e, target);
	} else if (S_ISREG(mode)) {
		archive_entry_set_size(e, (la_int64_t)len);
	}
	if (archive_write_header(n->archive, e) != ARCHIVE_OK)
		newc_fail(n, -EFBIG, path);
	else if (S_ISREG(mode) && len &&
		 archive_write_data(n->archive, data, len) != (la_ssize_t)len)
		newc_fail(n, -EFBIG, path);
	archive_entry_free(e);
}

static bool newc_path_ok(const char *path)
{
	if (strlen(path) >= PATH_MAX)
		return false;
	for (const char *at = path;; at++) {
		size_t n = strcspn(at, "/");

		if (n == 0 || (n == 1 && at[0] == '.') ||
		    (n == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += n;
		if (!*at)
			return true;
	}
}

/* Every folder above `path`, the outermost first. */
static void newc_folders(struct newc *n, const char *path)
{
	for (const char *s = strchr(path, '/'); s; s = strchr(s + 1, '/')) {
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(s - path));
		bool known = false;

		for (char **d = n->folders; d && *d && !known; d++)
			known = STREQ(*d, dir);
		if (known)
			continue;
		strv_push(&n->folders, dir);
		newc_entry(n, dir, S_IFDIR | 0755, NULL, 0);
	}
}

void newc_add(
    struct newc *n, const char *path, mode_t mode, const void *data, size_t len)
{
	if (n->code)
		return;
	if (!(mode & S_IFMT))
		mode |= S_IFREG;
	if (!newc_path_ok(path)) {
		n->code = err_set(&n->err, -EINVAL,
		    "archive: %s is not a plain relative path", path);
		return;
	}
	if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode)) {
		n->code = err_set(&n->err, -EINVAL,
		    "archive: %s is no file, folder or link", path);
		return;
	}
	newc_folders(n, path);
	if (S_ISDIR(mode))
		strv_push(&n->folders, path);
	if (!n->code)
		newc_entry(n, path, mode, data, len);
}

int newc_finish(struct newc *n, struct buf *ret, struct err *err)
{
	int code;

	if (!n->code && archive_write_close(n->archive) != ARCHIVE_OK)
		newc_fail(n, -EFBIG, "");
	archive_write_free(n->archive);
	code = n->code;
	if (code)
		err_set(err, code, "%s", err_text(&n->err));
	else
		buf_append(ret, n->out.data, n->out.len);
	/* It may have held private keys. */
	if (n->out.data)
		explicit_bzero(n->out.data, n->out.cap);
	buf_done(&n->out);
	strv_free(n->folders);
	free(n);
	return code;
}

uint32_t newc_crc32(const void *data, size_t len)
{
	return (uint32_t)crc32_z(crc32_z(0, NULL, 0), data, len);
}

void newc_frame(const struct buf *archive, struct buf *ret)
{
	buf_printf(ret, IDENTITY_MAGIC " %zu %08x\n", archive->len,
	    newc_crc32(archive->data, archive->len));
	buf_append(ret, archive->data, archive->len);
}
