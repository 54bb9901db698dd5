/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 of bytes as they come.  libcrypto can only fail here for lack of
 * memory, which aborts as everywhere.
 */
#include <openssl/evp.h>
#include <stdio.h>

#include "host/digest.h"

struct digest {
	EVP_MD_CTX *ctx;
};

struct digest *digest_new(void)
{
	struct digest *d = xcalloc(1, sizeof(*d));

	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx || !EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL))
		abort();
	return d;
}

void digest_add(struct digest *d, const void *data, size_t len)
{
	if (!EVP_DigestUpdate(d->ctx, data, len))
		abort();
}

void digest_text(struct digest *d, char ret[DIGEST_HEX])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (!EVP_DigestFinal_ex(d->ctx, md, &len))
		abort();
	for (unsigned i = 0; i < len && 2 * i + 2 < DIGEST_HEX; i++)
		snprintf(ret + (size_t)2 * i, 3, "%02x", md[i]);
}

void digest_free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

void digest_freep(struct digest **d)
{
	digest_free(*d);
}
