/* SPDX-License-Identifier: Apache-2.0
 *
 * SSH key files: those made here are ed25519 (ssh_ed25519.c); those that a
 * user brings may be of any kind that libssh reads.  Key files appear whole
 * or not at all, are synced, and a private one is never written over.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/ssh_internal.h"
#include "host/ssh_key.h"

#define KEY_FILE_MAX (256 * KIB)

/* Puts a synced file at `path`; one that is there stays: -EEXIST. */
static int write_new(const char *path, const struct buf *content, mode_t mode)
{
	_cleanup_free_ char *tmp = NULL;
	uint64_t r;
	int rc;

	random_bytes(&r, sizeof(r));
	tmp = xasprintf("%s.new-%016llx", path, (unsigned long long)r);
	rc = file_replace_synced(tmp, content->data, content->len, mode);
	if (!rc && link(tmp, path) < 0)
		rc = -errno;
	unlink(tmp);
	return rc ? rc : sync_folder_of(path);
}

static int make_private(const char *path, const char *comment, struct err *err)
{
	_cleanup_secret_ struct buf text = {0};
	int rc = ssh_ed25519_make(comment, &text, err);

	if (rc)
		return rc;
	rc = write_new(path, &text, 0600);
	/* Somebody else was quicker: theirs is the key. */
	if (rc && rc != -EEXIST)
		return err_errno(err, rc, "SSH key %s can't be written", path);
	return 0;
}

/* Writes PATH.pub when it is missing or belongs to another key. */
static int ensure_public(const char *path, const char *comment, struct err *err)
{
	_cleanup_free_ char *key = NULL, *pub = xasprintf("%s.pub", path);
	_cleanup_buf_ struct buf have = {0}, want = {0};
	int rc = ssh_key_public(path, &key, err);

	if (rc)
		return rc;
	assert(key);
	if (file_read(AT_FDCWD, pub, KEY_FILE_MAX, &have) == 0 &&
	    strncmp(buf_str(&have), key, strlen(key)) == 0 &&
	    strchr(" \n", buf_str(&have)[strlen(key)]))
		return 0;
	buf_printf(&want, "%s%s%s\n", key, *comment ? " " : "", comment);
	rc = file_replace_synced(pub, want.data, want.len, 0644);
	if (rc)
		return err_errno(err, rc, "SSH key %s can't be written", pub);
	return 0;
}

int ssh_key_ensure(const char *path, const char *comment, struct err *err)
{
	struct stat st;
	int rc;

	if (!comment)
		comment = "";
	if (strlen(comment) > SSH_COMMENT_MAX || strpbrk(comment, "\r\n"))
		return err_set(err, -EINVAL,
		    "SSH key %s: its comment is one line of at most %d bytes",
		    path, SSH_COMMENT_MAX);
	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return err_errno(err, -errno, "SSH key %s", path);
		rc = make_private(path, comment, err);
		if (rc)
			return rc;
	} else if ((st.st_mode & 077) && chmod(path, 0600) < 0) {
		/* ssh(1) refuses a key that others can read. */
		return err_errno(
		    err, -errno, "SSH key %s is open to others", path);
	}
	return ensure_public(path, comment, err);
}

static int import_private(
    const char *path, const struct buf *text, ssh_key *ret, struct err *err)
{
	/* An empty passphrase, not none: libcrypto would ask the terminal. */
	if (ssh_pki_import_privkey_base64(buf_str(text), "", NULL, NULL, ret) !=
	    SSH_OK)
		return err_set(err, -EINVAL,
		    "%s is not a private SSH key without a passphrase", path);
	return 0;
}

static int read_key_file(const char *path, struct buf *ret, struct err *err)
{
	int rc;

	rc = file_read(AT_FDCWD, path, KEY_FILE_MAX, ret);
	if (rc)
		return err_errno(err, rc, "SSH key %s can't be read", path);
	return 0;
}

int ssh_key_load(const char *path, ssh_key *ret, struct err *err)
{
	_cleanup_secret_ struct buf text = {0};
	int rc = read_key_file(path, &text, err);

	return rc ? rc : import_private(path, &text, ret, err);
}

int ssh_key_parse(const char *text, ssh_key *ret, struct err *err)
{
	size_t type_len = strcspn(text, " \t\r\n");
	const char *blob = text + type_len + strspn(text + type_len, " \t");
	_cleanup_free_ char *type = xstrndup(text, type_len);
	_cleanup_free_ char *b64 = xstrndup(blob, strcspn(blob, " \t\r\n"));
	enum ssh_keytypes_e t = ssh_key_type_from_name(type);
	_cleanup_(ssh_keyp) ssh_key key = NULL;

	if (t == SSH_KEYTYPE_UNKNOWN || !*b64 ||
	    ssh_pki_import_pubkey_base64(b64, t, &key) != SSH_OK ||
	    !STREQ(ssh_key_type_to_char(ssh_key_type(key)), type))
		return err_set(err, -EINVAL,
		    "\"%.40s\" is not a public SSH key "
		    "(\"ssh-ed25519 AAAA...\")",
		    text);
	*ret = TAKE_PTR(key);
	return 0;
}

int ssh_key_public(const char *path, char **ret, struct err *err)
{
	_cleanup_secret_ struct buf text = {0};
	_cleanup_(ssh_keyp) ssh_key secret = NULL, pub = NULL;
	_cleanup_(ssh_textp) char *b64 = NULL;
	int rc = read_key_file(path, &text, err);

	if (rc)
		return rc;
	if (strstr(buf_str(&text), "-----BEGIN")) {
		rc = import_private(path, &text, &secret, err);
		if (!rc &&
		    ssh_pki_export_privkey_to_pubkey(secret, &pub) != SSH_OK)
			rc = -EINVAL;
	} else {
		rc = ssh_key_parse(buf_str(&text), &pub, NULL);
	}
	if (!rc && ssh_pki_export_pubkey_base64(pub, &b64) != SSH_OK)
		rc = -EINVAL;
	if (rc)
		return err_set(err, rc, "%s is no SSH key that can be used%s",
		    path,
		    secret ? "" : " (a private one must have no passphrase)");
	*ret = xasprintf("%s %s", ssh_key_type_to_char(ssh_key_type(pub)), b64);
	return 0;
}

char *ssh_key_fingerprint(ssh_key key)
{
	unsigned char *hash = NULL;
	size_t len = 0;
	_cleanup_(ssh_textp) char *text = NULL;

	if (ssh_get_publickey_hash(
		key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) == SSH_OK)
		text = ssh_get_fingerprint_hash(
		    SSH_PUBLICKEY_HASH_SHA256, hash, len);
	ssh_clean_pubkey_hash(&hash);
	return xasprintf(
	    "%s %s", ssh_key_type_to_char(ssh_key_type(key)), text ? text : "");
}

int ssh_key_dropbear(const char *path, struct buf *ret, struct err *err)
{
	_cleanup_secret_ struct buf text = {0};
	int rc = read_key_file(path, &text, err);

	if (rc)
		return rc;
	if (!ssh_ed25519_dropbear(buf_str(&text), ret))
		return err_set(err, -EINVAL,
		    "%s is not an OpenSSH ed25519 private key without a "
		    "passphrase",
		    path);
	return 0;
}
