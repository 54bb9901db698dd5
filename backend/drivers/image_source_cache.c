/* SPDX-License-Identifier: Apache-2.0
 *
 * Images of sources in the cache that all images share: a folder named by what
 * the source was when it was read (its path, inode, size and times) and what
 * the spec asks of it, with a manifest.  Folders under way are as those of our
 * scripts: build.*, locked by who makes them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/image_source.h"

#define VERSION      "1" /* of what is made; another one makes it anew */
#define MANIFEST_MAX 16384
#define NAME_DIGITS  32 /* of a digest, in names */
#define STALE        60 /* seconds: a younger folder may not be locked yet */

static int stat_source(const char *source, struct stat *ret, struct err *err)
{
	if (!source)
		return err_set(err, -EINVAL,
		    "source: not given; it names the file that the image is "
		    "made from");
	if (stat(source, ret) == 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return err_set(err, -ENOENT,
		    "source: there is no %s; put it there, or change source in "
		    "the image's spec",
		    source);
	return err_errno(err, -errno, "source: %s can't be read", source);
}

/* Tells versions of a file apart without reading it. */
static char *version_of(const struct stat *st)
{
	return xasprintf("%" PRIu64 " %" PRIu64 " %" PRIu64
			 " %lld.%09ld %lld.%09ld",
	    (uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
	    (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
	    (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

int source_place_init(struct source_place *p, const struct image_source *kind,
    const struct image_slice *slice, struct err *err)
{
	_cleanup_buf_ struct buf b = {0};
	char hex[SHA256_HEX];
	struct stat st = {0};
	int r = stat_source(slice->source, &st, err);

	if (r < 0)
		return r;
	p->version = version_of(&st);
	buf_printf(&b, "%s\n%s\n%s\n%s\n%s\n%s\n", VERSION, kind->kind,
	    slice->source, p->version, slice->sha256 ? slice->sha256 : "",
	    slice->init ? slice->init : "");
	sha256_of(b.data, b.len, hex);
	p->cache_dir = xstrdup(slice->cache_dir);
	p->final = xasprintf(
	    "%s/%s-%.*s", slice->cache_dir, kind->kind, NAME_DIGITS, hex);
	p->lock = -1;
	return 0;
}

void source_place_done(struct source_place *p)
{
	free(TAKE_PTR(p->final));
	free(TAKE_PTR(p->cache_dir));
	free(TAKE_PTR(p->version));
	if (p->lock >= 0)
		util_closep(&p->lock);
	p->lock = -1;
}

/* Also where nothing tells of it: a share that another host writes to. */
int source_unchanged(
    const struct source_place *p, const char *source, struct err *err)
{
	_cleanup_free_ char *version = NULL;
	struct stat st = {0};
	int r = stat_source(source, &st, err);

	if (r < 0)
		return r;
	version = version_of(&st);
	return STREQ(version, p->version)
		   ? 0
		   : err_set(err, -EBUSY,
			 "source: %s changed while it was read; write a new "
			 "one "
			 "beside it and rename that, or write `up` to a node "
			 "that needs it once it is whole",
			 source);
}

/* --- the manifest --------------------------------------------------------- */

static bool fill(struct image_look *l, const char *key, const char *value)
{
	if (STREQ(key, "digest"))
		snprintf(l->digest, sizeof(l->digest), "%s", value);
	else if (STREQ(key, "size"))
		l->size = strtoull(value, NULL, 10);
	else if (STREQ(key, "init"))
		snprintf(l->init, sizeof(l->init), "%s", value);
	else if (STREQ(key, "format"))
		l->format = STREQ(value, "qcow2") ? FORMAT_QCOW2 : FORMAT_RAW;
	else if (STREQ(key, "registration"))
		snprintf(l->registration, sizeof(l->registration), "%s", value);
	else
		return false;
	return true;
}

static int write_manifest(
    const struct source_job *j, const char *final, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/manifest", j->dir);
	_cleanup_free_ char *reg = xasprintf("%s/registration", j->dir);
	_cleanup_buf_ struct buf b = {0};
	int r;

	buf_printf(&b, "digest %s\nsize %" PRIu64 "\nformat %s\ninit %s\n",
	    j->digest, j->size, disk_format_name(j->format), j->found_init);
	if (access(reg, R_OK) == 0)
		buf_printf(&b, "registration %s/registration\n", final);
	r = file_replace(AT_FDCWD, path, b.data, b.len, 0644);
	return r < 0 ? err_errno(err, r, "can't write %s", path) : 0;
}

bool source_cached(const struct source_place *p,
    const struct image_source *kind, const char *source, struct image_look *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/manifest", p->final);
	_cleanup_buf_ struct buf text = {0};
	struct image_look look = {.ready = true};
	char *save = NULL;

	if (file_read(AT_FDCWD, path, MANIFEST_MAX, &text) < 0 || !text.len)
		return false;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *blank = strchr(line, ' ');

		if (!blank)
			return false;
		*blank = '\0';
		fill(&look, line, blank + 1);
	}
	if (!sha256_valid(look.digest, strlen(look.digest)))
		return false;
	int n = kind->file
		    ? snprintf(look.source, sizeof(look.source), "%s/%s",
			  p->final, kind->file)
		    : snprintf(look.source, sizeof(look.source), "%s", source);
	if (n < 0 || (size_t)n >= sizeof(look.source) ||
	    access(look.source, R_OK) < 0)
		return false;
	snprintf(look.version, sizeof(look.version), "%.*s", NAME_DIGITS,
	    look.digest);
	/* Old ones are thrown away by when they were last looked for. */
	(void)utimensat(AT_FDCWD, p->final, NULL, 0);
	*ret = look;
	return true;
}

/* --- making --------------------------------------------------------------- */

int source_scratch(struct source_place *p, char **ret_dir, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/build.XXXXXX", p->cache_dir);

	if (!mkdtemp(dir))
		return err_errno(
		    err, -errno, "can't write in %s", p->cache_dir);
	p->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->lock < 0 || flock(p->lock, LOCK_EX | LOCK_NB) < 0 ||
	    fchmod(p->lock, 0755) < 0) {
		int r = err_errno(err, -errno, "can't use %s", dir);

		(void)remove_tree(AT_FDCWD, dir);
		return r;
	}
	*ret_dir = TAKE_PTR(dir);
	return 0;
}

static int sync_all(const char *dir, struct err *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* All that was written by us is in this file system. */
	if (fd < 0 || syncfs(fd) < 0)
		return err_errno(err, -errno, "can't write %s", dir);
	return 0;
}

int source_store(
    const struct source_place *p, const struct source_job *j, struct err *err)
{
	int r = write_manifest(j, p->final, err);

	if (r == 0)
		r = sync_all(j->dir, err);
	if (r < 0)
		return r;
	if (rename(j->dir, p->final) == 0)
		return 0;
	/* One that has lost a file, or of somebody who was quicker. */
	if ((errno != ENOTEMPTY && errno != EEXIST) ||
	    renameat2(AT_FDCWD, j->dir, AT_FDCWD, p->final, RENAME_EXCHANGE) <
		0)
		return err_errno(err, -errno, "can't make %s", p->final);
	return 0;
}

void source_sweep(const struct source_place *p)
{
	DIR *d = opendir(p->cache_dir);
	time_t now = (time_t)(now_real() / USEC_PER_SEC);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_close_ int fd = -1;
		struct stat st = {0};

		if (strncmp(e->d_name, "build.", 6) != 0)
			continue;
		fd = openat(dirfd(d), e->d_name,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0 && fstat(fd, &st) == 0 &&
		    st.st_ctime + STALE < now &&
		    flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)remove_tree(dirfd(d), e->d_name);
	}
	if (d)
		closedir(d);
}
