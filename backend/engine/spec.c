/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks a document by the key table: checks every value, fills the structs of
 * include/spec.h, and writes the document with every default when asked to.
 * The four parsers are here.  What concerns more than one key is in
 * spec_check.c.  Pure: no I/O, no clock, no log.
 */
#include "engine/spec_table.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

struct walk {
	const struct spec_sub *root; /* for the nearest key */
	bool partial;
	bool want_out;
	struct err *err;
	size_t len;
	char path[256]; /* of the value that is looked at */
};

static void *at(void *base, unsigned field)
{
	return base && field ? (char *)base + field - 1 : NULL;
}

static size_t enter(struct walk *w, const char *separator, const char *name)
{
	size_t before = w->len, left = sizeof(w->path) - w->len;
	int n = snprintf(w->path + w->len, left, "%s%s",
	    w->len ? separator : "", spec_show(name).text);
	w->len += MIN((size_t)n, left - 1);
	return before;
}

static size_t enter_index(struct walk *w, size_t i)
{
	char text[24];
	snprintf(text, sizeof(text), "[%zu]", i);
	return enter(w, "", text);
}

static void leave(struct walk *w, size_t before)
{
	w->len = before;
	w->path[before] = '\0';
}

/* The sentence, with the path in front. */
static int PRINTF(2, 3) refuse(struct walk *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(w->err, -EINVAL, "%s: %s", w->path, text);
}

static int wrong_type(struct walk *w, const struct spec_key *key,
    const json_t *v, const char *wanted)
{
	return refuse(w, "found %s, wanted %s, for example %s",
	    spec_show_json(v).text, wanted, key->example);
}

/* --- scalars --- */

static int set_bool(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_boolean(v))
		return wrong_type(w, key, v, "true or false");
	bool *p = at(base, key->field);
	if (p)
		*p = json_is_true(v);
	return 0;
}

static int set_int(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_integer(v))
		return wrong_type(w, key, v, "a whole number");
	json_int_t n = json_integer_value(v);
	if (n < (json_int_t)key->min)
		return refuse(w,
		    "%" JSON_INTEGER_FORMAT " is below the minimum of %" PRIu64,
		    n, key->min);
	if (n > (json_int_t)key->max)
		return refuse(w,
		    "%" JSON_INTEGER_FORMAT " is above the maximum of %" PRIu64,
		    n, key->max);
	void *p = at(base, key->field);
	if (p && key->type == T_PORT)
		*(uint16_t *)p = (uint16_t)n;
	else if (p)
		*(unsigned *)p = (unsigned)n;
	return 0;
}

static int set_united(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	bool usec = key->type == T_USEC;
	const char *what = usec ? "a duration" : "a size";
	const char *units = usec ? "ms, s, m, h" : "K, M, G, T";

	if (json_is_integer(v))
		return refuse(w,
		    "%" JSON_INTEGER_FORMAT " has no unit; wanted %s, for "
		    "example %s",
		    json_integer_value(v), what, key->example);
	if (!json_is_string(v))
		return wrong_type(w, key, v, what);

	const char *s = json_string_value(v);
	struct spec_shown shown = spec_show(s);
	uint64_t n = 0;
	char low[24], high[24];
	int r = 0;
	if (key->type != T_REST || !STREQ(s, "100%"))
		r = usec ? spec_parse_usec(s, &n) : spec_parse_size(s, &n);
	if (r == -EDOM)
		return refuse(w,
		    "\"%s\" has no unit (%s); wanted %s, for example %s",
		    shown.text, units, what, key->example);
	if (r == -EINVAL)
		return refuse(w,
		    "\"%s\" is not %s: a whole number and one of %s, for "
		    "example %s",
		    shown.text, what, units, key->example);
	void (*format)(uint64_t, char[24]) = usec ? format_usec : format_size;
	format(key->min, low);
	format(key->max, high);
	bool rest = key->type == T_REST && STREQ(s, "100%");
	if (r == 0 && !rest && n < key->min)
		return refuse(
		    w, "%s is below the minimum of %s", shown.text, low);
	if (r == -ERANGE || n > key->max)
		return refuse(
		    w, "%s is above the maximum of %s", shown.text, high);
	uint64_t *p = at(base, key->field);
	if (p)
		*p = n;
	if (w->want_out && !rest) {
		format(n, low);
		*ret_norm = json_string(low);
	}
	return 0;
}

/* Finds a string among the words of the key; refuses it otherwise. */
static int find_word(
    struct walk *w, const struct spec_key *key, const char *s, unsigned *ret)
{
	char list[256] = "";
	size_t len = 0;
	for (size_t i = 0; i < key->words->n; i++) {
		const struct spec_word *word = &key->words->words[i];
		if (!*word->word)
			continue;
		if (STREQ(word->word, s)) {
			*ret = (unsigned)i;
			return 0;
		}
		if (len >= sizeof(list))
			continue;
		len += (size_t)snprintf(list + len, sizeof(list) - len,
		    "%s\"%s\"", len ? ", " : "", word->word);
	}
	return refuse(w, "\"%s\" is not one of: %s", spec_show(s).text, list);
}

static int set_word(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	unsigned i;
	if (!json_is_string(v))
		return wrong_type(w, key, v, "a word");
	int r = find_word(w, key, json_string_value(v), &i);
	if (r < 0)
		return r;
	void *p = at(base, key->field);
	if (p && key->type == T_CHOICE)
		*(char **)p = xstrdup(json_string_value(v));
	else if (p)
		*(unsigned *)p = i;
	return 0;
}

/* One string by the limits and the check of its key. */
static int check_text(struct walk *w, const struct spec_key *key, const char *s,
    size_t min, size_t max)
{
	struct err why = ERR_INIT;
	size_t len = strlen(s);
	if (len < min && len == 0)
		return refuse(w, "is empty, for example %s", key->example);
	if (len < min)
		return refuse(w, "%zu bytes, the minimum is %zu", len, min);
	if (len > max)
		return refuse(w, "%zu bytes, the maximum is %zu", len, max);
	if (key->check && key->check(s, &why) < 0)
		return refuse(w, "%s", why.text);
	return 0;
}

static int set_text(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_string(v))
		return wrong_type(w, key, v, "a string");
	const char *s = json_string_value(v);
	int r = check_text(w, key, s, key->min, key->max);
	if (r < 0)
		return r;
	char **p = at(base, key->field);
	if (p)
		*p = xstrdup(s);
	return 0;
}

static int set_cidr(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_string(v))
		return wrong_type(w, key, v, "an IPv4 subnet");
	const char *s = json_string_value(v);
	uint32_t ip;
	unsigned prefix;
	char right[16];
	if (spec_parse_cidr(s, &ip, &prefix) < 0)
		return refuse(w, "\"%s\" is not an IPv4 subnet, for example %s",
		    spec_show(s).text, key->example);
	if (prefix < key->min || prefix > key->max)
		return refuse(w,
		    "/%u is not allowed: from /%" PRIu64 " to /%" PRIu64,
		    prefix, key->min, key->max);
	uint32_t mask = UINT32_MAX << (32 - prefix);
	if (ip & ~mask) {
		format_ip(ip & mask, right);
		return refuse(w, "%s has host bits set; the subnet is %s/%u", s,
		    right, prefix);
	}
	unsigned first = ip >> 24;
	if (first == 0 || first == 127 || first >= 224)
		return refuse(w,
		    "%s is reserved (RFC 6890); take one of "
		    "10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
		    s);
	uint32_t *p = at(base, key->field);
	unsigned *q = at(base, key->second);
	if (p)
		*p = ip;
	if (q)
		*q = prefix;
	return 0;
}

static int set_mac(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	static const uint8_t zero[6];
	uint8_t mac[6];
	char text[18];
	if (!json_is_string(v))
		return wrong_type(w, key, v, "a MAC address");
	const char *s = json_string_value(v);
	if (parse_mac(s, mac) < 0)
		return refuse(w, "\"%s\" is not a MAC address, for example %s",
		    spec_show(s).text, key->example);
	if (mac[0] & 1 || memcmp(mac, zero, 6) == 0)
		return refuse(w, "%s is not a unicast address, for example %s",
		    s, key->example);
	uint8_t *p = at(base, key->field);
	if (p)
		memcpy(p, mac, sizeof(mac));
	if (w->want_out) {
		format_mac(mac, text);
		*ret_norm = json_string(text);
	}
	return 0;
}

static int set_address(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	uint32_t ip = 0;
	if (!json_is_string(v) && !json_is_null(v))
		return wrong_type(w, key, v, "an IPv4 address or null");
	if (json_is_string(v) && parse_ip(json_string_value(v), &ip) < 0)
		return refuse(w,
		    "\"%s\" is not an IPv4 address, for example %s",
		    spec_show(json_string_value(v)).text, key->example);
	uint32_t *p = at(base, key->field);
	unsigned *mode = at(base, key->second);
	if (p)
		*p = ip;
	if (mode)
		*mode = json_is_null(v) ? ADDRESS_NONE : ADDRESS_FIXED;
	return 0;
}

/* --- collections --- */

static int check_count(
    struct walk *w, const struct spec_key *key, size_t n, const char *what)
{
	if (n > key->max)
		return refuse(
		    w, "%zu %s, the maximum is %" PRIu64, n, what, key->max);
	return 0;
}

static int set_strings(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_array(v))
		return wrong_type(w, key, v, "a list of strings");
	int r = check_count(w, key, json_array_size(v), "entries");
	if (r == 0 && json_array_size(v) < key->min)
		r = refuse(
		    w, "the list is empty, for example %s", key->example);
	_cleanup_strv_ char **strings = NULL;
	size_t i;
	json_t *item;
	json_array_foreach (v, i, item) {
		if (r < 0)
			break;
		size_t before = enter_index(w, i);
		if (json_is_string(item)) {
			r = check_text(
			    w, key, json_string_value(item), 0, ITEM_MAX);
			strv_push(&strings, json_string_value(item));
		} else {
			r = refuse(w, "found %s, wanted a string",
			    spec_show_json(item).text);
		}
		leave(w, before);
	}
	char ***p = at(base, key->field);
	if (r == 0 && p)
		*p = TAKE_PTR(strings);
	return r;
}

static int set_flags(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	unsigned flags = 0, bit = 0;
	size_t i;
	json_t *item;
	if (!json_is_array(v))
		return wrong_type(w, key, v, "a list of words");
	json_array_foreach (v, i, item) {
		size_t before = enter_index(w, i);
		int r;
		if (!json_is_string(item))
			r = refuse(w, "found %s, wanted a word",
			    spec_show_json(item).text);
		else
			r = find_word(w, key, json_string_value(item), &bit);
		if (r == 0 && flags & 1u << bit)
			r = refuse(w, "\"%s\" is there twice",
			    json_string_value(item));
		leave(w, before);
		if (r < 0)
			return r;
		flags |= 1u << bit;
	}
	unsigned *p = at(base, key->field);
	if (p)
		*p = flags;
	return 0;
}

static int set_forward(struct walk *w, const struct spec_key *key,
    const char *host, const json_t *guest, struct forward_spec *ret)
{
	if (parse_port(host, &ret->host) < 0)
		return refuse(w,
		    "\"%s\" is not a port of the host: 1 to 65535, for "
		    "example %s",
		    spec_show(host).text, key->example);
	if (!json_is_integer(guest))
		return wrong_type(w, key, guest, "a port of the node");
	json_int_t port = json_integer_value(guest);
	if (port < 1 || port > UINT16_MAX)
		return refuse(w,
		    "%" JSON_INTEGER_FORMAT
		    " is not a port of the node: 1 to 65535",
		    port);
	ret->guest = (uint16_t)port;
	return 0;
}

static int set_forwards(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_object(v))
		return wrong_type(w, key, v, "an object of ports");
	int r = check_count(w, key, json_object_size(v), "forwards");
	if (r < 0)
		return r;
	_cleanup_free_ struct forward_spec *list =
	    xcalloc(MAX(json_object_size(v), (size_t)1), sizeof(*list));
	size_t n = 0;
	const char *host;
	json_t *guest;
	json_object_foreach (v, host, guest) {
		size_t before = enter(w, ".", host);
		r = set_forward(w, key, host, guest, &list[n++]);
		leave(w, before);
		if (r < 0)
			return r;
	}
	struct forward_spec **p = at(base, key->field);
	size_t *count = at(base, key->second);
	if (p && n)
		*p = TAKE_PTR(list);
	if (count)
		*count = n;
	return 0;
}

static int walk_object(struct walk *w, const struct spec_sub *sub, json_t *doc,
    void *base, json_t *out);

/* One entry of a map or a list; its path is entered. */
static int set_entry(struct walk *w, const struct spec_key *key, json_t *v,
    const char *name, void *base, json_t **ret_out)
{
	if (!json_is_object(v))
		return refuse(w, "found %s, wanted an object, for example {}",
		    spec_show_json(v).text);
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
	char **p = at(base, key->field);
	size_t *count = at(base, key->second);
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
		return wrong_type(w, key, v, "an object of named entries");
	const char *name;
	json_t *entry;
	size_t n = json_object_size(v);
	int r = check_count(w, key, n, "entries");
	if (r < 0)
		return r;

	_cleanup_json_ json_t *all = w->want_out ? json_object() : NULL;
	char *entries = make_entries(key, n, base);
	size_t i = 0;
	json_object_foreach (v, name, entry) {
		_cleanup_json_ json_t *out = NULL;
		struct err why = ERR_INIT;
		char *here = entries ? entries + i * key->sub->size : NULL;
		size_t before = enter(w, ".", name);
		if (key->check_name && key->check_name(name, &why) < 0)
			r = refuse(w, "%s", why.text);
		else
			r = set_entry(w, key, entry, name, here, &out);
		leave(w, before);
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
		return wrong_type(w, key, v, "a list");
	size_t n = json_array_size(v);
	int r = check_count(w, key, n, "entries");
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
		size_t before = enter_index(w, i);
		snprintf(name, sizeof(name), "part%zu", i + 1);
		r = set_entry(w, key, entry, name, here, &out);
		leave(w, before);
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
		return wrong_type(w, key, v, "an object");
	_cleanup_json_ json_t *out = w->want_out ? json_object() : NULL;
	/* Without a field its keys fill the struct that it stands in. */
	void *inner = key->field ? at(base, key->field) : base;
	int r = walk_object(w, key->sub, v, inner, out);
	*ret_norm = TAKE_PTR(out);
	return r;
}

/* A partial node spec within the cluster's: checked, kept as text. */
static int set_node(struct walk *w, const struct spec_key *key, json_t *v)
{
	if (!json_is_object(v))
		return wrong_type(w, key, v, "a partial node spec");
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
	case T_BOOL:
		return set_bool(w, key, v, base);
	case T_INT:
	case T_PORT:
		return set_int(w, key, v, base);
	case T_SIZE:
	case T_REST:
	case T_USEC:
		return set_united(w, key, v, base, ret_norm);
	case T_WORD:
	case T_CHOICE:
		return set_word(w, key, v, base);
	case T_TEXT:
		return set_text(w, key, v, base);
	case T_CIDR:
		return set_cidr(w, key, v, base);
	case T_MAC:
		return set_mac(w, key, v, base, ret_norm);
	case T_ADDRESS:
		return set_address(w, key, v, base);
	case T_STRINGS:
		return set_strings(w, key, v, base);
	case T_FLAGS:
		return set_flags(w, key, v, base);
	case T_FORWARDS:
		return set_forwards(w, key, v, base);
	case T_OBJECT:
		return set_object(w, key, v, base, ret_norm);
	case T_MAP:
		return set_map(w, key, v, base, ret_norm);
	case T_LIST:
		return set_list(w, key, v, base, ret_norm);
	case T_NODE:
		return set_node(w, key, v);
	}
	abort();
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
			return refuse(
			    w, "is required, for example %s", key->example);
		fallback = fallback_value(key);
		v = fallback;
		if (!v)
			return 0;
	}
	bool *has = at(base, key->has);
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
		size_t before = enter(w, ".", sub->keys[i].name);
		int r = walk_key(w, &sub->keys[i], doc, base, out);
		leave(w, before);
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
