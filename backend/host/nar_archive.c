/* SPDX-License-Identifier: Apache-2.0
 *
 * The archives within an export of nix, NARs (nix, libutil/archive.cc): all
 * numbers are of 8 bytes, little-endian, strings are padded to 8.  Called by
 * nar.c.
 */
#include <errno.h>
#include <sys/stat.h>

#include "host/nar_internal.h"

#define DEPTH_MAX 64

/* --- numbers and strings -------------------------------------------------- */

static int bytes(struct nar_pass *p, void *data, size_t len, struct err *err)
{
	int r = tar_in_read(p->in, data, len, err);

	if (r < 0)
		return r;
	if (p->hash)
		sha256_add(p->hash, data, len);
	p->size += len;
	return 0;
}

int nar_broken(struct nar_pass *p, const char *what, struct err *err)
{
	return err_set(err, -EBADMSG,
	    "%s is no output of nix-store --export: %s", p->file, what);
}

int nar_number(struct nar_pass *p, uint64_t *ret, struct err *err)
{
	uint8_t b[8];
	int r = bytes(p, b, sizeof(b), err);

	if (r < 0)
		return r;
	*ret = 0;
	for (int i = 7; i >= 0; i--)
		*ret = *ret << 8 | b[i];
	return 0;
}

static int padding(struct nar_pass *p, uint64_t len, struct err *err)
{
	char b[8];

	return len % 8 ? bytes(p, b, 8 - len % 8, err) : 0;
}

int nar_string(struct nar_pass *p, char ret[NAR_WORD_MAX + 1], struct err *err)
{
	uint64_t len;
	int r = nar_number(p, &len, err);

	if (r == 0 && len > NAR_WORD_MAX)
		r = nar_broken(p, "a name is too long", err);
	if (r == 0)
		r = bytes(p, ret, len, err);
	if (r == 0)
		r = padding(p, len, err);
	if (r < 0)
		return r;
	ret[len] = '\0';
	return strlen(ret) == len ? 0 : nar_broken(p, "a name has a zero", err);
}

int nar_token(struct nar_pass *p, const char *wanted, struct err *err)
{
	char got[NAR_WORD_MAX + 1];
	int r = nar_string(p, got, err);

	return r == 0 && !STREQ(got, wanted)
		   ? nar_broken(p, "an archive in it has an odd word", err)
		   : r;
}

int nar_put(struct nar_pass *p, const char *path, mode_t mode, uint64_t size,
    const char *target, struct err *err)
{
	const struct tar_entry e = {
	    .path = path, .mode = mode, .size = size, .target = target};

	return p->out ? tar_out_entry(p->out, &e, err) : 0;
}

/* --- one NAR -------------------------------------------------------------- */

static int contents(
    struct nar_pass *p, const char *path, mode_t mode, struct err *err)
{
	uint64_t len;
	int r = nar_number(p, &len, err);

	if (r == 0 && len > TAR_MAX)
		r = nar_broken(p, "a file is too big", err);
	if (r == 0)
		r = nar_put(p, path, S_IFREG | mode, len, NULL, err);
	for (uint64_t left = r == 0 ? len : 0; left;) {
		size_t n = left < NAR_PIECE ? (size_t)left : NAR_PIECE;

		r = bytes(p, p->piece, n, err);
		if (r == 0 && p->out)
			r = tar_out_data(p->out, p->piece, n, err);
		if (r < 0)
			return r;
		left -= n;
	}
	return r < 0 ? r : padding(p, len, err);
}

static int regular(struct nar_pass *p, const char *path, struct err *err)
{
	char word[NAR_WORD_MAX + 1];
	mode_t mode = 0444;
	int r = nar_string(p, word, err);

	if (r == 0 && STREQ(word, "executable")) {
		mode = 0555;
		r = nar_token(p, "", err);
		if (r == 0)
			r = nar_string(p, word, err);
	}
	if (r == 0 && STREQ(word, "contents")) {
		r = contents(p, path, mode, err);
		return r < 0 ? r : nar_token(p, ")", err);
	}
	if (r == 0 && !STREQ(word, ")"))
		r = nar_broken(p, "an archive in it has an odd word", err);
	if (r == 0)
		r = nar_put(p, path, S_IFREG | mode, 0, NULL, err);
	return r;
}

static int symlink_node(struct nar_pass *p, const char *path, struct err *err)
{
	char target[NAR_WORD_MAX + 1];
	int r = nar_token(p, "target", err);

	if (r == 0)
		r = nar_string(p, target, err);
	if (r == 0)
		r = nar_put(p, path, S_IFLNK | 0777, 0, target, err);
	return r < 0 ? r : nar_token(p, ")", err);
}

static int entry(struct nar_pass *p, const char *path, int depth, char *before,
    struct err *err)
{
	char name[NAR_WORD_MAX + 1] = "";
	_cleanup_free_ char *below = NULL;
	int r = nar_token(p, "(", err);

	if (r == 0)
		r = nar_token(p, "name", err);
	if (r == 0)
		r = nar_string(p, name, err);
	if (r < 0)
		return r;
	/* nix asks for this order too: so no name comes twice. */
	if (!*name || STREQ(name, ".") || STREQ(name, "..") ||
	    strchr(name, '/') || strcmp(name, before) <= 0)
		return nar_broken(p, "a name in it is no name", err);
	memcpy(before, name, strlen(name) + 1);
	if (depth == 0 && STREQ(name, "init"))
		p->has_init = true;
	below = xasprintf("%s/%s", path, name);
	if (strlen(below) > NAR_WORD_MAX)
		return nar_broken(p, "a name is too long", err);
	r = nar_token(p, "node", err);
	if (r == 0)
		r = nar_node(p, below, depth + 1, err);
	return r < 0 ? r : nar_token(p, ")", err);
}

static int directory(
    struct nar_pass *p, const char *path, int depth, struct err *err)
{
	char word[NAR_WORD_MAX + 1], before[NAR_WORD_MAX + 1] = "";
	int r = nar_put(p, path, S_IFDIR | 0555, 0, NULL, err);

	while (r == 0) {
		r = nar_string(p, word, err);
		if (r == 0 && STREQ(word, ")"))
			return 0;
		if (r == 0 && !STREQ(word, "entry"))
			r = nar_broken(
			    p, "an archive in it has an odd word", err);
		if (r == 0)
			r = entry(p, path, depth, before, err);
	}
	return r;
}

int nar_node(struct nar_pass *p, const char *path, int depth, struct err *err)
{
	char type[NAR_WORD_MAX + 1];
	int r = depth > DEPTH_MAX ? nar_broken(p, "folders are too deep", err)
				  : nar_token(p, "(", err);

	if (r == 0)
		r = nar_token(p, "type", err);
	if (r == 0)
		r = nar_string(p, type, err);
	if (r < 0)
		return r;
	if (STREQ(type, "regular"))
		return regular(p, path, err);
	if (STREQ(type, "symlink"))
		return symlink_node(p, path, err);
	if (STREQ(type, "directory"))
		return directory(p, path, depth, err);
	return nar_broken(p, "a file of an unknown kind", err);
}
