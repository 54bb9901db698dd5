/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a NoCloud disk by libarchive: three small files in an ISO 9660 with
 * Rock Ridge names.  Called by drivers; knows nothing of what is in
 * the files.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>

#include "host/seed.h"

#define LABEL "cidata"

static void archivep(struct archive **a)
{
	archive_write_free(*a);
}
static void entryp(struct archive_entry **e)
{
	archive_entry_free(*e);
}

static la_ssize_t on_bytes(
    struct archive *a, void *userdata, const void *data, size_t len)
{
	buf_append(userdata, data, len);
	return (la_ssize_t)len;
}

static int add(struct archive *a, const char *name, const char *text)
{
	_cleanup_(entryp) struct archive_entry *e = archive_entry_new();
	size_t len = text ? strlen(text) : 0;

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0400);
	archive_entry_set_size(e, (la_int64_t)len);
	archive_entry_set_mtime(e, 0, 0);
	if (archive_write_header(a, e) != ARCHIVE_OK)
		return -EIO;
	if (len && archive_write_data(a, text, len) != (la_ssize_t)len)
		return -EIO;
	return 0;
}

static int make(struct archive *a, struct buf *ret, const char *user_data,
    const char *meta_data, const char *network_config)
{
	int r;

	if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
	    archive_write_set_format_option(a, "iso9660", "volume-id", LABEL) !=
		ARCHIVE_OK ||
	    archive_write_open(a, ret, NULL, on_bytes, NULL) != ARCHIVE_OK)
		return -EIO;
	r = add(a, "user-data", user_data);
	if (r == 0)
		r = add(a, "meta-data", meta_data);
	if (r == 0 && network_config)
		r = add(a, "network-config", network_config);
	if (r == 0 && archive_write_close(a) != ARCHIVE_OK)
		r = -EIO;
	return r;
}

int seed_write(const char *path, const char *user_data, const char *meta_data,
    const char *network_config, struct err *err)
{
	_cleanup_(archivep) struct archive *a = archive_write_new();
	_cleanup_buf_ struct buf iso = {0};
	int r = make(a, &iso, user_data, meta_data, network_config);

	if (r < 0)
		return err_set(err, r, "%s can't be made: %s", path,
		    archive_error_string(a) ? archive_error_string(a)
					    : "libarchive failed");
	r = file_replace(AT_FDCWD, path, iso.data, iso.len, 0600);
	return r < 0 ? err_errno(err, r, "%s can't be written", path) : 0;
}
