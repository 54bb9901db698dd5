// SPDX-License-Identifier: Apache-2.0
/*
 * A small writer of JSON text, for status.json.  It checks nothing: what is
 * opened must be closed.
 */
#include "fs/json_out.h"
#include "fs/text.h"

static void line(struct json_out *j, unsigned depth)
{
	buf_putc(j->out, '\n');
	for (unsigned i = 0; i < depth; i++)
		buf_puts(j->out, "  ");
}

static void next(struct json_out *j, const char *key)
{
	if (!j->empty)
		buf_putc(j->out, ',');
	j->empty = false;
	line(j, j->depth);
	if (!key)
		return;
	buf_json_string(j->out, key);
	buf_puts(j->out, ": ");
}

static void open_with(struct json_out *j, char bracket)
{
	buf_putc(j->out, bracket);
	j->depth++;
	j->empty = true;
}

static void close_with(struct json_out *j, char bracket)
{
	j->depth--;
	if (!j->empty)
		line(j, j->depth);
	buf_putc(j->out, bracket);
	j->empty = false;
}

void jout_begin(struct json_out *j, int64_t clock, struct buf *out)
{
	*j = (struct json_out){.out = out, .clock = clock};
	open_with(j, '{');
}

void jout_end(struct json_out *j)
{
	close_with(j, '}');
	buf_putc(j->out, '\n');
}

void jout_open(struct json_out *j, const char *key)
{
	next(j, key);
	open_with(j, '{');
}

void jout_close(struct json_out *j)
{
	close_with(j, '}');
}

void jout_open_list(struct json_out *j, const char *key)
{
	next(j, key);
	open_with(j, '[');
}

void jout_close_list(struct json_out *j)
{
	close_with(j, ']');
}

void jout_string(struct json_out *j, const char *key, const char *s)
{
	next(j, key);
	if (s)
		buf_json_string(j->out, s);
	else
		buf_puts(j->out, "null");
}

void jout_number(struct json_out *j, const char *key, uint64_t n)
{
	next(j, key);
	buf_printf(j->out, "%llu", (unsigned long long)n);
}

void jout_real(struct json_out *j, const char *key, double x)
{
	next(j, key);
	buf_printf(j->out, "%.3f", x);
}

void jout_bool(struct json_out *j, const char *key, bool b)
{
	next(j, key);
	buf_puts(j->out, b ? "true" : "false");
}

void jout_raw(struct json_out *j, const char *key, const char *value)
{
	size_t len = strlen(value);

	next(j, key);
	while (len > 0 && value[len - 1] == '\n')
		len--;
	/* A newline is never inside a JSON string. */
	for (size_t i = 0; i < len; i++) {
		if (value[i] == '\n')
			line(j, j->depth);
		else
			buf_putc(j->out, value[i]);
	}
}

void jout_time(struct json_out *j, const char *key, uint64_t real_usec)
{
	char text[32];

	if (real_usec)
		format_time(real_usec, text);
	jout_string(j, key, real_usec ? text : NULL);
}

void jout_mono(struct json_out *j, const char *key, uint64_t mono_usec)
{
	jout_time(j, key, text_real(j->clock, mono_usec));
}

void jout_strings(struct json_out *j, const char *key, char *const *v)
{
	jout_open_list(j, key);
	for (; v && *v; v++)
		jout_string(j, NULL, *v);
	jout_close_list(j);
}
