/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 (FIPS 180-4) of bytes as they come, in the form in which
 * sha256sum(1) prints it: lower-case hexadecimal digits.
 */
#ifndef RACKFS_SHA256_H
#define RACKFS_SHA256_H

#include "util.h"

#define SHA256_DIGITS 64
#define SHA256_HEX    (SHA256_DIGITS + 1) /* with its NUL */

struct sha256;

struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *s, const void *data, size_t len);
/* Ends it: nothing can be added then. */
void sha256_end(struct sha256 *s, char ret[SHA256_HEX]);
void sha256_free(struct sha256 *s); /* NULL is legal */
void sha256_freep(struct sha256 **s);

/* Of some bytes at once. */
void sha256_of(const void *data, size_t len, char ret[SHA256_HEX]);

/* Are the `len` bytes at s, somewhere before a NUL, such digits? */
bool sha256_valid(const char *s, size_t len);

#endif
