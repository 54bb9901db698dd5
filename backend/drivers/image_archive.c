/* SPDX-License-Identifier: Apache-2.0
 *
 * A root file system from a tar of the user's, compressed or not.  It is
 * written anew as plain tar while it is checked: what is unpacked later is what
 * was looked at.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/drivers.h"
#include "drivers/image_source.h"

#define INIT "/sbin/init"

static int make(struct source_job *j, struct err *err)
{
	_cleanup_(tar_in_freep) struct tar_in *in = NULL;
	_cleanup_(tar_out_freep) struct tar_out *out = NULL;
	const char *init = j->init ? j->init : INIT;
	struct err why = ERR_INIT;
	char given[SHA256_HEX];
	_cleanup_close_ int fd = -1;
	int bad, r;

	r = tar_in_open(j->input, false, &j->watch, &in, err);
	if (r < 0)
		return r;
	fd = image_source_create(j, "rootfs.tar", err);
	if (fd < 0)
		return fd;
	out = tar_out_new(fd, TAR_PAX);
	bad = tar_repack(in, out, init, &why);
	if (bad < 0 && bad != -EBADMSG && bad != -EINVAL) {
		err_copy(err, &why);
		return bad;
	}
	/* That it is the wrong file says more than what is odd in it. */
	r = tar_in_check(in, j->sha256, given, err);
	if (r == 0 && bad < 0) {
		err_copy(err, &why);
		r = bad;
	}
	if (r == 0)
		r = tar_out_finish(out, &j->size, j->digest, err);
	if (r == 0)
		snprintf(j->found_init, sizeof(j->found_init), "%s", init);
	return r;
}

static const struct image_source kind = {
    .kind = "rootfs",
    .file = "rootfs.tar",
    .make = make,
};

static int archive_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	return image_source_open(&kind, env, ret, err);
}

const struct image_driver image_archive = {
    .name = "archive",
    .help = "a root file system from a tar of your own",
    .available = image_source_available,
    .open = archive_open,
    .close = image_source_close,
    .observe = image_source_observe,
    .look = image_source_look,
    .ensure = image_source_ensure,
};
