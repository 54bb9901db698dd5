/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of one text each, for rows of the key table: labels, paths, mount
 * points, public keys.  The sentences come without the key's path, which the
 * walker puts in front.  Pure.
 */
#include "engine/spec_table.h"

#include <errno.h>
#include <stdio.h>
#include "state.h"

static bool printable(const char *s)
{
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			return false;
	return true;
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

int check_label(const char *value, struct err *err)
{
	if (!printable(value) || strpbrk(value, "\"\\/`$"))
		return err_set(err, -EINVAL,
		    "\"%s\" is not a label: ASCII without \" \\ / ` $",
		    spec_show(value).text);
	return 0;
}

int check_partition_name(const char *value, struct err *err)
{
	if (!printable(value) || strpbrk(value, "\"\\"))
		return err_set(err, -EINVAL,
		    "\"%s\" is not a partition name: ASCII without \" and \\",
		    spec_show(value).text);
	return 0;
}

int check_domain(const char *value, struct err *err)
{
	const char *s = value;
	for (;;) {
		char label[NAME_MAX_LABEL + 1];
		size_t n = strcspn(s, ".");
		if (n < sizeof(label)) {
			memcpy(label, s, n);
			label[n] = '\0';
		}
		if (n >= sizeof(label) || spec_check_name("", label, NULL) < 0)
			return err_set(err, -EINVAL,
			    "\"%s\" is not a DNS name: labels of small "
			    "letters, digits and -, with dots between them",
			    spec_show(value).text);
		if (!s[n])
			return 0;
		s += n + 1;
	}
}

/* What a certificate is for. */
int check_host_name(const char *value, struct err *err)
{
	const char *last = strrchr(value, '.');
	uint32_t ip;

	last = last ? last + 1 : value;
	if (!*last || last[strspn(last, "0123456789")])
		return check_domain(value, err);
	if (parse_ip(value, &ip) == 0)
		return 0;
	return err_set(err, -EINVAL,
	    "\"%s\" ends like an address and is none; wanted a DNS name or an "
	    "IPv4 address",
	    spec_show(value).text);
}

int check_line(const char *value, struct err *err)
{
	if (!printable(value))
		return err_set(err, -EINVAL, "\"%s\" is not one line of ASCII",
		    spec_show(value).text);
	return 0;
}

int check_argument(const char *value, struct err *err)
{
	if (has_control(value))
		return err_set(err, -EINVAL,
		    "an argument can't contain control characters");
	return 0;
}

int check_path(const char *value, struct err *err)
{
	if (has_control(value))
		return err_set(err, -EINVAL,
		    "\"%s\" is not a path: it contains control characters",
		    spec_show(value).text);
	return 0;
}

/* Absolute, and nothing that a program could read as another place. */
static bool plain_absolute(const char *s)
{
	if (*s != '/' || has_control(s))
		return false;
	if (STREQ(s, "/"))
		return true;
	while (*s) {
		size_t n = strcspn(++s, "/");
		if (n == 0 || (n == 1 && *s == '.') ||
		    (n == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		s += n;
	}
	return true;
}

int check_mount(const char *value, struct err *err)
{
	/* Spaces and backslashes would have to be escaped in fstab(5). */
	if (!plain_absolute(value) || strpbrk(value, " \\"))
		return err_set(err, -EINVAL,
		    "\"%s\" is not a mount point: an absolute path without "
		    "., .., empty parts, spaces and backslashes, for example "
		    "/boot",
		    spec_show(value).text);
	return 0;
}

int check_guest_path(const char *value, struct err *err)
{
	if (!plain_absolute(value) || strlen(value) > PATH_LIMIT)
		return err_set(err, -EINVAL,
		    "\"%s\" is not an absolute path without . and ..",
		    spec_show(value).text);
	if (STREQ(value, "/"))
		return err_set(err, -EINVAL,
		    "\"/\" is the root of the guest; take a path below it");
	return 0;
}

/* Options may stand in front: see AUTHORIZED_KEYS FILE FORMAT in sshd(8). */
int check_public_key(const char *value, struct err *err)
{
	static const char *const types[] = {"ssh-ed25519 AAAA", "ssh-rsa AAAA",
	    "ecdsa-sha2-nistp256 AAAA", "ecdsa-sha2-nistp384 AAAA",
	    "ecdsa-sha2-nistp521 AAAA", "sk-ssh-ed25519@openssh.com AAAA",
	    "sk-ecdsa-sha2-nistp256@openssh.com AAAA"};

	if (has_control(value))
		return err_set(err, -EINVAL,
		    "a public key is one line without control characters");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const char *p = strstr(value, types[i]);
		if (p && (p == value || p[-1] == ' '))
			return 0;
	}
	return err_set(err, -EINVAL,
	    "\"%s\" is not an OpenSSH public key, for example \"ssh-ed25519 "
	    "AAAA... me\"%s",
	    spec_show(value).text,
	    strstr(value, "PRIVATE KEY") ? " (this is a private one)" : "");
}

/* Debian policy, 5.6.1. */
int check_package(const char *value, struct err *err)
{
	size_t n = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
	if (n < 2 || value[n] || n > 100 || strchr("+-.", *value))
		return err_set(err, -EINVAL,
		    "\"%s\" is not the name of a Debian package",
		    spec_show(value).text);
	return 0;
}

int check_user(const char *value, struct err *err)
{
	size_t n =
	    strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			  "0123456789_-.");
	if (value[n] || *value == '-')
		return err_set(err, -EINVAL, "\"%s\" is not a user name",
		    spec_show(value).text);
	return 0;
}

int check_stage(const char *value, struct err *err)
{
	enum stage s;
	if (stage_parse(value, &s) == 0 || STREQ(value, FAKE_CHECK))
		return 0;
	char list[160] = "";
	size_t len = 0;
	for (int i = 0; i < STAGES && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
		    i ? ", " : "", stage_name((enum stage)i));
	return err_set(err, -EINVAL,
	    "\"%s\" is not a stage: %s; or " FAKE_CHECK, spec_show(value).text,
	    list);
}

int check_mode(const char *value, struct err *err)
{
	if (value[strspn(value, "01234567")])
		return err_set(err, -EINVAL,
		    "\"%s\" is not a mode: three or four octal digits, for "
		    "example \"0644\"",
		    spec_show(value).text);
	return 0;
}

int check_owner(const char *value, struct err *err)
{
	const char *colon = strchr(value, ':');
	_cleanup_free_ char *user = xstrdup(value);
	bool ok = colon && colon != value && colon[1];

	if (ok) {
		user[colon - value] = '\0';
		ok = check_user(user, NULL) == 0 &&
		     check_user(colon + 1, NULL) == 0;
	}
	if (!ok)
		return err_set(err, -EINVAL,
		    "\"%s\" is not a user and a group, for example "
		    "\"root:root\"",
		    spec_show(value).text);
	return 0;
}

/* systemd.unit(5), without what asks for escaping. */
int check_unit_name(const char *value, struct err *err)
{
	static const char allowed[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789_-.@:";
	size_t n = strlen(value);

	if (n == 0 || n > 200 || value[strspn(value, allowed)] ||
	    strchr(".-@", *value))
		return err_set(err, -EINVAL,
		    "\"%s\" is not the name of a service: letters, digits and "
		    "_ - . @ :",
		    spec_show(value).text);
	if (n > 8 && STREQ(value + n - 8, ".service"))
		return err_set(err, -EINVAL,
		    "\"%s\": leave .service out of the name",
		    spec_show(value).text);
	return 0;
}

int check_sha256(const char *value, struct err *err)
{
	if (value[strspn(value, "0123456789abcdef")])
		return err_set(err, -EINVAL,
		    "\"%s\" is not a digest: 64 digits of 0-9 and a-f, as "
		    "sha256sum(1) prints",
		    spec_show(value).text);
	return 0;
}

int check_check(const char *value, struct err *err)
{
	struct check c;

	if (has_control(value))
		return err_set(err, -EINVAL,
		    "a check is one line without control characters");
	return parse_check(value, &c, err);
}

int check_organization(const char *value, struct err *err)
{
	if (!printable(value))
		return err_set(err, -EINVAL, "\"%s\" is not a name in ASCII",
		    spec_show(value).text);
	return 0;
}
