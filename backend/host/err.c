/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors: a code and a sentence, on the caller's stack.  What does not fit is
 * cut at the end of a character; line ends and control bytes, which may come
 * from a guest, become visible.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "err.h"

static void set_text(struct err *err, const char *text, size_t len)
{
	_cleanup_buf_ struct buf b = {0};
	size_t n;

	/* One line: a newline at the end is dropped, others are a blank. */
	while (len && text[len - 1] == '\n')
		len--;
	buf_escaped(&b, text, len);
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == '\n' || b.data[i] == '\t')
			b.data[i] = ' ';
	n = MIN(b.len, sizeof(err->text) - 1);
	while (n < b.len && n && ((unsigned char)b.data[n] & 0xc0) == 0x80)
		n--;
	if (n)
		memcpy(err->text, b.data, n);
	err->text[n] = '\0';
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = {0};
	va_list ap;

	assert(code < 0);
	if (!err)
		return code;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	err->code = code;
	set_text(err, buf_str(&b), b.len);
	return code;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = {0};
	char why[128];
	va_list ap;

	assert(code < 0);
	if (!err)
		return code;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_printf(&b, ": %s", strerror_r(-code, why, sizeof(why)));
	err->code = code;
	set_text(err, buf_str(&b), b.len);
	return code;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = {0};
	va_list ap;

	if (!err)
		return 0;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_puts(&b, err_text(err));
	set_text(err, buf_str(&b), b.len);
	return err->code;
}

const char *err_text(const struct err *err)
{
	const char *text;

	if (err->text[0])
		return err->text;
	if (!err->code)
		return "no error";
	/* Unlike strerror_r() this needs no buffer. */
	text = strerrordesc_np(-err->code);
	return text ? text : "unknown error";
}

void err_copy(struct err *to, const struct err *from)
{
	if (!to)
		return;
	*to = from ? *from : ERR_INIT;
}
