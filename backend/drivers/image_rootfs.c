/* SPDX-License-Identifier: Apache-2.0
 *
 * A root file system that we build: runs backend/rootfs/build-rootfs.sh and
 * reads its manifest.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "drivers/drivers.h"
#include "drivers/image_script.h"
#include "host/sha256.h"

#define MANIFEST_MAX (4 * MIB)

/* "SHA256  rootfs.tar", as sha256sum(1) has it. */
static bool take_digest(const char *manifest, char ret[SHA256_HEX])
{
	const char *at = strstr(manifest, "  rootfs.tar\n");

	if (!at || at - manifest < SHA256_DIGITS ||
	    !sha256_valid(at - SHA256_DIGITS, SHA256_DIGITS))
		return false;
	snprintf(ret, SHA256_HEX, "%s", at - SHA256_DIGITS);
	return true;
}

static bool fill(const char *dir, struct image_look *ret)
{
	_cleanup_buf_ struct buf manifest = {0};
	char path[IMAGE_PATH_MAX];
	struct stat st;

	if (!image_script_file(dir, "manifest", path) ||
	    file_read(AT_FDCWD, path, MANIFEST_MAX, &manifest) < 0 ||
	    !take_digest(buf_str(&manifest), ret->digest) ||
	    !image_script_file(dir, "rootfs.tar", ret->source) ||
	    stat(ret->source, &st) < 0)
		return false;
	ret->size = (uint64_t)st.st_size;
	snprintf(ret->init, sizeof(ret->init), "/sbin/init");
	return true;
}

static const struct image_script script = {
    .path = "rootfs/build-rootfs.sh",
    .spokesman = "build-rootfs",
    .what = "root file system",
    .fill = fill,
};

static int rootfs_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	return image_script_open(&script, env, ret);
}

const struct image_driver image_rootfs = {
    .name = "rootfs",
    .help = "builds a root file system from Debian packages",
    .available = image_script_available,
    .open = rootfs_open,
    .close = image_script_close,
    .observe = image_script_observe,
    .look = image_script_look,
    .ensure = image_script_ensure,
};
