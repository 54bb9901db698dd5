// SPDX-License-Identifier: Apache-2.0
/*
 * Tables and times for people.  For the file_*.c; it knows no object.
 */
#include <assert.h>
#include <stdio.h>
#include "fs/text.h"

void text_line(struct buf *ret, const char *s)
{
	const char *end;

	for (; *s; s = end) {
		end = s + strcspn(s, "\n\t\r");
		buf_escaped(ret, s, (size_t)(end - s));
		if (*end) {
			buf_putc(ret, ' ');
			end++;
		}
	}
}

/* Columns that it takes on a terminal: bytes that begin a character. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void text_cell(struct text_table *t, const char *s)
{
	size_t from = t->cells.len;

	assert(t->columns <= TEXT_COLUMNS_MAX);
	text_line(&t->cells, s);
	buf_putc(&t->cells, '\0');
	t->width[t->at] = MAX(t->width[t->at], width_of(t->cells.data + from));
	t->at = (t->at + 1) % t->columns;
}

void text_cellf(struct text_table *t, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_cell(t, text);
}

static void pad(struct buf *ret, size_t n)
{
	static const char blanks[] = "                                ";

	for (; n > 0; n -= MIN(n, sizeof(blanks) - 1))
		buf_append(ret, blanks, MIN(n, sizeof(blanks) - 1));
}

void text_print(struct text_table *t, struct buf *ret)
{
	const char *s = t->cells.data, *end = s + t->cells.len;

	for (unsigned column = 0; s < end; s += strlen(s) + 1) {
		size_t fill = t->width[column] - width_of(s);
		bool last = column + 1 == t->columns;

		if (t->right >> column & 1)
			pad(ret, fill);
		buf_puts(ret, s);
		if (!last && !(t->right >> column & 1))
			pad(ret, fill);
		if (!last) {
			buf_puts(ret, "  ");
			column++;
			continue;
		}
		while (ret->len > 0 && ret->data[ret->len - 1] == ' ')
			ret->data[--ret->len] = '\0';
		buf_putc(ret, '\n');
		column = 0;
	}
	buf_done(&t->cells);
	memset(t->width, 0, sizeof(t->width));
	t->at = 0;
}

uint64_t text_real(int64_t clock, uint64_t mono_usec)
{
	if (mono_usec == 0 || mono_usec == USEC_NEVER)
		return 0;
	return mono_usec + (uint64_t)clock;
}

const char *text_day(uint64_t real_usec, char ret[32])
{
	if (!real_usec)
		return "-";
	format_time(real_usec, ret);
	ret[19] = 'Z'; /* whole seconds */
	ret[20] = '\0';
	return ret;
}
