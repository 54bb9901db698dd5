/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the SSH module share: ssh.c is the loop's side,
 * ssh_thread.c the session's thread, ssh_job.c what the thread does for one
 * job; ssh_key.c and ssh_ed25519.c are about keys.  Nobody else includes this.
 */
#ifndef RACKFS_SSH_INTERNAL_H
#define RACKFS_SSH_INTERNAL_H

#define SSH_KEEP_LIBSSH_NAMES
#include <libssh/libssh.h>
#include <libssh/callbacks.h>

#include "host/ssh.h"

static inline void ssh_keyp(ssh_key *key)
{
	ssh_key_free(*key);
}
static inline void ssh_textp(char **text)
{
	ssh_string_free_char(*text);
}

/* Bytes that are wiped. */
static inline void secret_done(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_done(b);
}
#define _cleanup_secret_ _cleanup_(secret_done)

#define SSH_COMMENT_MAX 256 /* bytes of a key's comment */

/* Appends a new key as an OpenSSH private key file. */
int ssh_ed25519_make(const char *comment, struct buf *ret, struct err *err);
/* Appends an OpenSSH private key as dropbear's host key file; false when it is
 * no ed25519 key without a passphrase. */
bool ssh_ed25519_dropbear(const char *text, struct buf *ret);

/* Reads a private key without a passphrase; never asks for one. */
int ssh_key_load(const char *path, ssh_key *ret, struct err *err);
/* "ssh-ed25519 AAAA... comment" */
int ssh_key_parse(const char *text, ssh_key *ret, struct err *err);
/* "SHA256:..."; owned text for a sentence. */
char *ssh_key_fingerprint(ssh_key key);

#endif
