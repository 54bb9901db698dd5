/* SPDX-License-Identifier: Apache-2.0
 *
 * Installs a root file system: a tar with everything in it but, often, a
 * kernel.
 */
#include <stdio.h>

#include "drivers/install_guest.h"

static const char own_kernel[] =
    "own_kernel() {\n"
    "	kernel=$(ls \"$1\"/boot/vmlinuz-* 2>/dev/null | sort -V | tail -n 1)\n"
    "	for f in \"$1/boot/initrd.img-${kernel##*/vmlinuz-}\" \\\n"
    "		\"$1/boot/initramfs-${kernel##*/vmlinuz-}.img\"; do\n"
    "		[ ! -f \"$f\" ] || initrd=$f\n"
    "	done\n"
    "}\n";

static const install_step steps[] = {install_first_look, install_copy,
    install_modules, install_esp, install_boot_mark, NULL};

static const struct install_kind kind = {
    /* The image's names are not the installer's. */
    .owner = "--numeric-owner",
    .steps = steps,
    .own_kernel = own_kernel,
};

static int rootfs_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	return install_guest_open(env, &kind, ret, err);
}

const struct install_driver install_rootfs = {
    .name = "rootfs",
    .help = "a root file system's tar, unpacked within the guest",
    .available = install_guest_available,
    .open = rootfs_open,
    .close = install_guest_close,
    .observe = install_guest_observe,
    .look = install_guest_look,
    .ensure = install_guest_ensure,
    .seal = install_guest_seal,
};
