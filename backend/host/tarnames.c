/* SPDX-License-Identifier: Apache-2.0
 *
 * Which names of a tar archive are safe.  Of links the target is kept, of all
 * else a hash of the name: that a hard link meets one that is not there is
 * found by who unpacks as well, so a collision does no harm.
 */
#include <errno.h>
#include <search.h>

#include "host/tarnames.h"

#define LINKS_MAX   40 /* followed for one name, as the kernel does */
#define TABLE_FIRST 1024

struct link {
	const char *path;
	char *target;
};

struct tarnames {
	void *links; /* tsearch(3), by path */
	uint64_t *table;
	size_t size, used, entries;
};

static int by_path(const void *a, const void *b)
{
	return strcmp(
	    ((const struct link *)a)->path, ((const struct link *)b)->path);
}

static void free_link(void *p)
{
	struct link *l = p;

	free((char *)l->path);
	free(l->target);
	free(l);
}

struct tarnames *tarnames_new(void)
{
	struct tarnames *n = xcalloc(1, sizeof(*n));

	n->size = TABLE_FIRST;
	n->table = xcalloc(n->size, sizeof(*n->table));
	return n;
}

void tarnames_free(struct tarnames *n)
{
	if (!n)
		return;
	tdestroy(n->links, free_link);
	free(n->table);
	free(n);
}

void tarnames_freep(struct tarnames **n)
{
	tarnames_free(*n);
}

/* --- names that there are ------------------------------------------------- */

static uint64_t *slot(const struct tarnames *n, uint64_t hash)
{
	size_t i = hash & (n->size - 1);

	while (n->table[i] && n->table[i] != hash)
		i = (i + 1) & (n->size - 1);
	return &n->table[i];
}

static uint64_t hash_name(const char *path)
{
	return hash_bytes(path, strlen(path)) | 1; /* 0: a free slot */
}

static void remember(struct tarnames *n, const char *path)
{
	uint64_t hash = hash_name(path), *s = slot(n, hash);

	n->used += !*s;
	*s = hash;
	if (n->used * 2 < n->size)
		return;
	struct tarnames bigger = {.size = n->size * 2};
	bigger.table = xcalloc(bigger.size, sizeof(*bigger.table));
	for (size_t i = 0; i < n->size; i++)
		if (n->table[i])
			*slot(&bigger, n->table[i]) = n->table[i];
	free(n->table);
	n->table = bigger.table;
	n->size = bigger.size;
}

static bool known(const struct tarnames *n, const char *path)
{
	return *slot(n, hash_name(path)) != 0;
}

static const char *target_of(const struct tarnames *n, const char *path)
{
	const struct link key = {.path = path};
	struct link *const *found = tfind(&key, &n->links, by_path);

	return found ? (*found)->target : NULL;
}

/* A later link of the same name takes the place of the earlier one.  Nothing
 * else does: not every tar removes a link for a folder. */
static void remember_link(
    struct tarnames *n, const char *path, const char *target)
{
	struct link *l = xcalloc(1, sizeof(*l));

	l->path = xstrdup(path);
	struct link **found = tsearch(l, &n->links, by_path);
	if (!found)
		abort();
	if (*found != l) {
		free_link(l);
		free((*found)->target);
	}
	(*found)->target = xstrdup(target);
}

/* --- where a name leads --------------------------------------------------- */

static void pop(struct buf *b)
{
	while (b->len && b->data[b->len - 1] != '/')
		b->len--;
	if (b->len)
		b->len--;
	if (b->data)
		b->data[b->len] = '\0';
}

/* Follows links from the root.  *ret_out: some of them led outside (by an
 * absolute link or ..), taken as a place below the root then.  -ELOOP. */
static int resolve(const struct tarnames *n, const char *path, bool last,
    struct buf *ret, const char **ret_out)
{
	_cleanup_free_ char *rest = xstrdup(path);
	int links = 0;

	*ret_out = NULL;
	buf_clear(ret);
	for (char *at = rest; *at;) {
		size_t len = strcspn(at, "/");
		const char *more = at + len + strspn(at + len, "/");
		const char *target;

		if (len == 0 || (len == 1 && *at == '.')) {
			at = (char *)more;
			continue;
		}
		if (len == 2 && strncmp(at, "..", 2) == 0) {
			if (!ret->len)
				*ret_out = path;
			pop(ret);
			at = (char *)more;
			continue;
		}
		if (ret->len)
			buf_putc(ret, '/');
		buf_append(ret, at, len);
		if (ret->len > TAR_PATH_MAX)
			return -ENAMETOOLONG;
		target = *more || last ? target_of(n, buf_str(ret)) : NULL;
		if (!target) {
			at = (char *)more;
			continue;
		}
		if (++links > LINKS_MAX)
			return -ELOOP;
		if (*target == '/') {
			*ret_out = target;
			buf_clear(ret);
		} else {
			pop(ret);
		}
		char *next = xasprintf("%s/%s", target, more);
		free(rest);
		rest = next;
		at = next;
	}
	return 0;
}

static bool has_dots(const char *path)
{
	for (const char *p = path; *p; p += strspn(p, "/")) {
		size_t len = strcspn(p, "/");

		if (len == 2 && strncmp(p, "..", 2) == 0)
			return true;
		p += len;
	}
	return false;
}

/* The name without what means nothing. */
static char *plain(const char *path)
{
	_cleanup_buf_ struct buf b = {0};

	for (const char *p = path; *p; p += strspn(p, "/")) {
		size_t len = strcspn(p, "/");

		if (len && !(len == 1 && *p == '.')) {
			if (b.len)
				buf_putc(&b, '/');
			buf_append(&b, p, len);
		}
		p += len;
	}
	if (!b.len)
		buf_putc(&b, '.');
	return buf_take(&b);
}

static int check_name(const char *what, const char *path, struct err *err)
{
	if (!path || !*path)
		return err_set(
		    err, -EINVAL, "the archive has %s without a name", what);
	if (strlen(path) >= TAR_PATH_MAX)
		return err_set(err, -EINVAL,
		    "the archive has %s with a name of %zu bytes: %.60s...",
		    what, strlen(path), path);
	if (*path == '/')
		return err_set(err, -EINVAL,
		    "the archive has %s with an absolute name: %.200s; make it "
		    "with tar -C FOLDER -c .",
		    what, path);
	if (has_dots(path))
		return err_set(err, -EINVAL,
		    "the archive has %s that leads outside by ..: %.200s; make "
		    "it with tar -C FOLDER -c .",
		    what, path);
	return 0;
}

/* What is written as `path` must be written below the root. */
static int check_way(const struct tarnames *n, const char *what,
    const char *path, struct buf *ret, struct err *err)
{
	const char *out;
	int r = resolve(n, path, false, ret, &out);

	if (r < 0)
		return err_set(err, -EINVAL,
		    "the archive has %s behind too many links: %.200s", what,
		    path);
	if (out)
		return err_set(err, -EINVAL,
		    "the archive has %s behind a link that leads outside: "
		    "%.200s, by a link to %.200s; leave one of them out",
		    what, path, out);
	return 0;
}

int tarnames_add(struct tarnames *n, const char *path, enum tar_kind kind,
    const char *target, char **ret, struct err *err)
{
	_cleanup_free_ char *name = NULL, *to = NULL;
	_cleanup_buf_ struct buf where = {0}, there = {0};
	int r = check_name("an entry", path, err);

	if (r == 0 && ++n->entries > TAR_ENTRIES_MAX)
		r = err_set(err, -EFBIG, "the archive has more than %d entries",
		    TAR_ENTRIES_MAX);
	if (r < 0)
		return r;
	name = plain(path);
	r = check_way(n, "an entry", name, &where, err);
	if (r == 0 && kind == TAR_HARDLINK) {
		r = check_name("a hard link to something", target, err);
		to = r == 0 ? plain(target) : NULL;
		if (r == 0)
			r = check_way(
			    n, "a hard link to something", to, &there, err);
		if (r == 0 && !known(n, buf_str(&there)))
			r = err_set(err, -EINVAL,
			    "the archive has a hard link %.200s to %.200s, "
			    "which is not in it before that",
			    name, to);
	}
	if (r < 0)
		return r;
	remember(n, buf_str(&where));
	if (kind == TAR_SYMLINK)
		remember_link(n, buf_str(&where), target ? target : "");
	*ret = TAKE_PTR(name);
	return 0;
}

bool tarnames_has(const struct tarnames *n, const char *path)
{
	_cleanup_buf_ struct buf where = {0};
	const char *out;

	return resolve(n, path, true, &where, &out) == 0 &&
	       known(n, buf_str(&where));
}
