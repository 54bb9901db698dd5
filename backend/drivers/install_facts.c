/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads what a guest says of an installed system (the lines of look_script in
 * install_guest.c).  Pure; the guest may say anything.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "drivers/install_guest.h"

#define HOLDS_MAX 200 /* bytes of a path, for people */

void install_facts_done(struct install_facts *f)
{
	for (size_t i = 0; i < f->n_mounts; i++) {
		free(f->mounts[i].target);
		free(f->mounts[i].type);
	}
	free(f->holds);
	*f = (struct install_facts){0};
}

/* Hexadecimal digits, or nothing. */
static void take_digest(char *to, size_t size, const char *text)
{
	size_t n = strspn(text, "0123456789abcdef");

	if (n == strlen(text) && n < size)
		memcpy(to, text, n + 1);
}

static void take_mount(struct install_facts *f, const char *rest)
{
	char type[32];
	uint64_t free_kib;
	int at = 0;

	if (sscanf(rest, "%31s %18" SCNu64 " %n", type, &free_kib, &at) != 2 ||
	    at == 0 || f->n_mounts == INSTALL_MOUNTS)
		return;
	f->mounts[f->n_mounts++] = (struct install_mount){
	    .target = xstrdup(rest + at),
	    .type = xstrdup(type),
	    .free = free_kib * KIB,
	};
}

int install_facts_parse(
    const char *text, struct install_facts *ret, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *line, *state = NULL;

	for (line = strtok_r(copy, "\n", &state); line;
	     line = strtok_r(NULL, "\n", &state)) {
		char *rest = strchr(line, ' ');

		if (STREQ(line, "end"))
			return 0;
		if (!rest)
			continue;
		*rest++ = 0;
		if (STREQ(line, "copied"))
			take_digest(
			    ret->look.copied, sizeof(ret->look.copied), rest);
		else if (STREQ(line, "installed"))
			take_digest(ret->look.installed,
			    sizeof(ret->look.installed), rest);
		else if (STREQ(line, "boot"))
			take_digest(ret->boot, sizeof(ret->boot), rest);
		else if (STREQ(line, "begun"))
			ret->begun = true;
		else if (STREQ(line, "mount"))
			take_mount(ret, rest);
		else if (STREQ(line, "holds") && !ret->holds) {
			_cleanup_buf_ struct buf shown = {0};

			buf_escaped(&shown, rest, strnlen(rest, HOLDS_MAX));
			ret->holds = xstrdup(buf_str(&shown));
		}
	}
	return err_set(
	    err, -EIO, "the guest's answer about what is installed is cut off");
}
