/* SPDX-License-Identifier: Apache-2.0
 *
 * A certificate authority of our own (libcrypto): EC P-256 keys, X.509
 * version 3, PEM files.  Blocks: for the worker.  Keys are written 0600 and
 * never leave these files.
 */
#ifndef RACKFS_PKI_H
#define RACKFS_PKI_H

#include "err.h"

struct pki_subject {
	const char *common_name;  /* at most 64 bytes */
	const char *organization; /* or NULL */
	char *const *dns;         /* subject alternative names, or NULL */
	const uint32_t *ips;      /* IPv4, host byte order */
	size_t n_ips;
	unsigned days; /* from now */
	bool server;   /* for servers as well; else for clients only */
};

/* Makes the authority unless it is there.  Returns 1 when it was made, 0 when
 * it was there, or a negative errno. */
int pki_ca_ensure(const char *crt, const char *key, const char *common_name,
    const char *organization, struct err *err);
/* Makes a certificate and a key of its own unless there is one for the same
 * subject, by this authority, with more than a third of its days left.
 * Returns as pki_ca_ensure().  now: seconds since the epoch. */
int pki_issue_ensure(const char *ca_crt, const char *ca_key, const char *crt,
    const char *key, const struct pki_subject *subject, int64_t now,
    struct err *err);
/* When a certificate (PEM) runs out, in seconds since the epoch. */
int pki_not_after(const char *pem, int64_t *ret, struct err *err);

#endif
