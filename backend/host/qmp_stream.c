/* SPDX-License-Identifier: Apache-2.0
 *
 * Cuts QEMU's byte stream into JSON objects.  It counts braces outside of
 * strings and looks no deeper: qmp.c parses what is cut here.  A stream that
 * was once broken stays broken, for what follows can't be trusted.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include "host/qmp.h"

#define DEPTH_MAX 256 /* QEMU's own answers stay below 20 */

struct qmp_stream {
	struct buf message;
	unsigned depth;
	bool in_string, escaped;
	int broken;
	char why[128];
};

struct qmp_stream *qmp_stream_new(void)
{
	return xcalloc(1, sizeof(struct qmp_stream));
}

void qmp_stream_free(struct qmp_stream *s)
{
	if (!s)
		return;
	buf_done(&s->message);
	free(s);
}

static int stream_break(struct qmp_stream *s, int code, const char *why)
{
	s->broken = code;
	snprintf(s->why, sizeof(s->why), "%s", why);
	buf_done(&s->message);
	return code;
}

/* 1: the byte ends an object; 0: it does not; negative: broken. */
static int stream_byte(struct qmp_stream *s, char c)
{
	if (s->in_string) {
		if (s->escaped)
			s->escaped = false;
		else if (c == '\\')
			s->escaped = true;
		else if (c == '"')
			s->in_string = false;
		return 0;
	}
	switch (c) {
	case '"':
		s->in_string = true;
		return 0;
	case '{':
	case '[':
		if (++s->depth > DEPTH_MAX)
			return stream_break(
			    s, -EBADMSG, "QMP: a message is nested too deep");
		return 0;
	case '}':
	case ']':
		return --s->depth == 0;
	default:
		return 0;
	}
}

int qmp_stream_feed(struct qmp_stream *s, const char *data, size_t len,
    void (*fn)(const char *text, size_t len, void *userdata), void *userdata,
    struct err *err)
{
	size_t from = 0; /* of the part of `data` not yet in message */

	for (size_t i = 0; i < len && !s->broken; i++) {
		if (s->depth == 0) {
			if (isspace((unsigned char)data[i])) {
				from = i + 1;
				continue;
			}
			if (data[i] != '{') {
				stream_break(
				    s, -EBADMSG, "QMP: not a JSON object");
				break;
			}
			from = i;
		}
		int r = stream_byte(s, data[i]);
		if (r < 0)
			break;
		if (s->message.len + (i + 1 - from) > QMP_MESSAGE_MAX) {
			stream_break(
			    s, -EMSGSIZE, "QMP: a message is too long");
			break;
		}
		if (r == 0)
			continue;
		buf_append(&s->message, data + from, i + 1 - from);
		from = i + 1;
		struct buf whole = s->message;
		s->message = (struct buf){0};
		fn(buf_str(&whole), whole.len, userdata);
		buf_done(&whole);
	}
	if (s->broken)
		return err_set(err, s->broken, "%s", s->why);
	if (from < len)
		buf_append(&s->message, data + from, len - from);
	return 0;
}
