/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes an identity frame out of a stream.  A line may begin with noise (what
 * was typed at a wrong moment, the rest of a broken frame): bytes that can't
 * belong to a header are dropped until one fits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "guest_frame.h"
#include "identity.h"

#define MAGIC     IDENTITY_MAGIC " "
#define MAGIC_LEN (sizeof(MAGIC) - 1)

uint32_t frame_crc32(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint32_t crc = 0xffffffff;
	while (n--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

void frame_reset(struct frame *f)
{
	free(f->data);
	*f = (struct frame){0};
}

int frame_begun(const struct frame *f)
{
	return f->data || f->line_len >= MAGIC_LEN;
}

/* "<bytes> <crc32 in 8 hex digits>" and nothing else. */
static int parse_header(struct frame *f)
{
	const char *p = f->line + MAGIC_LEN;
	size_t len = 0;
	if (*p < '1' || *p > '9')
		return -1;
	for (; *p >= '0' && *p <= '9'; p++) {
		len = len * 10 + (size_t)(*p - '0');
		if (len > (size_t)(IDENTITY_MAX))
			return -1;
	}
	if (*p++ != ' ' || strspn(p, "0123456789abcdef") != 8 || p[8])
		return -1;
	f->crc = (uint32_t)strtoul(p, NULL, 16);
	f->data = malloc(len);
	if (!f->data)
		return -1;
	f->len = len;
	return 0;
}

/* While the magic is not whole, keeps the longest end of the line that may be
 * its beginning. */
static void trim_noise(struct frame *f)
{
	while (f->line_len > 0 && f->line_len <= MAGIC_LEN &&
	       memcmp(f->line, MAGIC, f->line_len) != 0)
		memmove(f->line, f->line + 1, --f->line_len);
}

static enum frame_result feed_header(struct frame *f, char c)
{
	if (c == '\n' && f->line_len >= MAGIC_LEN) {
		f->line[f->line_len] = '\0';
		if (parse_header(f) == 0)
			return FRAME_MORE;
		frame_reset(f);
		return FRAME_BROKEN;
	}
	if (f->line_len == sizeof(f->line) - 1) {
		frame_reset(f);
		return FRAME_BROKEN;
	}
	f->line[f->line_len++] = c;
	trim_noise(f);
	return FRAME_MORE;
}

enum frame_result frame_feed(struct frame *f, const void *bytes, size_t n)
{
	const char *p = bytes, *end = p + n;
	while (p < end && !f->data) {
		enum frame_result r = feed_header(f, *p++);
		if (r != FRAME_MORE)
			return r;
	}
	if (!f->data)
		return FRAME_MORE;
	size_t take = f->len - f->got;
	if (take > (size_t)(end - p))
		take = (size_t)(end - p);
	if (take)
		memcpy(f->data + f->got, p, take);
	f->got += take;
	if (f->got < f->len)
		return FRAME_MORE;
	if (frame_crc32(f->data, f->len) == f->crc)
		return FRAME_DONE;
	frame_reset(f);
	return FRAME_BROKEN;
}
