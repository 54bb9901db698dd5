/* SPDX-License-Identifier: Apache-2.0
 *
 * The drivers that there are, each a static struct at the end of its file.
 * backend/engine/registry.c is the table of them.
 */
#ifndef RACKFS_DRIVERS_H
#define RACKFS_DRIVERS_H

#include "driver.h"

extern const struct machine_driver machine_qemu, machine_fake;
extern const struct network_driver network_vde, network_fake;
extern const struct image_driver image_netboot, image_files, image_rootfs,
    image_archive, image_disk, image_closure;
extern const struct guest_driver guest_ssh, guest_fake;
extern const struct disk_driver disk_guest, disk_fake;
extern const struct setup_driver setup_guest, setup_fake;
extern const struct probe_driver probe_ssh, probe_fake;
extern const struct install_driver install_rootfs, install_closure,
    install_disk;
extern const struct install_driver install_fake;

#endif
