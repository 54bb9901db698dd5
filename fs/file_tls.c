// SPDX-License-Identifier: Apache-2.0
/*
 * `ca.crt` and the operator's files in client/: PEM as it is, empty while no
 * node asks for a certificate.  No program but the owner's can reach the key.
 */
#include "fs/files.h"

static void pem(const struct render *r, enum tls_text which, struct buf *ret)
{
	struct cluster_view v;

	cluster_view(r->cluster, &v);
	buf_puts(ret, v.tls[which]);
}

void render_ca(const struct render *r, struct buf *ret)
{
	pem(r, TLS_CA, ret);
}

void render_client_certificate(const struct render *r, struct buf *ret)
{
	pem(r, TLS_CERT, ret);
}

void render_client_key(const struct render *r, struct buf *ret)
{
	pem(r, TLS_KEY, ret);
}
