/* SPDX-License-Identifier: Apache-2.0
 *
 * Growable text, and the two ways in which foreign bytes are put into it: as
 * a JSON string, and as something that a terminal may be shown.
 */
#include <stdio.h>

#include "util.h"

#define BUF_FIRST 64 /* bytes of the first allocation */

static void reserve(struct buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;

	if (more >= SIZE_MAX / 4 - b->len)
		abort();
	if (b->data && b->len + more < b->cap)
		return;
	while (cap <= b->len + more)
		cap *= 2;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void buf_append(struct buf *b, const void *data, size_t len)
{
	reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
	buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	reserve(b, BUF_FIRST - 1);
	n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
	if (n < 0)
		abort();
	if ((size_t)n >= b->cap - b->len) {
		reserve(b, (size_t)n);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
	}
	va_end(again);
	b->len += (size_t)n;
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
	char *s = b->data ? b->data : xstrdup("");

	*b = (struct buf){0};
	return s;
}

/* Bytes of the UTF-8 character at s (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF), or 0 when there is none.  The
 * terminating NUL of a string stops it by itself. */
static size_t utf8_char(const unsigned char *s, size_t len)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (len < n || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

static void json_ascii(struct buf *b, unsigned char c)
{
	static const char named[] = "\"\\\b\f\n\r\t";
	const char *at = c ? strchr(named, c) : NULL;

	if (at) {
		buf_putc(b, '\\');
		buf_putc(b, "\"\\bfnrt"[at - named]);
	} else if (c < 0x20 || c == 0x7f) {
		buf_printf(b, "\\u%04x", c);
	} else {
		buf_putc(b, (char)c);
	}
}

void buf_json_string(struct buf *b, const char *s)
{
	const unsigned char *at = (const unsigned char *)s;
	size_t left = strlen(s);

	buf_putc(b, '"');
	while (left) {
		size_t n = utf8_char(at, left);

		if (n == 1)
			json_ascii(b, *at);
		else if (n)
			buf_append(b, at, n);
		else
			buf_puts(b, "\xef\xbf\xbd");
		at += n ? n : 1;
		left -= n ? n : 1;
	}
	buf_putc(b, '"');
}

/* What a terminal may act upon: C0, DEL, and C1 (U+0080 to U+009F, CSI is one
 * of them), whether it comes as UTF-8 or as a single byte. */
static bool acts_on_terminal(const unsigned char *s, size_t n)
{
	if (n == 1)
		return (s[0] < 0x20 || s[0] == 0x7f) && s[0] != '\n' &&
		       s[0] != '\t';
	return n == 2 && s[0] == 0xc2 && s[1] <= 0x9f;
}

void buf_escaped(struct buf *b, const char *s, size_t len)
{
	const unsigned char *at = (const unsigned char *)s;

	while (len) {
		size_t n = utf8_char(at, len), step = n ? n : 1;

		if (n && !acts_on_terminal(at, n)) {
			buf_append(b, at, n);
		} else {
			for (size_t i = 0; i < step; i++)
				buf_printf(b, "\\x%02x", at[i]);
		}
		at += step;
		len -= step;
	}
}
