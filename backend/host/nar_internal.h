/* SPDX-License-Identifier: Apache-2.0
 *
 * One pass through an export of nix: nar_archive.c reads the archives in it,
 * nar.c what stands between them.  Nobody else includes it.
 */
#ifndef RACKFS_NAR_INTERNAL_H
#define RACKFS_NAR_INTERNAL_H

#include "host/nar.h"

#define NAR_WORD_MAX 4096 /* bytes of a name, a target, a token */
#define NAR_PIECE    ((size_t)(64 * KIB))

struct nar_pass {
	const char *file; /* for sentences */
	struct tar_in *in;
	struct tar_out *out; /* NULL: nothing is written */
	struct sha256 *hash; /* of the NAR that is read, or NULL */
	uint64_t size;       /* of it */
	bool has_init;       /* at its top */
	char *piece;         /* NAR_PIECE bytes */
};

/* nar_archive.c: 0, or a negative errno with a sentence; what is odd in the
 * file is -EBADMSG. */
int nar_broken(struct nar_pass *p, const char *what, struct err *err);
int nar_number(struct nar_pass *p, uint64_t *ret, struct err *err);
int nar_string(struct nar_pass *p, char ret[NAR_WORD_MAX + 1], struct err *err);
/* The string `wanted` and no other. */
int nar_token(struct nar_pass *p, const char *wanted, struct err *err);
/* One file, link or folder with all in it, whose name in the tar is path;
 * depth: how many folders it stands in. */
int nar_node(struct nar_pass *p, const char *path, int depth, struct err *err);
/* An entry of the tar, when one is written. */
int nar_put(struct nar_pass *p, const char *path, mode_t mode, uint64_t size,
    const char *target, struct err *err);

#endif
