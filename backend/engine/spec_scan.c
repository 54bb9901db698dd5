/* SPDX-License-Identifier: Apache-2.0
 *
 * Decides what the bytes that a writer has sent so far are: nothing yet, the
 * beginning of a JSON document, a whole one, or something that no further byte
 * can mend.  Exact: a text is broken if and only if no continuation of it is a
 * document that we take.  One pass, a stack of SPEC_DEPTH_MAX levels, no
 * recursion.  RFC 8259; the order of keys and their values are none of its
 * business.  Pure.
 */
#include "spec.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

/* What may come next. */
enum expect {
	VALUE,        /* a value */
	VALUE_OR_END, /* after [ */
	KEY,          /* after , in an object */
	KEY_OR_END,   /* after { */
	COLON,        /* after a key */
	COMMA_OR_END, /* after a value in a list or an object */
	NOTHING,      /* after the document */
};

struct key {
	size_t at;         /* position of its opening quote */
	size_t start, len; /* decoded, in scan.names */
};

struct level {
	bool object;
	size_t first_key; /* index into scan.keys */
	size_t first_name;
};

struct scan {
	const unsigned char *text;
	size_t len, pos;
	enum expect expect;
	struct level stack[SPEC_DEPTH_MAX];
	unsigned depth;
	struct key *keys; /* of all open objects, outermost first */
	size_t n_keys, cap_keys;
	struct buf names;
	bool broken; /* set with where and why */
	size_t where;
	char why[160];
};

/* The end of what was sent so far, where more bytes may come. */
#define CUT_OFF 1

static void scan_done(struct scan *s)
{
	free(s->keys);
	buf_done(&s->names);
}

static int PRINTF(3, 4)
    broken(struct scan *s, size_t where, const char *fmt, ...)
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
		broken(s, dup.at, "the key \"%.*s\" is there twice",
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

/* --- strings ------------------------------------------------------------- */

static int hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void put_utf8(struct buf *out, unsigned c)
{
	if (c < 0x80) {
		buf_putc(out, (char)c);
		return;
	}
	if (c < 0x800) {
		buf_putc(out, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_putc(out, (char)(0xe0 | c >> 12));
		} else {
			buf_putc(out, (char)(0xf0 | c >> 18));
			buf_putc(out, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	buf_putc(out, (char)(0x80 | (c & 0x3f)));
}

/* Four hex digits at s->pos.  low: only DC00-DFFF may come; every digit that
 * rules out a character we take is refused at once. */
static int scan_hex4(struct scan *s, size_t escape, bool low, unsigned *ret)
{
	unsigned c = 0;
	for (int i = 0; i < 4; i++) {
		if (s->pos == s->len)
			return CUT_OFF;
		int d = hex_value(s->text[s->pos]);
		if (d < 0)
			return broken(
			    s, s->pos, "\\u wants four hexadecimal digits");
		c = c << 4 | (unsigned)d;
		if (i == 3 && c == 0)
			return broken(
			    s, escape, "\\u0000 (NUL) is not allowed");
		bool is_low = i == 1 && (c & 0xfc) == 0xdc;
		if (low && ((i == 0 && d != 0xd) || (i == 1 && !is_low)))
			return broken(s, escape,
			    "half of a surrogate pair; the second half "
			    "(\\uDC00 to \\uDFFF) must follow");
		if (!low && is_low)
			return broken(s, escape,
			    "the second half of a surrogate pair "
			    "without the first");
		s->pos++;
	}
	*ret = c;
	return 0;
}

static int scan_unicode(struct scan *s, size_t escape, struct buf *out)
{
	unsigned c = 0, second = 0;
	int r = scan_hex4(s, escape, false, &c);
	if (r)
		return r;
	if ((c & 0xfc00) == 0xd800) {
		static const char next[] = "\\u";
		for (int i = 0; i < 2; i++, s->pos++) {
			if (s->pos == s->len)
				return CUT_OFF;
			if (s->text[s->pos] != (unsigned char)next[i])
				return broken(s, escape,
				    "half of a surrogate pair; the second "
				    "half (\\uDC00 to \\uDFFF) must follow");
		}
		r = scan_hex4(s, escape, true, &second);
		if (r)
			return r;
		c = 0x10000 + ((c & 0x3ff) << 10) + (second & 0x3ff);
	}
	if (out)
		put_utf8(out, c);
	return 0;
}

static int scan_escape(struct scan *s, struct buf *out)
{
	static const char plain[] = "\"\\/bfnrt";
	static const char means[] = "\"\\/\b\f\n\r\t";
	size_t escape = s->pos++;

	if (s->pos == s->len)
		return CUT_OFF;
	unsigned char c = s->text[s->pos++];
	if (c == 'u')
		return scan_unicode(s, escape, out);
	const char *p = c ? strchr(plain, c) : NULL;
	if (!p)
		return broken(s, escape,
		    "unknown escape in a string; a backslash is written \\\\");
	if (out)
		buf_putc(out, means[p - plain]);
	return 0;
}

/* One character beyond ASCII; RFC 3629, table 3-7 of Unicode. */
static int scan_utf8(struct scan *s)
{
	unsigned char c = s->text[s->pos];
	unsigned char low = 0x80, high = 0xbf;
	int more;

	if (c >= 0xc2 && c <= 0xdf)
		more = 1;
	else if ((c & 0xf0) == 0xe0)
		more = 2;
	else if (c >= 0xf0 && c <= 0xf4)
		more = 3;
	else
		return broken(s, s->pos, "byte 0x%02x is not UTF-8", c);
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	size_t start = s->pos++;
	for (; more; more--, s->pos++) {
		if (s->pos == s->len)
			return CUT_OFF;
		if (s->text[s->pos] < low || s->text[s->pos] > high)
			return broken(s, start, "byte 0x%02x is not UTF-8", c);
		low = 0x80;
		high = 0xbf;
	}
	return 0;
}

/* At the opening quote.  out (may be NULL) gets the decoded bytes. */
static int scan_string(struct scan *s, struct buf *out)
{
	s->pos++;
	for (;;) {
		if (s->pos == s->len)
			return CUT_OFF;
		unsigned char c = s->text[s->pos];
		size_t start = s->pos;
		int r = 0;
		if (c == '"') {
			s->pos++;
			return 0;
		}
		if (c == '\\') {
			r = scan_escape(s, out);
			if (r)
				return r;
			continue;
		}
		if (c == 0)
			return broken(s, s->pos, "a NUL byte");
		if (c == '\n')
			return broken(s, s->pos,
			    "a string ends before its line does: a \" is "
			    "missing, or \\n is meant");
		if (c < 0x20)
			return broken(s, s->pos,
			    "control character 0x%02x in a string: write "
			    "\\u%04x",
			    c, c);
		if (c < 0x80)
			s->pos++;
		else
			r = scan_utf8(s);
		if (r)
			return r;
		if (out)
			buf_append(out, s->text + start, s->pos - start);
	}
}

/* --- numbers and words --- */

static size_t digits(struct scan *s)
{
	size_t start = s->pos;
	while (
	    s->pos < s->len && s->text[s->pos] >= '0' && s->text[s->pos] <= '9')
		s->pos++;
	return s->pos - start;
}

/* The number from `start` to s->pos is whole as it stands.  Returns -ERANGE
 * when neither int64 nor double take it. */
static int number_range(const struct scan *s, size_t start, bool real)
{
	_cleanup_free_ char *t =
	    xstrndup((const char *)s->text + start, s->pos - start);
	errno = 0;
	if (real)
		return isinf(strtod(t, NULL)) ? -ERANGE : 0;
	(void)strtoll(t, NULL, 10);
	return errno == ERANGE ? -ERANGE : 0;
}

static int number_end(struct scan *s, size_t start, bool real, bool growing)
{
	int r = number_range(s, start, real);
	if (r == 0)
		return 0;
	/* More digits, a fraction or a negative exponent may still come and
	 * bring a number into range; with a positive exponent they can't. */
	if (s->pos == s->len && !growing)
		return CUT_OFF;
	return broken(s, start,
	    real ? "a number that is too large"
		 : "a whole number beyond 64 bits");
}

static int scan_number(struct scan *s)
{
	size_t start = s->pos;
	bool real = false;

	if (s->text[s->pos] == '-')
		s->pos++;
	if (s->pos == s->len)
		return CUT_OFF;
	if (s->text[s->pos] == '0') {
		s->pos++;
		if (s->pos < s->len && s->text[s->pos] >= '0' &&
		    s->text[s->pos] <= '9')
			return broken(s, start, "a number with a leading zero");
	} else if (digits(s) == 0) {
		return broken(s, s->pos, "a digit is missing after \"-\"");
	}
	if (s->pos < s->len && s->text[s->pos] == '.') {
		real = true;
		s->pos++;
		if (digits(s) == 0)
			return s->pos == s->len
				   ? CUT_OFF
				   : broken(s, s->pos,
					 "a digit is missing after \".\"");
	}
	if (s->pos == s->len || (s->text[s->pos] | 0x20) != 'e')
		return number_end(s, start, real, false);
	s->pos++;
	bool negative = s->pos < s->len && s->text[s->pos] == '-';
	if (s->pos < s->len &&
	    (s->text[s->pos] == '-' || s->text[s->pos] == '+'))
		s->pos++;
	if (digits(s) == 0)
		return s->pos == s->len
			   ? CUT_OFF
			   : broken(s, s->pos, "the exponent has no digit");
	return number_end(s, start, true, !negative);
}

static int scan_word(struct scan *s)
{
	static const char *const words[] = {"true", "false", "null"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const char *w = words[i];
		if (s->text[s->pos] != (unsigned char)*w)
			continue;
		size_t start = s->pos;
		for (; *w; w++, s->pos++) {
			if (s->pos == s->len)
				return CUT_OFF;
			if (s->text[s->pos] != (unsigned char)*w)
				return broken(s, start,
				    "a word that JSON does not know; text "
				    "stands in double quotes");
		}
		return 0;
	}
	return -ENOENT;
}

/* --- structure --- */

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
		return broken(s, s->pos, "a NUL byte");
	if (s->expect == NOTHING && strchr("{[\"", c))
		return broken(s, s->pos, "a second document begins");
	if (c == 0xef && s->pos == 0)
		return broken(
		    s, 0, "a byte order mark; write the text without one");
	size_t start = s->pos;
	if (c >= 0x80 && scan_utf8(s) < 0)
		return -EINVAL;
	if (c >= 0x80)
		return broken(s, start, "%s", want);
	if (c < 0x20 || c == 0x7f)
		return broken(s, s->pos, "%s; found byte 0x%02x", want, c);
	return broken(s, s->pos, "%s; found %c", want, c);
}

static void value_ended(struct scan *s)
{
	s->expect = s->depth ? COMMA_OR_END : NOTHING;
}

static int open_level(struct scan *s, bool object)
{
	if (s->depth == SPEC_DEPTH_MAX)
		return broken(
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
