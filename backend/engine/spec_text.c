/* SPDX-License-Identifier: Apache-2.0
 *
 * Specs as JSON values: loading, merge patches (RFC 7396), sections,
 * comparing, printing.  jansson reads only what spec_json_state() in
 * spec_scan.c has called complete, so its own limits are never met.  Pure.
 */
#include "engine/spec_table.h"

#include <errno.h>

void spec_json_unrefp(json_t **v)
{
	json_decref(*v);
}

int spec_load(const char *text, json_t **ret, struct err *err)
{
	size_t len = strlen(text);
	if (len > SPEC_MAX)
		return err_set(err, -EFBIG,
		    "the document has %zu bytes, the maximum is %d", len,
		    SPEC_MAX);
	switch (spec_json_state(text, len, err)) {
	case JSON_EMPTY:
		return err_set(err, -EINVAL,
		    "line 1, column 1: the document is empty; {} is one "
		    "without keys");
	case JSON_INCOMPLETE:
	case JSON_BROKEN:
		return -EINVAL;
	case JSON_COMPLETE:
		break;
	}
	json_error_t why;
	json_t *v = json_loadb(text, len, JSON_DECODE_ANY, &why);
	if (!v)
		return err_set(err, -EINVAL, "line %d, column %d: %s", why.line,
		    why.column, why.text);
	*ret = v;
	return 0;
}

void spec_dump(const json_t *v, struct buf *ret)
{
	char *text = json_dumps(v, JSON_INDENT(2) | JSON_ENCODE_ANY);
	if (!text)
		abort(); /* out of memory: everything here is valid UTF-8 */
	buf_puts(ret, text);
	buf_putc(ret, '\n');
	free(text);
}

/* Recursion is bounded by SPEC_DEPTH_MAX: both were loaded here. */
json_t *spec_patch(json_t *base, json_t *patch, bool keep_null)
{
	if (!json_is_object(patch))
		return json_incref(patch);

	json_t *result = json_is_object(base) ? json_copy(base) : json_object();
	const char *key;
	json_t *value;
	json_object_foreach (patch, key, value) {
		json_t *old = json_object_get(result, key);
		if (json_is_null(value) && (old || !keep_null)) {
			json_object_del(result, key);
			continue;
		}
		json_object_set_new(
		    result, key, spec_patch(old, value, keep_null));
	}
	return result;
}

/* A result that grew beyond the limit can't be stored. */
static int dump_within_limit(const json_t *v, struct buf *ret, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	spec_dump(v, &text);
	if (text.len > SPEC_MAX)
		return err_set(err, -EFBIG,
		    "the document would have %zu bytes, the maximum is %d",
		    text.len, SPEC_MAX);
	buf_append(ret, text.data, text.len);
	return 0;
}

int spec_merge(
    const char *base, const char *patch, struct buf *ret, struct err *err)
{
	_cleanup_json_ json_t *from = NULL, *with = NULL, *result = NULL;
	int r = spec_load(base, &from, err);
	if (r < 0)
		return r;
	r = spec_load(patch, &with, err);
	if (r < 0)
		return r;
	result = spec_patch(from, with, false);
	return dump_within_limit(result, ret, err);
}

static int load_object(const char *text, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *v = NULL;
	int r = spec_load(text, &v, err);
	if (r < 0)
		return r;
	if (!json_is_object(v))
		return err_set(err, -EINVAL,
		    "the document: found %s, wanted an object, for example {}",
		    spec_show_json(v).text);
	*ret = TAKE_PTR(v);
	return 0;
}

int spec_section_get(
    const char *text, const char *key, struct buf *ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = load_object(text, &doc, err);
	if (r < 0)
		return r;
	const json_t *section = json_object_get(doc, key);
	if (section)
		spec_dump(section, ret);
	else
		buf_puts(ret, "null\n");
	return 0;
}

int spec_section_set(const char *text, const char *key, const char *value,
    struct buf *ret, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL, *section = NULL;
	int r = load_object(text, &doc, err);
	if (r < 0)
		return r;
	r = spec_load(value, &section, err);
	if (r < 0)
		return r;
	if (json_is_null(section))
		json_object_del(doc, key);
	else
		json_object_set(doc, key, section);
	return dump_within_limit(doc, ret, err);
}

bool spec_same(const char *a, const char *b)
{
	if (STREQ(a, b))
		return true;
	_cleanup_json_ json_t *x = NULL, *y = NULL;
	if (spec_load(a, &x, NULL) < 0 || spec_load(b, &y, NULL) < 0)
		return false;
	return json_equal(x, y);
}
