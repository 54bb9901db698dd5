/* SPDX-License-Identifier: Apache-2.0
 *
 * What qemu.args says is nobody's business, and QEMU repeats it when it
 * complains.  The words of a launch stand in the file `hidden` of its folder,
 * one a line, so that a daemon that was not there finds them too; in what QEMU
 * wrote they are replaced by "qemu.args[1]".  The names of options stay: they
 * are QEMU's, and what people have to mend.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "machine_qemu.h"

#define HIDDEN_MAX (4 * MIB) /* 256 words of 8 KiB at most */
#define SHORTEST   4         /* bytes; "on" or "1" are in every sentence */

int qemu_hide_save(int folder, char *const *args)
{
	_cleanup_buf_ struct buf b = {0};

	if (!args || !*args)
		return 0;
	for (; *args; args++)
		buf_printf(&b, "%s\n", *args);
	return file_replace(folder, "hidden", b.data, b.len, 0600);
}

static bool is_option(const char *word, size_t len)
{
	return len > 1 && word[0] == '-' &&
	       strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-_") >= len;
}

static size_t starts(
    const char *text, size_t left, const char *piece, size_t len)
{
	bool same =
	    len >= SHORTEST && len <= left && memcmp(text, piece, len) == 0;

	return same ? len : 0;
}

/* How much of the text is this word, or a value in it ("id=x,file=VALUE"). */
static size_t repeats(
    const char *text, size_t left, const char *word, size_t len)
{
	size_t most = 0;

	if (is_option(word, len))
		return 0;
	most = starts(text, left, word, len);
	for (size_t at = 0; most == 0 && at < len;) {
		size_t n = MIN(strcspn(word + at, ","), len - at);
		const char *value = memchr(word + at, '=', n);

		if (value) {
			value++;
			most = starts(
			    text, left, value, (size_t)(word + at + n - value));
		}
		at += n + 1;
	}
	return most;
}

void qemu_hide(int folder, const char *text, size_t len, struct buf *ret)
{
	_cleanup_buf_ struct buf words = {0};

	if (file_read(folder, "hidden", HIDDEN_MAX, &words) < 0)
		buf_clear(&words);
	for (size_t at = 0; at < len;) {
		size_t most = 0, which = 0, i = 0;

		for (const char *w = buf_str(&words); *w; i++) {
			size_t n = strcspn(w, "\n");
			size_t same = repeats(text + at, len - at, w, n);

			if (same > most) {
				most = same;
				which = i;
			}
			w += n;
			w += *w == '\n';
		}
		if (most)
			buf_printf(ret, "qemu.args[%zu]", which);
		else
			buf_append(ret, text + at, 1);
		at += most ? most : 1;
	}
}
