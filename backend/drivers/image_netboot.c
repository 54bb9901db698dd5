/* SPDX-License-Identifier: Apache-2.0
 *
 * The image that we build: runs backend/netboot/build-image.sh.
 */
#include "drivers/drivers.h"
#include "drivers/image_script.h"

static bool fill(const char *dir, struct image_look *ret)
{
	return image_script_file(dir, "kernel", ret->kernel) &&
	       image_script_file(dir, "initrd", ret->initrd) &&
	       image_script_file(dir, "disk-initrd", ret->disk_initrd) &&
	       image_script_file(dir, "modules.tar", ret->modules);
}

static const struct image_script script = {
    .path = "netboot/build-image.sh",
    .spokesman = "build-image",
    .what = "netboot image",
    .fill = fill,
};

static int netboot_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	return image_script_open(&script, env, ret);
}

const struct image_driver image_netboot = {
    .name = "netboot",
    .help = "builds our netboot image from Debian packages",
    .available = image_script_available,
    .open = netboot_open,
    .close = image_script_close,
    .observe = image_script_observe,
    .look = image_script_look,
    .ensure = image_script_ensure,
};
