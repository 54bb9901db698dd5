/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the disk image driver share: install_disk.c has the calls
 * and the mark, install_disk_copy.c the programs that copy.  Nobody else
 * includes this.
 */
#ifndef RACKFS_INSTALL_DISK_H
#define RACKFS_INSTALL_DISK_H

#include <sys/stat.h>

#include "drivers/drivers.h"
#include "host/child.h"

struct install {
	const struct driver_env *env;
	struct op_slot call;
	struct child *child;
	struct install_look look;
	void (*after)(struct install *in); /* the child ended well */
	const char *doing;                 /* for sentences */
	struct buf words;                  /* of its stderr */
	struct buf line;                   /* of its stdout */
	struct stat began;                 /* the image's file */
	bool has_data; /* the file that is there is not empty */

	/* Copies of what the call was given. */
	struct image_look *image;
	char *path, *temporary, *folder;
	enum disk_format format;
	uint64_t size;
	char *seed, *user_data, *meta_data, *network_config;
};

/* The operation ends with code and call.err; the first call counts. */
void whole_finish(struct install *in, int code);

/* Where the mark is; owned text. */
char *whole_mark_path(const struct install *in);
/* "<digest> <inode> <birth>": of the very file at path. */
int whole_mark_text(
    const char *digest, const char *path, struct buf *ret, struct err *err);
/* What the mark says of the file at path goes to in->look. */
int whole_read_mark(struct install *in, const char *path, struct err *err);

/* install_disk_copy.c; each ends in whole_finish(). */
/* All of it, but refused when the file that is there holds data. */
void whole_copy(struct install *in);
/* The last part: the NoCloud disk beside it, when there is to be one. */
void whole_write_seed(struct install *in);

#endif
