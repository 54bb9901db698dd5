/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes one JSON document into a buffer, indented by two spaces; keeps track
 * of commas and depth.  key is NULL in a list.
 */
#ifndef RACKFS_FS_JSON_OUT_H
#define RACKFS_FS_JSON_OUT_H

#include "util.h"

struct json_out {
	struct buf *out;
	unsigned depth;
	bool empty;    /* nothing in the innermost object or list yet */
	int64_t clock; /* for jout_mono() */
};

/* Opens the document. */
void jout_begin(struct json_out *j, int64_t clock, struct buf *out);
void jout_end(struct json_out *j);

void jout_open(struct json_out *j, const char *key);                  /* { */
void jout_close(struct json_out *j);                                  /* } */
void jout_open_list(struct json_out *j, const char *key);             /* [ */
void jout_close_list(struct json_out *j);                             /* ] */
void jout_string(struct json_out *j, const char *key, const char *s); /* NULL:
								       * null */
void jout_number(struct json_out *j, const char *key, uint64_t n);
void jout_real(struct json_out *j, const char *key, double x); /* 3 places */
void jout_bool(struct json_out *j, const char *key, bool b);
/* Text that is a JSON value already; it is indented as it fits here. */
void jout_raw(struct json_out *j, const char *key, const char *value);
/* A time: CLOCK_REALTIME usec; 0: null. */
void jout_time(struct json_out *j, const char *key, uint64_t real_usec);
/* As text_real(). */
void jout_mono(struct json_out *j, const char *key, uint64_t mono_usec);
void jout_strings(struct json_out *j, const char *key, char *const *v);

#endif
