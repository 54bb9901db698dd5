/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes an identity frame (identity.h) out of a stream of bytes from a serial
 * line.  Used by guest.c in the guest, and by its test on the host.
 */
#ifndef RACKFS_GUEST_FRAME_H
#define RACKFS_GUEST_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum frame_result {
	FRAME_MORE,   /* not whole yet */
	FRAME_DONE,   /* data, len: the archive */
	FRAME_BROKEN, /* thrown away; feed what comes next */
};

struct frame {
	char line[64]; /* the header so far */
	size_t line_len;
	uint8_t *data; /* IDENTITY_MAX bytes at most; malloc'd */
	size_t len, got;
	uint32_t crc;
};

/* Feeds n bytes; those after the end of a frame are dropped. */
enum frame_result frame_feed(struct frame *f, const void *bytes, size_t n);
/* Has a frame begun? */
int frame_begun(const struct frame *f);
/* Throws away what was fed. */
void frame_reset(struct frame *f);

/* crc32 of zlib and IEEE 802.3. */
uint32_t frame_crc32(const void *data, size_t n);

#endif
