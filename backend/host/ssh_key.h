/* SPDX-License-Identifier: Apache-2.0
 *
 * SSH keys, ed25519 only: made, read, and turned into dropbear's form.  No
 * session is needed for any of it.  Blocks on the disk for a moment.
 */
#ifndef RACKFS_SSH_KEY_H
#define RACKFS_SSH_KEY_H

#include "err.h"

/* Makes a key pair when `path` is missing: OpenSSH private key (0600) there,
 * public key in path.pub. */
int ssh_key_ensure(const char *path, const char *comment, struct err *err);
/* "ssh-ed25519 AAAA..." of a public or private key file; owned text. */
int ssh_key_public(const char *path, char **ret, struct err *err);
/* The 83 bytes of dropbear's host key file from an OpenSSH private key:
 * u32 11 "ssh-ed25519" u32 64 seed||public. */
int ssh_key_dropbear(const char *path, struct buf *ret, struct err *err);

#endif
