// SPDX-License-Identifier: Apache-2.0
/*
 * The bytes of a document while it is written.  A look takes time in
 * proportion to its length, so a long one is not looked at for each few bytes.
 */
#include "fs/draft_text.h"

#define LOOK_ALWAYS 4096 /* bytes; a longer one must grow by an eighth */

void draft_text_clear(struct draft_text *t)
{
	buf_clear(&t->b);
	t->looked = t->depth = t->scanned = 0;
	t->in_string = t->escaped = false;
}

void draft_text_done(struct draft_text *t)
{
	buf_done(&t->b);
}

void draft_text_put(
    struct draft_text *t, uint64_t off, const void *data, size_t len)
{
	static const char zeros[512];
	size_t over;

	while (t->b.len < off)
		buf_append(&t->b, zeros, MIN(sizeof(zeros), off - t->b.len));
	over = MIN(len, t->b.len - off);
	if (over)
		memcpy(t->b.data + off, data, over);
	buf_append(&t->b, (const char *)data + over, len - over);
}

void draft_text_cut(struct draft_text *t, size_t len)
{
	t->b.len = len;
	t->b.data[len] = '\0';
}

static bool brackets_close(struct draft_text *t)
{
	for (; t->scanned < t->b.len; t->scanned++) {
		char c = t->b.data[t->scanned];

		if (t->escaped)
			t->escaped = false;
		else if (t->in_string && c == '\\')
			t->escaped = true;
		else if (c == '"')
			t->in_string = !t->in_string;
		else if (!t->in_string && (c == '{' || c == '['))
			t->depth++;
		else if (!t->in_string && (c == '}' || c == ']') && t->depth)
			t->depth--;
	}
	return t->depth == 0 && !t->in_string;
}

bool draft_text_worth_a_look(struct draft_text *t)
{
	bool closed = brackets_close(t);

	return closed || t->b.len < LOOK_ALWAYS ||
	       t->b.len - t->looked >= t->looked / 8;
}

enum json_state draft_text_look(struct draft_text *t, struct err *err)
{
	t->looked = t->b.len;
	return spec_json_state(buf_str(&t->b), t->b.len, err);
}
