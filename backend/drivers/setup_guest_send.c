/* SPDX-License-Identifier: Apache-2.0
 *
 * Packs what a guest gets into one tar in a file without a name, on the
 * worker's thread: so what is sent is a copy that nobody changes any more, and
 * its digests are known before the first byte goes.  Each file goes into a
 * folder SETUP_STAGE beside its place, to be renamed from there by the program
 * (setup_guest_push.c) that comes last.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/setup_guest.h"

#define TRIES 3 /* to read a file that changes meanwhile */
#define PIECE ((size_t)(256 * KIB))

static int no_room(int code, struct setup *s)
{
	return err_errno(&s->host_err, code,
	    "what is to be sent can't be kept in %s", s->env->state_dir);
}

static int open_unnamed(struct setup *s)
{
	_cleanup_free_ char *path = NULL;
	int fd = open(s->env->state_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	path = xasprintf("%s/send.XXXXXX", s->env->state_dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return no_room(-errno, s);
	unlink(path);
	return fd;
}

/* --- paths ------------------------------------------------------------- */

/* The folders that are missing will stand below the deepest one that is
 * there. */
static void fill_real(struct setup *s)
{
	for (size_t i = 0; i < s->seen.n_dirs; i++) {
		struct seen_dir *d = &s->seen.dirs[i];
		const char *last = strrchr(d->path, '/');

		for (size_t k = 0; k < i && !d->real && last; k++) {
			const struct seen_dir *up = &s->seen.dirs[k];
			size_t len = strlen(up->path);

			if (len == (size_t)(last - d->path) &&
			    memcmp(up->path, d->path, len) == 0 && up->real)
				d->real = xasprintf("%s%s",
				    STREQ(up->real, "/") ? "" : up->real, last);
		}
	}
}

char *setup_stage_path(const struct setup *s, size_t dir, const char *name)
{
	const char *real = s->seen.dirs[dir].real;

	return xasprintf("%s/" SETUP_STAGE "%s%s", STREQ(real, "/") ? "" : real,
	    *name ? "/" : "", name);
}

/* As tar gets it: below the root, without a slash. */
static const char *relative(const struct setup *s, const char *real)
{
	const char *root = s->seen.dirs[0].real;

	if (!STREQ(root, "/"))
		real += strlen(root);
	while (*real == '/')
		real++;
	return real;
}

size_t setup_own_dir(const struct setup *s)
{
	for (size_t i = 0; i < s->seen.n_dirs; i++)
		if (STREQ(s->seen.dirs[i].path, SETUP_DIR))
			return i;
	return 0;
}

/* --- entries ----------------------------------------------------------- */

static int put_folder(struct setup *s, const char *real, unsigned mode)
{
	const struct tar_entry e = {
	    .path = relative(s, real), .mode = S_IFDIR | mode};

	return *e.path ? tar_out_entry(s->tar, &e, &s->host_err) : 0;
}

static int put_data(struct setup *s, struct tar_entry e, const char *data)
{
	int r = tar_out_entry(s->tar, &e, &s->host_err);

	return r < 0 ? r : tar_out_data(s->tar, data, e.size, &s->host_err);
}

/* A text of ours, in our own stage. */
static int put_text(struct setup *s, const char *name, const struct buf *text)
{
	_cleanup_free_ char *path = setup_stage_path(s, setup_own_dir(s), name);
	const struct tar_entry e = {.path = relative(s, path),
	    .mode = S_IFREG | 0600,
	    .size = text->len};

	return put_data(s, e, buf_str(text));
}

static int put_missing(struct setup *s, size_t dir)
{
	const struct seen_dir *want = &s->seen.dirs[dir];
	int r = 0;

	for (size_t i = 0; r == 0 && i <= dir; i++) {
		struct seen_dir *d = &s->seen.dirs[i];
		size_t len = strlen(d->path);

		if (d->state != DIR_MISSING ||
		    strncmp(d->path, want->path, len) != 0 ||
		    (want->path[len] && want->path[len] != '/'))
			continue;
		r = put_folder(
		    s, d->real, STREQ(d->path, SETUP_DIR) ? 0700 : 0755);
		d->state = DIR_THERE;
	}
	return r;
}

static int put_stage(struct setup *s, size_t dir)
{
	_cleanup_free_ char *path = setup_stage_path(s, dir, "");
	int r = put_missing(s, dir);

	return r < 0 ? r : put_folder(s, path, 0700);
}

/* A copy that nobody changes any more. */
static int copy_source(struct setup *s, struct wanted_file *w, int fd)
{
	char digest[SHA256_HEX], print[160];
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < TRIES; i++) {
		if (lseek(fd, 0, SEEK_SET) < 0 || ftruncate(fd, 0) < 0)
			return no_room(-errno, s);
		r = setup_read_source(
		    s, w->f.source, fd, &w->size, digest, print, &s->host_err);
	}
	if (r < 0)
		return r;
	snprintf(w->digest, sizeof(w->digest), "%s", digest);
	return lseek(fd, 0, SEEK_SET) < 0 ? no_room(-errno, s) : 0;
}

/* Its size stands before its bytes, so it is read to its end before that. */
static int put_source(
    struct setup *s, struct wanted_file *w, struct tar_entry e)
{
	_cleanup_close_ int fd = open_unnamed(s);
	_cleanup_free_ char *piece = xmalloc(PIECE);
	int r = fd < 0 ? fd : copy_source(s, w, fd);

	if (r < 0)
		return r;
	e.size = w->size;
	r = tar_out_entry(s->tar, &e, &s->host_err);
	while (r == 0) {
		ssize_t n = read(fd, piece, PIECE);

		if (n == 0)
			return 0;
		r = n < 0
			? -errno
			: tar_out_data(s->tar, piece, (size_t)n, &s->host_err);
	}
	return no_room(r, s);
}

static int put_file(struct setup *s, size_t i)
{
	struct wanted_file *w = &s->files[i];
	_cleanup_free_ char *path =
	    setup_stage_path(s, w->dir, strrchr(w->f.path, '/') + 1);
	struct tar_entry e = {.path = relative(s, path)};
	int r;

	if (!setup_owner_ids(s, w, &e.uid, &e.gid))
		return -EINVAL;
	e.mode = w->f.mode | (w->f.link ? S_IFLNK : S_IFREG);
	if (w->f.source)
		return put_source(s, w, e);
	w->size = w->f.len;
	if (w->f.link)
		e.target = w->f.data;
	else
		e.size = w->f.len;
	r = put_data(s, e, w->f.data);
	return r < 0 ? no_room(r, s) : 0;
}

/* --- the whole --------------------------------------------------------- */

bool setup_dir_is_used(const struct setup *s, size_t dir)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (s->send[i] && s->files[i].dir == dir)
			return true;
	return false;
}

static int put_stages(struct setup *s)
{
	_cleanup_buf_ struct buf text = {0};
	size_t own = setup_own_dir(s);
	int r = put_stage(s, own);

	setup_clean_script(s, &text);
	if (r == 0)
		r = put_text(s, "clean", &text);
	for (size_t i = 0; r == 0 && i < s->seen.n_dirs; i++)
		if (i != own && setup_dir_is_used(s, i))
			r = put_stage(s, i);
	return r < 0 ? no_room(r, s) : 0;
}

static int put_rest(struct setup *s)
{
	_cleanup_buf_ struct buf text = {0};
	char digest[SHA256_HEX];
	int r;

	setup_manifest(s, true, &text);
	r = put_text(s, "manifest", &text);
	buf_clear(&text);
	setup_manifest(s, false, &text);
	if (r == 0)
		r = put_text(s, "manifest.last", &text);
	buf_clear(&text);
	setup_pending(s, &text);
	if (r == 0)
		r = put_text(s, "pending", &text);
	buf_clear(&text);
	setup_push_script(s, &text);
	if (r == 0)
		r = put_text(s, "do", &text);
	if (r == 0)
		r = tar_out_finish(s->tar, &s->tar_size, digest, &s->host_err);
	return r < 0 ? no_room(r, s) : 0;
}

void setup_pack(struct setup *s)
{
	_cleanup_(tar_out_freep) struct tar_out *tar = NULL;
	int r;

	s->host_err = ERR_INIT;
	util_closep(&s->tar_fd);
	s->tar_fd = open_unnamed(s);
	s->host_code = s->tar_fd < 0 ? s->tar_fd : 0;
	if (s->host_code)
		return;
	tar = tar_out_new(s->tar_fd, TAR_GNU);
	s->tar = tar;
	fill_real(s);
	r = put_stages(s);
	for (size_t i = 0; r == 0 && i < s->n_files; i++)
		if (s->send[i])
			r = put_file(s, i);
	if (r == 0) {
		setup_digest_services(s);
		r = put_rest(s);
	}
	s->tar = NULL;
	if (r == 0 && lseek(s->tar_fd, 0, SEEK_SET) < 0)
		r = no_room(-errno, s);
	s->host_code = r;
}
