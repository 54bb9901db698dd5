/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns the end of a command in a guest into a code, a sentence and lines for
 * a log.  Drivers call it.  A guest's output is escaped and bounded.
 */
#include <errno.h>
#include <string.h>

#include "host/guest_command.h"

#define OUTPUT_MAX 2048 /* bytes of each stream in the log */
#define WORDS_MAX  400  /* of stderr in a sentence */

/* As a shell and the SSH protocol tell it.  Not a fault of the command: the
 * guest goes down, or its memory ran out. */
static bool killed(int status)
{
	return status > 128 && sigabbrev_np(status - 128) != NULL;
}

int guest_command_code(int code, int status, const char *what,
    const char *errout, const struct err *why, struct err *err)
{
	if (code == -ECANCELED)
		return err_set(err, code, "cancelled");
	if (code == -ECONNRESET || code == -ENOTCONN || code == -ETIMEDOUT)
		return err_set(err, -EAGAIN, "%s: %s", what, err_text(why));
	if (code < 0)
		return err_set(err, code, "%s: %s", what, err_text(why));
	if (status == 0)
		return 0;
	if (killed(status))
		return err_set(err, -EAGAIN, "%s: killed by SIG%s", what,
		    sigabbrev_np(status - 128));
	_cleanup_buf_ struct buf shown = {0};
	size_t len = strlen(errout);
	while (len && errout[len - 1] == '\n')
		len--;
	size_t from = len > WORDS_MAX ? len - WORDS_MAX : 0;
	buf_escaped(&shown, errout + from, len - from);
	for (size_t i = 0; i < shown.len; i++)
		if (shown.data[i] == '\n')
			shown.data[i] = ' ';
	return err_set(err, -EIO, "%s: exit status %d%s%s", what, status,
	    shown.len ? ": " : "", buf_str(&shown));
}

static void put_lines(struct buf *b, const char *text)
{
	size_t len = strnlen(text, OUTPUT_MAX);
	buf_escaped(b, text, len);
	if (text[len])
		buf_puts(b, "\n...");
	if (len && b->data[b->len - 1] != '\n')
		buf_putc(b, '\n');
}

void guest_command_text(struct buf *ret, const char *what, int code, int status,
    const char *out, const char *errout, const struct err *why)
{
	buf_printf(ret, "$ %s\n", what);
	put_lines(ret, out ? out : "");
	put_lines(ret, errout ? errout : "");
	if (code < 0)
		buf_printf(ret, "ssh: %s\n", err_text(why));
	else if (status)
		buf_printf(ret, "exit status %d\n", status);
}
