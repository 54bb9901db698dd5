/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 by libcrypto, as hexadecimal digits.  It can fail only for lack of
 * memory, which aborts as everywhere.
 */
#include <openssl/evp.h>
#include <stdio.h>

#include "host/sha256.h"

struct sha256 {
	EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(void)
{
	struct sha256 *s = xcalloc(1, sizeof(*s));

	s->ctx = EVP_MD_CTX_new();
	if (!s->ctx || EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL) != 1)
		abort();
	return s;
}

void sha256_add(struct sha256 *s, const void *data, size_t len)
{
	if (len && EVP_DigestUpdate(s->ctx, data, len) != 1)
		abort();
}

void sha256_end(struct sha256 *s, char ret[SHA256_HEX])
{
	unsigned char sum[EVP_MAX_MD_SIZE];

	if (EVP_DigestFinal_ex(s->ctx, sum, NULL) != 1)
		abort();
	for (size_t i = 0; i < SHA256_DIGITS / 2; i++)
		snprintf(ret + 2 * i, 3, "%02x", sum[i]);
}

void sha256_free(struct sha256 *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->ctx);
	free(s);
}

void sha256_freep(struct sha256 **s)
{
	sha256_free(*s);
}

void sha256_of(const void *data, size_t len, char ret[SHA256_HEX])
{
	_cleanup_(sha256_freep) struct sha256 *s = sha256_new();

	sha256_add(s, data, len);
	sha256_end(s, ret);
}

bool sha256_valid(const char *s, size_t len)
{
	return len == SHA256_DIGITS && strspn(s, "0123456789abcdef") >= len;
}
