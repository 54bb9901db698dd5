/* SPDX-License-Identifier: Apache-2.0
 *
 * Key files: made once, kept, mended; the tools of OpenSSH and dropbear read
 * them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/ssh_key.h"
#include "test.h"

static char dir[] = "/tmp/test_ssh_key.XXXXXX";

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static int mode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -errno : (int)(st.st_mode & 07777);
}

/* The output of a program, or NULL when it isn't there. */
static char *output_of(const char *command)
{
	_cleanup_free_ char *quiet = xasprintf("%s 2>/dev/null", command);
	FILE *f = popen(quiet, "r"); /* fixed text and our own path */
	char text[1024] = "";
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	int status = f ? pclose(f) : -1;

	text[n] = '\0';
	return status == 127 << 8 ? NULL : xstrdup(text);
}

static void a_pair_is_made_and_kept(void)
{
	_cleanup_free_ char *path = in_dir("id"), *pub = in_dir("id.pub");
	_cleanup_free_ char *key = NULL, *key2 = NULL, *line = NULL;
	_cleanup_buf_ struct buf first = {0}, again = {0}, text = {0};
	struct err err = ERR_INIT;

	CHECK_INT(ssh_key_ensure(path, "me@here", &err), 0);
	CHECK_INT(mode_of(path), 0600);
	CHECK_INT(mode_of(pub), 0644);
	CHECK_INT(file_read(AT_FDCWD, path, 9999, &first), 0);
	CHECK_INT(ssh_key_ensure(path, "me@here", &err), 0);
	CHECK_INT(file_read(AT_FDCWD, path, 9999, &again), 0);
	CHECK_STR(buf_str(&again), buf_str(&first));

	CHECK_INT(ssh_key_public(path, &key, &err), 0);
	CHECK_INT(ssh_key_public(pub, &key2, &err), 0);
	CHECK_STR(key, key2);
	CHECK(strncmp(key, "ssh-ed25519 AAAA", 16) == 0);
	line = xasprintf("%s me@here\n", key);
	CHECK_INT(file_read(AT_FDCWD, pub, 9999, &text), 0);
	CHECK_STR(buf_str(&text), line);
}

static void a_lost_public_key_comes_back(void)
{
	_cleanup_free_ char *path = in_dir("id2"), *pub = in_dir("id2.pub");
	_cleanup_free_ char *key = NULL, *key2 = NULL;

	CHECK_INT(ssh_key_ensure(path, "", NULL), 0);
	CHECK_INT(ssh_key_public(path, &key, NULL), 0);
	CHECK_INT(unlink(pub), 0);
	CHECK_INT(ssh_key_ensure(path, "", NULL), 0);
	CHECK_INT(ssh_key_public(pub, &key2, NULL), 0);
	CHECK_STR(key2, key);
	/* One of another key is no use either. */
	CHECK_INT(
	    file_replace(AT_FDCWD, pub, "ssh-ed25519 AAAAx\n", 18, 0644), 0);
	CHECK_INT(ssh_key_ensure(path, "", NULL), 0);
	free(TAKE_PTR(key2));
	CHECK_INT(ssh_key_public(pub, &key2, NULL), 0);
	CHECK_STR(key2, key);
	/* ssh(1) refuses a key that is open to others. */
	CHECK_INT(chmod(path, 0644), 0);
	CHECK_INT(ssh_key_ensure(path, "", NULL), 0);
	CHECK_INT(mode_of(path), 0600);
}

static void openssh_reads_it(void)
{
	_cleanup_free_ char *path = in_dir("id3"), *key = NULL, *out = NULL;
	_cleanup_free_ char *command = NULL;

	/* Every length of the padding. */
	for (int i = 0; i < 9; i++) {
		char comment[16] = "";

		memset(comment, 'c', (size_t)i);
		free(TAKE_PTR(key));
		free(TAKE_PTR(out));
		free(TAKE_PTR(command));
		unlink(path);
		CHECK_INT(ssh_key_ensure(path, comment, NULL), 0);
		CHECK_INT(ssh_key_public(path, &key, NULL), 0);
		command = xasprintf("ssh-keygen -y -P '' -f %s", path);
		out = output_of(command);
		if (!out)
			SKIP("ssh-keygen is not installed");
		CHECK(strncmp(out, key, strlen(key)) == 0);
		CHECK(i ? strstr(out, comment) != NULL
			: STREQ(out + strlen(key), "\n"));
	}
}

static void dropbear_reads_it(void)
{
	_cleanup_free_ char *path = in_dir("id4"), *bear = in_dir("bear");
	_cleanup_free_ char *key = NULL, *out = NULL, *command = NULL;
	_cleanup_buf_ struct buf b = {0};

	CHECK_INT(ssh_key_ensure(path, "x", NULL), 0);
	CHECK_INT(ssh_key_public(path, &key, NULL), 0);
	CHECK_INT(ssh_key_dropbear(path, &b, NULL), 0);
	CHECK_INT(b.len, 83);
	CHECK(memcmp(b.data, "\0\0\0\13ssh-ed25519\0\0\0\100", 19) == 0);
	CHECK_INT(file_replace(AT_FDCWD, bear, b.data, b.len, 0600), 0);
	command = xasprintf("dropbearkey -y -f %s", bear);
	out = output_of(command);
	if (!out)
		SKIP("dropbearkey is not installed");
	CHECK(strstr(out, key));
}

static void other_kinds_have_a_public_key(void)
{
	static const char *const kinds[] = {"rsa", "ecdsa"};
	static const char *const begins[] = {
	    "ssh-rsa AAAA", "ecdsa-sha2-nistp256 AAAA"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_free_ char *path = in_dir(kinds[i]), *key = NULL;
		_cleanup_free_ char *command = xasprintf(
		    "ssh-keygen -q -t %s -N '' -f %s", kinds[i], path);
		_cleanup_free_ char *out = output_of(command);
		_cleanup_buf_ struct buf b = {0};
		struct err err = ERR_INIT;

		if (!out)
			SKIP("ssh-keygen is not installed");
		CHECK_INT(ssh_key_public(path, &key, &err), 0);
		CHECK(key && strncmp(key, begins[i], strlen(begins[i])) == 0);
		CHECK_INT(ssh_key_dropbear(path, &b, &err), -EINVAL);
		CHECK(strstr(err.text, "ed25519"));
	}
}

static void bad_files_are_refused(void)
{
	_cleanup_free_ char *path = in_dir("bad"), *good = in_dir("good");
	_cleanup_free_ char *locked = in_dir("locked"), *command = NULL;
	_cleanup_free_ char *key = NULL, *out = NULL;
	_cleanup_buf_ struct buf b = {0}, text = {0};
	struct err err = ERR_INIT;

	CHECK_INT(ssh_key_public(path, &key, &err), -ENOENT);
	CHECK(strstr(err.text, path));
	CHECK_INT(file_replace(AT_FDCWD, path, "hello\n", 6, 0600), 0);
	CHECK_INT(ssh_key_public(path, &key, &err), -EINVAL);
	CHECK_INT(ssh_key_ensure(path, "", &err), -EINVAL);
	/* Not written over. */
	CHECK_INT(file_read(AT_FDCWD, path, 99, &text), 0);
	CHECK_STR(buf_str(&text), "hello\n");

	/* Cut off anywhere: refused, never read beyond. */
	CHECK_INT(ssh_key_ensure(good, "", NULL), 0);
	CHECK_INT(file_read(AT_FDCWD, good, 9999, &text), 0);
	for (size_t n = 0; n + 1 < text.len; n++) {
		CHECK_INT(file_replace(AT_FDCWD, path, text.data, n, 0600), 0);
		CHECK_INT(ssh_key_dropbear(path, &b, &err), -EINVAL);
	}
	CHECK_INT(b.len, 0);
	CHECK_INT(ssh_key_ensure(good, "two\nlines", &err), -EINVAL);

	/* Asking for a passphrase would stop the daemon. */
	command = xasprintf("ssh-keygen -q -t ed25519 -N secret -f %s; "
			    "ssh-keygen -q -t rsa -m PEM -N secret -f %s.pem",
	    locked, locked);
	out = output_of(command);
	if (!out)
		SKIP("ssh-keygen is not installed");
	CHECK_INT(ssh_key_public(locked, &key, &err), -EINVAL);
	CHECK_INT(ssh_key_dropbear(locked, &b, &err), -EINVAL);
	free(TAKE_PTR(command));
	command = xasprintf("%s.pem", locked);
	CHECK_INT(ssh_key_public(command, &key, &err), -EINVAL);
	CHECK(strstr(err.text, "passphrase"));
}

static const struct test_case cases[] = {
    CASE(a_pair_is_made_and_kept),
    CASE(a_lost_public_key_comes_back),
    CASE(openssh_reads_it),
    CASE(dropbear_reads_it),
    CASE(other_kinds_have_a_public_key),
    CASE(bad_files_are_refused),
};

int main(void)
{
	int rc;

	if (!mkdtemp(dir))
		return 1;
	rc = test_main(cases, ARRAY_SIZE(cases));
	return remove_tree(AT_FDCWD, dir) ? 1 : rc;
}
