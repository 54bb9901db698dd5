/* SPDX-License-Identifier: Apache-2.0
 *
 * Tar archives, and files that are compressed or not, by libarchive.  What is
 * written anew is read by nobody else in another way than it was checked.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/tar.h"
#include "host/tarnames.h"

#define PIECE     ((size_t)(256 * KIB))
#define TAR_END   1024 /* zeros that end an archive (POSIX, pax) */
#define FORMATS   "plain or compressed by gzip, bzip2, xz or zstd"
#define NEW_MTIME 1

struct tar_in {
	char *path;
	const struct tar_watch *watch;
	int fd;
	struct archive *a;
	struct sha256 *digest;
	uint64_t done, total;
	uint64_t zeros; /* at the end of what was read */
	char *piece;
	bool stopped;
};

struct tar_out {
	int fd, code;
	struct archive *a;
	struct sha256 *digest;
	uint64_t size;
	bool given_up;
};

/* --- reading -------------------------------------------------------------- */

static void count_zeros(struct tar_in *in, size_t len)
{
	size_t n = len;

	while (n && !in->piece[n - 1])
		n--;
	in->zeros = n ? len - n : in->zeros + len;
}

static la_ssize_t on_read(struct archive *a, void *userdata, const void **ret)
{
	struct tar_in *in = userdata;
	ssize_t n;

	if (in->watch &&
	    !in->watch->go_on(in->done, in->total, in->watch->userdata)) {
		in->stopped = true;
		archive_set_error(a, ECANCELED, "cancelled");
		return ARCHIVE_FATAL;
	}
	do
		n = read(in->fd, in->piece, PIECE);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		archive_set_error(a, errno, "%s", strerror(errno));
		return ARCHIVE_FATAL;
	}
	sha256_add(in->digest, in->piece, (size_t)n);
	count_zeros(in, (size_t)n);
	in->done += (uint64_t)n;
	*ret = in->piece;
	return n;
}

static int in_error(struct tar_in *in, struct err *err)
{
	const char *why = archive_error_string(in->a);
	int code = archive_errno(in->a);

	if (in->stopped)
		return err_set(
		    err, -ECANCELED, "reading %s was cancelled", in->path);
	if (code == EIO || code == EISDIR)
		return err_errno(err, -code, "%s can't be read", in->path);
	/* libarchive tells them apart by words only. */
	if (why && strstr(why, "Unrecognized archive format"))
		return err_set(err, -EINVAL,
		    "%s is not a tar archive, " FORMATS, in->path);
	return err_set(err, -EBADMSG,
	    "%s is broken or cut off: %s; get it or make it again", in->path,
	    why ? why : "unreadable");
}

int tar_in_open(const char *path, bool raw, const struct tar_watch *watch,
    struct tar_in **ret, struct err *err)
{
	_cleanup_(tar_in_freep) struct tar_in *in = xcalloc(1, sizeof(*in));
	struct stat st;

	in->path = xstrdup(path);
	in->watch = watch;
	in->digest = sha256_new();
	in->piece = xmalloc(PIECE);
	in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (in->fd < 0 || fstat(in->fd, &st) < 0)
		return err_errno(err, -errno, "%s can't be read", path);
	in->total = (uint64_t)st.st_size;
	if (!in->total)
		return err_set(err, -EINVAL, "%s is empty", path);
	in->a = archive_read_new();
	if (!in->a)
		abort();
	archive_read_support_filter_gzip(in->a);
	archive_read_support_filter_bzip2(in->a);
	archive_read_support_filter_xz(in->a);
	archive_read_support_filter_zstd(in->a);
	if (raw)
		archive_read_support_format_raw(in->a);
	else
		archive_read_support_format_tar(in->a);
	if (archive_read_open(in->a, in, NULL, on_read, NULL) != ARCHIVE_OK)
		return in_error(in, err);
	if (raw) {
		struct archive_entry *e;

		if (archive_read_next_header(in->a, &e) != ARCHIVE_OK)
			return in_error(in, err);
	}
	*ret = TAKE_PTR(in);
	return 0;
}

int tar_in_read(struct tar_in *in, void *data, size_t len, struct err *err)
{
	for (char *p = data; len;) {
		la_ssize_t n = archive_read_data(in->a, p, len);

		if (n < 0)
			return in_error(in, err);
		if (n == 0)
			return err_set(
			    err, -EBADMSG, "%s is cut off", in->path);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int tar_in_check(struct tar_in *in, const char *sha256, char ret[SHA256_HEX],
    struct err *err)
{
	const void *piece;
	la_ssize_t n = 0;

	while (!in->stopped && (n = on_read(in->a, in, &piece)) > 0)
		;
	if (in->stopped || n < 0)
		return in_error(in, err);
	sha256_end(in->digest, ret);
	if (sha256 && strcasecmp(sha256, ret) != 0)
		return err_set(err, -EBADMSG,
		    "%s has the sha256 %s, and the spec wants %s: it is "
		    "another file, or broken; put the right one there, or "
		    "change sha256 in the image's spec",
		    in->path, ret, sha256);
	return 0;
}

void tar_in_free(struct tar_in *in)
{
	if (!in)
		return;
	archive_read_free(in->a);
	sha256_free(in->digest);
	util_closep(&in->fd);
	free(in->piece);
	free(in->path);
	free(in);
}

void tar_in_freep(struct tar_in **in)
{
	tar_in_free(*in);
}

/* --- writing -------------------------------------------------------------- */

static la_ssize_t on_write(
    struct archive *a, void *userdata, const void *data, size_t len)
{
	struct tar_out *out = userdata;
	int r = out->given_up ? -ECANCELED : write_all(out->fd, data, len);

	if (r < 0) {
		out->code = r;
		archive_set_error(a, -r, "%s", strerror(-r));
		return -1;
	}
	sha256_add(out->digest, data, len);
	out->size += len;
	return (la_ssize_t)len;
}

struct tar_out *tar_out_new(int fd, enum tar_format format)
{
	struct tar_out *out = xcalloc(1, sizeof(*out));

	out->fd = fd;
	out->digest = sha256_new();
	out->a = archive_write_new();
	if (!out->a ||
	    (format == TAR_GNU
		    ? archive_write_set_format_gnutar(out->a)
		    : archive_write_set_format_pax_restricted(out->a)) < 0 ||
	    archive_write_open(out->a, out, NULL, on_write, NULL) < 0)
		abort();
	return out;
}

static int out_error(struct tar_out *out, const char *what, struct err *err)
{
	const char *why = archive_error_string(out->a);

	if (out->code < 0)
		return err_errno(err, out->code, "can't write %s", what);
	return err_set(
	    err, -EINVAL, "%s: %s", what, why ? why : "can't be written");
}

static int write_header(
    struct tar_out *out, struct archive_entry *e, struct err *err)
{
	int r = archive_write_header(out->a, e);

	/* ARCHIVE_WARN: a name that no pax header can hold as text. */
	return r == ARCHIVE_OK || r == ARCHIVE_WARN
		   ? 0
		   : out_error(out, archive_entry_pathname(e), err);
}

int tar_out_data(
    struct tar_out *out, const void *data, size_t len, struct err *err)
{
	for (const char *p = data; len;) {
		la_ssize_t n = archive_write_data(out->a, p, len);

		if (n <= 0)
			return out_error(out, "the archive", err);
		p += n;
		len -= (size_t)n;
	}
	return out->size <= TAR_MAX
		   ? 0
		   : err_set(err, -EFBIG,
			 "the archive has more than %llu GiB when unpacked",
			 TAR_MAX / GIB);
}

static void entryp(struct archive_entry **e)
{
	archive_entry_free(*e);
}

int tar_out_entry(
    struct tar_out *out, const struct tar_entry *entry, struct err *err)
{
	_cleanup_(entryp) struct archive_entry *e = archive_entry_new();

	if (!e)
		abort();
	archive_entry_set_pathname(e, entry->path);
	archive_entry_set_mode(e, entry->mode);
	archive_entry_set_uid(e, entry->uid);
	archive_entry_set_gid(e, entry->gid);
	archive_entry_set_mtime(e, NEW_MTIME, 0);
	archive_entry_set_size(e, (la_int64_t)entry->size);
	if (entry->target)
		archive_entry_set_symlink(e, entry->target);
	return write_header(out, e, err);
}

int tar_out_finish(struct tar_out *out, uint64_t *ret_size,
    char ret_digest[SHA256_HEX], struct err *err)
{
	if (archive_write_close(out->a) != ARCHIVE_OK)
		return out_error(out, "the archive", err);
	*ret_size = out->size;
	sha256_end(out->digest, ret_digest);
	return 0;
}

void tar_out_free(struct tar_out *out)
{
	if (!out)
		return;
	/* libarchive would fill up an entry that was given up. */
	out->given_up = true;
	archive_write_free(out->a);
	sha256_free(out->digest);
	free(out);
}

void tar_out_freep(struct tar_out **out)
{
	tar_out_free(*out);
}

/* --- both ----------------------------------------------------------------- */

static int copy_data(
    struct tar_in *in, struct tar_out *out, char *piece, struct err *err)
{
	la_ssize_t n;
	int r;

	/* Holes come as zeros. */
	while ((n = archive_read_data(in->a, piece, PIECE)) > 0) {
		r = tar_out_data(out, piece, (size_t)n, err);
		if (r < 0)
			return r;
	}
	return n < 0 ? in_error(in, err) : 0;
}

static int copy_entry(struct tar_in *in, struct tar_out *out,
    struct tarnames *names, struct archive_entry *e, char *piece,
    struct err *err)
{
	const char *hard = archive_entry_hardlink(e);
	const char *soft = archive_entry_symlink(e);
	_cleanup_free_ char *name = NULL;
	int r;

	/* A socket lives only as long as its program. */
	if (archive_entry_filetype(e) == AE_IFSOCK)
		return 0;
	r = tarnames_add(names, archive_entry_pathname(e),
	    hard   ? TAR_HARDLINK
	    : soft ? TAR_SYMLINK
		   : TAR_OTHER,
	    hard ? hard : soft, &name, err);
	if (r < 0)
		return err_prefix(err, "%s: ", in->path);
	archive_entry_set_pathname(e, name);
	archive_entry_sparse_clear(e);
	/* Whoever unpacks it has other names for the same numbers. */
	archive_entry_set_uname(e, NULL);
	archive_entry_set_gname(e, NULL);
	if (archive_entry_size(e) < 0 ||
	    (uint64_t)archive_entry_size(e) > TAR_MAX)
		return err_set(err, -EFBIG, "%s: %s has more than %llu GiB",
		    in->path, name, TAR_MAX / GIB);
	r = write_header(out, e, err);
	return r < 0 || hard ? r : copy_data(in, out, piece, err);
}

static int copy_all(struct tar_in *in, struct tar_out *out,
    struct tarnames *names, struct err *err)
{
	_cleanup_free_ char *piece = xmalloc(PIECE);
	struct archive_entry *e;
	uint64_t n = 0;
	int r;

	for (;;) {
		r = archive_read_next_header(in->a, &e);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return in_error(in, err);
		r = copy_entry(in, out, names, e, piece, err);
		if (r < 0)
			return r;
		n++;
	}
	if (!n)
		return err_set(err, -EINVAL,
		    "%s has no files in it, or is not a tar archive, " FORMATS,
		    in->path);
	return 0;
}

/* Names are bytes to us; libarchive wants to know what letters they are. */
static locale_t use_utf8(void)
{
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);

	if (utf8)
		uselocale(utf8);
	return utf8;
}

int tar_repack(
    struct tar_in *in, struct tar_out *out, const char *init, struct err *err)
{
	_cleanup_(tarnames_freep) struct tarnames *names = tarnames_new();
	locale_t before = uselocale((locale_t)0), utf8 = use_utf8();
	int r = copy_all(in, out, names, err);

	uselocale(before);
	if (utf8)
		freelocale(utf8);
	if (r < 0)
		return r;
	if (init && !tarnames_has(names, init))
		return err_set(err, -EINVAL,
		    "%s has no %s: nothing in it could boot; `init` in the "
		    "image's spec names another program",
		    in->path, init);
	/* A plain archive that was cut between two files looks whole. */
	const void *piece;
	while (archive_filter_count(in->a) <= 1 && !in->stopped &&
	       on_read(in->a, in, &piece) > 0)
		;
	if (archive_filter_count(in->a) <= 1 && in->zeros < TAR_END)
		return err_set(err, -EBADMSG,
		    "%s is cut off: its end is missing; get it or make it "
		    "again",
		    in->path);
	return 0;
}
