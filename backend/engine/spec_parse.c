/* SPDX-License-Identifier: Apache-2.0
 *
 * The parsers of include/spec.h: text in, struct or the document with every
 * default out; and freeing by the table.  spec_walk.c does the walking.  Pure.
 */
#include "engine/spec_table.h"

#include <errno.h>

/* --- freeing ----------------------------------------------------------- */

static void free_entries(const struct spec_key *key, void *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *entry = (char *)list + i * key->sub->size;
		if (key->type == T_MAP)
			free(*(char **)entry);
		spec_free_fields(key->sub, entry);
	}
	free(list);
}

void spec_free_fields(const struct spec_sub *sub, void *base)
{
	for (size_t i = 0; i < sub->n; i++) {
		const struct spec_key *key = &sub->keys[i];
		char *p = (char *)base + key->field - 1;
		if (key->type == T_OBJECT)
			spec_free_fields(key->sub, key->field ? p : base);
		if (!key->field)
			continue;
		switch (key->type) {
		case T_TEXT:
		case T_CHOICE:
		case T_FORWARDS:
			free(*(void **)p);
			break;
		case T_STRINGS:
			strv_free(*(char ***)p);
			break;
		case T_MAP:
		case T_LIST:
			free_entries(key, *(void **)p,
			    *(size_t *)((char *)base + key->second - 1));
			break;
		default:
			break;
		}
	}
}

static void free_struct(enum spec_kind kind, void *s)
{
	if (!s)
		return;
	spec_free_fields(spec_keys(kind), s);
	free(s);
}

void node_spec_free(struct node_spec *s)
{
	free_struct(SPEC_NODE, s);
}

void network_spec_free(struct network_spec *s)
{
	free_struct(SPEC_NETWORK, s);
}

void image_spec_free(struct image_spec *s)
{
	free_struct(SPEC_IMAGE, s);
}

void cluster_spec_free(struct cluster_spec *s)
{
	free_struct(SPEC_CLUSTER, s);
}

/* --- parsing -------------------------------------------------------------- */

static int check_whole(
    enum spec_kind kind, void *s, const json_t *doc, struct err *err)
{
	switch (kind) {
	case SPEC_NODE:
		return spec_check_node(s, false, err);
	case SPEC_IMAGE:
		return spec_check_image(s, doc, err);
	case SPEC_CLUSTER:
		return spec_check_cluster(s, err);
	default:
		return 0;
	}
}

/* Loads text, with defaults (may be NULL) under it. */
static int load_merged(
    const char *defaults, const char *text, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL, *under = NULL;
	int r = spec_load(text, &doc, err);
	if (r < 0)
		return r;
	if (defaults && json_is_object(doc)) {
		r = spec_load(defaults, &under, err);
		if (r < 0) {
			err_prefix(err, "defaults: ");
			return r;
		}
		*ret = spec_patch(under, doc, true);
		return 0;
	}
	*ret = TAKE_PTR(doc);
	return 0;
}

/* The defaults by themselves: is it they that are wrong? */
static int check_defaults(const char *defaults, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	struct node_spec s = {0};
	int r = spec_load(defaults, &doc, err);
	if (r == 0)
		r = spec_walk(SPEC_NODE, doc, true, &s, NULL, err);
	if (r == 0)
		r = spec_check_node(&s, true, err);
	spec_free_fields(spec_keys(SPEC_NODE), &s);
	if (r < 0)
		err_prefix(err, "defaults: ");
	return r;
}

/* What is made when an image says neither how nor from what. */
static void add_build(json_t *doc)
{
	const char *kind = json_string_value(json_object_get(doc, "kind"));
	if (!kind || (!STREQ(kind, image_kind_name(IMAGE_NETBOOT)) &&
			 !STREQ(kind, image_kind_name(IMAGE_ROOTFS))))
		return;
	static const char *const given[] = {
	    "build", "kernel", "initrd", "source"};
	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		const json_t *v = json_object_get(doc, given[i]);
		if (v && !json_is_null(v))
			return;
	}
	json_object_set_new(doc, "build", json_string("debian"));
}

/* `base` is the zeroed struct of the kind; out may be NULL. */
static int parse(enum spec_kind kind, const char *defaults, json_t *doc,
    void *base, json_t *out, struct err *err)
{
	if (kind == SPEC_IMAGE)
		add_build(doc);
	int r = spec_walk(kind, doc, false, base, out, err);
	if (r == 0)
		r = check_whole(kind, base, doc, err);
	if (r < 0 && defaults) {
		struct err why = ERR_INIT;
		if (check_defaults(defaults, &why) < 0)
			err_copy(err, &why);
	}
	return r;
}

int node_spec_parse(const char *defaults, const char *text,
    struct node_spec **ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = load_merged(defaults, text, &doc, err);
	if (r < 0)
		return r;
	struct node_spec *s = xcalloc(1, sizeof(*s));
	r = parse(SPEC_NODE, defaults, doc, s, NULL, err);
	if (r < 0)
		node_spec_free(s);
	else
		*ret = s;
	return r;
}

int network_spec_parse(
    const char *text, struct network_spec **ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = spec_load(text, &doc, err);
	if (r < 0)
		return r;
	struct network_spec *s = xcalloc(1, sizeof(*s));
	r = parse(SPEC_NETWORK, NULL, doc, s, NULL, err);
	if (r < 0)
		network_spec_free(s);
	else
		*ret = s;
	return r;
}

int image_spec_parse(const char *text, struct image_spec **ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = spec_load(text, &doc, err);
	if (r < 0)
		return r;
	struct image_spec *s = xcalloc(1, sizeof(*s));
	r = parse(SPEC_IMAGE, NULL, doc, s, NULL, err);
	if (r < 0)
		image_spec_free(s);
	else
		*ret = s;
	return r;
}

int cluster_spec_parse(const char *text, struct cluster_spec **ret,
    char **ret_defaults, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = spec_load(text, &doc, err);
	if (r < 0)
		return r;
	struct cluster_spec *s = xcalloc(1, sizeof(*s));
	r = parse(SPEC_CLUSTER, NULL, doc, s, NULL, err);
	if (r < 0) {
		cluster_spec_free(s);
		return r;
	}
	const json_t *defaults = json_object_get(doc, "defaults");
	struct buf partial = {0};
	if (json_is_object(defaults))
		spec_dump(defaults, &partial);
	*ret_defaults = partial.len ? buf_take(&partial) : NULL;
	*ret = s;
	return 0;
}

/* --- with every default --------------------------------------------------- */

/* Keys of one driver are no defaults of another. */
static void drop_unused(enum spec_kind kind, const json_t *doc, json_t *out)
{
	if (kind != SPEC_NODE)
		return;
	const char *driver = json_string_value(json_object_get(out, "driver"));
	if (!json_object_get(doc, "fake") && !STREQ(driver, "fake"))
		json_object_del(out, "fake");
}

/* Host paths begin at cwd. */
static void make_absolute(
    const struct spec_sub *sub, json_t *doc, const char *cwd)
{
	for (size_t i = 0; i < sub->n; i++) {
		const struct spec_key *key = &sub->keys[i];
		json_t *v = json_object_get(doc, key->name), *entry;
		const char *s = json_string_value(v), *name;
		size_t at;

		if (s && *s != '/' && key->check == check_path) {
			_cleanup_free_ char *path = xasprintf("%s/%s", cwd, s);
			json_object_set_new(doc, key->name, json_string(path));
		} else if (key->type == T_OBJECT) {
			make_absolute(key->sub, v, cwd);
		} else if (key->type == T_NODE) {
			make_absolute(spec_keys(SPEC_NODE), v, cwd);
		} else if (key->type == T_MAP) {
			json_object_foreach (v, name, entry) {
				make_absolute(key->sub, entry, cwd);
			}
		} else if (key->type == T_LIST) {
			json_array_foreach (v, at, entry) {
				make_absolute(key->sub, entry, cwd);
			}
		}
	}
}

int spec_effective(enum spec_kind kind, const char *defaults, const char *text,
    struct buf *ret, struct err *err)
{
	return spec_shown_at(NULL, kind, defaults, text, ret, err);
}

int spec_shown_at(const char *cwd, enum spec_kind kind, const char *defaults,
    const char *text, struct buf *ret, struct err *err)
{
	union {
		struct node_spec node;
		struct network_spec network;
		struct image_spec image;
		struct cluster_spec cluster;
	} s = {0};
	_cleanup_json_ json_t *doc = NULL, *out = NULL;

	if (kind != SPEC_NODE)
		defaults = NULL;
	int r = load_merged(defaults, text, &doc, err);
	if (r < 0)
		return r;
	out = json_object();
	r = parse(kind, defaults, doc, &s, out, err);
	if (r == 0) {
		drop_unused(kind, doc, out);
		if (cwd)
			make_absolute(spec_keys(kind), out, cwd);
		spec_dump(out, ret);
	}
	spec_free_fields(spec_keys(kind), &s);
	return r;
}
