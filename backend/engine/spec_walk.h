/* SPDX-License-Identifier: Apache-2.0
 *
 * A walk through a document by the key table: spec_walk.c goes from key to key,
 * spec_scalar.c takes single values.  Nobody else includes it.
 */
#ifndef RACKFS_SPEC_WALK_H
#define RACKFS_SPEC_WALK_H

#include "engine/spec_table.h"

struct walk {
	const struct spec_sub *root; /* for the nearest key */
	bool partial;
	bool want_out;
	struct err *err;
	size_t len;
	char path[256]; /* of the value that is looked at */
};

/* Lengthens the path; what it gives is for walk_leave(). */
size_t walk_enter(struct walk *w, const char *separator, const char *name);
size_t walk_enter_index(struct walk *w, size_t i);
void walk_leave(struct walk *w, size_t before);

/* -EINVAL and the sentence, with the path in front. */
PRINTF(2, 3) int walk_refuse(struct walk *w, const char *fmt, ...);
/* A value of this key as a sentence may show it: of what holds secrets the type
 * alone. */
struct spec_shown walk_found(const struct spec_key *key, const json_t *v);
int walk_wrong_type(struct walk *w, const struct spec_key *key, const json_t *v,
    const char *wanted);
int walk_check_count(
    struct walk *w, const struct spec_key *key, size_t n, const char *what);

/* Where FIELD() of the struct at base is; NULL when there is none. */
void *walk_at(void *base, unsigned field);

/* spec_scalar.c: any type but T_OBJECT, T_MAP, T_LIST and T_NODE.  *ret_norm:
 * the value as an effective document has it, when it differs from v; a new
 * reference. */
int walk_scalar(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm);

#endif
