/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 of bytes as they come (libcrypto).
 */
#ifndef RACKFS_DIGEST_H
#define RACKFS_DIGEST_H

#include "util.h"

#define DIGEST_HEX 65 /* 64 digits and a NUL */

struct digest;

struct digest *digest_new(void);
void digest_add(struct digest *d, const void *data, size_t len);
/* Lower-case digits; nothing can be added then. */
void digest_text(struct digest *d, char ret[DIGEST_HEX]);
void digest_free(struct digest *d); /* NULL is legal */
void digest_freep(struct digest **d);

#endif
