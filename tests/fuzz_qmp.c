/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes the splitter of QMP's stream: the same messages come out, whatever the
 * pieces are in which bytes arrive.
 */
#include <assert.h>

#include "host/qmp.h"
#include "tests/fuzz.h"

struct sum {
	uint64_t hash;
	size_t messages;
};

static void on_message(const char *text, size_t len, void *userdata)
{
	struct sum *s = userdata;

	assert(len > 0 && len <= QMP_MESSAGE_MAX);
	s->hash = s->hash * 31 + hash_bytes(text, len);
	s->messages++;
}

static int feed(const char *data, size_t len, size_t piece, struct sum *ret)
{
	struct qmp_stream *stream = qmp_stream_new();
	struct err err = ERR_INIT;
	int r = 0;

	*ret = (struct sum){0};
	for (size_t at = 0; at < len && r == 0; at += piece)
		r = qmp_stream_feed(stream, data + at, MIN(piece, len - at),
		    on_message, ret, &err);
	if (r < 0)
		assert(err.text[0]);
	qmp_stream_free(stream);
	return r;
}

void fuzz_one(const char *data, size_t len)
{
	struct sum whole, bytes;
	int a = feed(data, len, len + 1, &whole);
	int b = feed(data, len, 1 + len % 7, &bytes);

	assert(a == b);
	assert(whole.messages == bytes.messages && whole.hash == bytes.hash);
}
