/* SPDX-License-Identifier: Apache-2.0
 *
 * The names in a tar archive, in the order in which they would be unpacked:
 * may each be written, or does it lead out of the folder?  Pure.
 */
#ifndef RACKFS_TARNAMES_H
#define RACKFS_TARNAMES_H

#include "err.h"

#define TAR_ENTRIES_MAX 4000000
#define TAR_PATH_MAX    4096

enum tar_kind { TAR_OTHER, TAR_SYMLINK, TAR_HARDLINK };

struct tarnames;

struct tarnames *tarnames_new(void);
void tarnames_free(struct tarnames *n);
void tarnames_freep(struct tarnames **n);
/* Takes the next entry.  *ret is its name without "./" and doubled slashes,
 * "." for the folder itself; owned by the caller.  target: of a link.  A
 * symbolic link may lead anywhere, but nothing may be written through one that
 * leads outside.  -EINVAL: err names the entry. */
int tarnames_add(struct tarnames *n, const char *path, enum tar_kind kind,
    const char *target, char **ret, struct err *err);
/* Is there such a file, links followed as a system does whose root this is? */
bool tarnames_has(const struct tarnames *n, const char *path);

#endif
