/* SPDX-License-Identifier: Apache-2.0
 *
 * ed25519 keys (libcrypto) in the private key format of OpenSSH (its
 * PROTOCOL.key) and in that of dropbear's host key file.  Called by
 * ssh_key.c; knows no files.
 */
#include <errno.h>
#include <openssl/evp.h>

#include "host/ssh_internal.h"

#define ED25519     "ssh-ed25519"
#define ED25519_LEN 32               /* of the seed, and of the public key */
#define PAIR_LEN    64               /* seed||public */
#define MAGIC       "openssh-key-v1" /* with its NUL */
#define BLOCK       8 /* what an unencrypted private part is padded to */
#define PEM_BEGIN   "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#define PEM_END     "-----END OPENSSH PRIVATE KEY-----\n"
#define PEM_LINE    70

/* What is secret is reserved in one piece: growing would leave a copy. */
static void secret_reserve(struct buf *b, size_t n)
{
	_cleanup_free_ char *blank = xcalloc(1, n);

	buf_append(b, blank, n);
	buf_clear(b);
}

static void put_u32(struct buf *b, uint32_t v)
{
	uint8_t be[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16),
	    (uint8_t)(v >> 8), (uint8_t)v};

	buf_append(b, be, sizeof(be));
}

static void put_string(struct buf *b, const void *data, size_t len)
{
	put_u32(b, (uint32_t)len);
	buf_append(b, data, len);
}

struct ed25519 {
	uint8_t seed[ED25519_LEN], pub[ED25519_LEN];
};

static void ed25519_done(struct ed25519 *k)
{
	explicit_bzero(k, sizeof(*k));
}

static int ed25519_make(struct ed25519 *k, struct err *err)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	size_t seed = sizeof(k->seed), pub = sizeof(k->pub);
	bool ok = key &&
		  EVP_PKEY_get_raw_private_key(key, k->seed, &seed) == 1 &&
		  EVP_PKEY_get_raw_public_key(key, k->pub, &pub) == 1 &&
		  seed == sizeof(k->seed) && pub == sizeof(k->pub);

	EVP_PKEY_free(key);
	if (!ok)
		return err_set(
		    err, -EIO, "libcrypto can't make an ed25519 key");
	return 0;
}

static void put_public_blob(struct buf *b, const struct ed25519 *k)
{
	put_string(b, ED25519, strlen(ED25519));
	put_string(b, k->pub, sizeof(k->pub));
}

static void base64(struct buf *ret, const struct buf *raw)
{
	size_t n = 4 * ((raw->len + 2) / 3) + 1;
	char *text = xmalloc(n);

	EVP_EncodeBlock(
	    (unsigned char *)text, (unsigned char *)raw->data, (int)raw->len);
	buf_puts(ret, text);
	explicit_bzero(text, n);
	free(text);
}

/* PROTOCOL.key: magic, cipher, kdf and its options, the public keys, then the
 * private part, padded with 1, 2, 3... */
static void private_file(
    struct buf *ret, const struct ed25519 *k, const char *comment)
{
	_cleanup_secret_ struct buf part = {0}, raw = {0}, text = {0};
	_cleanup_buf_ struct buf blob = {0};
	uint32_t check;

	secret_reserve(&part, KIB + SSH_COMMENT_MAX);
	secret_reserve(&raw, 2 * KIB + SSH_COMMENT_MAX);
	secret_reserve(&text, 4 * KIB + 2ULL * SSH_COMMENT_MAX);
	random_bytes(&check, sizeof(check));
	put_u32(&part, check);
	put_u32(&part, check);
	put_public_blob(&part, k);
	put_u32(&part, PAIR_LEN);
	buf_append(&part, k->seed, sizeof(k->seed));
	buf_append(&part, k->pub, sizeof(k->pub));
	put_string(&part, comment, strlen(comment));
	for (char pad = 1; part.len % BLOCK; pad++)
		buf_putc(&part, pad);

	buf_append(&raw, MAGIC, sizeof(MAGIC));
	put_string(&raw, "none", 4);
	put_string(&raw, "none", 4);
	put_string(&raw, "", 0);
	put_u32(&raw, 1);
	put_public_blob(&blob, k);
	put_string(&raw, blob.data, blob.len);
	put_string(&raw, part.data, part.len);

	base64(&text, &raw);
	secret_reserve(ret, 2 * text.len + KIB);
	buf_puts(ret, PEM_BEGIN);
	for (size_t i = 0; i < text.len; i += PEM_LINE) {
		buf_append(ret, text.data + i, MIN(PEM_LINE, text.len - i));
		buf_putc(ret, '\n');
	}
	buf_puts(ret, PEM_END);
}

int ssh_ed25519_make(const char *comment, struct buf *ret, struct err *err)
{
	_cleanup_(ed25519_done) struct ed25519 k = {0};
	int rc = ed25519_make(&k, err);

	if (!rc)
		private_file(ret, &k, comment);
	return rc;
}

/* A reader of the binary formats: `len` is what is left. */
struct reader {
	const uint8_t *at;
	size_t len;
};

static bool take(struct reader *r, size_t n, const uint8_t **ret)
{
	if (n > r->len)
		return false;
	*ret = r->at;
	r->at += n;
	r->len -= n;
	return true;
}

static bool take_u32(struct reader *r, uint32_t *ret)
{
	const uint8_t *p;

	if (!take(r, 4, &p))
		return false;
	*ret = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
	return true;
}

static bool take_string(struct reader *r, struct reader *ret)
{
	uint32_t n;

	if (!take_u32(r, &n) || !take(r, n, &ret->at))
		return false;
	ret->len = n;
	return true;
}

static bool is_text(const struct reader *r, const char *text)
{
	return r->len == strlen(text) && memcmp(r->at, text, r->len) == 0;
}

/* The 64 bytes seed||public of the only key of an OpenSSH private key. */
static bool find_ed25519(struct reader r, const uint8_t **ret)
{
	struct reader cipher, kdf, options, pub, part, type, key;
	const uint8_t *magic;
	uint32_t n, check1, check2;

	if (!take(&r, sizeof(MAGIC), &magic) ||
	    memcmp(magic, MAGIC, sizeof(MAGIC)) != 0 ||
	    !take_string(&r, &cipher) || !is_text(&cipher, "none") ||
	    !take_string(&r, &kdf) || !is_text(&kdf, "none") ||
	    !take_string(&r, &options) || !take_u32(&r, &n) || n != 1 ||
	    !take_string(&r, &pub) || !take_string(&r, &part))
		return false;
	if (!take_u32(&part, &check1) || !take_u32(&part, &check2) ||
	    check1 != check2 || !take_string(&part, &type) ||
	    !is_text(&type, ED25519) || !take_string(&part, &pub) ||
	    pub.len != ED25519_LEN || !take_string(&part, &key) ||
	    key.len != PAIR_LEN)
		return false;
	*ret = key.at;
	return memcmp(key.at + ED25519_LEN, pub.at, ED25519_LEN) == 0;
}

/* The bytes between the two lines of a PEM file. */
static bool pem_decode(const char *text, struct buf *ret)
{
	const char *at = strstr(text, PEM_BEGIN);
	const char *end = at ? strstr(at, PEM_END) : NULL;
	EVP_ENCODE_CTX *ctx;
	int n = 0, last = 0;
	bool ok;

	if (!end)
		return false;
	at += strlen(PEM_BEGIN);
	secret_reserve(ret, (size_t)(end - at) + BLOCK);
	ctx = EVP_ENCODE_CTX_new();
	if (!ctx)
		abort();
	EVP_DecodeInit(ctx);
	ok = EVP_DecodeUpdate(ctx, (unsigned char *)ret->data, &n,
		 (const unsigned char *)at, (int)(end - at)) >= 0 &&
	     EVP_DecodeFinal(ctx, (unsigned char *)ret->data + n, &last) == 1;
	ret->len = (size_t)n + (size_t)last;
	EVP_ENCODE_CTX_free(ctx);
	return ok;
}

bool ssh_ed25519_dropbear(const char *text, struct buf *ret)
{
	_cleanup_secret_ struct buf raw = {0};
	const uint8_t *key;

	if (!pem_decode(text, &raw) ||
	    !find_ed25519(
		(struct reader){(const uint8_t *)raw.data, raw.len}, &key))
		return false;
	put_string(ret, ED25519, strlen(ED25519));
	put_u32(ret, PAIR_LEN);
	buf_append(ret, key, PAIR_LEN);
	return true;
}
