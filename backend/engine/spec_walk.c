/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks a document by the key table: checks every value, fills the structs of
 * include/spec.h, and writes the document with every default when asked to.
 * Single values are taken by spec_scalar.c; what concerns more than one key is
 * in spec_check.c.  Called by spec_parse.c.  Pure: no I/O, no clock, no log.
 */
#include "engine/spec_walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static int walk_object(struct walk *w, const struct spec_sub *sub, json_t *doc,
    void *base, json_t *out);

/* --- the path, and sentences --------------------------------------------- */

void *walk_at(void *base, unsigned field)
{
	return base && field ? (char *)base + field - 1 : NULL;
}

size_t walk_enter(struct walk *w, const char *separator, const char *name)
{
	size_t before = w->len, left = sizeof(w->path) - w->len;
	int n = snprintf(w->path + w->len, left, "%s%s",
	    w->len ? separator : "", spec_show(name).text);
	w->len += MIN((size_t)n, left - 1);
	return before;
}

size_t walk_enter_index(struct walk *w, size_t i)
{
	char text[24];
	snprintf(text, sizeof(text), "[%zu]", i);
	return walk_enter(w, "", text);
}

void walk_leave(struct walk *w, size_t before)
{
	w->len = before;
	w->path[before] = '\0';
}

int walk_refuse(struct walk *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(w->err, -EINVAL, "%s: %s", w->path, text);
}

/* A secret in the wrong place is still one: `"run":{"login":"..."}`. */
static bool holds_secret(const struct spec_key *key)
{
	bool secret = key->flags & SECRET;
	for (size_t i = 0; key->sub && i < key->sub->n && !secret; i++)
		secret = holds_secret(&key->sub->keys[i]);
	return secret;
}

struct spec_shown walk_found(const struct spec_key *key, const json_t *v)
{
	return holds_secret(key) ? spec_show_type(v) : spec_show_json(v);
}

int walk_wrong_type(struct walk *w, const struct spec_key *key, const json_t *v,
    const char *wanted)
{
	return walk_refuse(w, "found %s, wanted %s, for example %s",
	    walk_found(key, v).text, wanted, key->example);
}

int walk_check_count(
    struct walk *w, const struct spec_key *key, size_t n, const char *what)
{
	if (n > key->max)
		return walk_refuse(
		    w, "%zu %s, the maximum is %" PRIu64, n, what, key->max);
	return 0;
}

/* --- collections --- */

/* One entry of a map or a list; its path is entered. */
static int set_entry(struct walk *w, const struct spec_key *key, json_t *v,
    const char *name, void *base, json_t **ret_out)
{
	if (!json_is_object(v))
		return walk_refuse(w,
		    "found %s, wanted an object, for example {}",
		    walk_found(key, v).text);
	_cleanup_json_ json_t *named = NULL, *out = NULL;
	const struct spec_sub *sub = key->sub;
	if (sub->named) {
		const json_t *given = json_object_get(v, sub->named);
		if (!given || json_is_null(given)) {
			named = json_copy(v);
			json_object_set_new(
			    named, sub->named, json_string(name));
			v = named;
		}
	}
	if (key->type == T_MAP && base)
		*(char **)base = xstrdup(name);
	out = w->want_out ? json_object() : NULL;
	int r = walk_object(w, sub, v, base, out);
	*ret_out = TAKE_PTR(out);
	return r;
}

/* Memory for n entries, owned by the struct from now on: what is filled in
 * before an error is freed with it. */
static char *make_entries(const struct spec_key *key, size_t n, void *base)
{
	char **p = walk_at(base, key->field);
	size_t *count = walk_at(base, key->second);
	if (!p || !n || !key->sub->size)
		return NULL;
	*p = xcalloc(n, key->sub->size);
	if (count)
		*count = n;
	return *p;
}

static int set_map(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	if (!json_is_object(v))
		return walk_wrong_type(w, key, v, "an object of named entries");
	const char *name;
	json_t *entry;
	size_t n = json_object_size(v);
	int r = walk_check_count(w, key, n, "entries");
	if (r < 0)
		return r;

	_cleanup_json_ json_t *all = w->want_out ? json_object() : NULL;
	char *entries = make_entries(key, n, base);
	size_t i = 0;
	json_object_foreach (v, name, entry) {
		_cleanup_json_ json_t *out = NULL;
		struct err why = ERR_INIT;
		char *here = entries ? entries + i * key->sub->size : NULL;
		size_t before = walk_enter(w, ".", name);
		if (key->check_name && key->check_name(name, &why) < 0)
			r = walk_refuse(w, "%s", why.text);
		else
			r = set_entry(w, key, entry, name, here, &out);
		walk_leave(w, before);
		if (r < 0)
			return r;
		if (all)
			json_object_set(all, name, out);
		i++;
	}
	*ret_norm = TAKE_PTR(all);
	return 0;
}

static int set_list(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	if (!json_is_array(v))
		return walk_wrong_type(w, key, v, "a list");
	size_t n = json_array_size(v);
	int r = walk_check_count(w, key, n, "entries");
	if (r < 0)
		return r;

	_cleanup_json_ json_t *all = w->want_out ? json_array() : NULL;
	char *entries = make_entries(key, n, base);
	size_t i;
	json_t *entry;
	json_array_foreach (v, i, entry) {
		_cleanup_json_ json_t *out = NULL;
		char name[32];
		char *here = entries ? entries + i * key->sub->size : NULL;
		size_t before = walk_enter_index(w, i);
		snprintf(name, sizeof(name), "part%zu", i + 1);
		r = set_entry(w, key, entry, name, here, &out);
		walk_leave(w, before);
		if (r < 0)
			return r;
		if (all)
			json_array_append(all, out);
	}
	*ret_norm = TAKE_PTR(all);
	return 0;
}

static int set_object(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	if (!json_is_object(v))
		return walk_wrong_type(w, key, v, "an object");
	_cleanup_json_ json_t *out = w->want_out ? json_object() : NULL;
	/* Without a field its keys fill the struct that it stands in. */
	void *inner = key->field ? walk_at(base, key->field) : base;
	int r = walk_object(w, key->sub, v, inner, out);
	*ret_norm = TAKE_PTR(out);
	return r;
}

/* A partial node spec within the cluster's: checked, kept as text. */
static int set_node(struct walk *w, const struct spec_key *key, json_t *v)
{
	if (!json_is_object(v))
		return walk_wrong_type(w, key, v, "a partial node spec");
	struct walk inner = *w;
	struct node_spec s = {0};
	struct err why = ERR_INIT;
	inner.root = spec_keys(SPEC_NODE);
	inner.partial = true;
	inner.want_out = false;
	int r = walk_object(&inner, inner.root, v, &s, NULL);
	if (r == 0) {
		r = spec_check_node(&s, true, &why);
		if (r < 0)
			err_set(w->err, r, "%s.%s", w->path, why.text);
	}
	spec_free_fields(inner.root, &s);
	return r;
}

/* --- the walk --- */

static int set_value(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	switch (key->type) {
	case T_OBJECT:
		return set_object(w, key, v, base, ret_norm);
	case T_MAP:
		return set_map(w, key, v, base, ret_norm);
	case T_LIST:
		return set_list(w, key, v, base, ret_norm);
	case T_NODE:
		return set_node(w, key, v);
	default:
		return walk_scalar(w, key, v, base, ret_norm);
	}
}

/* The default of a key as a value; NULL when it has none. */
static json_t *fallback_value(const struct spec_key *key)
{
	const char *s = key->fallback;
	if (!s)
		return NULL;
	if (*s == '"')
		return json_stringn(s + 1, strlen(s) - 2);
	if (STREQ(s, "true") || STREQ(s, "false"))
		return json_boolean(*s == 't');
	if (STREQ(s, "{}"))
		return json_object();
	return json_loads(s, JSON_DECODE_ANY, NULL);
}

/* Tells that a value changed without telling the value; still of its type, so
 * that an effective document is a document. */
static json_t *digest(const json_t *v)
{
	_cleanup_buf_ struct buf text = {0};
	char shown[64];
	spec_dump(v, &text);
	snprintf(shown, sizeof(shown), "%zu bytes, digest %016" PRIx64,
	    text.len, hash_bytes(text.data, text.len));
	return json_is_array(v) ? json_pack("[s]", shown) : json_string(shown);
}

static int walk_key(struct walk *w, const struct spec_key *key, json_t *doc,
    void *base, json_t *out)
{
	_cleanup_json_ json_t *fallback = NULL, *norm = NULL;
	json_t *v = json_object_get(doc, key->name);
	/* null takes a key of the cluster's defaults back. */
	bool written = v && (!json_is_null(v) || key->type == T_ADDRESS);

	if (!written) {
		if (key->flags & REQUIRED && !w->partial)
			return walk_refuse(
			    w, "is required, for example %s", key->example);
		fallback = fallback_value(key);
		v = fallback;
		if (!v)
			return 0;
	}
	bool *has = walk_at(base, key->has);
	if (has && written)
		*has = true;
	int r = set_value(w, key, v, base, &norm);
	if (r == 0 && out && key->flags & SECRET)
		json_object_set_new(out, key->name, digest(v));
	else if (r == 0 && out)
		json_object_set(out, key->name, norm ? norm : v);
	return r;
}

static const struct spec_key *find_key(
    const struct spec_sub *sub, const char *name)
{
	for (size_t i = 0; i < sub->n; i++)
		if (STREQ(sub->keys[i].name, name))
			return &sub->keys[i];
	return NULL;
}

/* Recursion ends with the table, four levels deep. */
static int walk_object(struct walk *w, const struct spec_sub *sub, json_t *doc,
    void *base, json_t *out)
{
	const char *name;
	json_t *v;
	json_object_foreach (doc, name, v) {
		if (!find_key(sub, name))
			return spec_unknown_key(
			    w->root, sub, w->path, name, w->err);
	}
	for (size_t i = 0; i < sub->n; i++) {
		size_t before = walk_enter(w, ".", sub->keys[i].name);
		int r = walk_key(w, &sub->keys[i], doc, base, out);
		walk_leave(w, before);
		if (r < 0)
			return r;
	}
	return 0;
}

int spec_walk(enum spec_kind kind, json_t *doc, bool partial, void *base,
    json_t *out, struct err *err)
{
	struct walk w = {
	    .root = spec_keys(kind),
	    .partial = partial,
	    .want_out = out != NULL,
	    .err = err,
	};
	if (!json_is_object(doc))
		return err_set(err, -EINVAL,
		    "the document: found %s, wanted an object, for example {}",
		    spec_show_json(doc).text);
	return walk_object(&w, w.root, doc, base, out);
}
