// SPDX-License-Identifier: Apache-2.0
/*
 * Which file system a path leads to, found without asking it: rackfs must not
 * look into a tree that it serves itself, or it would wait for itself for ever.
 * The engine asks for host paths, fs/mount.c for what was just mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "util.h"

#define LINKS_MAX 40 /* as the kernel: ELOOP beyond */

int path_device(const char *path, uint64_t *ret)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW, 0,
		&st) < 0)
		return -errno;
	*ret = makedev(st.stx_dev_major, st.stx_dev_minor);
	return 0;
}

static void cut(struct buf *b, size_t len)
{
	if (len >= b->len)
		return;
	b->len = len;
	b->data[len] = '\0';
}

/* The first name of *rest is taken away.  false: there is none. */
static bool next_name(char **rest, size_t *ret_len, const char **ret)
{
	char *name = *rest + strspn(*rest, "/");

	*ret = name;
	*ret_len = strcspn(name, "/");
	*rest = name + *ret_len;
	return *ret_len > 0;
}

bool path_enters(const char *path, uint64_t device)
{
	_cleanup_free_ char *text = xstrdup(path);
	_cleanup_buf_ struct buf at = {0};
	char *rest = text, link[PATH_MAX];
	const char *name;
	size_t len;

	for (unsigned links = 0; next_name(&rest, &len, &name);) {
		size_t parent = at.len;
		uint64_t d = 0;
		ssize_t n;

		if (len == 1 && name[0] == '.')
			continue;
		if (len == 2 && name[0] == '.' && name[1] == '.') {
			const char *slash = strrchr(buf_str(&at), '/');

			cut(&at, slash ? (size_t)(slash - at.data) : 0);
			continue;
		}
		buf_putc(&at, '/');
		buf_append(&at, name, len);
		if (path_device(at.data, &d) < 0)
			return false; /* nothing is there to be entered */
		if (d == device)
			return true;
		n = readlink(at.data, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		if (++links > LINKS_MAX)
			return false;
		link[n] = '\0';
		cut(&at, link[0] == '/' ? 0 : parent);
		rest = xasprintf("%s%s", link, rest);
		free(text);
		text = rest;
	}
	return false;
}
