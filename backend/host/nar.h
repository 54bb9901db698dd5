/* SPDX-License-Identifier: Apache-2.0
 *
 * What `nix-store --export` writes, made into a tar archive of nix/store and
 * the registration for `nix-store --load-db`, without nix.  For worker
 * threads: every call blocks.
 */
#ifndef RACKFS_NAR_H
#define RACKFS_NAR_H

#include "err.h"
#include "host/tar.h"

#define NAR_PATHS_MAX 100000

struct nar;

/* First pass: reads it all, hashes each path, looks that none is missing and
 * finds the system: the path with an `init` that no other refers to, or the
 * one whose init is `init` (NULL: any).  sha256 (NULL: any) is what the file
 * must have. */
int nar_open(const char *file, const struct tar_watch *watch,
    const char *sha256, const char *init, struct nar **ret, struct err *err);
/* "/nix/store/<hash>-<name>/init"; borrowed. */
const char *nar_init(const struct nar *n);
/* As `nix-store --dump-db` has it. */
void nar_registration(const struct nar *n, struct buf *ret);
/* Second pass. */
int nar_write(struct nar *n, const struct tar_watch *watch, struct tar_out *out,
    struct err *err);
void nar_free(struct nar *n);
void nar_freep(struct nar **n);

#endif
