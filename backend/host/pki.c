// SPDX-License-Identifier: Apache-2.0
/*
 * The cluster's certificate authority, by libcrypto.  Files are replaced
 * whole; a certificate is kept while it says what is asked for.  Called on the
 * worker by the engine; knows no node.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>
#include "host/pki.h"

#define PEM_MAX  (64 * KIB)
#define CA_DAYS  7300
#define DAY      (24L * 3600)
#define BACKDATE 3600 /* seconds: clocks of guests may be a little behind */

static void x509_freep(X509 **x)
{
	X509_free(*x);
}

static void pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static void bio_freep(BIO **b)
{
	BIO_free_all(*b);
}
#define _cleanup_x509_ _cleanup_(x509_freep)
#define _cleanup_pkey_ _cleanup_(pkey_freep)
#define _cleanup_bio_  _cleanup_(bio_freep)

/* What libcrypto said last, without its file names. */
static int crypto_error(struct err *err, const char *what)
{
	unsigned long code = ERR_get_error();
	const char *reason = ERR_reason_error_string(code);

	ERR_clear_error();
	return err_set(err, -EIO, "%s: %s", what,
	    reason ? reason : "libcrypto did not say why");
}

/* --- files --- */

static int read_pem(const char *path, struct buf *ret, struct err *err)
{
	int r = file_read(AT_FDCWD, path, PEM_MAX, ret);

	return r < 0 ? err_errno(err, r, "can't read %s", path) : 0;
}

static int write_bio(BIO *b, const char *path, mode_t mode, struct err *err)
{
	char *data;
	long len = BIO_get_mem_data(b, &data);
	int r = file_replace_synced(path, data, (size_t)len, mode);

	return r < 0 ? err_errno(err, r, "can't write %s", path) : 0;
}

static int write_key(EVP_PKEY *key, const char *path, struct err *err)
{
	/* Cleansed when freed. */
	_cleanup_bio_ BIO *b = BIO_new(BIO_s_secmem());

	if (!b ||
	    !PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL))
		return crypto_error(err, "a private key can't be written");
	return write_bio(b, path, 0600, err);
}

static int write_certificate(X509 *x, const char *path, struct err *err)
{
	_cleanup_bio_ BIO *b = BIO_new(BIO_s_mem());

	if (!b || !PEM_write_bio_X509(b, x))
		return crypto_error(err, "a certificate can't be written");
	return write_bio(b, path, 0644, err);
}

static X509 *parse_certificate(const char *pem)
{
	_cleanup_bio_ BIO *b = BIO_new_mem_buf(pem, -1);
	X509 *x = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;

	ERR_clear_error();
	return x;
}

static X509 *load_certificate(const char *path)
{
	_cleanup_buf_ struct buf pem = {0};

	return read_pem(path, &pem, NULL) < 0
		   ? NULL
		   : parse_certificate(buf_str(&pem));
}

static EVP_PKEY *load_key(const char *path)
{
	_cleanup_buf_ struct buf pem = {0};
	_cleanup_bio_ BIO *b = NULL;
	EVP_PKEY *key;

	if (read_pem(path, &pem, NULL) < 0)
		return NULL;
	b = BIO_new_mem_buf(pem.data, (int)pem.len);
	key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
	OPENSSL_cleanse(pem.data, pem.len);
	ERR_clear_error();
	return key;
}

/* --- certificates --- */

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = e && X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	return ok;
}

static bool set_name(X509_NAME *name, const char *cn, const char *organization)
{
	return (!organization ||
		   X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
		       (const unsigned char *)organization, -1, -1, 0)) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
		   (const unsigned char *)cn, -1, -1, 0);
}

static bool set_serial(X509 *x)
{
	uint64_t serial = 0;

	while (serial == 0)
		random_bytes(&serial, sizeof(serial));
	return ASN1_INTEGER_set_uint64(
	    X509_get_serialNumber(x), serial & INT64_MAX);
}

/* All but names and extensions. */
static X509 *certificate_new(EVP_PKEY *key, int64_t now, long days)
{
	_cleanup_x509_ X509 *x = X509_new();

	if (!x || !X509_set_version(x, X509_VERSION_3) || !set_serial(x) ||
	    !ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(now - BACKDATE)) ||
	    !ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(now + days * DAY)) ||
	    !X509_set_pubkey(x, key))
		return NULL;
	return TAKE_PTR(x);
}

static int keep(X509 *x, EVP_PKEY *key, const char *crt, const char *key_path,
    struct err *err)
{
	/* Without its key a certificate is made again: so the key first. */
	int r = write_key(key, key_path, err);

	if (r == 0)
		r = write_certificate(x, crt, err);
	return r < 0 ? r : 1;
}

int pki_ca_ensure(const char *crt, const char *key_path, const char *cn,
    const char *organization, struct err *err)
{
	_cleanup_x509_ X509 *x = load_certificate(crt);
	_cleanup_pkey_ EVP_PKEY *key = load_key(key_path);

	if (x && key && X509_check_private_key(x, key))
		return 0;
	if (access(key_path, F_OK) == 0 && access(crt, F_OK) == 0)
		return err_set(err, -EIO,
		    "the authority in %s and %s is damaged; put it back from "
		    "a copy, or move both away for a new one",
		    crt, key_path);
	X509_free(TAKE_PTR(x));
	EVP_PKEY_free(TAKE_PTR(key));
	key = EVP_EC_gen("P-256");
	x = key ? certificate_new(key, (int64_t)time(NULL), CA_DAYS) : NULL;
	if (!x || !set_name(X509_get_subject_name(x), cn, organization) ||
	    !X509_set_issuer_name(x, X509_get_subject_name(x)) ||
	    !add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE") ||
	    !add_extension(
		x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !add_extension(x, x, NID_subject_key_identifier, "hash") ||
	    !X509_sign(x, key, EVP_sha256()))
		return crypto_error(err, "the authority can't be made");
	return keep(x, key, crt, key_path, err);
}

/* "DNS:node01,IP:10.36.0.11" */
static void alternative_names(const struct pki_subject *s, struct buf *ret)
{
	for (size_t i = 0; s->dns && s->dns[i]; i++)
		buf_printf(ret, "%sDNS:%s", ret->len ? "," : "", s->dns[i]);
	for (size_t i = 0; i < s->n_ips; i++) {
		struct in_addr a = {.s_addr = htonl(s->ips[i])};
		char text[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &a, text, sizeof(text));
		buf_printf(ret, "%sIP:%s", ret->len ? "," : "", text);
	}
}

/* An unsigned certificate with everything that the subject asks for. */
static X509 *for_subject(
    const struct pki_subject *s, X509 *ca, EVP_PKEY *key, int64_t now)
{
	_cleanup_x509_ X509 *x = certificate_new(key, now, (long)s->days);
	_cleanup_buf_ struct buf names = {0};

	alternative_names(s, &names);
	if (!x ||
	    !set_name(
		X509_get_subject_name(x), s->common_name, s->organization) ||
	    !X509_set_issuer_name(x, X509_get_subject_name(ca)) ||
	    !add_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE") ||
	    !add_extension(x, ca, NID_key_usage, "critical,digitalSignature") ||
	    !add_extension(x, ca, NID_ext_key_usage,
		s->server ? "serverAuth,clientAuth" : "clientAuth") ||
	    !add_extension(x, ca, NID_authority_key_identifier, "keyid") ||
	    (names.len &&
		!add_extension(x, ca, NID_subject_alt_name, buf_str(&names))))
		return NULL;
	return TAKE_PTR(x);
}

/* The bytes of an extension; "" when there is none. */
static bool same_extension(X509 *a, X509 *b, int nid)
{
	int i = X509_get_ext_by_NID(a, nid, -1);
	int j = X509_get_ext_by_NID(b, nid, -1);

	if (i < 0 || j < 0)
		return i < 0 && j < 0;
	return ASN1_STRING_cmp(X509_EXTENSION_get_data(X509_get_ext(a, i)),
		   X509_EXTENSION_get_data(X509_get_ext(b, j))) == 0;
}

static bool seconds_of(const ASN1_TIME *t, int64_t *ret)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(t, &tm))
		return false;
	*ret = (int64_t)timegm(&tm);
	return true;
}

static bool still_good(
    X509 *x, X509 *wanted, X509 *ca, EVP_PKEY *key, unsigned days, int64_t now)
{
	_cleanup_pkey_ EVP_PKEY *public = X509_get_pubkey(ca);
	int64_t begin, end;
	bool ok = X509_check_private_key(x, key) &&
		  X509_verify(x, public) > 0 &&
		  X509_NAME_cmp(X509_get_subject_name(x),
		      X509_get_subject_name(wanted)) == 0 &&
		  same_extension(x, wanted, NID_subject_alt_name) &&
		  same_extension(x, wanted, NID_ext_key_usage) &&
		  seconds_of(X509_get0_notBefore(x), &begin) &&
		  seconds_of(X509_get0_notAfter(x), &end) && begin <= now &&
		  end - now > (int64_t)days * DAY / 3 &&
		  end - now <= (int64_t)days * DAY;

	ERR_clear_error();
	return ok;
}

int pki_issue_ensure(const char *ca_crt, const char *ca_key, const char *crt,
    const char *key_path, const struct pki_subject *s, int64_t now,
    struct err *err)
{
	_cleanup_x509_ X509 *ca = load_certificate(ca_crt), *x = NULL,
			    *old = load_certificate(crt);
	_cleanup_pkey_ EVP_PKEY *signer = load_key(ca_key),
				*key = load_key(key_path);

	if (!ca || !signer || !X509_check_private_key(ca, signer)) {
		ERR_clear_error();
		return err_set(err, -EIO,
		    "the authority in %s and %s is damaged; put it back from "
		    "a copy, or move both away for a new one",
		    ca_crt, ca_key);
	}
	if (old && key) {
		x = for_subject(s, ca, key, now);
		if (x && still_good(old, x, ca, key, s->days, now))
			return 0;
		X509_free(TAKE_PTR(x));
	}
	EVP_PKEY_free(TAKE_PTR(key));
	key = EVP_EC_gen("P-256");
	x = key ? for_subject(s, ca, key, now) : NULL;
	if (!x || !X509_sign(x, signer, EVP_sha256()))
		return crypto_error(err, "a certificate can't be made");
	return keep(x, key, crt, key_path, err);
}

int pki_not_after(const char *pem, int64_t *ret, struct err *err)
{
	_cleanup_x509_ X509 *x = parse_certificate(pem);

	if (!x || !seconds_of(X509_get0_notAfter(x), ret))
		return err_set(err, -EINVAL, "it is no certificate");
	return 0;
}
