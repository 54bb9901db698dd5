/* SPDX-License-Identifier: Apache-2.0
 *
 * What the image drivers share that run a script of ours.
 */
#ifndef RACKFS_IMAGE_SCRIPT_H
#define RACKFS_IMAGE_SCRIPT_H

#include "driver.h"

#define IMAGE_PATH_MAX sizeof(((struct image_look *)0)->kernel)
#define IMAGE_DIR_MAX  3900 /* leaves room for the names of files in it */

struct image_script {
	const char *path;      /* below the folder of data */
	const char *spokesman; /* begins what it says itself on stderr */
	const char *what;      /* "netboot image", for sentences */
	/* Names the files of an image in dir; false when one can't be read. */
	bool (*fill)(const char *dir, struct image_look *ret);
};

int image_script_available(struct err *err);
int image_script_open(const struct image_script *script,
    const struct driver_env *env, void **ret);
void image_script_close(void *self);
int image_script_observe(void *self, const struct image_slice *slice,
    struct op *op, struct err *err);
void image_script_look(void *self, struct image_look *ret);
int image_script_ensure(void *self, const struct image_slice *slice,
    struct op *op, struct err *err);
/* For fill: *ret = dir/name.  Can it be read? */
bool image_script_file(
    const char *dir, const char *name, char ret[IMAGE_PATH_MAX]);

#endif
