/* SPDX-License-Identifier: Apache-2.0
 *
 * A document while it is written: its bytes, and when they may be whole.
 * transaction.c owns it.
 */
#ifndef RACKFS_FS_DRAFT_TEXT_H
#define RACKFS_FS_DRAFT_TEXT_H

#include "spec.h"

struct draft_text {
	struct buf b;
	size_t looked; /* its length when it was last looked at */
	/* A scan of the brackets: a hint when a look is worth it. */
	size_t depth, scanned;
	bool in_string, escaped;
};

void draft_text_clear(struct draft_text *t);
void draft_text_done(struct draft_text *t);
/* At off, over what is there; a gap becomes zeros. */
void draft_text_put(
    struct draft_text *t, uint64_t off, const void *data, size_t len);
void draft_text_cut(struct draft_text *t, size_t len); /* to fewer bytes */

/* For a text that only ever grew: has it closed its brackets, or grown enough,
 * since the last look? */
bool draft_text_worth_a_look(struct draft_text *t);
enum json_state draft_text_look(struct draft_text *t, struct err *err);

#endif
