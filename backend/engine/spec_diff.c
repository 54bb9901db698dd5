/* SPDX-License-Identifier: Apache-2.0
 *
 * What differs between two effective node specs, by what the change asks for
 * (live, restart, wipe: a column of the key table); and the table as text for
 * pages.  Pure.
 */
#include "engine/spec_table.h"

#include <inttypes.h>
#include <stdio.h>

/* --- diff -------------------------------------------------------------- */

struct diff {
	enum spec_effect effect;
	void (*fn)(const char *key, void *userdata);
	void *userdata;
	int count;
};

static void diff_object(struct diff *d, const char *path,
    const struct spec_sub *sub, json_t *a, json_t *b);

static void differs(struct diff *d, const char *path, enum spec_effect effect)
{
	if (effect != d->effect)
		return;
	d->count++;
	d->fn(path, d->userdata);
}

static bool same(json_t *a, json_t *b)
{
	return a == b || (a && b && json_equal(a, b));
}

static void join(char out[256], const char *path, const char *name)
{
	/* Names of keys and map entries are bounded where they are read. */
	snprintf(out, 256, "%.190s%s%.63s", path, *path ? "." : "", name);
}

/* An entry of a map that came or went is one change, of the map's effect. */
static void diff_map(struct diff *d, const char *path,
    const struct spec_key *key, json_t *a, json_t *b)
{
	const char *name;
	json_t *entry;
	char here[256];
	json_object_foreach (a, name, entry) {
		json_t *other = json_object_get(b, name);
		join(here, path, name);
		if (other)
			diff_object(d, here, key->sub, entry, other);
		else
			differs(d, here, key->effect);
	}
	json_object_foreach (b, name, entry) {
		if (json_object_get(a, name))
			continue;
		join(here, path, name);
		differs(d, here, key->effect);
	}
}

static void diff_object(struct diff *d, const char *path,
    const struct spec_sub *sub, json_t *a, json_t *b)
{
	for (size_t i = 0; i < sub->n; i++) {
		const struct spec_key *key = &sub->keys[i];
		json_t *x = json_object_get(a, key->name);
		json_t *y = json_object_get(b, key->name);
		char here[256];
		if (same(x, y))
			continue;
		join(here, path, key->name);
		if (key->type == T_OBJECT && x && y)
			diff_object(d, here, key->sub, x, y);
		else if (key->type == T_MAP && x && y)
			diff_map(d, here, key, x, y);
		else
			differs(d, here, key->effect);
	}
}

int spec_node_diff(const char *a, const char *b, enum spec_effect effect,
    void (*fn)(const char *key, void *userdata), void *userdata)
{
	_cleanup_json_ json_t *x = json_loads(a, 0, NULL);
	_cleanup_json_ json_t *y = json_loads(b, 0, NULL);
	struct diff d = {.effect = effect, .fn = fn, .userdata = userdata};
	if (json_is_object(x) && json_is_object(y))
		diff_object(&d, "", spec_keys(SPEC_NODE), x, y);
	return d.count;
}

/* --- docs --- */

static void words_text(const struct spec_key *key, bool list, struct buf *ret)
{
	if (list)
		buf_puts(ret, "list of ");
	bool first = true;
	for (size_t i = 0; i < key->words->n; i++) {
		const struct spec_word *w = &key->words->words[i];
		if (!*w->word)
			continue;
		buf_printf(ret, "%s\"%s\"", first ? "" : ", ", w->word);
		first = false;
	}
}

static void type_text(const struct spec_key *key, struct buf *ret)
{
	static const char *const names[] = {
	    [T_BOOL] = "true or false",
	    [T_INT] = "whole number",
	    [T_PORT] = "port",
	    [T_SIZE] = "size",
	    [T_REST] = "size or \"100%\"",
	    [T_USEC] = "duration",
	    [T_TEXT] = "string",
	    [T_CIDR] = "IPv4 subnet",
	    [T_MAC] = "MAC address",
	    [T_ADDRESS] = "IPv4 address or null",
	    [T_STRINGS] = "list of strings",
	    [T_FORWARDS] = "object of ports",
	    [T_OBJECT] = "object",
	    [T_MAP] = "object of named entries",
	    [T_LIST] = "list of objects",
	    [T_NODE] = "partial node spec",
	};
	if (key->words)
		words_text(key, key->type == T_FLAGS, ret);
	else
		buf_puts(ret, names[key->type]);
}

static void limits_text(const struct spec_key *key, struct buf *ret)
{
	char low[24], high[24];
	switch (key->type) {
	case T_INT:
	case T_PORT:
		buf_printf(ret, "%" PRIu64 "-%" PRIu64, key->min, key->max);
		break;
	case T_SIZE:
	case T_REST:
		format_size(key->min, low);
		format_size(key->max, high);
		buf_printf(ret, "%s-%s", low, high);
		break;
	case T_USEC:
		format_usec(key->min, low);
		format_usec(key->max, high);
		buf_printf(ret, "%s-%s", low, high);
		break;
	case T_TEXT:
		buf_printf(
		    ret, "%" PRIu64 "-%" PRIu64 " bytes", key->min, key->max);
		break;
	case T_STRINGS:
	case T_FORWARDS:
	case T_MAP:
	case T_LIST:
		buf_printf(ret, "at most %" PRIu64, key->max);
		break;
	default:
		break;
	}
	if (key->limits)
		buf_printf(ret, "%s%s", ret->len ? "; " : "", key->limits);
	if (key->flags & REQUIRED)
		buf_printf(ret, "%srequired", ret->len ? "; " : "");
}

struct each {
	void (*fn)(const struct spec_key_doc *key, void *userdata);
	void *userdata;
};

static void each_key(
    const struct each *e, const char *parent, const struct spec_sub *sub)
{
	for (size_t i = 0; i < sub->n; i++) {
		const struct spec_key *key = &sub->keys[i];
		_cleanup_buf_ struct buf type = {0}, limits = {0};
		char path[160];
		snprintf(path, sizeof(path), "%s%s%s", parent,
		    *parent ? "." : "", key->name);
		type_text(key, &type);
		limits_text(key, &limits);
		const struct spec_key_doc doc = {
		    .path = path,
		    .type = buf_str(&type),
		    .fallback = key->fallback ? key->fallback : "",
		    .limits = buf_str(&limits),
		    .help = key->help,
		};
		e->fn(&doc, e->userdata);
		if (!key->sub)
			continue;
		char below[200];
		snprintf(below, sizeof(below), "%s%s%s", path,
		    key->type == T_MAP ? "." : "",
		    key->sub->each ? key->sub->each : "");
		each_key(e, below, key->sub);
	}
}

void spec_each_key(enum spec_kind kind,
    void (*fn)(const struct spec_key_doc *key, void *userdata), void *userdata)
{
	const struct each e = {.fn = fn, .userdata = userdata};
	each_key(&e, "", spec_keys(kind));
}
