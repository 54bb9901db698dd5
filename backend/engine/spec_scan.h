/* SPDX-License-Identifier: Apache-2.0
 *
 * A document as far as it was sent: spec_scan.c has its structure, spec_token.c
 * what stands between the braces.  Nobody else includes it.
 */
#ifndef RACKFS_SPEC_SCAN_H
#define RACKFS_SPEC_SCAN_H

#include "spec.h"

/* What may come next. */
enum expect {
	VALUE,        /* a value */
	VALUE_OR_END, /* after [ */
	KEY,          /* after , in an object */
	KEY_OR_END,   /* after { */
	COLON,        /* after a key */
	COMMA_OR_END, /* after a value in a list or an object */
	NOTHING,      /* after the document */
};

struct key {
	size_t at;         /* position of its opening quote */
	size_t start, len; /* decoded, in scan.names */
};

struct level {
	bool object;
	size_t first_key; /* index into scan.keys */
	size_t first_name;
};

struct scan {
	const unsigned char *text;
	size_t len, pos;
	enum expect expect;
	struct level stack[SPEC_DEPTH_MAX];
	unsigned depth;
	struct key *keys; /* of all open objects, outermost first */
	size_t n_keys, cap_keys;
	struct buf names;
	bool broken; /* set with where and why */
	size_t where;
	char why[160];
};

/* -EINVAL: no byte that may follow mends what stands at `where`. */
PRINTF(3, 4)
int scan_broken(struct scan *s, size_t where, const char *fmt, ...);

/* spec_token.c.  Each begins at s->pos and leaves it behind what it took; 0,
 * scan_broken(), or CUT_OFF: all that was sent is taken, and more may come. */
#define CUT_OFF 1
/* At the opening quote.  out (may be NULL) gets the decoded bytes. */
int scan_string(struct scan *s, struct buf *out);
int scan_number(struct scan *s);
/* true, false, null; -ENOENT: none of them begins so. */
int scan_word(struct scan *s);
/* One character beyond ASCII. */
int scan_utf8(struct scan *s);

#endif
