/* SPDX-License-Identifier: Apache-2.0
 *
 * Small newc archives (cpio(5), written with libarchive) and the frame that
 * takes one over a serial line (identity.h).
 */
#ifndef RACKFS_NEWC_H
#define RACKFS_NEWC_H

#include "err.h"

struct newc;

struct newc *newc_new(void);
/* Folders above a file are made (0755).  All is owned by root, mtime 0.  mode
 * with S_IFDIR makes a folder, with S_IFLNK a link to `data`; else a file.
 * path is relative, without "..". */
void newc_add(struct newc *n, const char *path, mode_t mode, const void *data,
    size_t len);
/* Appends the whole archive to *ret and frees n.  -EINVAL for a bad path,
 * -EFBIG beyond IDENTITY_MAX: err names the entry. */
int newc_finish(struct newc *n, struct buf *ret, struct err *err);
/* Appends "RACKFS-IDENTITY <bytes> <crc>\n" and the bytes. */
void newc_frame(const struct buf *archive, struct buf *ret);
/* zlib's crc32. */
uint32_t newc_crc32(const void *data, size_t len);

#endif
