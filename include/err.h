/* SPDX-License-Identifier: Apache-2.0
 *
 * An error is a negative errno and, where a person must read why, a sentence.
 * The sentence says what happened, to what, and what to do.
 */
#ifndef RACKFS_ERR_H
#define RACKFS_ERR_H

#include "util.h"

struct err {
	int code;       /* negative errno, 0 when none was set */
	char text[768]; /* one line, no newline at its end */
};

#define ERR_INIT ((struct err){0})

/* Sets *err (NULL is allowed) and returns `code`, so that a caller can write
 * `return err_set(err, -EINVAL, "memory: %s is below 64M", s);`. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);
/* As err_set(); ": " and the text of `code` are added. */
int err_errno(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);
/* Puts text in front of the sentence that is there: "node01: ...". */
int err_prefix(struct err *err, const char *fmt, ...) PRINTF(2, 3);
/* The sentence, or the text of the code when there is none; borrowed. */
const char *err_text(const struct err *err);
void err_copy(struct err *to, const struct err *from); /* from may be NULL */

#endif
