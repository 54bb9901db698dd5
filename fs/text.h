/* SPDX-License-Identifier: Apache-2.0
 *
 * Helpers of the render functions: aligned tables, times for people.
 */
#ifndef RACKFS_FS_TEXT_H
#define RACKFS_FS_TEXT_H

#include "util.h"

#define TEXT_COLUMNS_MAX 12

/* Cells are gathered, then printed in columns as wide as their widest cell;
 * the last column isn't padded. */
struct text_table {
	unsigned columns;
	unsigned right;   /* bits of the columns that are aligned right */
	struct buf cells; /* NUL-terminated, one after the other */
	unsigned at;      /* column of the next cell */
	size_t width[TEXT_COLUMNS_MAX];
};
/* The next cell; what is no printable ASCII or UTF-8 is shown escaped. */
void text_cell(struct text_table *t, const char *s);
void text_cellf(struct text_table *t, const char *fmt, ...) PRINTF(2, 3);
/* Prints it to *ret and empties it. */
void text_print(struct text_table *t, struct buf *ret);

/* CLOCK_REALTIME of a CLOCK_MONOTONIC usec; 0 for 0 and USEC_NEVER.  clock: of
 * struct render. */
uint64_t text_real(int64_t clock, uint64_t mono_usec);
/* "2026-01-31T12:00:00Z" of a CLOCK_REALTIME usec, "-" for 0; ret: as
 * format_time() wants it. */
const char *text_day(uint64_t real_usec, char ret[32]);
/* One line: newlines become blanks, control bytes are escaped. */
void text_line(struct buf *ret, const char *s);

#endif
