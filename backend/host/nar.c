/* SPDX-License-Identifier: Apache-2.0
 *
 * Exports of nix: for each path of the store 1, its content as a NAR, a magic
 * number, its name, its references, its deriver; 0 at the end (nix,
 * libstore/export-import.cc).  A path's name comes after its content, so the
 * file is read twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <sys/stat.h>

#include "host/nar_internal.h"

#define STORE        "/nix/store/"
#define EXPORT_NEXT  1
#define EXPORT_MAGIC 0x4558494eU
#define REFS_MAX     100000

struct path {
	char *name, *deriver;
	char **refs;
	char hash[SHA256_HEX];
	uint64_t size; /* of the NAR */
	bool has_init, wanted;
};

struct nar {
	char *file;
	struct path *paths;
	size_t n;
	const struct path *top;
	char *init;
};

/* --- the paths ------------------------------------------------------------ */

/* <hash>-<name> of letters that nix allows: a plain name below the store. */
static bool is_store_path(const char *s)
{
	size_t len = strlen(STORE);

	return strncmp(s, STORE, len) == 0 && s[len] && s[len] != '.' &&
	       s[len + strspn(s + len, "0123456789abcdefghijklmnopqrstuvwxyz"
				       "ABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?=")] ==
		   '\0';
}

static int path_name(
    struct nar_pass *p, bool may_be_empty, char **ret, struct err *err)
{
	char word[NAR_WORD_MAX + 1];
	int r = nar_string(p, word, err);

	if (r == 0 && !is_store_path(word) && !(may_be_empty && !*word))
		r = nar_broken(p, "a path in it is not below " STORE, err);
	if (r == 0)
		*ret = xstrdup(word);
	return r;
}

/* What follows a NAR. */
static int path_info(struct nar_pass *p, struct path *ret, struct err *err)
{
	uint64_t magic = 0, refs = 0, sig = 0;
	char word[NAR_WORD_MAX + 1];
	int r = nar_number(p, &magic, err);

	if (r == 0 && magic != EXPORT_MAGIC)
		r = nar_broken(p, "a magic number is missing", err);
	if (r == 0)
		r = path_name(p, false, &ret->name, err);
	if (r == 0)
		r = nar_number(p, &refs, err);
	if (r == 0 && refs > REFS_MAX)
		r = nar_broken(p, "a path has too many references", err);
	for (uint64_t i = 0; r == 0 && i < refs; i++) {
		char *ref = NULL;

		r = path_name(p, false, &ref, err);
		if (r == 0)
			strv_push(&ret->refs, ref);
		free(ref);
	}
	if (r == 0)
		r = path_name(p, true, &ret->deriver, err);
	if (r == 0)
		r = nar_number(p, &sig, err);
	if (r == 0 && sig)
		r = nar_string(p, word, err);
	return r;
}

static int one_path(
    struct nar_pass *p, struct path *known, struct path *ret, struct err *err)
{
	_cleanup_(sha256_freep) struct sha256 *hash = sha256_new();
	int r;

	p->hash = hash;
	p->size = 0;
	p->has_init = false;
	r = nar_token(p, "nix-archive-1", err);
	if (r == 0)
		r = nar_node(p, known ? known->name + 1 : "", 0, err);
	p->hash = NULL;
	if (r < 0)
		return r;
	sha256_end(hash, ret->hash);
	ret->size = p->size;
	ret->has_init = p->has_init;
	return path_info(p, ret, err);
}

static void path_done(struct path *p)
{
	free(p->name);
	free(p->deriver);
	strv_free(p->refs);
}

static int index_paths(struct nar *n, struct nar_pass *p, struct err *err)
{
	uint64_t more;
	int r;

	while ((r = nar_number(p, &more, err)) == 0 && more == EXPORT_NEXT) {
		if (n->n == NAR_PATHS_MAX)
			return nar_broken(p, "it has too many paths", err);
		if ((n->n & (n->n - 1)) == 0)
			n->paths = xrealloc(n->paths,
			    (n->n ? 2 * n->n : 1) * sizeof(*n->paths));
		n->paths[n->n++] = (struct path){0};
		r = one_path(p, NULL, &n->paths[n->n - 1], err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	return more != 0 || !n->n ? nar_broken(p, "it has no paths", err) : 0;
}

/* --- what they make together ---------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(
	    ((const struct path *)a)->name, ((const struct path *)b)->name);
}

static void keep(void *p)
{
}

static int check_refs(struct nar *n, struct err *err)
{
	void *tree = NULL;
	int r = 0;

	for (size_t i = 0; i < n->n; i++)
		if (!tsearch(&n->paths[i], &tree, by_name))
			abort();
	for (size_t i = 0; i < n->n && r == 0; i++)
		for (char **ref = n->paths[i].refs; ref && *ref; ref++) {
			const struct path key = {.name = *ref};
			struct path **found = tfind(&key, &tree, by_name);

			if (!found) {
				r = err_set(err, -EINVAL,
				    "%s lacks %s, which %s refers to; export "
				    "all of it: nix-store --export "
				    "$(nix-store -qR PATH)",
				    n->file, *ref, n->paths[i].name);
				break;
			}
			if (*found != &n->paths[i])
				(*found)->wanted = true;
		}
	tdestroy(tree, keep);
	return r;
}

static int find_top(struct nar *n, const char *init, struct err *err)
{
	size_t candidates = 0;

	for (size_t i = 0; i < n->n; i++) {
		struct path *p = &n->paths[i];
		_cleanup_free_ char *its = xasprintf("%s/init", p->name);

		if (!p->has_init || (init ? !STREQ(init, its) : p->wanted))
			continue;
		candidates++;
		n->top = p;
		free(n->init);
		n->init = TAKE_PTR(its);
	}
	if (candidates == 1)
		return 0;
	if (init)
		return err_set(err, -EINVAL,
		    "init: %s is in no path of %s; it is "
		    "/nix/store/<hash>-<name>/init",
		    init, n->file);
	if (!candidates)
		return err_set(err, -EINVAL,
		    "%s has no system in it: no path with an init that no "
		    "other path refers to",
		    n->file);
	return err_set(err, -EINVAL,
	    "%s has %zu systems in it; say which by `init` in the image's "
	    "spec, as %s is",
	    n->file, candidates, n->init);
}

int nar_open(const char *file, const struct tar_watch *watch,
    const char *sha256, const char *init, struct nar **ret, struct err *err)
{
	_cleanup_(nar_freep) struct nar *n = xcalloc(1, sizeof(*n));
	_cleanup_(tar_in_freep) struct tar_in *in = NULL;
	_cleanup_free_ char *piece = xmalloc(NAR_PIECE);
	struct nar_pass p = {.file = file, .piece = piece};
	struct err why = ERR_INIT;
	char digest[SHA256_HEX];
	int bad, r;

	n->file = xstrdup(file);
	r = tar_in_open(file, true, watch, &in, err);
	if (r < 0)
		return r;
	p.in = in;
	bad = index_paths(n, &p, &why);
	if (bad == -ECANCELED) {
		err_copy(err, &why);
		return bad;
	}
	/* A wrong file is a better reason than what is odd in it. */
	r = tar_in_check(in, sha256, digest, err);
	if (r == 0 && bad < 0) {
		err_copy(err, &why);
		r = bad;
	}
	if (r == 0)
		r = check_refs(n, err);
	if (r == 0)
		r = find_top(n, init, err);
	if (r == 0)
		*ret = TAKE_PTR(n);
	return r;
}

const char *nar_init(const struct nar *n)
{
	return n->init;
}

void nar_registration(const struct nar *n, struct buf *ret)
{
	for (size_t i = 0; i < n->n; i++) {
		const struct path *p = &n->paths[i];

		buf_printf(ret, "%s\n%s\n%" PRIu64 "\n%s\n%zu\n", p->name,
		    p->hash, p->size, p->deriver, strv_len(p->refs));
		for (char **ref = p->refs; ref && *ref; ref++)
			buf_printf(ret, "%s\n", *ref);
	}
}

int nar_write(struct nar *n, const struct tar_watch *watch, struct tar_out *out,
    struct err *err)
{
	_cleanup_(tar_in_freep) struct tar_in *in = NULL;
	_cleanup_free_ char *piece = xmalloc(NAR_PIECE);
	struct nar_pass p = {.file = n->file, .out = out, .piece = piece};
	int r = tar_in_open(n->file, true, watch, &in, err);

	p.in = in;
	if (r == 0)
		r = nar_put(&p, "nix", S_IFDIR | 0755, 0, NULL, err);
	if (r == 0)
		r = nar_put(&p, "nix/store", S_IFDIR | 0755, 0, NULL, err);
	for (size_t i = 0; i < n->n && r == 0; i++) {
		struct path again = {0};
		uint64_t more;

		r = nar_number(&p, &more, err);
		if (r == 0)
			r = one_path(&p, &n->paths[i], &again, err);
		if (r == 0 && (!STREQ(again.name, n->paths[i].name) ||
				  !STREQ(again.hash, n->paths[i].hash)))
			r = err_set(err, -EAGAIN,
			    "%s was changed while it was read", n->file);
		path_done(&again);
	}
	return r;
}

void nar_free(struct nar *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		path_done(&n->paths[i]);
	free(n->paths);
	free(n->file);
	free(n->init);
	free(n);
}

void nar_freep(struct nar **n)
{
	nar_free(*n);
}
