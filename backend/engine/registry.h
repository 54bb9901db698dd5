/* SPDX-License-Identifier: Apache-2.0
 *
 * The words that a spec's `driver` may be: one list for the keys of the specs
 * and for the table of drivers (registry.c), which has a row for each.
 */
#ifndef RACKFS_ENGINE_REGISTRY_H
#define RACKFS_ENGINE_REGISTRY_H

#define NODE_DRIVERS(ROW)    ROW(qemu) ROW(fake)
#define NETWORK_DRIVERS(ROW) ROW(vde) ROW(fake)

#endif
