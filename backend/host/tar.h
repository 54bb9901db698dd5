/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a tar archive into a file, entry by entry, in the format of GNU tar,
 * which busybox reads as well.  Owners are numbers.
 */
#ifndef RACKFS_TAR_H
#define RACKFS_TAR_H

#include "util.h"

#define TAR_BLOCK 512

struct tar_entry {
	const char *path; /* relative, any length */
	unsigned mode;    /* permission bits */
	uint32_t uid, gid;
	char type;        /* one of: */
	const char *link; /* of TAR_LINK: where it leads */
	uint64_t size;    /* of TAR_FILE */
};
#define TAR_FILE   '0'
#define TAR_LINK   '2'
#define TAR_FOLDER '5'

/* Each writes at fd's offset; 0 or a negative errno. */
int tar_begin(int fd, const struct tar_entry *e);
/* After the bytes of a file: pads them. */
int tar_pad(int fd, uint64_t size);
/* A whole file at once; e->size is set by it. */
int tar_file(int fd, struct tar_entry e, const void *data, size_t len);
int tar_end(int fd);

#endif
