/* SPDX-License-Identifier: Apache-2.0
 *
 * The NoCloud disk from which cloud-init takes a node's identity.
 */
#ifndef RACKFS_SEED_H
#define RACKFS_SEED_H

#include "err.h"

/* Writes an ISO 9660 file system with the label cidata, whole or not at all,
 * 0600: it holds a host key.  A text that is NULL is an empty file, but
 * network_config, which is left out then.  As cloud-init's documentation of the
 * data source NoCloud has it. */
int seed_write(const char *path, const char *user_data, const char *meta_data,
    const char *network_config, struct err *err);

#endif
