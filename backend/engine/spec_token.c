/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings, numbers and words of JSON (RFC 8259) that may be cut off anywhere:
 * which of their beginnings no further byte can mend.  Called by spec_scan.c.
 * Pure.
 */
#include "engine/spec_scan.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

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
			return scan_broken(
			    s, s->pos, "\\u wants four hexadecimal digits");
		c = c << 4 | (unsigned)d;
		if (i == 3 && c == 0)
			return scan_broken(
			    s, escape, "\\u0000 (NUL) is not allowed");
		bool is_low = i == 1 && (c & 0xfc) == 0xdc;
		if (low && ((i == 0 && d != 0xd) || (i == 1 && !is_low)))
			return scan_broken(s, escape,
			    "half of a surrogate pair; the second half "
			    "(\\uDC00 to \\uDFFF) must follow");
		if (!low && is_low)
			return scan_broken(s, escape,
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
				return scan_broken(s, escape,
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
		return scan_broken(s, escape,
		    "unknown escape in a string; a backslash is written \\\\");
	if (out)
		buf_putc(out, means[p - plain]);
	return 0;
}

/* RFC 3629; table 3-7 of the Unicode standard. */
int scan_utf8(struct scan *s)
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
		return scan_broken(s, s->pos, "byte 0x%02x is not UTF-8", c);
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
			return scan_broken(
			    s, start, "byte 0x%02x is not UTF-8", c);
		low = 0x80;
		high = 0xbf;
	}
	return 0;
}

int scan_string(struct scan *s, struct buf *out)
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
			return scan_broken(s, s->pos, "a NUL byte");
		if (c == '\n')
			return scan_broken(s, s->pos,
			    "a string ends before its line does: a \" is "
			    "missing, or \\n is meant");
		if (c < 0x20)
			return scan_broken(s, s->pos,
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

/* --- numbers and words --------------------------------------------------- */

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
	return scan_broken(s, start,
	    real ? "a number that is too large"
		 : "a whole number beyond 64 bits");
}

int scan_number(struct scan *s)
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
			return scan_broken(
			    s, start, "a number with a leading zero");
	} else if (digits(s) == 0) {
		return scan_broken(s, s->pos, "a digit is missing after \"-\"");
	}
	if (s->pos < s->len && s->text[s->pos] == '.') {
		real = true;
		s->pos++;
		if (digits(s) == 0)
			return s->pos == s->len
				   ? CUT_OFF
				   : scan_broken(s, s->pos,
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
		return s->pos == s->len ? CUT_OFF
					: scan_broken(s, s->pos,
					      "the exponent has no digit");
	return number_end(s, start, true, !negative);
}

int scan_word(struct scan *s)
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
				return scan_broken(s, start,
				    "a word that JSON does not know; text "
				    "stands in double quotes");
		}
		return 0;
	}
	return -ENOENT;
}
