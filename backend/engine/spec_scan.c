/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides what the bytes that a writer has sent so far are: nothing yet, the
 * beginning of a JSON document, a whole one, or something that no further byte
 * can mend.  Exact: a text is broken if and only if no continuation of it is a
 * document that we take.  One pass, a stack of SPEC_DEPTH_MAX levels, no
 * recursion.  RFC 8259; strings, numbers and words are spec_token.c's.  The
 * order of keys and their values are none of its business.  Pure.
 */
#include "engine/spec_scan.h"

#include <errno.h>
#include <stdio.h>

static void scan_done(struct scan *s)
{
	free(s->keys);
	buf_done(&s->names);
}

int scan_broken(struct scan *s, size_t where, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	s->broken = true;
	s->where = where;
	return -EINVAL;
}

/* --- duplicate keys ---------------------------------------------------- */

struct sorted {
	const char *name;
	size_t len, at;
};

static int by_name(const void *pa, const void *pb)
{
	const struct sorted *a = pa, *b = pb;
	int d = memcmp(a->name, b->name, MIN(a->len, b->len));
	if (d)
		return d;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return a->at < b->at ? -1 : 1;
}

/* Finds the first key of an open object that was there before.  Sorting
 * keeps this away from anything worse than n log n, whatever the keys. */
static bool find_duplicate(
    const struct scan *s, unsigned level, struct sorted *ret)
{
	size_t first = s->stack[level].first_key;
	size_t end =
	    level + 1 < s->depth ? s->stack[level + 1].first_key : s->n_keys;
	size_t n = end - first;
	if (!s->stack[level].object || n < 2)
		return false;

	_cleanup_free_ struct sorted *v = xcalloc(n, sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		const struct key *k = &s->keys[first + i];
		v[i] = (struct sorted){
		    buf_str(&s->names) + k->start, k->len, k->at};
	}
	qsort(v, n, sizeof(*v), by_name);
	bool found = false;
	for (size_t i = 1; i < n; i++) {
		if (v[i].len != v[i - 1].len ||
		    memcmp(v[i].name, v[i - 1].name, v[i].len) != 0)
			continue;
		if (!found || v[i].at < ret->at)
			*ret = v[i];
		found = true;
	}
	return found;
}

/* Looks at every open object; an earlier fault than this one is kept. */
static int check_duplicates(struct scan *s)
{
	for (unsigned i = 0; i < s->depth; i++) {
		struct sorted dup;
		if (!find_duplicate(s, i, &dup))
			continue;
		if (s->broken && s->where <= dup.at)
			continue;
		scan_broken(s, dup.at, "the key \"%.*s\" is there twice",
		    (int)MIN(dup.len, (size_t)60), dup.name);
	}
	return s->broken ? -EINVAL : 0;
}

static void push_key(struct scan *s, size_t at, size_t start)
{
	if (s->n_keys == s->cap_keys) {
		s->cap_keys = MAX(s->cap_keys * 2, (size_t)16);
		s->keys = xrealloc(s->keys, s->cap_keys * sizeof(*s->keys));
	}
	s->keys[s->n_keys++] =
	    (struct key){.at = at, .start = start, .len = s->names.len - start};
}

/* --- structure ----------------------------------------------------------- */

static int unexpected(struct scan *s)
{
	static const char *const wants[] = {
	    [VALUE] = "a value is missing",
	    [VALUE_OR_END] = "a value or ] is missing",
	    [KEY] = "a key in double quotes is missing",
	    [KEY_OR_END] = "a key in double quotes or } is missing",
	    [COLON] = "a : is missing after the key",
	    [NOTHING] = "there is text after the end of the document",
	};
	unsigned char c = s->text[s->pos];
	const char *want =
	    s->expect == COMMA_OR_END
		? (s->stack[s->depth - 1].object ? "a , or } is missing"
						 : "a , or ] is missing")
		: wants[s->expect];

	if (c == 0)
		return scan_broken(s, s->pos, "a NUL byte");
	if (s->expect == NOTHING && strchr("{[\"", c))
		return scan_broken(s, s->pos, "a second document begins");
	if (c == 0xef && s->pos == 0)
		return scan_broken(
		    s, 0, "a byte order mark; write the text without one");
	size_t start = s->pos;
	if (c >= 0x80 && scan_utf8(s) < 0)
		return -EINVAL;
	if (c >= 0x80)
		return scan_broken(s, start, "%s", want);
	if (c < 0x20 || c == 0x7f)
		return scan_broken(s, s->pos, "%s; found byte 0x%02x", want, c);
	return scan_broken(s, s->pos, "%s; found %c", want, c);
}

static void value_ended(struct scan *s)
{
	s->expect = s->depth ? COMMA_OR_END : NOTHING;
}

static int open_level(struct scan *s, bool object)
{
	if (s->depth == SPEC_DEPTH_MAX)
		return scan_broken(
		    s, s->pos, "nested deeper than %d", SPEC_DEPTH_MAX);
	s->stack[s->depth++] = (struct level){
	    .object = object,
	    .first_key = s->n_keys,
	    .first_name = s->names.len,
	};
	s->expect = object ? KEY_OR_END : VALUE_OR_END;
	s->pos++;
	return 0;
}

static int close_level(struct scan *s)
{
	struct sorted dup;
	if (find_duplicate(s, s->depth - 1, &dup))
		return check_duplicates(s);
	s->depth--;
	s->n_keys = s->stack[s->depth].first_key;
	if (s->names.data) {
		s->names.len = s->stack[s->depth].first_name;
		s->names.data[s->names.len] = '\0';
	}
	s->pos++;
	value_ended(s);
	return 0;
}

static int scan_value(struct scan *s)
{
	unsigned char c = s->text[s->pos];
	int r;

	if (c == '{' || c == '[')
		return open_level(s, c == '{');
	if (c == '"')
		r = scan_string(s, NULL);
	else if (c == '-' || (c >= '0' && c <= '9'))
		r = scan_number(s);
	else
		r = scan_word(s);
	if (r == -ENOENT)
		return unexpected(s);
	if (r == 0)
		value_ended(s);
	return r;
}

static int scan_key(struct scan *s)
{
	size_t at = s->pos, start = s->names.len;
	int r = scan_string(s, &s->names);
	if (r)
		return r;
	push_key(s, at, start);
	s->expect = COLON;
	return 0;
}

/* One token; the byte at s->pos is not white space. */
static int step(struct scan *s)
{
	unsigned char c = s->text[s->pos];
	bool object = s->depth && s->stack[s->depth - 1].object;

	switch (s->expect) {
	case VALUE:
		return scan_value(s);
	case VALUE_OR_END:
		return c == ']' ? close_level(s) : scan_value(s);
	case KEY:
	case KEY_OR_END:
		if (c == '"')
			return scan_key(s);
		if (c == '}' && s->expect == KEY_OR_END)
			return close_level(s);
		return unexpected(s);
	case COLON:
		if (c != ':')
			return unexpected(s);
		s->expect = VALUE;
		s->pos++;
		return 0;
	case COMMA_OR_END:
		if (c == (object ? '}' : ']'))
			return close_level(s);
		if (c != ',')
			return unexpected(s);
		s->expect = object ? KEY : VALUE;
		s->pos++;
		return 0;
	case NOTHING:
		break;
	}
	return unexpected(s);
}

static bool is_white(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Columns count characters, from 1. */
static void set_position(
    const struct scan *s, size_t where, const char *why, struct err *err)
{
	size_t line = 1, column = 1;
	for (size_t i = 0; i < where; i++) {
		if (s->text[i] == '\n') {
			line++;
			column = 1;
		} else if ((s->text[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	err_set(err, -EINVAL, "line %zu, column %zu: %s", line, column, why);
}

enum json_state spec_json_state(const char *text, size_t len, struct err *err)
{
	_cleanup_(scan_done) struct scan s = {
	    .text = (const unsigned char *)text, .len = len, .expect = VALUE};
	size_t last = 0; /* the last byte that is not white space */
	int r = 0;

	while (r == 0) {
		while (s.pos < len && is_white(s.text[s.pos]))
			s.pos++;
		if (s.pos == len)
			break;
		r = step(&s);
		last = s.pos ? s.pos - 1 : 0;
	}
	if (r == 0 && s.expect == NOTHING)
		return JSON_COMPLETE;
	if (r == 0 && s.expect == VALUE && s.depth == 0)
		return JSON_EMPTY;
	if (check_duplicates(&s) < 0) {
		set_position(&s, s.where, s.why, err);
		return JSON_BROKEN;
	}
	set_position(&s, last, "the document is cut off", err);
	return JSON_INCOMPLETE;
}
