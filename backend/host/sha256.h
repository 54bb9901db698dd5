/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 in the form in which sha256sum(1) prints it.
 */
#ifndef RACKFS_SHA256_H
#define RACKFS_SHA256_H

#include "util.h"

#define SHA256_HEX 65 /* with its NUL */

struct sha256;

struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *s, const void *data, size_t len);
/* Frees s; ret may be NULL. */
void sha256_end(struct sha256 *s, char ret[SHA256_HEX]);

/* Of some bytes at once. */
void sha256_of(const void *data, size_t len, char ret[SHA256_HEX]);

#endif
